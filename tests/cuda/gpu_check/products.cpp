// Single products at the shapes of a 7B layer: bytes of weights over time, beside what a copy reaches. Several sets of
// weights in turn, more than the cache holds.
#include "backends/tensor_type.h"
#include "tests/cuda/gpu_check/gpu.h"
#include "tests/cuda/gpu_check/step_time.h"

namespace kvasir::test {
namespace {

constexpr uint64_t kBytesOfSets = uint64_t{320} << 20;

/// Median milliseconds of a step that multiplies with every set once.
double time_sets(Lab& lab, const std::vector<const Weight*>& sets, uint32_t rows) {
  const auto k = static_cast<uint32_t>(sets[0]->cols()), m = static_cast<uint32_t>(sets[0]->rows());
  return step_ms(lab, layout_of({rows}, {0}), [&] {
    const Mat x = lab.input(rows, k, 3), y = lab.stream().alloc(rows, m);
    for (const Weight* w : sets) {
      const LinearSpec part{.y = y, .weight = w};
      lab.stream().linear(std::span(&part, 1), x);
    }
  });
}

}  // namespace

void measure_products(Report& report, const Ceilings& ceilings) {
  for (const TensorType type : {TensorType::kQ4_0, TensorType::kQ4_1, TensorType::kQ8_0, TensorType::kQ4_K, TensorType::kQ5_K, TensorType::kQ6_K, TensorType::kF16}) {
    const std::string name(tensor_type_info(type)->name);
    for (const auto& [m, k] : {std::pair{4096U, 4096U}, {11008U, 4096U}, {4096U, 11008U}, {2048U, 2048U}}) {
      Lab lab(open_gpu({}));
      const uint64_t each = uint64_t{m} * k / tensor_type_info(type)->block_values * tensor_type_info(type)->block_bytes;
      std::vector<const Weight*> sets;
      for (uint64_t all = 0; all < kBytesOfSets; all += each) sets.push_back(&lab.weight(type, m, k, 1 + sets.size() % 3));
      for (const uint32_t rows : {1U, 4U, 16U}) {
        const double ms = time_sets(lab, sets, rows);
        const double gb_s = static_cast<double>(each * sets.size()) / ms / 1e6;
        char note[64];
        std::snprintf(note, sizeof note, "%.1f us each, %.0f %% of copy", ms * 1000 / static_cast<double>(sets.size()), 100 * gb_s / ceilings.copy_gb_s);
        report.line("product", name + " " + std::to_string(m) + "x" + std::to_string(k) + " rows " + std::to_string(rows), gb_s, "GB/s", note);
      }
    }
  }
}

}  // namespace kvasir::test
