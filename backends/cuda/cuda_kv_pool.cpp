#include "backends/cuda/cuda_kv_pool.h"

#include <bit>
#include <cstring>

#include "backends/kv_rows.h"
#include "core/base/bytes.h"

namespace kvasir::cuda {
namespace {

constexpr uint64_t round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

struct Shape {
  std::vector<uint64_t> page_bytes, layer_offsets, state_offsets;
  uint64_t slot_floats = 0, state_bytes = 0, bytes = 0;
  uint64_t aged_per_page = uint64_t{1} << kAgedPartBits;
};

Result<Shape> measure(const KvPoolSpec& spec) {
  const Failure too_large{Code::kTooLarge, "KV pool size overflows"};
  Shape shape;
  shape.page_bytes.resize(spec.group_pages.size());
  for (const KvLayerSpec& layer : spec.layers) {
    if (layer.group >= spec.group_pages.size()) return Failure{Code::kInvalidArgument, "KV layer names an unknown group"};
    constexpr uint32_t kMaxDim = 1U << 16U;
    if (layer.k_dim > kMaxDim || layer.v_dim > kMaxDim || layer.n_kv_heads > kMaxDim) return too_large;
    shape.layer_offsets.push_back(shape.page_bytes[layer.group]);
    const KvHeadView head = kv_head_view(spec.type, layer.k_dim, layer.v_dim);
    shape.page_bytes[layer.group] += head.head_bytes * layer.n_kv_heads;
    if (head.aged_bytes > 0) shape.aged_per_page = std::min(shape.aged_per_page, head.head_bytes / head.aged_bytes);
  }
  for (size_t g = 0; g < shape.page_bytes.size(); ++g) {
    const auto bytes = checked_mul<uint64_t>(shape.page_bytes[g], spec.group_pages[g]);
    const auto sum = bytes ? checked_add(shape.bytes, *bytes) : std::nullopt;
    if (!sum) return too_large;
    shape.bytes = *sum;
  }
  for (const uint64_t floats : spec.state_floats) {
    shape.state_offsets.push_back(shape.slot_floats);
    const auto sum = checked_add(shape.slot_floats, floats);
    if (!sum) return too_large;
    shape.slot_floats = *sum;
  }
  const auto floats = checked_mul<uint64_t>(shape.slot_floats, spec.state_slots);
  const auto bytes = floats ? checked_mul<uint64_t>(*floats, sizeof(float)) : std::nullopt;
  const auto sum = bytes ? checked_add(shape.bytes, *bytes) : std::nullopt;
  if (!sum) return too_large;
  shape.state_bytes = *bytes;
  shape.bytes = *sum;
  return shape;
}

}  // namespace

KvHeadView kv_head_view(KvType type, uint32_t k_dim, uint32_t v_dim) noexcept {
  KvHeadView view{};
  view.kind = type == KvType::kF16 ? KvKind::kF16 : type == KvType::kF32 ? KvKind::kF32 : KvKind::kQ8_0;
  view.k_dim = k_dim;
  view.v_dim = v_dim;
  view.v_stride = static_cast<uint32_t>(round_up(v_dim, 16));
  const uint64_t value = view.kind == KvKind::kF32 ? 4 : view.kind == KvKind::kF16 ? 2 : 1;
  const uint64_t scale = view.kind == KvKind::kQ8_0 ? 2 : 0;
  view.k_scales = value * k_dim * kPageTokens;
  view.v = round_up(view.k_scales + scale * round_up(k_dim, 32) / 32 * kPageTokens, 64);
  view.v_scales = view.v + value * view.v_stride * kPageTokens;
  view.head_bytes = round_up(view.v_scales + scale * round_up(view.v_stride, 32) / 32 * kPageTokens, 64);
  const uint64_t half = sizeof(uint16_t), v_groups = round_up(v_dim, 32) / 32;
  view.aged_k_scales = uint64_t{k_dim} * kPageTokens / 2;
  view.aged_k_leasts = view.aged_k_scales + uint64_t{k_dim} * 2 * half;
  const uint64_t fifths = v_dim > 0 ? uint64_t{k_dim + 1} / 2 * sizeof(uint64_t) : 0;  // behind the leasts
  view.aged_v = round_up(view.aged_k_leasts + uint64_t{k_dim} * 2 * half + fifths, 16);
  view.aged_v_scales = view.aged_v + v_groups * 16 * kPageTokens;
  view.aged_v_leasts = view.aged_v_scales + v_groups * half * kPageTokens;
  view.aged_bytes = round_up(view.aged_v_leasts + v_groups * half * kPageTokens, 64);
  return view;
}

Result<uint64_t> kv_pool_bytes(const KvPoolSpec& spec) { return KVASIR_TRY(measure(spec)).bytes; }

Result<std::unique_ptr<KvPool>> CudaKvPool::create(Device& device, const KvPoolSpec& spec) {
  Shape shape = KVASIR_TRY(measure(spec));
  std::unique_ptr<CudaKvPool> pool(new CudaKvPool(device, spec));
  pool->layer_offsets_ = std::move(shape.layer_offsets);
  pool->state_offsets_ = std::move(shape.state_offsets);
  pool->slot_floats_ = shape.slot_floats;
  pool->aged_per_page_ = static_cast<uint32_t>(shape.aged_per_page);
  pool->groups_.resize(shape.page_bytes.size());
  for (size_t g = 0; g < pool->groups_.size(); ++g) {
    Group& group = pool->groups_[g];
    group.page_bytes = shape.page_bytes[g];
    const uint64_t bytes = group.page_bytes * spec.group_pages[g];
    if (bytes == 0) continue;
    group.memory = KVASIR_TRY(DeviceBuffer::create(device, DeviceBuffer::Kind::kDevice, bytes));
    KVASIR_TRY(device.clear(group.memory.data(), bytes));
  }
  if (shape.state_bytes > 0) {
    pool->states_ = KVASIR_TRY(DeviceBuffer::create(device, DeviceBuffer::Kind::kDevice, shape.state_bytes));
    KVASIR_TRY(device.clear(pool->states_.data(), shape.state_bytes));
  }
  KVASIR_TRY(device.synchronize());
  return std::unique_ptr<KvPool>(std::move(pool));
}

uint64_t CudaKvPool::bytes() const noexcept {
  uint64_t sum = states_.bytes();
  for (const Group& group : groups_) sum += group.memory.bytes();
  return sum;
}

KvLayerView CudaKvPool::layer(uint32_t kv_layer) const noexcept {
  const KvLayerSpec& spec = spec_.layers[kv_layer];
  KvLayerView view{};
  view.base = groups_[spec.group].memory.data() + layer_offsets_[kv_layer];
  view.page_bytes = groups_[spec.group].page_bytes;
  view.head = kv_head_view(spec_.type, spec.k_dim, spec.v_dim);
  view.heads = spec.n_kv_heads;
  return view;
}

Result<uint8_t*> CudaKvPool::page(uint32_t group, PageId page) const {
  if (group >= groups_.size() || page >= spec_.group_pages[group]) return Failure{Code::kInvalidArgument, "no such KV page"};
  return groups_[group].memory.data() + page * groups_[group].page_bytes;
}

Result<void> CudaKvPool::export_page(uint32_t group, PageId index, std::span<std::byte> into) const {
  const uint8_t* from = KVASIR_TRY(page(group, index));
  if (into.size() != groups_[group].page_bytes) return Failure{Code::kInvalidArgument, "KV page size differs"};
  KVASIR_TRY(device_.copy_out(into.data(), from, into.size()));
  return device_.synchronize();
}

Result<void> CudaKvPool::import_page(uint32_t group, PageId index, std::span<const std::byte> from) {
  uint8_t* to = KVASIR_TRY(page(group, index));
  if (from.size() != groups_[group].page_bytes) return Failure{Code::kInvalidArgument, "KV page size differs"};
  KVASIR_TRY(device_.copy_in(to, from.data(), from.size()));
  return device_.synchronize();
}

Result<void> CudaKvPool::copy_page(uint32_t group, PageId from, PageId to) {
  const uint8_t* source = KVASIR_TRY(page(group, from));
  uint8_t* target = KVASIR_TRY(page(group, to));
  if (source == target) return {};
  return device_.copy_within(target, source, groups_[group].page_bytes);  // the queue is in order: no need to wait
}

Result<void> CudaKvPool::zero_state(uint32_t slot) {
  if (slot >= spec_.state_slots) return Failure{Code::kInvalidArgument, "no such state slot"};
  if (slot_floats_ == 0) return {};
  return device_.clear(states_.data() + slot * slot_floats_ * sizeof(float), slot_floats_ * sizeof(float));
}

Result<void> CudaKvPool::copy_state(uint32_t from_slot, uint32_t to_slot) {
  if (from_slot >= spec_.state_slots || to_slot >= spec_.state_slots) return Failure{Code::kInvalidArgument, "no such state slot"};
  if (slot_floats_ == 0 || from_slot == to_slot) return {};
  const uint64_t bytes = slot_floats_ * sizeof(float);
  return device_.copy_within(states_.data() + to_slot * bytes, states_.data() + from_slot * bytes, bytes);
}

KvAbilities CudaKvPool::abilities() const noexcept {
  return {.attention_mass = true, .gather = true, .aged_per_page = aged_per_page_};
}

/// The arguments of one gather; `tables` is what the device needs in gather_tables_.
Result<GatherArgs> CudaKvPool::gather_args(const KvGather& what, std::vector<uint32_t>& tables) {
  const bool turns = what.rope != nullptr && what.rope->kind != RopeKind::kNone;
  const auto add = [&](const auto& values) {
    const size_t at = tables.size();
    tables.resize(at + values.size());
    if (!values.empty()) std::memcpy(tables.data() + at, values.data(), values.size() * sizeof(uint32_t));
    return at;
  };
  const size_t from = add(what.from), rows = add(what.rows), to = add(what.to);
  const size_t turned = turns ? add(what.turns) : 0, frequencies = turns ? add(what.rope->inverse_frequency) : 0;
  const uint64_t bytes = std::bit_ceil(std::max<uint64_t>(tables.size() * sizeof(uint32_t), 4096));
  if (gather_tables_.bytes() < bytes) gather_tables_ = KVASIR_TRY(DeviceBuffer::create(device_, DeviceBuffer::Kind::kDevice, bytes));
  const auto* there = reinterpret_cast<const uint32_t*>(gather_tables_.data());
  GatherArgs args{};
  args.kv = layer(what.kv_layer);
  args.kv.pages = there + from;
  args.rows = there + rows;
  args.to = there + to;
  if (turns) {
    args.turns = reinterpret_cast<const int32_t*>(there + turned);
    args.inverse_frequency = reinterpret_cast<const float*>(there + frequencies);
    args.pairs = what.rope->dims / 2;
    args.offset = what.rope->offset;
    args.interleaved = what.rope->kind == RopeKind::kInterleaved ? 1 : 0;
  }
  return args;
}

Result<void> CudaKvPool::gather(const KvGather& what) {
  constexpr size_t kMostTargets = 65535;  // a grid's second side
  if (!gather_fits(what, spec_, aged_per_page_) || what.to.size() > kMostTargets) {
    return Failure{Code::kInvalidArgument, "gather: no such KV layer, page or slot"};
  }
  const uint32_t heads = spec_.layers[what.kv_layer].n_kv_heads;
  if (what.to.empty() || heads == 0) return {};
  std::vector<uint32_t> tables;
  const GatherArgs args = KVASIR_TRY(gather_args(what, tables));
  KVASIR_TRY(device_.copy_in(gather_tables_.data(), tables.data(), tables.size() * sizeof(uint32_t)));
  constexpr uint32_t kThreads = 128;
  KVASIR_TRY(device_.launch({KernelId::kGather, {heads, static_cast<uint32_t>(what.to.size()), 1}, kThreads, 0, false, &args}));
  return device_.synchronize();  // the tables are the host's until then
}

}  // namespace kvasir::cuda
