// What the parts of kvasir-gpu-check share: opening the real device, running a piece of a model on it, and one line of
// results per measurement. One thread.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/cuda_device.h"

namespace kvasir::test {

struct GpuOptions {
  Activations activations = Activations::kAuto;
  cuda::GraphRunner::Mode graphs = cuda::GraphRunner::Mode::kGraphs;
  cuda::StepProgram::Overlap overlap = cuda::StepProgram::Overlap::kKernels;
  cuda::Prompts prompts = cuda::Prompts::kHalf;
};
/// Throws std::runtime_error where there is none.
std::unique_ptr<cuda::CudaBackend> open_gpu(const GpuOptions& options);

/// Bandwidth that everything else is compared with.
struct Ceilings {
  double copy_gb_s = 0;  ///< device to device, bytes read plus written
};

/// Writes to stdout and, if asked for, as a JSON line to a file.
class Report {
 public:
  explicit Report(const char* json_path) : json_(json_path == nullptr ? nullptr : std::fopen(json_path, "w")) {}
  ~Report() {
    if (json_ != nullptr) std::fclose(json_);
  }
  void line(const std::string& section, const std::string& name, double value, const std::string& unit, const std::string& note = "");
  void text(const std::string& words);

 private:
  std::FILE* json_;
};

Ceilings measure_ceilings(Report& report);
/// Every T16 type at the shapes of a 7B layer, 1 to 16 rows: bytes over time beside the ceiling.
void measure_products(Report& report, const Ceilings& ceilings);
/// Attention of long runs of rows and experts that many rows share.
void measure_prompts(Report& report);
/// Whole tokens of synthetic models: eager, graph, graph with overlap; batches; prefill.
void measure_models(Report& report, const Ceilings& ceilings, bool quick);
/// The same steps with and without graphs, with and without overlap, twice: equal bits. Returns the number of differences.
int check_equal_bits(Report& report);

}  // namespace kvasir::test
