// Ops on rows: embeddings, norms, elementwise ops, copies, rope.
#include "backends/cuda/cuda_stream.h"

namespace kvasir::cuda {
namespace {

constexpr uint32_t kThreads = 128, kNormThreads = 256;  // as rows.cuh

Grid over(Mat y) { return {ceil_div(y.cols, kThreads), y.rows, 1}; }

}  // namespace

void CudaStream::copy_rows(Mat y, const float* x, uint64_t x_stride, const uint32_t* rows) noexcept {
  auto& args = launch<CopyRowsArgs>(KernelId::kCopyRows, over(y), kThreads);
  args.y = view_of(y);
  args.x = x;
  args.x_stride = x_stride;
  args.rows = rows;
}

void CudaStream::embed(Mat y, const Weight& table, std::span<const TokenId> ids, float scale) noexcept {
  const CudaWeight& w = cuda_weight(table);
  if (!has_data(y) || !require(!w.is_vector() && ids.size() == y.rows && w.cols() == y.cols, "embed: shapes differ")) return;
  for (const TokenId id : ids) {
    if (!require(id >= 0 && static_cast<uint64_t>(id) < w.rows(), "embed: id outside the table")) return;
  }
  const TokenId* there = bring_in(ids);
  if (there == nullptr) return;
  auto& args = launch<DecodeRowsArgs>(KernelId::kDecodeRows, {ceil_div(y.cols, 8 * kThreads), y.rows, 1}, kThreads);
  args.y = view_of(y);
  args.table = w.view();
  args.ids = reinterpret_cast<const uint32_t*>(there);
  args.scale = scale;
}

void CudaStream::add_positions(Mat y, const Weight& table, uint32_t offset) noexcept {
  const CudaWeight& w = cuda_weight(table);
  if (!has_data(y) || !require(!w.is_vector() && y.rows == layout_->rows && w.cols() == y.cols && tables_.positions != nullptr, "add_positions: shapes differ")) return;
  for (const SequenceRows& s : layout_->sequences) {
    if (!require(uint64_t{s.first_position} + s.n_rows + offset <= w.rows(), "add_positions: position outside the table")) return;
  }
  auto& args = launch<DecodeRowsArgs>(KernelId::kDecodeRows, {ceil_div(y.cols, 8 * kThreads), y.rows, 1}, kThreads);
  args.y = view_of(y);
  args.table = w.view();
  args.ids = tables_.positions;
  args.scale = 1.0F;
  args.offset = offset;
  args.accumulate = 1;
}

void CudaStream::norm(Mat y, Mat x, const NormSpec& spec) noexcept {
  if (!has_data(y) || !has_data(x) || !same_shape(y, x) || !require(spec.groups > 0 && x.cols % spec.groups == 0, "norm: columns are no multiple of groups")) return;
  const uint32_t n = x.cols / spec.groups;
  const Weight* any = spec.weight != nullptr ? spec.weight : spec.bias;
  const bool shared = any == nullptr || cuda_weight(*any).value_count() == n;
  if (!fits(spec.weight, shared ? n : x.cols) || !fits(spec.bias, shared ? n : x.cols)) return;
  auto& args = launch<NormArgs>(KernelId::kNorm, {spec.groups, x.rows, 1}, kNormThreads);
  args.y = view_of(y);
  args.x = view_of(x);
  args.weight = values_or_null(spec.weight);
  args.bias = values_or_null(spec.bias);
  args.eps = spec.eps;
  args.groups = spec.groups;
  args.layer = spec.kind == NormKind::kLayer ? 1 : 0;
  args.weight_step = shared ? 0 : n;
}

void CudaStream::gated(Mat y, Mat gate, Mat up, Activation act) noexcept {
  if (!has_data(y) || !has_data(gate) || !has_data(up) || !same_shape(y, gate) || !same_shape(y, up)) return;
  auto& args = launch<ElementArgs>(KernelId::kElement, over(y), kThreads);
  args.kind = Element::kGated;
  args.y = view_of(y);
  args.x = view_of(gate);
  args.z = view_of(up);
  args.activation = static_cast<uint32_t>(act);
}

void CudaStream::activate(Mat y, Mat x, Activation act) noexcept {
  if (!has_data(y) || !has_data(x) || !same_shape(y, x)) return;
  auto& args = launch<ElementArgs>(KernelId::kElement, over(y), kThreads);
  args.kind = Element::kActivate;
  args.y = view_of(y);
  args.x = view_of(x);
  args.activation = static_cast<uint32_t>(act);
}

void CudaStream::add(Mat y, Mat x, float scale) noexcept {
  if (!has_data(y) || !has_data(x) || !same_shape(y, x)) return;
  auto& args = launch<ElementArgs>(KernelId::kElement, over(y), kThreads);
  args.kind = Element::kAdd;
  args.y = view_of(y);
  args.x = view_of(x);
  args.factor = scale;
}

void CudaStream::multiply(Mat y, Mat x) noexcept {
  if (!has_data(y) || !has_data(x) || !require(y.rows == x.rows && (x.cols == y.cols || x.cols == 1), "multiply: shapes differ")) return;
  auto& args = launch<ElementArgs>(KernelId::kElement, over(y), kThreads);
  args.kind = x.cols == y.cols ? Element::kMultiply : Element::kMultiplyRow;
  args.y = view_of(y);
  args.x = view_of(x);
}

void CudaStream::scale(Mat y, float factor) noexcept {
  if (!has_data(y)) return;
  auto& args = launch<ElementArgs>(KernelId::kElement, over(y), kThreads);
  args.kind = Element::kScale;
  args.y = args.x = view_of(y);
  args.factor = factor;
}

void CudaStream::soft_cap(Mat y, float cap) noexcept {
  if (!has_data(y) || !require(cap > 0.0F, "soft_cap: not positive")) return;
  auto& args = launch<ElementArgs>(KernelId::kElement, over(y), kThreads);
  args.kind = Element::kSoftCap;
  args.y = args.x = view_of(y);
  args.factor = cap;
}

void CudaStream::copy_columns(Mat y, uint32_t y_col, Mat x, uint32_t x_col, uint32_t count) noexcept {
  if (count == 0 || !has_data(y) || !has_data(x)) return;
  if (!require(y.rows == x.rows && y_col <= y.cols && count <= y.cols - y_col && x_col <= x.cols && count <= x.cols - x_col, "copy_columns: out of range")) return;
  copy_rows({y.data + y_col, y.rows, count, y.stride}, x.data + x_col, x.stride, nullptr);
}

void CudaStream::gather_rows(Mat y, Mat x, std::span<const uint32_t> rows) noexcept {
  if (rows.empty() || !has_data(y) || !has_data(x) || !require(y.rows == rows.size() && y.cols == x.cols, "gather_rows: shapes differ")) return;
  for (const uint32_t row : rows) {
    if (!require(row < x.rows, "gather_rows: no such row")) return;
  }
  const uint32_t* there = bring_in(rows);
  if (there != nullptr) copy_rows(y, x.data, x.stride, there);
}

bool CudaStream::rope_fits(Mat x, uint32_t heads, const RopeSpec& spec) noexcept {
  if (!has_data(x)) return false;
  if (!require(heads > 0 && x.cols % heads == 0 && x.rows == layout_->rows && tables_.positions != nullptr, "rope: columns are no multiple of heads")) return false;
  const uint32_t size = x.cols / heads, pairs = spec.dims / 2;
  return require(pairs > 0 && spec.dims % 2 == 0 && spec.dims <= size && spec.offset <= size - spec.dims && spec.inverse_frequency.size() == pairs, "rope: dims do not fit the head");
}

RopeArgs CudaStream::rope_args(Mat x, uint32_t heads, const RopeSpec& spec, const float* frequencies) const noexcept {
  RopeArgs args{};
  args.x = x.data;
  args.stride = x.stride;
  args.inverse_frequency = frequencies;
  args.positions = tables_.positions;
  args.head_size = x.cols / heads;
  args.offset = spec.offset;
  args.pairs = spec.dims / 2;
  args.interleaved = spec.kind == RopeKind::kInterleaved ? 1 : 0;
  args.magnitude = spec.magnitude;
  return args;
}

void CudaStream::rope(Mat x, uint32_t heads, const RopeSpec& spec) noexcept {
  if (spec.kind == RopeKind::kNone || !rope_fits(x, heads, spec)) return;
  const float* frequencies = bring_in(spec.inverse_frequency);
  if (frequencies == nullptr) return;
  launch<RopeArgs>(KernelId::kRope, {heads, x.rows, 1}, kThreads) = rope_args(x, heads, spec, frequencies);
}

void CudaStream::best(std::span<Candidate> into, Mat x, uint32_t count) noexcept {
  static_assert(sizeof(Candidate) == sizeof(BestValue));
  constexpr uint32_t kBestThreads = 256, kBestPiece = 4096;  // as best.cuh
  if (!has_data(x) || !require(count > 0 && count <= kMostCandidates && count <= x.cols && into.size() >= uint64_t{x.rows} * count, "best: too many or too little room")) return;
  const auto wanted = into.first(size_t{x.rows} * count);
  const uint32_t pieces = ceil_div(x.cols, kBestPiece);
  const uint64_t place = arena_.place();
  auto* keys = scratch<uint64_t>(uint64_t{x.rows} * pieces * count);
  auto out = out_.take(wanted.size_bytes());
  if (!out) return fail(std::move(out).error());
  if (error_) return;
  const auto fill = [&](BestArgs& args) {
    args.x = view_of(x);
    args.pieces = keys;
    args.out = reinterpret_cast<BestValue*>(out->device);
    args.count = count;
    args.piece_count = pieces;
  };
  fill(launch<BestArgs>(KernelId::kBestPieces, {pieces, x.rows, 1}, kBestThreads));
  fill(launch<BestArgs>(KernelId::kBestMerge, {x.rows, 1, 1}, kBestThreads));
  downloads_.push_back({std::as_writable_bytes(wanted), out->host});
  arena_.rewind(place);  // ops stay in order
}

}  // namespace kvasir::cuda
