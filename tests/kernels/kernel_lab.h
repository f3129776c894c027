// A bench for kernels: makes weights and inputs from seeds, runs a small program of ops on any backend and gives back
// what it downloaded, so that the same program can be compared between backends, threads, batches and chunkings.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backends/backend.h"

namespace kvasir::test {

/// Deterministic values: the same everywhere, unlike <random>'s distributions.
class Noise {
 public:
  explicit Noise(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15U + 1) {}
  uint32_t bits();
  float uniform(float low, float high);
  /// Roughly normal, sigma 1.
  float normal();

 private:
  uint64_t state_;
};

/// A tensor of random blocks that decode to values of a weight-like size (0.05 to 0.3), as it would lie in a file.
std::vector<std::byte> random_tensor(TensorType type, uint64_t rows, uint64_t cols, uint64_t seed);
/// The same tensor decoded by the reference decoders.
std::vector<float> decoded_tensor(TensorType type, uint64_t rows, uint64_t cols, uint64_t seed);

/// One backend with what a program made on it.
class Lab {
 public:
  explicit Lab(std::unique_ptr<Backend> backend);
  ~Lab();

  Backend& backend() { return *backend_; }
  Stream& stream() { return *stream_; }
  KvPool& pool() { return *pool_; }
  void make_pool(const KvPoolSpec& spec);

  const Weight& weight(TensorType type, uint64_t rows, uint64_t cols, uint64_t seed, WeightUse use = WeightUse::kMatrix,
                       uint64_t experts = 1);
  const Weight& vector(const std::vector<float>& values, float add = 0.0F, uint64_t rows = 1, uint64_t experts = 1);
  /// Normal noise in a fresh matrix. Rows depend on (seed, row): any window of a longer input can be made.
  Mat input(uint32_t rows, uint32_t cols, uint64_t seed, uint32_t first_row = 0, float size = 1.0F);
  /// The same, but every block of 32 is whole multiples of a power of two up to 127: 8-bit quantisation keeps it exactly.
  Mat grid_input(uint32_t rows, uint32_t cols, uint64_t seed, uint32_t first_row = 0);
  Mat values(uint32_t rows, uint32_t cols, const std::vector<float>& values);
  Mat zeros(uint32_t rows, uint32_t cols);
  /// Wants this matrix after the step.
  void output(Mat x);

  /// begin, program, finish: everything downloaded, one vector per output().
  std::vector<std::vector<float>> run(const StepLayout& layout, const std::function<void(Lab&)>& program);
  std::vector<std::vector<float>> run(uint32_t rows, const std::function<void(Lab&)>& program);

 private:
  struct Memory;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<KvPool> pool_;
  std::unique_ptr<Stream> stream_;
  std::vector<std::unique_ptr<Memory>> sources_;
  std::vector<std::unique_ptr<Weight>> weights_;
  std::vector<std::unique_ptr<std::vector<float>>> inputs_;
  std::vector<std::unique_ptr<std::vector<float>>> outputs_;
};

/// Names of the CPU variants that run here; the others are reported as skipped, once per call. The tests of ops are also
/// built for other backends, which give these two functions themselves (tests/cuda).
std::vector<std::string> usable_variants();  // usable_variants.cpp
std::unique_ptr<Backend> open_cpu(std::string_view name, uint32_t threads = 1, Activations activations = Activations::kAuto);
std::unique_ptr<Backend> open_reference();

/// Largest |a - b| relative to the largest |b| (at least `floor`); infinity where sizes differ or a value is not finite.
double relative_error(const std::vector<float>& a, const std::vector<float>& b, double floor = 1e-6);

/// A layout of sequences with `rows[i]` new rows after `before[i]` cached slots; pages are dealt out interleaved, so
/// that neighbours in a table are not neighbours in memory.
StepLayout layout_of(const std::vector<uint32_t>& rows, const std::vector<uint32_t>& before, uint32_t groups = 1);
/// Pages that layout_of() may name for sequences of up to `slots` slots.
uint32_t pages_for(uint32_t sequences, uint32_t slots);

extern const std::vector<TensorType> kPackedTypes;  ///< all types with kernels

}  // namespace kvasir::test
