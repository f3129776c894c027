#include "core/engine/stop_matcher.h"

#include <catch2/catch.hpp>

#include <random>

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
