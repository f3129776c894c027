// Spine: all kernels for one instruction set. The only place where its -m flags apply; see README.md on weak symbols.
#define KVASIR_ISA avx512
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
#include "backends/cpu/kernels/rows.inl.h"
#include "backends/cpu/kernels/attention.inl.h"
#include "backends/cpu/kernels/kv_store.inl.h"

namespace kvasir::cpu {
extern const KernelTable kAvx512Kernels;
const KernelTable kAvx512Kernels = {
    .name = "avx512", .tile_columns = avx512::kTileColumns,
    .linear = avx512::linear, .decode_row = avx512::decode_row,
    .peak_int8 = avx512::peak_int8, .peak_f32 = avx512::peak_f32, .quantize_row = avx512::quantize_row, .norm = avx512::norm,
    .gated = avx512::gated, .activate = avx512::activate, .add = avx512::add, .multiply = avx512::multiply, .scale = avx512::scale,
    .soft_cap = avx512::soft_cap, .rope = avx512::rope, .store_kv = avx512::store_kv, .attention = avx512::attention,
    .attention_merge = avx512::attention_merge,
};
}  // namespace kvasir::cpu
