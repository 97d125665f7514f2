// Runs every writer against a folder whose disk has less room than they need: full_disk FOLDER. Each must fail with
// kIo, and the folder must hold afterwards what it held before.
#include <array>
#include <cstdio>
#include <functional>
#include <set>

#include "formats/gguf_writer.h"
#include "formats/npy.h"
#include "formats/output_file.h"
#include "formats/safetensors_writer.h"
#include "tests/support/status.h"

namespace {

namespace fs = std::filesystem;
using namespace moiety;

constexpr int64_t kValues = 3 << 20;  // 12 MiB of f32

std::set<std::string> files_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

template <class Writer>
void write_model(const fs::path& path) {
  const std::vector<float> row(static_cast<size_t>(kValues) / 64);
  Writer writer(path);
  writer.add_tensor("x", DType::kF32, std::array{kValues});
  for (int i = 0; i < 64; ++i) writer.write(std::as_bytes(std::span(row)));
  writer.commit();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const fs::path folder = argv[1], path = folder / "new";
  const std::array shape{kValues};
  const std::pair<const char*, std::function<void()>> writers[] = {
      {"GgufWriter", [&] { write_model<GgufWriter>(path); }},
      {"SafetensorsWriter", [&] { write_model<SafetensorsWriter>(path); }},
      {"write_safetensors_index",
       [&] {
         const std::vector<std::pair<std::string, std::string>> weights(200000, {std::string(60, 'w'), "shard"});
         write_safetensors_index(path, weights, 1);
       }},
      {"write_npy", [&] { write_npy(path, std::vector<float>(kValues), shape); }},
      {"NpyWriter",
       [&] {
         NpyWriter writer(path, shape);
         for (int64_t i = 0; i < 64; ++i) writer.write(std::vector<float>(kValues / 64));
         writer.commit();
       }},
      {"OutputFile", [&] {
         OutputFile file(path);
         file.write_zeros(uint64_t{kValues} * 4);
         file.commit();
       }}};
  int failures = 0;
  const std::set<std::string> before = files_in(folder);
  for (const auto& [name, write] : writers) {
    const Status status = test::status_of(write);
    if (status == Status::kIo && files_in(folder) == before) continue;
    std::printf("%s: %s, %zu files where %zu were\n", name, status_name(status), files_in(folder).size(),
                before.size());
    ++failures;
  }
  return failures > 0;
}
