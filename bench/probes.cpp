#include "bench/probes.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "core/mapped_file.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace moiety::bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Runs `rounds` rounds of a loop; returns the operations done. The result goes to `sink`, so that the loop stays.
using Loop = double (*)(int64_t rounds, float* sink);

#if defined(__x86_64__)

// 12 independent sums hide the latency of the multiply-adds and fit the registers; an operand changes with the round,
// so that nothing is hoisted, and the sums begin different, as g++ computes equal ones once.
constexpr int kSums = 12;

__attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni"))) double int8_vnni512(int64_t rounds, float* sink) {
  __m512i sum[kSums], b = _mm512_set1_epi8(3);
  for (int s = 0; s < kSums; ++s) sum[s] = _mm512_set1_epi32(s);
  for (int64_t i = 0; i < rounds; ++i) {
    const __m512i a = _mm512_set1_epi32(static_cast<int>(i));
#pragma GCC unroll 12
    for (int s = 0; s < kSums; ++s) sum[s] = _mm512_dpbusd_epi32(sum[s], a, b);
  }
  for (int s = 1; s < kSums; ++s) sum[0] = _mm512_xor_si512(sum[0], sum[s]);
  alignas(64) int32_t lanes[16];
  _mm512_store_si512(lanes, sum[0]);
  *sink = static_cast<float>(lanes[0]);
  return static_cast<double>(rounds) * kSums * 128;
}

// Tiles of 16 x 64 codes; the state is given back, as it slows a change of threads.
__attribute__((target("amx-tile,amx-int8"))) double int8_amx(int64_t rounds, float* sink) {
  struct alignas(64) {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } config;
  _tile_loadconfig(&config);
  for (int64_t i = 0; i < rounds; ++i) {
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  _tile_release();
  *sink += static_cast<float>(rounds);
  return static_cast<double>(rounds) * 4 * 16 * 16 * 64 * 2;
}

__attribute__((target("avx2,avxvnni"))) double int8_vnni256(int64_t rounds, float* sink) {
  __m256i sum[12], b = _mm256_set1_epi8(3);
  for (int s = 0; s < 12; ++s) sum[s] = _mm256_set1_epi32(s);
  for (int64_t i = 0; i < rounds; ++i) {
    const __m256i a = _mm256_set1_epi32(static_cast<int>(i));
#pragma GCC unroll 12
    for (auto& s : sum) s = _mm256_dpbusd_avx_epi32(s, a, b);
  }
  for (const auto& s : sum) *sink += static_cast<float>(_mm256_extract_epi32(s, 0));
  return static_cast<double>(rounds) * 12 * 64;
}

__attribute__((target("avx2"))) double int8_avx2(int64_t rounds, float* sink) {
  __m256i sum[8];
  for (int s = 0; s < 8; ++s) sum[s] = _mm256_set1_epi32(s);
  const __m256i b = _mm256_set1_epi8(3), ones = _mm256_set1_epi16(1);
  for (int64_t i = 0; i < rounds; ++i) {
    const __m256i a = _mm256_set1_epi32(static_cast<int>(i));
#pragma GCC unroll 8
    for (int s = 0; s < 8; ++s) {
      const __m256i pairs = _mm256_maddubs_epi16(_mm256_add_epi8(a, sum[s]), b);
      sum[s] = _mm256_add_epi32(sum[s], _mm256_madd_epi16(pairs, ones));
    }
  }
  for (const auto& s : sum) *sink += static_cast<float>(_mm256_extract_epi32(s, 0));
  return static_cast<double>(rounds) * 8 * 64;
}

__attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16"))) double bf16_dot512(int64_t rounds, float* sink) {
  __m512 sum[kSums];
  for (int s = 0; s < kSums; ++s) sum[s] = _mm512_set1_ps(static_cast<float>(s));
  const auto b = reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x3c003c00));
  for (int64_t i = 0; i < rounds; ++i) {
    const auto a = reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(0x3f803f80 + (i & 15))));
