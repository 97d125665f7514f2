"""Writes a checkpoint as a Hugging Face folder: bf16 safetensors in shards, config.json and the tokenizer's files.

    python export.py --checkpoint RUN/checkpoint.pt --tokenizer DATA/tokenizer --out models/stories-12m [--check]
"""
import argparse
import json
import os
import shutil

import torch
from safetensors.torch import save_file

from model import Config, Model

SHARD = 9_500_000


def load(path):
    state = torch.load(path, map_location="cpu")
    model = Model(Config(**state["config"]))
    model.load_state_dict(state["model"])
    return model.eval(), state


def shards(tensors):
    parts, size = [{}], 0
    for name, tensor in tensors.items():
        bytes_ = tensor.numel() * tensor.element_size()
        if size + bytes_ > SHARD and parts[-1]:
            parts.append({})
            size = 0
        parts[-1][name] = tensor
        size += bytes_
    return parts


def export(model, tokenizer, folder):
    os.makedirs(folder, exist_ok=True)
    for old in os.listdir(folder):
        if old.endswith(".safetensors"):
            os.remove(os.path.join(folder, old))
    tensors = {name: t.to(torch.bfloat16) for name, t in model.huggingface().items()}
    parts, where = shards(tensors), {}
    for i, part in enumerate(parts):
        name = f"model-{i + 1:05d}-of-{len(parts):05d}.safetensors"
        save_file(part, os.path.join(folder, name), metadata={"format": "pt"})
        where.update({tensor: name for tensor in part})
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    files = {"model.safetensors.index.json": {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}, "config.json": model.c.huggingface()}
    for name, content in files.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as out:
            out.write(json.dumps(content, indent=2) + "\n")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(os.path.join(tokenizer, name), folder)
    print(f"{len(tensors)} tensors, {sum(t.numel() for t in tensors.values())} parameters, {total} bytes in {len(parts)} files")


@torch.no_grad()
def check(model, folder):
    """transformers' OLMoE on the exported folder, in float32, beside the training model with the same rounded weights."""
    from transformers import AutoModelForCausalLM
    for p in model.parameters():
        p.data = p.data.to(torch.bfloat16).float()
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.randint(0, model.c.vocab, (2, 256), generator=torch.Generator().manual_seed(3))
    a, b = model(ids), theirs(ids).logits
    print(f"largest difference of the logits {(a - b).abs().max().item():.2e}, largest logit {b.abs().max().item():.2f}")
    assert (a - b).abs().max() <= 1e-4 * max(1.0, b.abs().max().item())


if __name__ == "__main__":
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--checkpoint", required=True)
    a.add_argument("--tokenizer", required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--check", action="store_true")
    a.add_argument("--threads", type=int, default=2)
    options = a.parse_args()
    torch.set_num_threads(options.threads)
    trained, state = load(options.checkpoint)
    export(trained, options.tokenizer, options.out)
    print(f"step {state['step']}, {state['seconds']:.0f} seconds of training")
    if options.check:
        check(trained, options.out)
