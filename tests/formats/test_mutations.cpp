// Small good files, broken in every place: cut at every byte, every bit of the header flipped, and at every byte of the
// header the numbers that lengths are attacked with. Each must open or fail with an Error, fast and in little memory.
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

#include "formats/gguf_writer.h"
#include "formats/safetensors_writer.h"
#include "tests/formats/gguf_bytes.h"
#include "tests/formats/safetensors_bytes.h"
#include "tests/fuzz/read_formats.h"

namespace {

// Bytes that operator new has handed out and not got back, and the most there ever were.
std::atomic<size_t> live{0}, peak{0};

void* counted(size_t size) {
  void* memory = std::malloc(size);
  if (!memory) return nullptr;
  const size_t now = live += malloc_usable_size(memory);
  if (now > peak) peak = now;
  return memory;
}

}  // namespace

void* operator new(size_t size) {
  void* memory = counted(size);
  if (!memory) throw std::bad_alloc();
  return memory;
}
void* operator new[](size_t size) { return operator new(size); }
void* operator new(size_t size, const std::nothrow_t&) noexcept { return counted(size); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return counted(size); }
void operator delete(void* memory) noexcept {
  if (memory) live -= malloc_usable_size(memory);
  std::free(memory);
}
void operator delete[](void* memory) noexcept { operator delete(memory); }
void operator delete(void* memory, size_t) noexcept { operator delete(memory); }
void operator delete[](void* memory, size_t) noexcept { operator delete(memory); }

using namespace moiety;
using namespace moiety::test;

namespace {

constexpr uint64_t kAttacks[] = {0, 1, UINT64_MAX, UINT64_MAX - 1, uint64_t{1} << 31, uint64_t{1} << 63};
constexpr uint32_t kAttacks32[] = {UINT32_MAX, UINT32_MAX - 1, 1u << 31};

struct Outcome {
  int opened = 0, refused = 0, wrong = 0, slow = 0, large = 0;
};

template <class Open>
void try_one(const TempFolder& folder, const std::string& name, const std::string& bytes, const Open& open,
             Outcome& outcome) {
  folder.put(name, bytes);
  const size_t before = live;
  peak = before;
  const double seconds = cpu_seconds([&] {
    try {
      open();
      ++outcome.opened;
    } catch (const Error& error) {
      ++outcome.refused;
      outcome.wrong += error.status() != Status::kFormat && error.status() != Status::kIo;
    }
  });
  outcome.slow += seconds >= 1;
  outcome.large += peak - before > 4 * bytes.size() + (64u << 20);
}

// Breaks `name` in every way and opens the model with `open` each time; `header`: the bytes to break.
template <class Open>
Outcome break_file(const TempFolder& folder, const std::string& name, size_t header, const Open& open) {
  const std::string good = slurp(folder.path / name);
  Outcome outcome;
  REQUIRE(header <= good.size());
  for (size_t n = 0; n < good.size(); ++n) try_one(folder, name, good.substr(0, n), open, outcome);
  CHECK(outcome.opened == 0);  // none of the fixtures has bytes to spare
  for (size_t bit = 0; bit < header * 8; ++bit) {
    std::string bytes = good;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    try_one(folder, name, bytes, open, outcome);
  }
  for (size_t at = 0; at < header; ++at) {
    std::string bytes = good;
    for (uint64_t value : kAttacks) {
      if (at + 8 > header) break;
      std::memcpy(bytes.data() + at, &value, 8);
      try_one(folder, name, bytes, open, outcome);
    }
    bytes = good;
    for (uint32_t value : kAttacks32) {
      if (at + 4 > header) break;
      std::memcpy(bytes.data() + at, &value, 4);
      try_one(folder, name, bytes, open, outcome);
    }
  }
  folder.put(name, good);
  open();
  CHECK(outcome.refused > 0);
  CHECK(outcome.wrong == 0);
  CHECK(outcome.slow == 0);
  CHECK(outcome.large == 0);
  return outcome;
}

constexpr int64_t kRow[] = {32}, kMatrix[] = {2, 32};

// A small model; ends with its last tensor's last byte.
void write_small_gguf(const std::filesystem::path& path, int shard) {
  GgufWriter writer(path);
  writer.set_string("general.architecture", "olmoe");
  writer.set_u32("olmoe.block_count", 2);
  if (shard >= 0) writer.set_split(static_cast<uint16_t>(shard), 2, 4);
  writer.set_string("tokenizer.ggml.model", "gpt2");
  writer.set_strings("tokenizer.ggml.tokens", std::array<std::string_view, 2>{"a", "bc"});
  writer.set_floats("tokenizer.ggml.scores", std::array{0.0f, -1.0f});
  const std::string number = std::to_string(shard);
  writer.add_tensor("q" + number, DType::kQ8_0, kMatrix);
  writer.add_tensor("x" + number, DType::kF32, kRow);
  writer.write(std::vector<std::byte>(68 + 128, std::byte{1}));
  writer.commit();
}

size_t gguf_header(const std::filesystem::path& path) { return open_gguf(path).tensors[0].offset; }

void write_small_safetensors(const std::filesystem::path& path, const std::string& name) {
  SafetensorsWriter writer(path);
  writer.set_metadata("format", "pt");
  writer.add_tensor(name, DType::kF32, kRow);
  writer.add_tensor(name + "2", DType::kBF16, kMatrix);
  writer.write(std::vector<std::byte>(256, std::byte{1}));
  writer.commit();
}

size_t safetensors_header(const std::filesystem::path& path) { return open_safetensors(path).entries[0].offset; }

}  // namespace

