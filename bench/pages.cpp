// bench_pages: what touching a mapped file's pages costs, again and again, with a pause between. A hypervisor may take
// pages from its guest that are not used for a while: the guest sees no fault, but a touch takes some 100 us then, and a
// step that walks through all weights pays for it. Compare with a file that is small, or without a pause.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <string>
#include <thread>

#include "core/error.h"
#include "core/mapped_file.h"

namespace {

using namespace moiety;
using Clock = std::chrono::steady_clock;

constexpr size_t kPage = 4096;

double milliseconds(Clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

void touch_all(const MappedFile& file, int round, double slow_from) {
  const auto start = Clock::now();
  Clock::duration slow{};
  int64_t count = 0, pages = 0;
  auto last = start;
  for (size_t at = 0; at < file.size(); at += kPage, ++pages) {
    *const_cast<const volatile std::byte*>(file.bytes().data() + at);
    const auto now = Clock::now();
    if (milliseconds(now - last) * 1e3 >= slow_from) slow += now - last, ++count;
    last = now;
  }
  fmt::print("| {} | {:.1f} | {} | {} | {:.1f} | {:.0f} |\n", round, milliseconds(last - start), pages, count,
             milliseconds(slow), count > 0 ? milliseconds(slow) * 1e3 / static_cast<double>(count) : 0.0);
}

}  // namespace

int main(int argc, char** argv) {
  std::string path;
  int rounds = 6;
  double pause = 1, slow_from = 25;
  CLI::App app("What touching a mapped file's pages costs");
  app.add_option("-f,--file", path, "A file, such as a model's weights")->required();
  app.add_option("-r,--rounds", rounds, "Rounds; the first one may read from disk")->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_option("-p,--pause", pause, "Seconds between them")->check(CLI::Range(0.0, 3600.0))->capture_default_str();
  app.add_option("--slow", slow_from, "From so many microseconds on a touch is slow")->check(CLI::Range(1.0, 1e6))->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    const MappedFile file(path);
    fmt::print("| round | ms | pages | slow touches | ms in them | us each |\n| ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for (int round = 1; round <= rounds; ++round) {
      touch_all(file, round, slow_from);
      if (round < rounds) std::this_thread::sleep_for(std::chrono::duration<double>(pause));
    }
    return 0;
  } catch (const Error& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
}
