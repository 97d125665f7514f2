// Attention and the KV cache: every SIMD level against the reference, and the same bits however a prompt is cut.
#include <doctest/doctest.h>

#include "backends/reference/reference.h"
#include "support/simd_backends.h"
#include "support/op_runner.h"

using namespace moiety;
using namespace moiety::test;

namespace {

struct Shape {
  int heads = 4, kv_heads = 2, head_dim = 64, window = 0;
  float softcap = 0;
  bool sinks = false;
  DType type = DType::kF32;
};

struct Session {
  Session(const Shape& s, int capacity) : cache(2, s.kv_heads, s.head_dim, capacity, s.type, s.type) {}
  KvCache cache;
};

// Stores keys and values, then attends; rows [first, first + count) of the inputs, at those positions.
class Attend {
 public:
  Attend(const Backend& backend, Threads& threads, const Shape& shape)
      : runner_(backend, threads), shape_(shape), sinks_(make_vector(shape.heads, 99)) {
    runner_.state = {2, shape.kv_heads, shape.head_dim};
  }

  Matrix operator()(Batch& batch, const Matrix& q, const Matrix& k, const Matrix& v) {
    runner_.keys_values({1}, k, v, batch);
    Attention op{1, shape_.heads, shape_.kv_heads, shape_.head_dim, 1 / std::sqrt(float(shape_.head_dim)), shape_.window,
                 shape_.softcap};
    if (shape_.sinks) op.sinks = sinks_.tensor;
    return runner_.rows(op, {q}, int64_t{shape_.heads} * shape_.head_dim, batch);
  }

 private:
  OpRunner runner_;
  Shape shape_;
  OwnedTensor sinks_;
};

Matrix rows_of(const Matrix& m, int64_t first, int64_t count) {
  const auto begin = m.values.begin() + first * m.cols;
  return {count, m.cols, std::vector<float>(begin, begin + count * m.cols)};
}

struct Prompt {
  Prompt(const Shape& s, int64_t rows, uint32_t seed)
      : q(random_matrix(rows, int64_t{s.heads} * s.head_dim, seed, 2)),
        k(random_matrix(rows, int64_t{s.kv_heads} * s.head_dim, seed + 1)),
        v(random_matrix(rows, int64_t{s.kv_heads} * s.head_dim, seed + 2)) {}
  Matrix q, k, v;
};

// The prompt in steps of the given sizes (the last repeats).
Matrix in_chunks(const Backend& backend, Threads& threads, const Shape& shape, const Prompt& prompt,
                 const std::vector<int64_t>& sizes) {
  Session session(shape, static_cast<int>(prompt.q.rows));
  Attend attend(backend, threads, shape);
  Matrix out{prompt.q.rows, prompt.q.cols, {}};
  size_t step = 0;
  for (int64_t at = 0; at < prompt.q.rows;) {
    const int64_t count = std::min(sizes[std::min(step++, sizes.size() - 1)], prompt.q.rows - at);
    Batch batch = plain_batch(count, static_cast<int32_t>(at));
    batch.spans[0].cache = &session.cache;
    const Matrix part = attend(batch, rows_of(prompt.q, at, count), rows_of(prompt.k, at, count), rows_of(prompt.v, at, count));
    out.values.insert(out.values.end(), part.values.begin(), part.values.end());
    at += count;
  }
  return out;
}

const std::vector<Shape> kShapes{
    {},
    {.heads = 3, .kv_heads = 3, .head_dim = 128},
    {.heads = 8, .kv_heads = 1, .head_dim = 40},
    {.heads = 2, .kv_heads = 1, .head_dim = 7},
    {.heads = 130, .kv_heads = 2, .head_dim = 16},
    {.window = 1},
    {.window = 33, .sinks = true},
    {.heads = 1, .kv_heads = 1, .window = 50},
    {.softcap = 5},
    {.heads = 6, .kv_heads = 2, .head_dim = 96, .softcap = 30, .sinks = true},
};

}  // namespace

TEST_CASE("attention against the reference") {
  const auto serial = make_threads("serial", 1);
  const ReferenceBackend reference;
  for (Shape shape : kShapes)
    for (const DType type : {DType::kF32, DType::kF16}) {
      shape.type = type;
      const Prompt prompt(shape, 141, 21);
      const Matrix want = in_chunks(reference, *serial, shape, prompt, {141});
      for (const auto& level : simd_backends()) {
        CAPTURE(level->target()); CAPTURE(shape.heads); CAPTURE(shape.head_dim); CAPTURE(shape.window);
        const Matrix got = in_chunks(*level, *serial, shape, prompt, {141});
        const bool tiles = level->target() == "avx512_amx" && type == DType::kF16;  // see test_attention_block.cpp
        CHECK(compare(got.values, want.values, tiles ? Gate{1e-4, 5e-5, 1e-9} : Gate{1e-5, 5e-6, 1e-11}) == "");
      }
    }
}

TEST_CASE("attention gives the same bits for any chunks and threads") {
  const auto serial = make_threads("serial", 1), pool = make_threads("tbb", 2);
  for (Shape shape : kShapes)
    for (const DType type : {DType::kF32, DType::kF16}) {
      shape.type = type;
      const Prompt prompt(shape, 141, 31);
      for (const auto& level : simd_backends()) {
        CAPTURE(level->target()); CAPTURE(shape.heads); CAPTURE(shape.head_dim); CAPTURE(shape.window);
        const Matrix whole = in_chunks(*level, *serial, shape, prompt, {141});
        CHECK(same_bits(in_chunks(*level, *serial, shape, prompt, {1}).values, whole.values) == "");
        CHECK(same_bits(in_chunks(*level, *pool, shape, prompt, {3, 29, 64, 2, 5}).values, whole.values) == "");
      }
    }
}

