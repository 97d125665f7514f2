#!/usr/bin/env python3
"""Makes the golden files of the tests (needs transformers, torch, gguf, llama-cpp-python; users never run it).

  make_golden.py blocks    tests/core/fixtures: random blocks decoded by gguf-py, floats encoded by llama.cpp
  make_golden.py models    tests/golden: tiny models as Hugging Face folders and GGUF, with float64 logits
  make_golden.py quantised tests/golden: GGUF files of every quantised type
--only TEXT limits to the cases whose name contains TEXT.
"""
import argparse
import importlib.metadata
import json
import pathlib
import shutil
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"


def versions():
    names = ["transformers", "torch", "gguf", "llama-cpp-python", "numpy"]
    return {name: importlib.metadata.version(name) for name in names}


def record(case):
    """Adds or replaces one case in cases.json."""
    path = GOLDEN / "cases.json"
    book = json.loads(path.read_text()) if path.exists() else {"cases": []}
    book["made_with"] = versions()
    book["cases"] = sorted([c for c in book["cases"] if c["name"] != case["name"]] + [case], key=lambda c: c["name"])
    head = {k: v for k, v in book.items() if k != "cases"}
    lines = ",\n".join("  " + json.dumps(c) for c in book["cases"])
    path.write_text(json.dumps(head, indent=1)[:-2] + ',\n "cases": [\n' + lines + "\n ]\n}\n")
    print(case["name"], {k: v for k, v in case.items() if k not in ("name", "tokens", "greedy")}, flush=True)


def save_oracle(folder, oracle_logits):
    np.save(folder / "logits.npy", oracle_logits.reshape(-1, oracle_logits.shape[-1]).astype(np.float32))


def spell_as_transformers_4(config):
    """config.json as transformers 4 wrote it."""
    parameters = config.pop("rope_parameters")
    config["rope_theta"] = parameters.pop("rope_theta")
    config["rope_scaling"] = None if parameters["rope_type"] == "default" else parameters
    config["torch_dtype"] = config.pop("dtype")
    if config["model_type"] in ("olmoe", "qwen3_moe"):
        config["num_experts"] = config.pop("num_local_experts", None) or config.pop("num_experts")
    if config["model_type"] == "qwen3":
        config.pop("layer_types", None)
    config["transformers_version"] = "4.51.0"
    return config


def write_folder(folder, model, dtype, spelling, shards):
    import torch
    folder.mkdir(parents=True)
    model.to(getattr(torch, dtype))
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    model.save_pretrained(folder, max_shard_size=size if shards == 1 else size // shards)
    model.double()
    path = folder / "config.json"
    config = json.loads(path.read_text())
    if spelling == 4:
        config = spell_as_transformers_4(config)
    path.write_text(json.dumps(config, indent=1) + "\n")


def make_model(name, family, options, how, seed):
    import torch
    from golden import gguf_files, llama, oracle
    dtype = how.get("dtype", "float32")
    model = oracle.build(family, options)
    oracle.randomise(model, options, seed, getattr(torch, dtype))
    margin = 0.02
    tokens = oracle.choose_prompts(model, 2, 40, margin, seed)
    logits, gap = oracle.run(model, tokens)
    greedy = oracle.greedy(model, tokens[0], 8, margin)
    common = dict(tokens=tokens.tolist(), greedy=greedy, activations="f32", tolerance=1e-4, family=family)
    if "context" in how:
        common["context"] = how["context"]
    if np.isfinite(gap.min()):
        common["routing_margin"] = round(float(gap.min()), 4)
    folder = GOLDEN / name
    shutil.rmtree(folder, ignore_errors=True)
    write_folder(folder, model, dtype, how["spelling"], how.get("shards", 1))
    save_oracle(folder, logits)
    record(dict(name=name, kind="hf", model=name, logits=f"{name}/logits.npy", dtype=dtype) | common)
    for kind in how.get("gguf", []):
        make_gguf(f"{name}-gguf-{kind.lower()}", family, options, model, kind, common, logits, folder)


def make_gguf(name, family, options, model, kind, common, logits, hf_folder):
    """A float GGUF. Where its values are the folder's, it shares the folder's logits."""
    from golden import gguf_files, llama, oracle
    folder = GOLDEN / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    gguf_files.write(folder / "model.gguf", model, family, kind)
    where = f"{hf_folder.name}/logits.npy"
    if kind != "F32":
        rounded = oracle.build(family, options)
        gguf_files.load_into(folder / "model.gguf", rounded, family)
        logits, gap = oracle.run(rounded, common["tokens"])
        common = common | dict(greedy=oracle.greedy(rounded, common["tokens"][0], 8, 0.01),
                               routing_margin=round(float(gap.min()), 4))
        assert gap.min() > 1e-3
        save_oracle(folder, logits)
        where = f"{name}/logits.npy"
    theirs = llama.logits(folder / "model.gguf", common["tokens"], exact_cache=True)
    far = float(np.abs(theirs - logits).max() / np.abs(logits).max())
    if kind == "F32" and far > 2e-5:  # else llama.cpp rounds activations to the weights' type
        raise RuntimeError(f"{name}: llama.cpp and transformers disagree by {far}")
    record(dict(name=name, kind="gguf", model=f"{name}/model.gguf", logits=where, dtype=kind.lower()) | common |
           dict(llama_cpp_distance=far))


def make_quantised(kind, options, seed):
    import torch
    from golden import gguf_files, llama, oracle
    name = f"olmoe-{kind.lower()}"
    folder = GOLDEN / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source = folder / "f32.gguf"
    model = oracle.build("Olmoe", options)
    oracle.randomise(model, options, seed, torch.float32)
    gguf_files.write(source, model, "Olmoe")
    llama.quantise(source, folder / "model.gguf", kind)
    source.unlink()
    gguf_files.load_into(folder / "model.gguf", model, "Olmoe")
    margin = 0.3
    tokens = oracle.choose_prompts(model, 8, 32, margin, seed)
    logits, gap = oracle.run(model, tokens)
    save_oracle(folder, logits)
    theirs = llama.logits(folder / "model.gguf", tokens)
    mean, worst, same = oracle.mean_kl(logits, theirs)
    record(dict(name=name, kind="gguf", model=f"{name}/model.gguf", logits=f"{name}/logits.npy", dtype=kind.lower(),
                tokens=tokens.tolist(), greedy=oracle.greedy(model, tokens[0], 8, margin), activations="f32",
                tolerance=1e-4, family="Olmoe", routing_margin=round(float(gap.min()), 4),
                llama_cpp=dict(mean_kl=mean, max_kl=worst, same_top=same),
                types=gguf_files.types(folder / "model.gguf")))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["blocks", "models", "quantised"])
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    if args.what == "blocks":
        from golden import blocks
        blocks.make(ROOT / "tests" / "core" / "fixtures")
        return
    from golden import cases
    if args.what == "models":
        for index, (name, family, options, how) in enumerate(cases.CASES):
            if args.only in name:
                make_model(name, family, options, how, seed=1000 + index)  # so: new cases at the end
    else:
        for kind, options in cases.QUANTISED:
            if args.only in kind:
                make_quantised(kind, options, seed=77)


if __name__ == "__main__":
    main()
