// KV pages and recurrent state in device memory. A page has the byte layout of the CPU's pool (K transposed, then V; a
// test compares them), so that pages move between devices and disk unchanged. Copies wait: they happen between steps.
// Engine thread only.
#pragma once

#include <vector>

#include "backends/backend.h"
#include "backends/cuda/device.h"
#include "backends/cuda/kernels/args.h"

namespace kvasir::cuda {

/// Layout of one head in a page of 64 rows.
KvHeadView kv_head_view(KvType type, uint32_t k_dim, uint32_t v_dim) noexcept;
/// Bytes that a pool of this spec takes. Errors: kInvalidArgument, kTooLarge.
Result<uint64_t> kv_pool_bytes(const KvPoolSpec& spec);

class CudaKvPool final : public KvPool {
 public:
  /// Errors: kInvalidArgument (a layer names no group), kTooLarge.
  static Result<std::unique_ptr<KvPool>> create(Device& device, const KvPoolSpec& spec);

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
  /// Whether an entry of a page table names something of this pool.
  bool names_page(uint32_t group, PageId entry) const noexcept {
    return pool_page(entry) < spec_.group_pages[group] && (!is_aged(entry) || aged_part(entry) < aged_per_page_);
  }

  /// All but the page table.
  KvLayerView layer(uint32_t kv_layer) const noexcept;
  StateView state(uint32_t state_layer, uint32_t offset) const noexcept {
    return {reinterpret_cast<float*>(states_.data()) + state_offsets_[state_layer] + offset, slot_floats_};
  }

 private:
  struct Group {
    uint64_t page_bytes = 0;
    DeviceBuffer memory;
  };
  CudaKvPool(Device& device, const KvPoolSpec& spec) : device_(device), spec_(spec) {}
  Result<uint8_t*> page(uint32_t group, PageId page) const;
  Result<GatherArgs> gather_args(const KvGather& what, std::vector<uint32_t>& tables);

  Device& device_;
  KvPoolSpec spec_;
  std::vector<Group> groups_;
  std::vector<uint64_t> layer_offsets_, state_offsets_;
  uint64_t slot_floats_ = 0;
  DeviceBuffer states_;
  uint32_t aged_per_page_ = 0;
  DeviceBuffer gather_tables_;  ///< what the last gather() was told, kept for its memory
};

}  // namespace kvasir::cuda
