"""Fixtures of the block codec: random blocks with gguf-py's decoding, random floats with llama.cpp's encoding.

All little-endian, no headers:
  decode_<type>.bin      a u32 count of blocks, a u32 hash of each one's decoded values, then the blocks
  decode_all_scales.bin  256 u32 hashes: one Q4_0 block under 256 of the 65,536 fp16 scales each
  halves.bin             256 u32 hashes of 256 fp16 values each; 2,048 f32, their fp16, their bf16
  encode_values.bin      f32 rows of 256; encode_<type>.bin: llama.cpp's bytes for them
A hash stands for values bit for bit: FNV-1a over the f32 words, every NaN counted as 0x7fc00000.
"""
import pathlib
import tempfile

import gguf
import numpy as np

DECODED = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS",
           "MXFP4"]
ENCODED = ["Q8_0", "Q4_0", "Q4_K", "Q6_K"]
# Byte offsets of the fp16 fields; half of the blocks get scales of sane size, the rest any pattern.
HALVES = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0], "MXFP4": []}


def hashes(values):
    words = np.where(np.isnan(values), np.uint32(0x7FC00000), values.view(np.uint32)).astype(np.uint64)
    state = np.full(words.shape[0], 2166136261, dtype=np.uint64)
    for column in words.T:
        state = ((state ^ column) * 16777619) & 0xFFFFFFFF
    return state.astype(np.uint32)


def decode_fixture(kind, folder):
    qtype = gguf.GGMLQuantizationType[kind]
    _, size = gguf.GGML_QUANT_SIZES[qtype]
    rng = np.random.default_rng(sum(kind.encode()))
    count = 512 if size < 40 else 160
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for offset in HALVES[kind]:
        sane = rng.normal(0, 0.05, count // 2).astype(np.float16).view(np.uint8).reshape(-1, 2)
        blocks[: count // 2, offset : offset + 2] = sane
    with np.errstate(all="ignore"):
        values = gguf.quants.dequantize(blocks.reshape(-1), qtype).reshape(count, -1)
    path = folder / f"decode_{kind.lower()}.bin"
    path.write_bytes(np.uint32(count).tobytes() + hashes(values).tobytes() + blocks.tobytes())


def all_scales_fixture(folder):
    """One block of Q4_0 (every nibble twice) under each of the 65,536 fp16 scales."""
    blocks = np.zeros((65536, 18), dtype=np.uint8)
    blocks[:, :2] = np.arange(65536, dtype=np.uint16).view(np.uint8).reshape(-1, 2)
    blocks[:, 2:] = np.arange(16) | ((15 - np.arange(16)) << 4)
    with np.errstate(all="ignore"):
        values = gguf.quants.dequantize(blocks.reshape(-1), gguf.GGMLQuantizationType.Q4_0).reshape(65536, 32)
    (folder / "decode_all_scales.bin").write_bytes(hashes(values.reshape(256, -1)).tobytes())


def half_fixture(folder):
    """All 65,536 fp16 values by numpy, and 2,048 roundings to fp16 (numpy) and bf16 (gguf-py) of values at, beside
    and between ties, denormals, overflow and NaN."""
    with np.errstate(all="ignore"):
        wide = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32).reshape(256, 256)
    rng = np.random.default_rng(16)
    bits = rng.integers(0, 2**32, 2048, dtype=np.uint64)
    near = rng.integers(0, 65536, 2048).astype(np.uint16).view(np.float16).astype(np.float32).view(np.uint32)
    bits[:1024] = near[:1024] + rng.choice([0, 1, 0xFFF, 0x1000, 0x1001, 0x2000, 0x7FFF, 0x8000, 0x8001], 1024)
    denormal = rng.integers(0x32800000, 0x39000000, 512).astype(np.uint64)
    bits[1024:1536] = (denormal & np.uint64(0xFFFFF000)) | (bits[1024:1536] & np.uint64(0x80000001))
    values = bits.astype(np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        halves = values.astype(np.float16).view(np.uint16)
    brains = gguf.quants.quantize(values, gguf.GGMLQuantizationType.BF16).view(np.uint16)
    (folder / "halves.bin").write_bytes(hashes(wide).tobytes() + values.tobytes() + halves.tobytes() + brains.tobytes())


def encode_inputs(rng):
    """Rows of 256: Gaussian, heavy-tailed, tiny, huge, one-sided, constant, zero, sparse, ties."""
    rows = [rng.normal(0, 1, (16, 256)), rng.standard_t(2, (8, 256)), rng.normal(0, 1e-6, (2, 256)),
            rng.normal(0, 1e-30, (1, 256)), rng.normal(0, 1000, (2, 256)), np.abs(rng.normal(0, 1, (2, 256))),
            -np.abs(rng.normal(0, 1, (2, 256))), rng.normal(3, 0.1, (2, 256)), np.full((1, 256), 0.25),
            np.full((1, 256), -0.75), np.zeros((1, 256)), rng.normal(0, 1, (2, 256)) * (rng.random((2, 256)) < 0.05),
            rng.integers(-8, 8, (4, 256)) / 4.0, rng.normal(0, 1, (4, 256)) * np.repeat(rng.random((4, 8)) ** 4, 32, 1)]
    return np.concatenate(rows).astype(np.float32)


def encode_fixture(kind, folder, values):
    """llama.cpp's quantiser on a model of one wide embedding: its tensor is the rows."""
    from golden import llama
    rows = values.shape[0]
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        writer = gguf.GGUFWriter(str(work / "in.gguf"), "llama")
        for add, value in [(writer.add_vocab_size, rows), (writer.add_context_length, 8),
                           (writer.add_embedding_length, 256), (writer.add_block_count, 1),
                           (writer.add_feed_forward_length, 256), (writer.add_head_count, 4),
                           (writer.add_layer_norm_rms_eps, 1e-5), (writer.add_tokenizer_model, "no_vocab")]:
            add(value)
        writer.add_tensor("token_embd.weight", values)
        writer.add_tensor("output_norm.weight", np.ones(256, dtype=np.float32))
        for name in ["attn_norm", "ffn_norm"]:
            writer.add_tensor(f"blk.0.{name}.weight", np.ones(256, dtype=np.float32))
        for name in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]:
            writer.add_tensor(f"blk.0.{name}.weight", np.ones((256, 256), dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        llama.quantise(work / "in.gguf", work / "out.gguf", kind)
        found = {t.name: t for t in gguf.GGUFReader(str(work / "out.gguf")).tensors}["token_embd.weight"]
        assert found.tensor_type.name == kind
        encoded = np.array(found.data).tobytes()
    (folder / f"encode_{kind.lower()}.bin").write_bytes(encoded)


def make(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for kind in DECODED:
        decode_fixture(kind, folder)
    all_scales_fixture(folder)
    half_fixture(folder)
    values = encode_inputs(np.random.default_rng(5))
    (folder / "encode_values.bin").write_bytes(values.tobytes())
    for kind in ENCODED:
        encode_fixture(kind, folder, values)
    print(sum(p.stat().st_size for p in folder.glob("*.bin")), "bytes in", folder)
