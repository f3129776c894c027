#include "backends/reference/reference_kv.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "backends/reference/dequantise.h"
#include "core/base/bytes.h"

namespace kvasir::reference {
namespace {

size_t row_floats(const KvLayerSpec& layer) noexcept {
  return static_cast<size_t>(layer.n_kv_heads) * (layer.k_dim + layer.v_dim);
}

void round_q8_0(std::span<float> values) noexcept {
  for (size_t begin = 0; begin < values.size(); begin += 32) {
    const auto block = values.subspan(begin, std::min<size_t>(32, values.size() - begin));
    float largest = 0.0F;
    for (const float v : block) largest = std::max(largest, std::fabs(v));
    const float scale = largest / 127.0F;
    const float inverse = scale == 0.0F ? 0.0F : 1.0F / scale;
    const float stored = half_to_float(float_to_half(scale));
    for (float& v : block) v = std::round(v * inverse) * stored;
  }
}

}  // namespace

Result<std::unique_ptr<KvPool>> ReferenceKvPool::create(const KvPoolSpec& spec) {
  auto pool = std::unique_ptr<ReferenceKvPool>(new ReferenceKvPool(spec));
  try {
    for (uint32_t i = 0; i < spec.layers.size(); ++i) {
      const uint32_t group = spec.layers[i].group;
      if (group >= spec.group_pages.size()) return Failure(Code::kInvalidArgument, "KV layer names an unknown group");
      const auto floats = checked_mul<size_t>(pool->page_floats(i), spec.group_pages[group]);
      if (!floats) return Failure(Code::kTooLarge, "KV pool size overflows");
      pool->layers_.emplace_back(*floats);
    }
    for (const uint64_t floats : spec.state_floats) {
      const auto all = checked_mul<size_t>(floats, spec.state_slots);
      if (!all) return Failure(Code::kTooLarge, "state pool size overflows");
      pool->states_.emplace_back(*all);
    }
  } catch (const std::bad_alloc&) {
    return Failure(Code::kTooLarge, "not enough memory for the KV pool");
  }
  return std::unique_ptr<KvPool>(std::move(pool));
}

size_t ReferenceKvPool::page_floats(uint32_t layer) const noexcept {
  return row_floats(spec_.layers[layer]) * kPageTokens;
}

uint64_t ReferenceKvPool::bytes() const noexcept {
  uint64_t floats = 0;
  for (const auto& layer : layers_) floats += layer.size();
  for (const auto& state : states_) floats += state.size();
  return floats * sizeof(float);
}

uint64_t ReferenceKvPool::page_bytes(uint32_t group) const noexcept {
  uint64_t floats = 0;
  for (uint32_t i = 0; i < layers_.size(); ++i) {
    if (spec_.layers[i].group == group) floats += page_floats(i);
  }
  return floats * sizeof(float);
}

bool ReferenceKvPool::valid_page(uint32_t group, PageId page) const noexcept {
  return group < spec_.group_pages.size() && pool_page(page) < spec_.group_pages[group];
}

Result<void> ReferenceKvPool::export_page(uint32_t group, PageId page, std::span<std::byte> into) const {
  if (!valid_page(group, page) || into.size() != page_bytes(group)) {
    return Failure(Code::kInvalidArgument, "export_page: no such page, or a buffer of the wrong size");
  }
  std::byte* at = into.data();
  for (uint32_t i = 0; i < layers_.size(); ++i) {
    if (spec_.layers[i].group != group) continue;
    const size_t bytes = page_floats(i) * sizeof(float);
    std::memcpy(at, layers_[i].data() + page * page_floats(i), bytes);
    at += bytes;
  }
  return {};
}

Result<void> ReferenceKvPool::import_page(uint32_t group, PageId page, std::span<const std::byte> from) {
  if (!valid_page(group, page) || from.size() != page_bytes(group)) {
    return Failure(Code::kInvalidArgument, "import_page: no such page, or bytes of the wrong size");
  }
  const std::byte* at = from.data();
  for (uint32_t i = 0; i < layers_.size(); ++i) {
    if (spec_.layers[i].group != group) continue;
    const size_t bytes = page_floats(i) * sizeof(float);
    std::memcpy(layers_[i].data() + page * page_floats(i), at, bytes);
    at += bytes;
  }
  return {};
}

Result<void> ReferenceKvPool::copy_page(uint32_t group, PageId from, PageId to) {
  if (!valid_page(group, from) || !valid_page(group, to)) {
    return Failure(Code::kInvalidArgument, "copy_page: no such page");
  }
  for (uint32_t i = 0; i < layers_.size(); ++i) {
    if (spec_.layers[i].group != group) continue;
    std::copy_n(layers_[i].data() + from * page_floats(i), page_floats(i), layers_[i].data() + to * page_floats(i));
  }
  return {};
}

Result<void> ReferenceKvPool::zero_state(uint32_t slot) {
  if (slot >= spec_.state_slots) return Failure(Code::kInvalidArgument, "zero_state: no such slot");
  for (uint32_t i = 0; i < states_.size(); ++i) std::fill_n(state(i, slot), spec_.state_floats[i], 0.0F);
  return {};
}

Result<void> ReferenceKvPool::copy_state(uint32_t from_slot, uint32_t to_slot) {
  if (from_slot >= spec_.state_slots || to_slot >= spec_.state_slots) {
    return Failure(Code::kInvalidArgument, "copy_state: no such slot");
  }
  for (uint32_t i = 0; i < states_.size(); ++i) {
    std::copy_n(state(i, from_slot), spec_.state_floats[i], state(i, to_slot));
  }
  return {};
}

float* ReferenceKvPool::row(uint32_t layer, PageId page, uint32_t row_in_page) noexcept {
  return layers_[layer].data() + page * page_floats(layer) + row_in_page * row_floats(spec_.layers[layer]);
}

float* ReferenceKvPool::state(uint32_t state_layer, uint32_t slot) noexcept {
  return states_[state_layer].data() + static_cast<size_t>(slot) * spec_.state_floats[state_layer];
}

void ReferenceKvPool::round(std::span<float> values) const noexcept {
  switch (spec_.type) {
    case KvType::kF32: return;
    case KvType::kF16:
      for (float& v : values) v = half_to_float(float_to_half(v));
      return;
    case KvType::kQ8_0: round_q8_0(values); return;
  }
}

}  // namespace kvasir::reference
