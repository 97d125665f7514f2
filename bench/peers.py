"""Runs moiety, llama.cpp and any llama-bench on one GGUF file, alternating, with the same threads; prints speeds and ratios.

    python bench/peers.py MODEL.gguf [-p 16,64,512] [-n 48] [-t 2] [-r 3]
    python bench/peers.py MODEL.gguf --peer "ik_llama.cpp=BUILD/bin/llama-bench" --packed FOLDER

llama.cpp comes from PyPI (llama-cpp-python): where it is missing it is built for this CPU, in --venv. --no-llama leaves it out.
Each peer runs in every mode that can help it: weights repacked at load or not, flash attention on or off; the best one in each
test counts, one that fails is told and left out. --peer NAME=PATH adds the llama-bench of another program (it gets -fa, and -rtr
where its help names it).
--packed is what `moiety pack` made of the same file: it runs beside, and is told apart.
"""
import argparse
import ctypes
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
import venv

VERSION = "0.3.36"


def install(folder):
    """A Python that has llama-cpp-python, built natively."""
    python = os.path.join(folder, "bin", "python")
    if not os.path.exists(python):
        print(f"{folder}: installing llama-cpp-python {VERSION}, built for this CPU (some minutes)", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-binary", "llama-cpp-python", f"llama-cpp-python=={VERSION}"],
                       check=True, env=os.environ | {"CMAKE_ARGS": "-DGGML_NATIVE=ON " + os.environ.get("CMAKE_ARGS", "")})
    return python


def llama(path, threads, prompts, generate, repack, flash):
    """{test: tokens a second} of llama.cpp in this process, each after a warm-up."""
    import llama_cpp as lc

    log = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
    lc.llama_log_set(log, None)
    lc.llama_backend_init()
    params = lc.llama_model_default_params()
    params.use_extra_bufts = repack
    model = lc.llama_model_load_from_file(path.encode(), params)
    options = lc.llama_context_default_params()
    options.n_ctx = options.n_batch = max(prompts, default=0) + generate + 8
    options.n_ubatch = min(512, options.n_batch)
    options.n_threads = options.n_threads_batch = threads
    options.flash_attn_type = int(flash)
    context = lc.llama_init_from_model(model, options)
    vocabulary = lc.llama_vocab_n_tokens(lc.llama_model_get_vocab(model))

    def decode(count):
        tokens = (lc.llama_token * count)(*[(i * 7919 + 13) % vocabulary for i in range(count)])
        if lc.llama_decode(context, lc.llama_batch_get_one(tokens, count)) != 0:
            raise RuntimeError("llama_decode failed")
        lc.llama_synchronize(context)

    def timed(count, steps):
        lc.llama_memory_clear(lc.llama_get_memory(context), True)
        start = time.perf_counter()
        for _ in range(steps):
            decode(count)
        return count * steps / (time.perf_counter() - start)

    speeds = {}
    for prompt in prompts:
        timed(prompt, 1)
        speeds[f"pp{prompt}"] = timed(prompt, 1)
    if generate:
        timed(1, 2)
        speeds[f"tg{generate}"] = timed(1, generate)
    return speeds


class Failed(Exception):
    """A program that did not end well."""


def output(command):
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise Failed(f"{' '.join(command)}: exit code {run.returncode}\n{run.stderr[-2000:]}".strip())
    return run.stdout


def bench(command, a):
    """{test: tokens a second} of `moiety bench` or a llama-bench: they take the same flags."""
    rows = json.loads(output(command + ["-p", a.prompts or "0", "-n", str(a.n), "-r", "1", "-t", str(a.t), "-o", "json"]))
    return {f"pp{r['n_prompt']}" if r["n_prompt"] else f"tg{r['n_gen']}": r["avg_ts"] for r in rows}


