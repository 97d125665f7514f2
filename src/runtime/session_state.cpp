// A session in a file, little-endian: Header, token ids (i32), the newest logits (f32), for each layer and head the
// keys of all tokens, the same of the values, and a Hash of all bytes before it.
#include <algorithm>
#include <array>

#include "core/hash.h"
#include "core/mapped_file.h"
#include "formats/output_file.h"
#include "graph/fingerprint.h"
#include "runtime/session.h"

namespace moiety {
namespace {

struct Header {
  std::array<char, 8> magic{'M', 'O', 'I', 'E', 'T', 'Y', 'S', '\n'};
  uint32_t version = 1;
  uint32_t tokens = 0;
  uint32_t logits = 0;                      // 0 or the vocabulary
  uint32_t key_bytes = 0, value_bytes = 0;  // 4: f32, 2: f16
  uint32_t layers = 0, heads = 0, head_dim = 0;
  uint64_t model = 0;  // fingerprint
};
static_assert(sizeof(Header) == 48 && std::is_trivially_copyable_v<Header>);

uint32_t item_bytes(DType type) { return static_cast<uint32_t>(dtype_info(type).bytes); }

// What a file of this session's model begins with.
Header header_of(const Model& model, size_t tokens, size_t logits) {
  const StateShape& state = model.graph().state;
  Header h;
  h.tokens = static_cast<uint32_t>(tokens), h.logits = static_cast<uint32_t>(logits);
  h.key_bytes = item_bytes(model.plan_options().key_type), h.value_bytes = item_bytes(model.plan_options().value_type);
  h.layers = static_cast<uint32_t>(state.layers), h.heads = static_cast<uint32_t>(state.kv_heads);
  h.head_dim = static_cast<uint32_t>(state.head_dim);
  h.model = fingerprint(model.graph());
  return h;
}

// All but the hash at the end. Checked before: the counts are those of a session that fits in memory.
uint64_t file_bytes(const Header& h) {
  const uint64_t rows = uint64_t{h.layers} * h.heads * h.tokens;
  return sizeof(Header) + 4 * (uint64_t{h.tokens} + h.logits) + rows * h.head_dim * (h.key_bytes + h.value_bytes);
}

// Calls use(memory, bytes) for each run of the cache, in the file's order.
template <class Use>
void each_run(const KvCache& cache, const Header& h, const Use& use) {
  const auto each_head = [&](size_t row_bytes, const auto& at) {
    for (int layer = 0; layer < static_cast<int>(h.layers); ++layer)
      for (int head = 0; head < static_cast<int>(h.heads); ++head)
        for (int s = 0; s < cache.segments() && cache.segment_begin(s) < h.tokens; ++s) {
          const int64_t begin = cache.segment_begin(s), end = std::min<int64_t>(cache.segment_end(s), h.tokens);
          use(at(layer, head, begin), static_cast<size_t>(end - begin) * row_bytes);
        }
  };
  each_head(cache.key_row_bytes(), [&](int layer, int head, int64_t p) { return cache.keys(layer, head, p); });
  each_head(cache.value_row_bytes(), [&](int layer, int head, int64_t p) { return cache.values(layer, head, p); });
}

// The header, after everything in it agrees with `model` and the file's length.
Header checked_header(std::span<const std::byte> bytes, const std::string& name, const Model& model, int capacity) {
  if (bytes.size() < sizeof(Header) + sizeof(uint64_t)) {
    fail(Status::kFormat, "{} @0x0: {} bytes are no saved session", name, bytes.size());
  }
  Header h;
  std::memcpy(&h, bytes.data(), sizeof h);
  if (h.magic != Header{}.magic) fail(Status::kFormat, "{} @0x0: not a saved session", name);
  if (h.version != Header{}.version) {
    fail(Status::kUnsupported, "{} @{:#x}: version is {}, expected {}", name, offsetof(Header, version), h.version,
         Header{}.version);
  }
  const Header own = header_of(model, 0, 0);
  if (h.model != own.model) {
    fail(Status::kInvalidArgument, "{} @{:#x}: model hash is {:016x}, a session of another model; this one has {:016x}",
         name, offsetof(Header, model), h.model, own.model);
  }
  const auto same = [&](const char* field, size_t offset, uint32_t found, uint32_t expected) {
    if (found != expected)
      fail(Status::kInvalidArgument, "{} @{:#x}: {} is {}, this model has {}", name, offset, field, found, expected);
  };
  same("bytes of a key", offsetof(Header, key_bytes), h.key_bytes, own.key_bytes);
  same("bytes of a value", offsetof(Header, value_bytes), h.value_bytes, own.value_bytes);
  same("layers", offsetof(Header, layers), h.layers, own.layers);
  same("heads", offsetof(Header, heads), h.heads, own.heads);
  same("head dim", offsetof(Header, head_dim), h.head_dim, own.head_dim);
  if (h.logits != 0) same("logits", offsetof(Header, logits), h.logits, static_cast<uint32_t>(model.config().vocab));
  if (h.tokens > static_cast<uint32_t>(capacity)) {
    fail(Status::kContextFull, "{} @{:#x}: {} tokens, but the session has room for {}", name, offsetof(Header, tokens),
         h.tokens, capacity);
  }
  if (file_bytes(h) != bytes.size() - sizeof(uint64_t)) {
    fail(Status::kFormat, "{} @0x0: {} bytes, expected {} for {} tokens", name, bytes.size(),
         file_bytes(h) + sizeof(uint64_t), h.tokens);
  }
  return h;
}

template <class T>
std::vector<T> take(std::span<const std::byte>& bytes, size_t count) {
  std::vector<T> values(count);
  if (count > 0) std::memcpy(values.data(), bytes.data(), count * sizeof(T));
  bytes = bytes.subspan(count * sizeof(T));
  return values;
}

// Writes and hashes.
struct HashedOutput {
  OutputFile file;
  Hash hash{};
  void write(std::span<const std::byte> bytes) { file.write(bytes), hash.add(bytes); }
};

}  // namespace

void Session::save(const std::filesystem::path& path) const {
  if (status_ != Status::kOk) fail(status_, "{}", message_);
  for (const auto& file : model_.store().files()) {
    if (same_file(path, file->path())) {
      fail(Status::kInvalidArgument, "{}: is a file of the model, not overwritten", printable(path.string()));
    }
  }
  const Header header = header_of(model_, tokens_.size(), logits_.size());
  HashedOutput out{OutputFile(path)};
  out.write(std::as_bytes(std::span(&header, 1)));
  out.write(std::as_bytes(std::span(tokens_)));
  out.write(std::as_bytes(std::span(logits_)));
  each_run(cache_, header, [&](const std::byte* memory, size_t bytes) { out.write({memory, bytes}); });
  const uint64_t hash = out.hash.value();
  out.file.write(&hash, sizeof hash);
  out.file.commit();
}

void Session::load(const std::filesystem::path& path) {
  const MappedFile file(path);
  const std::string name = printable(file.name());
  const Header header = checked_header(file.bytes(), name, model_, capacity());
  std::span<const std::byte> rest = file.bytes().subspan(sizeof(Header));
  Hash hash;
  const auto add = [&](size_t bytes) { hash.add(rest.first(bytes)), rest = rest.subspan(bytes); };
  hash.add(file.bytes().first(sizeof(Header)));
  add(header.tokens * sizeof(int32_t)), add(header.logits * sizeof(float));
  each_run(cache_, header, [&](const std::byte*, size_t bytes) { add(bytes); });
  uint64_t stated;
  std::memcpy(&stated, rest.data(), sizeof stated);
  if (stated != hash.value()) {
    fail(Status::kFormat, "{} @{:#x}: the hash of the contents is not {:016x}: the file is damaged", name,
         file.size() - sizeof stated, stated);
  }

  rest = file.bytes().subspan(sizeof(Header));
  std::vector<int32_t> tokens = take<int32_t>(rest, header.tokens);
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= model_.config().vocab) {
      fail(Status::kFormat, "{} @{:#x}: token {} is {}, expected 0 to {}", name, sizeof(Header) + i * sizeof(int32_t),
           i, tokens[i], model_.config().vocab - 1);
    }
  }
  logits_ = take<float>(rest, header.logits);
  tokens_ = std::move(tokens);
  each_run(cache_, header, [&](std::byte* memory, size_t bytes) {
    std::memcpy(memory, rest.data(), bytes);
    rest = rest.subspan(bytes);
  });
  status_ = Status::kOk;
  message_.clear();
}

}  // namespace moiety
