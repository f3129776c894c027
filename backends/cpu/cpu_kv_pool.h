// KV pages and recurrent state in main memory. A page holds 64 rows of all layers of its group: per layer and head K
// transposed [k_dim][64], then V [64][v_dim]; so scores are sums over contiguous positions (kernels/attention.inl.h).
// Engine thread only; kernels write rows that belong to different slots.
#pragma once

#include <vector>

#include "backends/backend.h"
#include "backends/cpu/aligned_buffer.h"
#include "backends/cpu/kernel_table.h"

namespace kvasir::cpu {

class CpuKvPool final : public KvPool {
 public:
  /// Errors: kInvalidArgument (a layer names no group), kTooLarge.
  static Result<std::unique_ptr<CpuKvPool>> create(const KvPoolSpec& spec);

  const KvPoolSpec& spec() const noexcept override { return spec_; }
  uint64_t bytes() const noexcept override;
  uint64_t page_bytes(uint32_t group) const noexcept override { return groups_[group].page_bytes; }
  Result<void> export_page(uint32_t group, PageId page, std::span<std::byte> into) const override;
  Result<void> import_page(uint32_t group, PageId page, std::span<const std::byte> from) override;
  Result<void> copy_page(uint32_t group, PageId from, PageId to) override;
  Result<void> zero_state(uint32_t slot) override;
  Result<void> copy_state(uint32_t from_slot, uint32_t to_slot) override;

  const KvHeadLayout& layout(uint32_t kv_layer) const noexcept { return layers_[kv_layer].layout; }
  uint64_t page_stride(uint32_t kv_layer) const noexcept { return groups_[spec_.layers[kv_layer].group].page_bytes; }
  uint32_t page_count(uint32_t group) const noexcept { return spec_.group_pages[group]; }
  /// This head's part in page 0.
  uint8_t* head(uint32_t kv_layer, uint32_t head) const noexcept {
    const Layer& layer = layers_[kv_layer];
    return groups_[spec_.layers[kv_layer].group].buffer.data() + layer.offset + head * layer.layout.head_bytes;
  }
  /// State of recurrent layer `state_layer` in `slot`.
  float* state(uint32_t slot, uint32_t state_layer) const noexcept {
    return reinterpret_cast<float*>(states_.data()) + slot * slot_floats_ + state_offsets_[state_layer];
  }

 private:
  struct Layer {
    KvHeadLayout layout;
    uint64_t offset = 0;
  };
  struct Group {
    uint64_t page_bytes = 0;
    AlignedBuffer buffer;
  };

  explicit CpuKvPool(const KvPoolSpec& spec) : spec_(spec) {}
  Result<uint8_t*> page(uint32_t group, PageId page) const;
  Result<void> create_states();

  KvPoolSpec spec_;
  std::vector<Layer> layers_;
  std::vector<Group> groups_;
  std::vector<uint64_t> state_offsets_;
  uint64_t slot_floats_ = 0;
  AlignedBuffer states_;
};

}  // namespace kvasir::cpu
