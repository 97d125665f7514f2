"""Small .pt files as PyTorch itself writes them, for tests/formats/test_torch.cpp. Needs torch; run from the root."""
import argparse
import collections
import io
import pathlib
import zipfile

import torch

folder = pathlib.Path("tests/corpus/torch")


def tensors():
    base = torch.arange(12, dtype=torch.float32)
    model = collections.OrderedDict()
    model["a"] = base.clone().reshape(3, 4)
    model["half"] = torch.arange(6, dtype=torch.float16).reshape(2, 3)
    model["bf16"] = torch.tensor([1.5, -2.0], dtype=torch.bfloat16)
    model["shared.whole"] = base
    model["shared.part"] = base[5:9]
    model["turned"] = model["a"].t()
    model["every_second"] = base[::2]
    model["scalar"] = torch.tensor(7.0)
    model["none"] = torch.zeros(0, 4)
    model["i64"] = torch.arange(3)
    model["parameter"] = torch.nn.Parameter(torch.ones(2, 2))
    return {"args": argparse.Namespace(width=64, name="n\u00e9"), "model": model, "list": [1, None, 2.5, True, (1 << 80), -3]}


torch.save(tensors(), folder / "all.pt")
torch.save(tensors(), folder / "all-legacy.pt", _use_new_zipfile_serialization=False)
tiny = {"w": torch.tensor([[1.0, 2.0]]), "n": 3}
torch.save(tiny, folder / "tiny.pt")
torch.save(tiny, folder / "tiny-legacy.pt", _use_new_zipfile_serialization=False)

# The same archive with its pickle deflated, and with a tensor deflated, as tools that zip files again leave it.
for name, deflated in (("tiny-deflated.pt", "data.pkl"), ("tensor-deflated.pt", "data/0")):
    source = zipfile.ZipFile(folder / "tiny.pt")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for info in source.infolist():
            method = zipfile.ZIP_DEFLATED if info.filename.endswith(deflated) else zipfile.ZIP_STORED
            entry = zipfile.ZipInfo(info.filename, (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, source.read(info), compress_type=method)
    (folder / name).write_bytes(out.getvalue())
