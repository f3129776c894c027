// The memory of past tokens, as part of the backends' contract (backend.h): pages of KV rows, their geometry, and what
// compression may do with them. Owned by the engine; engine thread only.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/base/result.h"

namespace kvasir {

using PageId = uint32_t;
inline constexpr PageId kNoPage = UINT32_MAX;
inline constexpr uint32_t kPageTokens = 64;  ///< KV rows per page, everywhere

/// An aged page: 64 rows at 4 bits, several in one page of the pool (KvAbilities::aged_per_page). Written by gather() only,
/// whole; read by attention() like any other entry of a page table. K per channel and 32 tokens, V per token and 32
/// values: x = scale * q + least, q = 0...15 (31 for half of the channels of K), scale and least in f16: kv_rows.h.
inline constexpr PageId kAgedFlag = 1U << 31;
inline constexpr uint32_t kAgedPartBits = 3;
constexpr PageId aged_page(PageId page, uint32_t part) { return kAgedFlag | page << kAgedPartBits | part; }
constexpr bool is_aged(PageId id) { return (id & kAgedFlag) != 0; }
/// The page of the pool in which an entry of a page table lies, and the part of it that an aged page is.
constexpr PageId pool_page(PageId id) { return is_aged(id) ? (id & ~kAgedFlag) >> kAgedPartBits : id; }
constexpr uint32_t aged_part(PageId id) { return id & ((1U << kAgedPartBits) - 1); }

enum class KvType : uint8_t { kF16, kQ8_0, kF32 };

/// One layer's cache rows: n_kv_heads keys of k_dim and values of v_dim. MLA: one head, k_dim = latent + rope, v_dim = 0.
struct KvLayerSpec {
  uint32_t group = 0;       ///< index of the page table that this layer uses (full, window, ...)
  uint32_t n_kv_heads = 0;
  uint32_t k_dim = 0;
  uint32_t v_dim = 0;
  uint32_t layer = 0;       ///< of the model, whose cache this is
};

struct KvPoolSpec {
  KvType type = KvType::kF16;
  std::vector<KvLayerSpec> layers;      ///< attention layers that own a cache, in order; Stream ops name them by index
  std::vector<uint32_t> group_pages;    ///< number of pages in each group's pool
  std::vector<uint64_t> state_floats;   ///< recurrent layers: f32 values of state per sequence, per such layer
  uint32_t state_slots = 0;             ///< sequences plus snapshots
  std::vector<uint32_t> state_layers = {};  ///< per entry of state_floats: the layer of the model
};

/// What a pool can do for compression; the engine refuses by name what needs more.
struct KvAbilities {
  bool attention_mass = false;  ///< StepLayout::masses are filled
  bool gather = false;
  uint32_t aged_per_page = 0;   ///< aged pages that lie in one page, at most 8; below 2: none, gather() refuses them
};

struct RopeSpec;
/// Rows of one layer's cache copied to other pages: target slot i is the row of source slot rows[i].
struct KvGather {
  uint32_t kv_layer = 0;
  std::span<const PageId> from;     ///< page table of the source; may hold aged pages
  std::span<const uint32_t> rows;   ///< source slots; 64 * to.size() of them
  std::span<const PageId> to;       ///< written whole, aged or not; no page of `from`
  const RopeSpec* rope = nullptr;   ///< null: keys as they are; else key i is turned by turns[i] positions (magnitude: 1)
  std::span<const int32_t> turns;
};

/// Pages of 64 KV rows for all layers of a group, and slots of recurrent state. Pages are anonymous; who uses which is
/// core/engine/kv_pages. Page payload bytes are opaque but stable for one (backend kernel table, KvPoolSpec).
class KvPool {
 public:
  virtual ~KvPool() = default;
  virtual const KvPoolSpec& spec() const noexcept = 0;
  virtual uint64_t bytes() const noexcept = 0;
  virtual uint64_t page_bytes(uint32_t group) const noexcept = 0;  ///< payload of one page over all layers of the group
  virtual Result<void> export_page(uint32_t group, PageId page, std::span<std::byte> into) const = 0;
  virtual Result<void> import_page(uint32_t group, PageId page, std::span<const std::byte> from) = 0;
  virtual Result<void> copy_page(uint32_t group, PageId from, PageId to) = 0;
  virtual Result<void> zero_state(uint32_t slot) = 0;
  virtual Result<void> copy_state(uint32_t from_slot, uint32_t to_slot) = 0;
  virtual KvAbilities abilities() const noexcept { return {}; }
  /// A row that is neither turned nor aged is copied bit for bit; others are decoded, turned in f32 and encoded again.
  /// Between steps only. Errors: kUnsupported, kInvalidArgument (no such layer, page or slot).
  virtual Result<void> gather(const KvGather& what) {
    (void)what;
    return Failure{Code::kUnsupported, "this backend cannot move rows of its KV cache"};
  }
};

}  // namespace kvasir
