#include "core/text/utf8_stream.h"

#include <catch2/catch.hpp>
#include <string>

namespace kvasir {
namespace {

const std::string kMixed = "a\xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80z";  // one to four bytes

TEST_CASE("a stream cut at any byte gives whole code points and the same text") {
  for (size_t cut = 0; cut <= kMixed.size(); ++cut) {
    Utf8Stream stream;
    const std::string first = stream.push(std::string_view(kMixed).substr(0, cut));
    CHECK(is_valid_utf8(first));
    const std::string second = stream.push(std::string_view(kMixed).substr(cut));
    CHECK(is_valid_utf8(second));
    CHECK(first + second + stream.flush() == kMixed);
    CHECK(stream.empty());
  }
}

TEST_CASE("a stream fed byte by byte gives the same text") {
  Utf8Stream stream;
  std::string out;
  for (const char c : kMixed) {
    out += stream.push({&c, 1});
    CHECK(is_valid_utf8(out));
  }
  CHECK(out == kMixed);
}

TEST_CASE("ill-formed bytes become one U+FFFD per maximal subsequence") {
  const std::string r = "\xEF\xBF\xBD";
  struct Row {
    std::string in, out;
  };
  // The first three rows are the examples of Unicode 15, tables 3-8 to 3-11.
  const Row rows[] = {
      {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", r + r + r + r + r + r + r + r + "A"},
      {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", r + r + r + r + r + r + r + r + "A"},
      {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", r + r + r + r + "A"},
      {"\x80"
       "a",
       r + "a"},
      {"\xF5\x80\x80\x80", r + r + r + r},
      {"\xF4\x90\x80\x80", r + r + r + r},
      {"\xE4\xBD", r},
      {"\xF0\x9F\x98", r},
  };
  for (const Row& row : rows) {
    CHECK(to_valid_utf8(row.in) == row.out);
    CHECK_FALSE(is_valid_utf8(row.in));
    CHECK(is_valid_utf8(row.out));
    Utf8Stream stream;  // the same, whatever the cut
    std::string out;
    for (const char c : row.in) out += stream.push({&c, 1});
    CHECK(out + stream.flush() == row.out);
  }
}

TEST_CASE("a held-back beginning that is never finished becomes U+FFFD at the end") {
  Utf8Stream stream;
  CHECK(stream.push("ab\xF0\x9F").empty() == false);
  CHECK_FALSE(stream.empty());
  CHECK(stream.flush() == "\xEF\xBF\xBD");
  CHECK(stream.empty());
  CHECK(stream.flush().empty());
}

TEST_CASE("valid text of every length of code point is left alone") {
  for (const char* text : {"", "\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
                           "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    CHECK(is_valid_utf8(text));
    CHECK(to_valid_utf8(text) == text);
  }
}

}  // namespace
}  // namespace kvasir
