// A session's turns through the engine: stored ids are continued and never made again, what replaces them is said, and
// overflow policies remove only what they name.
#include <catch2/catch.hpp>

#include "sessions/turn_builder.h"
#include "tests/scheduler/engine_harness.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

constexpr const char* kTemplate =
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}[assistant]{% "
    "endif %}";

FakeModelOptions with_template(const char* source = kTemplate) {
  FakeModelOptions options;
  options.chat_template = source;
  return options;
}

/// A session without a store: turns as they would be stored.
struct Talk {
  EngineHarness& harness;
  std::vector<Turn> turns;
  OverflowPolicy overflow = OverflowPolicy::kError;

  Generate request(const std::string& text, uint32_t max_tokens) const {
    std::vector<ChatMessage> added;
    if (!text.empty()) added.push_back({"user", text, ""});
    Generate out;
    out.prompt = session_prompt(turns, added);
    out.max_tokens = max_tokens;
    out.sampling.temperature = 0.0F;
    out.overflow = overflow;
    return out;
  }
  GenerateResult say(const std::string& text, uint32_t max_tokens = 8) {
    auto result = harness.ask<GenerateResult>(request(text, max_tokens));
    keep(text, result);
    return result;
  }
  void keep(const std::string& text, const GenerateResult& result) {
    std::vector<ChatMessage> added;
    if (!text.empty()) added.push_back({"user", text, ""});
    for (auto& turn : answered_turns(turns, added, result, "")) turns.push_back(std::move(turn));
  }
};

std::string text_of(const std::vector<TokenId>& tokens) {
  std::string out;
  for (const TokenId id : tokens) {
    if (id < 256) out += static_cast<char>(id);
  }
  return out;
}

}  // namespace

TEST_CASE("a second turn begins with the first one's ids, and its pages are not computed again") {
  EngineHarness harness(with_template());
  Talk talk{harness, {}};
  const auto first = talk.say(std::string(200, 'x'), 20);
  CHECK(first.context_text == "[user]" + std::string(200, 'x') + "\n[assistant]");
  CHECK(first.tokens_in_context == 20);
  CHECK_FALSE(first.history_rewritten);
  const auto second = talk.say("more", 4);
  CHECK_FALSE(second.history_rewritten);
  CHECK(std::equal(first.context_tokens.begin(), first.context_tokens.end(), second.context_tokens.begin()));
  CHECK(second.context_text.starts_with(first.context_text + first.answer_text));
  CHECK(second.usage.cached_tokens == (first.context_tokens.size() - 1) / kPageTokens * kPageTokens);
  CHECK(second.usage.prompt_tokens + second.tokens_in_context == second.context_tokens.size());
  CHECK(context_tokens(talk.turns) == second.context_tokens);
  CHECK(context_text(talk.turns) == second.context_text + second.answer_text);
}

TEST_CASE("without a prompt the answer goes on exactly where it stopped") {
  EngineHarness harness(with_template());
  Talk whole{harness, {}};
  Talk halves{harness, {}};
  const auto all = whole.say("tell", 12);
  const auto one = halves.say("tell", 5);
  const auto two = halves.say("", 7);
  CHECK(one.text + two.text == all.text);
  CHECK(context_tokens(halves.turns) == context_tokens(whole.turns));
}

TEST_CASE("a template that writes history differently makes new ids and says so") {
  EngineHarness harness(
      with_template("{% for m in messages %}[{{ m.role }}{{ loop.last }}]{{ m.content }}{% endfor %}>"));
  Talk talk{harness, {}};
  talk.say("one");
  const auto second = talk.say("two");
  CHECK(second.history_rewritten);
  CHECK_FALSE(second.history_note.empty());
  CHECK(context_tokens(talk.turns) == second.context_tokens);
}

TEST_CASE("another model's ids are not used, and cannot go on without a prompt") {
  EngineHarness harness(with_template());
  Talk talk{harness, {}};
  const auto first = talk.say("one");
  CHECK_FALSE(first.fingerprint.empty());
  Generate other = talk.request("two", 4);
  other.prompt.history_model = "another";
  const auto second = harness.ask<GenerateResult>(other);
  CHECK(second.history_rewritten);
  CHECK(text_of(second.context_tokens).starts_with("[user]one\n[assistant]" + first.text));
  Generate on = talk.request("", 4);
  on.prompt.history_model = "another";
  CHECK(harness.ask<Failed>(on).code == Code::kInvalidArgument);
}

TEST_CASE("a stop string stays out of the session's context") {
  EngineHarness harness(with_template());
  Talk talk{harness, {}};
  const auto free = harness.ask<GenerateResult>(talk.request("hello", 16));
  Generate stopped = talk.request("hello", 16);
  stopped.stop = {free.text.substr(6, 3)};
  const auto result = harness.ask<GenerateResult>(stopped);
  REQUIRE(result.stop_sequence);
  CHECK(result.answer_text == result.text);
  CHECK(text_of(result.context_tokens) == result.context_text + result.text);
  talk.keep("hello", result);
  CHECK_FALSE(talk.say("on").history_rewritten);
}