#pragma GCC unroll 12
    for (int s = 0; s < kSums; ++s) sum[s] = _mm512_dpbf16_ps(sum[s], a, b);
  }
  for (const auto& s : sum) *sink += _mm512_cvtss_f32(s);
  return static_cast<double>(rounds) * kSums * 64;
}

__attribute__((target("avx512f"))) double f32_fma512(int64_t rounds, float* sink) {
  __m512 sum[kSums];
  for (int s = 0; s < kSums; ++s) sum[s] = _mm512_set1_ps(static_cast<float>(s));
  const __m512 b = _mm512_set1_ps(0.5f);
  for (int64_t i = 0; i < rounds; ++i) {
    const __m512 a = _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(0x3f800000 + (i & 15))));
#pragma GCC unroll 12
    for (int s = 0; s < kSums; ++s) sum[s] = _mm512_fmadd_ps(sum[s], b, a);
  }
  for (const auto& s : sum) *sink += _mm512_cvtss_f32(s);
  return static_cast<double>(rounds) * kSums * 32;
}

__attribute__((target("avx2,fma"))) double f32_fma256(int64_t rounds, float* sink) {
  __m256 sum[12];
  for (int s = 0; s < 12; ++s) sum[s] = _mm256_set1_ps(static_cast<float>(s));
  const __m256 b = _mm256_set1_ps(0.5f);
  for (int64_t i = 0; i < rounds; ++i) {
    const __m256 a = _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(0x3f800000 + (i & 15))));
#pragma GCC unroll 12
    for (auto& s : sum) s = _mm256_fmadd_ps(s, b, a);
  }
  for (const auto& s : sum) *sink += _mm256_cvtss_f32(s);
  return static_cast<double>(rounds) * 12 * 16;
}

#endif

// What the compiler makes of plain code for the baseline CPU.
double int8_plain(int64_t rounds, float* sink) {
  int32_t sum[64] = {};
  for (int64_t i = 0; i < rounds; ++i) {
    for (int32_t s = 0; s < 64; ++s) sum[s] += static_cast<int8_t>(i + s) * static_cast<int8_t>(i ^ s);
  }
  for (const int32_t s : sum) *sink += static_cast<float>(s);
  return static_cast<double>(rounds) * 128;
}

double f32_plain(int64_t rounds, float* sink) {
  float sum[32];
  for (int s = 0; s < 32; ++s) sum[s] = static_cast<float>(s);
  for (int64_t i = 0; i < rounds; ++i) {
    const float a = static_cast<float>(i & 15);
    for (float& s : sum) s = s * 0.5f + a;
  }
  for (const float s : sum) *sink += s;
  return static_cast<double>(rounds) * 64;
}

// Operations/s of the loop on every worker at once: the best of many rounds of a millisecond, so that a busy machine
// does not cut each of them.
double probe_loop(Threads& threads, Loop loop) {
  const int64_t workers = threads.size();
  std::vector<float> sinks(static_cast<size_t>(workers) * 16);
  int64_t rounds = 1000;
  for (float sink = 0; rounds < int64_t{1} << 32; rounds *= 2) {
    const auto start = Clock::now();
    loop(rounds, &sink);
    if (seconds_since(start) > 0.001) break;
  }
  std::vector<double> done(static_cast<size_t>(workers));
  double best = 0;
  for (int repeat = 0; repeat < 80; ++repeat) {
    const auto begin = Clock::now();
    threads.run(workers, [&](int64_t task, int) {
      done[static_cast<size_t>(task)] = loop(rounds, &sinks[static_cast<size_t>(task) * 16]);
    });
    const double seconds = seconds_since(begin);
    double total = 0;
    for (const double d : done) total += d;
    best = std::max(best, total / seconds);
  }
  return best;
}