TEST_CASE("sessions in one batch do not see each other") {
  const auto pool = make_threads("tbb", 2);
  const Shape shape;
  const Prompt a(shape, 50, 41), b(shape, 9, 51);
  for (const auto& level : simd_backends()) {
    CAPTURE(level->target());
    Session first(shape, 64), second(shape, 64);
    Batch batch = plain_batch(59);
    batch.spans = {{&first.cache, 0, 50, 0}, {&second.cache, 50, 9, 0}};
    const auto joined = [](Matrix x, const Matrix& y) {
      x.values.insert(x.values.end(), y.values.begin(), y.values.end());
      x.rows += y.rows;
      return x;
    };
    Attend attend(*level, *pool, shape);
    const Matrix both = attend(batch, joined(a.q, b.q), joined(a.k, b.k), joined(a.v, b.v));
    CHECK(same_bits(rows_of(both, 0, 50).values, in_chunks(*level, *pool, shape, a, {50}).values) == "");
    CHECK(same_bits(rows_of(both, 50, 9).values, in_chunks(*level, *pool, shape, b, {9}).values) == "");
  }
}

TEST_CASE("a row that is not finite fails itself and later positions, never an earlier one") {
  const auto serial = make_threads("serial", 1);
  for (const int kv_heads : {1, 4})
    for (const DType type : {DType::kF32, DType::kF16})
      for (const float bad : {NAN, INFINITY}) {
        const Shape shape{.heads = 4, .kv_heads = kv_heads, .head_dim = 40, .type = type};
        Prompt prompt(shape, 60, 61);
        std::vector<std::vector<float>> clean;
        for (const auto& level : simd_backends())
          clean.push_back(in_chunks(*level, *serial, shape, prompt, {60}).values);
        for (int64_t c = 0; c < prompt.v.cols; ++c) prompt.v.row(40)[c] = prompt.k.row(40)[c] = bad;
        size_t at = 0;
        for (const auto& level : simd_backends()) {
          CAPTURE(level->target()); CAPTURE(kv_heads); CAPTURE(bad);
          const Matrix got = in_chunks(*level, *serial, shape, prompt, {60});
          const auto cut = static_cast<size_t>(40 * got.cols);
          const std::vector<float> head(got.values.begin(), got.values.begin() + static_cast<long>(cut));
          const std::vector<float>& full = clean[at++];
          CHECK(same_bits(head, {full.begin(), full.begin() + static_cast<long>(cut)}) == "");
          const auto lost = [](float v) { return std::isnan(v); };
          CHECK(std::all_of(got.values.begin() + static_cast<long>(cut), got.values.end(), lost));
        }
      }
}

TEST_CASE("attention of wanted rows is that of all rows, selected") {
  const auto serial = make_threads("serial", 1);
  const Shape shape;
  const Prompt prompt(shape, 40, 71);
  const ReferenceBackend reference;
  const auto levels = simd_backends();
  std::vector<const Backend*> all{&reference};
  for (const auto& level : levels) all.push_back(level.get());
  for (const Backend* backend : all) {
    CAPTURE(backend->target());
    Session session(shape, 40);
    OpRunner runner(*backend, *serial);
    runner.state = {2, shape.kv_heads, shape.head_dim};
    Batch batch = plain_batch(40);
    batch.spans[0].cache = &session.cache;
    batch.wanted = {3, 4, 5, 39};
    runner.keys_values({0}, prompt.k, prompt.v, batch);
    const Attention op{0, shape.heads, shape.kv_heads, shape.head_dim, 0.125f};
    const Matrix full = runner.rows(op, {prompt.q}, prompt.q.cols, batch);
    Matrix q{4, prompt.q.cols, {}}, want = q;
    for (const int32_t row : batch.wanted) {
      const Matrix part = rows_of(prompt.q, row, 1), out = rows_of(full, row, 1);
      q.values.insert(q.values.end(), part.values.begin(), part.values.end());
      want.values.insert(want.values.end(), out.values.begin(), out.values.end());
    }
    runner.extent = Extent::kWanted;
    CHECK(same_bits(runner.rows(op, {q}, q.cols, batch).values, want.values) == "");
  }
}

TEST_CASE("kv_store writes what the reference writes") {
  const auto serial = make_threads("serial", 1), pool = make_threads("tbb", 2);
  const ReferenceBackend reference;
  for (const DType type : {DType::kF32, DType::kF16}) {
    const Shape shape{.heads = 5, .kv_heads = 5, .head_dim = 27, .type = type};
    const Prompt prompt(shape, 300, 81);
    const auto stored = [&](const Backend& backend, Threads& threads) {
      Session session(shape, 310);
      OpRunner runner(backend, threads);
      runner.state = {2, 5, 27};
      Batch batch = plain_batch(300, 10);
      batch.spans[0].cache = &session.cache;
      runner.keys_values({1}, prompt.k, prompt.v, batch);
      const std::byte* begin = session.cache.keys(0, 0, 0);
      return std::vector<std::byte>(begin, begin + session.cache.bytes());
    };
    const auto want = stored(reference, *serial);
    for (const auto& level : simd_backends()) CHECK(stored(*level, *pool) == want);
  }
}
