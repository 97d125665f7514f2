"""What fairseq's own model answers in eval: log-probabilities, routes and scores of a checkpoint, with its own loader
and, where the checkpoint is of several ranks, in as many processes that exchange tokens."""

import json
import pathlib

import lm_training
import numpy as np
import routes
import torch
import torch.distributed as dist
from fairseq import checkpoint_utils
from fairseq.modules.moe import top2gate
from fairseq.sequence_scorer import SequenceScorer

PAD, END = 1, 2
MARGIN = 3e-5  # gates and logits that are nearer than that, and not equal, are no fair question to f32

OVERRIDES = {"frac": "moe_eval_capacity_token_fraction", "bpr": "moe_batch_prioritized_routing",
             "norm": "moe_normalize_gate_prob_before_dropping", "padmask": "use_moe_pad_mask"}


def load(case, path, mode, rank):
    overrides = {OVERRIDES[flag]: value for flag, value in mode.items()}
    if case.sharded:
        overrides["ddp_backend"] = "legacy_ddp"
    suffix = "" if case.alone else f"-rank-{rank}"
    if case.form == "sharded" and case.experts:
        suffix += f"-shard{rank}"
    elif case.form == "sharded":
        suffix = "-shard0"
    models, _, task = checkpoint_utils.load_model_ensemble_and_task(
        [str(path)], arg_overrides=overrides, suffix=suffix, is_moe=not case.alone)
    return models[0].eval(), task


class Answers:
    """Of one model: the gates' calls of the last forward pass."""

    def __init__(self, model):
        self.model, self.calls = model, []
        top2gate.top2gating = self.gate

    def gate(self, logits, mask=None, **flags):
        answer, capacity, chosen, places = routes.gate(logits, mask, **flags)
        considered = torch.ones(len(logits), dtype=torch.bool) if mask is None else ~mask
        call = routes.choices(capacity, chosen, places, answer[1], [considered, considered])
        call |= {"gate_logits": logits.float().numpy(), "l_aux": answer[0].double().numpy(),
                 "capacity": np.int32(capacity)}
        self.calls.append((call, considered, flags))
        return answer

    @torch.no_grad()
    def run(self, tokens):
        self.calls = []
        output = self.model(torch.tensor(tokens, dtype=torch.long))
        return self.model.get_normalized_probs(output, log_probs=True).numpy()


def margin(call, considered, flags):
    """The nearest that a decision of the gate was to another one, without exact ties."""
    logits = torch.from_numpy(call["gate_logits"])
    best = logits.sort(1, descending=True).values[:, :3]
    gaps = best[:, :-1] - best[:, 1:]
    nearest = gaps[gaps > 0].min().item() if (gaps > 0).any() else 1.0
    if flags["batch_prioritized_routing"]:
        top = torch.softmax(logits, 1).max(1).values[considered].sort().values
        nearest = min([nearest, *(top[1:] - top[:-1]).tolist()])
    return nearest


def counts(call, tokens, considered, flags):
    """Of the tokens that are no pads."""
    ask = tokens.reshape(-1) != PAD
    kept1, kept2 = call["kept1"][ask], call["kept2"][ask]
    best = np.sort(call["gate_logits"][ask], 1)[:, ::-1]
    return {"capacity": int(call["capacity"]), "first_dropped": int((~kept1 & kept2).sum()),
            "second_dropped": int((kept1 & ~kept2).sum()), "both_dropped": int((~kept1 & ~kept2).sum()),
            "ties": int(((best[:, 0] == best[:, 1]) | (best[:, 1] == best[:, 2])).sum()),
            "margin": float(f"{margin(call, considered, flags):.3g}")}


def answer_batch(case, model, exact, base, tokens, arrays):
    """Adds the arrays of one mode and batch, in f64 arithmetic; f32 has to route alike. Returns what expect.json says
    of them."""
    single = Answers(model)
    plain = single.run(tokens)
    double = Answers(exact)
    logprobs = double.run(tokens)
    layers = [i for i in range(case.layers) if case.experts and (i + 1) % case.every == 0]
    assert len(layers) == len(single.calls) == len(double.calls)
    pads = (tokens == PAD)
    said = {"max_abs_diff_to_fairseq_f32": float(np.abs(plain - logprobs)[~pads].max()), "layers": {}}
    assert said["max_abs_diff_to_fairseq_f32"] < 5e-5, said
    arrays[f"{base}.logprobs"] = logprobs.astype(np.float32)
    for layer, (call, considered, flags), (other, _, _) in zip(layers, double.calls, single.calls):
        where = f"{case.name} {base} layer {layer}"
        for key in ("expert1", "expert2", "location1", "location2", "kept1", "kept2"):
            assert np.array_equal(call[key], other[key]), f"{where}: {key} of f32 and f64 differ"
        said["layers"][str(layer)] = about = counts(call, tokens, considered, flags)
        assert about["margin"] > MARGIN, f"{where}: margin {about['margin']}, take another seed"
        shape = tokens.shape
        for key, array in call.items():
            arrays[f"{base}.layer{layer}.{key}"] = array.reshape(shape + array.shape[1:]) if array.ndim else array
    return said


