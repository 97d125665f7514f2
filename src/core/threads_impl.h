// The pools behind Threads, one file each; only threads.cpp includes this.
#pragma once

#include <memory>

#include "core/threads.h"

namespace moiety {

std::unique_ptr<Threads> make_tbb_threads(int size);
std::unique_ptr<Threads> make_serial_threads();
std::unique_ptr<Threads> make_openmp_threads(int size);  // defined only where MOIETY_OPENMP is

}  // namespace moiety
