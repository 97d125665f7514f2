"""Perplexities and the speed-up factor of models that were trained on the same tokens, all computed by moiety.

    python compare.py --binary build/moiety --data DIR --out WORK --tokens 5926912 --outside LICENSE -- models/stories-12m DENSE...
writes WORK/held-out/*.txt (the first --documents texts of held_out.jsonl), WORK/NAME-{in,out}.json (results of `eval ppl --json`),
WORK/points.json, and compares with `eval compare`. Differences are from the first model, with their standard error over the documents.
"""
import argparse
import json
import math
import os
import subprocess


def call(options, *arguments):
    command = [options.binary, *arguments]
    print("$ " + " ".join(command), flush=True)
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def write_texts(options):
    folder = os.path.join(options.out, "held-out")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(options.data, "held_out.jsonl"), encoding="utf-8") as rows:
        for i, row in zip(range(options.documents), rows):
            with open(os.path.join(folder, f"{i:04}.txt"), "w", encoding="utf-8") as out:
                out.write(json.loads(row)["text"])
    return folder


def scored(options, model, name, texts):
    """The texts of one set; what was scored before is read from WORK."""
    path = os.path.join(options.out, name + ".json")
    if not os.path.exists(path):
        result = call(options, "eval", "ppl", "-m", model, "--threads", str(options.threads), "--json", *texts)
        with open(path + ".new", "w", encoding="utf-8") as out:
            out.write(result)
        os.replace(path + ".new", path)
    with open(path, encoding="utf-8") as result:
        return json.load(result)


def perplexity(rows):
    return math.exp(sum(r["nats"] for r in rows) / sum(r["tokens"] for r in rows))


def bits(rows):
    """A byte of all the texts."""
    size = sum(r["nats"] / math.log(2) / r["bits_per_byte"] for r in rows)
    return sum(r["nats"] for r in rows) / math.log(2) / size


def difference(rows, first):
    """Nats a token more than the first model, and the standard error: documents are drawn, tokens within one are not independent."""
    tokens = sum(r["tokens"] for r in rows)
    gaps = [(r["nats"] - f["nats"], r["tokens"]) for r, f in zip(rows, first, strict=True)]
    mean = sum(gap for gap, _ in gaps) / tokens
    spread = sum((gap - mean * n) ** 2 for gap, n in gaps)
    return f"{mean:+.4f} ± {math.sqrt(spread) / tokens:.4f}"


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("models", nargs="+", help="folders; the first is compared with")
    a.add_argument("--binary", required=True, help="moiety")
    a.add_argument("--data", required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--tokens", required=True, help="that the models were trained on: N for all, then NAME=N for others: 5926912,moe-1800=3686400")
    a.add_argument("--outside", nargs="+", required=True, help="files and folders of other text")
    a.add_argument("--documents", type=int, default=1000)
    a.add_argument("--threads", type=int, default=2)
    options = a.parse_args()
    held_out, points, table, first = write_texts(options), [], [], None
    tokens = {name: int(count) for name, _, count in (("", "", t) if "=" not in t else t.partition("=") for t in options.tokens.split(","))}
    for model in options.models:
        name = model.rstrip("/").split("/")[-1]
        inside = scored(options, model, name + "-in", [held_out])
        outside = scored(options, model, name + "-out", options.outside)
        first = first or inside
        cells = [f"{perplexity(inside):.4f}", difference(inside, first) if inside is not first else "", f"{bits(inside):.4f}"]
        cells += [f"{perplexity([row]):.0f} ({row['bits_per_byte']:.2f})" for row in outside]
        table.append(f"| {name} | " + " | ".join(cells) + " |")
        with open(os.path.join(model, "config.json"), encoding="utf-8") as config:
            dense = json.load(config)["num_experts"] == 1
        points.append({"name": name, "family": "dense" if dense else "moe", "model": os.path.abspath(model), "train_tokens": tokens.get(name, tokens[""]),
                       "ppl": name + "-in.json"})
    with open(os.path.join(options.out, "points.json"), "w", encoding="utf-8") as out:
        json.dump(points, out, indent=2)
    print(f"{len(first)} held-out documents, {sum(r['tokens'] for r in first)} tokens")
    print("| model | perplexity | nats a token more | bits a byte | " + " | ".join(f"{r['name']} (bits a byte)" for r in outside) + " |")
    print("| --- |" + " ---: |" * (3 + len(outside)) + "\n" + "\n".join(table))
    print(call(options, "eval", "compare", os.path.join(options.out, "points.json"), "--svg", os.path.join(options.out, "points.svg")))


if __name__ == "__main__":
    main()
