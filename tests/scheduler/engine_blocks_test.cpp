// Pages of sessions that outlive the engine: read back they give the same tokens; damaged ones are computed again and
// said; what is no session's never gets there.
#include <catch2/catch.hpp>

#include "tests/scheduler/engine_harness.h"
#include "tests/scheduler/map_blocks.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

struct Lab {
  std::shared_ptr<MapBlocks> blocks = std::make_shared<MapBlocks>();
  std::unique_ptr<EngineHarness> start(const std::string& path = "fake.gguf", FakeModelOptions options = {}) const {
    auto environment = std::make_unique<FakeEnvironment>(options);
    environment->blocks = blocks;
    auto harness = std::make_unique<EngineHarness>(make_engine_pool(std::move(environment)));
    harness->key.model = path;
    return harness;
  }
};

Generate session(const std::string& text, uint32_t tokens = 80) {
  Generate out = generate(text, tokens);
  out.cache_owner = "s_1";
  out.cache_salt = "alice";
  return out;
}

}  // namespace

TEST_CASE("a new engine reads a session's pages and says the same") {
  Lab lab;
  const std::string text(150, 'q');
  const auto first = lab.start()->ask<GenerateResult>(session(text));
  CHECK(first.loaded_tokens == 0);
  CHECK(lab.blocks->pages.size() == (151 + 79) / kPageTokens + 1);  // and one that has begun
  const auto second = lab.start()->ask<GenerateResult>(session(text));
  CHECK(second.tokens == first.tokens);
  CHECK(second.loaded_tokens == 128);
  CHECK(second.usage.cached_tokens == 128);
  CHECK(lab.blocks->owners.begin()->second == "s_1");
}

TEST_CASE("a turn goes on from inside the page where the last one ended") {
  Lab lab;
  const auto first = lab.start()->ask<GenerateResult>(session(std::string(150, 'q'), 20));
  REQUIRE(first.tokens.size() == 20);
  Generate next = session("", 10);
  next.prompt.kind = Prompt::Kind::kTokens;
  next.prompt.tokens = {kFakeBos};
  next.prompt.tokens.insert(next.prompt.tokens.end(), 150, 'q');
  next.prompt.tokens.insert(next.prompt.tokens.end(), first.tokens.begin(), first.tokens.end());
  for (const TokenId id : {'m', 'o', 'r', 'e'}) next.prompt.tokens.push_back(id);
  const auto harness = lab.start();
  const auto second = harness->ask<GenerateResult>(next);
  CHECK(second.loaded_tokens == 151 + 19);  // what had KV when the turn ended
  CHECK(second.usage.cached_tokens == second.loaded_tokens);
  CHECK(second.tokens == EngineHarness().ask<GenerateResult>(next).tokens);
}

TEST_CASE("pages in memory are not read again, and what was read serves others") {
  Lab lab;
  const std::string text(300, 'q');
  lab.start()->ask<GenerateResult>(session(text, 1));
  const auto harness = lab.start();
  harness->ask<GenerateResult>(session(text, 1));
  const int loads = lab.blocks->loads;
  CHECK(loads == 4);
  const auto again = harness->ask<GenerateResult>(session(text, 1));
  CHECK(again.usage.cached_tokens == 256);
  CHECK(again.loaded_tokens == 0);
  CHECK(lab.blocks->loads == loads);
}

TEST_CASE("a damaged page and what comes behind it is computed again, and said") {
  Lab lab;
  const std::string text(300, 'q');
  const auto first = lab.start()->ask<GenerateResult>(session(text));
  auto third = std::next(lab.blocks->pages.begin(), 2);
  third->second.resize(3);
  const auto second = lab.start()->ask<GenerateResult>(session(text));
  CHECK(second.tokens == first.tokens);
  CHECK(second.loaded_tokens == 128);
  CHECK(second.cache_note.find("damaged") != std::string::npos);
}

TEST_CASE("another model, another principal and no session find nothing") {
  Lab lab;
  const std::string text(150, 'q');
  lab.start()->ask<GenerateResult>(session(text, 1));
  CHECK(lab.start("other.gguf")->ask<GenerateResult>(session(text, 1)).loaded_tokens == 0);
  Generate bob = session(text, 1);
  bob.cache_salt = "bob";
  CHECK(lab.start()->ask<GenerateResult>(bob).loaded_tokens == 0);
  const size_t pages = lab.blocks->pages.size();
  Generate nobody = generate(std::string(200, 'z'), 1);
  CHECK(lab.start()->ask<GenerateResult>(nobody).loaded_tokens == 0);
  CHECK(lab.blocks->pages.size() == pages);
}

TEST_CASE("where KV depends on its path no page is kept") {
  Lab lab;
  FakeModelOptions windowed;
  windowed.windows = {0, 100};
  lab.start("fake.gguf", windowed)->ask<GenerateResult>(session(std::string(200, 'q'), 1));
  CHECK(lab.blocks->pages.empty());
}
