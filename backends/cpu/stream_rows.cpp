// Ops on rows: embeddings, norms, activations, residuals, copies. Work is split over rows x pieces of a row, so that a
// single row (decode) uses all threads where its elements are independent.
#include <cstring>

#include "backends/cpu/cpu_stream.h"

namespace kvasir::cpu {
namespace {

constexpr uint32_t kPiece = 512;  // columns per item of elementwise ops

/// Calls step(row, first column, count) for this worker's share of rows x pieces.
template <class Step>
void each_piece(const OpContext& context, uint32_t rows, uint32_t cols, Step step) {
  const uint64_t pieces = (cols + kPiece - 1) / kPiece;
  const uint64_t items = rows * pieces;
  for (uint64_t i = context.worker.begin(items); i < context.worker.end(items); ++i) {
    const auto first = static_cast<uint32_t>(i % pieces * kPiece);
    step(i / pieces, first, cols - first < kPiece ? cols - first : kPiece);
  }
}

struct CopyArgs {
  Mat y;
  const float* from;
  uint64_t from_stride;
  const uint32_t* rows;  // null: row i from row i
  static void run(const CopyArgs& a, const OpContext& context) {
    each_piece(context, a.y.rows, a.y.cols, [&](uint64_t row, uint32_t first, uint32_t count) {
      const uint64_t from = a.rows != nullptr ? a.rows[row] : row;
      std::memmove(row_of(a.y, row) + first, a.from + from * a.from_stride + first, count * sizeof(float));
    });
  }
};

struct EmbedArgs {
  Mat y;
  const CpuWeight* table;
  const TokenId* ids;
  float scale;
  static void run(const EmbedArgs& a, const OpContext& context) {
    for (uint64_t i = context.worker.begin(a.y.rows); i < context.worker.end(a.y.rows); ++i) {
      const auto id = static_cast<uint32_t>(a.ids[i]);
      float* y = row_of(a.y, i);
      context.kernels.decode_row(a.table->format(), a.table->panel(0, id / kPanelRows), id % kPanelRows, a.y.cols, y);
      if (a.scale != 1.0F) context.kernels.scale(y, a.scale, a.y.cols);
    }
  }
};

struct PositionsArgs {
  Mat y;
  const CpuWeight* table;
  const uint32_t* positions;
  uint32_t offset;
  static void run(const PositionsArgs& a, const OpContext& context) {
    auto* row = reinterpret_cast<float*>(context.scratch);
    for (uint64_t i = context.worker.begin(a.y.rows); i < context.worker.end(a.y.rows); ++i) {
      const uint32_t id = a.positions[i] + a.offset;
      context.kernels.decode_row(a.table->format(), a.table->panel(0, id / kPanelRows), id % kPanelRows, a.y.cols, row);
      context.kernels.add(row_of(a.y, i), row, 1.0F, a.y.cols);
    }
  }
};

struct NormOpArgs {
  Mat y, x;
  NormArgs norm;      // n: columns of one group
  uint32_t groups;
  uint32_t weight_step;  // n if the weight covers the whole row, else 0
  static void run(const NormOpArgs& a, const OpContext& context) {
    const uint64_t items = uint64_t{a.x.rows} * a.groups;
    for (uint64_t i = context.worker.begin(items); i < context.worker.end(items); ++i) {
      const uint64_t group = i % a.groups;
      NormArgs norm = a.norm;
      norm.x = row_of(a.x, i / a.groups) + group * norm.n;
      norm.y = row_of(a.y, i / a.groups) + group * norm.n;
      if (norm.weight != nullptr) norm.weight += group * a.weight_step;
      if (norm.bias != nullptr) norm.bias += group * a.weight_step;
      context.kernels.norm(norm);
    }
  }
};

struct ElementArgs {
  enum class Kind : uint8_t { kGated, kActivate, kAdd, kMultiply, kMultiplyRow, kScale, kSoftCap } kind;
  Mat y, x, z;
  float factor;
  Activation activation;
  static void run(const ElementArgs& a, const OpContext& context) {
    const auto act = static_cast<ActivationIndex>(a.activation);
    each_piece(context, a.y.rows, a.y.cols, [&](uint64_t row, uint32_t first, uint32_t n) {
      float* y = row_of(a.y, row) + first;
      const float* x = a.x.data == nullptr ? nullptr : row_of(a.x, row) + first;
      switch (a.kind) {
        case Kind::kGated: return context.kernels.gated(y, x, row_of(a.z, row) + first, n, act);
        case Kind::kActivate: return context.kernels.activate(y, x, n, act);
        case Kind::kAdd: return context.kernels.add(y, x, a.factor, n);
        case Kind::kMultiply: return context.kernels.multiply(y, x, n);
        case Kind::kMultiplyRow: return context.kernels.scale(y, *row_of(a.x, row), n);
        case Kind::kScale: return context.kernels.scale(y, a.factor, n);
        case Kind::kSoftCap: return context.kernels.soft_cap(y, a.factor, n);
      }
    });
  }
};

bool same_shape(Mat a, Mat b) noexcept { return a.rows == b.rows && a.cols == b.cols; }

}  // namespace

void CpuStream::download(std::span<float> into, Mat x) noexcept {
  if (!has_data(x) || !require(into.size() >= uint64_t{x.rows} * x.cols, "download into too little memory")) return;
  const Mat y{into.data(), x.rows, x.cols, x.cols};
  record(CopyArgs{y, x.data, x.stride, nullptr}, {span_of(x)}, {span_of(y)});
}

void CpuStream::upload(Mat y, std::span<const float> from) noexcept {
  if (!has_data(y) || !require(from.size() >= uint64_t{y.rows} * y.cols, "upload from too little memory")) return;
  record(CopyArgs{y, from.data(), y.cols, nullptr}, {}, {span_of(y)});
}

void CpuStream::copy_columns(Mat y, uint32_t y_col, Mat x, uint32_t x_col, uint32_t count) noexcept {
  if (!has_data(y) || !has_data(x)) return;
  if (!require(y.rows == x.rows && y_col <= y.cols && count <= y.cols - y_col && x_col <= x.cols && count <= x.cols - x_col,
               "copy_columns outside the matrix")) {
    return;
  }
  const Mat part{y.data + y_col, y.rows, count, y.stride};
  const Mat from{x.data + x_col, x.rows, count, x.stride};
  record(CopyArgs{part, from.data, x.stride, nullptr}, {span_of(from)}, {span_of(part)});
}

void CpuStream::gather_rows(Mat y, Mat x, std::span<const uint32_t> rows) noexcept {
  if (!has_data(y) || !has_data(x) || !require(y.rows == rows.size() && y.cols == x.cols, "gather_rows: shapes differ")) return;
  auto* kept = take<uint32_t>(rows.size());
  for (size_t i = 0; kept != nullptr && i < rows.size(); ++i) {
    if (!require(rows[i] < x.rows, "gather_rows: no such row")) return;
    kept[i] = rows[i];
  }
  record(CopyArgs{y, x.data, x.stride, kept}, {span_of(x)}, {span_of(y)});
}

void CpuStream::embed(Mat y, const Weight& table, std::span<const TokenId> ids, float scale) noexcept {
  const CpuWeight& weight = cpu_weight(table);
  if (!has_data(y) || !require(ids.size() == y.rows && y.cols == weight.cols() && !weight.is_vector(), "embed: shapes differ")) return;
  auto* kept = take<TokenId>(ids.size());
  for (size_t i = 0; kept != nullptr && i < ids.size(); ++i) {
    if (!require(ids[i] >= 0 && static_cast<uint64_t>(ids[i]) < weight.rows(), "embed: token outside the vocabulary")) return;
    kept[i] = ids[i];
  }
  record(EmbedArgs{y, &weight, kept, scale}, {}, {span_of(y)});
}

void CpuStream::add_positions(Mat y, const Weight& table, uint32_t offset) noexcept {
  const CpuWeight& weight = cpu_weight(table);
  if (!has_data(y) || !require(y.rows == layout_->rows && y.cols == weight.cols() && !weight.is_vector(), "add_positions: shapes differ")) return;
  for (uint32_t i = 0; i < y.rows; ++i) {
    if (!require(uint64_t{positions_[i]} + offset < weight.rows(), "add_positions: position outside the table")) return;
  }
  need_scratch(y.cols * sizeof(float));
  record(PositionsArgs{y, &weight, positions_, offset}, {span_of(y)}, {span_of(y)});
}

/// Sizes checked, pointers taken; `weight_step` is how far the weight moves from group to group.
bool CpuStream::norm_args(const NormSpec& spec, Mat x, NormArgs& out, uint32_t* weight_step) noexcept {
  if (!require(spec.groups > 0 && x.cols % spec.groups == 0, "norm: groups do not divide the row")) return false;
  const uint32_t n = x.cols / spec.groups;
  uint32_t step = 0;
  for (const Weight* w : {spec.weight, spec.bias}) {
    if (w == nullptr) continue;
    const uint64_t size = w->rows() * w->cols();
    if (!require(cpu_weight(*w).is_vector() && (size == n || size == x.cols), "norm: weight has another size")) return false;
    step = size == n ? 0 : n;
  }
  if (weight_step != nullptr) *weight_step = step;
  out.n = n;
  out.weight = values_or_null(spec.weight);
  out.bias = values_or_null(spec.bias);
  out.eps = spec.eps;
  out.layer = spec.kind == NormKind::kLayer;
  return true;
}

void CpuStream::norm(Mat y, Mat x, const NormSpec& spec) noexcept {
  if (!has_data(y) || !has_data(x) || !require(same_shape(y, x), "norm: shapes differ")) return;
  NormOpArgs args{y, x, {}, spec.groups, 0};
  if (!norm_args(spec, x, args.norm, &args.weight_step)) return;
  record(args, {span_of(x)}, {span_of(y)});
}

void CpuStream::gated(Mat y, Mat gate, Mat up, Activation act) noexcept {
  if (!has_data(y) || !has_data(gate) || !has_data(up) || !require(same_shape(y, gate) && same_shape(y, up), "gated: shapes differ")) return;
  record(ElementArgs{ElementArgs::Kind::kGated, y, gate, up, 0.0F, act}, {span_of(gate), span_of(up)}, {span_of(y)});
}

void CpuStream::activate(Mat y, Mat x, Activation act) noexcept {
  if (!has_data(y) || !has_data(x) || !require(same_shape(y, x), "activate: shapes differ")) return;
  if (!require(act != Activation::kSwigluOai, "activate: this activation is a gated one")) return;
  record(ElementArgs{ElementArgs::Kind::kActivate, y, x, {}, 0.0F, act}, {span_of(x)}, {span_of(y)});
}

void CpuStream::add(Mat y, Mat x, float factor) noexcept {
  if (!has_data(y) || !has_data(x) || !require(same_shape(y, x), "add: shapes differ")) return;
  record(ElementArgs{ElementArgs::Kind::kAdd, y, x, {}, factor, Activation::kIdentity}, {span_of(x), span_of(y)}, {span_of(y)});
}

void CpuStream::multiply(Mat y, Mat x) noexcept {
  if (!has_data(y) || !has_data(x) || !require(y.rows == x.rows && (y.cols == x.cols || x.cols == 1), "multiply: shapes differ")) return;
  const auto kind = x.cols == y.cols ? ElementArgs::Kind::kMultiply : ElementArgs::Kind::kMultiplyRow;
  record(ElementArgs{kind, y, x, {}, 0.0F, Activation::kIdentity}, {span_of(x), span_of(y)}, {span_of(y)});
}

void CpuStream::scale(Mat y, float factor) noexcept {
  if (!has_data(y)) return;
  record(ElementArgs{ElementArgs::Kind::kScale, y, {}, {}, factor, Activation::kIdentity}, {span_of(y)}, {span_of(y)});
}

void CpuStream::soft_cap(Mat y, float cap) noexcept {
  if (!has_data(y) || !require(cap > 0.0F, "soft_cap: cap must be positive")) return;
  record(ElementArgs{ElementArgs::Kind::kSoftCap, y, {}, {}, cap, Activation::kIdentity}, {span_of(y)}, {span_of(y)});
}

}  // namespace kvasir::cpu
