#include "progress.h"

#include <algorithm>
#include <cstdio>

#include <unistd.h>

namespace cli {

void Progress::show(double done) {
  done = std::clamp(done, 0.0, 1.0);
  const bool terminal = isatty(STDERR_FILENO);
  const int step = static_cast<int>(done * (terminal ? 1000 : 10));
  if (step == shown_) return;
  shown_ = step;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  if (!terminal) {
    if (step > 0 && step < 10) std::fprintf(stderr, "%s: %d %%\n", label_.c_str(), step * 10);
    return;
  }
  std::fprintf(stderr, "\r\033[K%s [%-20.*s] %3.0f %%", label_.c_str(), static_cast<int>(done * 20), "####################", done * 100);
  if (done > 0.01 && seconds > 2) std::fprintf(stderr, ", %.0f s to go", seconds / done * (1 - done));
  bar_ = true;
  if (done >= 1) clear();
}

void Progress::clear() {
  if (bar_) std::fputs("\r\033[K", stderr);
  bar_ = false;
}

}  // namespace cli
