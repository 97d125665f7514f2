/* moiety: a CPU-first runtime for Mixture-of-Experts language models. The public C API, the only installed header.
 *
 * Errors: a call that can fail returns a moiety_status and takes a moiety_error* (NULL if the message is not wanted),
 * which the caller owns. Nothing here aborts, exits, prints or throws; the library reads no environment variable.
 * Parameter structs: their first member is their size. moiety_*_defaults(&params, sizeof params) fills one in; set what
 * differs. A program built against an older header goes on working with a newer library.
 * Text out: functions with (char* text, size_t capacity, size_t* length) write at most capacity bytes including a final
 * 0 and always set *length to the bytes of the whole text without it. Call with capacity 0 to ask for the length. A
 * text that does not fit is cut at capacity - 1 bytes and is no error: compare *length. Arrays of ids work alike.
 * Threads: a model, a tokenizer and a cancel token may be used by any number of threads at the same time. A session and
 * a detokenizer are used by one thread at a time. Steps of one model take turns. Handles are freed after what was made
 * from them: sessions before their model. Passing NULL to a *_free function does nothing.
 * There is no global state. */
#ifndef MOIETY_H
#define MOIETY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define MOIETY_API __attribute__((visibility("default")))
#else
#define MOIETY_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define MOIETY_VERSION_MAJOR 0
#define MOIETY_VERSION_MINOR 1
#define MOIETY_VERSION_PATCH 0

/* "0.1.0", of the library that runs. Any thread. */
MOIETY_API const char* moiety_version(void);

typedef enum moiety_status {
  MOIETY_OK = 0,
  MOIETY_INVALID_ARGUMENT = 1, /* the caller's fault: NULL, a number out of range, an unknown name */
  MOIETY_IO = 2,               /* the system refused: missing file, permission */
  MOIETY_FORMAT = 3,           /* a file is broken or hostile */
  MOIETY_UNSUPPORTED = 4,      /* a valid wish that is not built, or that this CPU lacks */
  MOIETY_NUMERIC = 5,          /* NaN or infinity where a number must be */
  MOIETY_CANCELLED = 6,
  MOIETY_CONTEXT_FULL = 7,
  MOIETY_OUT_OF_MEMORY = 8,
  MOIETY_INTERNAL = 9          /* a mistake of the library */
} moiety_status;

/* "context full"; never NULL. Any thread. */
MOIETY_API const char* moiety_status_name(moiety_status status);

/* Written by every call that gets one, also when it succeeds (status MOIETY_OK, message ""). */
typedef struct moiety_error {
  moiety_status status;
  char message[1020]; /* UTF-8, ends in 0; cut if it is longer */
} moiety_error;

/* ---- cancelling ---------------------------------------------------------------------------------------------- */

/* One token stops a load, a prompt or a generation; it is polled before each node of a step. */
typedef struct moiety_cancel moiety_cancel;
MOIETY_API moiety_status moiety_cancel_create(moiety_cancel** cancel, moiety_error* error);
MOIETY_API void moiety_cancel_set(moiety_cancel* cancel);   /* any thread; safe in a signal handler */
MOIETY_API void moiety_cancel_reset(moiety_cancel* cancel); /* any thread */
MOIETY_API void moiety_cancel_free(moiety_cancel* cancel);

/* ---- models -------------------------------------------------------------------------------------------------- */

typedef struct moiety_model moiety_model;

typedef enum moiety_log_level { MOIETY_LOG_INFO = 0, MOIETY_LOG_WARNING = 1 } moiety_log_level;
typedef enum moiety_activations { MOIETY_ACTIVATIONS_AUTO = 0, MOIETY_ACTIVATIONS_F32 = 1 } moiety_activations;
typedef enum moiety_type { MOIETY_TYPE_DEFAULT = 0, MOIETY_TYPE_F32 = 1, MOIETY_TYPE_F16 = 2 } moiety_type;

