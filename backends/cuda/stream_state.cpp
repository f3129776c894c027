// Ops with state per sequence.
#include "backends/cuda/cuda_stream.h"

namespace kvasir::cuda {
namespace {

constexpr uint32_t kRecurrentThreads = 64;  // as recurrent.cuh

}  // namespace

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
