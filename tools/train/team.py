"""Several processes of one thread each that train one model: on busy cores two threads that wait for each other after every operation
lose half of the time; processes that meet twice a step do not.

The parameters and one set of gradients a worker lie in shared memory. Each worker takes its rows of the batch, then updates its part of the parameters.
"""
import multiprocessing
import os

import torch

PATIENCE = 600  # seconds after which a worker that waits alone gives up


class Team:
    def __init__(self, model, workers):
        self.model, self.workers, self.rank = model, workers, 0
        self.parameters = list(model.parameters())
        total, device = sum(p.numel() for p in self.parameters), self.parameters[0].device
        flat = torch.zeros(workers, total, device=device)
        if workers > 1:
            model.share_memory()
            flat.share_memory_()
        sizes = [p.numel() for p in self.parameters]
        self.grads = [[g.view_as(p) for g, p in zip(row.split(sizes), self.parameters)] for row in flat]
        self.control = torch.zeros(2, dtype=torch.float64).share_memory_()  # the rate's factor; 1 when training ends
        self.barrier = multiprocessing.get_context("fork").Barrier(workers)

    def start(self):
        """Forks the other workers; afterwards .rank tells who this one is."""
        for rank in range(1, self.workers):
            if os.fork() == 0:
                self.rank = rank
                break

    def clear(self):
        """Before a step: gradients are zero and lie in this worker's row."""
        for p, g in zip(self.parameters, self.grads[self.rank]):
            g.zero_()
            p.grad = g

    def rows(self, batch):
        size = len(batch) // self.workers
        return batch[self.rank * size:(self.rank + 1) * size]

    def meet(self):
        self.barrier.wait(PATIENCE)

    @torch.no_grad()
    def gather(self, owned):
        """After the meeting that follows the backward pass: mean gradients in the parameters that this worker updates, none in the others."""
        for i, p in enumerate(self.parameters):
            if id(p) not in owned:
                p.grad = None
                continue
            for other in range(self.workers):
                if other != self.rank:
                    p.grad.add_(self.grads[other][i])
            if self.workers > 1:
                p.grad.div_(self.workers)
