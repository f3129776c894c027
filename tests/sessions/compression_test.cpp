// Compression: the numbers of a plan, questions whose answer is known, and what a compressed path stands for.
#include <catch2/catch.hpp>
#include <numeric>

#include "sessions/compression/plan.h"
#include "sessions/compression/probes.h"
#include "sessions/compression/summary.h"
#include "sessions/turn_builder.h"

using namespace kvasir;

namespace {

SessionContext context_of(size_t tokens) {
  SessionContext out;
  out.tokens.resize(tokens);
  std::iota(out.tokens.begin(), out.tokens.end(), 0);
  return out;
}

Turn said(const std::string& role, const std::string& content, std::vector<TokenId> tokens = {}) {
  Turn turn;
  turn.role = role;
  turn.content = turn.rendered = content;
  turn.tokens = std::move(tokens);
  return turn;
}

}  // namespace

TEST_CASE("a plan keeps whole pages and the newest tokens as they are, near the target") {
  for (const uint64_t size : {150U, 300U, 1000U, 4096U}) {
    for (const Strategy strategy : {Strategy::kSlidingWindow, Strategy::kAttentionBased}) {
      const auto plan = plan_compression({.strategy = strategy, .target_tokens = size / 2, .pinned = 30}, context_of(size));
      REQUIRE(plan);
      CHECK(plan->choice.kept_tokens % kPageTokens == 0);
      CHECK(plan->tokens_after == plan->choice.kept_tokens + size - plan->choice.source_tokens);
      CHECK(plan->tokens_after + kPageTokens > size / 2);
      CHECK(plan->tokens_after < size / 2 + kPageTokens);
      CHECK(plan->scored > 10);
      CHECK(plan->choice.pinned >= 4);
      CHECK(plan->choice.pinned + plan->choice.recent <= plan->choice.kept_tokens);
      CHECK(choose_rows({.rule = KeepRule::kWindow, .source_tokens = plan->choice.source_tokens,
                         .kept_tokens = plan->choice.kept_tokens, .pinned = plan->choice.pinned,
                         .recent = plan->choice.recent}, {}));
    }
  }
  const auto aged = plan_compression({.strategy = Strategy::kKvQuantize}, context_of(1000));
  REQUIRE(aged);
  CHECK(aged->aged);
  CHECK(aged->tokens_after == 1000);
  CHECK(aged->choice.source_tokens == 832);  // the newest 128 and what does not fill a page stay
}

TEST_CASE("nothing to remove, or too little to stay, is refused with the numbers") {
  for (const auto& [size, target] : {std::pair{60U, 30U}, std::pair{79U, 70U}, std::pair{300U, 9000U}}) {
    const auto refused = plan_compression({.target_tokens = target}, context_of(size));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Code::kInvalidArgument);
    CHECK(refused.error().message.find(std::to_string(size)) != std::string::npos);
  }
  CHECK_FALSE(plan_compression({.strategy = Strategy::kKvQuantize}, context_of(190)));
  SessionContext again = context_of(400);
  again.stages.push_back({again.tokens, {.source_tokens = 400, .kept_tokens = 256, .rows = {}}});
  CHECK_FALSE(plan_compression({.strategy = Strategy::kKvQuantize}, again));
  CHECK_FALSE(strategy_of("magic"));
}

TEST_CASE("anchors are the exact things of a text, each once") {
  const auto found = anchors_of("Open src/main.cpp, port 8080 (or v2), and call run_all(). I said: src/main.cpp! We have 12 of 3.14 at a@b.org.");
  CHECK(found == std::vector<std::string>{"src/main.cpp", "8080", "run_all", "3.14", "a@b.org"});
  CHECK(anchors_of("nothing exact here, at all. Really?").empty());
  CHECK(anchors_of(std::string(5000, '7')).empty());  // too long to be a name
}

TEST_CASE("probes ask for what older turns said exactly") {
  std::vector<Turn> path = {said("user", "My locker is at the station. The code of it is 48213."), said("assistant", "Noted."),
                            said("user", "The newest number is 99999 here."), said("assistant", "Good.")};
  const auto probes = make_probes(path, 2, 4);
  REQUIRE(probes.size() == 1);
  CHECK(probes[0].answer == "48213");
  CHECK(probes[0].question.find("\"The code of it is\"") != std::string::npos);
  CHECK(make_probes(path, 0, 4).size() == 2);
  CHECK(make_probes(path, 0, 1).size() == 1);
  CHECK(make_probes(path, 9, 4).empty());
}

TEST_CASE("what comes after other tokens goes on from them") {
  std::vector<Turn> path = {said("user", "hello", {1, 2, 3}), said("assistant", "yes", {4, 5}),
                            compression_turn({1, 5}, "helloyes", "hierarchical")};
  CHECK(conversation(path).size() == 2);
  CHECK(context_tokens(path) == std::vector<TokenId>{1, 5});
  CHECK(context_text(path) == "helloyes");
  const std::vector<ChatMessage> added = {{"user", "more", ""}};
  const Prompt prompt = session_prompt(path, added);
  CHECK(prompt.messages.size() == 3);
  CHECK(prompt.history_tokens == std::vector<TokenId>{1, 5});
}

