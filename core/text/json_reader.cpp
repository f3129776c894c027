#include "core/text/json_reader.h"

#include <algorithm>
#include <bit>
#include <charconv>

#include "core/text/byte_hash.h"
#include "core/text/unicode.h"
#include "core/text/utf8_stream.h"

namespace kvasir::text {
namespace {

constexpr uint64_t kEachByte = 0x0101010101010101;

/// The top bit of bytes that end the plain part of a string: a quote, a backslash, a control character. The lowest bit
/// is exact, others may be false.
uint64_t string_stops(uint64_t bytes) noexcept {
  const uint64_t quotes = bytes ^ (kEachByte * '"'), backslashes = bytes ^ (kEachByte * '\\');
  return (((quotes - kEachByte) & ~quotes) | ((backslashes - kEachByte) & ~backslashes) |
          ((bytes - kEachByte * 0x20) & ~bytes)) &
         (kEachByte * 0x80);
}

}  // namespace

void JsonReader::fail(std::string what) {
  if (error_.empty()) error_ = what + " at byte " + std::to_string(at_);
  at_ = text_.size();
}

Result<void> JsonReader::finish() {
  skip_space();
  if (error_.empty() && at_ != text_.size()) fail("something follows the JSON value");
  if (!error_.empty()) return Failure{Code::kCorrupt, error_};
  return {};
}

inline void JsonReader::skip_space() noexcept {
  while (at_ < text_.size()) {
    if (text_[at_] == ' ' && text_.size() - at_ >= 8) {  // most of an indented file
      const uint64_t others = load_u64(text_.data() + at_) ^ (kEachByte * ' ');
      at_ += others == 0 ? 8 : static_cast<size_t>(std::countr_zero(others)) / 8;
    } else if (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r') {
      ++at_;
    } else {
      return;
    }
  }
}

std::optional<JsonReader::Kind> JsonReader::peek() {
  skip_space();
  if (failed()) return std::nullopt;
  if (at_ == text_.size()) {
    fail("the JSON text ends early");
    return std::nullopt;
  }
  switch (text_[at_]) {
    case '{':
      return Kind::kObject;
    case '[':
      return Kind::kArray;
    case '"':
      return Kind::kString;
    case 't':
    case 'f':
      return Kind::kBool;
    case 'n':
      return Kind::kNull;
    default:
      break;
  }
  if (text_[at_] == '-' || (text_[at_] >= '0' && text_[at_] <= '9')) return Kind::kNumber;
  fail("a JSON value was expected");
  return std::nullopt;
}

bool JsonReader::enter(char open, Kind kind) {
  if (peek() != kind) {
    fail(open == '{' ? "an object was expected" : "an array was expected");
    return false;
  }
  if (levels_.size() == kMaxDepth) {
    fail("the JSON text is nested deeper than " + std::to_string(kMaxDepth));
    return false;
  }
  ++at_;
  levels_.push_back({kind == Kind::kObject, true});
  return true;
}

/// Between elements: false at the closing bracket.
bool JsonReader::separator(char close) {
  skip_space();
  if (failed()) return false;
  if (at_ == text_.size()) {
    fail("the JSON text ends early");
    return false;
  }
  if (text_[at_] == close) {
    ++at_;
    levels_.pop_back();
    return false;
  }
  Level& level = levels_.back();
  if (!level.first) {
    if (text_[at_] != ',') {
      fail("a comma was expected");
      return false;
    }
    ++at_;
    skip_space();
  }
  level.first = false;
  return true;
}

bool JsonReader::next_key(std::string& key) {
  return next_element() && take_string(key) && take_colon();
}

bool JsonReader::take_colon() {
  skip_space();
  if (at_ == text_.size() || text_[at_] != ':') {
    fail("a colon was expected");
    return false;
  }
  ++at_;
  return true;
}

bool JsonReader::next_item() {
  return separator(']');
}

bool JsonReader::take_string(std::string& out) {
  const auto view = take_view(out);
  if (!view) return false;
  if (view->data() != out.data()) out.assign(*view);
  return true;
}

/// Over the bytes of a string up to a quote, a backslash or what may not stand there; whether they are ASCII.
inline bool JsonReader::pass_plain() noexcept {
  uint8_t seen = 0;
  while (text_.size() - at_ >= 8) {
    const uint64_t bytes = load_u64(text_.data() + at_);
    const uint64_t stops = string_stops(bytes);
    const uint64_t passed = stops == 0 ? ~uint64_t{0} : (stops & (~stops + 1)) - 1;  // below the first one's top bit
    seen |= (bytes & passed & (kEachByte * 0x80)) != 0 ? 0x80 : 0;
    at_ += stops == 0 ? 8 : static_cast<size_t>(std::countr_zero(stops)) / 8;
    if (stops != 0) break;
  }
  for (; at_ < text_.size(); ++at_) {
    const auto c = static_cast<uint8_t>(text_[at_]);
    if (c == '"' || c == '\\' || c < 0x20) break;
    seen |= c;
  }
  return seen < 0x80;
}

/// Over white space and this byte, if it is what follows.
inline bool JsonReader::skip_to(char wanted) noexcept {
  skip_space();
  if (at_ == text_.size() || text_[at_] != wanted) return false;
  ++at_;
  return true;
}

std::optional<std::pair<std::string_view, std::string_view>> JsonReader::take_plain_pair() {
  const size_t before = at_;
  std::string_view sides[2];
  bool right = !failed();
  for (size_t i = 0; right && i < 2; ++i) {
    right = skip_to(i == 0 ? '[' : ',') && skip_to('"');
    if (!right) break;
    const size_t begin = at_;
    const bool ascii = pass_plain();
    sides[i] = text_.substr(begin, at_ - begin);
    right = skip_to('"') && at_ == begin + sides[i].size() + 1 && (ascii || is_valid_utf8(sides[i]));
  }
  if (right && skip_to(']')) return std::pair(sides[0], sides[1]);
  at_ = before;
  return std::nullopt;
}

std::optional<std::string_view> JsonReader::take_view(std::string& scratch) {
  if (peek() != Kind::kString) {
    fail("a string was expected");
    return std::nullopt;
  }
  const size_t begin = ++at_;
  const bool ascii = pass_plain();
  if (at_ == text_.size() || text_[at_] != '"') {
    scratch.assign(text_.substr(begin, at_ - begin));
    if (!take_rest(begin, ascii, scratch)) return std::nullopt;
    return scratch;
  }
  const std::string_view out = text_.substr(begin, at_++ - begin);
  if (!ascii && !is_valid_utf8(out)) {
    fail_not_utf8(begin);
    return std::nullopt;
  }
  return out;
}

void JsonReader::fail_not_utf8(size_t begin) {
  fail("a string is not UTF-8 (it began at byte " + std::to_string(begin) + ")");
}

/// From the first escape of a string on, appended.
bool JsonReader::take_rest(size_t begin, bool ascii, std::string& out) {
  while (at_ < text_.size()) {
    const auto c = static_cast<uint8_t>(text_[at_]);
    if (c == '"') {
      ++at_;
      if (!ascii && !is_valid_utf8(out)) fail_not_utf8(begin);
      return !failed();
    }
    if (c < 0x20) break;
    ascii = ascii && c < 0x80;
    if (c == '\\') {
      if (!take_escape(out)) return false;
    } else {
      out.push_back(static_cast<char>(c));
      ++at_;
    }
  }
  fail("a string is not closed");
  return false;
}

std::optional<uint32_t> JsonReader::take_hex4() {
  uint32_t value = 0;
  if (text_.size() - at_ < 4) return std::nullopt;
  const char* const first = text_.data() + at_;
  const auto [end, code] = std::from_chars(first, first + 4, value, 16);
  if (code != std::errc() || end != first + 4) return std::nullopt;
  at_ += 4;
  return value;
}

bool JsonReader::take_escape(std::string& out) {
  constexpr std::string_view kEscapes = "\"\\/bfnrt";
  constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
  ++at_;
  const char c = at_ < text_.size() ? text_[at_++] : '\0';
  if (const size_t i = kEscapes.find(c); c != '\0' && i != std::string_view::npos) {
    out.push_back(kMeanings[i]);
    return true;
  }
  std::optional<uint32_t> value = c == 'u' ? take_hex4() : std::nullopt;
  if (value && *value >= 0xD800 && *value < 0xDC00 && text_.substr(at_).starts_with("\\u")) {
    at_ += 2;
    const auto low = take_hex4();
    if (low && *low >= 0xDC00 && *low < 0xE000) {
      value = 0x10000 + ((*value - 0xD800) << 10) + (*low - 0xDC00);
    } else {
      value.reset();
    }
  }
  if (!value || (*value >= 0xD800 && *value < 0xE000)) {
    fail("a string has a bad escape");
    return false;
  }
  append_utf8(*value, out);
  return true;
}

/// The grammar of RFC 8259, section 6.
std::string_view JsonReader::take_number_text() {
  if (peek() != Kind::kNumber) {
    fail("a number was expected");
    return {};
  }
  const size_t begin = at_;
  const auto here = [&] { return at_ < text_.size() ? text_[at_] : '\0'; };
  const auto digits = [&] {
    const size_t first = at_;
    while (here() >= '0' && here() <= '9') ++at_;
    return at_ - first;
  };
  if (here() == '-') ++at_;
  const bool zero = here() == '0';
  const size_t whole = digits();
  bool good = whole > 0 && !(zero && whole > 1);
  if (good && here() == '.') {
    ++at_;
    good = digits() > 0;
  }
  if (good && (here() == 'e' || here() == 'E')) {
    ++at_;
    if (here() == '+' || here() == '-') ++at_;
    good = digits() > 0;
  }
  if (!good) {
    fail("a number is malformed");
    return {};
  }
  return text_.substr(begin, at_ - begin);
}

std::optional<double> JsonReader::take_number() {
  const std::string_view text = take_number_text();
  double value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed() || code == std::errc::invalid_argument) return std::nullopt;
  if (code == std::errc::result_out_of_range && text.find("e-") == std::string_view::npos)
    fail("a number is out of range");
  if (failed()) return std::nullopt;
  return value;
}

std::optional<int64_t> JsonReader::take_integer(int64_t low, int64_t high) {
  const std::string_view text = take_number_text();
  int64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed()) return std::nullopt;
  if (code != std::errc() || end != text.data() + text.size() || value < low || value > high) {
    fail("an integer between " + std::to_string(low) + " and " + std::to_string(high) + " was expected, not " +
         std::string(text.substr(0, 24)));
    return std::nullopt;
  }
  return value;
}

bool JsonReader::take_word(std::string_view word) {
  if (!text_.substr(at_).starts_with(word)) {
    fail("a JSON value was expected");
    return false;
  }
  at_ += word.size();
  return true;
}

}  // namespace kvasir::text
