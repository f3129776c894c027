#include "core/text/utf8_stream.h"

#include <cstdint>

namespace kvasir {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

/// One step over ill- or well-formed UTF-8.
struct Scan {
  enum class Kind : uint8_t { kGood, kBad, kIncomplete };
  Kind kind = Kind::kGood;
  size_t length = 0;  ///< bytes of the code point, or of the maximal ill-formed or unfinished subsequence
};

/// Unicode 15, table 3-7: which second byte a lead byte allows is what rules out overlong forms and surrogates.
Scan scan_one(std::string_view text) noexcept {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {Scan::Kind::kGood, 1};
  size_t need = 0;
  uint8_t low = 0x80, high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    need = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    need = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    need = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {Scan::Kind::kBad, 1};
  }
  for (size_t i = 1; i < need; ++i) {
    if (i == text.size()) return {Scan::Kind::kIncomplete, i};
    if (byte(i) < low || byte(i) > high) return {Scan::Kind::kBad, i};
    low = 0x80;
    high = 0xBF;
  }
  return {Scan::Kind::kGood, need};
}

}  // namespace

std::string Utf8Stream::push(std::string_view bytes) {
  std::string held;
  if (!pending_.empty()) {
    held = std::move(pending_);
    pending_.clear();
    held.append(bytes);
    bytes = held;
  }
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const Scan scan = scan_one(bytes);
    if (scan.kind == Scan::Kind::kIncomplete) {
      pending_.assign(bytes);
      break;
    }
    out.append(scan.kind == Scan::Kind::kGood ? bytes.substr(0, scan.length) : kReplacement);
    bytes.remove_prefix(scan.length);
  }
  return out;
}

std::string Utf8Stream::flush() {
  if (pending_.empty()) return {};
  pending_.clear();  // always the start of one code point, so one maximal subsequence
  return std::string(kReplacement);
}

bool is_valid_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    const Scan scan = scan_one(text);
    if (scan.kind != Scan::Kind::kGood) return false;
    text.remove_prefix(scan.length);
  }
  return true;
}

std::string to_valid_utf8(std::string_view text) {
  Utf8Stream stream;
  std::string out = stream.push(text);
  return out.append(stream.flush());
}

}  // namespace kvasir
