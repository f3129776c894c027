// What prompts take beside their dense products: attention of long runs of rows, at the heads of well-known models, against
// the kernel of single rows; and experts that many rows share.
#include "tests/cuda/gpu_check/gpu.h"
#include "tests/cuda/gpu_check/step_time.h"

namespace kvasir::test {
namespace {

struct Heads {
  const char* name;
  uint32_t heads, kv_heads, dim;
  KvType type;
};

constexpr uint32_t kTimes = 8;  ///< several layers' worth in one step, so that its own cost does not count

void measure_attention(Report& report, const Heads& h, uint32_t rows, cuda::Prompts prompts) {
  Lab lab(open_gpu({.prompts = prompts}));
  lab.make_pool({.type = h.type, .layers = {{0, h.kv_heads, h.dim, h.dim}}, .group_pages = {rows / kPageTokens}, .state_floats = {}, .state_slots = 0});
  const StepLayout layout = layout_of({rows}, {0});
  const double ms = step_ms(lab, layout, [&] {
    Stream& s = lab.stream();
    const Mat q = s.alloc(rows, h.heads * h.dim), k = s.alloc(rows, h.kv_heads * h.dim), y = s.alloc(rows, h.heads * h.dim);
    const Mat noise = lab.input(1, h.heads * h.dim, 1);  // one row over and over: times do not depend on values, but must not be of zeros
    const std::vector<uint32_t> first(rows, 0);
    s.gather_rows(q, noise, first);
    Mat some = noise;
    some.cols = h.kv_heads * h.dim;
    s.gather_rows(k, some, first);
    s.store_kv(0, k, k);
    for (uint32_t i = 0; i < kTimes; ++i) s.attention(y, q, {.kv_layer = 0, .n_heads = h.heads, .scale = 0.09F});
  });
  const double flops = 2.0 * rows * rows * h.heads * h.dim * kTimes;  // half of the square, two products
  char note[96];
  std::snprintf(note, sizeof note, "%.3f ms each, %s", ms / kTimes, prompts == cuda::Prompts::kHalf ? "tensor cores" : "row by row");
  report.line("attention", std::string(h.name) + " " + std::to_string(rows) + " rows", flops / ms / 1e9, "TFLOPS", note);
}

void measure_experts(Report& report, TensorType type, uint32_t rows, cuda::Prompts prompts) {
  constexpr uint32_t kExperts = 32, kWidth = 2048, kHidden = 768, kTopK = 4;
  Lab lab(open_gpu({.prompts = prompts}));
  MoeSpec spec{.router = RouterKind::kSoftmaxThenTopK, .experts = kExperts, .top_k = kTopK, .normalise = true};
  spec.gate_inp = &lab.weight(TensorType::kF32, kExperts, kWidth, 1);
  spec.up = &lab.weight(type, kHidden, kWidth, 2, WeightUse::kMatrix, kExperts);
  spec.gate = &lab.weight(type, kHidden, kWidth, 3, WeightUse::kMatrix, kExperts);
  spec.down = &lab.weight(type, kWidth, kHidden, 4, WeightUse::kMatrix, kExperts);
  StepLayout layout;
  layout.rows = rows;
  const double ms = step_ms(lab, layout, [&] {
    const Mat y = lab.zeros(rows, kWidth);
    const Mat x = lab.input(rows, kWidth, 5);
    for (uint32_t i = 0; i < kTimes; ++i) lab.stream().moe(y, x, spec);
  });
  const double flops = 6.0 * rows * kTopK * kWidth * kHidden * kTimes;
  const double gb = static_cast<double>(spec.up->bytes() + spec.gate->bytes() + spec.down->bytes()) / 1e9;
  char note[96];
  std::snprintf(note, sizeof note, "%.3f ms each, %.2f GB of weights, %s", ms / kTimes, gb, prompts == cuda::Prompts::kHalf ? "tensor cores where long" : "exact");
  report.line("experts", std::string(tensor_type_info(type)->name) + " 4 of 32, " + std::to_string(rows) + " rows", flops / ms / 1e9, "TFLOPS", note);
}

}  // namespace

void measure_prompts(Report& report) {
  const Heads kinds[] = {{"Llama-7B", 32, 32, 128, KvType::kF16}, {"Mistral-7B", 32, 8, 128, KvType::kF16}, {"Mistral-7B q8_0", 32, 8, 128, KvType::kQ8_0},
                         {"Llama-3.2-1B", 32, 8, 64, KvType::kF16}, {"Gemma2-2B", 8, 4, 256, KvType::kF16}};
  for (const Heads& h : kinds) {
    for (const uint32_t rows : {512U, 2048U, 8192U}) measure_attention(report, h, rows, cuda::Prompts::kHalf);
    measure_attention(report, h, 512, cuda::Prompts::kExact);
  }
  for (const TensorType type : {TensorType::kQ4_K, TensorType::kQ8_0, TensorType::kMXFP4}) {
    for (const uint32_t rows : {1U, 64U, 512U, 2048U}) measure_experts(report, type, rows, cuda::Prompts::kHalf);
  }
  measure_experts(report, TensorType::kQ4_K, 512, cuda::Prompts::kExact);
}

}  // namespace kvasir::test