typedef struct moiety_model_params {
  size_t struct_size;
  int32_t threads;            /* 0: min(affinity mask, cgroup quota rounded up, physical cores) */
  int32_t context;            /* tokens a session can hold; 0: the model's own */
  int32_t batch;              /* most tokens in one step: the smaller of the two (2048, 512) */
  int32_t ubatch;
  moiety_activations activations; /* auto: the fast path; f32: never rounds an activation nor the cache */
  moiety_type key_type;       /* of the KV cache; default: f16, f32 where activations are f32 */
  moiety_type value_type;
  const char* simd;           /* a SIMD target by name, "avx2"; NULL: the best that the CPU has */
  const char* backends;       /* in order, "simd,reference"; NULL: the default list */
  const char* thread_pool;    /* "team" (threads of oneTBB that stay together for a step), "tbb", "openmp", "serial"; NULL: team */
  /* Told what part of the load is done, 0 to 1, on the loading thread; false cancels the load (MOIETY_CANCELLED). */
  bool (*progress)(float done, void* user_data);
  void* progress_data;
  /* Gets warnings (an unknown key of config.json) while loading, on the loading thread. */
  void (*log)(moiety_log_level level, const char* message, void* user_data);
  void* log_data;
  const moiety_cancel* cancel; /* polled while loading; may be NULL */
  const char* vocabulary;     /* a folder with dict.txt, encoder.json and vocab.bpe of a fairseq model; NULL: beside it */
  /* Gates of fairseq's MoE models; a dense model takes no notice, other models with experts refuse what changes routes.
   * With a capacity a gate looks at all tokens of a gating group, that is a prompt, or a request of moiety_eval: one
   * that has more tokens than a step is MOIETY_INVALID_ARGUMENT. */
  const char* gate;               /* tokens an expert takes of S: "nodrop" all, "train" 2*ceil(S/E), "frac=X" ceil(X*S); NULL: nodrop */
  const char* gate_second_expert; /* "all", "random", "sampling"; NULL: all */
  const char* gate_normalise;     /* the weights "before" or "after" dropping; NULL: as the model was configured */
  uint64_t gate_seed;             /* of random and sampling */
  bool gate_priority;             /* the best gates take their places first, not the first positions */
  bool gate_pad_mask;             /* pads take no places */
  bool gate_statistics;           /* count for moiety_model_gate_statistics; costs some speed */
  /* A hard budget: the resident memory of the process, what it holds before the load included, stays below so many bytes
   * while one session runs. Experts are read from the files when they are needed and leave by use; the results are the
   * same. MOIETY_OUT_OF_MEMORY says where it would go if it is too small. 0: no limit. */
  uint64_t ram_bytes;
  /* A file that keeps what was measured of kernels on this CPU, from how many rows on a matrix product is worth unpacking
   * its weights: what it lacks takes up to 0.1 s of a load, once. Results do not depend on it, to the bit. It is replaced as a
   * whole, whatever stood there, and may be shared by processes; one that is broken is a warning, one that can't be written
   * nothing at all. NULL: usual numbers, nothing is measured, read or written. */
  const char* tune_path;
} moiety_model_params;

MOIETY_API void moiety_model_params_defaults(moiety_model_params* params, size_t struct_size);

/* path: a Hugging Face model folder, a folder with one GGUF model, a .gguf file, or a fairseq checkpoint X.pt, which
 * may stand for X-shared.pt and X-rank-N.pt. params may be NULL. Weights are mapped, not read. *model is NULL after an error. Any thread. */
MOIETY_API moiety_status moiety_model_load(const char* path, const moiety_model_params* params, moiety_model** model,
                                           moiety_error* error);
MOIETY_API void moiety_model_free(moiety_model* model);

typedef struct moiety_model_info {
  size_t struct_size;          /* set by the caller */
  int32_t vocab;
  int32_t context;             /* of a session: params.context or the model's own */
  int32_t layers, width;
  int32_t experts, active;     /* 0 for a dense model */
  int32_t threads;
  int64_t parameters;
  int64_t active_parameters;   /* that one token uses */
  uint64_t mapped_bytes;       /* weights by memory class */
  uint64_t copied_bytes, repacked_bytes;
  uint64_t session_bytes;      /* the KV cache of a session, reserved; pages are touched on use */
  uint64_t arena_bytes;        /* working memory of each session that runs */
  bool has_tokenizer;
  bool whole_prompts;          /* gates have capacities: a token's experts depend on its whole prompt, no part of it can be kept */
  uint64_t expert_cache_bytes; /* with params.ram_bytes: what holds experts; 0: no budget, or no experts */
} moiety_model_info;

/* Any thread. */
MOIETY_API moiety_status moiety_model_get_info(const moiety_model* model, moiety_model_info* info, moiety_error* error);

/* The memory by class that a model would take, with the same params; nothing of the weights is read. Any thread. */
MOIETY_API moiety_status moiety_plan_memory(const char* path, const moiety_model_params* params, moiety_model_info* info,
                                            moiety_error* error);

