// Mixture of experts: routing, products item by item or by expert, the weighed sum.
#include <algorithm>

#include "backends/cuda/cuda_stream.h"
#include "backends/cuda/kernels/gemv_shape.h"

namespace kvasir::cuda {
namespace {

constexpr uint32_t kExpertThreads = 128, kExpertWarps = kExpertThreads / 32;  // as moe.cuh
constexpr uint32_t kStaticShared = 1 << 10;                                   // barriers and items of expert_gemm at most
constexpr uint32_t kMostGrouped = 4096;                                       ///< experts: their counts lie in shared memory

uint32_t t16_index(Stored type) { return static_cast<uint32_t>(type) - static_cast<uint32_t>(Stored::kT16Q4_0); }

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

/// Tiles with 8-bit activations, where the step's other products are rounded too.
bool CudaStream::takes_expert_gemm(const Weight& w, uint32_t rows, uint32_t experts) const noexcept {
  const Stored type = cuda_weight(w).view().type;
  return options_.activations == Activations::kAuto && options_.prompts == Prompts::kHalf && rows > kFewRows && experts <= kMostGrouped && is_t16(type) &&
         expert_gemm_shared_bytes(type, kExpertWide) + kStaticShared <= device_.facts().shared_bytes;
}

/// Puts the items in order where several share an expert; bits do not depend on it.
void CudaStream::group_experts(ExpertItems& items, uint32_t experts, uint32_t width) noexcept {
  items.groups_count = items.count / width + std::min(experts, items.count);
  auto* order = scratch<uint32_t>(items.count);
  auto* groups = scratch<ExpertGroup>(items.groups_count);
  if (error_) return;
  auto& args = launch<ExpertOrderArgs>(KernelId::kExpertOrder, {experts, 1, 1}, kExpertThreads, experts * 4);
  args.ids = items.ids;
  args.order = order;
  args.groups = groups;
  args.items = items.count;
  args.experts = experts;
  args.width = width;
  args.most_groups = items.groups_count;
  items.order = order;
  items.groups = groups;
  items.wide = width == kExpertWide;
}

void CudaStream::expert_gemm(const Weight& weight, const Weight* bias, Mat y, const Quantised& x, const ExpertItems& items, uint32_t items_per_x) noexcept {
  const WeightView& w = cuda_weight(weight).view();
  const Grid grid{ceil_div(w.rows, kTileRows * kGemvWarps), items.groups_count, 1};
  auto& args = launch<ExpertGemmArgs>(expert_gemm_kernel_id(t16_index(w.type), items.wide), grid, kGemvWarps * 32,
                                      expert_gemm_shared_bytes(w.type, items.wide ? kExpertWide : kExpertNarrow));
  args.data = w.data;
  args.expert_bytes = w.expert_bytes;
  args.tile_bytes = w.row_bytes;
  args.q = x.q;
  args.scales = x.scales;
  args.order = items.order;
  args.groups = items.groups;
  args.bias = values_or_null(bias);
  args.y = y.data;
  args.y_stride = y.stride;
  args.rows = w.rows;
  args.cols = w.cols;
  args.items_per_x = items_per_x;
}

void CudaStream::expert_linear(const Weight& w, const Weight* bias, Mat y, Mat x, const ExpertItems& items, uint32_t items_per_x) noexcept {
  const bool grouped = items.groups != nullptr;
  auto& args = launch<ExpertLinearArgs>(grouped ? KernelId::kExpertRows : KernelId::kExpertLinear, {ceil_div(w.rows(), kExpertWarps), grouped ? items.groups_count : y.rows, 1}, kExpertThreads);
  args.w = cuda_weight(w).view();
  args.x = view_of(x);
  args.y = view_of(y);
  args.ids = items.ids;
  args.bias = values_or_null(bias);
  args.order = items.order;
  args.groups = items.groups;
  args.items_per_x = items_per_x;
}

/// Which experts each row takes, and with what weights.
void CudaStream::route(Mat x, const MoeSpec& spec, uint32_t* ids, float* weights) noexcept {
  const Mat logits = alloc(x.rows, spec.experts);
  auto* work = scratch<float>(uint64_t{x.rows} * 2 * spec.experts);
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
}

void CudaStream::moe(Mat y, Mat x, const MoeSpec& spec) noexcept {
  if (!moe_usable(y, x, spec)) return;
  const size_t place = mark();
  const uint32_t hidden = static_cast<uint32_t>(spec.up->rows());
  ExpertItems items;
  items.count = x.rows * spec.top_k;
  auto* ids = scratch<uint32_t>(items.count);
  auto* weights = scratch<float>(items.count);
  items.ids = ids;
  const Mat up = alloc(items.count, hidden), out = alloc(items.count, y.cols);
  const Mat gate = spec.gate != nullptr ? alloc(items.count, hidden) : up;
  route(x, spec, ids, weights);
  const auto tiled = [&](const Weight& w) { return takes_expert_gemm(w, x.rows, spec.experts); };
  const bool up_tiled = tiled(*spec.up), gate_tiled = spec.gate != nullptr && tiled(*spec.gate), down_tiled = tiled(*spec.down);
  const bool all = up_tiled && down_tiled && (spec.gate == nullptr || gate_tiled), any = up_tiled || gate_tiled || down_tiled;
  if (any || (items.count >= 2 * spec.experts && spec.experts <= kMostGrouped)) {
    group_experts(items, spec.experts, all && items.count > kExpertNarrow * spec.experts ? kExpertWide : kExpertNarrow);
  }
  const Quantised q = up_tiled || gate_tiled ? quantise({RowSource::kPlain, x, nullptr, {}, Activation::kIdentity}, 1) : Quantised{};
  if (error_) return;
  const auto into = [&](const Weight& w, const Weight* bias, Mat to, bool by_tiles) {
    if (by_tiles) expert_gemm(w, bias, to, q, items, spec.top_k);
    else expert_linear(w, bias, to, x, items, spec.top_k);
  };
  into(*spec.up, spec.up_bias, up, up_tiled);
  if (spec.gate != nullptr) into(*spec.gate, spec.gate_bias, gate, gate_tiled);
  if (down_tiled && spec.gate != nullptr) {
    const Quantised h = quantise({RowSource::kGated, gate, nullptr, up, spec.activation}, 1);
    expert_gemm(*spec.down, spec.down_bias, out, h, items, 1);
  } else {
    if (spec.gate != nullptr) gated(up, gate, up, spec.activation);
    else activate(up, up, spec.activation);
    if (down_tiled) expert_gemm(*spec.down, spec.down_bias, out, quantise({RowSource::kPlain, up, nullptr, {}, Activation::kIdentity}, 1), items, 1);
    else expert_linear(*spec.down, spec.down_bias, out, up, items, 1);
  }
  if (error_) return;
  auto& sum = launch<ExpertSumArgs>(KernelId::kExpertSum, {ceil_div(y.cols, kExpertThreads), y.rows, 1}, kExpertThreads);
  sum.y = view_of(y);
  sum.x = view_of(out);
  sum.weights = weights;
  sum.top_k = spec.top_k;
  release(place);
}

}  // namespace kvasir::cuda
