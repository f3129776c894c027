// Experts and ops with state per sequence.
#include <algorithm>

#include "backends/cuda/cuda_stream.h"

namespace kvasir::cuda {
namespace {

constexpr uint32_t kExpertThreads = 128, kExpertWarps = kExpertThreads / 32;  // as moe.cuh
constexpr uint32_t kRecurrentThreads = 64;                                    // as recurrent.cuh

}  // namespace

bool CudaStream::moe_usable(Mat y, Mat x, const MoeSpec& spec) noexcept {
  if (!has_data(y) || !has_data(x) || !same_shape(y, x)) return false;
  if (!require(spec.gate_inp != nullptr && spec.up != nullptr && spec.down != nullptr && spec.top_k > 0 && spec.top_k <= spec.experts &&
                   spec.gate_inp->rows() == spec.experts && spec.gate_inp->cols() == x.cols && spec.up->experts() == spec.experts && spec.up->cols() == x.cols &&
                   spec.down->experts() == spec.experts && spec.down->rows() == y.cols && spec.down->cols() == spec.up->rows() && spec.expert_groups > 0 &&
                   spec.experts % spec.expert_groups == 0 && spec.top_groups <= spec.expert_groups,
               "moe: weights do not fit each other")) {
    return false;
  }
  if (spec.gate != nullptr &&
      !require(spec.gate->experts() == spec.experts && spec.gate->rows() == spec.up->rows() && spec.gate->cols() == x.cols, "moe: weights do not fit each other")) {
    return false;
  }
  // With fewer experts in the best groups than are chosen, the rest would be picked among those ruled out.
  if (!require(spec.expert_groups == 1 || uint64_t{spec.top_groups} * (spec.experts / spec.expert_groups) >= spec.top_k, "moe: groups hold too few experts")) return false;
  const uint64_t hidden = spec.up->rows();
  return require(uint64_t{x.rows} * spec.top_k <= kMaxRows, "moe: too many rows") && fits(spec.gate_inp_bias, spec.experts) && fits(spec.select_bias, spec.experts) &&
         fits(spec.gate_bias, hidden * spec.experts) && fits(spec.up_bias, hidden * spec.experts) && fits(spec.down_bias, spec.experts * uint64_t{y.cols});
}

void CudaStream::expert_linear(const Weight& w, const Weight* bias, Mat y, Mat x, const uint32_t* ids, uint32_t items_per_x) noexcept {
  auto& args = launch<ExpertLinearArgs>(KernelId::kExpertLinear, {ceil_div(w.rows(), kExpertWarps), y.rows, 1}, kExpertThreads);
  args.w = cuda_weight(w).view();
  args.x = view_of(x);
  args.y = view_of(y);
  args.ids = ids;
  args.bias = values_or_null(bias);
  args.items_per_x = items_per_x;
}

void CudaStream::moe(Mat y, Mat x, const MoeSpec& spec) noexcept {
  if (!moe_usable(y, x, spec)) return;
  const size_t place = mark();
  const uint32_t items = x.rows * spec.top_k, hidden = static_cast<uint32_t>(spec.up->rows());
  const Mat logits = alloc(x.rows, spec.experts);
  auto* ids = scratch<uint32_t>(items);
  auto* weights = scratch<float>(items);
  auto* work = scratch<float>(uint64_t{x.rows} * 2 * spec.experts);
  const Mat up = alloc(items, hidden), out = alloc(items, y.cols);
  const Mat gate = spec.gate != nullptr ? alloc(items, hidden) : up;
  if (error_) return;
  linear_exact({.y = logits, .weight = spec.gate_inp}, x);
  auto& args = launch<RouterArgs>(KernelId::kRouter, {1, x.rows, 1}, 32);
  args.logits = view_of(logits);
  args.logit_bias = values_or_null(spec.gate_inp_bias);
  args.select_bias = values_or_null(spec.select_bias);
  args.ids = ids;
  args.weights = weights;
  args.scratch = work;
  args.experts = spec.experts;
  args.top_k = spec.top_k;
  args.router = static_cast<uint32_t>(spec.router);
  args.expert_groups = spec.expert_groups;
  args.top_groups = spec.top_groups;
  args.normalise = spec.normalise ? 1 : 0;
  args.weight_scale = spec.weight_scale;
  expert_linear(*spec.up, spec.up_bias, up, x, ids, spec.top_k);
  if (spec.gate != nullptr) {
    expert_linear(*spec.gate, spec.gate_bias, gate, x, ids, spec.top_k);
    gated(up, gate, up, spec.activation);
  } else {
    activate(up, up, spec.activation);
  }
  expert_linear(*spec.down, spec.down_bias, out, up, ids, 1);
  auto& sum = launch<ExpertSumArgs>(KernelId::kExpertSum, {ceil_div(y.cols, kExpertThreads), y.rows, 1}, kExpertThreads);
  sum.y = view_of(y);
  sum.x = view_of(out);
  sum.weights = weights;
  sum.top_k = spec.top_k;
  release(place);
}

bool CudaStream::state_usable(uint32_t state_layer, uint64_t offset, uint64_t floats) noexcept {
  if (!require(pool_ != nullptr && tables_.state_slots != nullptr && state_layer < pool_->spec().state_floats.size() &&
                   offset + floats <= pool_->spec().state_floats[state_layer],
               "recurrent state is missing")) {
    return false;
  }
  for (const SequenceRows& s : layout_->sequences) {
    if (!require(s.state_slot < pool_->spec().state_slots, "recurrent state of a sequence is missing")) return false;
  }
  return true;
}

void CudaStream::conv(Mat y, Mat x, const ConvSpec& spec) noexcept {
  if (!has_data(y) || !has_data(x) || !same_shape(y, x)) return;
  if (!require(spec.taps != nullptr && cuda_weight(*spec.taps).is_vector() && spec.taps->rows() == x.cols && x.rows == layout_->rows && spec.activation != Activation::kSwigluOai, "conv: taps have another size")) return;
  const uint64_t n_taps = spec.taps->cols();
  if (!fits(spec.bias, x.cols) || !state_usable(spec.state_layer, spec.state_offset, (n_taps - 1) * x.cols)) return;
  auto& args = launch<ConvArgs>(KernelId::kConv, {ceil_div(x.cols, kRecurrentThreads), static_cast<uint32_t>(layout_->sequences.size()), 1}, kRecurrentThreads);
  args.y = view_of(y);
  args.x = view_of(x);
  args.state = pool_->state(spec.state_layer, spec.state_offset);
  args.step = tables_;
  args.taps = values_or_null(spec.taps);
  args.bias = values_or_null(spec.bias);
  args.n_taps = static_cast<uint32_t>(n_taps);
  args.activation = static_cast<uint32_t>(spec.activation);
}

void CudaStream::scan(Mat y, Mat x, Mat b, Mat c, Mat dt, const ScanSpec& spec) noexcept {
  for (const Mat& m : {y, x, b, c, dt}) {
    if (!has_data(m) || !require(m.rows == layout_->rows, "scan: shapes differ")) return;
  }
  if (!require(uint64_t{spec.heads} * spec.head_dim == x.cols && y.cols == x.cols && uint64_t{spec.groups} * spec.state_dim == b.cols && c.cols == b.cols &&
                   dt.cols == spec.heads && spec.groups > 0 && spec.heads % spec.groups == 0 && spec.a_log_or_a != nullptr,
               "scan: shapes differ")) {
    return;
  }
  if (!fits(spec.a_log_or_a, spec.heads) || !fits(spec.d, spec.heads) || !fits(spec.dt_bias, spec.heads)) return;
  if (!state_usable(spec.state_layer, spec.state_offset, uint64_t{x.cols} * spec.state_dim)) return;
  auto& args = launch<ScanArgs>(KernelId::kScan, {spec.heads, static_cast<uint32_t>(layout_->sequences.size()), ceil_div(spec.head_dim, kRecurrentThreads)}, kRecurrentThreads);
  args.y = view_of(y);
  args.x = view_of(x);
  args.b = view_of(b);
  args.c = view_of(c);
  args.dt = view_of(dt);
  args.state = pool_->state(spec.state_layer, spec.state_offset);
  args.step = tables_;
  args.a = values_or_null(spec.a_log_or_a);
  args.d = values_or_null(spec.d);
  args.dt_bias = values_or_null(spec.dt_bias);
  args.heads = spec.heads;
  args.head_dim = spec.head_dim;
  args.state_dim = spec.state_dim;
  args.groups = spec.groups;
}

void CudaStream::delta(Mat y, Mat q, Mat k, Mat v, Mat g, Mat beta, const DeltaSpec& spec) noexcept {
  for (const Mat& m : {y, q, k, v, g, beta}) {
    if (!has_data(m) || !require(m.rows == layout_->rows, "delta: shapes differ")) return;
  }
  if (!require(spec.k_heads > 0 && spec.v_heads % spec.k_heads == 0 && q.cols == spec.k_heads * spec.k_dim && k.cols == q.cols &&
                   v.cols == spec.v_heads * spec.v_dim && y.cols == v.cols && g.cols == spec.v_heads && beta.cols == spec.v_heads,
               "delta: shapes differ")) {
    return;
  }
  if (!state_usable(spec.state_layer, spec.state_offset, uint64_t{spec.v_heads} * spec.k_dim * spec.v_dim)) return;
  auto& args = launch<DeltaArgs>(KernelId::kDelta, {spec.v_heads, static_cast<uint32_t>(layout_->sequences.size()), ceil_div(spec.v_dim, kRecurrentThreads)}, kRecurrentThreads);
  args.y = view_of(y);
  args.q = view_of(q);
  args.k = view_of(k);
  args.v = view_of(v);
  args.g = view_of(g);
  args.beta = view_of(beta);
  args.state = pool_->state(spec.state_layer, spec.state_offset);
  args.step = tables_;
  args.k_heads = spec.k_heads;
  args.v_heads = spec.v_heads;
  args.k_dim = spec.k_dim;
  args.v_dim = spec.v_dim;
}

}  // namespace kvasir::cuda