typedef enum moiety_text {
  MOIETY_TEXT_NAME = 0,          /* the file's or folder's name */
  MOIETY_TEXT_ARCHITECTURE = 1,  /* "olmoe" */
  MOIETY_TEXT_FORMAT = 2,        /* "safetensors", "gguf" */
  MOIETY_TEXT_TYPES = 3,         /* weight types, most bytes first: "q4_0, f32" */
  MOIETY_TEXT_BACKENDS = 4,      /* with their targets: "simd (avx512_vnni), reference (eigen)" */
  MOIETY_TEXT_CONFIGURATION = 5, /* the effective configuration, lines for people */
  MOIETY_TEXT_CHAT_TEMPLATE = 6  /* as the model states it; "" if it has none */
} moiety_text;

/* Any thread. */
MOIETY_API moiety_status moiety_model_text(const moiety_model* model, moiety_text which, char* text, size_t capacity,
                                           size_t* length, moiety_error* error);

/* A table: each node's backend, kernel, the reasons of the backends before it, bytes and FLOPs of a step of `tokens`
 * rows after `context` tokens. Any thread. */
MOIETY_API moiety_status moiety_model_explain(const moiety_model* model, int32_t tokens, int32_t context, char* text,
                                              size_t capacity, size_t* length, moiety_error* error);

/* What such a step reads of the weights and computes, summed over the planned nodes. Any thread. */
typedef struct moiety_cost { double weight_bytes, flops; } moiety_cost;
MOIETY_API moiety_status moiety_model_get_cost(const moiety_model* model, int32_t tokens, int32_t context,
                                               moiety_cost* cost, moiety_error* error);

/* What gates did in all steps since the model was loaded, in fairseq's names: means over gates, then over gating groups
 * (moe_gate_loss: the sum over gates, its mean weighed by tokens). Percentages are of a group's tokens; top and bottom
 * are the most and the least chosen fifth of the experts. */
typedef struct moiety_gate_statistics {
  size_t struct_size; /* set by the caller */
  int64_t groups;     /* 0: no gate ran */
  double overflow_expert1, overflow_expert2; /* % of the first and second choices that were dropped */
  double entropy_gating;                     /* nats */
  double expert1_balance_top, expert1_balance_bottom, expert2_balance_top, expert2_balance_bottom;
  double unused_expert1_count, unused_expert2_count;
  double moe_gate_loss; /* of a gate: 1 when balanced */
} moiety_gate_statistics;

/* MOIETY_INVALID_ARGUMENT unless the model was loaded with params.gate_statistics. Any thread. */
MOIETY_API moiety_status moiety_model_gate_statistics(const moiety_model* model, moiety_gate_statistics* statistics,
                                                      moiety_error* error);

/* Experts under params.ram_bytes, since the model was loaded. */
typedef struct moiety_expert_statistics {
  size_t struct_size; /* set by the caller */
  int64_t experts;    /* of all layers; 0: no budget, or no experts */
  int64_t slots;      /* of them that memory holds at a time */
  int64_t uses;       /* experts that steps needed */
  int64_t reads;      /* of these, those that were read from a file */
  int64_t read_bytes;
} moiety_expert_statistics;

/* Any thread. */
MOIETY_API moiety_status moiety_model_expert_statistics(const moiety_model* model, moiety_expert_statistics* statistics,
                                                        moiety_error* error);

/* ---- text ---------------------------------------------------------------------------------------------------- */

typedef struct moiety_tokenizer moiety_tokenizer;

/* From a folder with tokenizer.json or with fairseq's dict.txt, encoder.json and vocab.bpe, or from a model file. *tokenizer is NULL after an error. Any thread. */
MOIETY_API moiety_status moiety_tokenizer_load(const char* path, moiety_tokenizer** tokenizer, moiety_error* error);
/* The same; vocabulary: see moiety_model_params, may be NULL. */
MOIETY_API moiety_status moiety_tokenizer_load_with(const char* path, const char* vocabulary, moiety_tokenizer** tokenizer,
                                                    moiety_error* error);
/* A model's tokenizer, to be freed like any other; it may outlive the model. MOIETY_UNSUPPORTED if it has none. */
MOIETY_API moiety_status moiety_model_tokenizer(const moiety_model* model, moiety_tokenizer** tokenizer,
                                                moiety_error* error);
