// The KV cache and attention.
#include <algorithm>

#include "backends/cuda/cuda_stream.h"
#include "backends/cuda/kernels/prompt_shape.h"

namespace kvasir::cuda {
namespace {

constexpr uint32_t kThreads = 128;
constexpr uint32_t kSplits = 16;        ///< ranges of pages per row: part of the numerics
constexpr uint32_t kRowsTogether = 64;  ///< rows whose partial results exist at once
constexpr uint32_t kMaxTileHeads = 8;
constexpr uint32_t kSharedBytes = 48 << 10;  ///< without opting in

/// As attention.cuh.
constexpr uint32_t shared_bytes(uint32_t heads, uint32_t k_dim, uint32_t v_dim) { return 4 * heads * (k_dim + kPageTokens + v_dim + 3); }

}  // namespace

bool CudaStream::store_fits(uint32_t layer, Mat k, Mat v) noexcept {
  if (!kv_usable(layer) || !has_data(k)) return false;
  const KvLayerSpec& spec = pool_->spec().layers[layer];
  const bool values = spec.v_dim > 0;
  return require(k.rows == layout_->rows && k.cols == spec.n_kv_heads * spec.k_dim &&
                     (values ? v.cols == spec.n_kv_heads * spec.v_dim && v.rows == k.rows && v.data != nullptr : v.cols == 0),
                 "store_kv: shapes differ") &&
         pages_there(spec.group, 1, PageUse::kWrite);
}

StoreKvArgs CudaStream::store_args(uint32_t layer, Mat k, Mat v) noexcept {
  const bool values = pool_->spec().layers[layer].v_dim > 0;
  StoreKvArgs args{};
  args.kv = kv_layer(layer);
  args.step = tables_;
  args.k = k.data;
  args.k_stride = k.stride;
  args.v = values ? v.data : nullptr;
  args.v_stride = values ? v.stride : 0;
  return args;
}

void CudaStream::store_kv(uint32_t layer, Mat k, Mat v) noexcept {
  if (!store_fits(layer, k, v)) return;
  const StoreKvArgs args = store_args(layer, k, v);
  launch<StoreKvArgs>(KernelId::kStoreKv, {pool_->spec().layers[layer].n_kv_heads, k.rows, 1}, kThreads) = args;
}

void CudaStream::rope_store(Mat q, uint32_t q_heads, Mat k, uint32_t kv_heads, Mat v, uint32_t layer, const RopeSpec& spec) noexcept {
  if (spec.kind == RopeKind::kNone) return store_kv(layer, k, v);
  if (!rope_fits(q, q_heads, spec) || !rope_fits(k, kv_heads, spec) || !store_fits(layer, k, v)) return;
  if (!require(kv_heads == pool_->spec().layers[layer].n_kv_heads, "rope_store: another number of heads")) return;
  const float* frequencies = bring_in(spec.inverse_frequency);
  const StoreKvArgs store = store_args(layer, k, v);
  if (error_) return;
  auto& args = launch<RopeStoreArgs>(KernelId::kRopeStore, {q_heads + kv_heads, k.rows, 1}, kThreads);
  args.store = store;
  args.q = rope_args(q, q_heads, spec, frequencies);
  args.k = rope_args(k, kv_heads, spec, frequencies);
  args.q_heads = q_heads;
}

void CudaStream::attention(Mat y, Mat q, const AttentionSpec& spec) noexcept {
  if (!kv_usable(spec.kv_layer) || !has_data(y) || !has_data(q)) return;
  const KvLayerSpec& layer = pool_->spec().layers[spec.kv_layer];
  const uint32_t v_dim = layer.v_dim > 0 ? layer.v_dim : spec.v_dim;
  if (!require(spec.n_heads > 0 && spec.n_heads % layer.n_kv_heads == 0 && q.cols == spec.n_heads * layer.k_dim && v_dim > 0 && y.cols == spec.n_heads * v_dim &&
                   y.rows == q.rows && q.rows == layout_->rows && (layer.v_dim > 0 || v_dim <= layer.k_dim),
               "attention: shapes differ")) {
    return;
  }
  if (!fits(spec.sinks, spec.n_heads) || !pages_there(layer.group, spec.window, PageUse::kRead)) return;
  const KvLayerView view = kv_layer(spec.kv_layer);
  if (error_) return;
  add_masses(q, spec, view);  // before y is written, which may be q
  const auto prompts = prompt_kernel(spec, layer);
  if (!prompts) return row_attention(y, q, spec, view, 0, q.rows);
  prompt_attention(y, q, spec, view, *prompts);
  uint32_t begin = 0, end = 0;  // neighbours with few rows pass together
  for (const SequenceRows& s : layout_->sequences) {
    if (s.n_rows > kFewRows) {
      row_attention(y, q, spec, view, begin, end);
      begin = s.first_row + s.n_rows;
    }
    end = s.first_row + s.n_rows;
  }
  row_attention(y, q, spec, view, begin, end);
}

std::optional<uint32_t> CudaStream::prompt_kernel(const AttentionSpec& spec, const KvLayerSpec& layer) const noexcept {
  const auto size = std::ranges::find(kPromptHeadSizes, layer.k_dim);
  if (size == std::end(kPromptHeadSizes) || layer.v_dim != layer.k_dim || pool_->spec().type == KvType::kF32) return std::nullopt;
  if (options_.activations != Activations::kAuto || options_.prompts != Prompts::kHalf) return std::nullopt;
  if (prompt_shared_bytes(layer.k_dim) > device_.facts().shared_bytes) return std::nullopt;
  if (spec.n_heads / layer.n_kv_heads > UINT32_MAX / kMaxRows) return std::nullopt;  // items are counted in 32 bits
  return static_cast<uint32_t>(size - std::begin(kPromptHeadSizes));
}

void CudaStream::prompt_attention(Mat y, Mat q, const AttentionSpec& spec, const KvLayerView& kv, uint32_t which) noexcept {
  const uint32_t group = spec.n_heads / kv.heads;
  uint32_t tiles = 0;
  for (const SequenceRows& s : layout_->sequences) {
    if (s.n_rows > kFewRows) tiles += ceil_div(uint64_t{s.n_rows} * group, kPromptItems);
  }
  if (tiles == 0) return;
  auto& args = launch<PromptAttentionArgs>(prompt_kernel_id(which), {tiles, kv.heads, 1}, kPromptWarps * 32, prompt_shared_bytes(kPromptHeadSizes[which]));
  args.kv = kv;
  args.step = tables_;
  args.q = q.data;
  args.q_stride = q.stride;
  args.y = y.data;
  args.y_stride = y.stride;
  args.sinks = values_or_null(spec.sinks);
  args.q_factor = spec.soft_cap > 0.0F ? spec.scale : spec.scale * kLog2E;
  args.soft_cap = spec.soft_cap;
  args.window = spec.window;
  args.group = group;
  args.sequences = static_cast<uint32_t>(layout_->sequences.size());
  args.few_rows = kFewRows;
}

/// Rows from first_row to before end_row, each by itself, its cache in ranges.
void CudaStream::row_attention(Mat y, Mat q, const AttentionSpec& spec, const KvLayerView& kv, uint32_t first_row, uint32_t end_row) noexcept {
  if (first_row == end_row) return;
  const uint32_t group = spec.n_heads / kv.heads, k_dim = kv.head.k_dim, v_dim = y.cols / spec.n_heads;
  uint32_t tile = std::min(group, kMaxTileHeads);
  while (tile > 1 && shared_bytes(tile, k_dim, v_dim) > kSharedBytes) --tile;
  if (!require(shared_bytes(tile, k_dim, v_dim) <= kSharedBytes, "attention: heads are too large")) return;
  const uint64_t place = arena_.place();
  const uint32_t together = std::min(kRowsTogether, end_row - first_row);
  auto* partials = scratch<float>(uint64_t{together} * spec.n_heads * kSplits * (2 + v_dim));
  if (error_) return;
  for (uint32_t first = first_row; first < end_row; first += together) {
    const uint32_t rows = std::min(together, end_row - first);
    AttentionArgs args{};
    args.kv = kv;
    args.step = tables_;
    args.q = q.data;
    args.q_stride = q.stride;
    args.partials = partials;
    args.y = y.data;
    args.y_stride = y.stride;
    args.sinks = values_or_null(spec.sinks);
    args.scale = spec.scale;
    args.soft_cap = spec.soft_cap;
    args.window = spec.window;
    args.group = group;
    args.tile_heads = tile;
    args.splits = kSplits;
    args.v_dim = v_dim;
    args.first_row = first;
    args.values_in_keys = kv.head.v_dim == 0 ? 1 : 0;
    launch<AttentionArgs>(KernelId::kAttention, {kSplits, kv.heads * ceil_div(group, tile), rows}, kThreads, shared_bytes(tile, k_dim, v_dim)) = args;
    launch<AttentionArgs>(KernelId::kAttentionMerge, {spec.n_heads, rows, 1}, kThreads) = args;
  }
  arena_.rewind(place);  // ops stay in order
}

void CudaStream::add_masses(Mat q, const AttentionSpec& spec, const KvLayerView& kv) noexcept {
  for (AttentionMass* mass : layout_->masses) add_mass(q, spec, kv, *mass);
}

void CudaStream::add_mass(Mat q, const AttentionSpec& spec, const KvLayerView& kv, AttentionMass& mass) noexcept {
  const auto sequence = std::ranges::find_if(layout_->sequences, [&](const SequenceRows& s) {
    return s.first_row <= mass.first_row && mass.first_row + mass.n_rows <= s.first_row + s.n_rows;
  });
  if (!require(sequence != layout_->sequences.end() && mass.n_rows > 0 && mass.slots > 0, "attention mass: rows of no sequence") ||
      !require(spec.kv_layer < mass.layers.size() && mass.layers[spec.kv_layer].size() == uint64_t{kv.heads} * mass.slots, "attention mass: no place for this layer")) {
    return;
  }
  std::vector<float>& sums = mass.layers[spec.kv_layer];
  auto place = std::ranges::find(mass_places_, &sums, &MassPlace::mass);
  if (place == mass_places_.end()) {  // else another layer with the same cache: it adds to what is there
    const float* there = bring_in(std::span<const float>(sums));
    auto out = out_.take(sums.size() * sizeof(float));
    if (!out) return fail(std::move(out).error());
    if (error_) return;
    downloads_.push_back({std::as_writable_bytes(std::span(sums)), out->host});
    mass_places_.push_back({&sums, const_cast<float*>(there), reinterpret_cast<float*>(out->device)});
    place = std::prev(mass_places_.end());
  }
  const uint64_t arena = arena_.place();
  auto* totals = scratch<float>(uint64_t{mass.n_rows} * spec.n_heads * 2);
  if (error_) return;
  const auto fill = [&](MassArgs& args) {
    args.kv = kv;
    args.q = q.data + mass.first_row * q.stride;
    args.q_stride = q.stride;
    args.sinks = values_or_null(spec.sinks);
    args.totals = totals;
    args.mass = place->sums;
    args.out = place->out;
    args.scale = spec.scale;
    args.soft_cap = spec.soft_cap;
    args.window = spec.window;
    args.group = spec.n_heads / kv.heads;
    args.sequence = static_cast<uint32_t>(sequence - layout_->sequences.begin());
    args.first_slot = sequence->first_slot + (mass.first_row - sequence->first_row);
    args.rows = mass.n_rows;
    args.slots = mass.slots;
  };
  fill(launch<MassArgs>(KernelId::kMassTotals, {spec.n_heads, mass.n_rows, 1}, kThreads));
  fill(launch<MassArgs>(KernelId::kMassSum, {ceil_div(mass.slots, kPageTokens), kv.heads, 1}, kPageTokens));
  arena_.rewind(arena);  // ops stay in order
}

}  // namespace kvasir::cuda
