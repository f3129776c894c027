// Scanners of one set of characters and of digits in groups; the other half of scanners.h, for pretokenizer.cpp alone.
#pragma once

#include "core/text/scanners.h"

namespace kvasir::text {

/// [Set]+ or one of it
template <CategorySet Set, bool Run>
size_t scan_set(const char* p, const char* end, ScanContext& context) {
  const Unit unit = unit_at(p, end, context.basic_plane);
  if (!unit.in(Set)) return 0;
  if (!Run) return unit.bytes;
  return static_cast<size_t>(run_of<Set>(p + unit.bytes, end, context.basic_plane) - p);
}

/// \p{N}{1,3}
inline size_t scan_numbers3(const char* p, const char* end, ScanContext& context) {
  const char* q = p;
  for (size_t i = 0; i < 3 && q < end; ++i) {
    const Unit unit = unit_at(q, end, context.basic_plane);
    if (!unit.in(kNumbers)) break;
    q += unit.bytes;
  }
  return static_cast<size_t>(q - p);
}

/// Length of the run of `Set` at p, which is in it, in code points. It is counted once for each run.
template <CategorySet Set>
size_t digits_left(const char* p, const char* end, ScanContext& context) noexcept {
  if (context.counted_until != nullptr && p < context.counted_until && context.counted_left > 0)
    return context.counted_left;
  size_t count = 0;
  while (p < end) {
    const Unit unit = unit_at(p, end, context.basic_plane);
    if (!unit.in(Set)) break;
    p += unit.bytes;
    ++count;
  }
  context.counted_until = p;
  context.counted_left = count;
  return count;
}

/// Steps over `count` digits of the counted run.
inline const char* take_digits(const char* p, const char* end, size_t count, ScanContext& context) noexcept {
  for (size_t i = 0; i < count; ++i) p += unit_at(p, end, context.basic_plane).bytes;
  context.counted_left -= count;
  return p;
}

/// Groups of three digits from the right end of a run of `Set`, the first group shorter.
/// AtWordEnd: only where the run ends at \b (to Oniguruma fractions and superscripts of Latin-1 are word characters),
/// as in \d{1,3}(?=(?:\d{3})*\b).
template <CategorySet Set, bool AtWordEnd>
size_t scan_digit_groups(const char* p, const char* end, ScanContext& context) {
  if (!unit_at(p, end, context.basic_plane).in(Set)) return 0;
  const size_t left = digits_left<Set>(p, end, context);
  if (AtWordEnd && context.counted_until < end) {
    const Unit after = unit_at(context.counted_until, end, context.basic_plane);
    if (after.in(kLetters | kMarks | set_of(kNl) | set_of(kPc)) || (after.code_point < 0x100 && after.in(kNumbers)))
      return 0;
  }
  return static_cast<size_t>(take_digits(p, end, left % 3 == 0 ? 3 : left % 3, context) - p);
}

/// (?=(\d{3})+(?!\d)): text is cut where a multiple of three digits is left of a run. From such a place to the next.
inline size_t scan_digit_cuts(const char* p, const char* end, ScanContext& context) {
  constexpr CategorySet kDigit = set_of(kNd);
  if (!unit_at(p, end, context.basic_plane).in(kDigit)) return 0;
  if (digits_left<kDigit>(p, end, context) % 3 != 0) {
    --context.counted_left;  // the caller steps over this one digit
    return 0;
  }
  const char* q = take_digits(p, end, 3, context);
  while (q < end && context.counted_left == 0) {
    const Unit unit = unit_at(q, end, context.basic_plane);
    if (!unit.in(kDigit)) {
      q += unit.bytes;
    } else {
      const size_t left = digits_left<kDigit>(q, end, context);
      q = take_digits(q, end, left % 3, context);
    }
  }
  return static_cast<size_t>(q - p);
}

/// A run of characters in Ranges (sorted), with an optional white-space character before it, or one of them.
template <const auto& Ranges, bool LeadingSpace, bool Run>
size_t scan_ranges(const char* p, const char* end, ScanContext& context) {
  const auto inside = [](uint32_t c) {
    size_t low = 0, high = Ranges.size();
    while (low < high) {
      const size_t middle = (low + high) / 2;
      if (c > Ranges[middle].last) {
        low = middle + 1;
      } else if (c < Ranges[middle].first) {
        high = middle;
      } else {
        return true;
      }
    }
    return false;
  };
  const char* q = p;
  Unit unit = unit_at(q, end, context.basic_plane);
  if (LeadingSpace && unit.in(kWhiteSpace) && q + unit.bytes < end) {
    const Unit next = unit_at(q + unit.bytes, end, context.basic_plane);
    if (inside(next.code_point)) {
      q += unit.bytes;
      unit = next;
    }
  }
  if (!inside(unit.code_point)) return 0;
  q += unit.bytes;
  while (Run && q < end) {
    unit = unit_at(q, end, context.basic_plane);
    if (!inside(unit.code_point)) break;
    q += unit.bytes;
  }
  return static_cast<size_t>(q - p);
}

}  // namespace kvasir::text
