#!/usr/bin/env python3
"""Checkpoints for tests/fairseq: small language models that an installed fairseq builds, saves and answers for, each in
another form. Weights are random with fixed seeds; the same bytes come again, but for the timers of m-trained. Needs
torch, fairseq's branch moe with its Cython parts built, and what that imports: fairscale==0.4.0, hydra-core==1.0.7,
omegaconf==2.0.6, iopath, regex, sacrebleu, bitarray.

`PYTHONPATH=FAIRSEQ tools/fairseq/make_checkpoints.py tests/fairseq/data` writes ckpt/NAME/ with the files of the
checkpoint, expect.json (modes, batches, what was dropped), expect.npz and score.npz."""

import argparse
import dataclasses
import logging
import pathlib
import shutil
import tempfile
import typing
import zlib

import lm_training
import lm_answers
import torch

TIED = "--share-decoder-input-output-embed"
NODROP, TRAIN = {"frac": 1.0}, {"frac": -1.0}


def clear(gate):
    return gate


def zero(gate):
    return torch.zeros_like(gate)


def twins(gate):
    """Ten experts: three of one row, two and two of another, three alone."""
    return gate[[0, 1, 2, 1, 3, 4, 1, 3, 5, 2]]


def make_old(case, state):
    """As older versions of fairseq saved: settings in `args` alone, no final LayerNorm (version 2), the table of
    positions, but not the head."""
    state["args"] = lm_training.settings(case, 0)[0]
    del state["cfg"]
    model = state["model"]
    del model["decoder.output_projection.weight"], model["decoder.layer_norm.weight"], model["decoder.layer_norm.bias"]
    model["decoder.version"] = torch.tensor([2.0])
    model["decoder.embed_positions.weights"] = torch.zeros(4, case.width)


@dataclasses.dataclass
class Case:
    name: str
    about: str
    modes: dict
    layers: int = 2
    width: int = 16
    heads: int = 2
    ffn: int = 32
    experts: int = 4
    every: int = 2  # which layers have experts
    ranks: int = 1
    flags: tuple = (TIED,)
    spread: float = 2.0  # of the gate's logits
    gate: typing.Callable = clear
    seed: int = 1
    steps: int = 0
    form: str = "ranks"  # how it is saved: ranks, merged, sharded, consolidated
    sharded: bool = False
    keep_shards: bool = False
    legacy: bool = False
    edit: typing.Callable = None
    refused: dict = None
    batches: tuple = ("main", "padded")
    scored: int = 0
    block: int = 16

    @property
    def dice(self):
        """Where all that is random begins."""
        return zlib.crc32(f"{self.name} {self.seed}".encode())

    @property
    def tied(self):
        return TIED in self.flags

    @property
    def alone(self):
        """In one file."""
        return self.form == "merged" or self.experts == 0


HALF = ("--fp16", "--memory-efficient-fp16")
FLAT = ("--use-sharded-state", "--no-save-optimizer-state")

