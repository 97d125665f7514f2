#!/usr/bin/env python3
"""The model that ships as Q8_0 and Q4_K GGUF: how far moiety and llama.cpp are from exact arithmetic on the same weights.

    ninja -C build moiety && tools/check_quantised.py
Needs transformers, torch, gguf and llama-cpp-python; users never run it. llama.cpp's quantiser writes the files (every matrix but the routers),
gguf-py decodes them, transformers' own model code runs the decoded weights in float64 on 512 positions of held-out text (tools/train). Exit code 1
if moiety is further away than the bounds allow.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tools" / "train")]
POSITIONS, MOST_KL, LEAST_SAME = 512, 2e-3, 0.99


def held_out_tokens(folder):
    """Held-out documents, one after the other, cut at 512 tokens: what the model was trained to read."""
    from generate import document
    from tokenizers import Tokenizer
    tokenizer, ids, number = Tokenizer.from_file(str(folder / "tokenizer.json")), [], 0
    while len(ids) < POSITIONS:
        ids += [0] + tokenizer.encode(document("held-out", number)[0], add_special_tokens=False).ids + [1]
        number += 1
    return ids[:POSITIONS]


def shipped(folder):
    """The model as transformers reads it, in float64, and its options."""
    import transformers
    from golden import oracle
    options = {k: v for k, v in json.loads((folder / "config.json").read_text()).items() if k not in ("architectures", "torch_dtype", "dtype", "model_type")}
    model = oracle.build("Olmoe", options)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.load_state_dict(loaded.state_dict())
    return model


def moiety_logits(binary, file, tokens, activations, folder):
    out = folder / "logits.npy"
    subprocess.run([binary, "logits", "-m", str(file), "--tokens", ",".join(map(str, tokens)), "-c", str(len(tokens)), "--activations", activations, "-o", str(out)],
                   check=True, capture_output=True)
    return np.load(out).reshape(len(tokens), -1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "models" / "stories-12m")
    parser.add_argument("--binary", default=str(ROOT / "build" / "moiety"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    from golden import gguf_files, llama, oracle
    tokens, good = held_out_tokens(args.model), True
    print("| weights | program | mean KL | same top token |\n| --- | --- | ---: | ---: |")
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        gguf_files.write(scratch / "f32.gguf", shipped(args.model), "Olmoe")
        for kind in ("Q8_0", "Q4_K"):
            file = scratch / f"{kind}.gguf"
            llama.quantise(scratch / "f32.gguf", file, kind)
            assert gguf_files.types(file).keys() == {kind, "F32"}, gguf_files.types(file)
            model = shipped(args.model)
            gguf_files.load_into(file, model, "Olmoe")
            exact = oracle.run(model, [tokens])[0][0]
            for program, logits in (("moiety", moiety_logits(args.binary, file, tokens, "auto", scratch)),
                                    ("moiety --activations f32", moiety_logits(args.binary, file, tokens, "f32", scratch)),
                                    ("llama.cpp", llama.logits(file, [tokens])[0])):
                kl, _, same = oracle.mean_kl(exact, logits)
                bad = program.startswith("moiety") and (kl > MOST_KL or same < LEAST_SAME)
                good = good and not bad
                print(f"| {kind} | {program} | {kl:.2e} | {100 * same:.1f} % |{' FAIL' if bad else ''}", flush=True)
    print(f"{POSITIONS} positions of held-out text; bounds for moiety: mean KL {MOST_KL:g}, same top token {100 * LEAST_SAME:g} %")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
