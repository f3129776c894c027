#include "backends/cpu/pack.h"

#include <array>
#include <cstring>

#include "backends/cpu/format.h"
#include "backends/cpu/pack_codebook.h"

namespace kvasir::cpu {
namespace {

/// One file block of one row, taken apart: up to 256 quants in k order, scales as bytes.
struct RowBlock {
  std::array<uint8_t, 256> q{};
  std::array<uint8_t, 16> scales{};
  std::array<uint8_t, 16> mins{};
  std::array<uint8_t, 2> d{};
  std::array<uint8_t, 2> m{};
};

uint8_t narrow(unsigned v) noexcept { return static_cast<uint8_t>(v); }

void nibbles_32(const uint8_t* p, uint8_t* q) noexcept {
  for (uint32_t j = 0; j < 16; ++j) {
    q[j] = p[j] & 15U;
    q[j + 16] = narrow(p[j] >> 4U);
  }
}
void high_bits_32(const uint8_t* p, uint8_t* q) noexcept {
  for (uint32_t j = 0; j < 32; ++j) q[j] = narrow(q[j] | ((p[j / 8] >> (j % 8) & 1U) << 4U));
}
void take_half(const uint8_t* p, std::array<uint8_t, 2>& to) noexcept { std::memcpy(to.data(), p, 2); }

/// The 12 bytes of 6-bit scales and minima of Q4_K and Q5_K.
void scales_k4(const uint8_t* p, RowBlock& out) noexcept {
  for (uint32_t j = 0; j < 4; ++j) {
    out.scales[j] = p[j] & 63U;
    out.mins[j] = p[j + 4] & 63U;
    out.scales[j + 4] = narrow((p[j + 8] & 15U) | (unsigned{p[j]} >> 6U << 4U));
    out.mins[j + 4] = narrow((unsigned{p[j + 8]} >> 4U) | (unsigned{p[j + 4]} >> 6U << 4U));
  }
}
void nibbles_k4(const uint8_t* p, RowBlock& out) noexcept {
  for (uint32_t c = 0; c < 4; ++c) {
    for (uint32_t l = 0; l < 32; ++l) {
      out.q[64 * c + l] = p[32 * c + l] & 15U;
      out.q[64 * c + 32 + l] = narrow(p[32 * c + l] >> 4U);
    }
  }
}
void pairs_k(const uint8_t* p, RowBlock& out) noexcept {
  for (uint32_t n = 0; n < 2; ++n) {
    for (uint32_t j = 0; j < 4; ++j) {
      for (uint32_t l = 0; l < 32; ++l) out.q[128 * n + 32 * j + l] = p[32 * n + l] >> (2 * j) & 3U;
    }
  }
}

void take_q2_k(const uint8_t* p, RowBlock& out) noexcept {
  std::memcpy(out.scales.data(), p, 16);
  pairs_k(p + 16, out);
  take_half(p + 80, out.d);
  take_half(p + 82, out.m);
}

void take_q3_k(const uint8_t* p, RowBlock& out) noexcept {
  pairs_k(p + 32, out);
  for (uint32_t i = 0; i < 256; ++i) out.q[i] = narrow(out.q[i] | ((p[i % 32] >> (i / 32) & 1U) << 2U));
  const uint8_t* s = p + 96;
  for (uint32_t i = 0; i < 16; ++i) {
    const unsigned low = i < 8 ? s[i] & 15U : static_cast<unsigned>(s[i - 8]) >> 4U;
    const unsigned high = s[8 + i % 4] >> (2 * (i / 4)) & 3U;
    out.scales[i] = narrow((low | high << 4U) - 32U);  // two's complement
  }
  take_half(p + 108, out.d);
}

void take_q6_k(const uint8_t* p, RowBlock& out) noexcept {
  for (uint32_t n = 0; n < 2; ++n) {
    const uint8_t* low = p + 64 * n;
    const uint8_t* high = p + 128 + 32 * n;
    uint8_t* q = out.q.data() + 128 * n;
    for (uint32_t l = 0; l < 32; ++l) {
      q[l] = narrow((low[l] & 15U) | (high[l] & 3U) << 4U);
      q[l + 32] = narrow((low[l + 32] & 15U) | (high[l] >> 2U & 3U) << 4U);
      q[l + 64] = narrow((low[l] >> 4U) | (high[l] >> 4U & 3U) << 4U);
      q[l + 96] = narrow((low[l + 32] >> 4U) | (high[l] >> 6U & 3U) << 4U);
    }
  }
  std::memcpy(out.scales.data(), p + 192, 16);
  take_half(p + 208, out.d);
}

void take_iq4_xs(const uint8_t* p, RowBlock& out) noexcept {
  take_half(p, out.d);
  const unsigned high = p[2] | static_cast<unsigned>(p[3]) << 8U;
  for (uint32_t j = 0; j < 8; ++j) {
    const unsigned low = p[4 + j / 2] >> (4 * (j % 2)) & 15U;
    out.scales[j] = narrow((low | (high >> (2 * j) & 3U) << 4U) - 32U);  // two's complement
    nibbles_32(p + 8 + 16 * j, out.q.data() + 32 * j);
  }
}

void take_nvfp4(const uint8_t* p, RowBlock& out) noexcept {
  for (uint32_t s = 0; s < 4; ++s) {
    out.scales[s] = p[s] == 0x7F ? uint8_t{0} : narrow(p[s] & 127U);  // that code is no number and counts as zero
    for (uint32_t i = 0; i < 8; ++i) {
      out.q[16 * s + i] = p[4 + 8 * s + i] & 15U;
      out.q[16 * s + 8 + i] = narrow(p[4 + 8 * s + i] >> 4U);
    }
  }
}

void take_row_block(Format format, const uint8_t* p, RowBlock& out) noexcept {
  switch (format) {
    case Format::kQ4_0:
    case Format::kQ4_1:
    case Format::kQ5_0:
    case Format::kQ5_1: {
      const bool has_min = format == Format::kQ4_1 || format == Format::kQ5_1;
      const bool has_bits = format == Format::kQ5_0 || format == Format::kQ5_1;
      take_half(p, out.d);
      if (has_min) take_half(p + 2, out.m);
      const uint8_t* rest = p + (has_min ? 4 : 2);
      nibbles_32(rest + (has_bits ? 4 : 0), out.q.data());
      if (has_bits) high_bits_32(rest, out.q.data());
      return;
    }
    case Format::kQ8_0:
      take_half(p, out.d);
      for (uint32_t j = 0; j < 32; ++j) out.q[j] = p[2 + j] ^ 128U;
      return;
    case Format::kQ2_K: return take_q2_k(p, out);
    case Format::kQ3_K: return take_q3_k(p, out);
    case Format::kQ4_K:
    case Format::kQ5_K:
      take_half(p, out.d);
      take_half(p + 2, out.m);
      scales_k4(p + 4, out);
      nibbles_k4(p + (format == Format::kQ5_K ? 48 : 16), out);
      if (format == Format::kQ5_K) {
        for (uint32_t i = 0; i < 256; ++i) out.q[i] = narrow(out.q[i] | ((p[16 + i % 32] >> (i / 32) & 1U) << 4U));
      }
      return;
    case Format::kQ6_K: return take_q6_k(p, out);
    case Format::kIQ4_NL:
      take_half(p, out.d);
      nibbles_32(p + 2, out.q.data());
      return;
    case Format::kIQ4_XS: return take_iq4_xs(p, out);
    case Format::kMXFP4:
      out.scales[0] = p[0];  // an exponent
      nibbles_32(p + 1, out.q.data());
      return;
    case Format::kTQ2_0:
      pairs_k(p, out);
      take_half(p + 64, out.d);
      return;
    case Format::kNVFP4: return take_nvfp4(p, out);
    case Format::kQ1_0:
      take_half(p, out.d);
      for (uint32_t i = 0; i < 128; ++i) out.q[i] = p[2 + i / 8] >> (i % 8) & 1U;
      return;
    case Format::kQ2_0:
      take_half(p, out.d);
      for (uint32_t i = 0; i < 64; ++i) out.q[i] = p[2 + i / 4] >> (2 * (i % 4)) & 3U;
      return;
    default: return;  // floats and codebooks have packers of their own
  }
}

/// 32 values of 16 rows as 8 vectors of [16 rows][4 k].
using Vectors = std::array<std::array<uint8_t, 64>, 8>;

/// The built-in: a hardened libc turns std::memcpy of 4 bytes at a computed place into a call, a fifth of the load.
Vectors interleave(const std::array<RowBlock, kPanelRows>& rows, uint32_t first) noexcept {
  Vectors v;
  for (uint32_t r = 0; r < kPanelRows; ++r) {
    for (uint32_t j = 0; j < 8; ++j) __builtin_memcpy(v[j].data() + 4 * r, rows[r].q.data() + first + 4 * j, 4);
  }
  return v;
}

void put_bytes(const Vectors& v, uint8_t* out) noexcept { std::memcpy(out, v.data(), 512); }
void put_nibbles(const Vectors& v, uint8_t* out) noexcept {
  for (uint32_t j = 0; j < 4; ++j) {
    for (uint32_t i = 0; i < 64; ++i) out[64 * j + i] = narrow((v[j][i] & 15U) | (v[j + 4][i] & 15U) << 4U);
  }
}
void put_pairs(const Vectors& v, unsigned shift, uint8_t* out) noexcept {
  for (uint32_t half = 0; half < 2; ++half) {
    for (uint32_t i = 0; i < 64; ++i) {
      unsigned byte = 0;
      for (uint32_t j = 0; j < 4; ++j) byte |= (v[4 * half + j][i] >> shift & 3U) << (2 * j);
      out[64 * half + i] = narrow(byte);
    }
  }
}
void put_bits(const Vectors& v, unsigned shift, uint8_t* out) noexcept {
  for (uint32_t i = 0; i < 64; ++i) {
    unsigned byte = 0;
    for (uint32_t j = 0; j < 8; ++j) byte |= (v[j][i] >> shift & 1U) << j;
    out[i] = narrow(byte);
  }
}

/// The bit planes of block `b` (of 32 values); offsets as in kernels/formats.inl.h.
void put_planes(Format format, const Vectors& v, uint32_t b, uint8_t* out) noexcept {
  switch (format) {
    case Format::kQ4_0: return put_nibbles(v, out + 32);
    case Format::kQ4_1: return put_nibbles(v, out + 64);
    case Format::kQ5_0: return put_bits(v, 4, out + 32), put_nibbles(v, out + 96);
    case Format::kQ5_1: return put_bits(v, 4, out + 64), put_nibbles(v, out + 128);
    case Format::kQ8_0: return put_bytes(v, out + 32);
    case Format::kQ2_K: return put_pairs(v, 0, out + 320 + 128 * b);
    case Format::kQ3_K: return put_bits(v, 2, out + 288 + 192 * b), put_pairs(v, 0, out + 352 + 192 * b);
    case Format::kQ4_K: return put_nibbles(v, out + 320 + 256 * b);
    case Format::kQ5_K: return put_bits(v, 4, out + 320 + 320 * b), put_nibbles(v, out + 384 + 320 * b);
    case Format::kQ6_K: return put_nibbles(v, out + 288 + 384 * b), put_pairs(v, 4, out + 544 + 384 * b);
    case Format::kIQ4_NL: return put_nibbles(v, out + 32);
    case Format::kIQ4_XS: return put_nibbles(v, out + 160 + 256 * b);
    case Format::kMXFP4: return put_nibbles(v, out + 16);
    case Format::kTQ2_0:
    case Format::kQ2_0: return put_pairs(v, 0, out + 32 + 128 * b);
    case Format::kNVFP4: return put_nibbles(v, out + 64 + 256 * b);
    case Format::kQ1_0: return put_bits(v, 0, out + 32 + 64 * b);
    default: return;
  }
}

void put_scales(Format format, const std::array<RowBlock, kPanelRows>& rows, uint8_t* out) noexcept {
  const bool has_m = format == Format::kQ4_1 || format == Format::kQ5_1 || format == Format::kQ2_K ||
                     format == Format::kQ4_K || format == Format::kQ5_K;
  const bool k4 = format == Format::kQ4_K || format == Format::kQ5_K;
  const bool k16 = format == Format::kQ3_K || format == Format::kQ6_K;
  uint8_t* scales = out + (has_m ? 64 : 32);
  if (format == Format::kMXFP4 || format == Format::kNVFP4) {  // no f16 scale above these
    for (uint32_t s = 0; s < (format == Format::kNVFP4 ? 4 : 1); ++s) {
      for (uint32_t r = 0; r < kPanelRows; ++r) out[16 * s + r] = rows[r].scales[s];
    }
    return;
  }
  for (uint32_t r = 0; r < kPanelRows; ++r) {
    std::memcpy(out + 2 * r, rows[r].d.data(), 2);
    if (has_m) std::memcpy(out + 32 + 2 * r, rows[r].m.data(), 2);
    if (k16) {
      for (uint32_t s = 0; s < 16; ++s) scales[16 * s + r] = rows[r].scales[s];
    }
    if (format == Format::kIQ4_XS) {
      for (uint32_t s = 0; s < 8; ++s) scales[16 * s + r] = rows[r].scales[s];
    }
    if (k4) {
      for (uint32_t s = 0; s < 8; ++s) {
        scales[16 * s + r] = rows[r].scales[s];
        scales[128 + 64 * (s / 4) + 4 * r + s % 4] = rows[r].mins[s];
      }
    }
    if (format == Format::kQ2_K) {  // the file's byte has the factor below, the minimum above
      for (uint32_t s = 0; s < 8; ++s) {
        const unsigned low = rows[r].scales[s];
        const unsigned high = rows[r].scales[s + 8];
        scales[16 * s + r] = narrow((low & 15U) | (high & 15U) << 4U);
        scales[128 + 64 * (s / 4) + 4 * r + s % 4] = narrow(low >> 4U | (high >> 4U) << 4U);
      }
    }
  }
}

template <class Word, bool Pairs>
void interleave_floats(const std::byte* file_rows, uint32_t rows, uint64_t k, uint8_t* panel) noexcept {
  for (uint64_t i = 0; i < k; ++i) {
    for (uint32_t r = 0; r < rows; ++r) {
      const uint64_t to = Pairs ? (i / 2 * kPanelRows + r) * 2 + i % 2 : i * kPanelRows + r;
      __builtin_memcpy(panel + to * sizeof(Word), file_rows + (r * k + i) * sizeof(Word), sizeof(Word));
    }
  }
}

void pack_floats(Format format, const std::byte* file_rows, uint32_t rows, uint64_t k, uint8_t* panel) noexcept {
  if (rows < kPanelRows || k % 2 != 0) std::memset(panel, 0, panel_bytes(format, k));
  if (format == Format::kF32) return interleave_floats<uint32_t, false>(file_rows, rows, k, panel);
  if (format == Format::kF16) return interleave_floats<uint16_t, false>(file_rows, rows, k, panel);
  interleave_floats<uint16_t, true>(file_rows, rows, k, panel);
}

void pack_codebooks(Format format, const std::byte* file_rows, uint32_t rows, uint64_t k, uint8_t* panel) noexcept {
  const FormatInfo& info = format_info(format);
  const uint64_t blocks = k / info.block_values;
  std::memset(panel, 0, panel_bytes(format, k));
  for (uint64_t b = 0; b < blocks; ++b) {
    for (uint32_t r = 0; r < rows; ++r) {
      const std::byte* block = file_rows + (r * blocks + b) * info.file_block_bytes;
      pack_codebook_row(format, reinterpret_cast<const uint8_t*>(block), r, panel + b * info.packed_block_bytes);
    }
  }
}

}  // namespace

void pack_panel(Format format, const std::byte* file_rows, uint32_t rows, uint64_t k, uint8_t* panel) noexcept {
  if (!is_integer(format)) return pack_floats(format, file_rows, rows, k, panel);
  if (is_codebook(format)) return pack_codebooks(format, file_rows, rows, k, panel);
  const FormatInfo& info = format_info(format);
  const uint64_t blocks = k / info.block_values;
  std::array<RowBlock, kPanelRows> row_blocks{};
  for (uint64_t b = 0; b < blocks; ++b, panel += info.packed_block_bytes) {
    for (uint32_t r = 0; r < rows; ++r) {
      const std::byte* block = file_rows + (r * blocks + b) * info.file_block_bytes;
      take_row_block(format, reinterpret_cast<const uint8_t*>(block), row_blocks[r]);
    }
    put_scales(format, row_blocks, panel);
    for (uint32_t i = 0; i < info.block_values / 32; ++i) put_planes(format, interleave(row_blocks, 32 * i), i, panel);
  }
}

}  // namespace kvasir::cpu
