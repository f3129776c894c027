#include "backends/split/split_kv_pool.h"

#include <algorithm>

namespace kvasir::split {

SplitKvPool::SplitKvPool(const KvPoolSpec& spec, const SplitPlacement& placement, size_t places) : spec_(spec) {
  local_specs_.resize(places);
  for (KvPoolSpec& local : local_specs_) {
    local.type = spec.type;
    local.group_pages = spec.group_pages;
    local.state_slots = spec.state_slots;
  }
  for (const KvLayerSpec& layer : spec.layers) {
    const uint32_t place = placement.of({ModelPart::Kind::kLayer, layer.layer});
    layers_.push_back({place, static_cast<uint32_t>(local_specs_[place].layers.size())});
    local_specs_[place].layers.push_back(layer);
  }
  for (size_t i = 0; i < spec.state_floats.size(); ++i) {
    const uint32_t place = placement.of({ModelPart::Kind::kLayer, i < spec.state_layers.size() ? spec.state_layers[i] : 0});
    KvPoolSpec& local = local_specs_[place];
    states_.push_back({place, static_cast<uint32_t>(local.state_floats.size())});
    local.state_floats.push_back(spec.state_floats[i]);
    local.state_layers.push_back(i < spec.state_layers.size() ? spec.state_layers[i] : 0);
  }
}

Result<std::unique_ptr<KvPool>> SplitKvPool::create(std::span<const std::unique_ptr<Backend>> places, const SplitPlacement& placement,
                                                    const KvPoolSpec& spec) {
  std::unique_ptr<SplitKvPool> pool(new SplitKvPool(spec, placement, places.size()));
  for (size_t i = 0; i < places.size(); ++i) pool->pools_.push_back(KVASIR_TRY(places[i]->create_kv_pool(pool->local_specs_[i])));
  return std::unique_ptr<KvPool>(std::move(pool));
}

uint64_t SplitKvPool::bytes() const noexcept {
  uint64_t sum = 0;
  for (const auto& pool : pools_) sum += pool->bytes();
  return sum;
}

uint64_t SplitKvPool::page_bytes(uint32_t group) const noexcept {
  uint64_t sum = 0;
  for (const auto& pool : pools_) sum += pool->page_bytes(group);
  return sum;
}

Result<void> SplitKvPool::export_page(uint32_t group, PageId page, std::span<std::byte> into) const {
  if (group >= spec_.group_pages.size() || into.size() != page_bytes(group)) return Failure{Code::kInvalidArgument, "KV page size differs"};
  for (const auto& pool : pools_) {
    const uint64_t bytes = pool->page_bytes(group);
    if (bytes > 0) KVASIR_TRY(pool->export_page(group, page, into.first(bytes)));
    into = into.subspan(bytes);
  }
  return {};
}

Result<void> SplitKvPool::import_page(uint32_t group, PageId page, std::span<const std::byte> from) {
  if (group >= spec_.group_pages.size() || from.size() != page_bytes(group)) return Failure{Code::kInvalidArgument, "KV page size differs"};
  for (const auto& pool : pools_) {
    const uint64_t bytes = pool->page_bytes(group);
    if (bytes > 0) KVASIR_TRY(pool->import_page(group, page, from.first(bytes)));
    from = from.subspan(bytes);
  }
  return {};
}

Result<void> SplitKvPool::copy_page(uint32_t group, PageId from, PageId to) {
  for (const auto& pool : pools_) KVASIR_TRY(pool->copy_page(group, from, to));
  return {};
}

Result<void> SplitKvPool::zero_state(uint32_t slot) {
  for (const auto& pool : pools_) KVASIR_TRY(pool->zero_state(slot));
  return {};
}

Result<void> SplitKvPool::copy_state(uint32_t from_slot, uint32_t to_slot) {
  for (const auto& pool : pools_) KVASIR_TRY(pool->copy_state(from_slot, to_slot));
  return {};
}

KvAbilities SplitKvPool::abilities() const noexcept {
  KvAbilities all{.attention_mass = true, .gather = true, .aged_per_page = 1U << kAgedPartBits};
  for (const auto& pool : pools_) {
    if (pool->spec().layers.empty()) continue;
    const KvAbilities one = pool->abilities();
    all.attention_mass = all.attention_mass && one.attention_mass;
    all.gather = all.gather && one.gather;
    all.aged_per_page = std::min(all.aged_per_page, one.aged_per_page);
  }
  return all;
}

Result<void> SplitKvPool::gather(const KvGather& what) {
  if (what.kv_layer >= layers_.size()) return Failure{Code::kInvalidArgument, "gather: no such KV layer, page or slot"};
  KvGather local = what;
  local.kv_layer = layers_[what.kv_layer].index;
  return pools_[layers_[what.kv_layer].place]->gather(local);
}

}  // namespace kvasir::split
