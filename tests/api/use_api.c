/* Uses the installed library from C: every failure a status and a message, never an abort. use_api GOLDEN TMP */
#include <math.h>
#include <moiety.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;

static void expect(bool ok, const char* what, int line) {
  if (ok) return;
  fprintf(stderr, "line %d: %s\n", line, what);
  ++failures;
}
#define EXPECT(x) expect((x), #x, __LINE__)

/* A status that is not OK comes with a message. */
static bool fails(moiety_status got, moiety_status wanted, const moiety_error* error) {
  if (got != wanted) fprintf(stderr, "got %s: %s\n", moiety_status_name(got), error->message);
  return got == wanted && error->status == wanted && strlen(error->message) > 0;
}

typedef struct { int calls; float last; int stop_after; } Progress;
static bool on_progress(float done, void* data) {
  Progress* p = data;
  EXPECT(done >= p->last && done <= 1);
  p->last = done;
  return ++p->calls < p->stop_after;
}

typedef struct { int count, stop_after; int32_t ids[64]; } Tokens;
static bool on_token(int32_t id, void* data) {
  Tokens* t = data;
  if (t->count < 64) t->ids[t->count] = id;
  return ++t->count < t->stop_after;
}

typedef struct { int rows; size_t cols; double sum; } Logits;
static void on_logits(int32_t position, const float* logits, size_t count, void* data) {
  Logits* l = data;
  EXPECT(position == l->rows);
  ++l->rows;
  l->cols = count;
  for (size_t i = 0; i < count; ++i) l->sum += (double)logits[i];
}

static moiety_model_params params_of(void) {
  moiety_model_params params;
  moiety_model_params_defaults(&params, sizeof params);
  params.threads = 2;
  return params;
}

static void loading_fails(const char* model, const char* tmp) {
  moiety_error error;
  moiety_model* out = (moiety_model*)&error;
  EXPECT(fails(moiety_model_load("/nowhere/at/all", NULL, &out, &error), MOIETY_IO, &error) && out == NULL);
  EXPECT(fails(moiety_model_load(NULL, NULL, &out, &error), MOIETY_INVALID_ARGUMENT, &error));
  EXPECT(fails(moiety_model_load(model, NULL, NULL, &error), MOIETY_INVALID_ARGUMENT, &error));
  EXPECT(moiety_model_load("/nowhere/at/all", NULL, &out, NULL) == MOIETY_IO);
  char path[4096];
  snprintf(path, sizeof path, "%s/broken.gguf", tmp);
  FILE* file = fopen(path, "wb");
  EXPECT(file != NULL);
  if (file) {
    fputs("GGUF\3\0\0\0garbage", file);
    fclose(file);
    EXPECT(fails(moiety_model_load(path, NULL, &out, &error), MOIETY_FORMAT, &error) && strstr(error.message, "broken.gguf"));
  }
  moiety_model_params params = params_of();
  params.struct_size = 1;
  EXPECT(fails(moiety_model_load(model, &params, &out, &error), MOIETY_INVALID_ARGUMENT, &error));
  params = params_of(), params.struct_size = sizeof params + 8;
  EXPECT(fails(moiety_model_load(model, &params, &out, &error), MOIETY_INVALID_ARGUMENT, &error));
  params = params_of(), params.simd = "mmx";
  EXPECT(fails(moiety_model_load(model, &params, &out, &error), MOIETY_INVALID_ARGUMENT, &error));
  params = params_of(), params.backends = "abacus";
  EXPECT(fails(moiety_model_load(model, &params, &out, &error), MOIETY_INVALID_ARGUMENT, &error));
  params = params_of(), params.gate = "frac=0";
  EXPECT(fails(moiety_model_load(model, &params, &out, &error), MOIETY_INVALID_ARGUMENT, &error));
  params = params_of(), params.gate_second_expert = "none";
  EXPECT(fails(moiety_model_load(model, &params, &out, &error), MOIETY_INVALID_ARGUMENT, &error));
  params = params_of(), params.gate_normalise = "never";
  EXPECT(fails(moiety_model_load(model, &params, &out, &error), MOIETY_INVALID_ARGUMENT, &error));
  params = params_of(), params.threads = -1;
  EXPECT(fails(moiety_model_load(model, &params, &out, &error), MOIETY_INVALID_ARGUMENT, &error));
  params = params_of(), params.ubatch = 0;
  EXPECT(fails(moiety_model_load(model, &params, &out, &error), MOIETY_INVALID_ARGUMENT, &error));
  Progress stop = {0, 0, 1};
  params = params_of(), params.progress = on_progress, params.progress_data = &stop;
  EXPECT(fails(moiety_model_load(model, &params, &out, &error), MOIETY_CANCELLED, &error) && stop.calls == 1);
  moiety_cancel* cancel = NULL;
  EXPECT(moiety_cancel_create(&cancel, &error) == MOIETY_OK);
  moiety_cancel_set(cancel);
  params = params_of(), params.cancel = cancel;
  EXPECT(fails(moiety_model_load(model, &params, &out, &error), MOIETY_CANCELLED, &error));
  moiety_cancel_free(cancel);
  moiety_model_free(NULL);
}

