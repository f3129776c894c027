// Decisions 9: what a request answers does not depend on what else runs. Many generations at random moments, with
// cancels and pauses between them and different step sizes, against each one alone: tokens and per-step logit digests.
#include <catch2/catch.hpp>

#include <random>
#include <thread>

#include "tests/scheduler/engine_harness.h"
#include "tests/support/data.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

struct Answer {
  std::vector<TokenId> tokens;
  std::vector<uint64_t> digests;
};

Generate random_request(std::mt19937& random, const std::vector<std::string>& openings) {
  std::string prompt = openings[random() % openings.size()];
  for (size_t words = random() % 30; words > 0; --words) prompt += " " + openings[random() % openings.size()];
  Generate what = generate(prompt, 5 + static_cast<uint32_t>(random() % 60));
  what.digest_logits = true;
  what.ignore_eos = random() % 2 == 0;
  if (random() % 2 == 0) {
    what.sampling.temperature = 0.9F;
    what.sampling.repeat_penalty = 1.1F;
    what.sampling.seed = random();
  }
  return what;
}

using MakeEngine = std::function<std::unique_ptr<Engine>(const EngineLimits&)>;

std::vector<Answer> alone(const MakeEngine& make, const EngineKey& key, const std::vector<Generate>& requests) {
  EngineHarness engine(make({.max_sequences = 1}));
  engine.key = key;
  std::vector<Answer> out;
  for (Generate what : requests) {
    what.id = 0;
    const auto result = engine.ask<GenerateResult>(what);
    out.push_back({result.tokens, result.logit_digests});
    REQUIRE(result.logit_digests.size() == result.tokens.size());
  }
  return out;
}

void compare_with_alone(const MakeEngine& make, const EngineKey& key, uint32_t seed, uint32_t step_rows, size_t count,
                        const std::vector<std::string>& openings) {
  INFO("seed " << seed << " rows per step " << step_rows);
  std::mt19937 random(seed);
  std::vector<Generate> requests;
  for (size_t i = 0; i < count; ++i) requests.push_back(random_request(random, openings));
  const std::vector<Answer> expected = alone(make, key, requests);
  EngineHarness engine(make({.max_sequences = 12, .max_step_rows = step_rows}));
  engine.key = key;
  engine.ask<Ready>(Preload{});
  std::vector<GenerationId> ids;
  for (Generate what : requests) {
    ids.push_back(engine.send(what));
    while (random() % 3 != 0) {
      engine.next(std::chrono::milliseconds(1));
      const GenerationId some = ids[random() % ids.size()];
      switch (random() % 12) {
        case 0: engine.send(Cancel{some}); break;
        case 1: engine.send(Pause{some}); break;
        default: engine.send(Resume{some}); break;
      }
    }
  }
  for (const GenerationId id : ids) engine.send(Resume{id});
  size_t complete = 0;
  for (size_t i = 0; i < count; ++i) {
    const auto result = engine.wait_for<GenerateResult>(ids[i]);
    if (result.finish_reason != FinishReason::kCancelled) {
      ++complete;
      REQUIRE(result.tokens == expected[i].tokens);
      REQUIRE(result.logit_digests == expected[i].digests);
    } else {
      REQUIRE(result.tokens.size() <= expected[i].tokens.size());
      REQUIRE(std::equal(result.logit_digests.begin(), result.logit_digests.end(), expected[i].digests.begin()));
    }
  }
  CHECK(complete > count / 2);
  const EngineMetrics metrics = engine.engine().metrics();
  CHECK(metrics.sequences > metrics.steps);
  CHECK(metrics.kv_free_pages <= metrics.kv_total_pages);
}

}  // namespace

TEST_CASE("concurrent answers are the lone answers: fake model") {
  const std::vector<std::string> openings = {"the", "a long and common beginning that fills more than one page of the cache, ",
                                             "dog", "once"};
  for (const FakeModelOptions& options : {FakeModelOptions{}, FakeModelOptions{.windows = {0, 80}}}) {
    const MakeEngine make = [&](const EngineLimits& limits) {
      return make_engine_pool(std::make_unique<FakeEnvironment>(options), limits);
    };
    for (uint32_t seed = 1; seed <= 3; ++seed) {
      compare_with_alone(make, {.model = "fake"}, seed, 16 + seed * 37, 30, openings);
    }
  }
}

TEST_CASE("concurrent answers are the lone answers: a trained model on the best cpu backend") {
  const auto path = KVASIR_NEEDS(shared_data("stories260K/stories260K-f32.gguf"));
  const std::vector<std::string> openings = {"Once upon a time", "Lily went to the park.", "The dog was happy", "Tom said"};
  const MakeEngine make = [](const EngineLimits& limits) { return make_engine_pool(BackendRegistry::create(), limits); };
  uint32_t threads = 1;
  for (const uint32_t rows : {7U, 33U, 256U}) {
    EngineKey key{.model = path.string(), .threads = threads++};
    compare_with_alone(make, key, rows, rows, 16, openings);
  }
}
