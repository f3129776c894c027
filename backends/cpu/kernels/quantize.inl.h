// The table's `quantize_row`: one row of activations to 8 bits with a scale per 32 values: the row's times a power of two,
// the smallest such that no value overflows; the largest is max|x| / 127, and q = round(x / scale). For weights whose own
// sub-scales are integers (linear_super.inl.h) every 256 values have such a common scale.
#pragma once

namespace kvasir::cpu::KVASIR_ISA {
namespace {

KV_INLINE void put_i32(float* to, int32_t v) { __builtin_memcpy(to, &v, 4); }

/// 16 values; the sum of what they became.
KV_INLINE int32_t quantize_16(F x, F inverse, int8_t* q) {
  const I rounded = f_round_i(f_mul(x, inverse));
  i_store_i8(q, rounded);
  return i_sum(rounded);
}

KV_INLINE float largest_of_32(const float* x) { return f_largest(f_max(f_abs(f_load(x)), f_abs(f_load(x + 16)))); }

/// Four values of k side by side in the column of a tile.
KV_INLINE void put_column(const int8_t* q, uint32_t n, uint32_t columns, int8_t* to) {
  for (uint32_t j = 0; j < n / 4; ++j) __builtin_memcpy(to + uint64_t{4} * j * columns, q + 4 * j, 4);
}

/// The largest power e <= most with part * 2^e <= whole.
KV_INLINE int32_t power_between(float part, float whole, int32_t most) {
  if (part == 0.0F) return most;
  int32_t p;
  int32_t w;
  __builtin_memcpy(&p, &part, 4);
  __builtin_memcpy(&w, &whole, 4);
  constexpr int32_t kMantissa = 0x7FFFFF;
  const int32_t e = (w >> 23) - (p >> 23) - ((p & kMantissa) > (w & kMantissa) ? 1 : 0);
  return e < 0 ? 0 : e > most ? most : e;
}
KV_INLINE float power_of_2(int32_t e) {
  const int32_t bits = (e + 127) << 23;
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}
/// What makes 127 of the largest value of a row, times 2^power: finite also for rows of the smallest floats.
KV_INLINE F raised(float inverse, int32_t power) {
  constexpr float kLargest = 3.40282347e38F;
  const float own = inverse * power_of_2(power);
  return f_set(own <= kLargest ? own : kLargest);
}

constexpr int32_t kAuxZeros[kAuxKinds] = {1, 8, 12, 16, 64, 128, 0, 12, 16, 64, 0, 128, 0, 4, 32};

void quantize_block_row(const QuantizeArgs& args) {
  const uint32_t columns = args.columns;
  float whole = 0.0F;
  for (uint32_t b = 0; b < args.k / 32; ++b) {
    const float largest = largest_of_32(args.x + 32 * b);
    whole = largest > whole ? largest : whole;
  }
  const float inverse = whole > 0.0F ? 127.0F / whole : 0.0F;
  for (uint32_t kind = 0; kind < kAuxKinds; ++kind) {
    if (args.aux[kind] != nullptr && !is_super(kind)) args.aux[kind][args.column] = whole / 127.0F * power_of_2(-kMostPower);
  }
  for (uint32_t b = 0; b < args.k / 32; ++b) {
    const float* x = args.x + 32 * b;
    const int32_t up = power_between(largest_of_32(x), whole, kMostPower);
    const F own = raised(inverse, up);
    alignas(32) int8_t q[32];
    const int32_t sums[2] = {quantize_16(f_load(x), own, q), quantize_16(f_load(x + 16), own, q + 16)};
    put_column(q, 32, columns, args.q + uint64_t{32} * b * columns + 4 * args.column);
    for (uint32_t kind = 0; kind < kAuxKinds; ++kind) {
      if (args.aux[kind] == nullptr || is_super(kind)) continue;
      float* aux = args.aux[kind] + columns + uint64_t{b} * aux_width(kind) * columns + args.column;
      const int32_t power = kMostPower - up, zero = kAuxZeros[kind];
      put_i32(aux, power << 23);
      if (aux_width(kind) == 3) {
        put_i32(aux + columns, -zero * sums[0]);
        put_i32(aux + 2 * columns, -zero * sums[1]);
      } else if (zero != 0) {
        put_i32(aux + columns, -zero * (sums[0] + sums[1]));
      } else {
        aux[columns] = static_cast<float>(sums[0] + sums[1]) * power_of_2(power);
      }
    }
  }
}

/// 256 values: q, the sums of every 16, the powers of the 8 blocks; the common scale.
KV_INLINE float quantize_super(const float* x, int8_t* q, int32_t* sums, int32_t* powers) {
  float largest[8];
  float whole = 0.0F;
  for (uint32_t b = 0; b < 8; ++b) {
    largest[b] = largest_of_32(x + 32 * b);
    whole = largest[b] > whole ? largest[b] : whole;
  }
  const float inverse = whole > 0.0F ? 127.0F / whole : 0.0F;
  int32_t most = 0;
  for (uint32_t b = 0; b < 8; ++b) {
    powers[b] = power_between(largest[b], whole, kMaxSuperPower);
    most = powers[b] > most ? powers[b] : most;
    const F own = raised(inverse, powers[b]);
    for (uint32_t i = 0; i < 2; ++i) sums[2 * b + i] = quantize_16(f_load(x + 32 * b + 16 * i), own, q + 32 * b + 16 * i);
  }
  for (uint32_t b = 0; b < 8; ++b) powers[b] = most - powers[b];
  return whole / 127.0F * power_of_2(-most);
}

/// n sums to digits, see Aux.
KV_INLINE void put_digits(const int32_t* sums, uint32_t n, uint32_t columns, float* to) {
  for (uint32_t i = 0; i < n; i += 4) {
    int8_t digits[kSuperDigits][4];
    for (uint32_t j = 0; j < 4; ++j) {
      digits[0][j] = static_cast<int8_t>(sums[i + j] & 127);
      digits[1][j] = static_cast<int8_t>(sums[i + j] >> 7 & 127);
      digits[2][j] = static_cast<int8_t>(sums[i + j] >> 14);
    }
    for (uint32_t d = 0; d < kSuperDigits; ++d) __builtin_memcpy(to + (d * n + i) / 4 * columns, digits[d], 4);
  }
}

void quantize_super_row(const QuantizeArgs& args) {
  const uint32_t columns = args.columns;
  for (uint32_t b = 0; b < args.k / kSuperValues; ++b) {
    alignas(64) int8_t q[kSuperValues];
    int32_t sums[16];
    int32_t powers[8];
    const float d = quantize_super(args.x + kSuperValues * b, q, sums, powers);
    put_column(q, kSuperValues, columns, args.q_super + uint64_t{kSuperValues} * b * columns + 4 * args.column);
    for (uint32_t kind = 0; kind < kAuxKinds; ++kind) {
      if (args.aux[kind] == nullptr || !is_super(kind)) continue;
      const bool halves = kind >= static_cast<uint32_t>(Aux::kSuperMinx16);
      const uint32_t n = halves ? 16 : 8;
      const int32_t zero = kAuxZeros[kind];
      float* aux = args.aux[kind] + uint64_t{b} * aux_width(kind) * columns + args.column;
      aux[0] = d;
      int32_t of[16];
      for (uint32_t i = 0; i < n; ++i) {
        of[i] = halves ? sums[i] : sums[2 * i] + sums[2 * i + 1];
        if (zero == 0) of[i] <<= powers[halves ? i / 2 : i];
        else put_i32(aux + (9 + i) * columns, -zero * of[i]);
      }
      for (uint32_t i = 0; i < 8; ++i) put_i32(aux + (1 + i) * columns, powers[i] << 23);
      if (zero == 0) put_digits(of, n, columns, aux + 9 * columns);
    }
  }
}

void quantize_row(const QuantizeArgs& args) {
  if (args.q != nullptr) quantize_block_row(args);
  if (args.q_super != nullptr) quantize_super_row(args);
}

}  // namespace
}  // namespace kvasir::cpu::KVASIR_ISA