def same_everywhere(case, base, arrays):
    """Every rank was fed the same tokens."""
    for key in sorted(arrays):
        if not key.startswith(base + "."):
            continue
        mine = torch.as_tensor(np.ascontiguousarray(arrays[key]).astype(np.float64))
        first = mine.clone()
        dist.broadcast(first, 0)
        assert torch.equal(mine, first), f"{case.name} {key}: rank {dist.get_rank()} has another answer"


def scores(model, task, case, mode, arrays):
    """Blocks as eval_lm cuts them: a block begins with the last token of the one before, the first with </s>."""
    generator = torch.Generator().manual_seed(case.dice)
    stream = torch.randint(4, 4 + lm_training.SYMBOLS, (case.scored,), generator=generator)
    stream[-1] = END
    scorer = SequenceScorer(task.target_dictionary)
    Answers(model)
    shifted = torch.cat([torch.tensor([END]), stream[:-1]])
    for i, (source, target) in enumerate(zip(shifted.split(case.block), stream.split(case.block))):
        sample = {"net_input": {"src_tokens": source[None]}, "target": target[None]}
        scored = scorer.generate([model], sample)[0][0]["positional_scores"]
        base = f"stream.blocks{case.block}.{mode}.{i}"
        arrays |= {f"{base}.source": source.int().numpy(), f"{base}.target": target.int().numpy(),
                   f"{base}.logprob": scored.double().numpy()}


def batches(case):
    """main [3,14], padded [3,10] (lengths 10, 6 and 3), inner [2,8] with pads between tokens, single [1,1]."""
    generator = torch.Generator().manual_seed(case.dice)
    draw = torch.randint(4, 4 + lm_training.SYMBOLS, (3, 64), generator=generator).int().numpy()
    draw[0, 0] = END
    out = {"main": draw[:, :14].copy(), "padded": draw[:, 14:24].copy(), "inner": draw[:2, 24:32].copy(),
           "single": draw[:1, 32:33].copy()}
    for row, length in enumerate((10, 6, 3)):
        out["padded"][row, length:] = PAD
    out["inner"][0, [3, 4, 7]] = out["inner"][1, [1, 5]] = PAD
    return {name: out[name] for name in case.batches}


def record(rank, count, case, path, folder):
    fed, arrays, scored, modes = batches(case), {}, {}, {}
    for mode, flags in case.modes.items():
        model, task = load(case, path, flags, rank)
        exact = load(case, path, flags, rank)[0].double()
        modes[mode] = dict(flags, batches={})
        for name, tokens in fed.items():
            if flags.get("bpr") and not flags.get("padmask") and (tokens == PAD).any():
                continue  # pads are all alike, and the order of equal ones is nobody's promise
            base = f"{mode}.{name}"
            modes[mode]["batches"][name] = answer_batch(case, model, exact, base, tokens, arrays)
            same_everywhere(case, base, arrays)
        if case.scored:
            scores(exact, task, case, mode, scored)
    if rank > 0:
        return
    files = sorted(path.parent.glob("*.pt"))
    dtypes = {str(v.dtype) for v in torch.load(files[-1])["model"].values()}
    expect = {"checkpoint": path.name, "about": case.about, "stored_dtypes": sorted(dtypes),
              "files": [file.name for file in files]}
    if case.refused:
        expect["refused"] = case.refused
    expect |= {"modes": modes, "batches": {name: list(tokens.shape) for name, tokens in fed.items()}}
    np.savez_compressed(folder / "expect.npz", **{f"batch_{k}": v for k, v in fed.items()}, **arrays)
    if scored:
        np.savez_compressed(folder / "score.npz", **scored)
    (folder / "expect.json").write_text(json.dumps(expect, indent=1) + "\n")


def answer(case, path, folder):
    """Writes expect.npz, expect.json and, where the case is scored, score.npz to `folder`."""
    lm_training.in_ranks(1 if case.alone else case.ranks, record, path.parent.parent, case, path, pathlib.Path(folder))
