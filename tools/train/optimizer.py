"""Muon for the hidden matrices, AdamW for everything else.

Muon steps along the nearest orthogonal matrix of the momentum (Newton-Schulz steps), so every direction of a matrix is learned at the same
pace; a small model learns to copy names several times sooner than with AdamW alone.
"""
import torch


def orthogonal(g, steps):
    """Matrices [n, 256, 256] with their singular values pushed to about one; bf16 is enough, as the next step corrects the last."""
    x = g.to(torch.bfloat16)
    x = x / (x.float().norm(dim=(1, 2), keepdim=True) + 1e-7).to(x.dtype)
    for _ in range(steps):
        a = x @ x.mT
        b = torch.baddbmm(a, a, a, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, b, x, beta=3.4445)
    return x.to(g.dtype)


class Muon:
    """Parameters are [n * width, width] or [e, n * width, width]: stacks of square matrices that are made orthogonal one by one."""

    def __init__(self, parameters, steps, momentum=0.95):
        self.parameters, self.steps, self.momentum = list(parameters), steps, momentum
        self.width = self.parameters[0].shape[-1]
        self.buffers = torch.zeros(sum(p.numel() for p in self.parameters) // self.width ** 2, self.width, self.width)
        self.buffers = self.buffers.to(self.parameters[0].device)

    @torch.no_grad()
    def step(self, rate, decay):
        """Parameters without a gradient are left alone: another worker updates them."""
        sizes = [p.numel() // self.width ** 2 for p in self.parameters]
        mine = [(p, buffer) for p, buffer in zip(self.parameters, self.buffers.split(sizes)) if p.grad is not None]
        updates = []
        for p, buffer in mine:
            grad = p.grad.view_as(buffer)
            updates.append(grad.lerp(buffer.lerp_(grad, 1 - self.momentum), self.momentum))
        update = orthogonal(torch.cat(updates), self.steps)
        for (p, buffer), u in zip(mine, update.split([len(buffer) for _, buffer in mine])):
            p.mul_(1 - rate * decay).sub_(u.view_as(p), alpha=rate)


class Optimizer:
    """Rates relative to the schedule's factor (0 to 1)."""

    def __init__(self, model, options):
        self.o = options
        self.muon = Muon([p for n, p in model.named_parameters() if p.dim() > 1 and n.startswith("layers") and not n.endswith("experts.gate")],
                         options.orthogonal)
        hidden = {id(p) for p in self.muon.parameters}
        rest = [(n, p) for n, p in model.named_parameters() if id(p) not in hidden]
        groups = [{"params": [p for n, p in rest if n == "embed"], "base": options.embed_rate}, {"params": [p for n, p in rest if n == "head"], "base": options.head_rate},
                  {"params": [p for n, p in rest if n.endswith("gate")], "base": options.gate_rate}, {"params": [p for n, p in rest if p.dim() == 1], "base": options.gain_rate}]
        self.adam = torch.optim.AdamW([g for g in groups if g["params"]], lr=1e-3, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.0, fused=True)

    def step(self, factor, step):
        self.muon.momentum = min(0.95, 0.85 + 0.1 * step / 300)
        self.muon.step(self.o.muon_rate * factor, self.o.decay)
        for group in self.adam.param_groups:
            group["lr"] = group["base"] * factor
        self.adam.step()

    def share(self, workers):
        """Puts the state into shared memory; the ids of the parameters that each worker updates."""
        if not self.adam.state:  # AdamW makes its state at the first step
            for group in self.adam.param_groups:
                group["lr"] = 0.0
                for p in group["params"]:
                    p.grad = torch.zeros_like(p)
            self.adam.step()
            for state in self.adam.state.values():
                state["step"].zero_()
        if workers > 1:
            self.muon.buffers.share_memory_()
            for state in self.adam.state.values():
                for tensor in state.values():
                    tensor.share_memory_()
        owned, load = [set() for _ in range(workers)], [0] * workers
        everything = self.muon.parameters + [p for group in self.adam.param_groups for p in group["params"]]
        for p in sorted(everything, key=torch.numel, reverse=True):
            rank = load.index(min(load))
            owned[rank].add(id(p))
            load[rank] += p.numel()
        return owned

    def state_dict(self):
        return {"muon": self.muon.buffers, "adam": self.adam.state_dict()}

    def load_state_dict(self, state):
        self.muon.buffers.copy_(state["muon"])
        bases = [group["base"] for group in self.adam.param_groups]
        self.adam.load_state_dict(state["adam"])
        for group, base in zip(self.adam.param_groups, bases):
            group["base"] = base
