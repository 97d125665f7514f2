"""Runs moiety and llama.cpp on one GGUF file, alternating, with the same threads, and prints speeds and their ratios.

    python bench/peers.py MODEL.gguf [--moiety build/moiety] [-p 512] [-n 64] [-t 2] [-r 3]

Needs llama-cpp-python, best built natively: CMAKE_ARGS="-DGGML_NATIVE=ON" pip install llama-cpp-python.
llama.cpp runs with repacking on and off; the better of the two counts.
"""
import argparse
import ctypes
import json
import statistics
import subprocess
import sys
import time

import llama_cpp as lc


def llama(path, threads, prompt, generate, repack):
    """Tokens a second of one prompt of `prompt` tokens and of `generate` steps, after a warm-up."""
    params = lc.llama_model_default_params()
    if hasattr(params, "use_extra_bufts"):
        params.use_extra_bufts = repack
    model = lc.llama_model_load_from_file(path.encode(), params)
    options = lc.llama_context_default_params()
    options.n_ctx = options.n_batch = options.n_ubatch = prompt + generate + 8
    options.n_ubatch = min(512, options.n_batch)
    options.n_threads = options.n_threads_batch = threads
    context = lc.llama_init_from_model(model, options)
    vocabulary = lc.llama_vocab_n_tokens(lc.llama_model_get_vocab(model))

    def decode(count):
        tokens = (lc.llama_token * count)(*[(i * 7919 + 13) % vocabulary for i in range(count)])
        if lc.llama_decode(context, lc.llama_batch_get_one(tokens, count)) != 0:
            raise RuntimeError("llama_decode failed")
        lc.llama_synchronize(context)

    def clear():
        lc.llama_memory_clear(lc.llama_get_memory(context), True)

    decode(1)
    clear()
    start = time.perf_counter()
    decode(prompt)
    prefill = prompt / (time.perf_counter() - start)
    clear()
    decode(1)
    start = time.perf_counter()
    for _ in range(generate):
        decode(1)
    speed = generate / (time.perf_counter() - start)
    lc.llama_free(context)
    lc.llama_model_free(model)
    return prefill, speed


def moiety(binary, path, threads, prompt, generate):
    out = subprocess.run([binary, "bench", "-m", path, "-p", str(prompt), "-n", str(generate), "-r", "1", "-t", str(threads), "-o", "json"],
                         check=True, capture_output=True, text=True).stdout
    rows = json.loads(out)
    return (next(r["avg_ts"] for r in rows if r["n_prompt"]), next(r["avg_ts"] for r in rows if r["n_gen"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--moiety", default="build/moiety")
    parser.add_argument("-p", type=int, default=512)
    parser.add_argument("-n", type=int, default=64)
    parser.add_argument("-t", type=int, default=2)
    parser.add_argument("-r", type=int, default=3)
    a = parser.parse_args()
    log = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
    lc.llama_log_set(log, None)
    lc.llama_backend_init()
    print(f"llama-cpp-python {lc.__version__}, {a.t} threads, pp{a.p} and tg{a.n}, {a.r} rounds, alternating")
    runs = {}
    engines = {"moiety": lambda: moiety(a.moiety, a.model, a.t, a.p, a.n)}
    for repack in (True, False):
        engines[f"llama.cpp, repack {'on' if repack else 'off'}"] = lambda repack=repack: llama(a.model, a.t, a.p, a.n, repack)
    for _ in range(a.r):
        for name, run in engines.items():
            runs.setdefault(name, []).append(run())
            print(f"  {name}: {runs[name][-1][0]:.1f}, {runs[name][-1][1]:.1f}", file=sys.stderr, flush=True)
    medians = {name: [statistics.median(r[i] for r in rows) for i in (0, 1)] for name, rows in runs.items()}
    best = [max(m[i] for name, m in medians.items() if name != "moiety") for i in (0, 1)]
    print(f"| engine | pp{a.p} t/s (min..max) | tg{a.n} t/s (min..max) |\n| --- | ---: | ---: |")
    for name, rows in runs.items():
        cells = [f"{medians[name][i]:.1f} ({min(r[i] for r in rows):.1f}..{max(r[i] for r in rows):.1f})" for i in (0, 1)]
        print(f"| {name} | {cells[0]} | {cells[1]} |")
    print(f"moiety against the best of llama.cpp: prefill {medians['moiety'][0] / best[0]:.2f}x, decode {medians['moiety'][1] / best[1]:.2f}x")


if __name__ == "__main__":
    main()