CASES = [
    Case("a-1rank-f32", "one rank; experts in every layer; the head is the embedding's own storage",
         {"nodrop": NODROP, "frac010": {"frac": 0.1}}, every=1, batches=("main", "padded", "inner", "single")),
    Case("b-2ranks-f16", "f16 as trained; 36 wide, 3 heads, 6 experts; the settings normalise gates before dropping",
         {"nodrop": NODROP, "frac015": {"frac": 0.15}, "frac015_after": {"frac": 0.15, "norm": False},
          "train_bpr": {"frac": -1.0, "bpr": True}},
         width=36, heads=3, ffn=44, experts=6, ranks=2,
         flags=(TIED, *HALF, "--moe-normalize-gate-prob-before-dropping")),
    Case("c-4ranks-f32", "16 experts, 4 a rank",
         {"nodrop": NODROP, "train": TRAIN, "frac005": {"frac": 0.05},
          "frac008_bpr_padmask": {"frac": 0.08, "bpr": True, "padmask": True}},
         ffn=16, experts=16, ranks=4, seed=2, scored=40),
    Case("d-4ranks-legacy", "an expert a rank; trained in f16, saved in f32, the head a second copy; legacy container",
         {"nodrop": NODROP, "frac020": {"frac": 0.2}}, ranks=4, legacy=True,
         flags=(TIED, "--fp16", "--fp16-no-flatten-grads")),
    Case("e-8ranks-4experts", "more ranks than experts: expert N mod 4 in file N", {"nodrop": NODROP, "train": TRAIN},
         layers=1, every=1, ffn=16, ranks=8, flags=(TIED, "--no-save-optimizer-state")),
    Case("f-fsdp-whole", "fully sharded training that saved whole parameters, in files of ranks and shards",
         {"nodrop": NODROP, "frac010_before": {"frac": 0.1, "norm": True}}, layers=1, every=1, ranks=2, form="sharded",
         sharded=True, flags=(TIED, "--no-save-optimizer-state")),
    Case("g-fsdp-consolidated", "flat shards consolidated by fairseq: one shared file, one a rank, storages shared",
         {"nodrop": NODROP, "frac010": {"frac": 0.1}}, ranks=2, form="consolidated", sharded=True, flags=(TIED, *HALF, *FLAT)),
    Case("h-dense-consolidated", "no experts: flat shards, which are refused, and what fairseq consolidates them to",
         {"nodrop": NODROP}, layers=1, ffn=16, experts=0, ranks=2, form="consolidated", sharded=True, keep_shards=True,
         flags=(TIED, *FLAT), refused={"checkpoint_last.pt": "consolidate"}),
    Case("i-merged-untied", "two ranks' files in one; a head of its own; no final LayerNorm",
         {"train_padmask": {"frac": -1.0, "padmask": True}, "frac010_padmask": {"frac": 0.1, "padmask": True}}, ranks=2,
         form="merged", flags=("--no-decoder-final-norm",)),
    Case("j-merged-old", "as older versions saved: a namespace of settings, no head; raw embeddings; legacy container",
         {"nodrop": NODROP, "frac010": {"frac": 0.1}}, ranks=2, form="merged", legacy=True, edit=make_old,
         flags=(TIED, "--no-scale-embedding")),
    Case("k-ties-zero", "a gate of zeros: all tokens choose the first two of 5 experts alike",
         {"nodrop": NODROP, "frac010": {"frac": 0.1}, "train": TRAIN}, experts=5, gate=zero),
    Case("l-ties-twins", "a gate with equal rows, two or three of each: first with second, second with third",
         {"nodrop": NODROP, "frac010": {"frac": 0.1}, "train_before": {"frac": -1.0, "norm": True}}, ffn=16, experts=10,
         ranks=2, gate=twins),
    Case("m-trained", "after two steps, with the optimizer's state; batches longer than the context; legacy container",
         {"frac010": {"frac": 0.1}, "train": TRAIN}, layers=1, every=1, ffn=16, ranks=2, steps=2, legacy=True,
         flags=(TIED, "--tokens-per-sample", "28", "--max-tokens", "28")),
]


def make(case, data):
    folder = data / "ckpt" / case.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        path = lm_training.make(case, scratch)
        lm_answers.answer(case, path, folder)
        for file in path.parent.glob("*.pt"):
            shutil.copyfile(file, folder / file.name)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{case.name}: {size / 1024:.0f} KiB, {len(list(folder.iterdir()))} files", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="gets ckpt/NAME/; what stands there is replaced")
    parser.add_argument("names", nargs="*", help="only these")
    given = parser.parse_args()
    unknown = set(given.names) - {case.name for case in CASES}
    if unknown:
        parser.error(f"no such checkpoint: {', '.join(sorted(unknown))}; there are {', '.join(c.name for c in CASES)}")
    logging.disable(logging.WARNING)
    for case in CASES:
        if not given.names or case.name in given.names:
            make(case, given.folder.resolve())


if __name__ == "__main__":
    main()
