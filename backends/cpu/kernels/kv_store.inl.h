// The table's `store_kv`: one row of keys and values into its page.
#pragma once

namespace kvasir::cpu::KVASIR_ISA {
namespace {

/// Writes `n` values of one row, 8-bit with an f16 scale per 32, `stride` bytes apart; scales `scale_stride` apart.
KV_INLINE void store_q8(int8_t* to, uint64_t stride, uint16_t* scales, uint64_t scale_stride, const float* x, uint32_t n) {
  for (uint32_t b = 0; b < n; b += 32) {
    float largest = 0.0F;
    const uint32_t count = n - b < 32 ? n - b : 32;
    for (uint32_t i = 0; i < count; ++i) {
      const float magnitude = __builtin_fabsf(x[b + i]);
      if (magnitude > largest) largest = magnitude;
    }
    const float d = largest / 127.0F;
    uint16_t half[16];
    f_store_f16(half, f_min(f_set(d), f_set(65504.0F)));
    scales[(b / 32) * scale_stride] = half[0];
    const F inverse = f_set(d > 0.0F ? 1.0F / d : 0.0F);
    alignas(16) float padded[32] = {};
    __builtin_memcpy(padded, x + b, count * sizeof(float));
    int8_t q[32];
    for (uint32_t i = 0; i < 32; i += 16) i_store_i8(q + i, f_round_i(f_mul(f_load(padded + i), inverse)));
    for (uint32_t i = 0; i < count; ++i) to[(b + i) * stride] = q[i];
  }
}

/// Values beyond f16 become its largest: an infinity in one row would turn masked products into NaN.
KV_INLINE void to_halves(uint16_t* to, const float* x, uint32_t n) {
  each_vector(x, n, [&](F v, uint32_t i, uint32_t count) {
    const F in_range = f_max(f_set(-65504.0F), f_min(f_set(65504.0F), v));
    uint16_t half[16];
    f_store_f16(half, in_range);
    __builtin_memcpy(to + i, half, count * sizeof(uint16_t));
  });
}

void store_kv(const StoreKvArgs& args) {
  const KvHeadLayout& layout = args.layout;
  uint8_t* values = args.head + layout.v;
  switch (layout.kind) {
    case KvKind::kF32: {
      float* keys = reinterpret_cast<float*>(args.head) + args.slot;
      for (uint32_t d = 0; d < layout.k_dim; ++d) keys[kPageRows * d] = args.k[d];
      if (args.v != nullptr) {
        __builtin_memcpy(reinterpret_cast<float*>(values) + uint64_t{args.slot} * layout.v_stride, args.v,
                         layout.v_dim * sizeof(float));
      }
      return;
    }
    case KvKind::kF16: {
      uint16_t* keys = reinterpret_cast<uint16_t*>(args.head) + args.slot;
      for (uint32_t d = 0; d < layout.k_dim; d += 64) {
        uint16_t half[64];
        const uint32_t n = layout.k_dim - d < 64 ? layout.k_dim - d : 64;
        to_halves(half, args.k + d, n);
        for (uint32_t i = 0; i < n; ++i) keys[kPageRows * (d + i)] = half[i];
      }
      if (args.v != nullptr) {
        to_halves(reinterpret_cast<uint16_t*>(values) + uint64_t{args.slot} * layout.v_stride, args.v, layout.v_dim);
      }
      return;
    }
    case KvKind::kQ8_0: {
      store_q8(reinterpret_cast<int8_t*>(args.head) + args.slot, kPageRows,
               reinterpret_cast<uint16_t*>(args.head + layout.k_scales) + args.slot, kPageRows, args.k, layout.k_dim);
      if (args.v != nullptr) {
        const uint64_t blocks = (layout.v_stride + 31) / 32;
        store_q8(reinterpret_cast<int8_t*>(values) + uint64_t{args.slot} * layout.v_stride, 1,
                 reinterpret_cast<uint16_t*>(args.head + layout.v_scales) + args.slot * blocks, 1, args.v, layout.v_dim);
      }
      return;
    }
  }
}

}  // namespace
}  // namespace kvasir::cpu::KVASIR_ISA
