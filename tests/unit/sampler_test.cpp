#include "core/sampling/sampler.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "core/sampling/philox.h"

using kvasir::Code;
using kvasir::Sampler;
using kvasir::SamplingParams;
using kvasir::TokenId;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// Everything off: temperature 1, the whole distribution.
SamplingParams plain() {
  SamplingParams params;
  params.temperature = 1.0F;
  params.top_k = 0;
  params.top_p = 1.0F;
  params.min_p = 0.0F;
  params.seed = 42;
  return params;
}

std::vector<float> logs(std::vector<double> probabilities) {
  std::vector<float> out;
  for (const double p : probabilities) out.push_back(static_cast<float>(std::log(p)));
  return out;
}

/// How often each token comes over `n` positions.
std::map<TokenId, int> draws(const SamplingParams& params, const std::vector<float>& logits, int n,
                             const std::vector<TokenId>& history = {}, size_t n_output = 0) {
  Sampler sampler(params);
  std::map<TokenId, int> counts;
  for (int i = 0; i < n; ++i) {
    auto scratch = logits;
    auto token = sampler.sample(scratch, history, n_output, static_cast<uint64_t>(i));
    REQUIRE(token);
    ++counts[*token];
  }
  return counts;
}

std::set<TokenId> support(const SamplingParams& params, const std::vector<float>& logits, int n = 4000) {
  std::set<TokenId> out;
  for (const auto& [token, count] : draws(params, logits, n)) out.insert(token);
  return out;
}

TokenId greedy(SamplingParams params, std::vector<float> logits, const std::vector<TokenId>& history = {},
               size_t n_output = 0) {
  params.temperature = 0.0F;
  auto token = Sampler(params).sample(logits, history, n_output, 0);
  REQUIRE(token);
  return *token;
}

double chi_square(const std::map<TokenId, int>& counts, const std::vector<double>& expected, int n) {
  double sum = 0.0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const auto it = counts.find(static_cast<TokenId>(i));
    const double seen = it == counts.end() ? 0.0 : it->second;
    if (expected[i] == 0.0) {
      REQUIRE(seen == 0.0);
      continue;
    }
    const double e = expected[i] * n;
    sum += (seen - e) * (seen - e) / e;
  }
  return sum;
}

}  // namespace

