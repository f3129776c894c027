// Spine: the integer GEMM and attention (8-bit keys) with dot-product instructions; everything else comes from the avx2 table.
#define KVASIR_ISA avxvnni
#define KVASIR_KERNEL_VNNI 1
#include "backends/cpu/codebooks.h"
#include "backends/cpu/kernel_table.h"
#include "backends/cpu/kernels/vec_avx2.h"
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
extern const KernelTable kAvxVnniKernels;
const KernelTable kAvxVnniKernels = {
    .name = "avxvnni", .tile_columns = avxvnni::kTileColumns, .linear = avxvnni::linear, .decode_row = avxvnni::decode_row,
    .peak_int8 = avxvnni::peak_int8, .peak_f32 = avxvnni::peak_f32,
    .quantize_row = avxvnni::quantize_row, .attention = avxvnni::attention, .attention_merge = avxvnni::attention_merge,
};
}  // namespace kvasir::cpu
