// Kernels over one row of activations: norm, activation, residual, rope. Sums run over 16 lanes (4 x 16 in
// norms) and one fixed tree, so that every instruction set adds in the same order.
#pragma once

namespace kvasir::cpu::KVASIR_ISA {
namespace {

/// Calls step(F value at i, i) over n values: whole vectors, then the tail padded with zeros.
template <class Step>
KV_INLINE void each_vector(const float* x, uint32_t n, Step step) {
  uint32_t i = 0;
  for (; i + 16 <= n; i += 16) step(f_load(x + i), i, 16U);
  if (i < n) step(f_load_part(x + i, n - i), i, n - i);
}

/// sum of (x - mean)^2, four chains of 16 lanes.
KV_INLINE float sum_of_squares(const float* x, uint32_t n, float mean) {
  F sums[4] = {f_zero(), f_zero(), f_zero(), f_zero()};
  const F m = f_set(mean);
  uint32_t i = 0;
  for (; i + 64 <= n; i += 64) {
    KV_UNROLL
    for (uint32_t j = 0; j < 4; ++j) {
      const F d = f_sub(f_load(x + i + 16 * j), m);
      sums[j] = f_fma(d, d, sums[j]);
    }
  }
  for (; i + 16 <= n; i += 16) {
    const F d = f_sub(f_load(x + i), m);
    sums[0] = f_fma(d, d, sums[0]);
  }
  if (i < n) {
    const F d = f_select(f_less(f_iota(), f_set(static_cast<float>(n - i))), f_sub(f_load_part(x + i, n - i), m), f_zero());
    sums[1] = f_fma(d, d, sums[1]);
  }
  return f_sum(f_add(f_add(sums[0], sums[1]), f_add(sums[2], sums[3])));
}

KV_INLINE float sum_of(const float* x, uint32_t n) {
  F sum = f_zero();
  each_vector(x, n, [&](F v, uint32_t, uint32_t) { sum = f_add(sum, v); });
  return f_sum(sum);
}

void norm(const NormArgs& args) {
  const float count = static_cast<float>(args.n);
  const float mean = args.layer ? sum_of(args.x, args.n) / count : 0.0F;
  const float variance = sum_of_squares(args.x, args.n, mean) / count;
  const F factor = f_set(1.0F / __builtin_sqrtf(variance + args.eps));
  const F shift = f_set(mean);
  each_vector(args.x, args.n, [&](F v, uint32_t i, uint32_t n) {
    F y = f_mul(f_sub(v, shift), factor);
    if (args.weight != nullptr) y = f_mul(y, n == 16 ? f_load(args.weight + i) : f_load_part(args.weight + i, n));
    if (args.bias != nullptr) y = f_add(y, n == 16 ? f_load(args.bias + i) : f_load_part(args.bias + i, n));
    if (n == 16) f_store(args.y + i, y);
    else f_store_part(args.y + i, y, n);
  });
}

/// y[i] = step(x[i], z[i]); y may be x or z.
template <class Step>
KV_INLINE void map2(float* y, const float* x, const float* z, uint32_t n, Step step) {
  uint32_t i = 0;
  for (; i + 16 <= n; i += 16) f_store(y + i, step(f_load(x + i), f_load(z + i)));
  if (i < n) f_store_part(y + i, step(f_load_part(x + i, n - i), f_load_part(z + i, n - i)), n - i);
}

template <uint8_t Kind>
void gated_of(float* y, const float* gate, const float* up, uint32_t n) {
  map2(y, gate, up, n, [](F g, F u) { return f_gated<Kind>(g, u); });
}
template <uint8_t Kind>
void activate_of(float* y, const float* x, uint32_t n) {
  map2(y, x, x, n, [](F v, F) { return f_activate<Kind>(v); });
}

void gated(float* y, const float* gate, const float* up, uint32_t n, ActivationIndex kind) {
  using Function = void (*)(float*, const float*, const float*, uint32_t);
  constexpr Function kFunctions[] = {
      gated_of<kSilu>,    gated_of<kGeluErf>, gated_of<kGeluTanh>, gated_of<kGeluQuick>, gated_of<kRelu>, gated_of<kReluSquared>,
      gated_of<kSigmoid>, gated_of<kTanh>,    gated_of<kSoftplus>, gated_of<kIdentity>,  gated_of<kSwigluOai>};
  kFunctions[kind](y, gate, up, n);
}

void activate(float* y, const float* x, uint32_t n, ActivationIndex kind) {
  using Function = void (*)(float*, const float*, uint32_t);
  constexpr Function kFunctions[] = {
      activate_of<kSilu>,    activate_of<kGeluErf>, activate_of<kGeluTanh>, activate_of<kGeluQuick>, activate_of<kRelu>, activate_of<kReluSquared>,
      activate_of<kSigmoid>, activate_of<kTanh>,    activate_of<kSoftplus>, activate_of<kIdentity>,  activate_of<kIdentity>};
  kFunctions[kind](y, x, n);
}

void add(float* y, const float* x, float factor, uint32_t n) {
  const F f = f_set(factor);
  map2(y, y, x, n, [f](F a, F b) { return f_fma(f, b, a); });
}
void multiply(float* y, const float* x, uint32_t n) {
  map2(y, y, x, n, [](F a, F b) { return f_mul(a, b); });
}
void scale(float* y, float factor, uint32_t n) {
  const F f = f_set(factor);
  map2(y, y, y, n, [f](F a, F) { return f_mul(a, f); });
}
void soft_cap(float* y, float cap, uint32_t n) {
  const F c = f_set(cap);
  map2(y, y, y, n, [c](F a, F) { return f_mul(c, f_tanh(f_div(a, c))); });
}

void rope(const RopeArgs& args) {
  float* x = args.x;
  if (args.interleaved) {
    uint32_t i = 0;
    for (; i + 16 <= args.dims; i += 16) {
      const F v = f_load(x + i);
      f_store(x + i, f_fma(v, f_load(args.cos + i), f_mul(f_swap_pairs(v), f_load(args.sin + i))));
    }
    if (i < args.dims) {
      const uint32_t n = args.dims - i;
      const F v = f_load_part(x + i, n);
      const F turned = f_fma(v, f_load_part(args.cos + i, n), f_mul(f_swap_pairs(v), f_load_part(args.sin + i, n)));
      f_store_part(x + i, turned, n);
    }
    return;
  }
  const uint32_t half = args.dims / 2;
  float* high = x + half;
  for (uint32_t i = 0; i < half; i += 16) {
    const uint32_t n = half - i < 16 ? half - i : 16;
    const F a = f_load_part(x + i, n);
    const F b = f_load_part(high + i, n);
    const F c = f_load_part(args.cos + i, n);
    const F s = f_load_part(args.sin + i, n);
    f_store_part(x + i, f_fma(a, c, f_sub(f_zero(), f_mul(b, s))), n);
    f_store_part(high + i, f_fma(b, c, f_mul(a, s)), n);
  }
}

}  // namespace
}  // namespace kvasir::cpu::KVASIR_ISA
