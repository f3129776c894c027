// Compressed contexts in the engine: what goes on behind one is the same whether its base is still there, comes from the
// disk or is made again, and what cannot be is refused. The fake model's rows remember where they were computed, so a
// row that was computed anew instead of moved shows.
#include <catch2/catch.hpp>

#include "tests/scheduler/engine_harness.h"
#include "tests/scheduler/map_blocks.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

struct Lab {
  std::shared_ptr<MapBlocks> blocks = std::make_shared<MapBlocks>();
  std::unique_ptr<EngineHarness> start(bool with_disk, FakeModelOptions options = {}) const {
    auto environment = std::make_unique<FakeEnvironment>(options);
    if (with_disk) environment->blocks = blocks;
    auto harness = std::make_unique<EngineHarness>(make_engine_pool(std::move(environment)));
    harness->key.model = "fake.gguf";
    return harness;
  }
};

std::vector<TokenId> letters(size_t count, uint32_t seed) {
  std::vector<TokenId> out(count);
  for (size_t i = 0; i < count; ++i) out[i] = static_cast<TokenId>('a' + (i * 7 + seed + i / 5) % 23);
  return out;
}

CompressContext compress(const std::vector<TokenId>& tokens, RowChoice choice) {
  CompressContext out;
  out.prompt.kind = Prompt::Kind::kTokens;
  out.prompt.in_session = true;
  out.prompt.history_tokens = tokens;
  out.choice = choice;
  out.cache_salt = "alice";
  out.cache_owner = "s_1";
  return out;
}

/// A context that is to be gone on with.
struct Context {
  std::vector<ContextStage> stages;
  std::vector<TokenId> tokens;
};

Context behind(const Context& before, const CompressResult& result) {
  Context out = before;
  out.stages.push_back({before.tokens, result.edit});
  out.tokens = result.kept;
  out.tokens.insert(out.tokens.end(), before.tokens.begin() + result.edit.source_tokens, before.tokens.end());
  return out;
}

Generate go_on(const Context& context, uint32_t tokens = 40) {
  Generate out = generate("", tokens);
  out.prompt.kind = Prompt::Kind::kTokens;
  out.prompt.in_session = true;
  out.prompt.history_tokens = context.tokens;
  out.prompt.history_stages = context.stages;
  out.digest_logits = true;
  out.cache_salt = "alice";
  out.cache_owner = "s_1";
  return out;
}

Context shortened(EngineHarness& harness, const Context& before, RowChoice choice, bool aged = false) {
  CompressContext command = compress(before.tokens, choice);
  command.prompt.history_stages = before.stages;
  command.aged = aged;
  return behind(before, harness.ask<CompressResult>(command));
}

constexpr RowChoice kHalf{.rule = KeepRule::kWindow, .source_tokens = 270, .kept_tokens = 128, .pinned = 4};

}  // namespace

TEST_CASE("a compressed context goes on the same from memory, from the disk and made again") {
  for (const bool aged : {false, true}) {
    Lab lab;
    const Context full{{}, letters(300, 1)};
    std::vector<uint64_t> digests;
    Context context;
    {
      const auto harness = lab.start(true);
      RowChoice choice = kHalf;
      if (aged) choice = {.rule = KeepRule::kAll, .source_tokens = 256, .kept_tokens = 256};
      context = shortened(*harness, full, choice, aged);
      CHECK(context.tokens.size() == (aged ? 300 : 158));
      const auto result = harness->ask<GenerateResult>(go_on(context));
      digests = result.logit_digests;
      CHECK(result.usage.cached_tokens == (aged ? 256 : 128));
      CHECK(result.loaded_tokens == 0);
      CHECK(result.usage.prompt_tokens == context.tokens.size());
      Context alone = context;
      alone.stages.clear();
      CHECK(harness->ask<GenerateResult>(go_on(alone)).logit_digests != digests);  // other rows, though the same tokens
    }
    const auto read = lab.start(true)->ask<GenerateResult>(go_on(context));
    CHECK(read.logit_digests == digests);
    CHECK(read.loaded_tokens >= (aged ? 256 : 128));
    const auto again = lab.start(false)->ask<GenerateResult>(go_on(context));
    CHECK(again.logit_digests == digests);
    CHECK(again.usage.cached_tokens == 0);
    lab.blocks->pages.begin()->second.resize(3);  // a damaged base is made again, and said
    for (auto& [key, page] : lab.blocks->pages) page.resize(3);
    const auto damaged = lab.start(true)->ask<GenerateResult>(go_on(context));
    CHECK(damaged.logit_digests == digests);
    CHECK(damaged.cache_note.find("damaged") != std::string::npos);
  }
}

