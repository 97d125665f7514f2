// Whole models over backends with memories of their own: every value lies where it is read, nobody else touches it.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/reference/reference.h"
#include "tests/models/random_model.h"
#include "tests/support/sealed_backend.h"

using namespace moiety;
using namespace moiety::test;

namespace {

using Sealed = std::unique_ptr<SealedBackend>;

Sealed sealed(SealedBackend::Takes takes) {
  return std::make_unique<SealedBackend>(std::make_unique<ReferenceBackend>(), std::move(takes));
}

// Takes a share of the nodes, scattered over the graph.
SealedBackend::Takes every(int of, int rest) {
  return [of, rest](const Node& node) {
    return static_cast<int>(std::hash<std::string>{}(node.name) % static_cast<size_t>(of)) == rest;
  };
}

std::unique_ptr<Model> model_over(const Config& config, std::vector<Sealed> first) {
  std::vector<std::unique_ptr<Backend>> backends;
  for (Sealed& backend : first) backends.push_back(std::move(backend));
  backends.push_back(std::make_unique<ReferenceBackend>());
  ModelOptions options;
  options.activations = ActivationPrecision::kF32;
  return std::make_unique<Model>(random_source(config), std::move(backends), options);
}

std::vector<Sealed> list(Sealed a, Sealed b = nullptr) {
  std::vector<Sealed> backends;
  backends.push_back(std::move(a));
  if (b) backends.push_back(std::move(b));
  return backends;
}

}  // namespace

TEST_CASE("values travel between memories: the same bits wherever a node runs") {
  for (const Architecture* architecture : architectures()) {
    const Config config = architecture->tiny().front();
    CAPTURE(std::string(architecture->name));
    const auto tokens = random_tokens(config.vocab, 13, 5);
    const auto expected = logits_of(*model_over(config, {}), tokens, 13);
    Sealed all = sealed([](const Node&) { return true; });
    SealedMemory& memory = all->sealed();
    const auto one = model_over(config, list(std::move(all)));
    CHECK(logits_of(*one, tokens, 13) == expected);
    CHECK(memory.uploads == 0);
    CHECK(memory.downloads == 1);  // the logits
    CHECK(memory.allocations() == 0);

    const auto half = model_over(config, list(sealed(every(2, 0))));
    CHECK(logits_of(*half, tokens, 13) == expected);
    CHECK(logits_of(*half, tokens, 4) == expected);

    const auto three = model_over(config, list(sealed(every(3, 0)), sealed(every(3, 1))));
    CHECK(logits_of(*three, tokens, 13) == expected);
    CHECK(logits_of(*three, tokens, 1) == expected);
  }
}

TEST_CASE("an observer sees and may change values that lie elsewhere") {
  const Config config = find_architecture("olmoe")->tiny().front();
  const auto tokens = random_tokens(config.vocab, 5, 5);
  const auto observed = [&](const Model& model, bool change) {
    Session session(model);
    Scheduler scheduler(model);
    double sum = 0;
    scheduler.set_observer([&](const Graph& graph, int32_t node, const Operand& output) {
      const Kind kind = graph.nodes()[static_cast<size_t>(node)].kind;
      if (kind == Kind::kRouting) sum += output.routing.count();
      if (kind != Kind::kRows) return;
      for (int64_t i = 0; i < output.tensor.elements(); ++i) sum += double(output.tensor.as<float>()[i]);
      if (change) output.tensor.as<float>()[0] += 1;
    });
    scheduler.submit(session, tokens);
    scheduler.run();
    return std::pair(sum, std::vector<float>(session.logits().begin(), session.logits().end()));
  };
  const auto plain = model_over(config, {});
  const auto elsewhere = model_over(config, list(sealed([](const Node&) { return true; })));
  CHECK(observed(*elsewhere, false) == observed(*plain, false));
  CHECK(observed(*elsewhere, true) == observed(*plain, true));
  CHECK(observed(*plain, true) != observed(*plain, false));
}

TEST_CASE("sealed memory is sealed: reading it from outside kills the process") {
  SealedMemory memory;
  std::byte* data = memory.allocate(4096);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::signal(SIGSEGV, SIG_DFL);  // doctest and sanitizers would report the crash that we want
    ::close(2);
    ::_exit(static_cast<int>(*static_cast<volatile std::byte*>(data)));
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK_FALSE((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  memory.release(data);
}
