// rope, store_kv and attention. Attention is split into items (sequence, KV head, query tile[, split of 512 slots]);
// the arithmetic per query row does not depend on the split into items (kernels/attention.inl.h), so the number of
// threads may choose it.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "backends/cpu/cpu_stream.h"
#include "backends/cpu/format.h"

namespace kvasir::cpu {
namespace {

/// The table rows [cos | sin] of one position. Angles as float products, as in the models' own code.
void fill_rope(const RopeSpec& spec, uint32_t position, float* cos, float* sin) {
  for (uint32_t i = 0; i < spec.dims / 2; ++i) {
    const double angle = static_cast<double>(static_cast<float>(position) * spec.inverse_frequency[i]);
    const auto c = static_cast<float>(std::cos(angle)) * spec.magnitude;
    const auto s = static_cast<float>(std::sin(angle)) * spec.magnitude;
    if (spec.kind == RopeKind::kInterleaved) {
      cos[2 * i] = cos[2 * i + 1] = c;
      sin[2 * i] = -s;
      sin[2 * i + 1] = s;
    } else {
      cos[i] = c;
      sin[i] = s;
    }
  }
}

struct FillRopeArgs {
  RopeSpec spec;
  const uint32_t* positions;
  uint32_t rows;
  float* table;
  static void run(const FillRopeArgs& a, const OpContext& context) {
    for (uint64_t row = context.worker.begin(a.rows); row < context.worker.end(a.rows); ++row) {
      float* cos = a.table + row * 2 * a.spec.dims;
      fill_rope(a.spec, a.positions[row], cos, cos + a.spec.dims);
    }
  }
};

}  // namespace

/// Rotates heads of q and k, then stores k and v: any of the three may be absent. Items are rows x heads.
struct RopeStoreArgs {
  Mat q, k, v;
  uint32_t q_heads, k_heads;
  RopeKind kind;
  uint32_t dims, offset;
  const float* table;         // [rows][2][dims]
  const uint32_t* page_slots; // [rows] page * 64 + row in page, or null: no store
  KvHeadLayout layout;
  uint8_t* first_head;
  uint64_t page_stride;

  void rotate(const OpContext& context, Mat x, uint64_t row, uint32_t head, uint32_t heads) const {
    const uint32_t head_dim = x.cols / heads;
    rotate(context, row_of(x, row) + uint64_t{head} * head_dim, row);
  }
  void rotate(const OpContext& context, float* head, uint64_t row) const {
    if (kind == RopeKind::kNone || dims == 0) return;
    const float* cos = table + row * 2 * dims;
    const RopeArgs args{.x = head + offset, .dims = dims, .interleaved = kind == RopeKind::kInterleaved, .cos = cos, .sin = cos + dims};
    context.kernels.rope(args);
  }
  static void run(const RopeStoreArgs& a, const OpContext& context) {
    const uint32_t rows = a.q.rows != 0 ? a.q.rows : a.k.rows;
    const uint64_t heads = a.q_heads + a.k_heads;
    for (uint64_t i = context.worker.begin(rows * heads); i < context.worker.end(rows * heads); ++i) {
      const uint64_t row = i / heads;
      const auto head = static_cast<uint32_t>(i % heads);
      if (head < a.q_heads) a.rotate(context, a.q, row, head, a.q_heads);
      else a.store(context, row, head - a.q_heads);
    }
  }
  /// Rotates and stores one KV head of one row.
  void store(const OpContext& context, uint64_t row, uint32_t head) const {
    rotate(context, k, row, head, k_heads);
    if (page_slots == nullptr) return;
    const uint32_t slot = page_slots[row];
    const StoreKvArgs args{.layout = layout,
                           .head = first_head + slot / kPageRows * page_stride + head * layout.head_bytes,
                           .slot = slot % kPageRows,
                           .k = row_of(k, row) + uint64_t{head} * layout.k_dim,
                           .v = v.data == nullptr || layout.v_dim == 0 ? nullptr : row_of(v, row) + uint64_t{head} * layout.v_dim};
    context.kernels.store_kv(args);
  }
};

namespace {

struct AttentionOp {
  AttentionItem* items;
  uint32_t count;
  Shares* shares;
  uint32_t share_count;
  const RopeStoreArgs* before;  ///< what the items do for themselves first, or null
  uint64_t queries_at;          ///< in the scratch: room for their rotated queries