TEST_CASE("an edit shortens what was said before it, and what follows stands behind it") {
  std::vector<TokenId> many(200);
  std::iota(many.begin(), many.end(), 100);
  RowChoice rows{.rule = KeepRule::kWindow, .source_tokens = 180, .kept_tokens = 64, .pinned = 4};
  std::vector<Turn> path = {said("user", "much", many), compression_turn(*choose_rows(rows, {}), "sliding_window"),
                            said("user", "more", {7, 8})};
  const auto context = session_context(path);
  REQUIRE(context);
  REQUIRE(context->stages.size() == 1);
  CHECK(context->stages[0].tokens.size() == 180);
  CHECK(context->tokens.size() == 64 + 20 + 2);
  CHECK(context->tokens[4] == 100 + 120);
  CHECK(context->tokens.back() == 8);
  CHECK(context_text(path) == "muchmore");
  CHECK(conversation(path).size() == 2);
  const Prompt prompt = session_prompt(path, {});
  CHECK(prompt.history_stages.size() == 1);
  CHECK(prompt.tokens == context->tokens);
  path[1].message_json = "edit9 something";
  CHECK(session_context(path).error().code == Code::kCorrupt);
  path[1].message_json = to_text({.source_tokens = 640, .kept_tokens = 640, .rows = {}});
  CHECK(session_context(path).error().code == Code::kCorrupt);
}

TEST_CASE("a summary stands for the old turns, the newest and the system message stay") {
  std::vector<Turn> path = {said("system", "Be kind.")};
  for (int i = 0; i < 10; ++i) {
    path.push_back(said("user", "Question " + std::to_string(i) + ": the port of host" + std::to_string(i) + " is " + std::to_string(8000 + i) + ".",
                        std::vector<TokenId>(30, i)));
    path.push_back(said("assistant", "Answer " + std::to_string(i) + ".", std::vector<TokenId>(10, 100 + i)));
  }
  const auto plan = plan_summary(path, 200, 150);
  REQUIRE(plan);
  CHECK(plan->before.size() == 1);
  CHECK(plan->last_answer == std::vector<TokenId>(10, 109));
  REQUIRE_FALSE(plan->recent.empty());
  CHECK(plan->recent.front().role == "user");
  CHECK(plan->recent.back().content.find("Question 9") == 0);
  CHECK(plan->old.size() > 1);  // in parts
  size_t old = 0;
  for (const auto& part : plan->old) old += part.size();
  CHECK(old + plan->recent.size() == 19);
  const Generate request = summary_request(plan->old[0], plan->summary_tokens);
  CHECK(request.sampling.temperature == 0.0F);
  CHECK(request.prompt.messages[0].content.find("port of host0 is 8000") != std::string::npos);
  const std::vector<std::string> summaries = {"They spoke of host0, 8000.", "And so on."};
  const std::string summary = summary_text(*plan, summaries);
  CHECK(summary.find("8001") != std::string::npos);  // the index names what the summary does not
  CHECK(summary.find("8000", summary.find("8000") + 1) == std::string::npos);
  const auto messages = summarised(*plan, summary);
  CHECK(messages[0].role == "system");
  CHECK(messages[1].content == summary);
  CHECK(messages.size() == 3 + plan->recent.size());
  CHECK_FALSE(plan_summary(std::span(path).first(3), 200, 150));  // nothing old
  CHECK_FALSE(plan_summary(std::span(path).first(4), 200, 150));  // no answer at the end
}

TEST_CASE("the index names every exact thing that the summary does not, also one that is a part of another") {
  std::vector<Turn> path = {said("user", "Ports 8080 and 808, and 1808 too. " + std::string(400, 'x')), said("assistant", "Yes."),
                            said("user", "And now?", {1, 2}), said("assistant", "Now.", {3})};
  const auto plan = plan_summary(path, 4, 1000);
  REQUIRE(plan);
  const std::string summary = summary_text(*plan, std::vector<std::string>{"They spoke of 8080."});
  CHECK(summary.ends_with(": 808, 1808"));
}

TEST_CASE("originals are found by their words, newest first") {
  std::vector<Turn> path = {said("user", "The Code is 48213, " + std::string(300, 'x')), said("assistant", "No code here."),
                            compression_turn({1}, "", "code")};
  path[0].number = 1;
  path[1].number = 2;
  const auto found = search_turns(path, "CODE is", 10);
  REQUIRE(found.size() == 1);
  CHECK(found[0].turn == 1);
  CHECK(found[0].excerpt.find("48213") != std::string::npos);
  CHECK(found[0].excerpt.size() < 200);
  CHECK(search_turns(path, "code", 10).front().turn == 2);
  CHECK(search_turns(path, "code", 1).size() == 1);
  CHECK(search_turns(path, " ", 10).empty());
  path[0].content = "The code of conduct. " + std::string(500, 'y') + " The door has the code 48213. " + std::string(500, 'z') + " A door.";
  const auto closest = search_turns(path, "code door", 1);
  REQUIRE(closest.size() == 1);
  CHECK(closest[0].excerpt.find("48213") != std::string::npos);  // where the words stand together
}
