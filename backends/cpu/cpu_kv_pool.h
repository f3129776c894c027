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
  static Result<std::unique_ptr<CpuKvPool>> create(const KvPoolSpec& spec, const KernelTable& kernels);

  const KvPoolSpec& spec() const noexcept override { return spec_; }
  uint64_t bytes() const noexcept override;
  uint64_t page_bytes(uint32_t group) const noexcept override { return groups_[group].page_bytes; }
  Result<void> export_page(uint32_t group, PageId page, std::span<std::byte> into) const override;
  Result<void> import_page(uint32_t group, PageId page, std::span<const std::byte> from) override;
  Result<void> copy_page(uint32_t group, PageId from, PageId to) override;
  Result<void> zero_state(uint32_t slot) override;
  Result<void> copy_state(uint32_t from_slot, uint32_t to_slot) override;

  KvAbilities abilities() const noexcept override;
  Result<void> gather(const KvGather& what) override;
  /// K of one head and page entry as f32 [k_dim][64] (kv_rows.cpp).
  void read_keys(uint32_t kv_layer, uint32_t head, PageId id, float* keys) const noexcept;

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

  CpuKvPool(const KvPoolSpec& spec, const KernelTable& kernels) : spec_(spec), kernels_(kernels) {}
  uint8_t* place(uint32_t kv_layer, uint32_t head, PageId id) const noexcept {
    return this->head(kv_layer, head) + page_place(id, page_stride(kv_layer), layout(kv_layer).aged_bytes);
  }
  struct PageRows;
  void read_row(uint32_t kv_layer, uint32_t head, PageId id, uint32_t slot, float* key, float* value) const noexcept;
  void copy_row(uint32_t kv_layer, uint32_t head, PageId from, uint32_t from_slot, PageId to, uint32_t to_slot) const noexcept;
  void write_aged(uint32_t kv_layer, uint32_t head, PageId id, const PageRows& rows) const noexcept;
  void gather_page(const KvGather& what, uint32_t page, uint32_t head, PageRows& rows) const;
  Result<uint8_t*> page(uint32_t group, PageId page) const;
  Result<void> create_states();

  KvPoolSpec spec_;
  const KernelTable& kernels_;
  std::vector<Layer> layers_;
  std::vector<Group> groups_;
  std::vector<uint64_t> state_offsets_;
  uint64_t slot_floats_ = 0;
  AlignedBuffer states_;
};

}  // namespace kvasir::cpu
