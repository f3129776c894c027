// Pages of sessions that outlive the engine: read back they give the same tokens; damaged ones are computed again and
// said; what is no session's never gets there.
#include <catch2/catch.hpp>
#include <map>
#include <mutex>

#include "core/engine/kv_block_store.h"
#include "tests/scheduler/engine_harness.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

class MapBlocks final : public KvBlockStore {
 public:
  std::string root(std::string_view identity) override { return std::string(identity); }
  std::string next(const std::string& parent, std::span<const TokenId> tokens) override {
    std::string key = parent + '/';
    for (const TokenId id : tokens) key += std::to_string(id) + ',';
    return key;
  }
  bool contains(const std::string& key) override {
    const std::lock_guard lock(mutex_);
    return pages.contains(key);
  }
  Result<void> load(const std::string& key, std::span<std::byte> into) override {
    const std::lock_guard lock(mutex_);
    const auto found = pages.find(key);
    if (found == pages.end()) return Failure{Code::kNotFound, "not here"};
    if (found->second.size() != into.size()) return Failure{Code::kCorrupt, "a stored block of KV was damaged"};
    std::ranges::copy(found->second, into.begin());
    ++loads;
    return {};
  }
  void save(const std::string& owner, const std::string& key, std::vector<std::byte> bytes) override {
    const std::lock_guard lock(mutex_);
    owners[key] = owner;
    if (!bytes.empty()) pages[key] = std::move(bytes);
  }

  std::map<std::string, std::vector<std::byte>> pages;
  std::map<std::string, std::string> owners;
  int loads = 0;

 private:
  std::mutex mutex_;
};

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
