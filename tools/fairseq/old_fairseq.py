"""Makes fairseq's branch moe (2021) run under a newer Python, numpy and torch, and on a CPU. Import this first: it puts
stand-ins where that code calls what has gone since or what only a GPU has. No number changes by it."""

import contextlib
import dataclasses
import functools

import numpy as np
import torch


def stand_in(owner, name):
    """Replaces owner.name by the decorated function, which gets the old one first."""

    def put(function):
        kept = getattr(owner, name)
        setattr(owner, name, functools.wraps(kept)(lambda *args, **flags: function(kept, *args, **flags)))

    return put


@stand_in(dataclasses, "dataclass")
def dataclass(kept, cls=None, **flags):
    """Configurations are defaults of one another's fields, which Python refuses for types without a hash since 3.11."""

    def make(plain):
        made = kept(plain, **flags)
        if made.__hash__ is None:
            made.__hash__ = object.__hash__
        return made

    return make if cls is None else make(cls)


@stand_in(torch, "histc")
def histogram_of_integers(kept, values, *args, **flags):
    """The gate counts int64 with histc, which a CPU does for floats alone."""
    return kept(values.float(), *args, **flags)


@stand_in(torch, "load")
def load_all(kept, *args, **flags):
    """A checkpoint holds more than weights."""
    return kept(*args, **{"weights_only": False, **flags})


class NoStream:
    """A stream or an event of a device that does everything at once."""

    def __init__(self, *_, **__):
        pass

    def record(self, *_):
        pass

    wait_stream = wait_event = synchronize = record


if not torch.cuda.is_available():
    torch.cuda.Event = torch.cuda.Stream = torch.cuda.current_stream = NoStream
    torch.cuda.stream = lambda *_: contextlib.nullcontext()
    torch.cuda.synchronize = torch.Tensor.record_stream = lambda *_: None

    from fairscale.nn.data_parallel import FullyShardedDataParallel

    @stand_in(FullyShardedDataParallel, "_setup_streams")
    def setup_streams(kept, module):
        kept(module)
        for name in ("fp32_to_fp16", "all_gather", "post_backward"):
            module._streams.setdefault(name, NoStream())

for gone, type_ in {"float": float, "int": int, "bool": bool, "object": object}.items():
    if gone not in vars(np):
        setattr(np, gone, type_)
