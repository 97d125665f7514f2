"""llama.cpp through llama-cpp-python: its quantiser, and its logits on a file."""
import ctypes

import llama_cpp
import numpy as np

FTYPE = {"Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K": 11, "Q4_K": 14, "Q5_K": 16,
         "Q6_K": 18, "IQ4_NL": 25, "IQ4_XS": 30, "MXFP4": 38}


@llama_cpp.llama_log_callback
def _quiet(level, text, user_data):
    pass


llama_cpp.llama_log_set(_quiet, ctypes.c_void_p(0))


def quantise(source, target, kind):
    """Every matrix to `kind` (MXFP4: the experts; the rest is Q8_0)."""
    params = llama_cpp.llama_model_quantize_default_params()
    params.nthread, params.ftype, params.pure = 1, FTYPE[kind], kind != "MXFP4"
    status = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params))
    if status != 0:
        raise RuntimeError(f"llama.cpp could not quantise {source} to {kind}")


def logits(path, tokens, exact_cache=False):
    """Logits [P, T, V] of tokens [P, T], one prompt after the other, default settings (flash attention, an fp16 cache)
    or without either."""
    model_params = llama_cpp.llama_model_default_params()
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), model_params)
    if not model:
        raise RuntimeError(f"llama.cpp could not load {path}")
    vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    length = len(tokens[0])
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch, params.n_threads = max(256, length), 512, 512, 1
    if exact_cache:
        params.type_k = params.type_v = 0  # GGML_TYPE_F32
        params.flash_attn_type = 0
    context = llama_cpp.llama_init_from_model(model, params)
    out = np.empty((len(tokens), length, vocab), dtype=np.float32)
    batch = llama_cpp.llama_batch_init(length, 0, 1)
    for p, prompt in enumerate(tokens):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        batch.n_tokens = length
        for i, token in enumerate(prompt):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = int(token), i, 1, 0
            batch.logits[i] = 1
        if llama_cpp.llama_decode(context, batch) != 0:
            raise RuntimeError(f"llama.cpp could not decode with {path}")
        for i in range(length):
            out[p, i] = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, i), shape=(vocab,))
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return out
