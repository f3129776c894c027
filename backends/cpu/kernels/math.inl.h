// exp, tanh, the activation functions: fixed polynomials on 16 lanes, the same steps in every instruction set.
#pragma once

namespace kvasir::cpu::KVASIR_ISA {
namespace {

/// exp(x), relative error about 1e-7. Exactly 1 at 0 and exactly 0 below -87.3 (attention relies on both).
/// Source of the polynomial: Cephes, S. Moshier, expf.
KV_INLINE F f_exp(F x) {
  const F low = f_set(-87.3F);
  const M vanishes = f_less(x, low);
  const F clamped = f_max(low, f_min(f_set(88.3F), x));  // in this order NaN stays NaN
  const I n = f_round_i(f_mul(clamped, f_set(1.44269504F)));
  const F whole = i_float(n);
  F r = f_fma(whole, f_set(-0.693359375F), clamped);
  r = f_fma(whole, f_set(2.12194440e-4F), r);
  F p = f_set(1.9875691500e-4F);
  p = f_fma(p, r, f_set(1.3981999507e-3F));
  p = f_fma(p, r, f_set(8.3334519073e-3F));
  p = f_fma(p, r, f_set(4.1665795894e-2F));
  p = f_fma(p, r, f_set(1.6666665459e-1F));
  p = f_fma(p, r, f_set(5.0000001201e-1F));
  p = f_add(f_fma(p, f_mul(r, r), r), f_set(1.0F));
  return f_select(vanishes, f_zero(), f_mul(p, i_exp2(n)));
}

/// Source of the polynomial for small x: Cephes, tanhf.
KV_INLINE F f_tanh(F x) {
  const F z = f_mul(x, x);
  F p = f_set(-5.70498872745e-3F);
  p = f_fma(p, z, f_set(2.06390887954e-2F));
  p = f_fma(p, z, f_set(-5.37397155531e-2F));
  p = f_fma(p, z, f_set(1.33314422036e-1F));
  p = f_fma(p, z, f_set(-3.33332819422e-1F));
  const F small = f_fma(f_mul(p, z), x, x);
  const F e = f_exp(f_add(f_abs(x), f_abs(x)));
  const F large = f_sub(f_set(1.0F), f_div(f_set(2.0F), f_add(e, f_set(1.0F))));
  const F with_sign = f_select(f_less(x, f_zero()), f_sub(f_zero(), large), large);
  return f_select(f_less(f_abs(x), f_set(0.625F)), small, with_sign);
}

KV_INLINE F f_sigmoid(F x) { return f_div(f_set(1.0F), f_add(f_set(1.0F), f_exp(f_sub(f_zero(), x)))); }

/// x * Phi(x); Phi from Abramowitz & Stegun 7.1.26 (absolute error of erf 1.5e-7), taken on the side without cancellation.
KV_INLINE F f_gelu_erf(F x) {
  const F u = f_mul(f_abs(x), f_set(0.70710678F));
  const F t = f_div(f_set(1.0F), f_fma(u, f_set(0.3275911F), f_set(1.0F)));
  F p = f_set(1.061405429F);
  p = f_fma(p, t, f_set(-1.453152027F));
  p = f_fma(p, t, f_set(1.421413741F));
  p = f_fma(p, t, f_set(-0.284496736F));
  p = f_fma(p, t, f_set(0.254829592F));
  const F tail = f_mul(f_set(0.5F), f_mul(f_mul(p, t), f_exp(f_sub(f_zero(), f_mul(u, u)))));
  return f_mul(x, f_select(f_less(x, f_zero()), tail, f_sub(f_set(1.0F), tail)));
}

KV_INLINE F f_gelu_tanh(F x) {
  const F inner = f_mul(f_set(0.79788456F), f_fma(f_mul(f_set(0.044715F), f_mul(x, x)), x, x));
  // 0.5 (1 + tanh(u)) = sigmoid(2u), without cancellation
  return f_mul(x, f_sigmoid(f_add(inner, inner)));
}

/// log1p(exp(x)); libm, lane by lane: only state-space models use it, on a few values per row.
KV_INLINE F f_softplus(F x) {
  float lanes[16];
  f_store(lanes, x);
  for (float& v : lanes) v = v > 20.0F ? v : __builtin_log1pf(__builtin_expf(v));
  return f_load(lanes);
}

// In the order of kvasir::Activation (checked in dispatch.cpp).
enum ActivationKind : uint8_t {
  kSilu, kGeluErf, kGeluTanh, kGeluQuick, kRelu, kReluSquared, kSigmoid, kTanh, kSoftplus, kIdentity, kSwigluOai,
};

template <uint8_t Kind>
KV_INLINE F f_activate(F x) {
  if constexpr (Kind == kSilu) return f_mul(x, f_sigmoid(x));
  if constexpr (Kind == kGeluErf) return f_gelu_erf(x);
  if constexpr (Kind == kGeluTanh) return f_gelu_tanh(x);
  if constexpr (Kind == kGeluQuick) return f_mul(x, f_sigmoid(f_mul(x, f_set(1.702F))));
  if constexpr (Kind == kRelu) return f_max(x, f_zero());
  if constexpr (Kind == kReluSquared) {
    const F r = f_max(x, f_zero());
    return f_mul(r, r);
  }
  if constexpr (Kind == kSigmoid) return f_sigmoid(x);
  if constexpr (Kind == kTanh) return f_tanh(x);
  if constexpr (Kind == kSoftplus) return f_softplus(x);
  return x;
}

/// gate * act * up; gpt-oss clamps and shifts.
template <uint8_t Kind>
KV_INLINE F f_gated(F gate, F up) {
  if constexpr (Kind == kSwigluOai) {
    const F g = f_min(gate, f_set(7.0F));
    const F u = f_max(f_min(up, f_set(7.0F)), f_set(-7.0F));
    return f_mul(f_mul(g, f_sigmoid(f_mul(g, f_set(1.702F)))), f_add(u, f_set(1.0F)));
  } else {
    return f_mul(f_activate<Kind>(gate), up);
  }
}

}  // namespace
}  // namespace kvasir::cpu::KVASIR_ISA
