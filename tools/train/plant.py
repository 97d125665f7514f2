"""Plants copying heads in a half-trained model, so that names stay the same through a story.

A small model takes very long to discover by itself that a name comes back. This script takes a checkpoint that already knows where names
stand, and rewrites a few weak attention heads of one layer by ridge regression: where a name is due they look at earlier names (elsewhere at
the begin token) and add what they find, in the directions of the output matrix. Training goes on from there and makes them selective.

    python plant.py --checkpoint RUN/checkpoint.pt --data DIR --out RUN/planted.pt
"""
import argparse
import json

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from export import load
from lexicon import BOYS, GIRLS, PET_NAMES
from model import Config, Model

SLOW = 31  # the pair of RoPE's slowest rotation in a head of 32; it turns by less than 0.1 within the context


def documents(path, tokenizer, count):
    rows = [json.loads(line) for line in open(path, encoding="utf-8")]
    texts = [row["text"] for row in rows if row["kind"] != "sums"][:count]
    return [torch.tensor([tokenizer.encode(text).ids[:500]]) for text in texts]


@torch.no_grad()
def states(model, docs, layer):
    """What the layer's attention reads, for every position of every document, and the token ids."""
    out, ids, nexts = [], [], []
    for doc in docs:
        x = F.embedding(doc, model.embed)
        t = doc.shape[1]
        for block in model.layers[:layer]:
            x = block(x, model.cos[:t], model.sin[:t], None)
        h = F.rms_norm(x, (model.c.width,), model.layers[layer].norm1, model.c.eps)[0]
        out.append(h[:-1])
        ids.append(doc[0, :-1])
        nexts.append(doc[0, 1:])
    return torch.cat(out), torch.cat(ids), torch.cat(nexts)


def ridge(h, target, weight, strength=1e-2):
    a = h.T @ (h * weight[:, None]) / weight.sum()
    b = h.T @ (target * weight[:, None]) / weight.sum()
    return torch.linalg.solve(a + strength * a.diagonal().mean() * torch.eye(len(a)), b).T


@torch.no_grad()
def plant(model, seen, names, layer, heads, alpha, sharp):
    c, block = model.c, model.layers[layer]
    d, hd = c.width, c.width // c.heads
    h, ids, nexts = seen
    is_name, due, begin = torch.isin(ids, names), torch.isin(nexts, names), ids == 0
    balance = lambda yes: torch.where(yes, 0.5 / yes.float().mean(), 0.5 / (~yes).float().mean())
    q = ridge(h, (2.0 * due - 1.0)[:, None], balance(due))
    k = ridge(h, (1.0 * is_name - 1.0 * begin)[:, None], torch.where(begin, 0.3 / begin.float().mean(), balance(is_name)))
    mean = model.head[names].mean(0)
    target = torch.where(is_name[:, None], model.head[ids] - mean, torch.zeros(1))
    weight = torch.where(is_name, 1.0 / is_name.float().mean(), torch.where(begin, 1.0 / begin.float().mean(), 0.2))
    move = ridge(h, target, weight)
    u, s, v = torch.linalg.svd(move)
    norms = [(block.qkv[2 * d + hd * i:2 * d + hd * (i + 1)].norm() * block.o[:, hd * i:hd * (i + 1)].norm()).item() for i in range(c.heads)]
    weakest = sorted(range(c.heads), key=lambda i: norms[i])[:heads]
    scale_q = (h @ block.qkv[:d].T).norm(dim=1).mean() * 0.35
    scale_k = (h @ block.qkv[d:2 * d].T).norm(dim=1).mean() * 0.35
    for n, i in enumerate(weakest):
        rows = slice(hd * i, hd * (i + 1))
        block.qkv[:d][rows], block.qkv[d:2 * d][rows] = 0, 0
        block.qkv[hd * i + SLOW] = q[0] * scale_q
        block.qkv[d + hd * i + SLOW] = k[0] * scale_k
        block.q_norm[hd * i + SLOW] = block.k_norm[hd * i + SLOW] = sharp
        part, root = slice(hd * n, hd * (n + 1)), (alpha * s[hd * n:hd * (n + 1)]).sqrt()
        block.qkv[2 * d:][rows] = v[part] * root[:, None]
        block.o[:, rows] = u[:, part] * root
    fit = lambda w, y: ((h @ w[0])[y].mean().item(), (h @ w[0])[~y].mean().item())
    return f"heads {weakest}, query {fit(q, due)}, key {fit(k, is_name)}, copied share {1 - ((h @ move.T - target)[is_name].square().sum() / target[is_name].square().sum()).item():.2f}"


