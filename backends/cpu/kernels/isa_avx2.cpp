// Spine: all kernels for one instruction set. The only place where its -m flags apply; see README.md on weak symbols.
#define KVASIR_ISA avx2
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
#include "backends/cpu/kernels/rows.inl.h"
#include "backends/cpu/kernels/attention.inl.h"
#include "backends/cpu/kernels/kv_store.inl.h"

namespace kvasir::cpu {
extern const KernelTable kAvx2Kernels;
const KernelTable kAvx2Kernels = {
    .name = "avx2", .tile_columns = avx2::kTileColumns,
    .linear = avx2::linear, .decode_row = avx2::decode_row,
    .peak_int8 = avx2::peak_int8, .peak_f32 = avx2::peak_f32, .quantize_row = avx2::quantize_row, .norm = avx2::norm,
    .gated = avx2::gated, .activate = avx2::activate, .add = avx2::add, .multiply = avx2::multiply, .scale = avx2::scale,
    .soft_cap = avx2::soft_cap, .rope = avx2::rope, .store_kv = avx2::store_kv, .attention = avx2::attention,
    .attention_merge = avx2::attention_merge,
};
}  // namespace kvasir::cpu
