#include "rpc/json_scan.h"

#include <algorithm>
#include <cstddef>
#include <deque>
#include <string>

namespace kvasir::rpc {
namespace {

constexpr size_t kIdKeyMaxDepth = 2;  // an id sits in the root object, or in an object of the root array

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void append_utf8(std::string& out, uint32_t code) {
  const auto put = [&out](uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | (code >> 6));
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | (code >> 12));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | (code >> 18));
    put(0x80 | ((code >> 12) & 0x3F));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

class Scanner {
 public:
  Scanner(std::string_view text, const Limits& limits, DuplicateKeys duplicates, ScanFacts& facts)
      : text_(text), limits_(limits), duplicates_(duplicates), facts_(facts) {}

  Result<void> run() {
    for (;;) {
      skip_space();
      if (pos_ == text_.size()) break;
      KVASIR_TRY(step());
    }
    if (expect_ != Expect::kEnd) return bad("unexpected end");
    return {};
  }

 private:
  enum class Expect : uint8_t { kValue, kValueOrClose, kKey, kKeyOrClose, kCommaOrClose, kEnd };
  struct Frame {
    bool is_object = false;
    size_t first_key = 0;      // where this object's keys begin in keys_
    uint32_t element = 0;      // index of the current element, if an array
  };

  Failure bad(std::string_view what) const {
    return Failure{Code::kInvalidArgument, "not JSON: " + std::string(what) + " at byte " + std::to_string(pos_)};
  }

  void skip_space() {
    while (pos_ < text_.size()) {
      const char c = text_[pos_];
      if (c != ' ' && c != '\t' && c != '\n' && c != '\r') return;
      ++pos_;
    }
  }

  Result<void> step() {
    const char c = text_[pos_];
    switch (expect_) {
      case Expect::kEnd: return bad("text after the value");
      case Expect::kKeyOrClose:
        if (c == '}') return close();
        [[fallthrough]];
      case Expect::kKey: return key();
      case Expect::kCommaOrClose: return comma_or_close(c);
      case Expect::kValueOrClose:
        if (c == ']') return close();
        [[fallthrough]];
      case Expect::kValue: return value(c);
    }
    return bad("unexpected state");
  }

  Result<void> comma_or_close(char c) {
    Frame& frame = frames_.back();
    if (c == (frame.is_object ? '}' : ']')) return close();
    if (c != ',') return bad("expected a comma or the end of the container");
    ++pos_;
    ++frame.element;
    expect_ = frame.is_object ? Expect::kKey : Expect::kValue;
    return {};
  }

  Result<void> key() {
    if (text_[pos_] != '"') return bad("expected a key in quotes");
    const size_t begin = pos_ + 1;
    const bool escaped = KVASIR_TRY(string());
    std::string_view raw = text_.substr(begin, pos_ - 1 - begin);
    if (escaped) {
      decoded_.emplace_back();
      decode(raw, decoded_.back());
      raw = decoded_.back();
    }
    keys_.push_back(raw);
    skip_space();
    if (pos_ == text_.size() || text_[pos_] != ':') return bad("expected a colon after the key");
    ++pos_;
    expect_ = Expect::kValue;
    return {};
  }

  Result<void> value(char c) {
    if (++values_ > limits_.max_values) {
      return Failure{Code::kTooLarge, "more than " + std::to_string(limits_.max_values) + " JSON values (max_values)"};
    }
    const size_t begin = pos_;
    switch (c) {
      case '{': return open(true);
      case '[': return open(false);
      case '"': KVASIR_TRY(string()); break;
      case 't': KVASIR_TRY(literal("true")); break;
      case 'f': KVASIR_TRY(literal("false")); break;
      case 'n': KVASIR_TRY(literal("null")); break;
      default: KVASIR_TRY(number()); break;
    }
    record_id(begin);
    after_value();
    return {};
  }

  void after_value() { expect_ = frames_.empty() ? Expect::kEnd : Expect::kCommaOrClose; }

  void record_id(size_t begin) {
    if (frames_.empty() || frames_.size() > kIdKeyMaxDepth || !frames_.back().is_object || keys_.back() != "id") return;
    if (frames_.size() == kIdKeyMaxDepth && frames_[0].is_object) return;
    const uint32_t element = frames_.size() == kIdKeyMaxDepth ? frames_[0].element : 0;
    facts_.ids.push_back({element, text_.substr(begin, pos_ - begin)});
  }

  Result<void> open(bool is_object) {
    if (frames_.size() == limits_.max_depth) {
      return bad("nested deeper than " + std::to_string(limits_.max_depth) + " (max_depth)");
    }
    ++pos_;
    frames_.push_back({is_object, keys_.size(), 0});
    expect_ = is_object ? Expect::kKeyOrClose : Expect::kValueOrClose;
    return {};
  }

  Result<void> close() {
    ++pos_;
    const Frame frame = frames_.back();
    frames_.pop_back();
    if (frame.is_object) {
      const auto begin = keys_.begin() + static_cast<std::ptrdiff_t>(frame.first_key);
      std::sort(begin, keys_.end());
      const auto twice = std::adjacent_find(begin, keys_.end());
      if (twice != keys_.end()) {
        if (duplicates_ == DuplicateKeys::kRefuse) {
          constexpr size_t kShown = 64;
          return Failure{Code::kConflict, "duplicate key \"" + std::string(twice->substr(0, kShown)) + "\""};
        }
        facts_.has_duplicate_keys = true;
      }
      keys_.resize(frame.first_key);
      if (keys_.empty()) decoded_.clear();
    }
    after_value();
    return {};
  }

  Result<void> literal(std::string_view word) {
    if (text_.substr(pos_, word.size()) != word) return bad("expected a value");
    pos_ += word.size();
    return {};
  }

