// linear and its wider forms. Two phases: rows are made (plain, normed or gated) and packed into tiles, then panels of
// weights x tiles are multiplied. With one tile (decode, small batches) every thread packs for itself, which is cheaper
// than a barrier; else tiles are packed by all threads and a barrier follows.
#include <algorithm>
#include <cstring>

#include "backends/cpu/cpu_stream.h"
#include "backends/cpu/format.h"
#include "backends/half.h"

namespace kvasir::cpu {
namespace {

// Packed activations that are multiplied by all panels before the next ones are. 8-bit ones stay in L2; wider ones may be
// larger, for the weights, read again for each block, are so too: bf16 5 % more tokens a second, f32 6 % (TinyLlama, Zen 4).
constexpr uint64_t kBlockBytes = uint64_t{384} << 10;
constexpr uint64_t kFloatBlockBytes = uint64_t{1} << 20;

uint64_t round_up(uint64_t value, uint64_t unit) noexcept { return (value + unit - 1) / unit * unit; }

struct Part {
  const CpuWeight* weight;
  Mat y;
  const float* bias;
  float scale;
  bool accumulate;
  uint64_t first_panel;  // in the numbering over all parts
};

struct LinearOp {
  RowSource source;
  NormArgs norm;      // kNorm
  PackPlan plan;
  bool exact;         // Activations::kF32
  const Part* parts;
  uint32_t part_count;
  uint32_t rows, tiles, tiles_per_block;
  uint64_t panels;    // of all parts
  uint8_t* packed;    // null: each thread packs into its own scratch
  uint64_t packed_size;
  uint64_t kernel_scratch;
  Shares* shares;
  uint32_t share_count;
};

/// The row that enters the product: in place if it is there already, else made in `scratch`.
const float* make_row(const LinearOp& op, const KernelTable& kernels, uint32_t row, float* scratch) {
  const float* x = row_of(op.source.x, row);
  switch (op.source.kind) {
    case RowSource::Kind::kPlain: return x;
    case RowSource::Kind::kNorm: {
      NormArgs norm = op.norm;
      norm.x = x;
      norm.y = scratch;
      kernels.norm(norm);
      return scratch;
    }
    case RowSource::Kind::kGated:
      kernels.gated(scratch, x, row_of(op.source.up, row), op.plan.k, static_cast<ActivationIndex>(op.source.activation));
      return scratch;
    case RowSource::Kind::kActivated:
      kernels.activate(scratch, x, op.plan.k, static_cast<ActivationIndex>(op.source.activation));
      return scratch;
  }
  return x;
}

void pack_tile(const LinearOp& op, const OpContext& context, const PackedRows& packed, uint32_t tile, float* row_scratch) {
  const TileSpan span = tile_span(op.rows, op.tiles, tile);
  for (uint32_t c = 0; c < span.count; ++c) {
    pack_row(context.kernels, op.plan, packed, span.first, span.count, c, make_row(op, context.kernels, span.first + c, row_scratch));
  }
}

/// Scratch of a thread: the kernel's, one row, then (for private packing) the packed rows.
float* row_scratch(const LinearOp& op, const OpContext& context) { return reinterpret_cast<float*>(context.scratch + op.kernel_scratch); }
uint8_t* private_rows(const LinearOp& op, const OpContext& context) {
  return context.scratch + op.kernel_scratch + round_up(op.plan.k * sizeof(float), 64);
}

void run_panels(const LinearOp& op, const OpContext& context, const PackedRows& packed, uint64_t begin, uint64_t end,
                uint32_t tile_begin, uint32_t tile_end) {
  for (uint32_t p = 0; p < op.part_count; ++p) {
    const Part& part = op.parts[p];
    const uint64_t first = std::max(begin, part.first_panel);
    const uint64_t last = std::min(end, part.first_panel + part.weight->panels());
    if (first >= last) continue;
    LinearArgs args;
    args.panels = part.weight->panel(0, 0);
    args.columns = op.rows;
    args.tiles = op.tiles;
    args.y = part.y.data;
    args.y_stride = part.y.stride;
    args.bias = part.bias;
    args.scale = part.scale;
    args.accumulate = part.accumulate;
    args.scratch = context.scratch;
    multiply_panels(context.kernels, op.plan, packed, 0, *part.weight, op.exact, args, first - part.first_panel, last - part.first_panel,
                    tile_begin, tile_end);
  }
}

struct PackArgs {
  const LinearOp* op;
  static void run(const PackArgs& a, const OpContext& context) {
    const LinearOp& op = *a.op;
    const PackedRows packed = packed_at(op.plan, op.rows, op.packed);
    for (uint64_t t = context.worker.begin(op.tiles); t < context.worker.end(op.tiles); ++t) {
      pack_tile(op, context, packed, static_cast<uint32_t>(t), row_scratch(op, context));
    }
  }
};

struct MultiplyArgs {
  const LinearOp* op;
  static void run(const MultiplyArgs& a, const OpContext& context) {
    const LinearOp& op = *a.op;
    uint8_t* memory = op.packed != nullptr ? op.packed : private_rows(op, context);
    const PackedRows packed = packed_at(op.plan, op.rows, memory);
    if (op.packed == nullptr) pack_tile(op, context, packed, 0, row_scratch(op, context));
    for (;;) {
      const auto [begin, end] = Shares::take(op.shares, op.share_count, context.worker.index);
      if (begin == end) return;
      for (uint64_t at = begin; at < end;) {  // a chunk may cross into the next block of tiles
        const uint64_t block = at / op.panels;
        const uint64_t stop = std::min(end, (block + 1) * op.panels);
        const auto tile = static_cast<uint32_t>(block * op.tiles_per_block);
        run_panels(op, context, packed, at - block * op.panels, stop - block * op.panels, tile,
                   std::min(op.tiles, tile + op.tiles_per_block));
        at = stop;
      }
    }
  }
};

}  // namespace

void plan_for(const KernelTable& kernels, const CpuWeight& weight, bool exact, PackPlan& plan) noexcept {
  const Aux aux = format_info(weight.format()).aux;
  if (exact) plan.exact = true;
  else if (aux != Aux::kNone) plan.kinds |= 1U << static_cast<uint32_t>(aux);
  else if (weight.format() == Format::kBF16 && kernels.linear_bf16 != nullptr) plan.half = true;
  else plan.exact = true;
}

void multiply_panels(const KernelTable& kernels, const PackPlan& plan, const PackedRows& packed, uint64_t first, const CpuWeight& weight,
                     bool exact, LinearArgs args, uint64_t panel_begin, uint64_t panel_end, uint32_t tile_begin, uint32_t tile_end) noexcept {
  args.format = weight.format();
  args.panel_bytes = weight.panel_bytes();
  args.k = plan.k;
  args.m = static_cast<uint32_t>(weight.rows());
  PackPlan own{.k = plan.k};
  plan_for(kernels, weight, exact, own);
  const auto begin = static_cast<uint32_t>(panel_begin);
  const auto end = static_cast<uint32_t>(panel_end);
  if (own.half) {
    args.h = packed.h + first * round_up(plan.k, 2);
    return kernels.linear_bf16(args, begin, end, tile_begin, tile_end);
  }
  if (own.exact) {
    args.f = packed.f + first * round_up(plan.k, 2);
  } else {
    const auto kind = static_cast<uint32_t>(format_info(weight.format()).aux);
    args.q = (is_super(kind) ? packed.q_super : packed.q) + first * plan.k;
    args.aux = packed.aux[kind] + first * aux_floats(kind, plan.k);
  }
  kernels.linear(args, begin, end, tile_begin, tile_end);
}

uint64_t packed_bytes(const PackPlan& plan, uint64_t rows) noexcept {
  uint64_t bytes = 0;
  if ((plan.kinds & ~kSuperKinds) != 0) bytes += round_up(rows * plan.k, 64);
  if ((plan.kinds & kSuperKinds) != 0) bytes += round_up(rows * plan.k, 64);
  for (uint32_t kind = 0; kind < kAuxKinds; ++kind) {
    if ((plan.kinds >> kind & 1U) != 0) bytes += round_up(rows * aux_floats(kind, plan.k) * sizeof(float), 64);
  }
  if (plan.exact) bytes += round_up(rows * round_up(plan.k, 2) * sizeof(float), 64);
  if (plan.half) bytes += round_up(rows * round_up(plan.k, 2) * sizeof(uint16_t), 64);
  return bytes;
}

PackedRows packed_at(const PackPlan& plan, uint64_t rows, uint8_t* memory) noexcept {
  PackedRows out;
  auto carve = [&memory](uint64_t bytes) {
    uint8_t* at = memory;
    memory += round_up(bytes, 64);
    return at;
  };
  if ((plan.kinds & ~kSuperKinds) != 0) out.q = reinterpret_cast<int8_t*>(carve(rows * plan.k));
  if ((plan.kinds & kSuperKinds) != 0) out.q_super = reinterpret_cast<int8_t*>(carve(rows * plan.k));
  for (uint32_t kind = 0; kind < kAuxKinds; ++kind) {
    if ((plan.kinds >> kind & 1U) == 0) continue;
    out.aux[kind] = reinterpret_cast<float*>(carve(rows * aux_floats(kind, plan.k) * sizeof(float)));
  }
  if (plan.exact) out.f = reinterpret_cast<float*>(carve(rows * round_up(plan.k, 2) * sizeof(float)));
  if (plan.half) out.h = reinterpret_cast<uint16_t*>(carve(rows * round_up(plan.k, 2) * sizeof(uint16_t)));
  return out;
}

void pack_row(const KernelTable& kernels, const PackPlan& plan, const PackedRows& to, uint64_t first, uint32_t columns,
              uint32_t column, const float* x) noexcept {
  if (plan.kinds != 0) {
    QuantizeArgs args;
    args.x = x;
    args.k = plan.k;
    args.column = column;
    args.columns = columns;
    if (to.q != nullptr) args.q = to.q + first * plan.k;
    if (to.q_super != nullptr) args.q_super = to.q_super + first * plan.k;
    for (uint32_t kind = 0; kind < kAuxKinds; ++kind) {
      if (to.aux[kind] != nullptr) args.aux[kind] = to.aux[kind] + first * aux_floats(kind, plan.k);
    }
    kernels.quantize_row(args);
  }
  if (plan.exact) {
    const uint64_t k_even = round_up(plan.k, 2);
    float* f = to.f + first * k_even + column;
    for (uint64_t i = 0; i < plan.k; ++i) f[i * columns] = x[i];
    if (k_even != plan.k) f[plan.k * columns] = 0.0F;
  }
  if (plan.half) {
    uint16_t* h = to.h + first * round_up(plan.k, 2) + 2 * column;
    for (uint64_t i = 0; i < plan.k; i += 2) {
      h[i * columns] = float_to_bfloat(x[i]);
      h[i * columns + 1] = i + 1 < plan.k ? float_to_bfloat(x[i + 1]) : uint16_t{0};
    }
  }
}

void CpuStream::record_linear(std::span<const LinearSpec> parts, const RowSource& source) noexcept {
  if (!has_data(source.x) || parts.empty() || source.x.rows == 0) return;
  LinearOp op{};
  op.source = source;
  op.rows = source.x.rows;
  op.plan.k = source.x.cols;
  op.exact = exact_;
  auto* kept = take<Part>(parts.size());
  if (kept == nullptr) return;
  std::vector<Span>& reads = reads_;
  std::vector<Span>& writes = writes_;
  reads.assign({span_of(source.x), span_of(source.up)});
  writes.clear();
  for (size_t i = 0; i < parts.size(); ++i) {
    const LinearSpec& part = parts[i];
    const CpuWeight& weight = cpu_weight(*part.weight);
    if (!require(!weight.is_vector() && weight.cols() == op.plan.k && part.y.cols == weight.rows() && part.y.rows == op.rows && weight.experts() == 1,
                 "linear: shapes differ") ||
        !has_data(part.y)) {
      return;
    }
    if (part.bias != nullptr && !require(part.bias->rows() * part.bias->cols() == weight.rows(), "linear: bias has another size")) return;
    kept[i] = {&weight, part.y, values_or_null(part.bias), part.scale, part.accumulate, op.panels};
    op.panels += weight.panels();
    plan_for(kernels_, weight, exact_, op.plan);
    op.kernel_scratch = std::max(op.kernel_scratch, round_up(linear_scratch_bytes(weight.format(), op.plan.k, exact_), 64));
    if (part.accumulate) reads.push_back(span_of(part.y));
    writes.push_back(span_of(part.y));
  }
  op.parts = kept;
  op.part_count = static_cast<uint32_t>(parts.size());
  if (source.kind == RowSource::Kind::kNorm) {
    if (!norm_args(source.norm, source.x, op.norm)) return;
  }
  op.tiles = tile_count(op.rows, kernels_.tile_columns);
  op.packed_size = packed_bytes(op.plan, op.rows);
  const uint64_t tile_bytes = std::max<uint64_t>(1, op.packed_size / op.tiles);
  const uint64_t block_bytes = op.plan.kinds != 0 ? kBlockBytes : kFloatBlockBytes;
  op.tiles_per_block = static_cast<uint32_t>(std::clamp<uint64_t>(block_bytes / tile_bytes, 1, op.tiles));
  const uint64_t blocks = (op.tiles + op.tiles_per_block - 1) / op.tiles_per_block;
  const uint64_t items = op.panels * blocks;
  op.share_count = team_.size();
  op.shares = make_shares(items, items / (uint64_t{team_.size()} * 8));

  // Own packing needs no barrier, but then nobody may write what another still reads.
  bool alias = false;
  for (const Span& w : writes) alias = alias || touches(w, span_of(source.x)) || touches(w, span_of(source.up));
  const bool shared = op.tiles > 1 || alias;
  need_scratch(op.kernel_scratch + round_up(op.plan.k * sizeof(float), 64) + (shared ? 0 : op.packed_size));
  if (shared) op.packed = take_packed(op.packed_size);
  const LinearOp* recorded = keep(op);
  if (recorded == nullptr || op.shares == nullptr || (shared && op.packed == nullptr)) return;
  if (shared) {
    const Span packed{op.packed, op.packed + op.packed_size};
    record(PackArgs{recorded}, {span_of(source.x), span_of(source.up)}, {packed});
    reads.push_back(packed);
  }
  const MultiplyArgs* multiply = keep(MultiplyArgs{recorded});
  if (multiply == nullptr) return;
  append([](const void* a, const OpContext& c) { MultiplyArgs::run(*static_cast<const MultiplyArgs*>(a), c); }, multiply,
         std::span<const Span>(reads), std::span<const Span>(writes));
}

void CpuStream::linear(std::span<const LinearSpec> parts, Mat x) noexcept {
  RowSource source;
  source.x = x;
  record_linear(parts, source);
}

void CpuStream::norm_linear(std::span<const LinearSpec> parts, Mat x, const NormSpec& spec) noexcept {
  if (spec.groups != 1) return Stream::norm_linear(parts, x, spec);
  RowSource source;
  source.kind = RowSource::Kind::kNorm;
  source.x = x;
  source.norm = spec;
  record_linear(parts, source);
}

void CpuStream::gated_linear(std::span<const LinearSpec> parts, Mat gate, Mat up, Activation act) noexcept {
  if (!has_data(up) || !require(gate.rows == up.rows && gate.cols == up.cols, "gated_linear: shapes differ")) return;
  RowSource source;
  source.kind = RowSource::Kind::kGated;
  source.x = gate;
  source.up = up;
  source.activation = act;
  record_linear(parts, source);
}

void CpuStream::activated_linear(std::span<const LinearSpec> parts, Mat x, Activation act) noexcept {
  RowSource source;
  source.kind = RowSource::Kind::kActivated;
  source.x = x;
  source.activation = act;
  record_linear(parts, source);
}

}  // namespace kvasir::cpu
