#include "core/text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "core/text/unicode_additions.h"

namespace kvasir::text {
namespace {

constexpr bool same(utf8proc_category_t theirs, Category ours) {
  return static_cast<int>(theirs) == static_cast<int>(ours);
}
static_assert(same(UTF8PROC_CATEGORY_LU, kLu) && same(UTF8PROC_CATEGORY_MN, kMn) && same(UTF8PROC_CATEGORY_ND, kNd) &&
              same(UTF8PROC_CATEGORY_PC, kPc) && same(UTF8PROC_CATEGORY_SM, kSm) && same(UTF8PROC_CATEGORY_ZS, kZs) &&
              same(UTF8PROC_CATEGORY_CC, kCc) && same(UTF8PROC_CATEGORY_CO, kCo));

struct Range {
  uint32_t first, last;
};

// Script=Han, Scripts.txt of Unicode 16.
constexpr std::array<Range, 22> kHanRanges = {{
    {0x2E80, 0x2E99},   {0x2E9B, 0x2EF3},   {0x2F00, 0x2FD5},   {0x3005, 0x3005},   {0x3007, 0x3007},
    {0x3021, 0x3029},   {0x3038, 0x303B},   {0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFA6D},
    {0xFA70, 0xFAD9},   {0x16FE2, 0x16FE3}, {0x16FF0, 0x16FF1}, {0x20000, 0x2A6DF}, {0x2A700, 0x2B739},
    {0x2B740, 0x2B81D}, {0x2B820, 0x2CEA1}, {0x2CEB0, 0x2EBE0}, {0x2EBF0, 0x2EE5D}, {0x2F800, 0x2FA1D},
    {0x30000, 0x3134A}, {0x31350, 0x323AF},
}};

bool is_han(uint32_t code_point) noexcept {
  for (const Range& range : kHanRanges) {
    if (code_point >= range.first && code_point <= range.last) return true;
  }
  return false;
}

template <class Range, size_t N>
const Range* range_of(const std::array<Range, N>& ranges, uint32_t code_point) noexcept {
  const auto row =
      std::lower_bound(ranges.begin(), ranges.end(), code_point, [](const Range& r, uint32_t c) { return r.last < c; });
  return row != ranges.end() && row->first <= code_point ? &*row : nullptr;
}

Category added_category(uint32_t code_point) noexcept {
  const CategoryRange* const row = range_of(kUnicodeAdditions, code_point);
  return row != nullptr ? row->category : kCn;
}

/// PropList.txt, White_Space.
bool is_white_space(uint32_t c) noexcept {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_hangul_vowel_or_tail(uint32_t c) noexcept {
  return (c >= 0x1161 && c <= 0x1175) || (c >= 0x11A8 && c <= 0x11C2);
}

/// False exactly where NFC_Quick_Check is Yes: no combining class, stays itself, never joins what is before it.
bool not_nfc_yes(uint32_t code_point) noexcept {
  if (code_point < 0x300) return false;
  if (is_hangul_vowel_or_tail(code_point)) return true;
  const utf8proc_property_t* property = utf8proc_get_property(static_cast<utf8proc_int32_t>(code_point));
  if (property->combining_class != 0) return true;
  if (property->comb_index != UINT16_MAX && property->comb_index >= 0x8000) return true;  // joins as the second one
  if (property->decomp_type != 0 || property->decomp_seqindex == UINT16_MAX) return false;
  std::array<utf8proc_int32_t, 32> buffer{};
  int boundary = 0;
  utf8proc_ssize_t count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code_point), buffer.data(),
                                                   buffer.size(), UTF8PROC_DECOMPOSE, &boundary);
  if (count <= 0 || static_cast<size_t>(count) > buffer.size()) return true;
  count = utf8proc_normalize_utf32(buffer.data(), count,
                                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  return count != 1 || static_cast<uint32_t>(buffer[0]) != code_point;
}

}  // namespace

uint8_t classify(uint32_t code_point) noexcept {
  auto bits = static_cast<uint8_t>(utf8proc_category(static_cast<utf8proc_int32_t>(code_point)));
  if (bits == kCn) bits = added_category(code_point);
  if (is_white_space(code_point)) bits = kWhite;
  if (is_han(code_point)) bits |= kHan;
  if (not_nfc_yes(code_point)) bits |= kNotNfcYes;
  return bits;
}

CharTable::CharTable() : basic_(std::make_unique<uint8_t[]>(0x10000)) {
  for (uint32_t c = 0; c < 0x10000; ++c) basic_[c] = classify(c);
}

const CharTable& CharTable::shared() {
  static const CharTable table;  // immutable once made: a constant that is too large to write down
  return table;
}

void append_utf8(uint32_t c, std::string& out) {
  const auto put = [&](uint32_t byte) { out.push_back(static_cast<char>(static_cast<uint8_t>(byte))); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0u | c >> 6);
    put(0x80u | (c & 0x3Fu));
  } else if (c < 0x10000) {
    put(0xE0u | c >> 12);
    put(0x80u | (c >> 6 & 0x3Fu));
    put(0x80u | (c & 0x3Fu));
  } else {
    put(0xF0u | c >> 18);
    put(0x80u | (c >> 12 & 0x3Fu));
    put(0x80u | (c >> 6 & 0x3Fu));
    put(0x80u | (c & 0x3Fu));
  }
}

