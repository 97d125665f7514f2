"""The list of golden models. Small, but each turns on something that a published config.json uses."""

BASE = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
            vocab_size=128, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=None)
OLMOE = BASE | dict(num_experts=8, num_experts_per_tok=2)
MIXTRAL = BASE | dict(num_local_experts=8, num_experts_per_tok=2, num_key_value_heads=2)
QWEN3MOE = BASE | dict(num_experts=8, num_experts_per_tok=2, moe_intermediate_size=32, intermediate_size=48,
                       num_key_value_heads=2, head_dim=16)
GRANITE = BASE | dict(num_local_experts=8, num_experts_per_tok=2, num_key_value_heads=2, embedding_multiplier=12.0,
                      logits_scaling=3.0, residual_multiplier=0.22, attention_multiplier=0.2)
LLAMA = BASE | dict(num_key_value_heads=2, intermediate_size=64)
QWEN3 = BASE | dict(num_key_value_heads=2, intermediate_size=64, head_dim=16)


def rope(kind, theta=10000.0, **more):
    return dict(rope_parameters=dict(rope_type=kind, rope_theta=theta, **more))


YARN = rope("yarn", factor=4.0, original_max_position_embeddings=16)
LLAMA3 = rope("llama3", theta=500.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)


def longrope(original):
    return rope("longrope", short_factor=[1.0, 1.1, 1.3, 1.7], long_factor=[1.0, 1.5, 2.5, 4.0],
                original_max_position_embeddings=original, factor=128 / original)


# name, family, options, how it is written: dtype, spelling of config.json (transformers 4 or 5), shards, gguf types
CASES = [
    ("olmoe-f32", "Olmoe", OLMOE, dict(spelling=5, gguf=["F32", "F16", "BF16"])),
    ("olmoe-bf16", "Olmoe", OLMOE, dict(dtype="bfloat16", spelling=4, shards=3)),
    ("olmoe-clip-gqa-norm", "Olmoe", OLMOE | dict(clip_qkv=1.0, num_key_value_heads=2, norm_topk_prob=True),
     dict(dtype="bfloat16", spelling=4)),
    ("olmoe-bias-tied", "Olmoe", OLMOE | dict(attention_bias=True, tie_word_embeddings=True, num_experts_per_tok=3),
     dict(dtype="bfloat16", spelling=5)),
    ("olmoe-float16", "Olmoe", OLMOE, dict(dtype="float16", spelling=4)),
    ("mixtral-f32", "Mixtral", MIXTRAL, dict(spelling=5, gguf=["F32"])),
    ("mixtral-window-headdim", "Mixtral", MIXTRAL | dict(sliding_window=8, head_dim=16),
     dict(dtype="bfloat16", spelling=4, shards=2)),
    ("qwen3moe-f32", "Qwen3Moe", QWEN3MOE | dict(norm_topk_prob=False), dict(spelling=5)),
    ("qwen3moe-norm", "Qwen3Moe", QWEN3MOE | dict(norm_topk_prob=True),
     dict(dtype="bfloat16", spelling=4, gguf=["F32"])),
    ("qwen3moe-sparse-tied", "Qwen3Moe", QWEN3MOE | dict(norm_topk_prob=True, decoder_sparse_step=2,
     mlp_only_layers=[3], num_hidden_layers=4, tie_word_embeddings=True), dict(dtype="bfloat16", spelling=4)),
    ("qwen3moe-yarn-bias", "Qwen3Moe", QWEN3MOE | YARN | dict(attention_bias=True, norm_topk_prob=True),
     dict(dtype="bfloat16", spelling=5)),
    ("qwen3moe-window", "Qwen3Moe", QWEN3MOE | dict(use_sliding_window=True, sliding_window=8),
     dict(dtype="bfloat16", spelling=5)),
    ("granitemoe-f32", "GraniteMoe", GRANITE, dict(spelling=5, gguf=["F32"])),
    ("granitemoe-bias-tied", "GraniteMoe", GRANITE | dict(attention_bias=True, tie_word_embeddings=True),
     dict(dtype="bfloat16", spelling=4)),
    ("llama-f32", "Llama", LLAMA, dict(spelling=5, gguf=["F32"])),
    ("llama-bias-linear", "Llama", LLAMA | rope("linear", factor=4.0) | dict(attention_bias=True, mlp_bias=True),
     dict(dtype="bfloat16", spelling=4, gguf=["F32"])),
    ("llama-llama3-tied", "Llama", LLAMA | LLAMA3 | dict(tie_word_embeddings=True),
     dict(dtype="bfloat16", spelling=4, gguf=["F32"])),
    ("llama-yarn", "Llama", LLAMA | YARN, dict(dtype="bfloat16", spelling=4, gguf=["F32"])),
    # transformers takes the short factors up to the original length and the long ones beyond, for the whole sequence
    # at once; a runtime whose cache holds rotated keys decides by the context that is asked for.
    ("llama-longrope-short", "Llama", LLAMA | longrope(original=64), dict(dtype="bfloat16", spelling=4, context=64)),
    ("llama-dynamic-headdim", "Llama", LLAMA | rope("dynamic", factor=2.0) | dict(head_dim=16),
     dict(dtype="bfloat16", spelling=5)),
    ("qwen3-f32-tied", "Qwen3", QWEN3 | dict(tie_word_embeddings=True), dict(spelling=5, gguf=["F32"])),
    ("qwen3-window-layers", "Qwen3", QWEN3 | dict(use_sliding_window=True, sliding_window=8, max_window_layers=1,
     num_hidden_layers=3), dict(dtype="bfloat16", spelling=4)),
    ("qwen3-bias", "Qwen3", QWEN3 | dict(attention_bias=True), dict(dtype="bfloat16", spelling=5)),
    ("llama-longrope-long", "Llama", LLAMA | longrope(original=32), dict(dtype="bfloat16", spelling=5, context=128)),
]

# Quantised by llama.cpp: 32-value types on a narrow model, 256-value types on one whose every row is a multiple.
NARROW = OLMOE | dict(hidden_size=96, intermediate_size=64, max_position_embeddings=256)
WIDE = OLMOE | dict(hidden_size=256, intermediate_size=256, num_experts=4, num_hidden_layers=1,
                    max_position_embeddings=256)
QUANTISED = [(t, NARROW) for t in ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL", "MXFP4"]]
QUANTISED += [(t, WIDE) for t in ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"]]
