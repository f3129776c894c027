#include "core/text/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <optional>

#include "core/text/jinja/unicode.h"

namespace kvasir::jinja {
namespace {

constexpr std::array<std::string_view, 26> kOperators{"//", "**", "==", "!=", "<=", ">=", "+", "-", "/",
                                                      "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                      ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};

bool is_digit_char(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit_char(c) || c == '_' ||
         (static_cast<unsigned char>(c) & 0x80U) != 0;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  Result<std::vector<Token>> run() {
    while (position_ < source_.size()) {
      KVASIR_TRY(text_until_tag());
    }
    push(TokenKind::kEnd, {});
    return std::move(tokens_);
  }

 private:
  Failure fail(const std::string& what) const {
    return Failure{Code::kInvalidArgument, "chat template, line " + std::to_string(line_) + ": " + what};
  }
  bool at(std::string_view what, size_t offset) const { return source_.substr(offset, what.size()) == what; }
  void push(TokenKind kind, std::string_view text) { tokens_.push_back({kind, line_, text}); }

  void move_to(size_t position) {
    line_ += static_cast<uint32_t>(std::count(source_.begin() + static_cast<ptrdiff_t>(position_),
                                              source_.begin() + static_cast<ptrdiff_t>(position), '\n'));
    if (position > position_) line_starting_ = source_[position - 1] == '\n';
    position_ = position;
  }

  size_t skip_space(size_t offset) const {
    while (offset < source_.size()) {
      size_t next = offset;
      if (!is_space(next_code_point(source_, next))) break;
      offset = next;
    }
    return offset;
  }

  /// Text before a tag whose opening has `sign` ('-', '+' or 0), with the white space removed that the tag removes.
  std::string_view strip_before_tag(std::string_view text, char sign, bool is_print) const {
    if (sign == '-') {
      size_t end = text.size();
      while (end > 0) {
        const size_t begin = previous_offset(text, end);
        size_t next = begin;
        if (!is_space(next_code_point(text, next))) break;
        end = begin;
      }
      return text.substr(0, end);
    }
    if (sign == '+' || is_print) return text;
    const size_t newline = text.rfind('\n');
    const size_t line_begin = newline == std::string_view::npos ? 0 : newline + 1;
    if (line_begin == 0 && !line_starting_) return text;
    size_t offset = line_begin;
    while (offset < text.size()) {
      if (!is_space(next_code_point(text, offset))) return text;
    }
    return text.substr(0, line_begin);
  }

  char sign_at(size_t offset) const {
    const char c = offset < source_.size() ? source_[offset] : '\0';
    return c == '-' || c == '+' ? c : '\0';
  }

  /// Offset behind `{% raw %}` if one begins at `offset`.
  std::optional<size_t> raw_begin(size_t offset) const {
    if (!at("{%", offset)) return std::nullopt;
    size_t i = offset + 2;
    if (sign_at(i) != 0) ++i;
    i = skip_space(i);
    if (!at("raw", i)) return std::nullopt;
    i = skip_space(i + 3);
    if (at("%}", i)) return i + 2;
    if (at("-%}", i)) return skip_space(i + 3);
    return std::nullopt;
  }

  /// Offset behind the end of a tag that closes at `offset` with "%}" or "#}", possibly signed.
  std::optional<size_t> closing(size_t offset, std::string_view close) const {
    const char sign = sign_at(offset);
    if (!at(close, offset + (sign == 0 ? 0 : 1))) return std::nullopt;
    const size_t end = offset + close.size() + (sign == 0 ? 0 : 1);
    if (sign == '-') return skip_space(end);
    if (sign == 0 && end < source_.size() && source_[end] == '\n') return end + 1;  // trim_blocks
    return end;
  }

  Result<void> text_until_tag() {
    size_t tag = position_;
    while ((tag = source_.find('{', tag)) != std::string_view::npos) {
      const char next = tag + 1 < source_.size() ? source_[tag + 1] : '\0';
      if (next == '%' || next == '{' || next == '#') break;
      ++tag;
    }
    if (tag == std::string_view::npos) {
      push_text(source_.substr(position_));
      move_to(source_.size());
      return {};
    }
    const char sign = sign_at(tag + 2);
    const char type = source_[tag + 1];
    push_text(strip_before_tag(source_.substr(position_, tag - position_), sign, type == '{'));
    if (const auto raw = raw_begin(tag)) {
      move_to(*raw);
      return raw_block();
    }
    move_to(tag);
    const size_t inside = tag + 2 + (sign == 0 ? 0 : 1);
    if (type == '#') return comment(inside);
    push(type == '%' ? TokenKind::kBlockBegin : TokenKind::kPrintBegin, source_.substr(tag, 2));
    move_to(inside);
    return tag_content(type == '%');
  }

  void push_text(std::string_view text) {
    if (!text.empty()) push(TokenKind::kText, text);
  }

  Result<void> comment(size_t inside) {
    const size_t close = source_.find("#}", inside);
    if (close == std::string_view::npos) return fail("the comment that begins with {# has no end; expected #}");
    const bool is_signed = close > inside && sign_at(close - 1) != 0;
    move_to(*closing(is_signed ? close - 1 : close, "#}"));
    return {};
  }

  Result<void> raw_block() {
    for (size_t tag = position_; (tag = source_.find("{%", tag)) != std::string_view::npos; tag += 2) {
      const char sign = sign_at(tag + 2);
      size_t i = skip_space(tag + 2 + (sign == 0 ? 0 : 1));
      if (!at("endraw", i)) continue;
      i = skip_space(i + 6);
      if (const auto end = closing(i, "%}")) {
        push_text(strip_before_tag(source_.substr(position_, tag - position_), sign, false));
        move_to(*end);
        return {};
      }
    }
    return fail("the raw block has no end; expected {% endraw %}");
  }

  Result<void> tag_content(bool is_block) {
    std::string open;  // brackets still open
    while (true) {
      move_to(skip_space(position_));
      if (position_ == source_.size()) {
        return fail(std::string("unexpected end of template; expected ") + (is_block ? "%}" : "}}"));
      }
      if (open.empty()) {
        if (is_block) {
          if (const auto end = closing(position_, "%}")) {
            push(TokenKind::kBlockEnd, "%}");
            move_to(*end);
            return {};
          }
        } else if (at("}}", position_) || at("-}}", position_)) {
          push(TokenKind::kPrintEnd, "}}");
          move_to(at("}}", position_) ? position_ + 2 : skip_space(position_ + 3));
          return {};
        }
      }
      KVASIR_TRY(one_token(open));
    }
  }

  Result<void> one_token(std::string& open) {
    const char c = source_[position_];
    if (is_digit_char(c)) return number();
    if (is_name_char(c)) {
      size_t end = position_;
      while (end < source_.size() && is_name_char(source_[end])) ++end;
      return push_and_move(TokenKind::kName, end);
    }
    if (c == '\'' || c == '"') return string(c);
    const auto* const op =
        std::find_if(kOperators.begin(), kOperators.end(), [this](auto o) { return at(o, position_); });
    if (op == kOperators.end()) {
      return fail(std::string("unexpected character '") + c + "'; expected a name, a value or an operator");
    }
    KVASIR_TRY(balance(*op, open));
    return push_and_move(TokenKind::kOperator, position_ + op->size());
  }

  Result<void> push_and_move(TokenKind kind, size_t end) {
    push(kind, source_.substr(position_, end - position_));
    move_to(end);
    return {};
  }

  Result<void> balance(std::string_view op, std::string& open) const {
    if (op == "(") open.push_back(')');
    if (op == "[") open.push_back(']');
    if (op == "{") open.push_back('}');
    if (op != ")" && op != "]" && op != "}") return {};
    if (open.empty()) return fail("unexpected '" + std::string(op) + "': nothing is open that it could close");
    if (open.back() != op[0]) return fail("unexpected '" + std::string(op) + "'; expected '" + open.back() + "'");
    open.pop_back();
    return {};
  }

  /// End of digits with single underscores between them; `offset` if there is no digit.
  template <class IsDigit>
  size_t digits(size_t offset, IsDigit is_digit_of_base) const {
    size_t end = offset;
    while (end < source_.size()) {
      if (is_digit_of_base(source_[end])) {
        ++end;
      } else if (end > offset && source_[end] == '_' && end + 1 < source_.size() &&
                 is_digit_of_base(source_[end + 1])) {
        end += 2;
      } else {
        break;
      }
    }
    return end;
  }

  Result<void> number() {
    const bool after_dot = position_ > 0 && source_[position_ - 1] == '.';
    const size_t whole = digits(position_, is_digit_char);
    if (!after_dot) {
      size_t end = whole;
      if (end < source_.size() && source_[end] == '.' && digits(end + 1, is_digit_char) > end + 1) {
        end = digits(end + 1, is_digit_char);
      }
      if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
        const size_t mantissa = end + 1 + (sign_at(end + 1) == 0 ? 0 : 1);
        if (digits(mantissa, is_digit_char) > mantissa) end = digits(mantissa, is_digit_char);
      }
      if (end > whole) return push_and_move(TokenKind::kFloat, end);
    }
    if (source_[position_] != '0') return push_and_move(TokenKind::kInteger, whole);
    const char base = position_ + 1 < source_.size() ? static_cast<char>(source_[position_ + 1] | 0x20) : '\0';
    const auto is_hex = [](char c) { return is_digit_char(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f'); };
    const auto is_octal = [](char c) { return c >= '0' && c <= '7'; };
    const auto is_binary = [](char c) { return c == '0' || c == '1'; };
    const size_t from = position_ + 2;
    size_t end = from;
    if (base == 'x') end = digits(from, is_hex);
    if (base == 'o') end = digits(from, is_octal);
    if (base == 'b') end = digits(from, is_binary);
    if (end > from) return push_and_move(TokenKind::kInteger, end);
    return push_and_move(TokenKind::kInteger, digits(position_, [](char c) { return c == '0'; }));
  }

  Result<void> string(char quote) {
    size_t end = position_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) return fail(std::string("the string has no end; expected ") + quote);
    push(TokenKind::kString, source_.substr(position_ + 1, end - position_ - 1));
    move_to(end + 1);
    return {};
  }

  std::string_view source_;
  size_t position_ = 0;
  uint32_t line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::string normalise_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out.push_back(source[i]);
      continue;
    }
    out.push_back('\n');
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

Result<std::vector<Token>> tokenize_template(std::string_view source) {
  return Lexer(source).run();
}

}  // namespace kvasir::jinja
