"""Trains the model that ships. Runs on a GPU where there is one, else on the CPU; stops and goes on at any point.

    python train.py --data DIR --out DIR [--minutes 110]
The learning rate rises, stays, and falls at the end: after --minutes of training, or as soon as OUT/cooldown exists (it may hold the
number of minutes that the fall takes). Every --save-every seconds OUT/checkpoint.pt is replaced; the same command goes on from it.
"""
import argparse
import json
import math
import os
import time

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import drills
from model import Config, Model


def batch_at(tokens, step, size, length, device):
    """Batch number `step`: the token stream cut in order, so a run that was interrupted sees what it would have seen."""
    span = size * length
    start = (step * span) % (len(tokens) - span - 1)
    block = torch.from_numpy(tokens[start:start + span + 1].astype(np.int64)).to(device)
    return block[:-1].view(size, length), block[1:].view(size, length)


@torch.no_grad()
def held_out_loss(model, tokens, length, batches, size, device):
    model.eval()
    losses = []
    for step in range(batches):
        x, y = batch_at(tokens, step, size, length, device)
        losses.append(F.cross_entropy(model(x).float().view(-1, model.c.vocab), y.reshape(-1)).item())
    model.train()
    return sum(losses) / len(losses)


class Schedule:
    """Warm-up, constant, linear fall to nearly zero over `fall` seconds of training time."""

    def __init__(self, options, state):
        self.o, self.seconds, self.fall_from, self.fall = options, state.get("seconds", 0.0), state.get("fall_from"), state.get("fall", options.fall * 60)

    def rate(self, step):
        flag = os.path.join(self.o.out, "cooldown")
        if self.fall_from is None and (os.path.exists(flag) or self.seconds > self.o.minutes * 60 - self.fall):
            text = open(flag).read().strip() if os.path.exists(flag) else ""
            self.fall, self.fall_from = float(text) * 60 if text else self.fall, self.seconds
        rate = self.o.rate * min(1.0, (step + 1) / self.o.warmup)
        if self.fall_from is not None:
            rate *= max(0.02, 1 - (self.seconds - self.fall_from) / self.fall)
        return rate

    def done(self):
        return self.fall_from is not None and self.seconds >= self.fall_from + self.fall


def optimizer_of(model, options):
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    # The gains of norms learn faster: sharp attention, which copies names, needs large gains of q_norm and k_norm.
    return torch.optim.AdamW([{"params": matrices, "weight_decay": 0.05, "scale": 1.0}, {"params": vectors, "weight_decay": 0.0, "scale": 3.0}],
                             lr=options.rate, betas=(0.9, 0.98), eps=1e-9, fused=True)


def train(options):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    tokens, held = np.load(f"{options.data}/train.npy", mmap_mode="r"), np.load(f"{options.data}/held_out.npy")
    tokenizer = Tokenizer.from_file(f"{options.data}/tokenizer/tokenizer.json")
    path, state = os.path.join(options.out, "checkpoint.pt"), {}
    if os.path.exists(path):
        state = torch.load(path, map_location=device)
    model = Model(Config(**state.get("config", {}))).to(device)
    optimizer = optimizer_of(model, options)
    if state:
        model.load_state_dict(state["model"])
        scales = [group["scale"] for group in optimizer.param_groups]
        if "optimizer" in state:
            optimizer.load_state_dict(state["optimizer"])
        for group, scale in zip(optimizer.param_groups, scales):
            group["scale"], group["betas"] = scale, (0.9, 0.98)
    step, schedule = state.get("step", 0), Schedule(options, state)
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {len(tokens)} tokens, {device}, from step {step}", flush=True)

    def save():
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "seconds": schedule.seconds,
                    "fall_from": schedule.fall_from, "fall": schedule.fall, "config": model.c.dictionary()}, path + ".new")
        os.replace(path + ".new", path)

    log = open(os.path.join(options.out, "log.jsonl"), "a", encoding="utf-8")
    last = saved = shown = time.monotonic()
    shown_step, running = step, None
    while not schedule.done() and step < options.steps:
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step) * group["scale"]
        x, y = batch_at(tokens, step, options.batch, options.length, device)
        if options.drills_from <= step < options.drills_until:  # half of the rows
            drill = torch.from_numpy(drills.rows(step, options.batch // 2, tokenizer, options.length + 1)).to(device)
            x, y = torch.cat((x[:options.batch - len(drill)], drill[:, :-1])), torch.cat((y[:options.batch - len(drill)], drill[:, 1:]))
        statistics = []
        with torch.autocast(device, torch.bfloat16, enabled=options.bf16):
            logits = model(x, statistics)
        loss = F.cross_entropy(logits.float().view(-1, model.c.vocab), y.reshape(-1))
        balance = torch.stack([s[0] for s in statistics]).mean()
        extra = options.balance * balance + 1e-4 * torch.stack([s[1] for s in statistics]).mean()
        (loss + extra).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        now = time.monotonic()
        schedule.seconds += min(now - last, 30.0)  # a process that was stopped has not trained
        last = now
        running = loss.item() if running is None else 0.95 * running + 0.05 * loss.item()
        if step % options.show == 0:
            speed = options.batch * options.length * (step - shown_step) / (now - shown)
            row = {"step": step, "seconds": round(schedule.seconds), "tokens": step * options.batch * options.length, "loss": round(running, 4),
                   "balance": round(balance.item(), 3), "least_used": round(min(s[2].min().item() for s in statistics), 3),
                   "rate": round(optimizer.param_groups[0]["lr"], 6), "tokens_per_second": round(speed)}
            if step % (10 * options.show) == 0:
                row["held_out"] = round(held_out_loss(model, held, options.length, 8, options.batch, device), 4)
            print(row, flush=True)
            log.write(json.dumps(row) + "\n")
            log.flush()
            shown, shown_step = now, step
        if now - saved > options.save_every:
            save()
            saved = now
    save()
    loss = held_out_loss(model, held, options.length, 64, options.batch, device)
    print(f"done: step {step}, held-out loss {loss:.4f}, perplexity {math.exp(loss):.3f}", flush=True)


if __name__ == "__main__":
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--data", required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--minutes", type=float, default=110)
    a.add_argument("--fall", type=float, default=18, help="minutes in which the learning rate falls to zero")
    a.add_argument("--steps", type=int, default=10 ** 9)
    a.add_argument("--batch", type=int, default=4)
    a.add_argument("--length", type=int, default=512)
    a.add_argument("--drills-from", type=int, default=0)
    a.add_argument("--drills-until", type=int, default=0, help="step at which copying drills (half of the rows) end")
    a.add_argument("--rate", type=float, default=1.5e-3)
    a.add_argument("--warmup", type=int, default=200)
    a.add_argument("--balance", type=float, default=0.01)
    a.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--save-every", type=float, default=180)
    a.add_argument("--show", type=int, default=50)
    train(a.parse_args())
