"""The oracle: transformers' own model code, run in float64 on given weights.

transformers computes norms, softmax and rotary tables in float32 whatever the model's dtype, so for the time of a
run its modules see a `torch` whose float32 is float64.
"""
import contextlib
import importlib
import math

import numpy as np
import torch
import transformers
from transformers import modeling_rope_utils

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


class _DoubleTorch:
    """Stands for the module torch; float32 is float64."""
    float32 = torch.float64
    float = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


@contextlib.contextmanager
def double_precision(model_type):
    modules = [modeling_rope_utils, importlib.import_module(f"transformers.models.{model_type}.modeling_{model_type}")]
    real_float, real_default = torch.Tensor.float, torch.get_default_dtype()
    for module in modules:
        module.torch = _DoubleTorch()
    torch.Tensor.float = torch.Tensor.double
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        for module in modules:
            module.torch = torch
        torch.Tensor.float = real_float
        torch.set_default_dtype(real_default)


def build(family, options):
    """A float64 model with transformers' class `family` ("Olmoe") and config `options`."""
    config = getattr(transformers, family + "Config")(**options)
    config._experts_implementation = "eager"
    with double_precision(config.model_type):
        model = getattr(transformers, family + "ForCausalLM")._from_config(config, attn_implementation="eager")
    return model.double().eval()


def parameter_std(name, shape, options):
    if name.endswith("embed_tokens.weight"):
        return 1.0 / options.get("embedding_multiplier", 1.0)
    if name.endswith("bias"):
        return 0.2
    if name.endswith(("gate.weight", "router.weight")):
        return 4.0 / math.sqrt(shape[-1])
    if name == "lm_head.weight":
        return 2.0 / math.sqrt(shape[-1])
    return 1.2 / math.sqrt(shape[-1])


def randomise(model, options, seed, dtype):
    """Fills the parameters from the seed, each value representable in `dtype`."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = rng.standard_normal(tuple(parameter.shape))
            if "norm" in name and name.endswith("weight"):
                value = 1.0 + 0.1 * noise
            else:
                value = parameter_std(name, parameter.shape, options) * noise
            parameter.copy_(torch.tensor(value).to(dtype).double())


def routers(model):
    return [m for m in model.modules() if type(m).__name__.endswith(("TopKRouter", "TopKGating"))]


def run(model, tokens):
    """Logits [P, T, V] of tokens [P, T], and for each token the smallest gap of any router between the last expert
    taken and the first one left (infinite in a dense model)."""
    gaps, hooks = [], []
    top_k = getattr(model.config, "num_experts_per_tok", 0)

    def watch(module, inputs, _):
        scores = inputs[0].reshape(-1, inputs[0].shape[-1]) @ module.weight.T
        ranked = scores.sort(dim=-1, descending=True).values
        gaps.append((ranked[:, top_k - 1] - ranked[:, top_k]).detach())

    for router in routers(model):
        hooks.append(router.register_forward_hook(watch))
    ids = torch.tensor(np.asarray(tokens), dtype=torch.long)
    try:
        with double_precision(model.config.model_type), torch.no_grad():
            logits = model(input_ids=ids, use_cache=False).logits
    finally:
        for hook in hooks:
            hook.remove()
    assert logits.dtype == torch.float64 and torch.isfinite(logits).all()
    gap = torch.stack(gaps).min(dim=0).values.reshape(ids.shape) if gaps else torch.full(ids.shape, math.inf)
    return logits.numpy(), gap.numpy()


def choose_prompts(model, prompts, length, margin, seed, tries=200):
    """Random tokens [P, T] at whose every position every router decides by at least `margin`: chosen one position
    after the other, which a causal model allows."""
    rng = np.random.default_rng(seed)
    vocab = model.config.vocab_size
    tokens = np.zeros((prompts, 0), dtype=np.int64)
    for _ in range(length):
        best = np.full(prompts, -1.0)
        chosen = np.zeros(prompts, dtype=np.int64)
        for _ in range(tries):
            open_rows = np.flatnonzero(best < margin)
            if not len(open_rows):
                break
            candidates = rng.integers(0, vocab, len(open_rows))
            trial = np.concatenate([tokens[open_rows], candidates[:, None]], axis=1)
            gap = run(model, trial)[1][:, -1]
            for row, token, value in zip(open_rows, candidates, gap):
                if value > best[row]:
                    best[row], chosen[row] = value, token
        if best.min() < margin:
            raise RuntimeError(f"no prompt with a routing margin of {margin}: best {best.min()}")
        tokens = np.concatenate([tokens, chosen[:, None]], axis=1)
    return tokens


def greedy(model, prompt, count, margin):
    """Up to `count` greedy tokens after `prompt`; stops where a router or the choice of the token is not clear."""
    tokens = list(map(int, prompt))
    out = []
    for _ in range(count):
        logits, gap = run(model, [tokens])
        ranked = np.sort(logits[0, -1])
        if gap[0, -1] < margin or ranked[-1] - ranked[-2] < 1e-3 * np.abs(logits).max():
            break
        out.append(int(logits[0, -1].argmax()))
        tokens.append(out[-1])
    return out


def mean_kl(oracle, other):
    """Mean and largest KL(oracle || other) over positions, and the share of equal top tokens."""
    def log_softmax(x):
        x = np.asarray(x, dtype=np.float64)
        x = x - x.max(axis=-1, keepdims=True)
        return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
    p, q = log_softmax(oracle), log_softmax(other)
    kl = (np.exp(p) * (p - q)).sum(axis=-1).reshape(-1)
    same = (np.argmax(oracle, axis=-1) == np.argmax(other, axis=-1)).mean()
    return float(kl.mean()), float(kl.max()), float(same)
