#include "core/text/jinja/unicode.h"

#include <utf8proc.h>

#include <array>
#include <cstdint>

namespace kvasir::jinja {
namespace {

bool is_continuation(char c) noexcept {
  return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;
}

struct Expansion {
  char32_t from;
  std::array<char32_t, 3> upper;  // 0 ends
  std::array<char32_t, 3> title;
};

// The unconditional multi-character mappings that occur in real text (Unicode SpecialCasing.txt).
constexpr std::array kExpansions{
    Expansion{0x00DF, {'S', 'S', 0}, {'S', 's', 0}},       Expansion{0x0149, {0x02BC, 'N', 0}, {0x02BC, 'N', 0}},
    Expansion{0x01F0, {'J', 0x030C, 0}, {'J', 0x030C, 0}}, Expansion{0x0587, {0x0535, 0x0552, 0}, {0x0535, 0x0582, 0}},
    Expansion{0xFB00, {'F', 'F', 0}, {'F', 'f', 0}},       Expansion{0xFB01, {'F', 'I', 0}, {'F', 'i', 0}},
    Expansion{0xFB02, {'F', 'L', 0}, {'F', 'l', 0}},       Expansion{0xFB03, {'F', 'F', 'I'}, {'F', 'f', 'i'}},
    Expansion{0xFB04, {'F', 'F', 'L'}, {'F', 'f', 'l'}},   Expansion{0xFB05, {'S', 'T', 0}, {'S', 't', 0}},
    Expansion{0xFB06, {'S', 'T', 0}, {'S', 't', 0}},
};

const Expansion* expansion(char32_t c) noexcept {
  for (const auto& e : kExpansions) {
    if (e.from == c) return &e;
  }
  return nullptr;
}

void append_all(std::string& out, const std::array<char32_t, 3>& code_points) {
  for (const char32_t c : code_points) {
    if (c != 0) append_utf8(out, c);
  }
}

utf8proc_int32_t code(char32_t c) noexcept {
  return static_cast<utf8proc_int32_t>(c);
}

}  // namespace

size_t utf8_length(char lead) noexcept {
  const auto c = static_cast<unsigned char>(lead);
  if (c < 0xC0U) return 1;
  if (c < 0xE0U) return 2;
  if (c < 0xF0U) return 3;
  return c < 0xF8U ? 4 : 1;
}

bool is_valid_utf8(std::string_view bytes) noexcept {
  for (size_t i = 0; i < bytes.size();) {
    const auto lead = static_cast<unsigned char>(bytes[i]);
    if (lead < 0x80U) {
      ++i;
      continue;
    }
    const size_t length = utf8_length(bytes[i]);
    if (length == 1 || length > bytes.size() - i) return false;
    char32_t c = lead & (0x7FU >> length);
    for (size_t k = 1; k < length; ++k) {
      if (!is_continuation(bytes[i + k])) return false;
      c = c << 6U | (static_cast<unsigned char>(bytes[i + k]) & 0x3FU);
    }
    constexpr std::array<char32_t, 5> kSmallest{0, 0, 0x80, 0x800, 0x10000};
    if (c < kSmallest[length] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) return false;
    i += length;
  }
  return true;
}

char32_t next_code_point(std::string_view bytes, size_t& offset) noexcept {
  const auto lead = static_cast<unsigned char>(bytes[offset]);
  const size_t length = utf8_length(bytes[offset]);
  if (length == 1 || length > bytes.size() - offset) {
    ++offset;
    return lead;
  }
  char32_t c = lead & (0x7FU >> length);
  for (size_t k = 1; k < length; ++k) c = c << 6U | (static_cast<unsigned char>(bytes[offset + k]) & 0x3FU);
  offset += length;
  return c;
}

size_t previous_offset(std::string_view bytes, size_t offset) noexcept {
  --offset;
  while (offset > 0 && is_continuation(bytes[offset])) --offset;
  return offset;
}

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(static_cast<unsigned char>(byte))); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0U | c >> 6U);
    put(0x80U | (c & 0x3FU));
  } else if (c < 0x10000) {
    put(0xE0U | c >> 12U);
    put(0x80U | (c >> 6U & 0x3FU));
    put(0x80U | (c & 0x3FU));
  } else {
    put(0xF0U | c >> 18U);
    put(0x80U | (c >> 12U & 0x3FU));
    put(0x80U | (c >> 6U & 0x3FU));
    put(0x80U | (c & 0x3FU));
  }
}

std::string quoted(std::string_view text) {
  constexpr size_t kMax = 80;
  const bool whole = text.size() <= kMax;
  std::string out(1, '\'');
  out.append(text.substr(0, whole ? text.size() : previous_offset(text, kMax)));
  if (!whole) out.append("...");
  out.push_back('\'');
  return out;
}

size_t count_code_points(std::string_view bytes) noexcept {
  size_t count = 0;
  for (const char c : bytes) count += is_continuation(c) ? 0 : 1;
  return count;
}

bool is_space(char32_t c) noexcept {
  if (c < 0x80) return (c >= 9 && c <= 13) || (c >= 28 && c <= 32);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_alpha(char32_t c) noexcept {
  const auto category = utf8proc_category(code(c));
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool is_digit(char32_t c) noexcept {
  return c < 0x80 ? (c >= '0' && c <= '9') : utf8proc_category(code(c)) == UTF8PROC_CATEGORY_ND;
}

bool is_upper(char32_t c) noexcept {
  return utf8proc_category(code(c)) == UTF8PROC_CATEGORY_LU;
}
bool is_lower(char32_t c) noexcept {
  return utf8proc_category(code(c)) == UTF8PROC_CATEGORY_LL;
}

void append_upper(std::string& out, char32_t c) {
  if (c < 0x80) {
    out.push_back(static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c));
  } else if (const auto* e = expansion(c)) {
    append_all(out, e->upper);
  } else {
    append_utf8(out, static_cast<char32_t>(utf8proc_toupper(code(c))));
  }
}

void append_lower(std::string& out, char32_t c) {
  if (c < 0x80) {
    out.push_back(static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c));
  } else if (c == 0x0130) {
    append_all(out, {'i', 0x0307, 0});
  } else {
    append_utf8(out, static_cast<char32_t>(utf8proc_tolower(code(c))));
  }
}

void append_title(std::string& out, char32_t c) {
  if (c < 0x80) {
    append_upper(out, c);
  } else if (const auto* e = expansion(c)) {
    append_all(out, e->title);
  } else {
    append_utf8(out, static_cast<char32_t>(utf8proc_totitle(code(c))));
  }
}

}  // namespace kvasir::jinja
