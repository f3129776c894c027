// The facts of Unicode that tokenizers need: code points out of bytes, general categories, white space, Han, and
// canonical composition (NFC) in linear time. Categories are those of Unicode 16. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace kvasir::text {

/// General category, in utf8proc's numbering, but White_Space characters have a number of their own.
enum Category : uint8_t {
  kCn,
  kLu,
  kLl,
  kLt,
  kLm,
  kLo,
  kMn,
  kMc,
  kMe,
  kNd,
  kNl,
  kNo,
  kPc,
  kPd,
  kPs,
  kPe,
  kPi,
  kPf,
  kPo,
  kSm,
  kSc,
  kSk,
  kSo,
  kZs,
  kZl,
  kZp,
  kCc,
  kCf,
  kCs,
  kCo,
  kWhite
};

using CategorySet = uint32_t;
constexpr CategorySet set_of(Category c) {
  return CategorySet{1} << c;
}
inline constexpr CategorySet kLetters = set_of(kLu) | set_of(kLl) | set_of(kLt) | set_of(kLm) | set_of(kLo);
inline constexpr CategorySet kMarks = set_of(kMn) | set_of(kMc) | set_of(kMe);
inline constexpr CategorySet kNumbers = set_of(kNd) | set_of(kNl) | set_of(kNo);
inline constexpr CategorySet kPunctuation =
    set_of(kPc) | set_of(kPd) | set_of(kPs) | set_of(kPe) | set_of(kPi) | set_of(kPf) | set_of(kPo);
inline constexpr CategorySet kSymbols = set_of(kSm) | set_of(kSc) | set_of(kSk) | set_of(kSo);
inline constexpr CategorySet kWhiteSpace = set_of(kWhite);

/// What is known of one code point: a Category in the low five bits, and flags.
inline constexpr uint8_t kCategoryBits = 0x1F;
inline constexpr uint8_t kHan = 0x20;        ///< Script=Han
inline constexpr uint8_t kNotNfcYes = 0x40;  ///< NFC_Quick_Check is not Yes: text with it may not be in NFC

/// Looks up code points; the basic plane is a flat table of 64 KiB, made once per process (about 1 ms).
class CharTable {
 public:
  static const CharTable& shared();
  const uint8_t* basic_plane() const noexcept { return basic_.get(); }

 private:
  CharTable();
  std::unique_ptr<uint8_t[]> basic_;
};
/// As CharTable, for any code point; slower.
uint8_t classify(uint32_t code_point) noexcept;

/// One code point in text, with its class. Bytes that are not UTF-8 count one by one as U+FFFD.
struct Unit {
  uint32_t code_point = 0;
  uint8_t bits = 0;
  uint8_t bytes = 0;
  Category category() const noexcept { return static_cast<Category>(bits & kCategoryBits); }
  bool in(CategorySet set) const noexcept { return ((set >> (bits & kCategoryBits)) & 1u) != 0; }
};

/// Decodes at p < end, strictly (Unicode 15, table 3-7). The value is U+FFFD with one byte where it is ill-formed.
inline Unit decode_at(const char* p, const char* end) noexcept {
  const auto at = [p](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(p[i])); };
  const auto follows = [&](size_t i) { return (at(i) & 0xC0u) == 0x80u; };
  const uint32_t lead = at(0);
  const auto left = end - p;
  if (lead < 0x80) return {lead, 0, 1};
  if (lead >= 0xC2 && lead < 0xE0 && left >= 2 && follows(1)) return {(lead & 0x1Fu) << 6 | (at(1) & 0x3Fu), 0, 2};
  if ((lead & 0xF0u) == 0xE0u && left >= 3 && follows(1) && follows(2)) {
    const uint32_t value = (lead & 0x0Fu) << 12 | (at(1) & 0x3Fu) << 6 | (at(2) & 0x3Fu);
    if (value >= 0x800 && (value & 0xF800u) != 0xD800u) return {value, 0, 3};
  }
  if (lead >= 0xF0 && lead < 0xF5 && left >= 4 && follows(1) && follows(2) && follows(3)) {
    const uint32_t value = (lead & 0x07u) << 18 | (at(1) & 0x3Fu) << 12 | (at(2) & 0x3Fu) << 6 | (at(3) & 0x3Fu);
    if (value >= 0x10000 && value < 0x110000) return {value, 0, 4};
  }
  return {0xFFFD, 0, 1};
}

inline Unit unit_at(const char* p, const char* end, const uint8_t* basic_plane) noexcept {
  const auto byte = static_cast<uint8_t>(*p);
  if (byte < 0x80) return {byte, basic_plane[byte], 1};
  Unit unit = decode_at(p, end);
  unit.bits = unit.code_point < 0x10000 ? basic_plane[unit.code_point] : classify(unit.code_point);
  return unit;
}

void append_utf8(uint32_t code_point, std::string& out);

/// True if `text` is surely in NFC already (false: perhaps not).
bool quick_check_nfc(std::string_view text) noexcept;
/// `text` in Normalization Form C; bytes that are not UTF-8 are kept. Cost: O(n log n) on hostile runs of marks.
std::string to_nfc(std::string_view text);
enum class NormalForm : uint8_t { kNfc, kNfd, kNfkc, kNfkd };
std::string to_form(std::string_view text, NormalForm form);
/// Lower case by the default full mapping, without the rules that look at the context or the language.
std::string to_lower(std::string_view text);

}  // namespace kvasir::text
