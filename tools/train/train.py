"""Trains the model that ships. Runs on a GPU where there is one, else on the CPU; stops and goes on at any point.

    python train.py --data DIR --out DIR [--minutes 100 --fall 35]
    python train.py --data DIR --out DIR --experts 1 --top-k 1 --expert-width 512 --steps 2894 --fall-steps 1394    (a dense model)
The learning rate rises, stays, and falls in the last --fall of --minutes of training, or as soon as OUT/cooldown exists (it may hold the
number of minutes that the fall takes). With --fall-steps it falls in the last of --steps instead, whatever the machine's speed. Every --save-every seconds OUT/checkpoint.pt is replaced; the same command goes on from it.
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

from lexicon import BOYS, GIRLS, PET_NAMES, SURNAMES, THINGS
from model import Config, Model
from optimizer import Optimizer
from team import Team


def batch_at(tokens, step, size, length, device):
    """Batch number `step`: the token stream cut in order, so a run that was interrupted sees what it would have seen."""
    span = size * length
    start = (step * span) % (len(tokens) - span - 1)
    block = torch.from_numpy(tokens[start:start + span + 1].astype(np.int64)).to(device)
    return block[:-1].view(size, length), block[1:].view(size, length)


class HeldOut:
    """Mean loss on held-out text, and the loss of names and things that their document has named before: what copying is worth."""

    def __init__(self, tokens, tokenizer, options, device):
        self.tokens, self.o, self.device = tokens, options, device
        self.word = np.zeros(tokenizer.get_vocab_size(), dtype=np.int64)
        for number, name in enumerate(GIRLS + BOYS + PET_NAMES + SURNAMES + list(THINGS), 1):
            for form in (name, " " + name):
                ids = tokenizer.encode(form, add_special_tokens=False).ids
                if len(ids) == 1:
                    self.word[ids[0]] = number

    def again(self, ids):
        """1 where a token of the row is a name that stands in the same document further up, 0 elsewhere."""
        out, seen = np.zeros(len(ids), dtype=bool), set()
        for i, token in enumerate(ids):
            word = self.word[token]
            if token == 0:
                seen.clear()
            elif word:
                out[i] = word in seen
                seen.add(word)
        return out

    @torch.no_grad()
    def losses(self, model, batches):
        model.eval()
        losses, again = [], []
        for step in range(batches):
            x, y = batch_at(self.tokens, step, 4, self.o.length, self.device)
            losses.append(F.cross_entropy(model(x).float().view(-1, model.c.vocab), y.reshape(-1), reduction="none").cpu())
            again += [self.again(np.append(x[i, 0].item(), y[i].cpu().numpy()))[1:] for i in range(len(y))]
        model.train()
        losses = torch.cat(losses)
        return losses.mean().item(), losses[torch.from_numpy(np.concatenate(again))].mean().item()


class Schedule:
    """Warm-up, constant, linear fall to nearly zero over `fall` seconds of training time or over the last `fall_steps` steps."""

    def __init__(self, options, state):
        self.o, self.seconds, self.fall_from, self.fall = options, state.get("seconds", 0.0), state.get("fall_from"), state.get("fall", options.fall * 60)

    def factor(self, step):
        if self.o.fall_steps:
            return min(1.0, (step + 1) / self.o.warmup) * max(0.0, min(1.0, (self.o.steps - step) / self.o.fall_steps))
        flag = os.path.join(self.o.out, "cooldown")
        if self.fall_from is None and (os.path.exists(flag) or self.seconds > self.o.minutes * 60 - self.fall):
            text = open(flag).read().strip() if os.path.exists(flag) else ""
            self.fall, self.fall_from = float(text) * 60 if text else self.fall, self.seconds
        factor = min(1.0, (step + 1) / self.o.warmup)
        if self.fall_from is not None:
            factor *= max(0.0, 1 - (self.seconds - self.fall_from) / self.fall)
        return factor

    def done(self):
        return not self.o.fall_steps and self.fall_from is not None and self.seconds >= self.fall_from + self.fall


@torch.no_grad()
def relate(embed, tokenizer):
    """" Mia" starts close to "Mia": they are one word, and a name that was read at the start of a line is brought back in the middle of one."""
    for token, row in tokenizer.get_vocab().items():
        bare = tokenizer.token_to_id(token[1:]) if token[0] == "\u0120" else None
        if bare is not None:
            embed[row].mul_(0.6).add_(embed[bare], alpha=0.8)


def train(options):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    workers = options.workers or (1 if device == "cuda" else 2)
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    tokens, held = np.load(f"{options.data}/train.npy", mmap_mode="r"), np.load(f"{options.data}/held_out.npy")
    tokenizer = Tokenizer.from_file(f"{options.data}/tokenizer/tokenizer.json")
    path, state = os.path.join(options.out, "checkpoint.pt"), {}
    if os.path.exists(path):
        state = torch.load(path, map_location=device)
    shape = {"experts": options.experts, "top_k": options.top_k, "expert_width": options.expert_width}
    config = Config(**state.get("config", {"tied": options.tied, **shape}))
    for name, value in shape.items():
        if getattr(config, name) != value:
            raise SystemExit(f"{path} was trained with {name} {getattr(config, name)}, not {value}")
    if config.expert_width % config.width or not 0 < config.top_k <= config.experts:
        raise SystemExit(f"--expert-width must be a multiple of {config.width}, --top-k at most --experts")
    model = Model(config).to(device)
    optimizer = Optimizer(model, options)
    if state:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    else:
        relate(model.embed, tokenizer)
    check = HeldOut(held, tokenizer, options, device)
    step, schedule = state.get("step", 0), Schedule(options, state)
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {len(tokens)} tokens, {device}, from step {step}", flush=True)

    def save():
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "seconds": schedule.seconds,
                    "fall_from": schedule.fall_from, "fall": schedule.fall, "config": model.c.dictionary()}, path + ".new")
        os.replace(path + ".new", path)

    team, owned = Team(model, workers), optimizer.share(workers)
    team.start()
    log = open(os.path.join(options.out, "log.jsonl"), "a", encoding="utf-8")
    last = saved = shown = time.monotonic()
    shown_step, running = step, None
    while True:
        if team.rank == 0:
            team.control[0], team.control[1] = schedule.factor(step), schedule.done() or step >= min(options.steps, options.stop_at)
        team.meet()
        factor, stop = team.control.tolist()
        if stop:
            break
        team.clear()
        x, y = (team.rows(part) for part in batch_at(tokens, step, options.batch, options.length, device))
        statistics = []
        with torch.autocast(device, torch.bfloat16, enabled=options.bf16):
            logits = model(x, statistics)
        loss = F.cross_entropy(logits.float().view(-1, model.c.vocab), y.reshape(-1))
        balance = torch.stack([s[0] for s in statistics]).mean()
        extra = options.balance * balance + 1e-4 * torch.stack([s[1] for s in statistics]).mean()
        (loss + extra).backward()
        team.meet()
        team.gather(owned[team.rank])
        optimizer.step(factor, step)
        step += 1
        if team.rank != 0:
            continue
        now = time.monotonic()
        schedule.seconds += min(now - last, 30.0)  # a process that was stopped has not trained
        last = now
        running = loss.item() if running is None else 0.95 * running + 0.05 * loss.item()
        if step % options.show == 0:
            speed = options.batch * options.length * (step - shown_step) / (now - shown)
            row = {"step": step, "seconds": round(schedule.seconds), "tokens": step * options.batch * options.length, "loss": round(running, 4),
                   "balance": round(balance.item(), 3), "least_used": round(min(s[2].min().item() for s in statistics), 3),
                   "rate": round(factor, 4), "tokens_per_second": round(speed)}
            if step % (10 * options.show) == 0:
                row["held_out"], row["again"] = (round(loss, 4) for loss in check.losses(model, 6))
            print(row, flush=True)
            log.write(json.dumps(row) + "\n")
            log.flush()
            shown, shown_step = now, step
        if now - saved > options.save_every:
            save()
            saved = now
    if team.rank != 0:
        return
    save()
    loss, again = check.losses(model, 64)
    print(f"done: step {step}, held-out loss {loss:.4f}, perplexity {math.exp(loss):.3f}, names again {again:.4f}", flush=True)


if __name__ == "__main__":
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--data", required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--minutes", type=float, default=100)
    a.add_argument("--fall", type=float, default=35, help="minutes in which the learning rate falls to zero")
    a.add_argument("--steps", type=int, default=10 ** 9)
    a.add_argument("--fall-steps", type=int, default=0, help="last steps in which the learning rate falls to zero, instead of --minutes and --fall")
    a.add_argument("--stop-at", type=int, default=10 ** 9, help="stop and save at this step of a longer run, to go on with other options")
    a.add_argument("--experts", type=int, default=Config.experts, help="1: a dense model")
    a.add_argument("--top-k", type=int, default=Config.top_k)
    a.add_argument("--expert-width", type=int, default=Config.expert_width)
    a.add_argument("--batch", type=int, default=4)
    a.add_argument("--length", type=int, default=512)
    a.add_argument("--muon-rate", type=float, default=0.02)
    a.add_argument("--decay", type=float, default=0.1, help="weight decay of the hidden matrices")
    a.add_argument("--orthogonal", type=int, default=3, help="Newton-Schulz steps of Muon")
    a.add_argument("--embed-rate", type=float, default=0.015)
    a.add_argument("--head-rate", type=float, default=0.004)
    a.add_argument("--gate-rate", type=float, default=0.002)
    a.add_argument("--gain-rate", type=float, default=0.01)
    a.add_argument("--tied", action="store_true")
    a.add_argument("--warmup", type=int, default=50)
    a.add_argument("--balance", type=float, default=0.01)
    a.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    a.add_argument("--threads", type=int, default=1, help="a worker")
    a.add_argument("--workers", type=int, default=0, help="processes; 0: one on a GPU, else two")
    a.add_argument("--save-every", type=float, default=180)
    a.add_argument("--show", type=int, default=50)
    train(a.parse_args())