static void ask_model(const moiety_model* model, const char* path) {
  moiety_error error;
  moiety_model_info info = {0}, planned = {0};
  EXPECT(fails(moiety_model_get_info(model, &info, &error), MOIETY_INVALID_ARGUMENT, &error)); /* no struct_size */
  moiety_gate_statistics gates = {.struct_size = sizeof gates};
  EXPECT(fails(moiety_model_gate_statistics(model, &gates, &error), MOIETY_INVALID_ARGUMENT, &error)); /* not asked for */
  info.struct_size = planned.struct_size = sizeof info;
  EXPECT(moiety_model_get_info(model, &info, &error) == MOIETY_OK && error.message[0] == 0);
  EXPECT(info.vocab > 0 && info.layers > 0 && info.experts > 0 && info.active > 0 && info.threads == 2);
  EXPECT(info.parameters > info.active_parameters && info.active_parameters > 0 && info.mapped_bytes > 0);
  moiety_model_params params = params_of();
  EXPECT(moiety_plan_memory(path, &params, &planned, &error) == MOIETY_OK && planned.mapped_bytes == info.mapped_bytes);
  moiety_model_params budget = params;
  budget.ram_bytes = 1; /* and nothing is loaded */
  EXPECT(fails(moiety_plan_memory(path, &budget, &planned, &error), MOIETY_OUT_OF_MEMORY, &error));
  budget.ram_bytes = (uint64_t)4 << 30;
  EXPECT(moiety_plan_memory(path, &budget, &planned, &error) == MOIETY_OK && planned.expert_cache_bytes > 0);
  EXPECT(planned.mapped_bytes + planned.copied_bytes == info.mapped_bytes && planned.copied_bytes > 0);
  moiety_expert_statistics experts;
  memset(&experts, 0, sizeof experts);
  EXPECT(fails(moiety_model_expert_statistics(model, &experts, &error), MOIETY_INVALID_ARGUMENT, &error)); /* no struct_size */
  experts.struct_size = sizeof experts;
  EXPECT(moiety_model_expert_statistics(model, &experts, &error) == MOIETY_OK && experts.experts == 0);
  struct { size_t struct_size; int32_t vocab; int32_t after; } old = {12, 0, 77}; /* an older, shorter header */
  EXPECT(moiety_model_get_info(model, (moiety_model_info*)&old, &error) == MOIETY_OK && old.vocab == info.vocab && old.after == 77);
  size_t length = 0;
  EXPECT(moiety_model_text(model, MOIETY_TEXT_CONFIGURATION, NULL, 0, &length, &error) == MOIETY_OK && length > 20);
  char cut[8];
  memset(cut, 'x', sizeof cut);
  EXPECT(moiety_model_text(model, MOIETY_TEXT_CONFIGURATION, cut, sizeof cut, &length, &error) == MOIETY_OK && strlen(cut) == 7 && length > 20);
  EXPECT(fails(moiety_model_text(model, (moiety_text)99, cut, sizeof cut, &length, &error), MOIETY_INVALID_ARGUMENT, &error));
  EXPECT(moiety_model_explain(model, 1, 1, NULL, 0, &length, &error) == MOIETY_OK && length > 100);
  moiety_cost one, many;
  EXPECT(moiety_model_get_cost(model, 1, 1, &one, &error) == MOIETY_OK && one.weight_bytes > 0 && one.flops > 0);
  EXPECT(moiety_model_get_cost(model, 8, 8, &many, &error) == MOIETY_OK && many.flops > 4 * one.flops && many.weight_bytes < 8 * one.weight_bytes);
  EXPECT(fails(moiety_model_get_cost(model, 0, 0, &one, &error), MOIETY_INVALID_ARGUMENT, &error));
  moiety_tokenizer* tokenizer = NULL;
  if (!info.has_tokenizer) EXPECT(fails(moiety_model_tokenizer(model, &tokenizer, &error), MOIETY_UNSUPPORTED, &error));
}

