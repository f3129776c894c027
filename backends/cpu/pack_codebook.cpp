#include "backends/cpu/pack_codebook.h"

#include <array>
#include <cstring>
#include <span>

namespace kvasir::cpu {
namespace {

/// `count` words of `bytes` bytes, `from_step` apart in the file's block, go where row r's word lies: at to + to_step * i
/// + bytes * r.
struct Piece {
  uint32_t from, from_step, bytes, count, to, to_step;
};

constexpr Piece kScale = {0, 0, 2, 1, 0, 0};  // one f16 for all 256 values
constexpr std::array kIq1S = {kScale, Piece{2, 4, 4, 8, 32, 96}, Piece{34, 2, 2, 8, 96, 96}};
constexpr std::array kIq1M = {Piece{48, 2, 2, 4, 32, 32}, Piece{0, 4, 4, 8, 160, 96}, Piece{32, 2, 2, 8, 224, 96}};
constexpr std::array kIq2Xxs = {kScale, Piece{2, 8, 4, 8, 32, 128}, Piece{6, 8, 4, 8, 96, 128}};
constexpr std::array kIq2Xs = {kScale, Piece{66, 1, 1, 8, 160, 144}};  // and its codes
constexpr std::array kIq2S = {kScale, Piece{2, 4, 4, 8, 32, 160}, Piece{34, 4, 4, 8, 96, 160}, Piece{66, 1, 1, 8, 160, 160},
                              Piece{74, 1, 1, 8, 176, 160}};
constexpr std::array kIq3Xxs = {kScale, Piece{2, 8, 8, 8, 32, 192}, Piece{66, 4, 4, 8, 160, 192}};
constexpr std::array kIq3S = {kScale, Piece{106, 1, 1, 4, 32, 16}, Piece{2, 8, 8, 8, 96, 208}, Piece{66, 1, 1, 8, 224, 208},
                              Piece{74, 4, 4, 8, 240, 208}};

/// 1, 2, 4 or 8 bytes without a call.
void copy_word(uint8_t* to, const uint8_t* from, uint32_t bytes) noexcept {
  switch (bytes) {
    case 1: *to = *from; return;
    case 2: __builtin_memcpy(to, from, 2); return;
    case 4: __builtin_memcpy(to, from, 4); return;
    default: __builtin_memcpy(to, from, 8); return;
  }
}

std::span<const Piece> pieces(Format format) noexcept {
  switch (format) {
    case Format::kIQ1_S: return kIq1S;
    case Format::kIQ1_M: return kIq1M;
    case Format::kIQ2_XXS: return kIq2Xxs;
    case Format::kIQ2_XS: return kIq2Xs;
    case Format::kIQ2_S: return kIq2S;
    case Format::kIQ3_XXS: return kIq3Xxs;
    case Format::kIQ3_S: return kIq3S;
    default: return {};
  }
}

/// The block scale of IQ1_M: an f16 whose four nibbles are the top nibbles of the four words of factors.
uint16_t iq1_m_scale(const uint8_t* file) noexcept {
  unsigned bits = 0;
  for (unsigned i = 0; i < 4; ++i) bits |= unsigned{file[49 + 2 * i]} >> 4U << (4 * i);
  return static_cast<uint16_t>(bits);
}

/// The codes of IQ2_XS, 9 bits and 7 signs each: low bytes, then signs and ninth bits, so that signs lie as in IQ2_XXS.
void pack_iq2_xs_codes(const uint8_t* file, uint32_t row, uint8_t* packed) noexcept {
  for (uint32_t b = 0; b < 8; ++b) {
    std::array<uint8_t, 4> low{};
    uint32_t rest = 0;
    for (uint32_t l = 0; l < 4; ++l) {
      const uint8_t* code = file + 2 + 8 * b + 2 * l;
      low[l] = code[0];
      rest |= uint32_t{code[1]} >> 1U << (7 * l) | (code[1] & 1U) << (28 + l);
    }
    std::memcpy(packed + 32 + 144 * b + 4 * row, low.data(), 4);
    std::memcpy(packed + 96 + 144 * b + 4 * row, &rest, 4);
  }
}

/// Digit `n` (the first is the most significant of five) of a base-3 fraction.
unsigned ternary_digit(unsigned code, unsigned n) noexcept {
  for (; n > 0; --n) code = 3 * code & 255U;
  return 3 * code >> 8U;
}

/// TQ1_0: digits are dealt out anew, five consecutive vectors to a plane (see kernels/formats_codebook.inl.h).
void pack_ternary_row(const uint8_t* file, uint32_t row, uint8_t* packed) noexcept {
  std::array<uint8_t, 256> digits{};
  for (uint32_t i = 0; i < 160; ++i) digits[i] = static_cast<uint8_t>(ternary_digit(file[i % 32], i / 32));
  for (uint32_t i = 0; i < 80; ++i) digits[160 + i] = static_cast<uint8_t>(ternary_digit(file[32 + i % 16], i / 16));
  for (uint32_t i = 0; i < 16; ++i) digits[240 + i] = static_cast<uint8_t>(ternary_digit(file[48 + i % 4], i / 4));
  std::memcpy(packed + 2 * row, file + 52, 2);
  for (uint32_t plane = 0; plane < 13; ++plane) {
    for (uint32_t i = 0; i < 4; ++i) {
      unsigned value = 0;
      for (uint32_t digit = 0; digit < 5; ++digit) {
        const uint32_t j = 5 * digit + (plane + 5) % 13;  // in the planes behind the first eight
        const uint32_t vector = plane < 8 ? 8 * plane + digit : 8 * (j / 3) + 5 + j % 3;
        value = 3 * value + (vector < 64 ? digits[4 * vector + i] : 0U);
      }
      packed[32 + 64 * plane + 4 * row + i] = static_cast<uint8_t>((value * 256 + 242) / 243);
    }
  }
}

}  // namespace

bool is_codebook(Format format) noexcept { return format == Format::kTQ1_0 || !pieces(format).empty(); }

void pack_codebook_row(Format format, const uint8_t* file, uint32_t row, uint8_t* packed) noexcept {
  if (format == Format::kTQ1_0) return pack_ternary_row(file, row, packed);
  for (const Piece& piece : pieces(format)) {
    for (uint32_t i = 0; i < piece.count; ++i) {
      copy_word(packed + piece.to + piece.to_step * i + piece.bytes * row, file + piece.from + piece.from_step * i, piece.bytes);
    }
  }
  if (format == Format::kIQ2_XS) pack_iq2_xs_codes(file, row, packed);
  if (format == Format::kIQ1_M) {
    const uint16_t scale = iq1_m_scale(file);
    std::memcpy(packed + 2 * row, &scale, 2);
  }
}

}  // namespace kvasir::cpu
