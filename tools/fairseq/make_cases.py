#!/usr/bin/env python3
"""Gate cases for tests/fairseq: calls the top-2 gate of an installed fairseq (its branch moe) on random logits and keeps
what it answers. Needs torch and numpy; `PYTHONPATH=FAIRSEQ tools/fairseq/make_cases.py tests/fairseq/data`.

A case is an .npz of logits and of what became of each choice; gate/cases.json lists the flags. Seeds are fixed."""

import argparse
import json
import pathlib

import routes
import numpy as np
import torch
from fairseq.modules.moe import top2gate

# name, S, E, spread of the logits, flags; "pads" and "logits" are made below.
CASES = [
    ("binding_frac", 50, 6, 1.5, {"frac": 0.1}),
    ("binding_frac_bpr", 50, 6, 1.5, {"frac": 0.1, "bpr": True}),
    ("binding_train", 45, 8, 3.0, {"frac": -1.0}),
    ("binding_train_bpr_normbefore", 45, 8, 3.0, {"frac": -1.0, "bpr": True, "before": True}),
    ("first_dropped_second_kept", 64, 16, 1.5, {"frac": -1.0, "skew": 3.0}),
    ("both_dropped", 24, 2, 0.5, {"frac": 0.1}),
    ("one_slot", 30, 5, 1.0, {"frac": 0.001, "before": True}),
    ("ties_zero_logits", 12, 4, 0.0, {"frac": 0.2}),
    ("ties_small_integers", 60, 6, 2.0, {"frac": 0.15, "ties": True}),
    ("pads_masked", 40, 6, 1.5, {"frac": 0.1, "pads": 9}),
    ("pads_masked_train_bpr", 40, 6, 1.5, {"frac": -1.0, "bpr": True, "pads": 9}),
    ("random_after", 48, 6, 1.5, {"frac": 0.12, "policy": "random"}),
    ("random_before_pads", 48, 6, 1.5, {"frac": 0.12, "policy": "random", "before": True, "pads": 7}),
    ("sampling", 48, 6, 1.5, {"frac": 0.12, "policy": "sampling"}),
    ("sampling_train_bpr", 48, 6, 1.5, {"frac": -1.0, "policy": "sampling", "bpr": True}),
    ("ceil_of_a_double", 100, 4, 1.0, {"frac": 0.07}),
    ("half_logits", 40, 6, 1.5, {"frac": 0.1, "half": True}),
]


class Noise:
    """What the gate draws, drawn once and kept."""

    def __init__(self, generator):
        self.generator, self.u, self.gumbel = generator, None, None

    def rand_like(self, like, **_):
        if self.u is None:
            self.u = torch.rand(like.shape, generator=self.generator)
        return self.u.to(like.dtype)

    def draw_gumbel(self, shape):
        if self.gumbel is None:
            self.gumbel = -torch.log(-torch.log(torch.rand(shape, generator=self.generator).clamp_min(1e-9)))
        return self.gumbel


def call(logits, mask, flags):
    return routes.gate(
        logits, mask, use_fp32=True, second_expert_policy=flags.get("policy", "all"),
        normalize_gate_prob_before_dropping=flags.get("before", False), eval_mode=flags["frac"] >= 0,
        moe_eval_capacity_token_fraction=flags["frac"], batch_prioritized_routing=flags.get("bpr", False))


def run(index, name, tokens, experts, spread, flags):
    generator = torch.Generator().manual_seed(1000 + index)
    logits = torch.randn(tokens, experts, generator=generator) * spread
    logits[:, 0] += flags.get("skew", 0.0)
    if flags.get("ties"):
        logits = logits.round()
    if flags.get("half"):
        logits = logits.half()
    mask = None
    if "pads" in flags:
        mask = torch.zeros(tokens, dtype=torch.bool)
        mask[torch.randperm(tokens, generator=generator)[: flags["pads"]]] = True
    noise = Noise(generator)
    torch.rand_like, kept_rand_like = noise.rand_like, torch.rand_like
    top2gate.gumbel_map[logits.device] = noise.draw_gumbel
    try:
        (aux, combine, _, metadata), capacity, chosen, places = call(logits, mask, flags)
    finally:
        torch.rand_like = kept_rand_like
    gates = torch.softmax(logits.float(), dim=1)
    nonpad = torch.ones(tokens, dtype=torch.bool) if mask is None else ~mask
    out = {"logits": logits.float().numpy(), "gates": gates.numpy(), "l_aux": aux.float().numpy()}
    considered = [nonpad, nonpad]
    if flags.get("policy") == "random":
        pair = torch.stack([gates.gather(1, c.unsqueeze(1)).squeeze(1) for c in chosen], 1)
        share = pair / pair.sum(1, keepdim=True) if flags.get("before") else pair
        considered[1] = nonpad & (2 * share[:, 1] > noise.u)
    out |= routes.choices(capacity, chosen, places, combine, considered)
    out |= {f"considered{j + 1}": considered[j].numpy() for j in (0, 1)}
    if mask is not None:
        out["padding_mask"] = mask.numpy()
    if noise.u is not None:
        out["u"] = noise.u.numpy()
    if noise.gumbel is not None:
        out["gumbel"] = noise.gumbel.numpy()
    entry = {
        "file": f"{name}.npz", "name": name, "S": tokens, "E": experts, "eval_mode": flags["frac"] >= 0,
        "moe_eval_capacity_token_fraction": flags["frac"], "capacity": capacity,
        "normalize_gate_prob_before_dropping": flags.get("before", False),
        "second_expert_policy": flags.get("policy", "all"), "batch_prioritized_routing": flags.get("bpr", False),
        "weights_dtype": "f16" if flags.get("half") else "f32", "has_padding_mask": mask is not None,
        "metadata": {key: float(value) for key, value in metadata.items()}, "must_match_exactly_on_choices": True,
        "dropped1": int((out["considered1"] & ~out["kept1"]).sum()),
        "dropped2": int((out["considered2"] & ~out["kept2"]).sum()),
        "both_dropped": int((~out["kept1"] & ~out["kept2"] & nonpad.numpy()).sum())}
    return out, entry


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder / "gate"
    folder.mkdir(parents=True, exist_ok=True)
    book = []
    for index, (name, tokens, experts, spread, flags) in enumerate(CASES):
        arrays, entry = run(index, name, tokens, experts, spread, flags)
        np.savez_compressed(folder / entry["file"], **arrays)
        book.append(entry)
        print(f"{name}: capacity {entry['capacity']}, dropped {entry['dropped1']} and {entry['dropped2']}, both {entry['both_dropped']}")
    (folder / "cases.json").write_text(json.dumps({"cases": book}, indent=1) + "\n")


if __name__ == "__main__":
    main()