def engines(a):
    """{name: function to {test: tokens a second}}"""
    table = {"moiety": lambda: bench([a.moiety, "bench", "-m", a.model], a)}
    if a.packed:
        table["moiety, packed"] = lambda: bench([a.moiety, "bench", "-m", a.packed], a)
    if not a.no_llama:
        python = install(a.venv)
        for repack, flash in itertools.product((1, 0), (1, 0)):
            command = [python, __file__, a.model, "--llama", f"{repack}{flash}", "-p", a.prompts, "-n", str(a.n), "-t", str(a.t)]
            table[f"llama.cpp, repack {repack}, flash {flash}"] = lambda command=command: json.loads(output(command))
    for peer in a.peer:
        name, _, program = peer.partition("=")
        known = subprocess.run([program, "--help"], capture_output=True, text=True)
        repacks = "-rtr" in known.stdout + known.stderr
        for repack, flash in itertools.product((1, 0) if repacks else (None,), (1, 0)):
            flags = ([] if repack is None else ["-rtr", str(repack)]) + ["-fa", str(flash)]
            label = name + ("" if repack is None else f", repack {repack}") + f", flash {flash}"
            table[label] = lambda program=program, flags=flags: bench([program, "-m", a.model, *flags], a)
    return table


def report(runs, a):
    tests = list(runs["moiety"][0])
    median = {name: {t: statistics.median(r[t] for r in rows) for t in tests} for name, rows in runs.items()}
    print("| engine | " + " | ".join(f"{t} t/s (min..max)" for t in tests) + " |\n| --- |" + " ---: |" * len(tests))
    for name, rows in runs.items():
        print(f"| {name} | " + " | ".join(f"{median[name][t]:.1f} ({min(r[t] for r in rows):.1f}..{max(r[t] for r in rows):.1f})" for t in tests) + " |")
    ours = [name for name in runs if name.startswith("moiety")]
    for peer in dict.fromkeys(name.partition(",")[0] for name in runs if name not in ours):
        modes = [name for name in runs if name.partition(",")[0] == peer]
        for own in ours:
            cells = []
            for t in tests:
                best = max(modes, key=lambda name: median[name][t])
                ratios = [x[t] / y[t] for x, y in zip(runs[own], runs[best])]
                cells.append(f"{t} {statistics.median(ratios):.2f}x ({min(ratios):.2f}..{max(ratios):.2f})")
            print(f"\n{own} against the best of {peer}, round by round: " + ", ".join(cells))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--moiety", default="build/moiety", help="the binary")
    parser.add_argument("--packed", help="a folder that `moiety pack` made of the model")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PATH", help="another program's llama-bench")
    parser.add_argument("--no-llama", action="store_true", help="without llama.cpp")
    parser.add_argument("--venv", default="build/peers-venv", help="where llama-cpp-python is installed")
    parser.add_argument("-p", dest="prompts", default="512", help="prompt lengths, a list")
    parser.add_argument("-n", type=int, default=64, help="tokens to generate")
    parser.add_argument("-t", type=int, default=2, help="threads")
    parser.add_argument("-r", type=int, default=3, help="rounds")
    parser.add_argument("--llama", help=argparse.SUPPRESS)  # this script as llama.cpp's process: repack, flash
    a = parser.parse_args()
    if a.llama:
        prompts = [int(p) for p in a.prompts.split(",") if int(p)]
        print(json.dumps(llama(a.model, a.t, prompts, a.n, a.llama[0] == "1", a.llama[1] == "1")))
        return
    table = engines(a)
    print(f"{a.t} threads, {a.r} rounds, alternating", file=sys.stderr)
    runs, failed = {}, {}
    for _ in range(a.r):
        for name, run in table.items():
            if name in failed:
                continue
            try:
                runs.setdefault(name, []).append(run())
            except Failed as error:
                if name == "moiety":
                    sys.exit(str(error))
                failed[name] = str(error)
                runs.pop(name)
                print(f"  {name}: {error}", file=sys.stderr, flush=True)
                continue
            print(f"  {name}: " + ", ".join(f"{t} {v:.1f}" for t, v in runs[name][-1].items()), file=sys.stderr, flush=True)
    report(runs, a)
    for name, error in failed.items():
        print(f"\n{name} failed and does not count: {error.splitlines()[0].rpartition(': ')[2]}")


if __name__ == "__main__":
    main()