TEST_CASE("philox gives the numbers of its published test vectors") {
  using Words = std::array<uint32_t, 4>;
  CHECK(kvasir::philox4x32({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  constexpr uint32_t kOnes = 0xffffffff;
  CHECK(kvasir::philox4x32({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}) ==
        Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(kvasir::philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("uniform numbers stay in [0,1) and depend on seed and position alone") {
  double sum = 0.0;
  for (uint64_t i = 0; i < 20000; ++i) {
    const double u = kvasir::uniform_at(7, i);
    REQUIRE(u >= 0.0);
    REQUIRE(u < 1.0);
    sum += u;
  }
  CHECK(sum / 20000 == Approx(0.5).margin(0.01));
  CHECK(kvasir::uniform_at(7, 3) == kvasir::uniform_at(7, 3));
  CHECK(kvasir::uniform_at(7, 3) != kvasir::uniform_at(8, 3));
  CHECK(kvasir::uniform_at(7, 3) != kvasir::uniform_at(7, 4));
  CHECK(kvasir::uniform_at(7, uint64_t{1} << 40U) != kvasir::uniform_at(7, 0));
  CHECK(kvasir::uniform_at(uint64_t{1} << 40U, 0) != kvasir::uniform_at(0, 0));
}

TEST_CASE("temperature 0 takes the highest logit and the lowest id on ties") {
  CHECK(greedy(plain(), {0.5F, 2.0F, 2.0F, -1.0F}) == 1);
  CHECK(greedy(plain(), {-3.0F, -kInf, -2.5F}) == 2);
  CHECK(greedy(plain(), {0.0F, -0.0F}) == 0);
}

TEST_CASE("top_k 1 is greedy at any temperature") {
  auto params = plain();
  params.top_k = 1;
  params.temperature = 50.0F;
  CHECK(support(params, {1.0F, 1.5F, 1.5F, 1.4F}) == std::set<TokenId>{1});
}

TEST_CASE("top_k keeps the k largest, lower ids first among equals") {
  auto params = plain();
  params.top_k = 3;
  CHECK(support(params, {0.0F, 0.0F, 1.0F, 0.0F, 0.5F}) == std::set<TokenId>{0, 2, 4});
  params.top_k = 100;
  CHECK(support(params, {0.0F, 0.0F}) == std::set<TokenId>{0, 1});
}

TEST_CASE("top_p keeps the token that crosses, and always one") {
  const auto logits = logs({0.1, 0.5, 0.15, 0.25});
  auto params = plain();
  params.top_p = 0.6F;  // 0.5, then 0.25 crosses
  CHECK(support(params, logits) == std::set<TokenId>{1, 3});
  params.top_p = 0.8F;
  CHECK(support(params, logits) == std::set<TokenId>{1, 2, 3});
  params.top_p = 0.0F;
  CHECK(support(params, logits) == std::set<TokenId>{1});
}

TEST_CASE("top_p works on what top_k left") {
  // After top_k 2 the shares are 2/3 and 1/3: 0.6 is reached by the first alone; of the whole it would take two.
  const auto logits = logs({0.5, 0.25, 0.15, 0.1});
  auto params = plain();
  params.top_p = 0.6F;
  CHECK(support(params, logits) == std::set<TokenId>{0, 1});
  params.top_k = 2;
  CHECK(support(params, logits) == std::set<TokenId>{0});
}

TEST_CASE("a nucleus larger than one sorting block is exact") {
  // 3000 equal tokens and one of ten times their weight: 0.5 of the mass is that one and 1495 others, lowest ids first.
  std::vector<float> logits(3001, 0.0F);
  logits[2000] = std::log(10.0F);
  auto params = plain();
  params.top_p = 0.5F;
  for (uint64_t position = 0; position < 3000; ++position) {
    auto scratch = logits;
    auto token = Sampler(params).sample(scratch, {}, 0, position);
    REQUIRE(token);
    REQUIRE((*token <= 1494 || *token == 2000));
  }
}

TEST_CASE("min_p keeps tokens with at least that share of the best one, before temperature") {
  const auto logits = logs({0.5, 0.24, 0.26, 1e-6});
  auto params = plain();
  params.min_p = 0.5F;
  CHECK(support(params, logits) == std::set<TokenId>{0, 2});
  params.temperature = 5.0F;  // a flatter distribution does not let more in
  CHECK(support(params, logits) == std::set<TokenId>{0, 2});
  params.min_p = 1.0F;
  CHECK(support(params, logits) == std::set<TokenId>{0});
}

TEST_CASE("repetition penalty divides positive and multiplies negative logits, once per distinct token") {
  auto params = plain();
  params.repeat_penalty = 2.0F;
  CHECK(greedy(params, {3.0F, 1.6F}, {0, 0, 0}) == 1);  // 3/2 = 1.5
  CHECK(greedy(params, {3.0F, 1.4F}, {0, 0, 0}) == 0);  // once, not three times
  CHECK(greedy(params, {-1.0F, -1.9F}, {0}) == 1);      // -2
  CHECK(greedy(params, {-1.0F, -2.1F}, {0}) == 0);
}

TEST_CASE("repetition penalty looks at the last 64 tokens of prompt and output") {
  auto params = plain();
  params.repeat_penalty = 4.0F;
  std::vector<TokenId> history(64, 2);
  history.insert(history.begin(), 0);
  CHECK(greedy(params, {2.0F, 1.0F, 0.0F}, history) == 0);  // token 0 is 65 back
  history.pop_back();
  CHECK(greedy(params, {2.0F, 1.0F, 0.0F}, history) == 1);
}

TEST_CASE("frequency and presence penalties count the output only") {
  auto params = plain();
  params.frequency_penalty = 0.5F;
  CHECK(greedy(params, {2.0F, 1.2F}, {0, 0, 0}, 1) == 0);  // 1.5
  CHECK(greedy(params, {2.0F, 1.2F}, {0, 0, 0}, 2) == 1);  // 1.0
  params.frequency_penalty = 0.0F;
  params.presence_penalty = 0.5F;
  CHECK(greedy(params, {2.0F, 1.2F}, {0, 0, 0}, 3) == 0);  // 1.5 however often
  CHECK(greedy(params, {2.0F, 1.6F}, {0, 0, 0}, 3) == 1);
  CHECK(greedy(params, {2.0F, 1.6F}, {0, 0, 0}, 0) == 0);
}

TEST_CASE("logit bias is added before the penalties and can ban") {
  auto params = plain();
  params.logit_bias = {{1, 3.0F}};
  CHECK(greedy(params, {1.0F, -1.0F}) == 1);
  params.repeat_penalty = 2.0F;
  params.logit_bias = {{1, 4.0F}};  // (-1 + 4) / 2 = 1.5; with the penalty first it would be -2 + 4 = 2
  CHECK(greedy(params, {1.8F, -1.0F}, {1}) == 0);
  params = plain();
  params.logit_bias = {{0, -kInf}};
  CHECK(support(params, {9.0F, 0.0F, 0.0F}) == std::set<TokenId>{1, 2});
}

TEST_CASE("a masked token is never drawn") {
  CHECK(support(plain(), {-kInf, 0.0F, -kInf, 0.0F, -kInf}) == std::set<TokenId>{1, 3});
}

TEST_CASE("logits of no meaning are errors") {
  for (const float bad : {kNan, kInf}) {
    std::vector<float> logits{0.0F, bad, 1.0F};
    auto result = Sampler(plain()).sample(logits, {}, 0, 0);
    REQUIRE_FALSE(result);
    CHECK(result.error().code == Code::kBackend);
    CHECK(result.error().message.find("token 1") != std::string::npos);
  }
  std::vector<float> none{-kInf, -kInf};
  CHECK(Sampler(plain()).sample(none, {}, 0, 0).error().code == Code::kBackend);
  std::vector<float> empty;
  CHECK(Sampler(plain()).sample(empty, {}, 0, 0).error().code == Code::kBackend);

  auto params = plain();
  params.logit_bias = {{0, -kInf}, {1, -kInf}};
  std::vector<float> banned{1.0F, 2.0F};
  CHECK(Sampler(params).sample(banned, {}, 0, 0).error().code == Code::kInvalidArgument);
}

TEST_CASE("extreme settings still give a token") {
  auto params = plain();
  params.temperature = 1e-30F;
  CHECK(support(params, {1.0F, 1.0001F, 0.0F}, 50) == std::set<TokenId>{1});
  params.temperature = 1e6F;
  CHECK(support(params, {-1e30F, 1e30F}, 50).size() == 1);
  params = plain();
  params.repeat_penalty = 1e-6F;
  CHECK(greedy(params, {3e38F, 1.0F}, {0}) == 0);
  params.logit_bias = {{1, 3e38F}, {1, 3e38F}};
  params.repeat_penalty = 1.0F;
  CHECK(greedy(params, {1.0F, 1.0F}) == 1);
}

TEST_CASE("history tokens outside the vocabulary are ignored") {
  auto params = plain();
  params.repeat_penalty = 2.0F;
  params.presence_penalty = 1.0F;
  CHECK(greedy(params, {2.0F, 1.0F}, {-1, 2, 1000000}, 3) == 0);
}

TEST_CASE("the same seed and position give the same token, whatever was drawn before") {
  const std::vector<float> logits(1000, 0.0F);
  Sampler busy(plain());
  std::vector<TokenId> first;
  for (uint64_t position = 0; position < 50; ++position) {
    auto scratch = logits;
    first.push_back(*busy.sample(scratch, {}, 0, position));
  }
  for (uint64_t position = 50; position-- > 0;) {
    auto scratch = logits;
    CHECK(*Sampler(plain()).sample(scratch, {}, 0, position) == first[position]);
  }
  auto other = plain();
  other.seed = 43;
  size_t same = 0;
  for (uint64_t position = 0; position < 50; ++position) {
    auto scratch = logits;
    if (*Sampler(other).sample(scratch, {}, 0, position) == first[position]) ++same;
  }
  CHECK(same < 5);
}

TEST_CASE("1e5 draws follow the distribution (chi-square, fixed seed)") {
  constexpr int kDraws = 100'000;
  const std::vector<double> p{0.02, 0.3, 0.05, 0.13, 0.25, 0.1, 0.15};
  // 99.9 % quantile: 22.46 at 6 degrees of freedom, 13.82 at 2.
  CHECK(chi_square(draws(plain(), logs(p), kDraws), p, kDraws) < 22.46);

  auto hot = plain();
  hot.temperature = 2.0F;
  std::vector<double> flat;
  double total = 0.0;
  for (const double x : p) total += std::sqrt(x);
  for (const double x : p) flat.push_back(std::sqrt(x) / total);
  CHECK(chi_square(draws(hot, logs(p), kDraws), flat, kDraws) < 22.46);

  auto cut = plain();
  cut.top_k = 3;
  const std::vector<double> kept{0, 0.3 / 0.7, 0, 0, 0.25 / 0.7, 0, 0.15 / 0.7};
  CHECK(chi_square(draws(cut, logs(p), kDraws), kept, kDraws) < 13.82);
  // The test can fail: against the uncut distribution these draws are far off.
  CHECK(chi_square(draws(plain(), logs(p), kDraws), flat, kDraws) > 1000);
}

TEST_CASE("log-probabilities are those of the raw softmax, best first") {
  const auto logits = logs({0.1, 0.5, 0.15, 0.25});
  const auto r = kvasir::logprob_of(logits, 2, 3);
  CHECK(r.token == 2);
  CHECK(r.logprob == Approx(std::log(0.15)));
  REQUIRE(r.top.size() == 3);
  CHECK(r.top[0].first == 1);
  CHECK(r.top[1].first == 3);
  CHECK(r.top[2].first == 2);
  CHECK(r.top[0].second == Approx(std::log(0.5)));

  const std::vector<float> ties{1.0F, 2.0F, 2.0F, -kInf};
  const auto t = kvasir::logprob_of(ties, 3, 10);
  CHECK(t.logprob == -kInf);
  REQUIRE(t.top.size() == 3);
  CHECK(t.top[0].first == 1);
  CHECK(t.top[1].first == 2);
  CHECK(kvasir::logprob_of(ties, 0, 0).top.empty());
  CHECK(kvasir::logprob_of(ties, 99, 0).logprob == -kInf);
  // Shifting all logits changes nothing, even far from zero.
  const std::vector<float> shifted{1e30F, 1e30F};
  CHECK(kvasir::logprob_of(shifted, 0, 0).logprob == Approx(std::log(0.5)));
}

TEST_CASE("parameters out of range are refused by name") {
  const auto refused = [](SamplingParams p, const std::string& name) {
    const auto result = kvasir::validate(p, 10);
    REQUIRE_FALSE(result);
    CHECK(result.error().code == Code::kInvalidArgument);
    CHECK(result.error().message.find(name) != std::string::npos);
  };
  CHECK(kvasir::validate(SamplingParams{}, 10));
  for (const float bad : {-1.0F, kNan, kInf}) {
    auto p = plain();
    p.temperature = bad;
    refused(p, "temperature");
    p = plain();
    p.top_p = bad;
    refused(p, "top_p");
    p = plain();
    p.min_p = bad;
    refused(p, "min_p");
    p = plain();
    p.repeat_penalty = bad;
    refused(p, "repeat_penalty");
  }
  auto p = plain();
  p.repeat_penalty = 0.0F;
  refused(p, "repeat_penalty");
  p = plain();
  p.frequency_penalty = kNan;
  refused(p, "frequency_penalty");
  p = plain();
  p.presence_penalty = kInf;
  refused(p, "presence_penalty");
  for (const TokenId id : {-1, 10}) {
    p = plain();
    p.logit_bias = {{id, 1.0F}};
    refused(p, "logit_bias");
  }
  for (const float bad : {kNan, kInf}) {
    p = plain();
    p.logit_bias = {{0, bad}};
    refused(p, "logit_bias");
  }
  p = plain();
  p.logit_bias.assign(11, {0, 1.0F});
  refused(p, "logit_bias");
}