uint64_t read_plain(const uint64_t* data, size_t words) {
  uint64_t sum[8] = {};
  for (size_t i = 0; i + 8 <= words; i += 8) {
    for (size_t j = 0; j < 8; ++j) sum[j] ^= data[i + j];
  }
  return sum[0] ^ sum[1] ^ sum[2] ^ sum[3] ^ sum[4] ^ sum[5] ^ sum[6] ^ sum[7];
}

#if defined(__x86_64__)
// Four pages at a time, as the prefetchers of some CPUs follow one stream each.
__attribute__((target("avx2"))) uint64_t read_avx2(const uint64_t* data, size_t words) {
  constexpr size_t kStream = 512;  // words: a page
  __m256i sum[8] = {};
  size_t at = 0;
  for (; at + 4 * kStream <= words; at += 4 * kStream) {
    for (size_t i = 0; i < kStream; i += 8) {
      for (size_t s = 0; s < 4; ++s) {
        const auto* p = reinterpret_cast<const __m256i*>(data + at + s * kStream + i);
        _mm_prefetch(reinterpret_cast<const char*>(p) + 4 * 4096, _MM_HINT_T0);
        sum[2 * s] = _mm256_xor_si256(sum[2 * s], _mm256_loadu_si256(p));
        sum[2 * s + 1] = _mm256_xor_si256(sum[2 * s + 1], _mm256_loadu_si256(p + 1));
      }
    }
  }
  for (int s = 1; s < 8; ++s) sum[0] = _mm256_xor_si256(sum[0], sum[s]);
  return static_cast<uint64_t>(_mm256_extract_epi64(sum[0], 0)) ^ read_plain(data + at, words - at);
}

// In the order of addresses, fetched into L2 some pages ahead: the fastest on Zen 4.
__attribute__((target("avx2"))) uint64_t read_ahead(const uint64_t* data, size_t words) {
  __m256i sum[8] = {};
  const auto* p = reinterpret_cast<const __m256i*>(data);
  for (size_t at = 0; at + 32 <= words; at += 32, p += 8) {
    for (int line = 0; line < 4; ++line)
      _mm_prefetch(reinterpret_cast<const char*>(p + 2 * line) + (24 << 10), _MM_HINT_T1);
    for (int s = 0; s < 8; ++s) sum[s] = _mm256_xor_si256(sum[s], _mm256_loadu_si256(p + s));
  }
  for (int s = 1; s < 8; ++s) sum[0] = _mm256_xor_si256(sum[0], sum[s]);
  return static_cast<uint64_t>(_mm256_extract_epi64(sum[0], 0));
}
#endif

constexpr size_t kPiece = size_t{1} << 20;

// Seconds that `count` pieces from the first on take, which go around; way: a number, which of them reads.
double read_pieces(Threads& threads, size_t way, std::span<const std::byte> memory, int64_t first, int64_t count) {
  std::vector<uint64_t (*)(const uint64_t*, size_t)> ways = {&read_plain};
#if defined(__x86_64__)
  if (cpu_info().features.avx2) ways = {&read_plain, &read_avx2, &read_ahead};
#endif
  const auto read = ways[way % ways.size()];
  const auto pieces = static_cast<int64_t>(memory.size() / kPiece);
  std::atomic<uint64_t> sink{0};
  const auto start = Clock::now();
  threads.run(count, [&](int64_t index, int) {
    const std::byte* data = memory.data() + static_cast<size_t>((first + index) % pieces) * kPiece;
    sink.fetch_xor(read(reinterpret_cast<const uint64_t*>(data), kPiece / 8), std::memory_order_relaxed);
  });
  return seconds_since(start);
}

}  // namespace

Buffer huge_pages(size_t bytes) {
  Buffer buffer(bytes);
  constexpr size_t kPage = size_t{2} << 20;
  const auto begin = align_up(reinterpret_cast<uintptr_t>(buffer.data()), kPage);
  const auto end = reinterpret_cast<uintptr_t>(buffer.data()) + bytes;
  if (end > begin + kPage) madvise(reinterpret_cast<void*>(begin), (end - begin) / kPage * kPage, MADV_HUGEPAGE);
  return buffer;
}