static void run_sessions(moiety_model* model) {
  moiety_error error;
  moiety_session *a = NULL, *b = NULL, *other = NULL;
  moiety_sampling greedy;
  moiety_sampling_defaults(&greedy, sizeof greedy);
  EXPECT(fabsf(greedy.temperature - 0.8f) < 1e-6f && greedy.top_k == 40);
  greedy.temperature = NAN;
  EXPECT(fails(moiety_session_create(model, &greedy, 0, &a, &error), MOIETY_INVALID_ARGUMENT, &error) && a == NULL);
  greedy.temperature = 0;
  EXPECT(moiety_session_create(model, &greedy, 0, &a, &error) == MOIETY_OK);
  EXPECT(moiety_session_create(model, &greedy, 0, &b, &error) == MOIETY_OK);
  EXPECT(moiety_session_create(model, NULL, 4, &other, &error) == MOIETY_OK && moiety_session_context(other) == 4);
  const int32_t prompt[] = {1, 2, 3, 4, 5}, bad[] = {1, -7};
  const float* logits = NULL;
  size_t count = 0;
  int32_t id = -1;
  EXPECT(fails(moiety_session_logits(a, &logits, &count, &error), MOIETY_INVALID_ARGUMENT, &error));
  EXPECT(fails(moiety_session_sample(a, &id, &error), MOIETY_INVALID_ARGUMENT, &error));
  EXPECT(fails(moiety_generate(a, bad, 2, NULL, NULL, &error), MOIETY_INVALID_ARGUMENT, &error));
  EXPECT(fails(moiety_generate(NULL, prompt, 5, NULL, NULL, &error), MOIETY_INVALID_ARGUMENT, &error));
  EXPECT(fails(moiety_generate(other, prompt, 5, NULL, NULL, &error), MOIETY_CONTEXT_FULL, &error));

  Logits seen = {0, 0, 0};
  moiety_eval_request both[2] = {{a, prompt, 5, MOIETY_WANT_ALL, on_logits, &seen}, {b, prompt, 3, MOIETY_WANT_LAST, NULL, NULL}};
  EXPECT(moiety_eval(both, 2, NULL, &error) == MOIETY_OK);
  EXPECT(seen.rows == 5 && isfinite(seen.sum) && moiety_session_position(a) == 5 && moiety_session_position(b) == 3);
  EXPECT(moiety_session_logits(a, &logits, &count, &error) == MOIETY_OK && count == seen.cols);
  size_t best = 0;
  for (size_t i = 1; i < count; ++i) {
    if (logits[i] > logits[best]) best = i;
  }
  EXPECT(moiety_session_sample(a, &id, &error) == MOIETY_OK && id == (int32_t)best);
  both[1].session = a;
  EXPECT(fails(moiety_eval(both, 2, NULL, &error), MOIETY_INVALID_ARGUMENT, &error));

  moiety_generate_params params;
  moiety_generate_params_defaults(&params, sizeof params);
  Tokens first = {0, 99, {0}}, second = {0, 3, {0}};
  params.max_tokens = 6, params.ignore_eos = true, params.on_token = on_token, params.user_data = &first;
  moiety_generate_result result = {.struct_size = sizeof result};
  EXPECT(moiety_session_rewind(a, 0, &error) == MOIETY_OK);
  EXPECT(moiety_generate(a, prompt, 5, &params, &result, &error) == MOIETY_OK);
  EXPECT(first.count == 6 && result.generated_tokens == 6 && result.prompt_tokens == 5 && result.stop == MOIETY_STOP_LIMIT);
  EXPECT(first.ids[0] == (int32_t)best);
  EXPECT(moiety_session_rewind(b, 0, &error) == MOIETY_OK);
  params.user_data = &second;
  EXPECT(moiety_generate(b, prompt, 5, &params, &result, &error) == MOIETY_OK && result.stop == MOIETY_STOP_CALLBACK);
  EXPECT(second.count == 3 && memcmp(first.ids, second.ids, 3 * sizeof(int32_t)) == 0);
  moiety_cancel* cancel = NULL;
  EXPECT(moiety_cancel_create(&cancel, &error) == MOIETY_OK);
  moiety_cancel_set(cancel);
  params.cancel = cancel;
  EXPECT(moiety_session_rewind(b, 0, &error) == MOIETY_OK);
  EXPECT(moiety_generate(b, prompt, 5, &params, &result, &error) == MOIETY_OK && result.stop == MOIETY_STOP_CANCELLED);
  EXPECT(fails(moiety_eval(&both[0], 1, cancel, &error), MOIETY_CANCELLED, &error));
  EXPECT(fails(moiety_session_rewind(a, 1 << 30, &error), MOIETY_INVALID_ARGUMENT, &error));
  moiety_cancel_free(cancel);
  moiety_session_free(a), moiety_session_free(b), moiety_session_free(other), moiety_session_free(NULL);
}

