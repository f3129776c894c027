// The inner loop of linear_int.inl.h for weights whose 256 values share a float scale d (and dmin) over sub-blocks with
// small integer factors (K-quants, IQ4_XS). The scales of 8 blocks of activations are da * 2^power_b.
//
// Numerics, per output and 256 values, in k order and always the same:
//   isum_s = sum q * a - zero * sum a              exact, 32-bit, per sub-block s of 32 (16 where kHalves)
//   f      = fma(float(isum_s) * 2^power, factor_s, f)  from f = 0
//   t      = f * d;  t = fma(float(sum_s mins_s * sum_s a * 2^power), -dmin, t)   the inner sum exact, 32-bit
//   acc    = fma(t, da, acc)
//
// Why not any scale per 32 (decisions.md 9): then each sub-block takes one product and two fused multiply-adds on the
// pipes that also multiply bytes, 11 operations for 8 useful ones. So it takes 9: powers of two are added to exponents by
// other pipes, and minima are multiplied as bytes, four sub-blocks at a time. One scale per 256 (Q8_K of llama.cpp) saves
// nothing more and costs three times the error (measured.md).
#pragma once








namespace kvasir::cpu::KVASIR_ISA {
namespace {

KV_INLINE int32_t load_i32(const void* p) {
  int32_t v;
  __builtin_memcpy(&v, p, 4);
  return v;
}

/// What to fetch while a panel is multiplied: `step` bytes per 32 values of k (per 2 of float formats). Wide tiles read a panel so slowly that the
/// CPU's own prefetchers stop at its pages; a single column keeps them going.
struct Ahead {
  const uint8_t* at = nullptr;
  uint32_t step = 0;
  KV_INLINE void fetch(Ahead& ahead) {
    for (uint32_t i = 0; i < ahead.step; i += 64) __builtin_prefetch(ahead.at + i, 0, 2);
    ahead.at += ahead.step;
  }
};

/// g++ 12 takes expand_panel<Q2_K> for AVX-512 to be a function without effects (ipa-modref and ipa-pure-const, each by
/// itself; its code is right) and drops the call. An empty statement that may write memory tells it otherwise.
KV_INLINE void copy_is_an_effect() { __asm__ volatile("" ::: "memory"); }

/// Columns whose products alternate, so that none waits for its own last one.
constexpr int columns_at_once(int columns) { return columns % kColumnsAtOnce == 0 ? kColumnsAtOnce : 1; }

/// lq_dot_block() for `Columns` adjacent columns.
template <int Bits, int Vectors, int Columns>
KV_INLINE void lq_dot_columns(LI* s, const LQ* q, const int8_t* a, uint32_t column_bytes) {
#if defined(KVASIR_KERNEL_VNNI)
  KV_UNROLL
  for (int j = 0; j < Vectors; ++j) {
    KV_UNROLL
    for (int c = 0; c < Columns; ++c) {
      int32_t v;
      __builtin_memcpy(&v, a + static_cast<uint32_t>(j) * column_bytes + 4 * c, 4);
      s[c] = lq_dot(s[c], q[j], v);
    }
  }
#else
  KV_UNROLL
  for (int c = 0; c < Columns; ++c) s[c] = lq_dot_block<Bits, Vectors>(s[c], q, a + 4 * c, column_bytes);
#endif
}

/// What the sums of a block start from: the folded zero point, -zero * sum a of each column.
template <class W, int Columns>
KV_INLINE void start_sums(const float* zeros, LI* s) {
  KV_UNROLL
  for (int c = 0; c < Columns; ++c) {
    s[c] = li_zero();
    if constexpr (W::kZero != 0 && !(kSignedDot8 && W::kBits == 8)) s[c] = li_set(load_i32(zeros + c));
  }
}

/// One sub-block for all columns of the tile. `powers`, `zeros`: the block's powers and -zero * sum a of each column.
template <class W, int Columns, int Vectors>
KV_INLINE void add_sub_block(const LQ* q, LF factor, const int8_t* a, const float* powers, const float* zeros, LF* f) {
  constexpr int kAtOnce = columns_at_once(Columns);
  KV_UNROLL
  for (int first = 0; first < Columns; first += kAtOnce) {
    LI s[kAtOnce];
    start_sums<W, kAtOnce>(zeros + first, s);
    lq_dot_columns<W::kBits, Vectors, kAtOnce>(s, q, a + 4 * first, 4 * Columns);
    KV_UNROLL
    for (int c = 0; c < kAtOnce; ++c) {
      f[first + c] = lf_fma(lf_raise(lf_from_i(s[c]), load_i32(powers + first + c)), factor, f[first + c]);
    }
  }
}

/// sum_s mins_s * sum_s a * 2^power, from the highest digit down. `digits`: of the first column's first word.
template <int Bits, int Quads, int Columns>
KV_INLINE LI dot_minima(const LQ* mins, const int8_t* digits) {
  LI sum = li_zero();
  KV_UNROLL
  for (int d = kSuperDigits - 1; d >= 0; --d) {
    if (d + 1 < static_cast<int>(kSuperDigits)) sum = li_left(sum, 7);
    sum = lq_dot_block<Bits, Quads>(sum, mins, digits + 4 * d * Quads * Columns, 4 * Columns);
  }
  return sum;
}

/// What 256 values add to the sums of all columns.
template <class W, int Columns>
KV_INLINE void finish_super(const uint8_t* panel, uint32_t part, const float* da, const LF* f, float* sums) {
  constexpr int kQuads = static_cast<int>(W::kSubs / 4);
  const int8_t* digits = reinterpret_cast<const int8_t*>(da + 9 * Columns);
  const LF d = W::d(panel, part);
  LF minus_dmin = lf_zero();
  LQ mins[kQuads];
  if constexpr (W::kMin) {
    minus_dmin = lf_neg(W::dmin(panel, part));
    W::mins(panel, part, mins);
  }
  KV_UNROLL
  for (int c = 0; c < Columns; ++c) {
    LF t = lf_mul(f[c], d);
    if constexpr (W::kMin) {
      constexpr int kMinBits = W::kHalves ? 4 : 6;
      t = lf_fma(lf_from_i(dot_minima<kMinBits, kQuads, Columns>(mins, digits + 4 * c)), minus_dmin, t);
    }
    float* to = sums + kPanelRows * static_cast<uint32_t>(c);
    lf_store(to, lf_fma(t, lf_set(da[c]), lf_load(to)));
  }
}

/// sums[Columns][16] (this part of the rows) = the panel times the tile.
template <class W, int Columns>
KV_INLINE void dot_super_panel(const uint8_t* panel, uint32_t k, uint32_t part, const int8_t* a, const float* aux, Ahead ahead, float* sums) {
  constexpr uint32_t kPer = W::kHalves ? 2 : 1;
  constexpr uint32_t kAuxFloats = Columns * aux_width(static_cast<uint32_t>(W::kAux));
  KV_UNROLL
  for (int c = 0; c < Columns; ++c) lf_store(sums + kPanelRows * static_cast<uint32_t>(c), lf_zero());
  KV_NO_UNROLL
  for (uint32_t p = 0; p < k / kSuperValues; ++p, panel += W::kBytes, aux += kAuxFloats) {
    LF f[Columns];
    KV_UNROLL
    for (int c = 0; c < Columns; ++c) f[c] = lf_zero();
    KV_NO_UNROLL
    for (uint32_t b = 0; b < 8; ++b, a += 32 * Columns) {
      LQ q[8];
      if constexpr (Columns >= 3) Ahead::fetch(ahead);
      W::quants(panel, b, part, q);
      const float* powers = aux + Columns * (1 + b);
      const float* zeros = aux + Columns * (9 + kPer * b);
      add_sub_block<W, Columns, 8 / kPer>(q, W::factor(panel, kPer * b, part), a, powers, zeros, f);
      if constexpr (W::kHalves) {
        add_sub_block<W, Columns, 4>(q + 4, W::factor(panel, 2 * b + 1, part), a + 16 * Columns, powers, zeros + Columns, f);
      }
    }
    finish_super<W, Columns>(panel, part, aux, f, sums);
  }
}

/// Unpacks a whole panel into the order of ExpandedSuper.
template <class W>
KV_INLINE void expand_super_panel(const uint8_t* panel, uint32_t k, uint8_t* out) {
  using To = ExpandedOf<W>;
  KV_NO_UNROLL
  for (uint32_t p = 0; p < k / kSuperValues; ++p, panel += W::kBytes, out += To::kBytes) {
    for (uint32_t part = 0; part < kParts; ++part) {
      const uint32_t at = 4 * kLanes * part;
      KV_NO_UNROLL
      for (uint32_t b = 0; b < 8; ++b) {
        LQ q[8];
        W::quants(panel, b, part, q);
        KV_UNROLL
        for (uint32_t v = 0; v < 8; ++v) lq_store(out + 512 * b + 64 * v + at, q[v]);
      }
      auto put = [out, at](uint32_t offset, LF v) KV_LAMBDA { lf_store(reinterpret_cast<float*>(out + offset + at), v); };
      for (uint32_t s = 0; s < W::kSubs; ++s) put(To::kFactors + 64 * s, W::factor(panel, s, part));
      put(To::kD, W::d(panel, part));
      if constexpr (W::kMin) {
        put(To::kDmin, W::dmin(panel, part));
        LQ mins[W::kSubs / 4];
        W::mins(panel, part, mins);
        for (uint32_t i = 0; i < W::kSubs / 4; ++i) lq_store(out + To::kMins + 64 * i + at, mins[i]);
      }
    }
  }
  copy_is_an_effect();
}

}  // namespace
}  // namespace kvasir::cpu::KVASIR_ISA