namespace {

/// From p on: the end of what is surely in NFC. Every character before it that can begin a composition is a boundary,
/// and the last of these comes back in `boundary` (p if there is none).
const char* skip_nfc(const char* p, const char* end, const uint8_t* table, const char*& boundary) noexcept {
  boundary = p;
  while (p < end) {
    if (static_cast<uint8_t>(*p) < 0xCC) {  // below U+0300 everything is in NFC, and nothing joins what is before it
      boundary = (static_cast<uint8_t>(*p) & 0xC0u) == 0x80u ? boundary : p;
      ++p;
      continue;
    }
    const Unit unit = unit_at(p, end, table);
    if ((unit.bits & kNotNfcYes) != 0) return p;
    boundary = p;
    p += unit.bytes;
  }
  return end;
}

}  // namespace

bool quick_check_nfc(std::string_view text) noexcept {
  const char* boundary = nullptr;
  const char* const end = text.data() + text.size();
  return skip_nfc(text.data(), end, CharTable::shared().basic_plane(), boundary) == end;
}

namespace {

/// Canonical order: marks after a starter sorted by class, stably. utf8proc's own loop is quadratic, hence ours.
void reorder_marks(std::span<utf8proc_int32_t> points) {
  const auto combining = [](utf8proc_int32_t c) {
    return static_cast<uint64_t>(utf8proc_get_property(c)->combining_class);
  };
  std::vector<uint64_t> keys;  // class, place, code point: sorting these is a stable sort by class
  for (size_t i = 0; i < points.size(); ++i) {
    if (combining(points[i]) == 0) continue;
    keys.clear();
    const size_t first = i;
    for (; i < points.size() && combining(points[i]) != 0; ++i) {
      keys.push_back(combining(points[i]) << 56 | uint64_t{i - first} << 21 | static_cast<uint64_t>(points[i]));
    }
    std::sort(keys.begin(), keys.end());
    for (size_t k = 0; k < keys.size(); ++k) points[first + k] = static_cast<utf8proc_int32_t>(keys[k] & 0x1FFFFF);
  }
}

/// Appends what `points` become and empties them.
void finish_points(std::vector<utf8proc_int32_t>& points, bool compose, std::string& out) {
  reorder_marks(points);
  auto count = static_cast<utf8proc_ssize_t>(points.size());
  if (compose && count > 0) {
    count = utf8proc_normalize_utf32(points.data(), count,
                                     static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  }
  for (utf8proc_ssize_t i = 0; i < count; ++i) append_utf8(static_cast<uint32_t>(points[static_cast<size_t>(i)]), out);
  points.clear();
}

/// Appends a character that takes no part in normalisation, after what was before it. False if it does take part.
bool pass_inert(const char* p, Unit unit, bool compose, std::vector<utf8proc_int32_t>& points, std::string& out) {
  const bool not_utf8 = unit.code_point == 0xFFFD && unit.bytes == 1;
  if (!not_utf8 && range_of(kInertInNormalisation, unit.code_point) == nullptr) return false;
  finish_points(points, compose, out);
  out.append(p, unit.bytes);
  return true;
}

void decompose_into(uint32_t code_point, bool compatible, std::vector<utf8proc_int32_t>& points) {
  std::array<utf8proc_int32_t, 32> buffer{};  // the longest decomposition has 18
  int unused = 0;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0));
  const utf8proc_ssize_t count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code_point), buffer.data(),
                                                         buffer.size(), options, &unused);
  for (utf8proc_ssize_t i = 0; i < count; ++i) points.push_back(buffer[static_cast<size_t>(i)]);
}

}  // namespace

std::string to_nfc(std::string_view text) {
  const uint8_t* table = CharTable::shared().basic_plane();
  std::string out;
  out.reserve(text.size());
  std::vector<utf8proc_int32_t> points;
  const char* const end = text.data() + text.size();
  const char* p = text.data();
  while (p < end) {
    const char* boundary = p;
    const char* const stop = skip_nfc(p, end, table, boundary);
    if (stop == end) boundary = end;
    out.append(p, boundary);
    // From the boundary up to the next character that surely begins anew, all is decomposed and composed again.
    for (p = boundary; p < end;) {
      const Unit unit = unit_at(p, end, table);
      if (p > stop && (unit.bits & kNotNfcYes) == 0) break;
      if (!pass_inert(p, unit, true, points, out)) decompose_into(unit.code_point, false, points);
      p += unit.bytes;
    }
    finish_points(points, true, out);
  }
  return out;
}

std::string to_form(std::string_view text, NormalForm form) {
  if (form == NormalForm::kNfc) return to_nfc(text);
  const bool compose = form == NormalForm::kNfkc;
  std::string out;
  out.reserve(text.size());
  std::vector<utf8proc_int32_t> points;
  const char* const end = text.data() + text.size();
  for (const char* p = text.data(); p < end;) {
    const Unit unit = decode_at(p, end);
    if (!pass_inert(p, unit, compose, points, out)) decompose_into(unit.code_point, form != NormalForm::kNfd, points);
    p += unit.bytes;
  }
  finish_points(points, compose, out);
  return out;
}

std::string to_lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  const char* const end = text.data() + text.size();
  for (const char* p = text.data(); p < end;) {
    const Unit unit = decode_at(p, end);
    if (unit.code_point == 0xFFFD && unit.bytes == 1) {
      out.push_back(*p);
    } else if (unit.code_point == 0x130) {  // the one character whose lower case is two
      out.append("i\xCC\x87");
    } else {
      const auto code_point = static_cast<utf8proc_int32_t>(unit.code_point);
      const CaseRange* const added = range_of(kCaseAdditions, unit.code_point);
      append_utf8(static_cast<uint32_t>(added != nullptr ? code_point + added->distance : utf8proc_tolower(code_point)),
                  out);
    }
    p += unit.bytes;
  }
  return out;
}

}  // namespace kvasir::text
