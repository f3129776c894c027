// Products with weights: which kernel takes which, by type and number of rows.
#include <algorithm>

#include "backends/cuda/cuda_stream.h"
#include "backends/cuda/kernels/gemv_shape.h"

namespace kvasir::cuda {
namespace {

constexpr uint32_t kExactThreads = 128, kExactWarps = kExactThreads / 32, kExactColumns = 8;  // as linear_exact.cuh
constexpr uint32_t kQuantiseThreads = 256;                                                   // as quantise.cuh
constexpr uint32_t kProductThreads = 256, kDecodeThreads = 128;                              // as product.cuh, repack.cuh
constexpr uint32_t kStaticShared = 6 << 10;                                                   // barriers and partial sums of the kernels at most
constexpr uint64_t kDecodedBytes = uint64_t{16} << 20;  ///< of weights at a time: stays in the cache until it is multiplied

LinearOutput output_of(const LinearSpec& part) {
  return {view_of(part.y), values_or_null(part.bias), part.scale, part.accumulate ? 1U : 0U};
}

uint32_t t16_index(Stored type) { return static_cast<uint32_t>(type) - static_cast<uint32_t>(Stored::kT16Q4_0); }

}  // namespace

bool CudaStream::linear_fits(std::span<const LinearSpec> parts, Mat x) noexcept {
  if (!has_data(x)) return false;
  for (const LinearSpec& part : parts) {
    if (!require(part.weight != nullptr, "linear: no weight") || !has_data(part.y)) return false;
    const CudaWeight& w = cuda_weight(*part.weight);
    if (!require(!w.is_vector() && w.experts() == 1 && w.cols() == x.cols && w.rows() == part.y.cols && part.y.rows == x.rows, "linear: shapes differ")) return false;
    if (!fits(part.bias, w.rows())) return false;
  }
  return true;
}

bool CudaStream::takes_quantised(const LinearSpec& part, uint32_t rows) const noexcept {
  const CudaWeight& w = cuda_weight(*part.weight);
  return options_.activations == Activations::kAuto && is_t16(w.view().type) && rows <= kFewRows &&
         (rows <= kGemvMaxColumns ? gemv_columns(w.view().type, w.view().cols) : gemm_columns(w.view().type, w.view().cols)) > 0;
}

uint32_t CudaStream::gemm_columns(Stored type, uint32_t cols) const noexcept {
  for (uint32_t columns = kGemmMaxColumns; columns >= 8; columns /= 2) {
    if (gemm_shared_bytes(type, cols, columns) + kStaticShared <= device_.facts().shared_bytes) return columns;
  }
  return 0;
}

uint32_t CudaStream::gemv_columns(Stored type, uint32_t cols) const noexcept {
  for (uint32_t columns = kGemvMaxColumns; columns > 0; --columns) {
    if (gemv_shared_bytes(type, cols, columns) + kStaticShared <= device_.facts().shared_bytes) return columns;
  }
  return 0;
}

void CudaStream::linear_exact(const LinearSpec& part, Mat x) noexcept {
  const CudaWeight& w = cuda_weight(*part.weight);
  const Grid grid{ceil_div(w.rows(), kExactWarps), ceil_div(x.rows, kExactColumns), 1};
  auto& args = launch<LinearArgs>(KernelId::kLinearExact, grid, kExactThreads);
  args.w = w.view();
  args.x = view_of(x);
  args.out = output_of(part);
}

CudaStream::Quantised CudaStream::quantise(const LinearSource& source, uint32_t group_columns) noexcept {
  const Mat x = source.x;
  Quantised out{scratch<int8_t>(uint64_t{x.rows} * x.cols), scratch<float>(uint64_t{x.rows} * x.cols / 32 * 4), group_columns};
  if (error_) return out;
  auto& args = launch<QuantiseArgs>(KernelId::kQuantise, {1, x.rows, 1}, kQuantiseThreads);
  args.x = view_of(x);
  args.q = out.q;
  args.scales = out.scales;
  args.source = source.kind;
  args.group_columns = group_columns;
  if (source.kind == RowSource::kNorm) {
    args.weight = values_or_null(source.norm->weight);
    args.bias = values_or_null(source.norm->bias);
    args.eps = source.norm->eps;
    args.layer = source.norm->kind == NormKind::kLayer ? 1 : 0;
  } else if (source.kind == RowSource::kGated) {
    args.up = source.up.data;
    args.up_stride = source.up.stride;
    args.activation = static_cast<uint32_t>(source.activation);
  }
  return out;
}

/// Fills in the matrices of a launch, with the rows from `first` on; their tiles.
uint32_t CudaStream::list_parts(std::span<const LinearSpec> parts, uint32_t first, GemvPart* to) noexcept {
  uint32_t tiles = 0, rows = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const WeightView& w = cuda_weight(*parts[i].weight).view();
    tiles += ceil_div(w.rows, kTileRows);
    to[i].data = w.data;
    to[i].out = output_of(parts[i]);
    to[i].out.y.data += uint64_t{first} * parts[i].y.stride;
    to[i].rows = w.rows;
    to[i].end_tile = tiles;
    to[i].first_row = rows;
    rows += w.rows;
  }
  return tiles;
}