MOIETY_API void moiety_tokenizer_free(moiety_tokenizer* tokenizer);

/* text[length] need not end in 0. add_special: the BOS and EOS that the model wants around a prompt. parse_special:
 * control tokens that are spelled in the text become themselves. *count: the ids of the whole text. Any thread. */
MOIETY_API moiety_status moiety_tokenize(const moiety_tokenizer* tokenizer, const char* text, size_t length,
                                         bool add_special, bool parse_special, int32_t* ids, size_t capacity,
                                         size_t* count, moiety_error* error);
/* Bytes that are not UTF-8 become U+FFFD. Any thread. */
MOIETY_API moiety_status moiety_detokenize(const moiety_tokenizer* tokenizer, const int32_t* ids, size_t count,
                                           bool skip_special, char* text, size_t capacity, size_t* length,
                                           moiety_error* error);
MOIETY_API int32_t moiety_tokenizer_size(const moiety_tokenizer* tokenizer); /* ids are below it; 0 for NULL */
MOIETY_API bool moiety_tokenizer_ends(const moiety_tokenizer* tokenizer, int32_t id); /* this id ends an answer */

/* Text as it becomes certain, never ending inside a UTF-8 character. continues: the ids follow text that was shown
 * before, so a leading space is kept. One thread at a time. The tokenizer may be freed before it. */
typedef struct moiety_detokenizer moiety_detokenizer;
MOIETY_API moiety_status moiety_detokenizer_create(const moiety_tokenizer* tokenizer, bool continues,
                                                   moiety_detokenizer** detokenizer, moiety_error* error);
/* *text stays valid until the next call for this detokenizer, ends in 0, and may be empty. Ids that only the model's
 * padded vocabulary has, beyond the tokenizer's, have no text. */
MOIETY_API moiety_status moiety_detokenizer_push(moiety_detokenizer* detokenizer, int32_t id, const char** text,
                                                 size_t* length, moiety_error* error);
MOIETY_API moiety_status moiety_detokenizer_flush(moiety_detokenizer* detokenizer, const char** text, size_t* length,
                                                  moiety_error* error);
MOIETY_API void moiety_detokenizer_free(moiety_detokenizer* detokenizer);

typedef struct moiety_message {
  const char* role;    /* "system", "user", "assistant" */
  const char* content; /* UTF-8 */
} moiety_message;

/* The prompt of a conversation, to be tokenised with parse_special. chat_template: NULL for the tokenizer's own, the
 * name of one that is built in ("chatml"), or a template's text. add_generation: ends where the answer begins.
 * A template that is not known is MOIETY_UNSUPPORTED. Any thread. */
MOIETY_API moiety_status moiety_chat_render(const moiety_tokenizer* tokenizer, const char* chat_template,
                                            const moiety_message* messages, size_t count, bool add_generation,
                                            char* text, size_t capacity, size_t* length, moiety_error* error);

/* ---- sessions ------------------------------------------------------------------------------------------------ */

/* One conversation: its cache, its tokens, its sampler. One thread at a time. */
typedef struct moiety_session moiety_session;

typedef struct moiety_sampling {
  size_t struct_size;
  float temperature;      /* 0.8; 0: the largest logit */
  int32_t top_k;          /* 40; 0: off */
  float top_p;            /* 0.95; 1: off */
  float min_p;            /* 0.05; 0: off */
  float repeat_penalty;   /* 1: off */
  int32_t repeat_last_n;  /* 64 */
  uint64_t seed;          /* 0; the same seed gives the same text */
} moiety_sampling;

MOIETY_API void moiety_sampling_defaults(moiety_sampling* sampling, size_t struct_size);

/* sampling may be NULL. context: tokens that it can hold, 0: the model's. */
MOIETY_API moiety_status moiety_session_create(moiety_model* model, const moiety_sampling* sampling, int32_t context,
                                               moiety_session** session, moiety_error* error);
MOIETY_API void moiety_session_free(moiety_session* session);
MOIETY_API moiety_status moiety_session_set_sampling(moiety_session* session, const moiety_sampling* sampling,
                                                     moiety_error* error);
MOIETY_API int32_t moiety_session_position(const moiety_session* session); /* tokens it holds; 0 for NULL */
MOIETY_API int32_t moiety_session_context(const moiety_session* session);  /* tokens it can hold; 0 for NULL */
/* The tokens that it holds; *count is their number, whatever the capacity. */
MOIETY_API moiety_status moiety_session_tokens(const moiety_session* session, int32_t* ids, size_t capacity, size_t* count,
                                               moiety_error* error);
