// The engine through its mailbox: every command gets exactly one final event, whatever happens to it.
#include <catch2/catch.hpp>

#include <atomic>
#include <thread>

#include "tests/scheduler/engine_harness.h"

using namespace kvasir;
using namespace kvasir::test;
using namespace std::chrono_literals;

TEST_CASE("a generation streams its text and ends with usage, timings and the seed") {
  EngineHarness engine;
  Generate what = generate("hello", 20);
  what.sampling.temperature = 0.8F;
  const auto id = engine.send(what);
  const auto result = engine.wait_for<GenerateResult>(id);
  CHECK(result.finish_reason == FinishReason::kLength);
  CHECK(result.usage.prompt_tokens == 6);
  CHECK(result.usage.completion_tokens == 20);
  CHECK(result.tokens.size() == 20);
  CHECK(engine.texts[id] == result.text);
  CHECK(result.model == "fake");
  CHECK(result.sampling.top_k == 30);  // the file's recommendation
  CHECK(result.timings.prefill_ms >= 0);
  what.sampling.seed = result.seed;
  CHECK(engine.ask<GenerateResult>(what).tokens == result.tokens);
}

TEST_CASE("many generations share steps") {
  EngineHarness engine(FakeModelOptions{.step_time = 2ms});
  std::vector<GenerationId> ids;
  for (int i = 0; i < 8; ++i) ids.push_back(engine.send(generate("prompt " + std::to_string(i), 40)));
  for (const auto id : ids) CHECK(engine.wait_for<GenerateResult>(id).usage.completion_tokens == 40);
  const EngineMetrics metrics = engine.engine().metrics();
  CHECK(metrics.completion_tokens == 8 * 40);
  CHECK(metrics.steps < 8 * 40 / 3);
  CHECK(metrics.in_flight == 0);
  CHECK(metrics.loaded_models == 1);
}

TEST_CASE("a long prompt does not delay the tokens of others by more than a step") {
  EngineHarness engine(FakeModelOptions{.max_context = 8192, .step_time = 1ms}, {.max_step_rows = 64});
  engine.ask<Ready>(Preload{});
  const auto talker = engine.send(generate("a", 60));
  engine.wait_for_text(talker);
  const auto reader = engine.send(generate(std::string(8000, 'x'), 1));
  engine.wait_for<GenerateResult>(talker);
  CHECK_FALSE(engine.finals.contains(reader));
  engine.wait_for<GenerateResult>(reader);
}

TEST_CASE("max_tokens 0 computes the prompt and says nothing") {
  EngineHarness engine;
  const auto result = engine.ask<GenerateResult>(generate("hello", 0));
  CHECK(result.text.empty());
  CHECK(result.finish_reason == FinishReason::kLength);
  CHECK(result.usage.prompt_tokens == 6);
  CHECK(result.usage.completion_tokens == 0);
}

TEST_CASE("context limits: one less, exact, one more") {
  EngineHarness engine(FakeModelOptions{.max_context = 100});
  const auto with_tokens = [](size_t count, uint32_t max_tokens) {
    Generate what = generate("", max_tokens);
    what.prompt.kind = Prompt::Kind::kTokens;
    what.prompt.tokens.assign(count, 'x');
    return what;
  };
  const auto one_left = engine.ask<GenerateResult>(with_tokens(99, 10));
  CHECK(one_left.finish_reason == FinishReason::kContextFull);
  CHECK(one_left.usage.completion_tokens == 1);
  const auto exact = engine.ask<GenerateResult>(with_tokens(100, 10));
  CHECK(exact.finish_reason == FinishReason::kContextFull);
  CHECK(exact.usage.completion_tokens == 0);
  const auto over = engine.ask<Failed>(with_tokens(101, 10));
  CHECK(over.code == Code::kTooLarge);
  CHECK(over.message.find("101") != std::string::npos);
  CHECK(over.message.find("100") != std::string::npos);
  CHECK(over.message.find("shorten it by 1 ") != std::string::npos);
  CHECK(engine.ask<GenerateResult>(with_tokens(90, 10)).finish_reason == FinishReason::kLength);
}