/* A session goes on from a file as if nothing had been; what is wrong with the file leaves the session as it was. */
static void save_sessions(moiety_model* model, const char* golden, const char* tmp) {
  moiety_error error;
  moiety_session *a = NULL, *b = NULL, *small = NULL;
  moiety_sampling greedy;
  moiety_sampling_defaults(&greedy, sizeof greedy);
  greedy.temperature = 0;
  EXPECT(moiety_session_create(model, &greedy, 0, &a, &error) == MOIETY_OK);
  EXPECT(moiety_session_create(model, &greedy, 0, &b, &error) == MOIETY_OK);
  EXPECT(moiety_session_create(model, &greedy, 4, &small, &error) == MOIETY_OK);
  const int32_t prompt[] = {5, 4, 3, 2, 1};
  const moiety_eval_request request = {a, prompt, 5, MOIETY_WANT_LAST, NULL, NULL};
  EXPECT(moiety_eval(&request, 1, NULL, &error) == MOIETY_OK);
  char path[4096], weights[4096];
  snprintf(path, sizeof path, "%s/session", tmp);
  snprintf(weights, sizeof weights, "%s/olmoe-f32/model.safetensors", golden);
  EXPECT(fails(moiety_session_save(a, NULL, &error), MOIETY_INVALID_ARGUMENT, &error));
  EXPECT(fails(moiety_session_save(a, "/nowhere/at/all", &error), MOIETY_IO, &error));
  EXPECT(fails(moiety_session_save(a, weights, &error), MOIETY_INVALID_ARGUMENT, &error));
  EXPECT(moiety_session_save(a, path, &error) == MOIETY_OK);
  EXPECT(fails(moiety_session_load(b, weights, &error), MOIETY_FORMAT, &error) && moiety_session_position(b) == 0);
  EXPECT(fails(moiety_session_load(small, path, &error), MOIETY_CONTEXT_FULL, &error));
  EXPECT(fails(moiety_session_load(b, "/nowhere/at/all", &error), MOIETY_IO, &error));
  EXPECT(moiety_session_load(b, path, &error) == MOIETY_OK && moiety_session_position(b) == 5);
  int32_t ids[8] = {0};
  size_t count = 0;
  EXPECT(moiety_session_tokens(b, NULL, 0, &count, &error) == MOIETY_OK && count == 5);
  EXPECT(moiety_session_tokens(b, ids, 8, &count, &error) == MOIETY_OK && count == 5 && memcmp(ids, prompt, sizeof prompt) == 0);
  EXPECT(fails(moiety_session_tokens(b, NULL, 8, &count, &error), MOIETY_INVALID_ARGUMENT, &error));
  moiety_generate_params params;
  moiety_generate_params_defaults(&params, sizeof params);
  Tokens first = {0, 99, {0}}, second = {0, 99, {0}};
  params.max_tokens = 8, params.ignore_eos = true, params.on_token = on_token;
  params.user_data = &first;
  EXPECT(moiety_generate(a, NULL, 0, &params, NULL, &error) == MOIETY_OK && first.count == 8);
  params.user_data = &second;
  EXPECT(moiety_generate(b, NULL, 0, &params, NULL, &error) == MOIETY_OK && second.count == 8);
  EXPECT(memcmp(first.ids, second.ids, 8 * sizeof(int32_t)) == 0);
  EXPECT(fails(moiety_generate(small, NULL, 0, &params, NULL, &error), MOIETY_INVALID_ARGUMENT, &error)); /* no logits */
  moiety_session_free(a), moiety_session_free(b), moiety_session_free(small);
}

