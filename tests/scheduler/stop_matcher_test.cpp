#include "core/engine/stop_matcher.h"

#include <catch2/catch.hpp>

#include <random>

#include "core/engine/text_assembler.h"
#include "tests/scheduler/fake_model.h"

using namespace kvasir;

namespace {

struct Outcome {
  std::string text;
  std::optional<std::string> stop;
  bool operator==(const Outcome&) const = default;
};

/// Feeds `text` in pieces of the given sizes (the last size repeats).
Outcome feed(const std::vector<std::string>& stops, std::string_view text, std::vector<size_t> sizes) {
  StopMatcher matcher(stops);
  Outcome out;
  for (size_t i = 0; !text.empty() && !matcher.matched(); ++i) {
    const size_t size = std::min(sizes[std::min(i, sizes.size() - 1)], text.size());
    out.text += matcher.push(text.substr(0, size));
    text.remove_prefix(size);
  }
  if (!matcher.matched()) out.text += matcher.flush();
  out.stop = matcher.matched();
  return out;
}

/// The definition, naively: the first end of any stop string; of those that end there the longest.
Outcome by_definition(const std::vector<std::string>& stops, const std::string& text) {
  for (size_t end = 1; end <= text.size(); ++end) {
    std::optional<std::string> longest;
    for (const std::string& stop : stops) {
      if (text.substr(0, end).ends_with(stop) && (!longest || stop.size() > longest->size())) longest = stop;
    }
    if (longest) return {text.substr(0, end - longest->size()), longest};
  }
  return {text, std::nullopt};
}

}  // namespace

TEST_CASE("a stop string ends the text before itself, however the text is cut") {
  for (size_t size = 1; size < 8; ++size) {
    CHECK(feed({"\nUser:"}, "Hello.\nUser: hi", {size}) == Outcome{"Hello.", "\nUser:"});
  }
}

TEST_CASE("what may become a stop string is held back and comes when it does not") {
  StopMatcher matcher({"STOP"});
  CHECK(matcher.push("abST") == "ab");
  CHECK(matcher.push("O") == "");
  CHECK(matcher.push("x") == "STOx");
  CHECK(matcher.push("S") == "");
  CHECK(matcher.flush() == "S");
  CHECK_FALSE(matcher.matched());
}

TEST_CASE("the stop that completes first wins, of two that complete together the longer") {
  CHECK(feed({"ab", "abc"}, "xabc", {4}) == Outcome{"x", "ab"});
  CHECK(feed({"bc", "abc"}, "xabc", {4}) == Outcome{"x", "abc"});
  CHECK(feed({"aab"}, "aaab", {1}) == Outcome{"a", "aab"});
}

TEST_CASE("nothing comes after a match") {
  StopMatcher matcher({"."});
  CHECK(matcher.push("a.b") == "a");
  CHECK(matcher.push("c") == "");
  CHECK(matcher.flush() == "");
}

TEST_CASE("random texts and stops agree with the definition for every way to cut them") {
  std::mt19937 random(7);
  const auto letters = [&](size_t most) {
    std::string out(1 + random() % most, ' ');
    for (char& c : out) c = static_cast<char>('a' + random() % 2);
    return out;
  };
  for (int i = 0; i < 3000; ++i) {
    std::vector<std::string> stops;
    for (size_t n = 1 + random() % 3; n > 0; --n) stops.push_back(letters(6));
    const std::string text = letters(24);
    std::vector<size_t> sizes;
    for (int n = 0; n < 8; ++n) sizes.push_back(1 + random() % 5);
    INFO("text " << text << " first stop " << stops[0]);
    REQUIRE(feed(stops, text, sizes) == by_definition(stops, text));
  }
}

TEST_CASE("a held-back text is never half a code point") {
  StopMatcher matcher({"\xC3\xA9!"});  // é!
  CHECK(matcher.push("caf\xC3\xA9") == "caf");
  CHECK(matcher.push("?") == "\xC3\xA9?");
  CHECK(matcher.push("\xC3\xA8") == "\xC3\xA8");  // è begins with the same byte and is not held
}

TEST_CASE("tokens that are parts of a code point come out whole") {
  const test::FakeTokenizer tokenizer;
  TextAssembler text(tokenizer, {});
  CHECK(text.push(0xF0) == "");
  CHECK(text.push(0x9F) == "");
  CHECK(text.push(0x98) == "");
  CHECK(text.push(0x80) == "\xF0\x9F\x98\x80");
  CHECK(text.push(0xE2) == "");
  CHECK(text.finish() == "\xEF\xBF\xBD");
}

TEST_CASE("a thought is told apart from the answer, and stop strings look at the answer only") {
  const test::FakeTokenizer tokenizer;
  TextAssembler text(tokenizer, {.stops = {"x"}, .reasoning = find_reasoning_tags(tokenizer, nullptr)});
  std::string out;
  const auto push_all = [&](std::string_view bytes) {
    for (const char c : bytes) out += text.push(static_cast<unsigned char>(c));
  };
  push_all("\n");
  out += text.push(test::kFakeThink);
  push_all("\n why x? \n");
  out += text.push(test::kFakeThinkEnd);
  push_all("\n\nbecause x");
  CHECK(out + text.finish() == "\nbecause ");
  CHECK(text.reasoning() == "why x?");
  CHECK(text.stop_sequence() == "x");
}

TEST_CASE("a thought that the prompt opened is reasoning from the first token, also when it never ends") {
  const test::FakeTokenizer tokenizer;
  TextAssembler text(tokenizer, {.stops = {}, .reasoning = find_reasoning_tags(tokenizer, nullptr), .starts_in_reasoning = true});
  CHECK(text.push('h') == "");
  CHECK(text.push('m') == "");
  CHECK(text.finish() == "");
  CHECK(text.reasoning() == "hm");
}

TEST_CASE("tags of several tokens are found across any split, and what only looks like one is text") {
  const test::FakeTokenizer tokenizer;
  const auto say = [&](std::string_view bytes, bool starts_in_reasoning = false) {
    TextAssembler text(tokenizer, {.stops = {"x"}, .reasoning = ReasoningTags{"[THINK]", "[/THINK]"}, .starts_in_reasoning = starts_in_reasoning});
    std::string out;
    for (const char c : bytes) out += text.push(static_cast<unsigned char>(c));
    out += text.finish();
    return text.reasoning().value_or("-") + "|" + out;
  };
  CHECK(say("[THINK]a [/THIN b\xC3\xA9[/THINK]\n\nc") == "a [/THIN b\xC3\xA9|c");
  CHECK(say(" [THINK][/THINK]c") == "| c");
  CHECK(say("[THI c") == "-|[THI c");
  CHECK(say("[THI") == "-|[THI");
  CHECK(say("a [THINK]b") == "-|a [THINK]b");
  CHECK(say("hm x[/THINK]ok x", true) == "hm x|ok ");
  CHECK(say("hm [/THIN", true) == "hm [/THIN|");
}

TEST_CASE("without a thought there is no reasoning") {
  const test::FakeTokenizer tokenizer;
  TextAssembler text(tokenizer, {.stops = {}, .reasoning = find_reasoning_tags(tokenizer, nullptr)});
  CHECK(text.push('o') == "o");
  CHECK(text.push('k') == "k");
  CHECK_FALSE(text.reasoning());
}
