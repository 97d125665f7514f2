"""Small language models of an installed fairseq: built from its own options, given fixed random weights, and saved by
its own Trainer, one process a rank."""

import contextlib
import functools
import os
import pathlib
import zlib

import routes  # noqa: F401  (first)
import torch
import torch.distributed as dist
from fairseq import checkpoint_utils, options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.distributed import FullyShardedDataParallel, fsdp_enable_wrap, fsdp_wrap
from fairseq.distributed import utils as distributed_utils
from fairseq.distributed.fully_sharded_data_parallel import consolidate_fsdp_shards
from fairseq.trainer import Trainer
from omegaconf import OmegaConf

SYMBOLS, LENGTH = 28, 64  # words of the dictionary (32 rows with the special ones), tokens a sample
NAME = "checkpoint_last.pt"


def in_ranks(count, work, folder, *arguments):
    """Runs work(rank, count, *arguments) in `count` processes, in `folder`."""
    torch.set_num_threads(1)  # a pool of threads does not survive a fork
    store = pathlib.Path(folder) / "store"
    store.unlink(missing_ok=True)
    torch.multiprocessing.start_processes(begin, (count, work, folder, store, arguments), count, start_method="fork")


def begin(rank, count, work, folder, store, arguments):
    torch.set_num_threads(1)
    os.chdir(folder)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=count)
    try:
        work(rank, count, *arguments)
        dist.barrier()
    finally:
        dist.destroy_process_group()


def command_line(case, rank):
    d = str(case.width)
    words = ["--task", "dummy_lm", "--dict-size", str(SYMBOLS), "--dataset-size", "512",
             "--tokens-per-sample", str(LENGTH), "--max-tokens", str(LENGTH),
             "--arch", "transformer_lm_gpt", "--decoder-layers", str(case.layers),
             "--decoder-embed-dim", d, "--decoder-input-dim", d, "--decoder-output-dim", d,
             "--decoder-ffn-embed-dim", str(case.ffn), "--decoder-attention-heads", str(case.heads),
             "--optimizer", "adam", "--lr", "0.02", "--save-dir", "checkpoints", "--cpu", "--disable-validation",
             "--ddp-backend", "fully_sharded" if case.sharded else "legacy_ddp", "--distributed-no-spawn",
             "--distributed-world-size", str(case.ranks), "--distributed-rank", str(rank)]
    if case.experts:
        words += ["--moe-freq", str(case.every), "--moe-expert-count", str(case.experts), "--moe-gating-use-fp32",
                  "--moe-second-expert-policy", "all", "--moe-normalize-expert-grad", "sqrt_world_size",
                  "--moe-eval-capacity-token-fraction", "-1.0", "--criterion", "moe_cross_entropy",
                  "--moe-gate-loss-wt", "0.01", "--moe-gate-loss-combine-method", "sum"]
    return words + list(case.flags)


def settings(case, rank):
    parsed = options.parse_args_and_arch(options.get_training_parser(), command_line(case, rank))
    return parsed, convert_namespace_to_omegaconf(parsed)


def value(case, key, shape):
    """A parameter of the model by its key, which names an expert by its number over all ranks."""
    generator = torch.Generator().manual_seed(zlib.crc32(key.encode(), case.dice))
    draw = torch.randn(shape, generator=generator)
    if key.endswith("layer_norm.weight"):
        return 1 + 0.2 * draw
    if key.endswith(".bias"):
        return (0.4 if key.endswith("final_layer_norm.bias") else 0.1) * draw
    if key.endswith("gate.wg.weight"):
        return case.gate(draw * case.spread * shape[-1] ** -0.5)
    draw *= shape[-1] ** -0.5
    if key.endswith("embed_tokens.weight"):
        draw[1] = 0  # the padding
    return draw


