"""Held-out perplexity of the exported model beside a 5-gram model of the same tokens, sums and answers that are right, and which experts work on what.

    python evaluate.py --model models/stories-12m --data DIR --trained-tokens 9000000
"""
import argparse
import json
import math

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer

import sums
from engine import Story
from generate import SPLITS, Random
from ngram import ORDER, KneserNey


def label(text, offset):
    """The kind of text at a character: story, question, answer."""
    line = text[text.rfind("\n", 0, offset) + 1:]
    return "question" if line.startswith("Question:") else "answer" if line.startswith("Answer:") else "story"


@torch.no_grad()
def run(model, tokenizer, rows):
    """Loss of each document by itself (after its begin token) and the experts chosen in every layer for every kind of text."""
    layers, experts = model.config.num_hidden_layers, model.config.num_experts
    usage = {kind: np.zeros((layers, experts)) for kind in ("story", "question", "answer", "scene", "sum")}
    nats, tokens, size, by_kind, chosen = 0.0, 0, 0, {}, []
    hooks = [layer.mlp.gate.register_forward_hook(lambda m, i, out: chosen.append(out[2])) for layer in model.model.layers]
    for row in rows:
        encoded = tokenizer(row["text"], add_special_tokens=False, return_offsets_mapping=True)
        ids = torch.tensor([[0] + encoded.input_ids + [1]])[:, :513]
        if ids.shape[1] - 2 < len(encoded.input_ids):
            continue
        chosen.clear()
        losses = F.cross_entropy(model(ids[:, :-1]).logits[0].float(), ids[0, 1:], reduction="none")
        kinds = [{"sums": "sum", "scene": "scene"}.get(row["kind"]) or label(row["text"], start + 1) for start, _ in encoded.offset_mapping]
        for layer, picked in enumerate(chosen):
            for token, kind in zip(picked.reshape(-1, picked.shape[-1])[1:].tolist(), kinds):
                usage[kind][layer, token] += 1
        nats, tokens, size = nats + losses.sum().item(), tokens + len(losses), size + len(row["text"].encode())
        for kind, loss in zip(kinds, losses.tolist()):
            total = by_kind.setdefault(kind, [0.0, 0])
            total[0], total[1] = total[0] + loss, total[1] + 1
    for hook in hooks:
        hook.remove()
    return nats, tokens, size, by_kind, usage


@torch.no_grad()
def greedy(model, tokenizer, text, most=24):
    """What the model adds to `text`, up to the end of the line."""
    ids = torch.tensor([[0] + tokenizer(text, add_special_tokens=False).input_ids])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=most, pad_token_id=1)[0, ids.shape[1]:]
    return tokenizer.decode(out, skip_special_tokens=True).split("\n")[0].strip()


def sums_right(model, tokenizer, count=40):
    """Bare sums of the kind that training shows, each alone."""
    s, right = Story(Random(SPLITS["held-out"], 10 ** 6)), 0
    for _ in range(count):
        question, answer = sums.bare(s).split(" = ")
        right += greedy(model, tokenizer, f"{question} =") == answer
    return right


def answers_right(model, tokenizer, rows, count=100):
    """The first question of held-out stories; right means the very words of the text's own answer."""
    right = asked = 0
    for row in rows:
        text, mark, rest = row["text"].partition("\nAnswer:")
        if row["kind"] != "story and questions" or not mark or len(tokenizer(text).input_ids) > 480 or asked == count:
            continue
        asked += 1
        right += greedy(model, tokenizer, text + mark) == rest.split("\n")[0].strip()
    return right, asked


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--model", required=True)
    a.add_argument("--data", required=True)
    a.add_argument("--trained-tokens", type=int, required=True, help="tokens that the model was trained on; the 5-gram model gets the same")
    a.add_argument("--documents", type=int, default=400)
    a.add_argument("--threads", type=int, default=2)
    options = a.parse_args()
    torch.set_num_threads(options.threads)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    every = [json.loads(line) for line in open(f"{options.data}/held_out.jsonl", encoding="utf-8")]
    rows = every[:options.documents]
    nats, tokens, size, by_kind, usage = run(model, tokenizer, rows)
    print(f"held-out: {len(rows)} documents, {tokens} tokens, {size} bytes")
    print(f"model: {math.exp(nats / tokens):.3f} per token, {math.exp(nats / size):.4f} per byte")
    for kind, (loss, n) in by_kind.items():
        print(f"  {kind}: {math.exp(loss / n):.3f} per token ({n} tokens)")

    print(f"bare sums right: {sums_right(model, tokenizer)} of 40")
    print("answers right, word for word: {} of {}".format(*answers_right(model, tokenizer, every)))

    train = np.load(f"{options.data}/train.npy", mmap_mode="r")[:options.trained_tokens]
    grams = KneserNey(np.asarray(train, dtype=np.uint64), model.config.vocab_size)
    total = counted = 0
    for row in rows:  # end tokens stand before a document, so that its first token is predicted too
        ids = np.array([1] * (ORDER - 2) + [0] + tokenizer(row["text"], add_special_tokens=False).input_ids + [1], dtype=np.uint64)
        if len(ids) - ORDER + 1 > 512:
            continue
        logs = grams.log_probabilities(ids)
        total, counted = total - logs.sum(), counted + len(logs)
    assert counted == tokens, (counted, tokens)
    print(f"5-gram, {len(train)} tokens: {math.exp(total / counted):.3f} per token, {math.exp(total / size):.4f} per byte")

    print("\nShare of the router's choices, percent, experts 0 to 7:")
    for layer in range(model.config.num_hidden_layers):
        for kind, table in usage.items():
            share = 100 * table[layer] / table[layer].sum()
            print(f"| {layer} | {kind} | " + " | ".join(f"{s:.0f}" for s in share) + " |")


if __name__ == "__main__":
    main()
