// Ops with state per sequence, in straight loops over its rows: causal convolution (a thread per channel), the selective
// scan of Mamba-2 (a thread per state row), the gated delta rule (a thread per value column). A state cell belongs to
// one thread, so nothing needs a barrier.
#pragma once

#include "backends/cuda/kernels/activation.cuh"
#include "backends/cuda/kernels/args.h"
#include "backends/cuda/kernels/simt.h"

namespace kvasir::cuda {

constexpr uint32_t kRecurrentThreads = 64;

KVASIR_DEVICE float* state_of(const StateView& s, const StepTables& step, uint32_t sequence) {
  return s.base + step.state_slots[sequence] * s.slot_floats;
}
KVASIR_DEVICE const float* row_of(const MatView& m, uint32_t row) { return m.data + row * m.stride; }

/// State: [channels][taps - 1], oldest first. Grid: (channels / threads, sequences).
KVASIR_KERNEL(kRecurrentThreads, 8) conv_kernel(KVASIR_ARGS(ConvArgs) a) {
  begin_dependent();
  const uint32_t c = block_x() * threads_x() + thread_x(), sequence = block_y(), past = a.n_taps - 1;
  if (c >= a.x.cols) return;
  float* state = state_of(a.state, a.step, sequence) + static_cast<uint64_t>(c) * past;
  const float* taps = a.taps + static_cast<uint64_t>(c) * a.n_taps;
  const uint32_t first = a.step.first_rows[sequence], count = a.step.row_counts[sequence];
  for (uint32_t t = first; t < first + count; ++t) {
    const float x = row_of(a.x, t)[c];
    float sum = a.bias != nullptr ? a.bias[c] : 0.0F;
    for (uint32_t i = 0; i < past; ++i) sum = fmaf(taps[i], state[i], sum);
    sum = fmaf(taps[past], x, sum);
    for (uint32_t i = 0; i + 1 < past; ++i) state[i] = state[i + 1];
    if (past > 0) state[past - 1] = x;
    a.y.data[t * a.y.stride + c] = activation_of(a.activation, sum);
  }
}

/// State: [heads][head_dim][state_dim]. Grid: (heads, sequences, head_dim / threads).
KVASIR_KERNEL(kRecurrentThreads, 8) scan_kernel(KVASIR_ARGS(ScanArgs) a) {
  begin_dependent();
  const uint32_t h = block_x(), sequence = block_y(), p = block_z() * threads_x() + thread_x(), n = a.state_dim;
  if (p >= a.head_dim) return;
  float* s = state_of(a.state, a.step, sequence) + (static_cast<uint64_t>(h) * a.head_dim + p) * n;
  const uint32_t group = h / (a.heads / a.groups), at = h * a.head_dim + p;
  const uint32_t first = a.step.first_rows[sequence], count = a.step.row_counts[sequence];
  for (uint32_t t = first; t < first + count; ++t) {
    const float step = activation_of(8, row_of(a.dt, t)[h] + (a.dt_bias != nullptr ? a.dt_bias[h] : 0.0F));
    const float decay = expf(step * a.a[h]), in = row_of(a.x, t)[at];
    const float* b = row_of(a.b, t) + group * n;
    const float* c = row_of(a.c, t) + group * n;
    float out = a.d != nullptr ? a.d[h] * in : 0.0F;
    for (uint32_t i = 0; i < n; ++i) {
      s[i] = fmaf(decay, s[i], step * in * b[i]);
      out = fmaf(s[i], c[i], out);
    }
    a.y.data[t * a.y.stride + at] = out;
  }
}

/// State: [v heads][k_dim][v_dim]. Grid: (v heads, sequences, v_dim / threads).
KVASIR_KERNEL(kRecurrentThreads, 8) delta_kernel(KVASIR_ARGS(DeltaArgs) a) {
  begin_dependent();
  const uint32_t h = block_x(), sequence = block_y(), j = block_z() * threads_x() + thread_x();
  if (j >= a.v_dim) return;
  float* s = state_of(a.state, a.step, sequence) + static_cast<uint64_t>(h) * a.k_dim * a.v_dim + j;
  const uint32_t k_head = h / (a.v_heads / a.k_heads), at = h * a.v_dim + j;
  const uint32_t first = a.step.first_rows[sequence], count = a.step.row_counts[sequence];
  for (uint32_t t = first; t < first + count; ++t) {
    const float* key = row_of(a.k, t) + k_head * a.k_dim;
    const float* query = row_of(a.q, t) + k_head * a.k_dim;
    const float decay = expf(row_of(a.g, t)[h]);
    float known = 0.0F;
    for (uint32_t i = 0; i < a.k_dim; ++i) {
      float& cell = s[static_cast<uint64_t>(i) * a.v_dim];
      cell *= decay;
      known = fmaf(cell, key[i], known);
    }
    const float change = row_of(a.beta, t)[h] * (row_of(a.v, t)[at] - known);
    float out = 0.0F;
    for (uint32_t i = 0; i < a.k_dim; ++i) {
      float& cell = s[static_cast<uint64_t>(i) * a.v_dim];
      cell = fmaf(key[i], change, cell);
      out = fmaf(cell, query[i], out);
    }
    a.y.data[t * a.y.stride + at] = out;
  }
}

}  // namespace kvasir::cuda
