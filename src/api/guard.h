// The border of the C API: exceptions become statuses, parameter structs of any age become ours.
#pragma once

#include <cstring>
#include <memory>
#include <new>
#include <string_view>
#include <utility>

#include "core/cancel.h"
#include "core/error.h"
#include "moiety.h"
#include "runtime/gate_telemetry.h"
#include "runtime/scheduler.h"
#include "text/tokenizer.h"

struct moiety_cancel { moiety::CancelToken token; };
struct moiety_model {
  std::unique_ptr<moiety::Model> model;
  std::unique_ptr<moiety::GateTelemetry> gates;  // null: not asked for; guarded by the model's step_mutex()
};
struct moiety_tokenizer { std::shared_ptr<const moiety::Tokenizer> tokenizer; };
struct moiety_detokenizer {
  moiety::Detokenizer detokenizer;
  int32_t size;  // of its tokenizer
  std::string text;
};
struct moiety_session {
  moiety_session(const moiety_model& model, const moiety::SamplerOptions& sampler, int capacity)
      : session(*model.model, sampler, capacity), scheduler(*model.model) {
    if (model.gates) scheduler.set_observer(model.gates->observer(scheduler.batch()));
  }
  moiety::Session session;
  moiety::Scheduler scheduler;
  bool running = false;  // in moiety_eval, whose callbacks must leave it alone
};

namespace moiety::api {

// Writes status and message (cut between characters); returns the status. error may be null.
moiety_status report(moiety_error* error, Status status, std::string_view message) noexcept;

// Runs `body`; what it throws becomes a status.
template <class Body>
moiety_status guarded(moiety_error* error, const Body& body) noexcept {
  try {
    body();
    return report(error, Status::kOk, "");
  } catch (const Error& e) {
    return report(error, e.status(), e.what());
  } catch (const std::bad_alloc&) {
    return report(error, Status::kOutOfMemory, "out of memory");
  } catch (const std::exception& e) {
    return report(error, Status::kInternal, e.what());
  } catch (...) {
    return report(error, Status::kInternal, "an unknown exception");
  }
}

template <class T>
T& required(T* pointer, const char* name) {
  if (!pointer) fail(Status::kInvalidArgument, "{} is NULL", name);
  return *pointer;
}

// The caller's struct of parameters over the defaults; one that is larger than ours comes from a newer header.
template <class T>
T read_params(const T* params, T defaults, const char* name) {
  if (!params) return defaults;
  if (params->struct_size < sizeof(size_t) || params->struct_size > sizeof(T)) {
    fail(Status::kInvalidArgument, "{}: struct_size is {}, expected {} to {}", name, params->struct_size, sizeof(size_t), sizeof(T));
  }
  std::memcpy(&defaults, params, params->struct_size);
  defaults.struct_size = sizeof(T);
  return defaults;
}

// Our result into the caller's struct, as much as it has room for.
template <class T>
void write_result(T* result, T ours, const char* name) {
  required(result, name);
  const size_t size = result->struct_size;
  if (size < sizeof(size_t) || size > sizeof(T)) {
    fail(Status::kInvalidArgument, "{}: struct_size is {}, expected {} to {}", name, size, sizeof(size_t), sizeof(T));
  }
  ours.struct_size = size;
  std::memcpy(result, &ours, size);
}

template <class T>
void write_defaults(T* params, size_t struct_size, T ours) {
  if (!params || struct_size < sizeof(size_t)) return;
  ours.struct_size = struct_size < sizeof(T) ? struct_size : sizeof(T);
  std::memcpy(params, &ours, ours.struct_size);
}

void write_text(std::string_view from, char* text, size_t capacity, size_t* length);

moiety_model_params default_model_params();
SamplerOptions sampler_options(const moiety_sampling* sampling);

}  // namespace moiety::api
