// Compression: what stays is what was said to stay, and the measure of its cost is right where the answer is known.
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "sessions/compression/quality.h"
#include "sessions/compression/sliding_window.h"
#include "sessions/turn_builder.h"

using namespace kvasir;

namespace {

std::vector<TokenId> numbers(size_t count) {
  std::vector<TokenId> out(count);
  std::iota(out.begin(), out.end(), 0);
  return out;
}

ScoreResult score(std::vector<std::vector<std::pair<TokenId, float>>> top, double nll) {
  ScoreResult out;
  out.tokens = numbers(top.size());
  out.top = std::move(top);
  out.nll = nll;
  return out;
}

}  // namespace

TEST_CASE("a window keeps the first tokens and the newest, exactly as many as asked") {
  const auto tokens = numbers(1000);
  const auto kept = keep_window(tokens, 100, 10);
  REQUIRE(kept);
  CHECK(kept->size() == 100);
  CHECK((*kept)[9] == 9);
  CHECK((*kept)[10] == 910);
  CHECK(kept->back() == 999);
  CHECK((*keep_window(tokens, 100, 0))[3] == 3);       // sinks stay
  CHECK((*keep_window(tokens, 100, 900))[25] == 925);  // at most a quarter is pinned
}

TEST_CASE("nothing to remove, or too little to stay, is refused with the numbers") {
  for (const uint64_t target : {0, 31, 100, 101}) {
    const auto refused = keep_window(numbers(100), target, 4);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Code::kInvalidArgument);
    CHECK(refused.error().message.find("100") != std::string::npos);
  }
  CHECK(keep_window(numbers(100), 32, 4));
  CHECK(keep_window(numbers(100), 99, 4));
}

TEST_CASE("equal scores cost nothing, others what they cost") {
  const float half = std::log(0.5F);
  const float most = std::log(0.9F);
  const float little = std::log(0.1F);
  const auto full = score({{{1, half}, {2, half}}, {{1, most}, {2, little}}}, 2.0);
  const auto same = compare_scores(full, full);
  REQUIRE(same);
  CHECK(same->dnll == 0.0);
  CHECK(same->kl_mean == Approx(0.0).margin(1e-6));
  CHECK(same->top1_agree == 1.0);
  const auto worse = compare_scores(full, score({{{1, half}, {2, half}}, {{2, most}, {1, little}}}, 3.0));
  REQUIRE(worse);
  CHECK(worse->dnll == Approx(0.5));
  CHECK(worse->top1_agree == 0.5);
  CHECK(worse->kl_mean == Approx((0.9 * std::log(9.0) + 0.1 * std::log(1.0 / 9.0)) / 2).epsilon(1e-4));
  CHECK(worse->kl_p95 == Approx(2 * worse->kl_mean).epsilon(1e-4));
  CHECK_FALSE(compare_scores(full, score({{{1, half}}}, 1.0)));
}

TEST_CASE("a compression is no message, and what comes after it goes on from its tokens") {
  std::vector<Turn> path(3);
  path[0].role = "user";
  path[0].content = path[0].rendered = "hello";
  path[0].tokens = {1, 2, 3};
  path[1].role = "assistant";
  path[1].content = path[1].rendered = "yes";
  path[1].tokens = {4, 5};
  path[2] = compression_turn({1, 5}, "helloyes", "sliding_window");
  CHECK(conversation(path).size() == 2);
  CHECK(context_tokens(path) == std::vector<TokenId>{1, 5});
  CHECK(context_text(path) == "helloyes");
  const std::vector<ChatMessage> added = {{"user", "more", ""}};
  const Prompt prompt = session_prompt(path, added);
  CHECK(prompt.messages.size() == 3);
  CHECK(prompt.history_tokens == std::vector<TokenId>{1, 5});
}
