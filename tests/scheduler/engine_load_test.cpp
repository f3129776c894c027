// Models come and go: lazily, with progress, within memory, and never at the cost of an answer.
#include <catch2/catch.hpp>

#include <thread>

#include "tests/scheduler/engine_harness.h"

using namespace kvasir;
using namespace kvasir::test;
using namespace std::chrono_literals;

namespace {

/// A harness whose environment the test can reach.
struct World {
  explicit World(const FakeModelOptions& options = {}, const EngineLimits& limits = {}) {
    auto owned = std::make_unique<FakeEnvironment>(options);
    environment = owned.get();
    engine = std::make_unique<EngineHarness>(make_engine_pool(std::move(owned), limits));
  }
  FakeEnvironment* environment;
  std::unique_ptr<EngineHarness> engine;
};

}  // namespace

TEST_CASE("text work and model info need no load; they say that nothing is loaded") {
  World world;
  EngineHarness& engine = *world.engine;
  const auto info = engine.ask<ModelInfoResult>(ModelInfo{});
  CHECK_FALSE(info.loaded);
  CHECK(info.context == 1024);
  CHECK(info.backend.name == "fake");
  CHECK(info.probes.size() == 1);
  CHECK(info.default_sampling.top_k == 30);
  CountTokens count;
  count.prompt.kind = Prompt::Kind::kText;
  count.prompt.text = "four";
  CHECK(engine.ask<CountResult>(count).tokens == 4);
  CHECK(engine.ask<TokenizeResult>(Tokenize{.text = "ab", .add_special = true, .pieces = true}).pieces ==
        std::vector<std::string>{"<s>", "a", "b"});
  CHECK(engine.ask<DetokenizeResult>(Detokenize{.tokens = {'h', 'i', 0xC3}}).text == "hi\xEF\xBF\xBD");
  CHECK(engine.ask<Failed>(Detokenize{.tokens = {-5}}).code == Code::kInvalidArgument);
  CHECK(world.environment->loads == 0);
  engine.ask<Ready>(Preload{});
  const auto loaded = engine.ask<ModelInfoResult>(ModelInfo{});
  CHECK(loaded.loaded);
  CHECK(loaded.memory.kv_total_pages > 0);
  CHECK(loaded.memory.kv_free_pages == loaded.memory.kv_total_pages);
  CHECK(engine.ask<CountResult>(count).tokens == 4);
}

TEST_CASE("a load reports percent, and others get answers meanwhile") {
  World world(FakeModelOptions{.load_time = 600ms});
  EngineHarness& engine = *world.engine;
  const auto id = engine.send(generate("x", 5));
  CHECK(engine.ask<TokenizeResult>(Tokenize{.text = "abc"}).tokens.size() == 3);
  CHECK_FALSE(engine.ask<ModelInfoResult>(ModelInfo{}).loaded);
  CHECK_FALSE(engine.finals.contains(id));
  const auto result = engine.wait_for<GenerateResult>(id);
  CHECK(result.timings.load_ms > 300);
  size_t loading = 0;
  uint64_t last = 0;
  for (const Progress& step : engine.progress[id]) {
    if (step.phase != Phase::kLoading) continue;
    ++loading;
    CHECK(step.done >= last);
    CHECK(step.total == 100);
    last = step.done;
  }
  CHECK(loading >= 3);
  CHECK(world.environment->loads == 1);
}

TEST_CASE("a model that cannot be loaded fails every waiting command with the file's name") {
  World world;
  EngineHarness& engine = *world.engine;
  engine.key.model = "/models/missing.gguf";
  const auto a = engine.send(generate("x", 5));
  const auto b = engine.send(Preload{});
  for (const auto id : {a, b}) {
    const auto failed = engine.wait_for<Failed>(id);
    CHECK(failed.code == Code::kNotFound);
    CHECK(failed.message.find("missing.gguf") != std::string::npos);
  }
  CHECK(engine.ask<Failed>(ModelInfo{}).code == Code::kNotFound);
  CHECK(engine.ask<Failed>(Tokenize{.text = "x"}).code == Code::kNotFound);
  engine.key.model = "good.gguf";
  CHECK(engine.ask<GenerateResult>(generate("x", 5)).usage.completion_tokens == 5);
}

TEST_CASE("a forced backend that cannot run is an error with its reason") {
  World world;
  EngineHarness& engine = *world.engine;
  engine.key.backend = "cuda";
  const auto failed = engine.ask<Failed>(generate("x", 5));
  CHECK(failed.code == Code::kUnavailable);
  CHECK(failed.message.find("no driver") != std::string::npos);
  CHECK(engine.ask<ModelInfoResult>(ModelInfo{}).backend.reason.find("no driver") != std::string::npos);
}

TEST_CASE("when memory is short the least recently used idle model goes, never a busy one") {
  World world(FakeModelOptions{.step_time = 1ms}, {.max_loaded_models = 2});
  EngineHarness& engine = *world.engine;
  engine.key.model = "a";
  engine.ask<Ready>(Preload{});
  engine.key.model = "b";
  const auto busy = engine.send(generate("x", 1000));
  engine.wait_for_text(busy);
  engine.key.model = "c";
  engine.ask<Ready>(Preload{});  // "a" had to go
  CHECK(engine.engine().metrics().loaded_models == 2);
  CHECK_FALSE(engine.finals.contains(busy));
  const auto busy_too = engine.send(generate("x", 1000));
  engine.wait_for_text(busy_too);
  engine.key.model = "d";
  const auto refused = engine.ask<Failed>(Preload{});
  CHECK(refused.code == Code::kBusy);
  CHECK(refused.retry_after_ms > 0);
  for (const auto id : {busy, busy_too}) engine.send(Cancel{id});
  for (const auto id : {busy, busy_too}) engine.wait(id);
  engine.ask<Ready>(Preload{});
}