/// Parts of one type; one launch for all.
void CudaStream::gemv(std::span<const LinearSpec> parts, uint32_t rows, const Quantised& x) noexcept {
  const WeightView& w = cuda_weight(*parts[0].weight).view();
  GemvPart list[kGemvParts]{};
  const uint32_t tiles = list_parts(parts, 0, list);
  const uint32_t together = kGemvWarps / gemv_warps_per_tile(ceil_div(w.cols, 256));
  const uint32_t blocks = std::min(device_.facts().multiprocessors, ceil_div(tiles, together));
  const auto columns = [&](uint32_t first, uint32_t width, uint32_t groups) {
    auto& args = launch<GemvArgs>(gemv_kernel_id(t16_index(w.type), width), {blocks, groups, 1}, kGemvWarps * 32, gemv_shared_bytes(w.type, w.cols, width));
    args.q = x.q + uint64_t{first} * w.cols;
    args.scales = x.scales + uint64_t{first} * w.cols / 32 * 4;
    args.tile_bytes = w.row_bytes;
    args.cols = w.cols;
    args.parts = static_cast<uint32_t>(parts.size());
    list_parts(parts, first, args.part);
  };
  const uint32_t groups = rows / x.group_columns, rest = rows % x.group_columns;
  if (groups > 0) columns(0, x.group_columns, groups);
  if (rest > 0) columns(groups * x.group_columns, rest, 1);
}

/// The same for more rows, on tensor cores.
void CudaStream::gemm(std::span<const LinearSpec> parts, uint32_t rows, const Quantised& x) noexcept {
  const WeightView& w = cuda_weight(*parts[0].weight).view();
  const size_t place = mark();
  const uint32_t shares = gemv_warps_per_tile(ceil_div(w.cols, 256));
  uint32_t all_rows = 0, longest = 0;
  for (const LinearSpec& part : parts) {
    all_rows += static_cast<uint32_t>(part.weight->rows());
    longest = std::max(longest, static_cast<uint32_t>(part.weight->rows()));
  }
  auto* partials = scratch<float>(uint64_t{shares} * all_rows * std::min(rows, x.group_columns));
  if (error_) return;
  for (uint32_t first = 0; first < rows; first += x.group_columns) {
    const uint32_t columns = std::min(x.group_columns, rows - first), width = gemm_width(columns);
    GemmArgs filled{};
    filled.q = x.q + uint64_t{first} * w.cols;
    filled.scales = x.scales + uint64_t{first} * w.cols / 32 * 4;
    filled.tile_bytes = w.row_bytes;
    filled.cols = w.cols;
    filled.parts = static_cast<uint32_t>(parts.size());
    const uint32_t tiles = list_parts(parts, first, filled.part);
    filled.partials = partials;
    filled.columns = columns;
    filled.all_rows = all_rows;
    launch<GemmArgs>(gemm_kernel_id(t16_index(w.type), width), {ceil_div(tiles, kGemvWarps), shares, 1}, kGemvWarps * 32, gemm_shared_bytes(w.type, w.cols, columns)) = filled;
    launch<GemmArgs>(KernelId::kGemmSum, {ceil_div(longest, kGemvWarps * 32), columns, filled.parts}, kGemvWarps * 32) = filled;
  }
  release(place);
}

/// F32 weights stay exact; rows must be whole 16-byte pieces for the library's fast kernels.
bool CudaStream::takes_product(const LinearSpec& part, uint32_t rows) noexcept {
  const WeightView& w = cuda_weight(*part.weight).view();
  return options_.activations == Activations::kAuto && options_.prompts == Prompts::kHalf && rows > kFewRows && w.type != Stored::kF32 && w.cols % 8 == 0 && device_.has_products();
}

CudaStream::Halves CudaStream::to_halves(Mat x, FloatKind kind) noexcept {
  const Halves out{scratch<uint16_t>(uint64_t{x.rows} * x.cols), scratch<float>(x.rows), kind};
  if (error_) return out;
  auto& args = launch<ToHalfArgs>(KernelId::kToHalf, {1, x.rows, 1}, kProductThreads);
  args.x = view_of(x);
  args.to = out.data;
  args.inverse_scales = out.factors;
  args.kind = kind;
  return out;
}