def weights(case, rank, state):
    """The values of this rank's state; its first expert is rank * (experts a rank), over all ranks."""
    if case.experts:
        mine = max(case.experts // case.ranks, 1)
        first = rank * mine % case.experts
    out = {}
    for key, old in state.items():
        if key.endswith((".version", "._float_tensor")):
            out[key] = old
            continue
        name = key
        if ".experts." in key:
            local = key.split(".experts.")[1].split(".")[0]
            name = key.replace(f".experts.{local}.", f".experts.{first + int(local)}.")
        if key.endswith("output_projection.weight") and case.tied:
            name = key.replace("output_projection", "embed_tokens")
        out[key] = value(case, name, old.shape).to(old.dtype)
    return out


@contextlib.contextmanager
def whole_parameters(model):
    """Fully sharded modules say and take whole parameters for a while."""
    changed = [m for m in model.modules() if isinstance(m, FullyShardedDataParallel) and m.use_sharded_state]
    for module in changed:
        module.use_sharded_state = False
    yield
    for module in changed:
        module.use_sharded_state = True


def build(case, cfg, task):
    if not case.sharded:
        return task.build_model(cfg.model)
    flat = cfg.distributed_training.use_sharded_state
    flags = {"is_moe": case.experts > 0, "use_sharded_state": flat, "compute_device": torch.device("cpu")}
    with fsdp_enable_wrap(cfg.distributed_training, **flags):
        return fsdp_wrap(task.build_model(cfg.model))


def set_weights(case, rank, model):
    with whole_parameters(model):
        state = model.state_dict()
        model.load_state_dict(weights(case, rank, state))
    for name, buffer in model.named_buffers():
        if name.endswith("_float_tensor"):  # memory that nobody sets
            buffer.fill_(float("nan"))


@contextlib.contextmanager
def container(case):
    """torch.save writes the legacy container where the case says so, as PyTorch did before 1.6."""
    save = torch.save
    if case.legacy:
        torch.save = functools.partial(save, _use_new_zipfile_serialization=False)
    yield
    torch.save = save


def sample(case, rank, step):
    """A batch for training."""
    generator = torch.Generator().manual_seed(case.dice + 1 + step * case.ranks + rank)
    tokens = torch.randint(4, 4 + SYMBOLS, (2, 25), generator=generator)
    inputs = {"src_tokens": tokens[:, :-1].contiguous(), "src_lengths": torch.full((2,), 24)}
    return {"id": torch.arange(2), "net_input": inputs, "target": tokens[:, 1:].contiguous(), "nsentences": 2,
            "ntokens": 48}


def train(rank, count, case):
    """Saves checkpoints/checkpoint_last*.pt, as fairseq-train does, after case.steps steps."""
    _, cfg = settings(case, rank)
    distributed_utils.distributed_init(cfg)
    task = tasks.setup_task(cfg.task)
    trainer = Trainer(cfg, task, build(case, cfg, task), task.build_criterion(cfg.criterion))
    set_weights(case, rank, trainer.model)
    epochs = trainer.get_train_iterator(epoch=1, load_dataset=True)
    epochs.next_epoch_itr(shuffle=False)
    for step in range(case.steps):
        trainer.train_step([sample(case, rank, step)])
    trainer._start_time, trainer.cumulative_training_time = 0, lambda: 0.0  # the same bytes each time
    with container(case):
        checkpoint_utils.save_checkpoint(cfg.checkpoint, trainer, epochs, None)


def merge(rank, count, case):
    """All experts and the rest in one file: what fairseq's loader makes of the files for a single process."""
    state = checkpoint_utils.load_checkpoint_to_cpu(f"checkpoints/{NAME[:-3]}-rank-0.pt", is_moe=True)
    state["cfg"] = OmegaConf.to_container(state["cfg"])
    state.pop("last_optimizer_state", None)
    for path in pathlib.Path("checkpoints").iterdir():
        path.unlink()
    if case.edit:
        case.edit(case, state)
    with container(case):
        checkpoint_utils.torch_persistent_save(state, f"checkpoints/{NAME}")


def make(case, folder):
    """The files of the checkpoint in `folder`/checkpoints; the path that a user would name."""
    in_ranks(case.ranks, train, folder, case)
    path = pathlib.Path(folder) / "checkpoints" / NAME
    if case.form == "merged":
        in_ranks(1, merge, folder, case)
    if case.form == "consolidated":
        made = pathlib.Path(consolidate_fsdp_shards(str(path)))
        if not case.keep_shards:
            for shard in path.parent.glob("*-shard*.pt"):
                shard.unlink()
        return made
    return path