TEST_CASE("too little memory is refused before the load, with numbers") {
  World world;
  world.environment->memory = 1 << 20;
  const auto failed = world.engine->ask<Failed>(generate("x", 5));
  CHECK(failed.code == Code::kUnavailable);
  CHECK(failed.message.find("MiB") != std::string::npos);
  CHECK(world.environment->loads == 0);
}

TEST_CASE("a small memory makes a smaller context and says why") {
  World world(FakeModelOptions{.max_context = 1 << 20});
  world.environment->memory = 256 << 20;  // a quarter of it is 64 MiB, at 256 bytes per token
  world.engine->ask<Ready>(Preload{});
  const auto info = world.engine->ask<ModelInfoResult>(ModelInfo{});
  CHECK(info.context == (64U << 20) / 256);
  CHECK(info.context_reason.find("memory") == 0);
}

TEST_CASE("a device with memory of its own decides the context") {
  World world(FakeModelOptions{.max_context = 1 << 20});
  world.environment->device_memory = 128 << 20;  // the host has 8 GiB
  world.engine->ask<Ready>(Preload{});
  const auto info = world.engine->ask<ModelInfoResult>(ModelInfo{});
  CHECK(info.context == (32U << 20) / 256);
  CHECK(info.backend.name == "fake-device");
}

TEST_CASE("a device that is too small leaves an automatic choice to the CPU, says so, and fails a forced one") {
  for (const bool known_before : {true, false}) {  // by the plan, or only when the load fails
    World world;
    world.environment->device_memory = known_before ? 1000 : 32 << 20;
    const std::string why = known_before ? "no layer fits on the GPU" : "out of device memory";
    CHECK(world.engine->ask<GenerateResult>(generate("x", 5)).usage.completion_tokens == 5);
    const auto info = world.engine->ask<ModelInfoResult>(ModelInfo{});
    CHECK(info.backend.name == "fake");
    CHECK(info.gpu_layers == 0);
    CHECK_THAT(info.backend.reason, Catch::Contains("fake-device was not taken: " + why));
    world.engine->key.backend = "fake";
    const auto failed = world.engine->ask<Failed>(generate("x", 5));
    CHECK(failed.code == Code::kTooLarge);
    CHECK_THAT(failed.message, Catch::Contains(why));
  }
}

TEST_CASE("an idle model is unloaded and comes back when asked") {
  World world({}, {.idle_unload_ms = 50});
  EngineHarness& engine = *world.engine;
  const auto first = engine.ask<GenerateResult>(generate("x", 5));
  for (int i = 0; engine.engine().metrics().loaded_models > 0; ++i) {
    REQUIRE(i < 2000);
    std::this_thread::sleep_for(5ms);
  }
  CHECK(engine.ask<GenerateResult>(generate("x", 5)).tokens == first.tokens);
  CHECK(world.environment->loads == 2);
}

TEST_CASE("a load that nobody waits for any more stops, and the next command starts another") {
  World world(FakeModelOptions{.load_time = 2000ms});
  EngineHarness& engine = *world.engine;
  const auto gone = engine.send(generate("x", 5));
  std::this_thread::sleep_for(50ms);
  engine.send(Cancel{gone});
  CHECK(engine.wait_for<GenerateResult>(gone).finish_reason == FinishReason::kCancelled);
  const auto began = std::chrono::steady_clock::now();
  engine.engine().shutdown();
  CHECK(std::chrono::steady_clock::now() - began < 1500ms);
  CHECK(world.environment->loads == 0);
}

TEST_CASE("engines of different keys answer side by side") {
  World world;
  EngineHarness& engine = *world.engine;
  std::vector<std::pair<GenerationId, std::string>> sent;
  for (int i = 0; i < 12; ++i) {
    engine.key.model = i % 2 == 0 ? "even" : "odd";
    sent.emplace_back(engine.send(generate("same prompt", 20)), engine.key.model);
  }
  std::map<std::string, std::vector<TokenId>> tokens;
  for (const auto& [id, model] : sent) {
    const auto result = engine.wait_for<GenerateResult>(id);
    auto& expected = tokens.try_emplace(model, result.tokens).first->second;
    CHECK(result.tokens == expected);
  }
  CHECK(world.environment->loads == 2);
}

TEST_CASE("many keys do not keep many threads") {
  World world({}, {.max_loaded_models = 2, .idle_unload_ms = 20});
  EngineHarness& engine = *world.engine;
  for (int i = 0; i < 40; ++i) {
    engine.key.model = "m" + std::to_string(i);
    CHECK(engine.ask<TokenizeResult>(Tokenize{.text = "ab"}).tokens.size() == 2);
  }
  CHECK(engine.ask<GenerateResult>(generate("x", 2)).usage.completion_tokens == 2);
}
