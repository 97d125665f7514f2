#include <algorithm>

#include "api/guard.h"
#include "runtime/generate.h"

namespace moiety::api {
namespace {

moiety_sampling default_sampling() {
  const SamplerOptions o;
  return {sizeof(moiety_sampling), o.temperature, o.top_k, o.top_p, o.min_p, o.repeat_penalty, o.repeat_last_n, o.seed};
}

moiety_generate_params default_generate_params() {
  return {sizeof(moiety_generate_params), -1, false, nullptr, nullptr, nullptr};
}

Want want_of(moiety_want want) {
  switch (want) {
    case MOIETY_WANT_LAST: return Want::kLast;
    case MOIETY_WANT_ALL: return Want::kAll;
    case MOIETY_WANT_NONE: return Want::kNone;
  }
  fail(Status::kInvalidArgument, "want: {} is no moiety_want", static_cast<int>(want));
}

std::span<const int32_t> tokens_of(const int32_t* tokens, size_t count) {
  if (count > 0) required(tokens, "tokens");
  return {tokens, count};
}

const CancelToken* token_of(const moiety_cancel* cancel) { return cancel ? &cancel->token : nullptr; }

void submit(Scheduler& scheduler, const moiety_eval_request& request) {
  LogitsSink sink;
  if (request.on_logits) {
    sink = [&request](int position, std::span<const float> logits) {
      request.on_logits(position, logits.data(), logits.size(), request.user_data);
    };
  }
  scheduler.submit(request.session->session, tokens_of(request.tokens, request.count), want_of(request.want), std::move(sink));
}

// A session that may be changed now.
moiety_session& idle(moiety_session* session) {
  if (required(session, "session").running) fail(Status::kInvalidArgument, "the session is running: its callback can't change it");
  return *session;
}

struct Running {
  explicit Running(std::span<const moiety_eval_request> all) : requests(all) { set(true); }
  ~Running() { set(false); }
  void set(bool running) const {
    for (const moiety_eval_request& request : requests) request.session->running = running;
  }
  std::span<const moiety_eval_request> requests;
};

void eval(std::span<const moiety_eval_request> requests, const CancelToken* cancel) {
  for (size_t i = 0; i < requests.size(); ++i) {
    idle(requests[i].session);
    for (size_t j = 0; j < i; ++j) {
      if (requests[i].session == requests[j].session) fail(Status::kInvalidArgument, "requests {} and {} name the same session", j, i);
    }
  }
  if (requests.empty()) return;
  Scheduler& scheduler = requests[0].session->scheduler;
  const Running running(requests);
  try {
    for (const moiety_eval_request& request : requests) submit(scheduler, request);
    scheduler.run(cancel);
  } catch (...) {
    for (const moiety_eval_request& request : requests) scheduler.drop(request.session->session);
    throw;
  }
  for (const moiety_eval_request& request : requests) {
    const Session& session = request.session->session;
    if (session.status() != Status::kOk) fail(session.status(), "{}", session.message());
  }
}

}  // namespace

SamplerOptions sampler_options(const moiety_sampling* sampling) {
  const moiety_sampling s = read_params(sampling, default_sampling(), "moiety_sampling");
  const SamplerOptions options{s.temperature, s.top_k, s.top_p, s.min_p, s.repeat_penalty, s.repeat_last_n, s.seed};
  check_sampler_options(options);
  return options;
}

}  // namespace moiety::api

using namespace moiety::api;

void moiety_sampling_defaults(moiety_sampling* sampling, size_t struct_size) {
  write_defaults(sampling, struct_size, default_sampling());
}

void moiety_generate_params_defaults(moiety_generate_params* params, size_t struct_size) {
  write_defaults(params, struct_size, default_generate_params());
}

moiety_status moiety_session_create(moiety_model* model, const moiety_sampling* sampling, int32_t context, moiety_session** session,
                                    moiety_error* error) {
  if (session) *session = nullptr;
  return guarded(error, [&] {
    required(session, "session");
    *session = new moiety_session(required(model, "model"), sampler_options(sampling), context);
  });
}

void moiety_session_free(moiety_session* session) { delete session; }

moiety_status moiety_session_set_sampling(moiety_session* session, const moiety_sampling* sampling, moiety_error* error) {
  return guarded(error, [&] { required(session, "session").session.set_sampler(sampler_options(sampling)); });
}

int32_t moiety_session_position(const moiety_session* session) { return session ? session->session.position() : 0; }
int32_t moiety_session_context(const moiety_session* session) {
  return session ? session->session.position() + session->session.room() : 0;
}

moiety_status moiety_session_rewind(moiety_session* session, int32_t position, moiety_error* error) {
  return guarded(error, [&] { idle(session).session.rewind(position); });
}

moiety_status moiety_session_tokens(const moiety_session* session, int32_t* ids, size_t capacity, size_t* count, moiety_error* error) {
  return guarded(error, [&] {
    const std::span<const int32_t> all = required(session, "session").session.tokens();
    if (capacity > 0) required(ids, "ids");
    required(count, "count") = all.size();
    std::copy_n(all.begin(), std::min(capacity, all.size()), ids);
  });
}

moiety_status moiety_session_save(const moiety_session* session, const char* path, moiety_error* error) {
  return guarded(error, [&] { required(session, "session").session.save(&required(path, "path")); });
}

moiety_status moiety_session_load(moiety_session* session, const char* path, moiety_error* error) {
  return guarded(error, [&] { idle(session).session.load(&required(path, "path")); });
}

moiety_status moiety_eval(const moiety_eval_request* requests, size_t count, const moiety_cancel* cancel, moiety_error* error) {
  return guarded(error, [&] {
    if (count > 0) required(requests, "requests");
    eval({requests, count}, token_of(cancel));
  });
}

moiety_status moiety_session_logits(const moiety_session* session, const float** logits, size_t* count, moiety_error* error) {
  return guarded(error, [&] {
    const std::span<const float> all = required(session, "session").session.logits();
    required(logits, "logits"), required(count, "count");
    if (all.empty()) moiety::fail(moiety::Status::kInvalidArgument, "the session has no logits yet, run a prompt first");
    *logits = all.data(), *count = all.size();
  });
}

moiety_status moiety_session_sample(moiety_session* session, int32_t* id, moiety_error* error) {
  return guarded(error, [&] {
    required(id, "id");
    *id = required(session, "session").session.sample();
  });
}

moiety_status moiety_generate(moiety_session* session, const int32_t* prompt, size_t count, const moiety_generate_params* user_params,
                              moiety_generate_result* result, moiety_error* error) {
  return guarded(error, [&] {
    idle(session);
    const moiety_generate_params p = read_params(user_params, default_generate_params(), "moiety_generate_params");
    if (result) write_result(result, moiety_generate_result{}, "moiety_generate_result");
    const moiety::GenerateOptions options{p.max_tokens, p.ignore_eos};
    const auto on_token = [&](int32_t id) { return p.on_token ? p.on_token(id, p.user_data) : true; };
    const moiety::GenerateResult done = moiety::generate(session->scheduler, session->session, tokens_of(prompt, count), options,
                                                         on_token, token_of(p.cancel));
    if (!result) return;
    static_assert(static_cast<int>(moiety::StopReason::kCancelled) == MOIETY_STOP_CANCELLED);
    write_result(result, {0, static_cast<moiety_stop>(done.reason), done.prompt_tokens, done.generated, done.prompt_seconds,
                          done.generate_seconds}, "moiety_generate_result");
  });
}
