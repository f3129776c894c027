// Spine: products of bf16 weights; everything else comes from the avx512_vnni table.
#define KVASIR_ISA avx512_bf16
#define KVASIR_KERNEL_VNNI 1
#include "backends/cpu/codebooks.h"
#include "backends/cpu/kernel_table.h"
#include "backends/cpu/kernels/vec_avx512.h"
// the kernels, written on the vector types
#include "backends/cpu/kernels/formats.inl.h"
#include "backends/cpu/kernels/formats_codebook.inl.h"
#include "backends/cpu/kernels/linear_int.inl.h"
#include "backends/cpu/kernels/linear_bf16.inl.h"

namespace kvasir::cpu {
extern const KernelTable kAvx512Bf16Kernels;
const KernelTable kAvx512Bf16Kernels = {
    .name = "avx512-bf16", .tile_columns = avx512_bf16::kTileColumns, .linear_bf16 = avx512_bf16::linear_bf16,
    .peak_bf16 = avx512_bf16::peak_bf16,
};
}  // namespace kvasir::cpu
