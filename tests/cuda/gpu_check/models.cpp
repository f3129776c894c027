// Whole tokens of synthetic models by the wall clock of a step, with the bytes that must be read beside the time; and the
// question whether graphs, overlap or the batch change a bit.
#include <algorithm>
#include <chrono>
#include <cstring>

#include "tests/cuda/gpu_check/gpu.h"
#include "tests/cuda/gpu_check/synthetic.h"

namespace kvasir::test {
namespace {

using Mode = cuda::GraphRunner::Mode;
using Overlap = cuda::StepProgram::Overlap;

constexpr SyntheticShape kSmall{"Llama-3.2-1B", 2048, 16, 32, 8, 64, 8192, 128256};
constexpr SyntheticShape kSeven{"Llama-7B", 4096, 32, 32, 32, 128, 11008, 32000};
constexpr SyntheticShape kMistral{"Mistral-7B", 4096, 32, 32, 8, 128, 14336, 32000};
constexpr SyntheticShape kTiny{"tiny", 512, 3, 8, 2, 64, 768, 1000};

double milliseconds_of(SyntheticModel& model, uint32_t sequences, uint32_t rows, uint32_t position) {
  const auto begin = std::chrono::steady_clock::now();
  model.step(sequences, rows, position);
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

/// Median of `steps` single-token steps after as many again as warm-up.
double decode_ms(SyntheticModel& model, uint32_t sequences, uint32_t context, int steps) {
  std::vector<double> times;
  for (int i = 0; i < steps + 8; ++i) {
    const double ms = milliseconds_of(model, sequences, 1, context + static_cast<uint32_t>(i) % 32);
    if (i >= 8) times.push_back(ms);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

void tell_decode(Report& report, const Ceilings& ceilings, SyntheticModel& model, const std::string& name, uint32_t sequences, uint32_t context, double ms) {
  const double bytes = static_cast<double>(model.weight_bytes()) + static_cast<double>(model.kv_bytes_per_token()) * sequences * context;
  const double gb_s = bytes / ms / 1e6;
  char note[160];
  std::snprintf(note, sizeof note, "%.0f us/step, %.2f GB, %.0f GB/s, %.0f %% of copy", ms * 1000, bytes / 1e9, gb_s, 100 * gb_s / ceilings.copy_gb_s);
  report.line("decode", name + " batch " + std::to_string(sequences) + " context " + std::to_string(context), sequences * 1000.0 / ms, "tok/s", note);
}

void measure_one(Report& report, const Ceilings& ceilings, const SyntheticShape& shape, Recipe recipe, bool modes) {
  const std::string name = std::string(shape.name) + " " + recipe_name(recipe);
  if (modes) {
    for (const auto& [words, graphs, overlap] : {std::tuple{"launch by launch", Mode::kEager, Overlap::kNone}, {"graph", Mode::kGraphs, Overlap::kNone}}) {
      const auto backend = open_gpu({.graphs = graphs, .overlap = overlap});
      SyntheticModel model(*backend, shape, recipe, 1, 1152);
      tell_decode(report, ceilings, model, name + " (" + words + ")", 1, 1024, decode_ms(model, 1, 1024, 24));
    }
  }
  const auto backend = open_gpu({});
  SyntheticModel model(*backend, shape, recipe, 32, 1152);
  for (const uint32_t sequences : {1U, 4U, 8U, 16U, 32U}) tell_decode(report, ceilings, model, name, sequences, 1024, decode_ms(model, sequences, 1024, 24));
  const auto& counts = static_cast<cuda::CudaStream&>(model.stream()).graphs().counts();
  report.line("graphs", name + " replayed", static_cast<double>(counts.replayed), "steps", static_cast<cuda::CudaStream&>(model.stream()).graphs().off_because());
  for (const uint32_t rows : {128U, 512U}) {
    milliseconds_of(model, 1, rows, 0);
    const double ms = milliseconds_of(model, 1, rows, 0);
    report.line("prefill", name + " " + std::to_string(rows) + " tokens", rows * 1000.0 / ms, "tok/s", std::to_string(ms) + " ms");
  }
  report.line("copies", name + " weights kept as f16", static_cast<double>(backend->copy_bytes()) / 1e9, "GB", "0: decoded in each long step, or f16 anyway");
}

std::vector<float> bits_of(const GpuOptions& options) {
  const auto backend = open_gpu(options);
  SyntheticModel model(*backend, kTiny, Recipe::kQ4_K_M, 3, 256);
  std::vector<float> all;
  const auto step = [&](uint32_t sequences, uint32_t rows, uint32_t position) {
    model.step(sequences, rows, position);
    all.insert(all.end(), model.logits().begin(), model.logits().end());
  };
  step(3, 70, 0);
  for (uint32_t i = 0; i < 6; ++i) step(3, 1, 70 + i);
  return all;
}

}  // namespace

void measure_models(Report& report, const Ceilings& ceilings, bool quick) {
  measure_one(report, ceilings, kSmall, Recipe::kQ4_K_M, true);
  measure_one(report, ceilings, kSeven, Recipe::kQ4_K_M, true);
  measure_one(report, ceilings, kSeven, Recipe::kF16, false);
  if (quick) return;
  measure_one(report, ceilings, kSeven, Recipe::kQ8_0, false);
  measure_one(report, ceilings, kMistral, Recipe::kQ4_K_M, false);
  measure_one(report, ceilings, kSmall, Recipe::kF16, false);
}

int check_equal_bits(Report& report) {
  const auto want = bits_of({.graphs = Mode::kEager, .overlap = Overlap::kNone});
  int differences = 0;
  const auto compare = [&](const char* name, const GpuOptions& options) {
    const auto got = bits_of(options);
    const bool same = got.size() == want.size() && std::memcmp(got.data(), want.data(), got.size() * sizeof(float)) == 0;
    differences += same ? 0 : 1;
    report.line("equal bits", name, same ? 1 : 0, same ? "yes" : "NO");
  };
  compare("launch by launch, twice", {.graphs = Mode::kEager, .overlap = Overlap::kNone});
  compare("graphs", {.graphs = Mode::kGraphs, .overlap = Overlap::kNone});
  compare("launch by launch with overlap", {.graphs = Mode::kEager, .overlap = Overlap::kKernels});
  compare("graphs with overlap", {.graphs = Mode::kGraphs, .overlap = Overlap::kKernels});
  return differences;
}

}  // namespace kvasir::test