TEST_CASE("a context compressed three times is made again from its beginning") {
  const bool in_place = GENERATE(false, true);
  Lab lab;
  Context context{{}, letters(400, 2)};
  std::vector<uint64_t> digests;
  {
    const auto harness = lab.start(false);
    context = shortened(*harness, context, {.rule = KeepRule::kWindow, .source_tokens = 380, .kept_tokens = 256, .in_place = in_place});
    for (const TokenId id : letters(130, 9)) context.tokens.push_back(id);
    context = shortened(*harness, context, {.rule = KeepRule::kRandom, .source_tokens = 390, .kept_tokens = 192, .seed = 5, .in_place = in_place});
    for (const TokenId id : letters(80, 3)) context.tokens.push_back(id);
    context = shortened(*harness, context, {.rule = KeepRule::kAll, .source_tokens = 256, .kept_tokens = 256}, true);
    digests = harness->ask<GenerateResult>(go_on(context)).logit_digests;
  }
  REQUIRE(context.stages.size() == 3);
  CHECK(context.stages[0].edit.in_place == in_place);
  CHECK_FALSE(context.stages[1].edit.in_place);  // its rows would end in the second half of the model's 1,024 positions
  CHECK(position_shift(std::span(context.stages).first(1)) == (in_place ? 380 - 256 : 0));
  const auto harness = lab.start(false);
  CHECK(harness->ask<GenerateResult>(go_on(context)).logit_digests == digests);
  const auto second = harness->ask<GenerateResult>(go_on(context));  // and now its base is there
  CHECK(second.logit_digests == digests);
  CHECK(second.usage.cached_tokens >= 256);
}

TEST_CASE("bases come and go with others in a small pool, and nothing changes") {
  FakeModelOptions small;
  small.max_context = 512;
  Lab lab;
  const auto alone = [&](uint32_t seed) {
    const auto harness = lab.start(false, small);
    const Context context = shortened(*harness, {{}, letters(300, seed)}, kHalf);
    return std::pair(context, harness->ask<GenerateResult>(go_on(context, 60)).logit_digests);
  };
  std::vector<std::pair<Context, std::vector<uint64_t>>> all;
  for (uint32_t seed = 0; seed < 12; ++seed) all.push_back(alone(seed));
  const auto harness = lab.start(false, small);
  for (int round = 0; round < 3; ++round) {
    std::vector<GenerationId> ids;
    for (const auto& [context, digests] : all) {
      ids.push_back(harness->send(go_on(context, 60)));
      ids.push_back(harness->send(go_on({{}, letters(450, static_cast<uint32_t>(ids.size()))}, 20)));
    }
    for (const size_t paused : {0U, 6U}) harness->send(Pause{ids[paused]});
    for (size_t i = 0; i < ids.size(); i += 2) {
      if (i == 0 || i == 6) harness->send(Resume{ids[i]});
      CHECK(harness->wait_for<GenerateResult>(ids[i]).logit_digests == all[i / 2].second);
    }
    for (size_t i = 1; i < ids.size(); i += 2) harness->wait(ids[i]);
  }
}

TEST_CASE("attention keeps what the question looks at") {
  Lab lab;
  const auto harness = lab.start(false);
  std::vector<TokenId> tokens(300, 'a');
  for (size_t i = 60; i < 70; ++i) tokens[i] = 'x';
  CompressContext command = compress(tokens, {.rule = KeepRule::kAttention, .source_tokens = 280, .kept_tokens = 64,
                                              .pinned = 4, .recent = 32});
  const auto result = harness->ask<CompressResult>(command);
  CHECK(std::count(result.kept.begin(), result.kept.end(), 'x') == 10);
  // The same where all of it is known already: who asks is computed again.
  const auto warm = lab.start(true);
  warm->ask<GenerateResult>(go_on({{}, tokens}, 90));
  CHECK(warm->ask<CompressResult>(command).edit == result.edit);
  CompareContexts known{.full = {{}, tokens}, .other = {{}, tokens}, .scored = 150, .cache_salt = "alice", .cache_owner = "s_1"};
  CHECK(warm->ask<CompareResult>(known).scored == 150);
  CHECK(lab.start(true)->ask<CompareResult>(known).scored == 150);  // and where it is on the disk
  CHECK(lab.start(true)->ask<CompressResult>(command).edit == result.edit);
  CHECK(result.kept.size() == 64);
  CHECK(result.kept_bytes < result.source_bytes);
  // With a question, its rows ask; there may be as many as fit.
  command.prompt.kind = Prompt::Kind::kMessages;
  command.prompt.messages = {{"user", "x?", ""}};
  FakeModelOptions chat;
  chat.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}";
  const auto chatting = lab.start(false, chat);
  command.prompt.history_text = "";
  CHECK(chatting->ask<CompressResult>(command).edit.rows == result.edit.rows);
}

