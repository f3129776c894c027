// Answers of sessions that are reported while they go on: every so many tokens, each time a whole beginning of the end.
#include <catch2/catch.hpp>

#include <algorithm>

#include "tests/scheduler/engine_harness.h"
#include "tests/scheduler/map_blocks.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

Generate turn(uint32_t tokens, uint32_t every) {
  Generate out = generate("", tokens);
  out.prompt.kind = Prompt::Kind::kTokens;
  out.prompt.in_session = true;
  out.prompt.history_text = std::string(100, 'q');
  out.prompt.history_tokens = {kFakeBos};
  out.prompt.history_tokens.insert(out.prompt.history_tokens.end(), 100, 'q');
  out.prompt.tokens = out.prompt.history_tokens;
  out.partial_every = every;
  out.cache_owner = "s_1";
  return out;
}

struct Told {
  std::vector<GenerateResult> partials;
  GenerateResult end;
};

Told tell(EngineHarness& harness, const Generate& request) {
  Told out;
  const GenerationId id = harness.send(request);
  for (;;) {
    const auto event = harness.next();
    REQUIRE(event);
    if (const auto* partial = std::get_if<PartialResult>(&*event)) out.partials.push_back(partial->so_far);
    if (is_final(*event)) break;
  }
  out.end = std::get<GenerateResult>(harness.finals.at(id));
  return out;
}

}  // namespace

TEST_CASE("a session's answer is reported every so many tokens, each time a beginning of its end") {
  FakeModelOptions slow;
  slow.step_time = std::chrono::microseconds(300);  // so that each report is seen before the next one replaces it
  EngineHarness harness(slow);
  const Told told = tell(harness, turn(200, 40));
  REQUIRE(told.partials.size() >= 2);
  CHECK(told.partials.size() <= 5);
  uint64_t before = 0;
  for (const GenerateResult& partial : told.partials) {
    const uint64_t tokens = partial.tokens_in_context;
    CHECK(tokens >= before + 40);
    CHECK(tokens == partial.usage.completion_tokens);
    before = tokens;
    REQUIRE(partial.context_tokens.size() == 101 + tokens);
    CHECK(std::ranges::equal(partial.context_tokens, std::span(told.end.context_tokens).first(101 + tokens)));
    CHECK(told.end.text.starts_with(partial.text));
    CHECK(partial.answer_text == partial.text);  // every token stands for text that is in it
    CHECK(partial.context_text == told.end.context_text);
    CHECK(partial.fingerprint == told.end.fingerprint);
  }
}

TEST_CASE("no report for 0 tokens, and none outside of a session") {
  EngineHarness harness;
  CHECK(tell(harness, turn(100, 0)).partials.empty());
  Generate nobody = turn(100, 10);
  nobody.prompt.in_session = false;
  CHECK(tell(harness, nobody).partials.empty());
}

TEST_CASE("what may still become a stop string is not in a report, nor are the tokens that say it") {
  EngineHarness harness;
  Generate request = turn(60, 1);
  const std::string all = harness.ask<GenerateResult>(request).text;
  const size_t at = all.size() / 2;
  request.stop = {all.substr(at, 3) + "\x01never"};  // held back from here on for three bytes at least
  const Told told = tell(harness, request);
  CHECK(told.end.text == all);
  for (const GenerateResult& partial : told.partials) {
    CHECK(all.starts_with(partial.text));
    CHECK(partial.text.size() != at + 1);
    CHECK(partial.text.size() != at + 2);
  }
}

TEST_CASE("with a report the whole pages so far are kept, none that has only begun") {
  auto blocks = std::make_shared<MapBlocks>();
  FakeModelOptions slow;
  slow.step_time = std::chrono::milliseconds(1);
  auto environment = std::make_unique<FakeEnvironment>(slow);
  environment->blocks = blocks;
  EngineHarness harness(make_engine_pool(std::move(environment)));
  const GenerationId id = harness.send(turn(900, 50));
  for (;;) {
    const auto event = harness.next();
    REQUIRE(event);
    if (std::holds_alternative<PartialResult>(*event)) break;
  }
  CHECK(blocks->size() >= (101 + 49) / kPageTokens);
  CHECK(blocks->tails() == 0);
  harness.send(Cancel{id});
  harness.wait(id);
  CHECK(blocks->tails() > 0);
}