TEST_CASE("a cached prefix is counted and changes nothing") {
  EngineHarness engine;
  const Generate what = generate(std::string(300, 'q'), 30);
  const auto first = engine.ask<GenerateResult>(what);
  const auto second = engine.ask<GenerateResult>(what);
  CHECK(first.usage.cached_tokens == 0);
  CHECK(second.usage.cached_tokens == 300);  // all but the last, whose logits are asked for
  CHECK(second.usage.prompt_tokens == 301);
  CHECK(second.tokens == first.tokens);
}

TEST_CASE("a prefix that ends inside a page is taken to the last token") {
  EngineHarness engine, alone;
  const std::string shared(100, 's');
  engine.ask<GenerateResult>(generate(shared + std::string(80, 'a'), 20));
  for (const std::string& end : {std::string("b"), std::string(50, 'b'), std::string(28, 'a') + "c"}) {
    INFO(end);
    const Generate what = generate(shared + end, 20);
    const auto result = engine.ask<GenerateResult>(what);
    CHECK(result.usage.cached_tokens == 101 + (end[0] == 'a' ? 28 : 0));  // the first token is the beginning of text
    CHECK(result.tokens == alone.ask<GenerateResult>(what).tokens);
  }
}

TEST_CASE("another principal's prefix is not taken, not even in part") {
  EngineHarness engine;
  Generate alice = generate(std::string(100, 's'), 1), bob = generate(std::string(40, 's'), 1);
  alice.cache_salt = "alice";
  bob.cache_salt = "bob";
  engine.ask<GenerateResult>(alice);
  CHECK(engine.ask<GenerateResult>(bob).usage.cached_tokens == 0);
  bob.cache_salt = "alice";
  CHECK(engine.ask<GenerateResult>(bob).usage.cached_tokens == 40);
}

TEST_CASE("a cancel ends a running generation with the text so far") {
  EngineHarness engine(FakeModelOptions{.step_time = 1ms});
  const auto id = engine.send(generate("x", 900));
  engine.wait_for_text(id);
  engine.send(Cancel{id});
  const auto result = engine.wait_for<GenerateResult>(id);
  CHECK(result.finish_reason == FinishReason::kCancelled);
  CHECK_FALSE(result.text.empty());
  CHECK(result.text == engine.texts[id]);
  engine.send(Cancel{id});   // after the end
  engine.send(Cancel{777});  // never heard of
  CHECK(engine.ask<GenerateResult>(generate("y", 1)).usage.completion_tokens == 1);
}

TEST_CASE("cancels while loading, queued and counting are final too") {
  EngineHarness engine(FakeModelOptions{.load_time = 300ms}, {.max_sequences = 1});
  const auto loading = engine.send(generate("x", 10));
  const auto preload = engine.send(Preload{});
  engine.send(Cancel{loading});
  CHECK(engine.wait_for<GenerateResult>(loading).finish_reason == FinishReason::kCancelled);
  engine.wait_for<Ready>(preload);  // the load went on for the other one
  const auto running = engine.send(generate("x", 1000));
  const auto queued = engine.send(generate("y", 10));
  engine.send(Cancel{queued});
  const auto result = engine.wait_for<GenerateResult>(queued);
  CHECK(result.finish_reason == FinishReason::kCancelled);
  CHECK(result.text.empty());
  engine.send(Cancel{running});
  engine.wait(running);
}

TEST_CASE("a time limit ends with what there is, also while the model loads") {
  EngineHarness engine(FakeModelOptions{.step_time = 2ms, .load_time = 400ms});
  Generate hurried = generate("x", 10);
  hurried.max_time_ms = 20;
  const auto early = engine.ask<GenerateResult>(hurried);
  CHECK(early.finish_reason == FinishReason::kTimeLimit);
  CHECK(early.text.empty());
  engine.ask<Ready>(Preload{});
  Generate patient = generate("x", 1000);
  patient.max_time_ms = 100;
  const auto result = engine.ask<GenerateResult>(patient);
  CHECK(result.finish_reason == FinishReason::kTimeLimit);
  CHECK(result.usage.completion_tokens > 0);
  CHECK(result.usage.completion_tokens < 1000);
}

