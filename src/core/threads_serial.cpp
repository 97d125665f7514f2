#include "core/threads_impl.h"

namespace moiety {
namespace {

class SerialThreads final : public Threads {
 public:
  SerialThreads() : Threads(1) {}
  const char* name() const override { return "serial"; }
  void run(int64_t count, int64_t /*grain*/, TaskRef task) override {
    for (int64_t i = 0; i < count; ++i) task(i, 0);
  }
};

}  // namespace

std::unique_ptr<Threads> make_serial_threads() { return std::make_unique<SerialThreads>(); }

}  // namespace moiety
