// Mixture of experts: routing on the device (one warp per row), then one product per chosen expert and row, and a sum in
// the order of the choice. Equal scores: the lower expert. Where experts are chosen by many rows, these are put in order
// first, so that a matrix is read once for several: here with f32 activations and the bits of single rows, in
// expert_gemm.cuh with 8-bit ones.
#pragma once

#include "backends/cuda/kernels/args.h"
#include "backends/cuda/kernels/decode.cuh"
#include "backends/cuda/kernels/simt.h"

namespace kvasir::cuda {

constexpr uint32_t kExpertThreads = 128;
constexpr uint32_t kExpertGroup = 8;  ///< items that share decoded weights

/// The largest of n values and where it is first; on every lane.
KVASIR_DEVICE uint32_t warp_best(const float* values, uint32_t n, float& best) {
  uint32_t at = n;
  best = as_float(0xFF800000U);
  for (uint32_t i = lane_id(); i < n; i += kWarp) {
    if (at == n || values[i] > best) {
      best = values[i];
      at = i;
    }
  }
  for (int mask = 16; mask > 0; mask >>= 1) {
    const float other = shuffle_xor(best, mask);
    const uint32_t other_at = shuffle_xor(at, mask);
    const bool take = other_at < n && (at >= n || other > best || (other == best && other_at < at));
    best = take ? other : best;
    at = take ? other_at : at;
  }
  return at;
}

KVASIR_DEVICE void warp_softmax(float* values, uint32_t n) {
  float largest = as_float(0xFF800000U);
  for (uint32_t i = lane_id(); i < n; i += kWarp) largest = fmaxf(largest, values[i]);
  largest = warp_max(largest);
  float sum = 0.0F;
  for (uint32_t i = lane_id(); i < n; i += kWarp) {
    values[i] = expf(values[i] - largest);
    sum += values[i];
  }
  sum = warp_sum(sum);
  for (uint32_t i = lane_id(); i < n; i += kWarp) values[i] /= sum;
  sync_warp();
}

/// Experts outside the best groups are out. A group counts as its best (softmax) or its two best (sigmoid).
KVASIR_DEVICE void keep_best_groups(const RouterArgs& a, float* scores) {
  const uint32_t size = a.experts / a.expert_groups;
  const auto worth = [&](uint32_t g) {
    float first = as_float(0xFF800000U), second = first;
    for (uint32_t i = 0; i < size; ++i) {
      const float v = scores[g * size + i];
      if (v > first) {
        second = first;
        first = v;
      } else if (v > second) {
        second = v;
      }
    }
    return a.router == 2 && size > 1 ? first + second : first;
  };
  // A group stays if fewer than top_groups are better than it; each lane decides for its groups before any is cut.
  for (uint32_t base = 0; base < a.expert_groups; base += kWarp) {
    const uint32_t g = base + lane_id();
    bool cut = false;
    if (g < a.expert_groups) {
      const float mine = worth(g);
      uint32_t better = 0;
      for (uint32_t o = 0; o < a.expert_groups; ++o) {
        const float v = worth(o);
        better += v > mine || (v == mine && o < g) ? 1 : 0;
      }
      cut = better >= a.top_groups;
    }
    sync_warp();
    if (cut) {
      for (uint32_t i = 0; i < size; ++i) scores[g * size + i] = as_float(0xFF800000U);
    }
    sync_warp();
  }
}

/// One warp per row. Grid: (1, rows).
KVASIR_KERNEL(kWarp, 8) router_kernel(KVASIR_ARGS(RouterArgs) a) {
  begin_dependent();
  const uint32_t row = block_y();
  float* weights = a.scratch + static_cast<uint64_t>(row) * 2 * a.experts;
  float* scores = weights + a.experts;
  for (uint32_t e = lane_id(); e < a.experts; e += kWarp) {
    float v = a.logits.data[row * a.logits.stride + e];
    if (a.logit_bias != nullptr) v += a.logit_bias[e];
    weights[e] = a.router == 2 ? 1.0F / (1.0F + expf(-v)) : v;
  }
  sync_warp();
  if (a.router == 0) warp_softmax(weights, a.experts);
  for (uint32_t e = lane_id(); e < a.experts; e += kWarp) scores[e] = weights[e] + (a.select_bias != nullptr ? a.select_bias[e] : 0.0F);
  sync_warp();
  if (a.expert_groups > 1) keep_best_groups(a, scores);
  float* picked = a.weights + row * a.top_k;
  for (uint32_t j = 0; j < a.top_k; ++j) {
    float best;
    const uint32_t e = warp_best(scores, a.experts, best);
    if (lane_id() == 0) {
      a.ids[row * a.top_k + j] = e;
      picked[j] = weights[e];
      scores[e] = as_float(0xFF800000U);
    }
    sync_warp();
  }
  if (a.router == 1) warp_softmax(picked, a.top_k);
  float sum = 0.0F;
  for (uint32_t j = 0; j < a.top_k; ++j) sum += picked[j];
  sync_warp();
  for (uint32_t j = lane_id(); j < a.top_k; j += kWarp) {
    picked[j] = (a.normalise != 0 ? picked[j] / fmaxf(sum, 1e-20F) : picked[j]) * a.weight_scale;
  }
}

/// A warp per output. Grid: (expert rows / warps, items).
KVASIR_KERNEL(kExpertThreads, 4) expert_linear_kernel(KVASIR_ARGS(ExpertLinearArgs) a) {
  begin_dependent();
  const uint32_t m = block_x() * (kExpertThreads / kWarp) + warp_id(), item = block_y();
  if (m >= a.w.rows) return;
  const uint32_t expert = a.ids[item];
  const float* x = a.x.data + item / a.items_per_x * a.x.stride;
  float sum = 0.0F;
  for (uint32_t g = lane_id(); 8 * g < a.w.cols; g += kWarp) {
    float w[8];
    decode_eight(a.w, expert, m, g, w);
    for (uint32_t i = 0; i < 8 && 8 * g + i < a.w.cols; ++i) sum = fmaf(w[i], x[8 * g + i], sum);
  }
  sum = warp_sum(sum);
  if (lane_id() == 0) a.y.data[item * a.y.stride + m] = a.bias != nullptr ? sum + a.bias[static_cast<uint64_t>(expert) * a.w.rows + m] : sum;
}

/// Each block puts one expert's items in their places, after counting everybody's. Dynamic shared memory: [experts] words.
/// Grid: (experts).
KVASIR_KERNEL(kExpertThreads, 4) expert_order_kernel(KVASIR_ARGS(ExpertOrderArgs) a) {
  KVASIR_SHARED uint32_t mine[kExpertThreads];
  begin_dependent();
  uint32_t* counts = reinterpret_cast<uint32_t*>(dynamic_shared());
  const uint32_t expert = block_x(), each = (a.items + kExpertThreads - 1) / kExpertThreads;
  const uint32_t begin = thread_x() * each, end = begin + each < a.items ? begin + each : a.items;
  for (uint32_t e = thread_x(); e < a.experts; e += kExpertThreads) counts[e] = 0;
  mine[thread_x()] = 0;
  sync_block();
  for (uint32_t i = begin; i < end; ++i) {
    fetch_add(counts + a.ids[i], 1);
    if (a.ids[i] == expert) ++mine[thread_x()];
  }
  sync_block();
  uint32_t at = 0, group = 0;
  for (uint32_t e = 0; e < expert; ++e) {
    at += counts[e];
    group += (counts[e] + a.width - 1) / a.width;
  }
  const uint32_t count = counts[expert], groups = (count + a.width - 1) / a.width;
  for (uint32_t g = thread_x(); g < groups; g += kExpertThreads) {
    const uint32_t left = count - g * a.width;
    a.groups[group + g] = {expert, at + g * a.width, left < a.width ? left : a.width, 0};
  }
  if (expert + 1 == a.experts) {
    for (uint32_t g = group + groups + thread_x(); g < a.most_groups; g += kExpertThreads) a.groups[g] = {0, 0, 0, 0};
  }
  for (uint32_t t = 0; t < thread_x(); ++t) at += mine[t];
  for (uint32_t i = begin; i < end; ++i) {
    if (a.ids[i] == expert) a.order[at++] = i;
  }
}

/// The same operations as in expert_linear_kernel, for up to eight items that share an expert: weights are decoded once.
/// Grid: (expert rows / warps, groups).
KVASIR_KERNEL(kExpertThreads, 4) expert_rows_kernel(KVASIR_ARGS(ExpertLinearArgs) a) {
  begin_dependent();
  const uint32_t m = block_x() * (kExpertThreads / kWarp) + warp_id();
  const ExpertGroup group = a.groups[block_y()];
  if (m >= a.w.rows || group.count == 0) return;
  const float* x[kExpertGroup];
  float sums[kExpertGroup] = {};
  KVASIR_UNROLL
  for (uint32_t c = 0; c < kExpertGroup; ++c) {
    const uint32_t item = a.order[group.first + (c < group.count ? c : 0)];
    x[c] = a.x.data + item / a.items_per_x * a.x.stride;
  }
  for (uint32_t g = lane_id(); 8 * g < a.w.cols; g += kWarp) {
    float w[8];
    decode_eight(a.w, group.expert, m, g, w);
    const uint32_t n = a.w.cols - 8 * g < 8 ? a.w.cols - 8 * g : 8;
    KVASIR_UNROLL
    for (uint32_t c = 0; c < kExpertGroup; ++c) {
      if (c >= group.count) continue;
      for (uint32_t i = 0; i < n; ++i) sums[c] = fmaf(w[i], x[c][8 * g + i], sums[c]);
    }
  }
  KVASIR_UNROLL
  for (uint32_t c = 0; c < kExpertGroup; ++c) {
    const float sum = warp_sum(sums[c]);
    if (c >= group.count || lane_id() != 0) continue;
    const uint32_t item = a.order[group.first + c];
    a.y.data[item * a.y.stride + m] = a.bias != nullptr ? sum + a.bias[static_cast<uint64_t>(group.expert) * a.w.rows + m] : sum;
  }
}

/// Grid: (columns / threads, rows).
KVASIR_KERNEL(kExpertThreads, 4) expert_sum_kernel(KVASIR_ARGS(ExpertSumArgs) a) {
  begin_dependent();
  const uint32_t i = block_x() * threads_x() + thread_x(), row = block_y();
  if (i >= a.y.cols) return;
  float sum = 0.0F;
  for (uint32_t j = 0; j < a.top_k; ++j) sum = fmaf(a.weights[row * a.top_k + j], a.x.data[(row * a.top_k + j) * a.x.stride + i], sum);
  a.y.data[row * a.y.stride + i] += sum;
}

}  // namespace kvasir::cuda