TEST_CASE("overflow error says the numbers and removes nothing") {
  FakeModelOptions options = with_template();
  options.max_context = 256;
  EngineHarness harness(options);
  Talk talk{harness, {}};
  const auto failed = harness.ask<Failed>(talk.request(std::string(300, 'x'), 8));
  CHECK(failed.code == Code::kTooLarge);
  CHECK(failed.message.find("256") != std::string::npos);
}

TEST_CASE("truncate_oldest removes whole turns, never the system message, and the next turn goes on from there") {
  FakeModelOptions options = with_template();
  options.max_context = 256;
  EngineHarness harness(options);
  Talk talk{harness, {}, OverflowPolicy::kTruncateOldest};
  Turn system;
  system.role = "system";
  system.content = "be kind";
  talk.turns.push_back(system);
  std::optional<Truncated> removed;
  GenerateResult result;
  for (int i = 0; i < 12 && !removed; ++i) {
    result = talk.say("question number " + std::to_string(i), 16);
    removed = result.truncated;
  }
  REQUIRE(removed);
  CHECK(removed->policy == OverflowPolicy::kTruncateOldest);
  CHECK(removed->removed_messages >= 2);
  CHECK(removed->removed_tokens > 0);
  CHECK(result.history_rewritten);
  CHECK(text_of(result.context_tokens).starts_with("[system]be kind\n[user]question number"));
  CHECK(context_tokens(talk.turns) == result.context_tokens);
  const auto next = talk.say("x", 1);
  CHECK_FALSE(next.truncated);
  CHECK(std::equal(result.context_tokens.begin(), result.context_tokens.end(), next.context_tokens.begin()));
}

TEST_CASE("sliding_window keeps the beginning and the newest tokens, and slides on in the same session") {
  FakeModelOptions options = with_template();
  options.max_context = 512;
  EngineHarness harness(options);
  Talk talk{harness, {}, OverflowPolicy::kSlidingWindow};
  int slides = 0;
  for (int i = 0; i < 60; ++i) {
    const auto before = context_tokens(talk.turns);
    const auto result = talk.say("question number " + std::to_string(i), 12);
    CHECK(result.context_tokens.size() <= 512);
    CHECK(text_of(result.context_tokens).starts_with("[us"));
    CHECK(text_of(result.context_tokens).find("question number " + std::to_string(i)) != std::string::npos);
    if (!result.truncated) continue;
    ++slides;
    CHECK(result.truncated->removed_tokens > 0);
    CHECK(result.history_rewritten);
  }
  CHECK(slides > 2);
  CHECK(slides < 45);
}

TEST_CASE("what no policy makes fit is refused with the reason") {
  FakeModelOptions options = with_template();
  options.max_context = 128;
  EngineHarness harness(options);
  Talk talk{harness, {}, OverflowPolicy::kTruncateOldest};
  CHECK(harness.ask<Failed>(talk.request(std::string(300, 'x'), 8)).code == Code::kTooLarge);
  Generate raw = generate(std::string(300, 'x'), 8);
  raw.overflow = OverflowPolicy::kTruncateOldest;
  CHECK(harness.ask<Failed>(raw).code == Code::kInvalidArgument);
  raw.overflow = OverflowPolicy::kSlidingWindow;
  CHECK(harness.ask<GenerateResult>(raw).truncated->removed_tokens > 170);
  raw.overflow = OverflowPolicy::kCompress;
  CHECK(harness.ask<Failed>(raw).code == Code::kTooLarge);  // whoever keeps the session compresses it and asks again
}

TEST_CASE("another salt sees nothing of what was cached") {
  EngineHarness harness(with_template());
  Generate request = generate(std::string(200, 'y'), 2);
  request.cache_salt = "alice";
  harness.ask<GenerateResult>(request);
  CHECK(harness.ask<GenerateResult>(request).usage.cached_tokens == 192);
  ProbeCache probe;
  probe.tokens = {kFakeBos};
  probe.tokens.insert(probe.tokens.end(), 200, 'y');
  probe.cache_salt = "alice";
  CHECK(harness.ask<CacheResult>(probe).cached_tokens == 192);
  probe.cache_salt = "bob";
  CHECK(harness.ask<CacheResult>(probe).cached_tokens == 0);
  request.cache_salt = "bob";
  CHECK(harness.ask<GenerateResult>(request).usage.cached_tokens == 0);
}

TEST_CASE("a cache probe loads nothing") {
  EngineHarness harness(with_template());
  ProbeCache probe;
  probe.tokens.assign(100, 'y');
  const auto result = harness.ask<CacheResult>(probe);
  CHECK_FALSE(result.loaded);
  CHECK(result.cached_tokens == 0);
}
