"""Golden models as GGUF files, with llama.cpp's tensor names, and back: a quantised file's weights, decoded by
gguf-py, as a transformers model."""
import re

import gguf
import numpy as np
import torch

ARCH = {"Olmoe": "olmoe", "Mixtral": "llama", "Llama": "llama", "Qwen3Moe": "qwen3moe", "Qwen3": "qwen3",
        "GraniteMoe": "granitemoe"}
INTERLEAVED = {"llama", "granitemoe"}  # these rotate neighbouring values: rows of q and k are permuted

LAYER = {
    "input_layernorm.weight": "attn_norm.weight", "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.o_proj": "attn_output", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.q_norm.weight": "attn_q_norm.weight",
    "self_attn.k_norm.weight": "attn_k_norm.weight", "mlp.gate.weight": "ffn_gate_inp.weight",
    "block_sparse_moe.router.weight": "ffn_gate_inp.weight", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
TOP = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
       "lm_head.weight": "output.weight"}


def head_dim(config):
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def permute(rows, heads):
    """Rows of a head from [first half, second half] to neighbours."""
    shape = rows.shape
    return rows.reshape(heads, 2, shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(shape)


def unpermute(rows, heads):
    shape = rows.shape
    return rows.reshape(heads, shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(shape)


def gguf_name(name):
    if name in TOP:
        return TOP[name]
    layer, rest = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", name).groups()
    if rest in LAYER:
        return f"blk.{layer}.{LAYER[rest]}"
    stem, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{LAYER[stem]}.{kind}"


def tensors(model, family):
    """(gguf name, float32 array) of every tensor of a transformers model."""
    arch, config = ARCH[family], model.config
    for name, parameter in model.state_dict().items():
        value = parameter.detach().float().numpy()
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if name.endswith("experts.gate_up_proj"):
            layer, half = name.split(".")[2], value.shape[1] // 2
            yield f"blk.{layer}.ffn_gate_exps.weight", value[:, :half]
            yield f"blk.{layer}.ffn_up_exps.weight", value[:, half:]
        elif name.endswith("experts.down_proj"):
            yield f"blk.{name.split('.')[2]}.ffn_down_exps.weight", value
        else:
            if arch in INTERLEAVED and re.search(r"[qk]_proj\.(weight|bias)$", name):
                heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
                value = permute(value, heads)
            yield gguf_name(name), value
    scaling = config.rope_parameters
    if scaling["rope_type"] == "llama3":
        base = 1.0 / scaling["rope_theta"] ** (np.arange(0, head_dim(config), 2) / head_dim(config))
        yield "rope_freqs.weight", (base / llama3_frequencies(base, scaling)).astype(np.float32)


def llama3_frequencies(base, p):
    """Llama 3's scaling of the rotary frequencies."""
    length = p["original_max_position_embeddings"]
    wave = 2 * np.pi / base
    smooth = (length / wave - p["low_freq_factor"]) / (p["high_freq_factor"] - p["low_freq_factor"])
    smooth = np.clip(smooth, 0, 1)
    return (1 - smooth) * base / p["factor"] + smooth * base


def add_metadata(writer, config, family):
    get = lambda key, default=None: getattr(config, key, default)
    writer.add_name("golden")
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(head_dim(config))
    if get("head_dim"):
        writer.add_key_length(head_dim(config))
        writer.add_value_length(head_dim(config))
    experts = get("num_local_experts") or get("num_experts")
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
    if get("moe_intermediate_size"):
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    if family == "GraniteMoe":
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_attention_scale(config.attention_multiplier)
        writer.add_logit_scale(config.logits_scaling)
    scaling = config.rope_parameters
    writer.add_rope_freq_base(scaling["rope_theta"])
    if scaling["rope_type"] in ("linear", "yarn"):
        kind = gguf.RopeScalingType.LINEAR if scaling["rope_type"] == "linear" else gguf.RopeScalingType.YARN
        writer.add_rope_scaling_type(kind)
        writer.add_rope_scaling_factor(scaling["factor"])
        if scaling["rope_type"] == "yarn":
            writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
    writer.add_tokenizer_model("no_vocab")


def write(path, model, family, kind="F32"):
    """Matrices as `kind` (F32, F16, BF16); vectors and routers stay F32, as llama.cpp's converter leaves them."""
    writer = gguf.GGUFWriter(str(path), ARCH[family])
    add_metadata(writer, model.config, family)
    qtype = gguf.GGMLQuantizationType[kind]
    writer.add_file_type({"F32": 0, "F16": 1, "BF16": 32}[kind])
    for name, value in tensors(model, family):
        value = np.ascontiguousarray(value)
        if value.ndim > 1 and "ffn_gate_inp" not in name and kind != "F32":
            writer.add_tensor(name, gguf.quants.quantize(value, qtype), raw_dtype=qtype)
        else:
            writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def types(path):
    """The set of tensor types of a file: name -> count."""
    count = {}
    for tensor in gguf.GGUFReader(str(path)).tensors:
        count[tensor.tensor_type.name] = count.get(tensor.tensor_type.name, 0) + 1
    return count


def load_into(path, model, family):
    """Puts the file's weights, decoded by gguf-py, into a transformers model of the same shape."""
    found = {}
    for tensor in gguf.GGUFReader(str(path)).tensors:
        shape = [int(n) for n in reversed(tensor.shape)]
        value = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(shape)
        assert np.isfinite(value).all()
        found[tensor.name] = torch.tensor(value.astype(np.float64))
    arch, config = ARCH[family], model.config
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("experts.gate_up_proj"):
                layer = name.split(".")[2]
                value = torch.cat([found.pop(f"blk.{layer}.ffn_{part}_exps.weight") for part in ("gate", "up")], 1)
            elif name.endswith("experts.down_proj"):
                value = found.pop(f"blk.{name.split('.')[2]}.ffn_down_exps.weight")
            else:
                value = found.pop(gguf_name(name))
                if arch in INTERLEAVED and re.search(r"[qk]_proj\.(weight|bias)$", name):
                    heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
                    value = unpermute(value, heads)
            parameter.copy_(value)
    found.pop("rope_freqs.weight", None)
    assert not found, f"tensors left over: {sorted(found)}"