/// Weights that do not lie there so already are decoded to 16 bits: once, where there is memory to keep them, else piece by
/// piece in every step.
void CudaStream::library_product(const LinearSpec& part, uint32_t rows, const Halves& x) noexcept {
  const CudaWeight& weight = cuda_weight(*part.weight);
  const WeightView& w = weight.view();
  const size_t place = mark();
  const bool as_is = w.type == Stored::kF16 || w.type == Stored::kBF16;
  const HalfCopies::Place kept = as_is ? HalfCopies::Place{} : copies_.take(weight.serial(), uint64_t{w.rows} * w.cols * 2);
  if (kept.to_fill) filling_.push_back(weight.serial());
  const bool whole = as_is || kept.data != nullptr;
  const auto together = static_cast<uint32_t>(std::min<uint64_t>(w.rows, std::max<uint64_t>(kDecodedBytes / (uint64_t{w.cols} * 2) / 64 * 64, 64)));
  auto* sums = scratch<float>(uint64_t{rows} * w.rows);
  auto* decoded = whole ? kept.data : scratch<uint16_t>(uint64_t{together} * w.cols);
  if (error_) return;
  const auto multiply = [&](const void* from, uint32_t first, uint32_t count) {
    recorded_.product({from, x.data, sums + first, w.rows, count, rows, w.cols, x.kind == FloatKind::kBF16 ? 1U : 0U});
  };
  if (!whole || kept.to_fill) {
    for (uint32_t first = 0; first < w.rows; first += together) {
      const uint32_t count = std::min(together, w.rows - first);
      uint16_t* to = whole ? decoded + uint64_t{first} * w.cols : decoded;
      auto& args = launch<DecodeMatrixArgs>(KernelId::kDecodeMatrix, {ceil_div(w.cols, 8 * kDecodeThreads), count, 1}, kDecodeThreads);
      args.w = w;
      args.to = to;
      args.to_stride = w.cols;
      args.first_row = first;
      args.kind = x.kind;
      if (!whole) multiply(to, first, count);
    }
  }
  if (whole) multiply(as_is ? static_cast<const void*>(w.data) : kept.data, 0, w.rows);
  auto& args = launch<ProductOutArgs>(KernelId::kProductOut, {ceil_div(w.rows, kProductThreads), rows, 1}, kProductThreads);
  args.out = output_of(part);
  args.sums = sums;
  args.factors = x.factors;
  release(place);
}

void CudaStream::linear_from(std::span<const LinearSpec> parts, const LinearSource& source) noexcept {
  const uint32_t rows = source.x.rows;
  const bool few = rows <= kGemvMaxColumns;
  uint32_t group_columns = std::min(rows, kGemmMaxColumns);
  bool any_quantised = false, any_exact = false, any_bf16 = false, any_f16 = false;
  for (const LinearSpec& part : parts) {
    const bool quantised = takes_quantised(part, rows);
    any_quantised |= quantised;
    const WeightView& w = cuda_weight(*part.weight).view();
    const bool product = takes_product(part, rows);
    any_exact |= !quantised && !product;
    any_bf16 |= product && w.type == Stored::kBF16;
    any_f16 |= product && w.type != Stored::kBF16;
    if (quantised) group_columns = std::min(group_columns, few ? gemv_columns(w.type, w.cols) : gemm_columns(w.type, w.cols));
  }
  const size_t place = mark();
  // Parts may write what the rows are made of, so everything that reads them comes first.
  const Quantised q = any_quantised ? quantise(source, group_columns) : Quantised{};
  Mat x = source.x;
  if ((any_exact || any_bf16 || any_f16) && source.kind != RowSource::kPlain) {
    x = alloc(source.x.rows, source.x.cols);
    if (source.kind == RowSource::kNorm) norm(x, source.x, *source.norm);
    else gated(x, source.x, source.up, source.activation);
  }
  const Halves bf16 = any_bf16 ? to_halves(x, FloatKind::kBF16) : Halves{};
  const Halves f16 = any_f16 ? to_halves(x, FloatKind::kF16) : Halves{};
  if (error_) return;
  for (size_t i = 0; i < parts.size();) {
    const LinearSpec& part = parts[i];
    size_t run = 1;  // neighbours of one type share a launch
    if (takes_quantised(part, rows)) {
      const Stored type = cuda_weight(*part.weight).view().type;
      while (run < kGemvParts && i + run < parts.size() && takes_quantised(parts[i + run], rows) && cuda_weight(*parts[i + run].weight).view().type == type) ++run;
      if (few) gemv(parts.subspan(i, run), rows, q);
      else gemm(parts.subspan(i, run), rows, q);
    } else if (takes_product(part, rows)) {
      library_product(part, rows, cuda_weight(*part.weight).view().type == Stored::kBF16 ? bf16 : f16);
    } else {
      linear_exact(part, x);
    }
    i += run;
  }
  release(place);
}

void CudaStream::linear(std::span<const LinearSpec> parts, Mat x) noexcept {
  if (linear_fits(parts, x)) linear_from(parts, {RowSource::kPlain, x, nullptr, {}, Activation::kIdentity});
}

void CudaStream::norm_linear(std::span<const LinearSpec> parts, Mat x, const NormSpec& spec) noexcept {
  if (!linear_fits(parts, x)) return;
  if (spec.groups != 1) {
    const Mat normed = alloc(x.rows, x.cols);
    norm(normed, x, spec);
    return linear(parts, normed);
  }
  if (!fits(spec.weight, x.cols) || !fits(spec.bias, x.cols)) return;
  linear_from(parts, {RowSource::kNorm, x, &spec, {}, Activation::kIdentity});
}

void CudaStream::gated_linear(std::span<const LinearSpec> parts, Mat gate, Mat up, Activation act) noexcept {
  if (!linear_fits(parts, gate) || !has_data(up) || !same_shape(gate, up)) return;
  linear_from(parts, {RowSource::kGated, gate, nullptr, up, act});
}

}  // namespace kvasir::cuda
