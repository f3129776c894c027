// Spine: the integer GEMM and attention (8-bit keys) with dot-product instructions; everything else comes from the avx512 table.
#define KVASIR_ISA avx512_vnni
#define KVASIR_KERNEL_VNNI 1
#include "backends/cpu/codebooks.h"
#include "backends/cpu/kernel_table.h"
#include "backends/cpu/kernels/vec_avx512.h"
// the kernels, written on the vector types
#include "backends/cpu/kernels/math.inl.h"
#include "backends/cpu/kernels/formats.inl.h"
#include "backends/cpu/kernels/formats_codebook.inl.h"
#include "backends/cpu/kernels/linear_int.inl.h"
#include "backends/cpu/kernels/linear_float.inl.h"
#include "backends/cpu/kernels/linear.inl.h"
#include "backends/cpu/kernels/peak.inl.h"
#include "backends/cpu/kernels/quantize.inl.h"
#include "backends/cpu/kernels/attention.inl.h"

namespace kvasir::cpu {
extern const KernelTable kAvx512VnniKernels;
const KernelTable kAvx512VnniKernels = {
    .name = "avx512-vnni", .tile_columns = avx512_vnni::kTileColumns, .linear = avx512_vnni::linear, .decode_row = avx512_vnni::decode_row,
    .peak_int8 = avx512_vnni::peak_int8, .peak_f32 = avx512_vnni::peak_f32,
    .quantize_row = avx512_vnni::quantize_row, .attention = avx512_vnni::attention, .attention_merge = avx512_vnni::attention_merge,
};
}  // namespace kvasir::cpu
