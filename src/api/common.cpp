#include <algorithm>

#include "api/guard.h"

namespace moiety::api {

static_assert(static_cast<int>(Status::kInvalidArgument) == MOIETY_INVALID_ARGUMENT);
static_assert(static_cast<int>(Status::kIo) == MOIETY_IO && static_cast<int>(Status::kFormat) == MOIETY_FORMAT);
static_assert(static_cast<int>(Status::kUnsupported) == MOIETY_UNSUPPORTED);
static_assert(static_cast<int>(Status::kNumeric) == MOIETY_NUMERIC && static_cast<int>(Status::kCancelled) == MOIETY_CANCELLED);
static_assert(static_cast<int>(Status::kContextFull) == MOIETY_CONTEXT_FULL);
static_assert(static_cast<int>(Status::kOutOfMemory) == MOIETY_OUT_OF_MEMORY);
static_assert(static_cast<int>(Status::kInternal) == MOIETY_INTERNAL);

moiety_status report(moiety_error* error, Status status, std::string_view message) noexcept {
  const auto code = static_cast<moiety_status>(status);
  if (!error) return code;
  error->status = code;
  size_t size = std::min(message.size(), sizeof error->message - 1);
  while (size < message.size() && size > 0 && (static_cast<unsigned char>(message[size]) & 0xc0) == 0x80) --size;
  std::memcpy(error->message, message.data(), size);
  error->message[size] = 0;
  return code;
}

void write_text(std::string_view from, char* text, size_t capacity, size_t* length) {
  if (capacity > 0) required(text, "text");
  if (length) *length = from.size();
  if (capacity == 0) return;
  const size_t size = std::min(from.size(), capacity - 1);
  std::memcpy(text, from.data(), size);
  text[size] = 0;
}

}  // namespace moiety::api

using moiety::api::guarded;
using moiety::api::required;

const char* moiety_version(void) { return MOIETY_VERSION; }

const char* moiety_status_name(moiety_status status) {
  if (status < MOIETY_OK || status > MOIETY_INTERNAL) return "unknown status";
  return moiety::status_name(static_cast<moiety::Status>(status));
}

moiety_status moiety_cancel_create(moiety_cancel** cancel, moiety_error* error) {
  return guarded(error, [&] { required(cancel, "cancel") = new moiety_cancel; });
}

void moiety_cancel_set(moiety_cancel* cancel) {
  if (cancel) cancel->token.cancel();
}

void moiety_cancel_reset(moiety_cancel* cancel) {
  if (cancel) cancel->token.reset();
}

void moiety_cancel_free(moiety_cancel* cancel) { delete cancel; }
