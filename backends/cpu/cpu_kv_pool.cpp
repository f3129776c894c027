#include "backends/cpu/cpu_kv_pool.h"

#include <cstring>

#include "backends/cpu/format.h"
#include "core/base/bytes.h"

namespace kvasir::cpu {

Result<std::unique_ptr<CpuKvPool>> CpuKvPool::create(const KvPoolSpec& spec, const KernelTable& kernels) {
  std::unique_ptr<CpuKvPool> pool(new CpuKvPool(spec, kernels));
  pool->groups_.resize(spec.group_pages.size());
  for (const KvLayerSpec& layer : spec.layers) {
    if (layer.group >= spec.group_pages.size() || layer.n_kv_heads == 0 || layer.k_dim == 0) {
      return Failure{Code::kInvalidArgument, "KV layer without heads, key size or group"};
    }
    Group& group = pool->groups_[layer.group];
    const KvHeadLayout layout = kv_head_layout(spec.type, layer.k_dim, layer.v_dim);
    pool->layers_.push_back({layout, group.page_bytes});
    const auto layer_bytes = checked_mul<uint64_t>(layout.head_bytes, layer.n_kv_heads);
    const auto sum = layer_bytes ? checked_add(group.page_bytes, *layer_bytes) : std::nullopt;
    if (!sum) return Failure{Code::kTooLarge, "KV page size overflows"};
    group.page_bytes = *sum;
  }
  for (size_t i = 0; i < pool->groups_.size(); ++i) {
    Group& group = pool->groups_[i];
    const auto bytes = checked_mul<uint64_t>(group.page_bytes, spec.group_pages[i]);
    if (!bytes) return Failure{Code::kTooLarge, "KV pool size overflows"};
    group.buffer = KVASIR_TRY(AlignedBuffer::create(*bytes));
  }
  KVASIR_TRY(pool->create_states());
  return pool;
}

Result<void> CpuKvPool::create_states() {
  for (const uint64_t floats : spec_.state_floats) {
    state_offsets_.push_back(slot_floats_);
    const auto sum = checked_add(slot_floats_, floats);
    if (!sum) return Failure{Code::kTooLarge, "recurrent state size overflows"};
    slot_floats_ = *sum;
  }
  const auto floats = checked_mul<uint64_t>(slot_floats_, spec_.state_slots);
  const auto bytes = floats ? checked_mul<uint64_t>(*floats, sizeof(float)) : std::nullopt;
  if (!bytes) return Failure{Code::kTooLarge, "recurrent state size overflows"};
  states_ = KVASIR_TRY(AlignedBuffer::create(*bytes));
  return {};
}

uint64_t CpuKvPool::bytes() const noexcept {
  uint64_t sum = states_.bytes();
  for (const Group& group : groups_) sum += group.buffer.bytes();
  return sum;
}

Result<uint8_t*> CpuKvPool::page(uint32_t group, PageId page) const {
  if (group >= groups_.size() || page >= spec_.group_pages[group]) return Failure{Code::kInvalidArgument, "no such KV page"};
  return groups_[group].buffer.data() + page * groups_[group].page_bytes;
}

Result<void> CpuKvPool::export_page(uint32_t group, PageId index, std::span<std::byte> into) const {
  const uint8_t* from = KVASIR_TRY(page(group, index));
  if (into.size() != groups_[group].page_bytes) return Failure{Code::kInvalidArgument, "KV page size differs"};
  std::memcpy(into.data(), from, into.size());
  return {};
}

Result<void> CpuKvPool::import_page(uint32_t group, PageId index, std::span<const std::byte> from) {
  uint8_t* to = KVASIR_TRY(page(group, index));
  if (from.size() != groups_[group].page_bytes) return Failure{Code::kInvalidArgument, "KV page size differs"};
  std::memcpy(to, from.data(), from.size());
  return {};
}

Result<void> CpuKvPool::copy_page(uint32_t group, PageId from, PageId to) {
  const uint8_t* source = KVASIR_TRY(page(group, from));
  uint8_t* target = KVASIR_TRY(page(group, to));
  if (source != target) std::memcpy(target, source, groups_[group].page_bytes);
  return {};
}

Result<void> CpuKvPool::zero_state(uint32_t slot) {
  if (slot >= spec_.state_slots) return Failure{Code::kInvalidArgument, "no such state slot"};
  if (slot_floats_ == 0) return {};
  std::memset(reinterpret_cast<float*>(states_.data()) + slot * slot_floats_, 0, slot_floats_ * sizeof(float));
  return {};
}

Result<void> CpuKvPool::copy_state(uint32_t from_slot, uint32_t to_slot) {
  if (from_slot >= spec_.state_slots || to_slot >= spec_.state_slots) return Failure{Code::kInvalidArgument, "no such state slot"};
  if (slot_floats_ == 0 || from_slot == to_slot) return {};
  float* states = reinterpret_cast<float*>(states_.data());
  std::memcpy(states + to_slot * slot_floats_, states + from_slot * slot_floats_, slot_floats_ * sizeof(float));
  return {};
}

}  // namespace kvasir::cpu
