// Guesses from the text so far: which, how many are worth their rows, and that answers do not depend on them.
#include <catch2/catch.hpp>

#include "core/engine/prompt_lookup.h"
#include "tests/scheduler/engine_harness.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

std::vector<TokenId> guessed(PromptLookup& lookup, const std::vector<TokenId>& tokens, uint32_t most = 8) {
  const auto guess = lookup.guess(tokens, most);
  return {guess.begin(), guess.end()};
}

}  // namespace

TEST_CASE("what followed the last three tokens before is the guess") {
  PromptLookup lookup;
  CHECK(guessed(lookup, {}).empty());
  CHECK(guessed(lookup, {1, 2}).empty());
  CHECK(guessed(lookup, {1, 2, 3}).empty());
  CHECK(guessed(lookup, {1, 2, 3, 4, 5, 6, 1, 2, 3}) == std::vector<TokenId>{4, 5, 6, 1, 2, 3});
  CHECK(guessed(lookup, {1, 2, 3, 4, 5, 6, 1, 2, 3, 7, 1, 2, 3}, 2) == std::vector<TokenId>{7, 1});
  CHECK(guessed(lookup, {1, 2, 3, 4, 5, 6, 1, 2, 3, 7, 1, 2, 3, 8}).empty());
}

TEST_CASE("a run of one token guesses itself") {
  PromptLookup lookup;
  CHECK(guessed(lookup, {5, 5, 5}).empty());
  CHECK(guessed(lookup, {5, 5, 5, 5}) == std::vector<TokenId>{5});
}

TEST_CASE("the share of right guesses follows what comes") {
  PromptLookup lookup;
  std::vector<TokenId> tokens;
  const auto come = [&](TokenId token) {
    lookup.learn(token);
    tokens.push_back(token);
    (void)lookup.guess(tokens, 7);
  };
  for (int i = 0; i < 60; ++i) come(i % 6);
  CHECK(lookup.right_share() > 0.95);
  for (int i = 0; i < 60; ++i) come(i % 2 == 0 ? i % 6 : 100 + i);
  const double before = lookup.right_share();
  for (const TokenId token : {0, 1, 2, 50, 0, 1, 2, 51, 0, 1, 2, 52}) come(token);
  CHECK(lookup.right_share() < before);
}

TEST_CASE("guesses are spent where measured steps say that they pay") {
  GuessPolicy policy(7);
  CHECK(policy.worth(1.0) == 0);  // nothing is known yet
  policy.measured(1, 10);
  CHECK(policy.worth(0.9) == 7);  // hoped to be cheap, so that it gets measured
  CHECK(policy.worth(0.05) == 0);
  GuessPolicy dear(7);
  dear.measured(1, 10);
  dear.measured(4, 45);  // a row more costs more than a step
  CHECK(dear.worth(0.95) == 0);
  GuessPolicy half(7);
  half.measured(1, 10);
  half.measured(5, 20);  // 2.5 ms a row
  CHECK(half.worth(0.9) > 0);
  CHECK(half.worth(0.9) > half.worth(0.5));
  CHECK(half.worth(0.2) == 0);
}

TEST_CASE("a bad measurement is forgotten") {
  GuessPolicy policy(7);
  policy.measured(1, 10);
  policy.measured(2, 40);
  CHECK(policy.worth(0.9) == 0);
  for (int i = 0; i < 1000; ++i) policy.measured(1, 10);
  CHECK(policy.worth(0.9) > 0);
}

TEST_CASE("an answer is the same with and without guesses") {
  const auto ask = [](bool lookup, std::optional<uint64_t> seed) {
    EngineHarness engine({.step_time = std::chrono::microseconds(300)});
    engine.key.prompt_lookup = lookup;
    Generate what = generate("once upon a time", 300);
    what.digest_logits = true;
    what.ignore_eos = true;
    what.sampling.temperature = seed ? 1.0F : 0.0F;
    what.sampling.seed = seed.value_or(1);
    what.sampling.logit_bias = {{'a', seed ? 4.0F : 100.0F}};  // mostly, or always, the same token
    return engine.ask<GenerateResult>(what);
  };
  for (const std::optional<uint64_t> seed : {std::optional<uint64_t>(), std::optional<uint64_t>(7)}) {
    const GenerateResult with = ask(true, seed), without = ask(false, seed);
    CHECK(with.tokens == without.tokens);
    CHECK(with.logit_digests == without.logit_digests);
    CHECK(without.timings.guessed_tokens == 0);
    CHECK(with.timings.accepted_tokens <= with.timings.guessed_tokens);
    if (!seed) CHECK(with.timings.accepted_tokens > 0);
  }
}
