#include "backends/split/split_stream.h"

#include <utility>

namespace kvasir::split {

void SplitStream::begin(const StepLayout& layout, KvPool* pool) noexcept {
  error_.reset();
  layout_ = &layout;
  pool_ = static_cast<SplitKvPool*>(pool);
  local_layout_.rows = layout.rows;
  local_layout_.sequences = layout.sequences;
  place_ = placement_.embedding;
  begin_here();
}

/// The masses that are wanted of this place's layers go there and back: they are added to.
void SplitStream::begin_here() noexcept {
  local_layout_.masses.clear();
  local_masses_.resize(layout_->masses.size());
  for (size_t i = 0; pool_ != nullptr && i < local_masses_.size(); ++i) {
    AttentionMass& whole = *layout_->masses[i];
    AttentionMass& mine = local_masses_[i];
    mine.first_row = whole.first_row;
    mine.n_rows = whole.n_rows;
    mine.slots = whole.slots;
    mine.layers.clear();
    for (size_t layer = 0; layer < whole.layers.size() && layer < pool_->layers().size(); ++layer) {
      if (pool_->layers()[layer].place == place_) mine.layers.push_back(std::move(whole.layers[layer]));
    }
    local_layout_.masses.push_back(&mine);
  }
  here().begin(local_layout_, pool_ == nullptr ? nullptr : pool_->pool(place_));
}

void SplitStream::finish_here() noexcept {
  if (!error_) {
    auto done = here().finish();
    if (!done) fail(std::move(done).error());
  }
  for (size_t i = 0; pool_ != nullptr && i < local_masses_.size(); ++i) {
    AttentionMass& whole = *layout_->masses[i];
    for (size_t layer = 0, mine = 0; layer < whole.layers.size() && layer < pool_->layers().size(); ++layer) {
      if (pool_->layers()[layer].place == place_) whole.layers[layer] = std::move(local_masses_[i].layers[mine++]);
    }
  }
}

bool SplitStream::enter(const ModelPart& part, std::span<Mat> live) noexcept {
  const uint32_t next = placement_.of(part);
  if (next == place_) return false;
  if (carried_.size() < live.size()) carried_.resize(live.size());
  for (size_t i = 0; i < live.size(); ++i) {
    carried_[i].resize(size_t{live[i].rows} * live[i].cols);
    here().download(carried_[i], live[i]);
  }
  finish_here();
  place_ = next;
  begin_here();
  for (size_t i = 0; i < live.size(); ++i) {
    const Mat there = here().alloc(live[i].rows, live[i].cols);
    here().upload(there, carried_[i]);
    live[i] = there;
  }
  return true;
}

Result<void> SplitStream::finish() noexcept {
  finish_here();
  if (error_) return Failure(*error_);
  return {};
}

std::optional<uint32_t> SplitStream::local(bool state, uint32_t index) noexcept {
  if (pool_ != nullptr) {
    const std::vector<LocalLayer>& all = state ? pool_->states() : pool_->layers();
    if (index < all.size() && all[index].place == place_) return all[index].index;
  }
  fail({Code::kUnsupported, "a layer reads the cache of one that lies in another place: this model cannot be split here"});
  return std::nullopt;
}

void SplitStream::store_kv(uint32_t kv_layer, Mat k, Mat v) noexcept {
  if (const auto layer = local(false, kv_layer)) here().store_kv(*layer, k, v);
}

void SplitStream::rope_store(Mat q, uint32_t q_heads, Mat k, uint32_t kv_heads, Mat v, uint32_t kv_layer, const RopeSpec& spec) noexcept {
  if (const auto layer = local(false, kv_layer)) here().rope_store(q, q_heads, k, kv_heads, v, *layer, spec);
}

void SplitStream::attention(Mat y, Mat q, const AttentionSpec& spec) noexcept {
  AttentionSpec mine = spec;
  const auto layer = local(false, spec.kv_layer);
  if (!layer) return;
  mine.kv_layer = *layer;
  here().attention(y, q, mine);
}

void SplitStream::conv(Mat y, Mat x, const ConvSpec& spec) noexcept {
  ConvSpec mine = spec;
  const auto layer = local(true, spec.state_layer);
  if (!layer) return;
  mine.state_layer = *layer;
  here().conv(y, x, mine);
}

void SplitStream::scan(Mat y, Mat x, Mat b, Mat c, Mat dt, const ScanSpec& spec) noexcept {
  ScanSpec mine = spec;
  const auto layer = local(true, spec.state_layer);
  if (!layer) return;
  mine.state_layer = *layer;
  here().scan(y, x, b, c, dt, mine);
}

void SplitStream::delta(Mat y, Mat q, Mat k, Mat v, Mat g, Mat beta, const DeltaSpec& spec) noexcept {
  DeltaSpec mine = spec;
  const auto layer = local(true, spec.state_layer);
  if (!layer) return;
  mine.state_layer = *layer;
  here().delta(y, q, k, v, g, beta, mine);
}

}  // namespace kvasir::split
