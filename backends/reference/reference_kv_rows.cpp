// Rows of the reference pool for compression: gather(), and aged pages as one byte per value with f16 scales.
#include <cstring>

#include "backends/kv_rows.h"
#include "backends/reference/reference_kv.h"

namespace kvasir::reference {
namespace {

size_t groups_of(uint32_t values) noexcept { return (values + kAgedGroup - 1) / kAgedGroup; }

size_t row_floats(const KvLayerSpec& layer) noexcept {
  return static_cast<size_t>(layer.n_kv_heads) * (layer.k_dim + layer.v_dim);
}

/// Where things lie in an aged page: values [64][row] as bytes, then the scales of keys [2][keys of a row], then those of
/// values [64][heads][groups].
struct AgedPlaces {
  size_t k_scales, v_scales, end;
  explicit AgedPlaces(const KvLayerSpec& layer) noexcept
      : k_scales(kPageTokens * row_floats(layer)),
        v_scales(k_scales + 2 * sizeof(AgedGroup) * layer.n_kv_heads * layer.k_dim),
        end(v_scales + sizeof(AgedGroup) * kPageTokens * layer.n_kv_heads * groups_of(layer.v_dim)) {}
};

AgedGroup scale_at(const uint8_t* base, size_t index) noexcept {
  AgedGroup group;
  std::memcpy(&group, base + index * sizeof group, sizeof group);
  return group;
}

void put_scale(uint8_t* base, size_t index, AgedGroup group) noexcept {
  std::memcpy(base + index * sizeof group, &group, sizeof group);
}

}  // namespace

size_t ReferenceKvPool::aged_bytes(uint32_t layer) const noexcept { return AgedPlaces(spec_.layers[layer]).end; }

uint8_t* ReferenceKvPool::aged(uint32_t layer, PageId page) noexcept {
  return reinterpret_cast<uint8_t*>(row(layer, pool_page(page), 0)) + aged_part(page) * aged_bytes(layer);
}

KvAbilities ReferenceKvPool::abilities() const noexcept {
  size_t parts = size_t{1} << kAgedPartBits;
  for (uint32_t i = 0; i < layers_.size(); ++i) parts = std::min(parts, page_floats(i) * sizeof(float) / aged_bytes(i));
  return {.attention_mass = true, .gather = true, .aged_per_page = static_cast<uint32_t>(parts)};
}

void ReferenceKvPool::read_row(uint32_t layer, PageId page, uint32_t row_in_page, std::span<float> into) noexcept {
  if (!is_aged(page)) {
    std::copy_n(row(layer, page, row_in_page), into.size(), into.begin());
    return;
  }
  const KvLayerSpec& spec = spec_.layers[layer];
  const AgedPlaces places(spec);
  const uint8_t* at = aged(layer, page);
  const uint8_t* q = at + row_in_page * row_floats(spec);
  const size_t keys = size_t{spec.n_kv_heads} * spec.k_dim, v_groups = groups_of(spec.v_dim);
  for (size_t i = 0; i < keys; ++i) {
    into[i] = aged_value(scale_at(at + places.k_scales, row_in_page / kAgedGroup * keys + i), q[i]);
  }
  for (size_t i = keys; i < into.size(); ++i) {
    const size_t head = (i - keys) / spec.v_dim, d = (i - keys) % spec.v_dim;
    const size_t group = (row_in_page * spec.n_kv_heads + head) * v_groups + d / kAgedGroup;
    into[i] = aged_value(scale_at(at + places.v_scales, group), q[i]);
  }
}

void ReferenceKvPool::write_aged(uint32_t layer, PageId page, std::span<const float> rows) noexcept {
  const KvLayerSpec& spec = spec_.layers[layer];
  const AgedPlaces places(spec);
  uint8_t* at = aged(layer, page);
  const size_t width = row_floats(spec), keys = size_t{spec.n_kv_heads} * spec.k_dim, v_groups = groups_of(spec.v_dim);
  float group[kAgedGroup];
  uint8_t q[kAgedGroup];
  std::vector<bool> fine;
  for (size_t head = 0; head < spec.n_kv_heads; ++head) {
    const auto mine = fine_channels(rows.data() + head * spec.k_dim, width, spec.k_dim, spec.v_dim);
    fine.insert(fine.end(), mine.begin(), mine.end());
  }
  for (size_t half = 0; half < 2; ++half) {
    for (size_t i = 0; i < keys; ++i) {
      for (size_t r = 0; r < kAgedGroup; ++r) group[r] = rows[(half * kAgedGroup + r) * width + i];
      put_scale(at + places.k_scales, half * keys + i, age(group, q, fine[i] ? kFineSteps : kAgedSteps));
      for (size_t r = 0; r < kAgedGroup; ++r) at[(half * kAgedGroup + r) * width + i] = q[r];
    }
  }
  for (size_t r = 0; r < kPageTokens; ++r) {
    for (size_t head = 0; head < spec.n_kv_heads; ++head) {
      for (size_t g = 0; g < v_groups; ++g) {
        const size_t first = r * width + keys + head * spec.v_dim + g * kAgedGroup;
        const size_t count = std::min<size_t>(kAgedGroup, spec.v_dim - g * kAgedGroup);
        put_scale(at + places.v_scales, (r * spec.n_kv_heads + head) * v_groups + g, age(rows.subspan(first, count), at + first));
      }
    }
  }
}

Result<void> ReferenceKvPool::gather(const KvGather& what) {
  if (!gather_fits(what, spec_, abilities().aged_per_page)) {
    return Failure(Code::kInvalidArgument, "gather: no such KV layer, page or slot");
  }
  const KvLayerSpec& spec = spec_.layers[what.kv_layer];
  const size_t width = row_floats(spec);
  const bool ropes = what.rope != nullptr && what.rope->kind != RopeKind::kNone;
  std::vector<float> rows(kPageTokens * width);
  KeyTurn turn;
  for (size_t page = 0; page < what.to.size(); ++page) {
    for (size_t i = 0; i < kPageTokens; ++i) {
      const size_t index = page * kPageTokens + i;
      const auto target = std::span(rows).subspan(i * width, width);
      read_row(what.kv_layer, what.from[what.rows[index] / kPageTokens], what.rows[index] % kPageTokens, target);
      const bool turned = ropes && what.turns[index] != 0;
      if (turned) {
        turn.set(*what.rope, what.turns[index]);
        for (size_t h = 0; h < spec.n_kv_heads; ++h) turn.apply(*what.rope, target.data() + h * spec.k_dim);
      }
      if (is_aged(what.to[page])) continue;
      const bool changed = turned || is_aged(what.from[what.rows[index] / kPageTokens]);
      for (size_t h = 0; changed && h < spec.n_kv_heads; ++h) {
        round(target.subspan(h * spec.k_dim, spec.k_dim));
        if (spec.v_dim > 0) round(target.subspan(spec.n_kv_heads * spec.k_dim + h * spec.v_dim, spec.v_dim));
      }
      std::copy(target.begin(), target.end(), row(what.kv_layer, what.to[page], static_cast<uint32_t>(i)));
    }
    if (is_aged(what.to[page])) write_aged(what.kv_layer, what.to[page], rows);
  }
  return {};
}

}  // namespace kvasir::reference
