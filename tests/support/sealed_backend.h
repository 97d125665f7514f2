// A backend whose memory the host can't read: what it allocates is PROT_NONE but while its own kernels or copies run.
// It computes as the backend that it wraps. Whoever else touches a value in it dies of SIGSEGV.
#pragma once

#include <sys/mman.h>

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "core/error.h"
#include "graph/backend.h"

namespace moiety::test {

class SealedMemory final : public Memory {
 public:
  ~SealedMemory() override {
    for (const auto& [data, bytes] : mapped_) ::munmap(data, bytes);
  }
  std::byte* allocate(size_t bytes) override {
    void* data = ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) fail(Status::kOutOfMemory, "cannot map {} bytes", bytes);
    mapped_[static_cast<std::byte*>(data)] = bytes;
    return static_cast<std::byte*>(data);
  }
  void release(std::byte* data) noexcept override {
    ::munmap(data, mapped_.at(data));
    mapped_.erase(data);
  }
  void upload(std::byte* device, const std::byte* host, size_t bytes) noexcept override {
    ++uploads;
    open([&] { std::memcpy(device, host, bytes); });
  }
  void download(std::byte* host, const std::byte* device, size_t bytes) noexcept override {
    ++downloads;
    open([&] { std::memcpy(host, device, bytes); });
  }
  template <class Body>
  void open(const Body& body) const {
    protect(PROT_READ | PROT_WRITE);
    body();
    protect(PROT_NONE);
  }
  size_t allocations() const { return mapped_.size(); }
  int uploads = 0, downloads = 0;

 private:
  void protect(int how) const {
    for (const auto& [data, bytes] : mapped_) ::mprotect(data, bytes, how);
  }
  std::map<std::byte*, size_t> mapped_;
};

class SealedBackend final : public Backend {
 public:
  using Takes = std::function<bool(const Node&)>;
  SealedBackend(std::unique_ptr<Backend> inner, Takes takes)
      : inner_(std::move(inner)), takes_(std::move(takes)), memory_(std::make_unique<SealedMemory>()) {}

  std::string name() const override { return "sealed"; }
  std::string target() const override { return inner_->target(); }
  Memory* memory() const override { return memory_.get(); }
  SealedMemory& sealed() const { return *memory_; }
  Offer prepare(const Graph& graph, const Node& node, const PlanOptions& options) const override {
    if (!takes_(node)) return refuse("not asked for");
    Offer offer = inner_->prepare(graph, node, options);
    if (!offer.kernel) return offer;
    return {std::make_unique<SealedKernel>(std::move(offer.kernel), *memory_), {}};
  }

 private:
  class SealedKernel final : public Kernel {
   public:
    SealedKernel(std::unique_ptr<Kernel> inner, const SealedMemory& memory)
        : inner_(std::move(inner)), memory_(memory) {}
    std::string name() const override { return inner_->name(); }
    size_t scratch_bytes(int64_t rows, int workers) const override { return inner_->scratch_bytes(rows, workers); }
    void run(const KernelCall& call) const noexcept override {
      memory_.open([&] { inner_->run(call); });
    }

   private:
    std::unique_ptr<Kernel> inner_;
    const SealedMemory& memory_;
  };

  std::unique_ptr<Backend> inner_;
  Takes takes_;
  std::unique_ptr<SealedMemory> memory_;
};

}  // namespace moiety::test