/* Forgets all tokens from `position` on, and a failure. */
MOIETY_API moiety_status moiety_session_rewind(moiety_session* session, int32_t position, moiety_error* error);

/* A session in a file, to go on in another process: its tokens, cache and newest logits, not its sampling. The file
 * appears under its name when it is complete; a file of the model is refused as output. Loading trusts nothing in the
 * file: it must be of the same model (a hash of the graph and a sample of the weights), with the same types of cache
 * (MOIETY_INVALID_ARGUMENT), fit the context (MOIETY_CONTEXT_FULL) and be undamaged (MOIETY_FORMAT); after an error the
 * session is as it was. SIMD target, threads and activations may differ, the logits then by rounding. */
MOIETY_API moiety_status moiety_session_save(const moiety_session* session, const char* path, moiety_error* error);
MOIETY_API moiety_status moiety_session_load(moiety_session* session, const char* path, moiety_error* error);

typedef enum moiety_want { MOIETY_WANT_LAST = 0, MOIETY_WANT_ALL = 1, MOIETY_WANT_NONE = 2 } moiety_want;

/* Logits [vocab] after the token at `position`; valid during the call, which comes on the calling thread and may use
 * the model and other sessions; changing one that runs is MOIETY_INVALID_ARGUMENT. */
typedef void (*moiety_logits_callback)(int32_t position, const float* logits, size_t count, void* user_data);

typedef struct moiety_eval_request {
  moiety_session* session;
  const int32_t* tokens;
  size_t count;
  moiety_want want;
  moiety_logits_callback on_logits; /* may be NULL: moiety_session_logits has the last ones */
  void* user_data;
} moiety_eval_request;

/* Runs tokens of any number of sessions of one model, batched in common steps; a session may be named once. The logits
 * of a session do not depend on its neighbours. An error before anything ran leaves all sessions as they were; after
 * MOIETY_CANCELLED they hold the tokens that were run. A session that fails (MOIETY_NUMERIC) does not disturb the
 * others: the first such failure is returned after all have run. cancel may be NULL. */
MOIETY_API moiety_status moiety_eval(const moiety_eval_request* requests, size_t count, const moiety_cancel* cancel,
                                     moiety_error* error);

/* The logits after the newest token that wanted them; valid until the session runs again. */
MOIETY_API moiety_status moiety_session_logits(const moiety_session* session, const float** logits, size_t* count,
                                               moiety_error* error);
/* Draws the next token from them; it is not run. */
MOIETY_API moiety_status moiety_session_sample(moiety_session* session, int32_t* id, moiety_error* error);

typedef enum moiety_stop {
  MOIETY_STOP_END = 0,      /* an end-of-sequence token */
  MOIETY_STOP_LIMIT = 1,    /* max_tokens */
  MOIETY_STOP_CONTEXT = 2,  /* the context is full */
  MOIETY_STOP_CALLBACK = 3,
  MOIETY_STOP_CANCELLED = 4
} moiety_stop;

typedef struct moiety_generate_params {
  size_t struct_size;
  int32_t max_tokens; /* -1: until another reason stops it */
  bool ignore_eos;
  /* Gets each new token, on the calling thread; false stops. NULL is allowed. */
  bool (*on_token)(int32_t id, void* user_data);
  void* user_data;
  const moiety_cancel* cancel; /* may be NULL */
} moiety_generate_params;

MOIETY_API void moiety_generate_params_defaults(moiety_generate_params* params, size_t struct_size);

typedef struct moiety_generate_result {
  size_t struct_size; /* set by the caller */
  moiety_stop stop;
  int32_t prompt_tokens, generated_tokens;
  double prompt_seconds, generate_seconds;
} moiety_generate_result;

/* Runs the prompt after what the session holds, then draws and runs tokens until something stops it. An end token is
 * not passed to on_token unless it is ignored. Cancelling is a reason to stop, not an error. params and result may be
 * NULL. MOIETY_CONTEXT_FULL if the prompt does not fit. count may be 0 where the session has logits to go on from. */
MOIETY_API moiety_status moiety_generate(moiety_session* session, const int32_t* prompt, size_t count,
                                         const moiety_generate_params* params, moiety_generate_result* result,
                                         moiety_error* error);

#ifdef __cplusplus
}
#endif

#endif /* MOIETY_H */
