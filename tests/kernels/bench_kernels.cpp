// Speed of the CPU kernels through the ops that models use (not a test): GEMM in GOP/s, GEMV in GB/s of packed weights,
// attention in us per step. Usage: bench_kernels [variant] [threads] [what...]; what: gemm gemv batch small attn tiny, and
// names of tensor types (Q4_K), if only these are wanted.
// Each figure is the best of many runs: neighbours only ever make it worse.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <string>

#include "backends/cpu/format.h"
#include "backends/registry.h"
#include "tests/kernels/kernel_lab.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

/// One thread is timed by the CPU time it got, so that a busy machine does not show; more by the clock on the wall.
bool g_cpu_time = false;
std::vector<TensorType> g_types;

double now() {
  timespec t{};
  clock_gettime(g_cpu_time ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

struct Best {
  double seconds = 1e9;
  void of(double budget, const std::function<void()>& run) {
    const double begin = now();
    do {
      const double t = now();
      run();
      seconds = std::min(seconds, now() - t);
    } while (now() - begin < budget);
  }
};

/// Seconds of one step of `repeats` equal linears minus nothing: repeats hide the fixed cost of a step.
double time_linear(Lab& lab, const std::vector<const Weight*>& weights, uint32_t rows, double budget) {
  const auto k = static_cast<uint32_t>(weights[0]->cols());
  const auto m = static_cast<uint32_t>(weights[0]->rows());
  StepLayout layout;
  layout.rows = rows;
  layout.sequences.push_back({.first_row = 0, .n_rows = rows});
  const std::vector<float> values(size_t{rows} * k, 0.5F);
  Best best;
  Stream& s = lab.stream();
  best.of(budget, [&] {
    s.begin(layout, nullptr);
    const Mat x = s.alloc(rows, k);
    s.upload(x, values);
    const Mat y = s.alloc(rows, m);
    for (const Weight* w : weights) {
      const LinearSpec part{.y = y, .weight = w};
      s.linear(std::span(&part, 1), x);
    }
    if (!s.finish()) std::abort();
  });
  return best.seconds / static_cast<double>(weights.size());
}

void gemm(Lab& lab, uint32_t rows, const char* title) {
  std::printf("%s, %u rows:\n", title, rows);
  for (const TensorType type : g_types) {
    for (const auto& [m, k] : {std::pair{2048U, 2048U}, std::pair{5632U, 2048U}, std::pair{576U, 1536U}}) {
      if (k % tensor_type_info(type)->block_values != 0) continue;
      const Weight& w = lab.weight(type, m, k, 1);
      const double t = time_linear(lab, {&w, &w}, rows, 0.4);
      std::printf("  %-5s %4ux%4u %8.1f GOP/s  %6.1f us\n", tensor_type_info(type)->name.data(), m, k, 2.0 * m * k * rows / t / 1e9, t * 1e6);
    }
  }
}

void gemv(Lab& lab, uint32_t rows) {
  std::printf("%u rows times 300 MB and more of weights:\n", rows);
  for (const TensorType type : g_types) {
    const uint32_t m = 5632;
    const uint32_t k = 2048;
    std::vector<const Weight*> weights;
    uint64_t bytes = 0;
    while (bytes < uint64_t{300} << 20) {
      weights.push_back(&lab.weight(type, m, k, 1));
      bytes += weights.back()->bytes();
    }
    const double t = time_linear(lab, weights, rows, 1.0);
    std::printf("  %-5s %6.1f GB/s %8.1f GOP/s\n", tensor_type_info(type)->name.data(), static_cast<double>(weights[0]->bytes()) / t / 1e9,
                2.0 * m * k * rows / t / 1e9);
  }
}

void tiny(Lab& lab) {
  std::printf("small matrices in cache, one row (GB/s, us per op):\n");
  for (const TensorType type : {TensorType::kQ4_1, TensorType::kQ8_0, TensorType::kF16}) {
    for (const auto& [m, k] : {std::pair{576U, 576U}, std::pair{1536U, 576U}, std::pair{576U, 1536U}}) {
      const Weight& w = lab.weight(type, m, k, 1);
      const std::vector<const Weight*> many(40, &w);
      const double t = time_linear(lab, many, 1, 0.3);
      std::printf("  %-5s %4ux%4u %6.1f GB/s %6.2f us\n", tensor_type_info(type)->name.data(), m, k, static_cast<double>(w.bytes()) / t / 1e9, t * 1e6);
    }
  }
}

void attention(Lab& lab, KvType type, uint32_t heads, uint32_t kv_heads, uint32_t dim) {
  constexpr uint32_t kDepth = 4096;
  lab.make_pool({.type = type, .layers = {{0, kv_heads, dim, dim}}, .group_pages = {kDepth / 64 + 4}, .state_floats = {}, .state_slots = 0});
  std::printf("attention %u:%u heads of %u, %s:\n", heads, kv_heads, dim, type == KvType::kF16 ? "f16" : "q8_0");
  for (const auto& [rows, before] : {std::pair{256U, 0U}, std::pair{256U, 256U}, std::pair{256U, 3840U}, std::pair{1U, 128U}, std::pair{1U, 1023U}, std::pair{1U, 4095U}}) {
    const StepLayout layout = layout_of({rows}, {before});
    const std::vector<float> values(size_t{rows} * heads * dim, 0.1F);
    Stream& s = lab.stream();
    constexpr int kRepeats = 4;
    Best best;
    best.of(0.5, [&] {
      s.begin(layout, &lab.pool());
      const Mat q = s.alloc(rows, heads * dim);
      s.upload(q, values);
      const Mat y = s.alloc(rows, heads * dim);
      for (int i = 0; i < kRepeats; ++i) s.attention(y, q, {.kv_layer = 0, .n_heads = heads, .scale = 0.1F});
      if (!s.finish()) std::abort();
    });
    const double t = best.seconds / kRepeats;
    double pairs = 0;
    for (uint32_t i = 0; i < rows; ++i) pairs += before + i + 1;
    std::printf("  %3u rows at %4u: %9.1f us %7.1f GFLOP/s %6.1f GB/s of cache\n", rows, before, t * 1e6, pairs * heads * dim * 4 / t / 1e9,
                static_cast<double>(before + rows) * kv_heads * dim * (type == KvType::kF16 ? 4 : 2.125) / t / 1e9);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::string variant = argc > 1 ? argv[1] : "auto";
  const auto threads = static_cast<uint32_t>(argc > 2 ? std::atoi(argv[2]) : 0);
  if (variant == "auto") {
    for (const Probe& probe : probe_cpu_backends()) {
      if (probe.usable) {
        variant = probe.name;
        break;
      }
    }
  }
  for (int i = 3; i < argc; ++i) {
    if (const auto type = tensor_type_by_name(argv[i])) g_types.push_back(*type);
  }
  const bool everything = argc <= 3 + static_cast<int>(g_types.size());
  if (g_types.empty()) g_types = kPackedTypes;
  auto wants = [&](const char* what) {
    for (int i = 3; i < argc; ++i) {
      if (std::strcmp(argv[i], what) == 0) return true;
    }
    return everything;
  };
  Lab lab(open_cpu(variant, threads));
  g_cpu_time = lab.backend().info().threads == 1;
  std::printf("%s, %u threads\n", variant.c_str(), lab.backend().info().threads);
  if (wants("gemm")) gemm(lab, 256, "GEMM");
  if (wants("small")) {
    for (const uint32_t rows : {2U, 4U, 8U, 12U, 16U}) gemm(lab, rows, "small batch");
  }
  if (wants("gemv")) gemv(lab, 1);
  if (wants("batch")) gemv(lab, 8), gemv(lab, 16);
  if (wants("tiny")) tiny(lab);
  for (const KvType type : {KvType::kF16, KvType::kQ8_0}) {
    if (wants("attn")) attention(lab, type, 9, 3, 64), attention(lab, type, 32, 4, 64);
  }
  return 0;
}
