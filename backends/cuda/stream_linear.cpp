// Products with weights.
#include "backends/cuda/cuda_stream.h"

namespace kvasir::cuda {
namespace {

constexpr uint32_t kExactThreads = 128, kExactWarps = kExactThreads / 32, kExactColumns = 8;  // as linear_exact.cuh

LinearOutput output_of(const LinearSpec& part) {
  return {view_of(part.y), values_or_null(part.bias), part.scale, part.accumulate ? 1U : 0U};
}

}  // namespace

void CudaStream::linear_exact(const LinearSpec& part, Mat x) noexcept {
  const CudaWeight& w = cuda_weight(*part.weight);
  const Grid grid{ceil_div(w.rows(), kExactWarps), ceil_div(x.rows, kExactColumns), 1};
  auto& args = launch<LinearArgs>(KernelId::kLinearExact, grid, kExactThreads);
  args.w = w.view();
  args.x = view_of(x);
  args.out = output_of(part);
}

void CudaStream::linear(std::span<const LinearSpec> parts, Mat x) noexcept {
  if (!has_data(x)) return;
  for (const LinearSpec& part : parts) {
    if (!require(part.weight != nullptr, "linear: no weight") || !has_data(part.y)) return;
    const CudaWeight& w = cuda_weight(*part.weight);
    if (!require(!w.is_vector() && w.experts() == 1 && w.cols() == x.cols && w.rows() == part.y.cols && part.y.rows == x.rows, "linear: shapes differ")) return;
    if (!fits(part.bias, w.rows())) return;
    linear_exact(part, x);
  }
}

void CudaStream::gated_linear(std::span<const LinearSpec> parts, Mat gate, Mat up, Activation act) noexcept {
  const size_t place = mark();
  const Mat mixed = alloc(gate.rows, gate.cols);  // the gate stays as it is
  gated(mixed, gate, up, act);
  linear(parts, mixed);
  release(place);
}

}  // namespace kvasir::cuda