static void on_log(moiety_log_level level, const char* message, void* data) {
  EXPECT(level == MOIETY_LOG_WARNING && strstr(message, "tune.json"));
  ++*(int*)data;
}

/* What was measured is kept where the caller says, and nowhere otherwise; a broken file is a warning. */
static void tune(const char* path, const char* tmp) {
  moiety_error error;
  char file_path[4096], text[65536];
  snprintf(file_path, sizeof file_path, "%s/tune.json", tmp);
  remove(file_path); /* of a program before */
  for (int run = 0; run < 3; ++run) {
    moiety_model_params params = params_of();
    int warnings = 0;
    if (run > 0) params.tune_path = file_path, params.log = on_log, params.log_data = &warnings;
    FILE* file = run == 2 ? fopen(file_path, "wb") : NULL;
    if (file) fputs("broken", file), fclose(file);
    moiety_model* model = NULL;
    size_t length = 0;
    EXPECT(moiety_model_load(path, &params, &model, &error) == MOIETY_OK && warnings == (run == 2));
    EXPECT(moiety_model_explain(model, 1, 1, text, sizeof text, &length, &error) == MOIETY_OK && length < sizeof text);
    EXPECT((strstr(text, "(measured)") != NULL) == (run > 0));
    moiety_model_free(model);
    file = fopen(file_path, "rb");
    EXPECT((file != NULL) == (run > 0) && (!file || fgetc(file) == '{'));
    if (file) fclose(file);
  }
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  char path[4096];
  snprintf(path, sizeof path, "%s/olmoe-f32", argv[1]);
  EXPECT(strcmp(moiety_version(), "0.1.0") == 0);
  loading_fails(path, argv[2]);
  moiety_error error;
  moiety_model* model = NULL;
  moiety_model_params params = params_of();
  Progress progress = {0, 0, 1 << 30};
  params.progress = on_progress, params.progress_data = &progress;
  if (moiety_model_load(path, &params, &model, &error) != MOIETY_OK) {
    fprintf(stderr, "%s: %s\n", path, error.message);
    return 1;
  }
  EXPECT(progress.calls > 1 && progress.last == 1);
  ask_model(model, path);
  run_sessions(model);
  save_sessions(model, argv[1], argv[2]);
  tune(path, argv[2]);
  moiety_model_free(model);
  if (failures == 0) puts("ok");
  return failures ? 1 : 0;
}