TEST_CASE("rows that are at 4 bits already count as what they take") {
  Lab lab;
  const auto harness = lab.start(false);
  const Context full{{}, letters(400, 1)};
  CompressContext command = compress(full.tokens, {.rule = KeepRule::kAll, .source_tokens = 192, .kept_tokens = 192});
  command.aged = true;
  const auto first = harness->ask<CompressResult>(command);
  CHECK(first.kept_bytes < first.source_bytes);
  const Context aged = behind(full, first);
  command = compress(aged.tokens, {.rule = KeepRule::kAll, .source_tokens = 320, .kept_tokens = 320});
  command.prompt.history_stages = aged.stages;
  command.aged = true;
  CHECK(harness->ask<CompressResult>(command).source_bytes == first.kept_bytes + first.source_bytes / 192 * 128);
}

TEST_CASE("a comparison of a context with itself finds no difference, with another one does") {
  Lab lab;
  const auto harness = lab.start(false);
  const Context full{{}, letters(300, 3)};
  const Context half = shortened(*harness, full, kHalf);
  CompareContexts same{.full = {{}, full.tokens}, .other = {{}, full.tokens}, .scored = 20, .cache_salt = "alice", .cache_owner = {}};
  const auto equal = harness->ask<CompareResult>(same);
  CHECK(equal.scored == 20);
  CHECK(equal.nll_full == equal.nll_other);
  CHECK(equal.kl_mean == Approx(0.0).margin(1e-9));
  CHECK(equal.top1_agree == 1.0);
  CompareContexts other = same;
  other.other = {half.stages, half.tokens};
  const auto differs = harness->ask<CompareResult>(other);
  CHECK(differs.nll_full == equal.nll_full);
  CHECK(differs.nll_other != equal.nll_full);
  CHECK(differs.kl_mean > 0.01);
  CHECK(differs.kl_p95 >= differs.kl_mean);
  other.scored = 30;  // the base ends there: its last row is not computed, so nothing can be scored behind it
  CHECK(harness->ask<Failed>(other).code == Code::kInvalidArgument);
  other = same;
  other.other.tokens.back() = 'z';
  CHECK(harness->ask<Failed>(other).code == Code::kInvalidArgument);
}

TEST_CASE("what cannot be compressed is refused with the reason") {
  Lab lab;
  const auto tokens = letters(300, 4);
  const auto harness = lab.start(false);
  for (const RowChoice choice : {RowChoice{.source_tokens = 270, .kept_tokens = 100}, RowChoice{.source_tokens = 301, .kept_tokens = 64},
                                 RowChoice{.source_tokens = 64, .kept_tokens = 128}, RowChoice{.source_tokens = 270, .kept_tokens = 0},
                                 RowChoice{.source_tokens = 270, .kept_tokens = 64, .pinned = 60, .recent = 60}}) {
    CHECK(harness->ask<Failed>(compress(tokens, choice)).code == Code::kInvalidArgument);
  }
  // A context that lies about what was kept.
  Context lie = shortened(*harness, {{}, tokens}, kHalf);
  lie.tokens[5] = 'z';
  CHECK(harness->ask<Failed>(go_on(lie)).code == Code::kInvalidArgument);
  Context layers = shortened(*harness, {{}, tokens}, kHalf);
  layers.stages[0].edit.rows.push_back(layers.stages[0].edit.rows[0]);
  CHECK(harness->ask<Failed>(go_on(layers)).code == Code::kInvalidArgument);
  FakeModelOptions windowed;
  windowed.windows = {0, 100};
  CHECK(lab.start(false, windowed)->ask<Failed>(compress(tokens, kHalf)).code == Code::kUnsupported);
}

TEST_CASE("a compressed context is its owner's alone") {
  Lab lab;
  const auto harness = lab.start(true);
  const Context context = shortened(*harness, {{}, letters(300, 5)}, kHalf);
  ProbeCache probe{.tokens = context.tokens, .cache_salt = "alice", .stages = context.stages};
  CHECK(harness->ask<CacheResult>(probe).cached_tokens == 128);
  probe.cache_salt = "bob";
  CHECK(harness->ask<CacheResult>(probe).cached_tokens == 0);
  Generate bob = go_on(context);
  bob.cache_salt = "bob";
  bob.cache_owner = "s_2";
  CHECK(harness->ask<GenerateResult>(bob).loaded_tokens == 0);
}