TEST_CASE("a paused generation stands still and ends the same after resume") {
  EngineHarness engine(FakeModelOptions{.step_time = 1ms});
  const auto expected = engine.ask<GenerateResult>(generate("pause me", 200));
  const auto id = engine.send(generate("pause me", 200));
  engine.wait_for_text(id);
  engine.send(Pause{id});
  while (engine.next(100ms)) {
    // the last steps before the pause, then heartbeats at most
    if (engine.texts[id].size() == expected.text.size()) break;
  }
  const size_t still = engine.texts[id].size();
  CHECK(still < expected.text.size());
  CHECK(engine.ask<GenerateResult>(generate("somebody else", 5)).usage.completion_tokens == 5);
  CHECK(engine.texts[id].size() == still);
  engine.send(Resume{id});
  CHECK(engine.wait_for<GenerateResult>(id).tokens == expected.tokens);
}

TEST_CASE("a backend error fails its batch and the engine goes on") {
  auto failures = std::make_shared<std::atomic<int>>(0);
  FakeModelOptions options;
  options.step_time = 1ms;
  options.fail_step = [failures] { return failures->exchange(0) > 0; };
  EngineHarness engine(options);
  const auto expected = engine.ask<GenerateResult>(generate("again", 20)).tokens;
  const auto id = engine.send(generate("x", 500));
  engine.wait_for_text(id);
  *failures = 1;
  const auto failed = engine.wait_for<Failed>(id);
  CHECK(failed.code == Code::kBackend);
  CHECK(engine.ask<GenerateResult>(generate("again", 20)).tokens == expected);
  CHECK(engine.engine().metrics().backend_errors == 1);
}

TEST_CASE("shutdown ends everything with cancelled, once") {
  EngineHarness engine(FakeModelOptions{.step_time = 1ms, .load_time = 50ms}, {.max_sequences = 2});
  std::vector<GenerationId> ids;
  for (int i = 0; i < 6; ++i) ids.push_back(engine.send(generate("x", 1000)));
  engine.wait_for_text(ids[0]);
  engine.key.model = "another.gguf";  // still loading at shutdown
  ids.push_back(engine.send(generate("z", 5)));
  engine.engine().shutdown();
  engine.engine().shutdown();
  for (const auto id : ids) CHECK(engine.wait_for<GenerateResult>(id).finish_reason == FinishReason::kCancelled);
  CHECK_FALSE(engine.engine().send({.engine = engine.key, .body = Preload{.id = 99}}));
  CHECK_FALSE(engine.next(1ms));
}

TEST_CASE("the command queue is bounded, and cancels still pass") {
  EngineHarness engine(FakeModelOptions{.step_time = 1ms}, {.max_commands = 3});
  std::vector<GenerationId> ids;
  for (int i = 0; i < 3; ++i) ids.push_back(engine.send(generate("x", 1000)));
  CHECK_FALSE(engine.engine().send({.engine = engine.key, .body = generate("full", 1)}));
  for (const auto id : ids) engine.send(Cancel{id});
  for (const auto id : ids) engine.wait(id);
  CHECK(engine.ask<GenerateResult>(generate("x", 1)).usage.completion_tokens == 1);
}

TEST_CASE("an id in flight cannot be used twice") {
  EngineHarness engine(FakeModelOptions{.step_time = 1ms});
  Generate what = generate("x", 500);
  what.id = 42;
  REQUIRE(engine.engine().send({.engine = engine.key, .body = what}));
  CHECK_FALSE(engine.engine().send({.engine = engine.key, .body = what}));
  engine.send(Cancel{42});
  engine.wait(42);
}

TEST_CASE("bad requests fail by themselves, with the reason") {
  EngineHarness engine;
  Generate what = generate("x", 5);
  what.sampling.temperature = std::numeric_limits<float>::quiet_NaN();
  CHECK(engine.ask<Failed>(what).code == Code::kInvalidArgument);
  what = generate("x", 5);
  what.sampling.logit_bias = {{static_cast<TokenId>(kFakeVocab), 1.0F}};
  CHECK(engine.ask<Failed>(what).code == Code::kInvalidArgument);
  what = generate("x", 5);
  what.stop = {""};
  CHECK(engine.ask<Failed>(what).code == Code::kInvalidArgument);
  what = generate("", 5);
  what.prompt.kind = Prompt::Kind::kTokens;
  what.prompt.tokens = {-1};
  CHECK(engine.ask<Failed>(what).code == Code::kInvalidArgument);
  CHECK(engine.ask<GenerateResult>(generate("x", 5)).usage.completion_tokens == 5);
}

