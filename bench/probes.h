// The machine's own limits, measured: what shares of a peak are counted against. Run them in the same minute as what
// they are compared with. Each is the best of several short rounds over all workers of `threads`.
#pragma once

#include <filesystem>
#include <string>

#include "core/buffer.h"
#include "core/cpu_info.h"
#include "core/threads.h"

namespace moiety::bench {

struct Peaks {
  double read = 0;           // bytes/s streamed from memory, all workers together
  double int8 = 0;           // operations/s (a multiply-add is two) of register-tiled loops: 8-bit dot products of vectors,
  double bf16 = 0;           // bf16 dot products (0 where the CPU has none),
  double f32 = 0;            // and f32 multiply-adds
  double int8_tiles = 0;     // of AMX; 0 where the CPU has none
  std::string instructions;  // "avx512_vnni, avx512_bf16, avx512 fma"
};

// Memory in huge pages where the system has them, as a file that is mapped whole: in small ones a thread reads a quarter
// slower.
Buffer huge_pages(size_t bytes);

// `bytes`: the buffer that is streamed; several times the last-level cache. The best window of 64 MiB counts.
double probe_read(Threads& threads, size_t bytes);
// Bytes/s of a whole pass through a model's file as it is mapped, of a folder its largest one, the best of six: what
// decoding can come to for long. Pages are small there and lie where the system put them. 0 where less than 64 MiB of
// it are in memory. Throws Error kIo.
double probe_file(Threads& threads, const std::filesystem::path& model);
Peaks probe_peaks(Threads& threads, const CpuFeatures& cpu, size_t bytes = size_t{512} << 20);

}  // namespace moiety::bench