TEST_CASE("a GGUF file broken anywhere opens or fails cleanly") {
  const TempFolder folder;
  const auto path = folder.path / "m.gguf";
  write_small_gguf(path, -1);
  // A split count of the only file may not be read; the tensor count is right there.
  break_file(folder, "m.gguf", gguf_header(path), [&] { read_gguf(path); });
}

TEST_CASE("a GGUF file with panels broken anywhere opens or fails cleanly") {
  const TempFolder folder;
  const auto path = folder.path / "m.gguf";
  {
    GgufWriter writer(path);
    writer.set_alignment(64);
    writer.add_tensor("p", DType::kQ8_0, kMatrix, Layout::kPanels);
    writer.write(std::vector<std::byte>(576, std::byte{1}));
    writer.commit();
  }
  break_file(folder, "m.gguf", gguf_header(path), [&] { read_gguf(path); });
}

TEST_CASE("a split GGUF model with either file broken anywhere opens or fails cleanly") {
  const TempFolder folder;
  for (int i = 0; i < 2; ++i) write_small_gguf(folder.path / gguf_shard_name("m", static_cast<uint32_t>(i), 2), i);
  const size_t header = open_gguf(folder.path / gguf_shard_name("m", 0, 2)).tensors[0].offset;
  for (uint32_t broken : {0u, 1u}) {
    const auto path = folder.path / gguf_shard_name("m", 1, 2);
    break_file(folder, gguf_shard_name("m", broken, 2), header, [&] { read_gguf(path); });
  }
}

TEST_CASE("a safetensors file broken anywhere opens or fails cleanly") {
  const TempFolder folder;
  const auto path = folder.path / "m.safetensors";
  write_small_safetensors(path, "t");
  break_file(folder, "m.safetensors", safetensors_header(path), [&] { read_safetensors(path); });
}

TEST_CASE("a sharded safetensors folder with any of its files broken anywhere opens or fails cleanly") {
  const TempFolder folder;
  std::vector<std::pair<std::string, std::string>> map;
  for (const std::string name : {"a", "b"}) {
    write_small_safetensors(folder.path / (name + ".safetensors"), name);
    map.emplace_back(name, name + ".safetensors");
    map.emplace_back(name + "2", name + ".safetensors");
  }
  write_safetensors_index(folder.path / "model.safetensors.index.json", map, 512);
  const auto open = [&] { read_safetensors(folder.path); };
  break_file(folder, "a.safetensors", safetensors_header(folder.path / "a.safetensors"), open);
  break_file(folder, "b.safetensors", safetensors_header(folder.path / "b.safetensors"), open);
  const std::string index = slurp(folder.path / "model.safetensors.index.json");
  folder.put("model.safetensors.index.json", index.substr(0, index.size() - 1));  // no blank behind the end
  break_file(folder, "model.safetensors.index.json", index.size() - 1, open);
}

TEST_CASE("a PyTorch file broken anywhere opens or fails cleanly") {
  const TempFolder folder;
  const std::filesystem::path source = std::filesystem::path(MOIETY_SOURCE_DIR) / "tests" / "corpus" / "torch";
  for (const std::string name : {"tiny.pt", "tiny-legacy.pt", "tiny-deflated.pt"}) {
    CAPTURE(name);
    const std::string good = slurp(source / name);
    folder.put(name, good);
    break_file(folder, name, good.size(), [&] { read_torch(folder.path / name); });  // its headers stand everywhere
  }
}

TEST_CASE("the memory counter counts") {
  const size_t before = live;
  peak = before;
  { std::vector<std::byte> block(10 << 20); }
  CHECK(peak - before >= 10u << 20);
  CHECK(live - before < 1 << 20);
}