TEST_CASE("scoring in chunks equals what generation saw, while others go on") {
  EngineHarness engine(FakeModelOptions{.max_context = 2000, .step_time = 500us});
  Generate what = generate("score this", 300);
  what.want_logprobs = true;
  what.logprobs = 3;
  const auto made = engine.ask<GenerateResult>(what);
  ScoreText score;
  score.prompt = "score this";
  score.tokens = made.tokens;
  score.has_tokens = true;
  score.top = 3;
  const auto other = engine.send(generate("meanwhile", 50));
  const auto scored = engine.ask<ScoreResult>(score);
  CHECK(engine.wait_for<GenerateResult>(other).usage.completion_tokens == 50);
  REQUIRE(scored.logprobs.size() == made.logprobs.size());
  for (size_t i = 0; i < scored.logprobs.size(); ++i) {
    REQUIRE(scored.logprobs[i] == made.logprobs[i].logprob);
    REQUIRE(scored.top[i] == made.logprobs[i].top);
  }
  CHECK(scored.top_last.size() == 3);
}

TEST_CASE("scoring beyond the context says by how much") {
  EngineHarness engine(FakeModelOptions{.max_context = 64});
  ScoreText score;
  score.text = std::string(64, 'x');
  const auto failed = engine.ask<Failed>(score);
  CHECK(failed.code == Code::kTooLarge);
  CHECK(failed.message.find("65") != std::string::npos);
}

TEST_CASE("unpolled events do not grow with the text") {
  EngineHarness engine;
  engine.ask<Ready>(Preload{});
  const auto id = engine.send(generate("x", 1000));
  while (engine.engine().metrics().in_flight > 0) std::this_thread::sleep_for(1ms);
  size_t events = 0;
  while (engine.next(1ms)) ++events;
  CHECK(events <= 3);  // progress, one joined delta, the result
  CHECK(engine.texts[id] == std::get<GenerateResult>(engine.finals.at(id)).text);
}

TEST_CASE("a generation that was parked goes on with the same tokens, from its kept pages") {
  const auto ask_low = [] {
    Generate low = generate(std::string(200, 'l') + "ow", 120);
    low.priority = Priority::kLow;
    low.ignore_eos = true;
    low.digest_logits = true;
    return low;
  };
  Generate high = generate(std::string(400, 'h'), 8);
  high.priority = Priority::kHigh;
  high.ignore_eos = true;
  // One place, and pages for little more than one context: the high prompt takes what the low one held.
  const EngineLimits limits{.max_sequences = 1};
  const FakeModelOptions options{.max_context = 512, .step_time = std::chrono::microseconds(500)};
  const bool keeps = GENERATE(true, false);
  EngineLimits here = limits;
  if (!keeps) here.max_parked_bytes = 0;
  EngineHarness alone(options, limits);
  const auto expected = alone.ask<GenerateResult>(ask_low());
  EngineHarness engine(options, here);
  const GenerationId first = engine.send(ask_low());
  while (engine.engine().metrics().completion_tokens < 5) engine.next(std::chrono::milliseconds(1));
  const GenerationId second = engine.send(high);
  const auto urgent = engine.wait_for<GenerateResult>(second);
  const auto low = engine.wait_for<GenerateResult>(first);
  CHECK(urgent.timings.parked == 0);
  CHECK(low.timings.parked == 1);
  CHECK(low.tokens == expected.tokens);
  CHECK(low.logit_digests == expected.logit_digests);
  // Computed: every token once, and again what no page held: less than one page, or everything so far.
  const uint64_t once = expected.usage.prompt_tokens + urgent.usage.prompt_tokens + 119 + 7;
  const uint64_t again = engine.engine().metrics().rows - engine.engine().metrics().guessed_tokens +
                         engine.engine().metrics().accepted_tokens - once;
  if (keeps) CHECK(again < kPageTokens);
  else CHECK(again >= 128);
}