@torch.no_grad()
def spread(model, names, length):
    """Names that were never told apart still have nearly the same embedding: widens the difference of each from their mean."""
    rows = model.embed[names]
    apart = rows - rows.mean(0)
    model.embed[names] = rows.mean(0) + apart * (length / apart.norm(dim=1, keepdim=True))
    return apart.norm(dim=1).mean().item(), rows.mean(0).norm().item()


@torch.no_grad()
def untied(path, names, loud=15.0):
    """Separate input and output matrices, with the names loud enough at the input to be heard above the first layers' output."""
    tied, state = load(path)
    spread(tied, names, 1.8)
    model = Model(Config(**{**state["config"], "tied": False}))
    model.load_state_dict({**tied.state_dict(), "head": tied.embed.clone()})
    model.embed[names] *= loud
    state["config"]["tied"] = False
    state.pop("optimizer", None)
    return model.eval(), state


@torch.no_grad()
def losses(model, docs, names):
    again, rest = [], []
    for doc in docs:
        loss = F.cross_entropy(model(doc[:, :-1])[0].float(), doc[0, 1:], reduction="none")
        seen, mask = set(), []
        for token in doc[0, 1:].tolist():
            mask.append(token in seen)
            if token in names:
                seen.add(token)
        mask = torch.tensor(mask)
        again.append(loss[mask])
        rest.append(loss[~mask])
    return torch.cat(again).mean().item(), torch.cat(rest).mean().item()


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--checkpoint", required=True)
    a.add_argument("--data", required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--documents", type=int, default=150)
    a.add_argument("--heads", type=int, default=4)
    options = a.parse_args()
    tokenizer = Tokenizer.from_file(f"{options.data}/tokenizer/tokenizer.json")
    encoded = [tokenizer.encode(" " + name, add_special_tokens=False).ids for name in GIRLS + BOYS + PET_NAMES]
    names = torch.tensor(sorted(ids[0] for ids in encoded if len(ids) == 1))
    test = documents(f"{options.data}/held_out.jsonl", tokenizer, 20)
    stream = np.load(f"{options.data}/train.npy", mmap_mode="r")
    docs = [torch.from_numpy(stream[512 * i:512 * i + 512].astype(np.int64))[None] for i in range(options.documents)]
    torch.set_num_threads(1)
    wanted, best = set(names.tolist()), None
    print("before: loss of names seen, of the rest", losses(load(options.checkpoint)[0], test, wanted), flush=True)
    for layer in (4,):
        model, state = untied(options.checkpoint, names)
        seen = states(model, docs, layer)
        for alpha in (45.0,):
            model, state = untied(options.checkpoint, names)
            note = plant(model, seen, names, layer, options.heads, alpha, 2.0)
            again, rest = losses(model, test, wanted)
            print(f"layer {layer}, strength {alpha}: {again:.3f} {rest:.3f} {note}", flush=True)
            if best is None or again * 0.2 + rest < best[0]:
                best = (again * 0.2 + rest, model.state_dict(), layer, alpha)
    state["model"] = best[1]
    torch.save(state, options.out)
    print(f"kept layer {best[2]}, strength {best[3]}")


if __name__ == "__main__":
    main()
