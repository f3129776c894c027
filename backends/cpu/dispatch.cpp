// Which kernel tables exist and which this CPU runs: the list of variants, best first. A table that lacks an entry
// takes it from the table it stands on.
#include <array>
#include <string>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/cpu_features.h"
#include "backends/registry.h"

namespace kvasir {
namespace cpu {

extern const KernelTable kScalarKernels;
#if defined(__x86_64__)
extern const KernelTable kAvx2Kernels;
extern const KernelTable kAvxVnniKernels;
extern const KernelTable kAvx512Kernels;
extern const KernelTable kAvx512VnniKernels;
extern const KernelTable kAvx512Bf16Kernels;
#endif

namespace {

static_assert(static_cast<int>(Activation::kSilu) == 0 && static_cast<int>(Activation::kTanh) == 7 &&
                  static_cast<int>(Activation::kSwigluOai) == 10,
              "kernels/math.inl.h repeats this order");

struct Variant {
  const char* name;
  int score;
  const KernelTable* table;
  std::array<const KernelTable*, 2> below;  ///< for entries that `table` lacks, in this order
  bool CpuFeatures::*needs;  ///< null: runs everywhere
  const char* needed;        ///< for people
  uint32_t numerics_version; ///< bump when any kernel of the table changes its bits; tests/kernels pins a digest
};

constexpr std::array kVariants = {
#if defined(__x86_64__)
    Variant{"cpu-avx512-bf16", 60, &kAvx512Bf16Kernels, {&kAvx512VnniKernels, &kAvx512Kernels}, &CpuFeatures::avx512_bf16,
            "AVX-512 F/BW/VL/DQ, VNNI and BF16", 4},
    Variant{"cpu-avx512-vnni", 50, &kAvx512VnniKernels, {&kAvx512Kernels}, &CpuFeatures::avx512_vnni, "AVX-512 F/BW/VL/DQ and VNNI", 4},
    Variant{"cpu-avx512", 40, &kAvx512Kernels, {}, &CpuFeatures::avx512, "AVX-512 F/BW/VL/DQ", 4},
    Variant{"cpu-avxvnni", 30, &kAvxVnniKernels, {&kAvx2Kernels}, &CpuFeatures::avx_vnni, "AVX2, FMA, F16C and AVX-VNNI", 4},
    Variant{"cpu-avx2", 20, &kAvx2Kernels, {}, &CpuFeatures::avx2, "AVX2, FMA and F16C", 4},
#endif
    Variant{"cpu-scalar", 10, &kScalarKernels, {}, nullptr, "any CPU", 4},
};

bool usable(const Variant& variant, const CpuFeatures& features) { return variant.needs == nullptr || features.*variant.needs; }

template <class Entry>
void fill(Entry& entry, Entry below) {
  if (entry == nullptr) entry = below;
}

KernelTable complete(const Variant& variant) {
  KernelTable t = *variant.table;
  for (const KernelTable* below : variant.below) {
    if (below == nullptr) continue;
    const KernelTable& b = *below;
    fill(t.linear, b.linear), fill(t.decode_row, b.decode_row), fill(t.quantize_row, b.quantize_row), fill(t.norm, b.norm);
    fill(t.gated, b.gated), fill(t.activate, b.activate), fill(t.add, b.add), fill(t.multiply, b.multiply);
    fill(t.scale, b.scale), fill(t.soft_cap, b.soft_cap), fill(t.rope, b.rope), fill(t.store_kv, b.store_kv);
    fill(t.peak_int8, b.peak_int8), fill(t.peak_f32, b.peak_f32), fill(t.attention, b.attention), fill(t.attention_merge, b.attention_merge);
  }
  return t;
}

Probe probe(const Variant& variant, const CpuFeatures& features) {
  const bool runs = usable(variant, features);
  return {.name = variant.name, .usable = runs, .score = variant.score,
          .reason = runs ? std::string("present: ") + variant.needed : std::string("this CPU lacks one of: ") + variant.needed};
}

}  // namespace
}  // namespace cpu

std::vector<Probe> probe_cpu_backends() {
  const cpu::CpuFeatures features = cpu::detect_cpu_features();
  std::vector<Probe> out;
  for (const cpu::Variant& variant : cpu::kVariants) out.push_back(cpu::probe(variant, features));
  return out;
}

Result<std::unique_ptr<Backend>> make_cpu_backend(std::string_view name, const BackendOptions& options) {
  const cpu::CpuFeatures features = cpu::detect_cpu_features();
  for (const cpu::Variant& variant : cpu::kVariants) {
    if (variant.name != name) continue;
    const Probe probe = cpu::probe(variant, features);
    if (!probe.usable) return Failure{Code::kUnavailable, probe.name + ": " + probe.reason};
    constexpr uint32_t kMaxThreads = 256;
    const uint32_t threads = options.threads == 0 ? cpu::usable_cores() : options.threads;
    if (threads > kMaxThreads) return Failure{Code::kInvalidArgument, "at most 256 threads"};
    BackendInfo info{.name = probe.name, .isa_or_device = probe.name.substr(4), .reason = probe.reason, .threads = threads,
                     .numerics_version = variant.numerics_version};
    return std::unique_ptr<Backend>(std::make_unique<cpu::CpuBackend>(std::move(info), cpu::complete(variant), cpu::Team::create(threads),
                                                                     options.activations));
  }
  return Failure{Code::kInvalidArgument, "no such CPU backend: " + std::string(name)};
}

}  // namespace kvasir
