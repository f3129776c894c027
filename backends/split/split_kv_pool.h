// The KV pools of all places as one: a page of it is one page, of the same number, in each. Engine thread only.
#pragma once

#include <memory>
#include <vector>

#include "backends/split/split_backend.h"

namespace kvasir::split {

/// Where a cache or state of the whole model lies.
struct LocalLayer {
  uint32_t place = 0, index = 0;
};

class SplitKvPool final : public KvPool {
 public:
  static Result<std::unique_ptr<KvPool>> create(std::span<const std::unique_ptr<Backend>> places, const SplitPlacement& placement,
                                                const KvPoolSpec& spec);

  const KvPoolSpec& spec() const noexcept override { return spec_; }
  uint64_t bytes() const noexcept override;
  uint64_t page_bytes(uint32_t group) const noexcept override;
  Result<void> export_page(uint32_t group, PageId page, std::span<std::byte> into) const override;
  Result<void> import_page(uint32_t group, PageId page, std::span<const std::byte> from) override;
  Result<void> copy_page(uint32_t group, PageId from, PageId to) override;
  Result<void> zero_state(uint32_t slot) override;
  Result<void> copy_state(uint32_t from_slot, uint32_t to_slot) override;
  KvAbilities abilities() const noexcept override;
  Result<void> gather(const KvGather& what) override;

  KvPool* pool(uint32_t place) const noexcept { return pools_[place].get(); }
  const std::vector<LocalLayer>& layers() const noexcept { return layers_; }
  const std::vector<LocalLayer>& states() const noexcept { return states_; }

 private:
  SplitKvPool(const KvPoolSpec& spec, const SplitPlacement& placement, size_t places);

  KvPoolSpec spec_;
  std::vector<KvPoolSpec> local_specs_;
  std::vector<LocalLayer> layers_, states_;  ///< by their index in spec_
  std::vector<std::unique_ptr<KvPool>> pools_;
};

}  // namespace kvasir::split