double probe_read(Threads& threads, size_t bytes) {
  const Buffer buffer = huge_pages(bytes);
  std::memset(buffer.data(), 1, bytes);
  // Windows of 64 pieces walk through the buffer, so that each is cold again when its turn comes.
  const auto pieces = static_cast<int64_t>(bytes / kPiece), window = std::min<int64_t>(64, pieces);
  double best = 0;
  int64_t first = 0;
  for (size_t repeat = 0; repeat < 96; ++repeat, first = (first + window) % pieces) {
    const double seconds = read_pieces(threads, repeat, {buffer.data(), bytes}, first, window);
    best = std::max(best, static_cast<double>(window) * static_cast<double>(kPiece) / seconds);
  }
  return best;
}

double probe_file(Threads& threads, const std::filesystem::path& model) {
  std::filesystem::path largest = model;
  std::error_code error;
  if (std::filesystem::is_directory(model, error)) {
    uintmax_t size = 0;
    for (const auto& entry : std::filesystem::directory_iterator(model, error)) {
      if (!entry.is_regular_file(error) || entry.file_size(error) <= size) continue;
      size = entry.file_size(error), largest = entry.path();
    }
  }
  const MappedFile file(largest);
  // The longest part that is in memory: a limit of the disk is not asked for.
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), pages = (file.bytes().size() + page - 1) / page;
  std::vector<unsigned char> there(pages);
  auto* begin = const_cast<std::byte*>(file.bytes().data());
  if (mincore(begin, file.bytes().size(), there.data()) != 0) return 0;
  size_t from = 0, most = 0;
  for (size_t i = 0, start = 0; i <= pages; ++i) {
    if (i < pages && (there[i] & 1)) continue;
    if (i - start > most) from = start, most = i - start;
    start = i + 1;
  }
  const auto part = file.bytes().subspan(from * page, std::min(most * page, file.bytes().size() - from * page));
  const auto pieces = static_cast<int64_t>(std::min(part.size(), size_t{2} << 30) / kPiece);
  if (pieces < 64) return 0;
  double least = read_pieces(threads, 0, part, 0, pieces);
  for (size_t repeat = 1; repeat < 6; ++repeat) least = std::min(least, read_pieces(threads, repeat, part, 0, pieces));
  return static_cast<double>(pieces) * static_cast<double>(kPiece) / least;
}

Peaks probe_peaks(Threads& threads, const CpuFeatures& cpu, size_t bytes) {
  struct Choice {
    Loop loop;
    const char* name;
  };
  Choice int8{int8_plain, "plain int8"}, bf16{nullptr, "no bf16"}, f32{f32_plain, "plain f32"}, tiles{};
#if defined(__x86_64__)
  if (cpu.avx512_vnni)
    int8 = {int8_vnni512, "avx512_vnni"};
  else if (cpu.avx_vnni)
    int8 = {int8_vnni256, "avx_vnni"};
  else if (cpu.avx2)
    int8 = {int8_avx2, "avx2 maddubs"};
  if (cpu.amx) tiles = {int8_amx, "amx"};
  if (cpu.avx512_bf16) bf16 = {bf16_dot512, "avx512_bf16"};
  if (cpu.avx512)
    f32 = {f32_fma512, "avx512 fma"};
  else if (cpu.avx2)
    f32 = {f32_fma256, "avx2 fma"};
#else
  (void)cpu;
#endif
  Peaks peaks;
  peaks.int8 = probe_loop(threads, int8.loop);
  if (bf16.loop) peaks.bf16 = probe_loop(threads, bf16.loop);
  if (tiles.loop) peaks.int8_tiles = probe_loop(threads, tiles.loop);
  peaks.f32 = probe_loop(threads, f32.loop);
  peaks.read = probe_read(threads, bytes);
  peaks.instructions = std::string(int8.name) + ", " + bf16.name + ", " + f32.name;
  return peaks;
}

}  // namespace moiety::bench