  /// One row's heads: the newest slot is stored by whoever reads it, queries are rotated in a copy.
  void prepare(const AttentionItem& item, AttentionArgs& args, const OpContext& context) const {
    if (args.first_slot / kPageRows / kSplitPages + 1 == args.split_end) before->store(context, item.row, item.kv_head);
    auto* queries = reinterpret_cast<float*>(context.scratch + queries_at);
    std::memcpy(queries, args.q, uint64_t{args.heads} * args.layout.k_dim * sizeof(float));
    for (uint32_t h = 0; h < args.heads; ++h) before->rotate(context, queries + uint64_t{h} * args.layout.k_dim, item.row);
    args.q = queries;
  }
  static void run(const AttentionOp& a, const OpContext& context) {
    for (;;) {
      const auto [begin, end] = Shares::take(a.shares, a.share_count, context.worker.index);
      if (begin == end) return;
      for (uint64_t i = begin; i < end; ++i) {
        AttentionArgs args = a.items[i].args;
        args.scratch = context.scratch;
        if (a.before != nullptr) a.prepare(a.items[i], args, context);
        context.kernels.attention(args);
        MergeGroup* group = a.items[i].group;
        if (group == nullptr || group->left.fetch_sub(1, std::memory_order_acq_rel) != 1) continue;
        context.kernels.attention_merge(args, group->partials, group->partial_floats, group->splits);
      }
    }
  }
};

}  // namespace

const float* CpuStream::rope_values(const RopeSpec& spec) noexcept {
  for (const RopeTable& table : rope_tables_) {
    if (table.frequencies == spec.inverse_frequency.data() && table.dims == spec.dims && table.magnitude == spec.magnitude &&
        table.kind == spec.kind) {
      return table.values;
    }
  }
  const uint32_t rows = layout_->rows;
  const uint64_t floats = uint64_t{rows} * 2 * spec.dims;
  auto* values = take<float>(floats);
  if (values == nullptr) return nullptr;
  constexpr uint64_t kFewFloats = 2048;  // cheaper to fill right here than to wait for each other
  if (floats <= kFewFloats) {
    for (uint64_t row = 0; row < rows; ++row) {
      float* cos = values + row * 2 * spec.dims;
      fill_rope(spec, positions_[row], cos, cos + spec.dims);
    }
  } else {
    record(FillRopeArgs{spec, positions_, rows, values}, {}, {Span{values, values + floats}});
  }
  rope_tables_.push_back({spec.inverse_frequency.data(), spec.dims, spec.magnitude, spec.kind, values});
  return values;
}

Span CpuStream::kv_span(uint32_t kv_layer) const noexcept {
  const uint8_t* at = pool_->head(kv_layer, 0);
  return {at, at + 1};  // stands for the whole layer: pages of layers interleave
}

bool CpuStream::kv_usable(uint32_t kv_layer) noexcept {
  return require(pool_ != nullptr && kv_layer < pool_->spec().layers.size(), "no such KV layer");
}

void CpuStream::rope(Mat x, uint32_t heads, const RopeSpec& spec) noexcept {
  record_rope_store(x, heads, {}, 0, {}, std::nullopt, spec);
}

void CpuStream::store_kv(uint32_t kv_layer, Mat k, Mat v) noexcept {
  if (!kv_usable(kv_layer)) return;
  record_rope_store({}, 0, k, pool_->spec().layers[kv_layer].n_kv_heads, v, kv_layer, {});
}

void CpuStream::rope_store(Mat q, uint32_t q_heads, Mat k, uint32_t kv_heads, Mat v, uint32_t kv_layer, const RopeSpec& spec) noexcept {
  record_rope_store(q, q_heads, k, kv_heads, v, kv_layer, spec);
}

void CpuStream::record_rope_store(Mat q, uint32_t q_heads, Mat k, uint32_t k_heads, Mat v, std::optional<uint32_t> kv_layer,
                                  const RopeSpec& spec) noexcept {
  RopeStoreArgs args{};
  args.q = q;
  args.k = k;
  args.v = v;
  args.q_heads = q_heads;
  args.k_heads = k_heads;
  args.kind = spec.kind;
  args.dims = spec.dims;
  args.offset = spec.offset;
  for (const auto& [x, heads] : {std::pair{q, q_heads}, std::pair{k, k_heads}}) {
    if (heads == 0) continue;
    if (!has_data(x) || !require(x.rows == layout_->rows && x.cols % heads == 0, "rope: shapes differ")) return;
    if (spec.kind == RopeKind::kNone) continue;
    if (!require(spec.dims % 2 == 0 && uint64_t{spec.offset} + spec.dims <= x.cols / heads &&
                     spec.inverse_frequency.size() >= spec.dims / 2,
                 "rope: dims outside the head")) {
      return;
    }
  }
  Span table_span;
  if (spec.kind != RopeKind::kNone && spec.dims != 0) {
    args.table = rope_values(spec);
    if (args.table == nullptr) return;
    table_span = {args.table, args.table + uint64_t{layout_->rows} * 2 * spec.dims};
  }
  Span kv;
  if (kv_layer) {
    if (!kv_usable(*kv_layer)) return;
    const KvLayerSpec& layer = pool_->spec().layers[*kv_layer];
    if (!require(k_heads == layer.n_kv_heads && k.cols == k_heads * layer.k_dim &&
                     (layer.v_dim == 0 || (v.rows == k.rows && v.cols == k_heads * layer.v_dim)),
                 "store_kv: shapes differ")) {
      return;
    }
    args.layout = pool_->layout(*kv_layer);
    args.first_head = pool_->head(*kv_layer, 0);
    args.page_stride = pool_->page_stride(*kv_layer);
    args.page_slots = page_slots(layer.group);
    if (args.page_slots == nullptr) return;
    kv = kv_span(*kv_layer);
  }
  if (kv_layer && each_has_one_row()) {  // attention() may take it over
    flush_rope_store();
    deferred_ = {keep(args), *kv_layer, table_span, kv};
    return;
  }
  record(args, {span_of(q), span_of(k), span_of(v), table_span}, {span_of(q), span_of(k), kv});
}

bool CpuStream::each_has_one_row() const noexcept {
  return std::ranges::all_of(layout_->sequences, [](const SequenceRows& s) { return s.n_rows == 1; });
}

void CpuStream::flush_rope_store() noexcept {
  const DeferredRopeStore op = std::exchange(deferred_, {});
  if (op.args == nullptr) return;
  append([](const void* a, const OpContext& c) { RopeStoreArgs::run(*static_cast<const RopeStoreArgs*>(a), c); }, op.args,
         {span_of(op.args->q), span_of(op.args->k), span_of(op.args->v), op.table}, {span_of(op.args->q), span_of(op.args->k), op.kv});
}

/// Where each row of the step is stored: page * 64 + row in page. Made once per group and step.
const uint32_t* CpuStream::page_slots(uint32_t group) noexcept {
  if (slots_of_group_.size() <= group) slots_of_group_.resize(group + 1, nullptr);
  if (slots_of_group_[group] != nullptr) return slots_of_group_[group];
  auto* slots = take<uint32_t>(layout_->rows);
  if (slots == nullptr) return nullptr;
  for (const SequenceRows& sequence : layout_->sequences) {
    if (!require(group < sequence.pages.size(), "sequence without a page table for this group")) return nullptr;
    const std::vector<PageId>& pages = sequence.pages[group];
    for (uint32_t i = 0; i < sequence.n_rows; ++i) {
      const uint32_t slot = sequence.first_slot + i;
      const PageId page = slot / kPageRows < pages.size() ? pages[slot / kPageRows] : kNoPage;
      if (!require(page < pool_->page_count(group), "row without a KV page of its own")) return nullptr;
      slots[sequence.first_row + i] = page * kPageRows + slot % kPageRows;
    }
  }
  slots_of_group_[group] = slots;
  return slots;
}

/// Every page that the rows of `sequence` look at must be there.
bool CpuStream::pages_there(const SequenceRows& sequence, uint32_t group, uint32_t window) noexcept {
  if (sequence.n_rows == 0) return true;
  const std::vector<PageId>& pages = sequence.pages[group];
  const uint32_t low = window != 0 && sequence.first_slot + 1 > window ? sequence.first_slot + 1 - window : 0;
  const uint32_t last = (sequence.first_slot + sequence.n_rows - 1) / kPageRows;
  for (uint32_t page = low / kPageRows; page <= last; ++page) {
    if (!require(page < pages.size() && pool_page(pages[page]) < pool_->page_count(group), "attention: a page of the window is missing")) return false;
  }
  return true;
}

/// One item, or one per split of 512 slots with a merge by whoever is last.
void CpuStream::add_attention_tile(AttentionArgs args, uint32_t row, uint32_t kv_head, bool split_up) noexcept {
  const uint32_t low = args.window != 0 && args.first_slot + 1 > args.window ? args.first_slot + 1 - args.window : 0;
  args.split_begin = low / kPageRows / kSplitPages;
  args.split_end = (args.first_slot + args.rows - 1) / kPageRows / kSplitPages + 1;
  const uint32_t splits = args.split_end - args.split_begin;
  if (!split_up || splits == 1) {
    attention_items_.push_back({args, nullptr, row, kv_head});
    return;
  }
  auto* group = take<MergeGroup>(1);
  if (group == nullptr) return;
  new (group) MergeGroup;
  const uint64_t queries = uint64_t{args.rows} * args.heads;
  group->splits = splits;
  group->left.store(splits, std::memory_order_relaxed);
  group->partial_floats = queries * ((args.v_dim + 15) / 16 * 16 + 16);
  group->partials = take<float>(splits * group->partial_floats);
  if (group->partials == nullptr) return;
  const uint32_t first = args.split_begin;
  for (uint32_t i = 0; i < splits; ++i) {
    args.split_begin = first + i;
    args.split_end = first + i + 1;
    args.partial = group->partials + i * group->partial_floats;
    attention_items_.push_back({args, group, row, kv_head});
  }
}

void CpuStream::attention(Mat y, Mat q, const AttentionSpec& spec) noexcept {
  if (!has_data(y) || !has_data(q) || !kv_usable(spec.kv_layer)) return;
  const KvLayerSpec& layer = pool_->spec().layers[spec.kv_layer];
  const uint32_t v_dim = layer.v_dim != 0 ? layer.v_dim : spec.v_dim;
  if (!require(spec.n_heads > 0 && spec.n_heads % layer.n_kv_heads == 0 && q.rows == layout_->rows && y.rows == q.rows &&
                   q.cols == spec.n_heads * layer.k_dim && y.cols == spec.n_heads * v_dim && (layer.v_dim != 0 || v_dim <= layer.k_dim),
               "attention: shapes differ")) {
    return;
  }
  if (spec.sinks != nullptr && !require(spec.sinks->rows() * spec.sinks->cols() == spec.n_heads, "attention: sinks have another size")) return;
  AttentionArgs base;
  base.q_stride = q.stride;
  base.y_stride = y.stride;
  base.v_dim = v_dim;
  base.values_in_keys = layer.v_dim == 0;
  base.exact = exact_;
  base.layout = pool_->layout(spec.kv_layer);
  base.page_stride = pool_->page_stride(spec.kv_layer);
  base.scale = spec.scale;
  base.soft_cap = spec.soft_cap;
  base.window = spec.window;
  if (page_slots(layer.group) == nullptr) return;  // checks the pages of the rows themselves

  const uint32_t group_heads = spec.n_heads / layer.n_kv_heads;
  const uint32_t tile_heads = std::min(group_heads, kMaxTileQueries);
  const uint32_t tile_rows = std::max(1U, kMaxTileQueries / tile_heads);
  uint64_t tiles = 0;
  for (const SequenceRows& s : layout_->sequences) tiles += (s.n_rows + tile_rows - 1) / tile_rows;
  tiles *= uint64_t{layer.n_kv_heads} * ((group_heads + tile_heads - 1) / tile_heads);
  const bool split_up = tiles < 4 * uint64_t{team_.size()} && team_.size() > 1;

  attention_items_.clear();
  for (const SequenceRows& s : layout_->sequences) {
    if (!pages_there(s, layer.group, spec.window)) return;
    const std::vector<PageId>& pages = s.pages[layer.group];
    for (uint32_t kv_head = 0; kv_head < layer.n_kv_heads; ++kv_head) {
      for (uint32_t h = 0; h < group_heads; h += tile_heads) {
        for (uint32_t r = 0; r < s.n_rows; r += tile_rows) {
          AttentionArgs args = base;
          args.rows = std::min(tile_rows, s.n_rows - r);
          args.heads = std::min(tile_heads, group_heads - h);
          args.first_slot = s.first_slot + r;
          const uint32_t head = kv_head * group_heads + h;
          args.q = row_of(q, s.first_row + r) + uint64_t{head} * layer.k_dim;
          args.y = row_of(y, s.first_row + r) + uint64_t{head} * v_dim;
          args.pool = pool_->head(spec.kv_layer, kv_head);
          args.pages = pages.data();
          args.sinks = spec.sinks == nullptr ? nullptr : values_or_null(spec.sinks) + head;
          add_attention_tile(args, s.first_row + r, kv_head, split_up);
        }
      }
    }
  }
  // In decode the step between projection and attention is short: its own barrier would cost more than it does.
  const DeferredRopeStore before = tile_heads == group_heads && layout_->masses.empty() && deferred_.args != nullptr &&
                                           deferred_.kv_layer == spec.kv_layer && (deferred_.args->q_heads == 0 || deferred_.args->q.data == q.data)
                                       ? std::exchange(deferred_, {})
                                       : DeferredRopeStore{};
  const uint64_t queries_at = (attention_scratch_bytes(tile_heads * tile_rows, layer.k_dim, v_dim) + 63) / 64 * 64;
  need_scratch(queries_at + uint64_t{tile_heads} * layer.k_dim * sizeof(float));
  auto* items = take<AttentionItem>(attention_items_.size());
  if (items == nullptr) return;
  for (size_t i = 0; i < attention_items_.size(); ++i) new (&items[i]) AttentionItem(attention_items_[i]);
  const auto count = static_cast<uint32_t>(attention_items_.size());
  const AttentionOp op{items, count, make_shares(count, 1), team_.size(), before.args, queries_at};
  if (before.args == nullptr) record(op, {span_of(q), kv_span(spec.kv_layer)}, {span_of(y)});
  else record(op, {span_of(q), span_of(before.args->v), before.table}, {span_of(y), span_of(before.args->k), before.kv});
  for (AttentionMass* mass : layout_->masses) record_mass(q, spec, *mass);
}

}  // namespace kvasir::cpu
