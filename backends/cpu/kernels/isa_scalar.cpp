// Spine: all kernels for one instruction set. The only place where its -m flags apply; see README.md on weak symbols.
#define KVASIR_ISA scalar
#include "backends/cpu/codebooks.h"
#include "backends/cpu/kernel_table.h"
#include "backends/cpu/kernels/vec_scalar.h"
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
extern const KernelTable kScalarKernels;
const KernelTable kScalarKernels = {
    .name = "scalar", .tile_columns = scalar::kTileColumns,
    .linear = scalar::linear, .decode_row = scalar::decode_row,
    .peak_int8 = scalar::peak_int8, .peak_f32 = scalar::peak_f32, .quantize_row = scalar::quantize_row, .norm = scalar::norm,
    .gated = scalar::gated, .activate = scalar::activate, .add = scalar::add, .multiply = scalar::multiply, .scale = scalar::scale,
    .soft_cap = scalar::soft_cap, .rope = scalar::rope, .store_kv = scalar::store_kv, .attention = scalar::attention,
    .attention_merge = scalar::attention_merge,
};
}  // namespace kvasir::cpu
