// KV memory of the reference backend: every value is rounded through the pool's KvType and then held as f32, so that the
// effect of the type is there without its packing. Payload bytes are these floats. An aged page is a byte per value with
// its scales, in the place of floats. Engine thread only.
#pragma once

#include <span>
#include <vector>

#include "backends/backend.h"

namespace kvasir::reference {

class ReferenceKvPool final : public KvPool {
 public:
  static Result<std::unique_ptr<KvPool>> create(const KvPoolSpec& spec);

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

  /// One token's row as row() has it, decoded if the page is aged. `page` is valid.
  void read_row(uint32_t layer, PageId page, uint32_t row_in_page, std::span<float> into) noexcept;
  /// The row of one token: n_kv_heads keys of k_dim, then n_kv_heads values of v_dim. `page` is valid.
  float* row(uint32_t layer, PageId page, uint32_t row_in_page) noexcept;
  /// Rounds one key or value vector as the pool's type stores it.
  void round(std::span<float> values) const noexcept;
  float* state(uint32_t state_layer, uint32_t slot) noexcept;
  bool valid_page(uint32_t group, PageId page) const noexcept;  ///< plain or aged

 private:
  explicit ReferenceKvPool(const KvPoolSpec& spec) : spec_(spec) {}
  size_t page_floats(uint32_t layer) const noexcept;
  size_t aged_bytes(uint32_t layer) const noexcept;
  uint8_t* aged(uint32_t layer, PageId page) noexcept;
  void write_aged(uint32_t layer, PageId page, std::span<const float> rows) noexcept;

  KvPoolSpec spec_;
  std::vector<std::vector<float>> layers_;  ///< pages one after another
  std::vector<std::vector<float>> states_;  ///< slots one after another
};

}  // namespace kvasir::reference