  size_t digits() {
    const size_t begin = pos_;
    while (pos_ < text_.size() && text_[pos_] >= '0' && text_[pos_] <= '9') ++pos_;
    return pos_ - begin;
  }

  Result<void> number() {
    const size_t begin = pos_;
    if (text_[pos_] == '-') ++pos_;
    if (pos_ < text_.size() && text_[pos_] == '0') {
      ++pos_;
    } else if (digits() == 0) {
      return bad("expected a value");
    }
    if (pos_ < text_.size() && text_[pos_] == '.') {
      ++pos_;
      if (digits() == 0) return bad("expected digits after the point");
    }
    if (pos_ < text_.size() && (text_[pos_] == 'e' || text_[pos_] == 'E')) {
      ++pos_;
      if (pos_ < text_.size() && (text_[pos_] == '+' || text_[pos_] == '-')) ++pos_;
      if (digits() == 0) return bad("expected digits in the exponent");
    }
    if (pos_ - begin > limits_.max_number_text_bytes) {
      return bad("a number of more than " + std::to_string(limits_.max_number_text_bytes) +
                 " characters (max_number_text_bytes) ending");
    }
    return {};
  }

  /// Steps over a string, quotes included. True: it has escapes.
  Result<bool> string() {
    ++pos_;
    bool escaped = false;
    while (pos_ < text_.size()) {
      const auto byte = static_cast<unsigned char>(text_[pos_]);
      if (byte == '"') {
        ++pos_;
        return escaped;
      }
      if (byte < 0x20) return bad("a control character in a string");
      if (byte == '\\') {
        escaped = true;
        KVASIR_TRY(escape());
      } else if (byte < 0x80) {
        ++pos_;
      } else {
        KVASIR_TRY(multibyte(byte));
      }
    }
    return bad("unexpected end in a string");
  }

  Result<void> escape() {
    ++pos_;
    if (pos_ == text_.size()) return bad("unexpected end in a string");
    const char c = text_[pos_];
    if (c != 'u') {
      if (std::string_view("\"\\/bfnrt").find(c) == std::string_view::npos) return bad("an unknown escape");
      ++pos_;
      return {};
    }
    const uint32_t unit = KVASIR_TRY(unicode_escape());
    if (unit >= 0xDC00 && unit <= 0xDFFF) return bad("a lone surrogate before");
    if (unit < 0xD800 || unit > 0xDBFF) return {};
    if (text_.substr(pos_, 2) != "\\u") return bad("a lone surrogate before");
    ++pos_;
    const uint32_t low = KVASIR_TRY(unicode_escape());
    if (low < 0xDC00 || low > 0xDFFF) return bad("a lone surrogate before");
    return {};
  }

  /// At the `u` of `\uXXXX`; steps behind it.
  Result<uint32_t> unicode_escape() {
    ++pos_;
    if (text_.size() - pos_ < 4) return bad("unexpected end in an escape");
    uint32_t unit = 0;
    for (int i = 0; i < 4; ++i, ++pos_) {
      const int digit = hex_digit(text_[pos_]);
      if (digit < 0) return bad("a bad \\u escape");
      unit = unit << 4 | static_cast<uint32_t>(digit);
    }
    return unit;
  }

  /// One code point of two to four bytes, by table 3-7 of the Unicode standard.
  Result<void> multibyte(unsigned char lead) {
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    size_t more = 0;
    if (lead >= 0xC2 && lead <= 0xDF) {
      more = 1;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
      more = 2;
      if (lead == 0xE0) low = 0xA0;
      if (lead == 0xED) high = 0x9F;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
      more = 3;
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;
    } else {
      return bad("a byte that is not UTF-8");
    }
    ++pos_;
    for (size_t i = 0; i < more; ++i, ++pos_) {
      if (pos_ == text_.size()) return bad("unexpected end in a string");
      const auto byte = static_cast<unsigned char>(text_[pos_]);
      if (byte < low || byte > high) return bad("a byte that is not UTF-8");
      low = 0x80;
      high = 0xBF;
    }
    return {};
  }

  static void decode(std::string_view raw, std::string& out) {
    for (size_t i = 0; i < raw.size(); ++i) {
      if (raw[i] != '\\') {
        out += raw[i];
        continue;
      }
      constexpr std::string_view kNames = "\"\\/bfnrt";
      constexpr std::string_view kValues = "\"\\/\b\f\n\r\t";
      const char c = raw[++i];
      if (c != 'u') {
        out += kValues[kNames.find(c)];
        continue;
      }
      const auto unit = [&raw](size_t at) {
        uint32_t u = 0;
        for (size_t k = 0; k < 4; ++k) u = u << 4 | static_cast<uint32_t>(hex_digit(raw[at + k]));
        return u;
      };
      uint32_t code = unit(i + 1);
      i += 4;
      if (code >= 0xD800 && code <= 0xDBFF) {
        code = 0x10000 + ((code - 0xD800) << 10) + (unit(i + 3) - 0xDC00);
        i += 6;
      }
      append_utf8(out, code);
    }
  }

  std::string_view text_;
  const Limits& limits_;
  DuplicateKeys duplicates_;
  ScanFacts& facts_;
  size_t pos_ = 0;
  uint64_t values_ = 0;
  Expect expect_ = Expect::kValue;
  std::vector<Frame> frames_;
  std::vector<std::string_view> keys_;  // of all open objects; those of one object are together
  std::deque<std::string> decoded_;     // keys that had escapes; a deque, so that views stay valid
};

}  // namespace

Result<void> scan_json(std::string_view text, const Limits& limits, DuplicateKeys duplicates, ScanFacts& facts) {
  return Scanner(text, limits, duplicates, facts).run();
}

}  // namespace kvasir::rpc
