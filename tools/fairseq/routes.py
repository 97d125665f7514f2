"""What the top-2 gate of an installed fairseq did with each choice, as the arrays of tests/fairseq."""

import old_fairseq  # noqa: F401  (first)
import torch
from fairseq.modules.moe import top2gate

GATING = top2gate.top2gating


def gate(logits, mask, **flags):
    """The gate's answer (l_aux, combine, dispatch, metadata), its capacity and, from a second call, what it chose and
    the places in the queues before dropping: the same code returns those where it thinks that tutel is there."""
    try:
        top2gate.has_tutel = True
        _, _, capacity, _, chosen, places, _ = GATING(logits, mask, **flags)
    finally:
        top2gate.has_tutel = False
    return GATING(logits, mask, **flags), int(capacity), [c.squeeze(1) for c in chosen], places


def choices(capacity, chosen, places, combine, considered):
    """expertN, locationN (-1: not considered), keptN, weightN for N = 1, 2; considered: two masks [S]."""
    out = {}
    for j in (0, 1):
        location = torch.where(considered[j], places[j], -torch.ones_like(places[j]))
        keep = considered[j] & (location < capacity)
        weight = combine[torch.arange(len(location)), chosen[j]].sum(1) * keep
        out |= {f"expert{j + 1}": chosen[j].int().numpy(), f"location{j + 1}": location.int().numpy(),
                f"kept{j + 1}": keep.numpy(), f"weight{j + 1}": weight.float().numpy()}
    return out
