// The sampler from a row's likeliest tokens: it must choose what it chooses from the whole row.
#include <algorithm>
#include <catch2/catch.hpp>
#include <limits>

#include "core/sampling/sampler.h"

using kvasir::Candidate;
using kvasir::Code;
using kvasir::Sampler;
using kvasir::SamplingParams;
using kvasir::TokenId;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

SamplingParams plain() { return {.temperature = 1.0F, .top_k = 0, .top_p = 1.0F, .min_p = 0.0F, .logit_bias = {}, .seed = 42}; }

}  // namespace

TEST_CASE("candidates choose what all logits choose") {
  uint32_t state = 1;
  const auto random = [&] { return (state = state * 1664525U + 1013904223U) >> 8U; };
  size_t drawn = 0;
  for (uint32_t round = 0; round < 3000; ++round) {
    const size_t vocab = 2 + random() % 60;
    std::vector<float> logits(vocab);
    for (float& l : logits) l = random() % 7 == 0 ? -kInf : static_cast<float>(random() % 1000) / (round % 2 == 0 ? 100.0F : 300.0F) - (random() % 2 == 0 ? 1.0F : 0.0F);
    if (round % 5 == 0) std::fill(logits.begin() + 1, logits.end(), -kInf);
    logits[random() % vocab] = 1.0F;
    SamplingParams p = plain();
    p.temperature = round % 11 == 0 ? 0.0F : 0.3F + static_cast<float>(random() % 20) / 10.0F;
    p.top_k = 1 + random() % 70;
    p.top_p = round % 3 == 0 ? 1.0F : 0.3F + static_cast<float>(random() % 70) / 100.0F;
    p.min_p = round % 4 == 0 ? 0.0F : static_cast<float>(random() % 30) / 100.0F;
    p.seed = random();
    Sampler sampler(p);
    REQUIRE(sampler.candidates() == (p.temperature == 0.0F ? 1 : p.top_k + 1));
    if (sampler.candidates() > vocab) continue;  // then a backend is asked for all logits
    std::vector<Candidate> best;
    for (size_t i = 0; i < vocab; ++i) best.push_back({logits[i], static_cast<TokenId>(i)});
    std::sort(best.begin(), best.end(), [](const Candidate& a, const Candidate& b) { return a.logit != b.logit ? a.logit > b.logit : a.id < b.id; });
    best.resize(sampler.candidates());
    const auto got = sampler.sample_best(best, round);
    const auto want = sampler.sample(logits, {}, 0, round);
    REQUIRE((got && want));
    REQUIRE(*got == *want);
    ++drawn;
  }
  CHECK(drawn > 1000);
}

TEST_CASE("what needs all logits asks for no candidates, and a broken row is an error") {
  const auto wants = [](auto change) {
    SamplingParams p = plain();
    p.top_k = 40;
    change(p);
    return Sampler(p).candidates();
  };
  CHECK(wants([](SamplingParams&) {}) == 41);
  CHECK(wants([](SamplingParams& p) { p.top_k = 0; }) == 0);
  CHECK(wants([](SamplingParams& p) { p.temperature = 0.0F; }) == 1);
  CHECK(wants([](SamplingParams& p) { p.repeat_penalty = 1.1F; }) == 0);
  CHECK(wants([](SamplingParams& p) { p.frequency_penalty = 0.5F; }) == 0);
  CHECK(wants([](SamplingParams& p) { p.presence_penalty = 0.5F; }) == 0);
  CHECK(wants([](SamplingParams& p) { p.logit_bias = {{1, 1.0F}}; }) == 0);
  for (const float bad : {kNan, kInf, -kInf}) {
    const Candidate best[] = {{bad, 3}, {-kInf, 4}};
    const auto got = Sampler(plain()).sample_best(best, 0);
    REQUIRE_FALSE(got);
    CHECK(got.error().code == Code::kBackend);
  }
}
