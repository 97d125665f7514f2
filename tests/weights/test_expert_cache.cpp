#include "weights/expert_cache.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "core/error.h"

using namespace moiety;

namespace {

constexpr int kExperts = 6, kRows = 3, kCols = 20;  // an expert: three matrices of 240 bytes, a bias of 12

// Two banks of experts in one file, each value a number of its own.
struct Fixture {
  Fixture() {
    char pattern[] = "/tmp/moiety-cache-XXXXXX";
    const int fd = mkstemp(pattern);
    close(fd);
    path = pattern;
    std::vector<float> values(2 * kExperts * (3 * kRows * kCols + kRows));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
    std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * 4));
    const auto file = std::make_shared<MappedFile>(path);
    store.own(file);
    std::byte* at = const_cast<std::byte*>(file->bytes().data());
    const auto take = [&](std::initializer_list<int64_t> shape) {
      const Tensor t = make_tensor(at, DType::kF32, shape);
      at += t.bytes();
      return t;
    };
    for (ExpertBank* bank : {&first, &second}) {
      std::vector<Expert> experts(kExperts);
      for (Expert& e : experts) e.gate = take({kRows, kCols}), e.up = take({kRows, kCols}), e.down = take({kRows, kCols}), e.up_bias = take({kRows});
      *bank = ExpertBank("bank", std::move(experts));
    }
  }
  ~Fixture() { std::filesystem::remove(path); }

  ExpertCache cache(size_t slots) {
    return ExpertCache({&first, &second}, store, slots * ExpertCache::slot_bytes(std::vector{&first, &second}));
  }
  bool in_file(const ExpertBank& bank, int id) const { return store.is_mapped(bank.expert(id).up.data); }
  static bool same(const Expert& a, const Expert& b) {
    bool equal = true;
    for (size_t i = 0; i < a.tensors().size(); ++i) {
      const Tensor &x = *a.tensors()[i], &y = *b.tensors()[i];
      equal = equal && !x == !y && (!x || (x.bytes() == y.bytes() && std::memcmp(x.data, y.data, x.bytes()) == 0));
    }
    return equal;
  }

  std::filesystem::path path;
  WeightStore store;
  ExpertBank first{"", {}}, second{"", {}};
  std::unique_ptr<Threads> threads = make_threads("tbb", 2);
};

void acquire(ExpertCache& cache, const ExpertBank& bank, std::vector<int32_t> ids, Threads& threads) { cache.acquire(bank, ids, threads); }

}  // namespace

TEST_CASE("experts come into memory and go back to their file") {
  Fixture f;
  const Expert stored = f.second.expert(4);
  {
    ExpertCache cache = f.cache(2);
    REQUIRE(cache.slots() == 2);
    CHECK(cache.experts() == 2 * kExperts);
    CHECK(f.first.cache() == &cache);
    acquire(cache, f.second, {1, 4}, *f.threads);
    CHECK_FALSE(f.in_file(f.second, 1));
    CHECK_FALSE(f.in_file(f.second, 4));
    CHECK(f.in_file(f.second, 0));
    CHECK(Fixture::same(f.second.expert(4), stored));
    CHECK(Fixture::same(cache.stored(f.second, 4), stored));
    CHECK(reinterpret_cast<uintptr_t>(f.second.expert(4).down.data) % kAlignment == 0);

    acquire(cache, f.second, {4, 5}, *f.threads);  // 4 is there
    CHECK(f.in_file(f.second, 1));
    CHECK(cache.counts().uses == 4);
    CHECK(cache.counts().reads == 3);
    acquire(cache, f.first, {0, 3}, *f.threads);
    CHECK(f.in_file(f.second, 4));
    CHECK(Fixture::same(f.first.expert(3), cache.stored(f.first, 3)));
    CHECK(cache.counts().read_bytes == 5 * (3 * 256 + 64));
    CHECK_THROWS_AS(acquire(cache, f.first, {0, 1, 2}, *f.threads), Error);  // more than there are slots
  }
  CHECK(f.in_file(f.first, 3));
  CHECK(f.first.cache() == nullptr);
}

TEST_CASE("room for all: nothing is read twice") {
  Fixture f;
  ExpertCache cache = f.cache(100);
  CHECK(cache.slots() == 2 * kExperts);
  for (int round = 0; round < 3; ++round) {
    for (int32_t e = 0; e < kExperts; ++e) acquire(cache, f.first, {e}, *f.threads), acquire(cache, f.second, {e}, *f.threads);
  }
  CHECK(cache.counts().reads == 2 * kExperts);
  CHECK(cache.counts().uses == 3 * 2 * kExperts);
}

TEST_CASE("what is used often stays, though its bank comes last") {
  Fixture f;
  ExpertCache cache = f.cache(3);
  for (int step = 0; step < 40; ++step) {  // expert 2 always, one of the others in turn: three slots, four experts a round
    acquire(cache, f.first, {2, step % 2 ? 0 : 5}, *f.threads);
    acquire(cache, f.second, {2, step % 2 ? 1 : 3}, *f.threads);
  }
  const uint64_t before = cache.counts().reads;
  for (int step = 0; step < 10; ++step) {
    acquire(cache, f.first, {2, step % 2 ? 0 : 5}, *f.threads);
    CHECK_FALSE(f.in_file(f.second, 2));
    acquire(cache, f.second, {2, step % 2 ? 1 : 3}, *f.threads);
    CHECK_FALSE(f.in_file(f.first, 2));
  }
  CHECK(cache.counts().reads == before + 20);
}

TEST_CASE("a file that is cut or replaced is an error, what was read before stays usable") {
  Fixture f;
  ExpertCache cache = f.cache(3);
  acquire(cache, f.first, {0}, *f.threads);
  std::filesystem::resize_file(f.path, 4 * 3 * kRows * kCols + 100);
  CHECK_THROWS_WITH_AS(acquire(cache, f.second, {3, 4}, *f.threads), doctest::Contains("is shorter than when it was opened"), Error);
  CHECK(f.in_file(f.second, 3));
  acquire(cache, f.first, {0}, *f.threads);
  CHECK(f.first.expert(0).up.as<float>()[1] == kRows * kCols + 1);
  CHECK(cache.counts().reads == 1);

  std::filesystem::remove(f.path);
  CHECK_THROWS_AS(acquire(cache, f.first, {1}, *f.threads), Error);
  std::ofstream(f.path) << std::string(1 << 16, 'x');
  CHECK_THROWS_WITH_AS(acquire(cache, f.first, {1}, *f.threads), doctest::Contains("another file"), Error);
}
