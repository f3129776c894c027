#include "backends/split/split_backend.h"

#include <algorithm>

#include "backends/split/split_stream.h"

namespace kvasir {
namespace {

/// "layers 0-19", "layer 3", "no layer".
std::string layers_of(const SplitPlacement& placement, uint32_t place) {
  std::string out;
  size_t count = 0;
  const std::vector<uint32_t>& all = placement.place_of_layer;
  for (size_t i = 0; i < all.size();) {
    size_t end = i;
    while (end < all.size() && all[end] == all[i]) ++end;
    if (all[i] == place) {
      out += (out.empty() ? "" : ", ") + std::to_string(i) + (end > i + 1 ? "-" + std::to_string(end - 1) : "");
      count += end - i;
    }
    i = end;
  }
  return count == 0 ? "no layer" : (count == 1 ? "layer " : "layers ") + out;
}

class SplitBackend final : public Backend {
 public:
  SplitBackend(std::vector<std::unique_ptr<Backend>> places, SplitPlacement placement, std::function<uint64_t()> host_memory)
      : places_(std::move(places)), placement_(std::move(placement)), host_memory_(std::move(host_memory)) {
    uint64_t numerics = 0;
    for (uint32_t i = 0; i < places_.size(); ++i) {
      const BackendInfo& one = places_[i]->info();
      const bool known = std::any_of(places_.begin(), places_.begin() + i, [&](const auto& p) { return p->info().name == one.name; });
      if (!known) info_.name += (i > 0 ? "+" : "") + one.name;
      info_.isa_or_device += (i > 0 ? " + " : "") + one.isa_or_device + " (" + layers_of(placement_, i) + ")";
      info_.threads = std::max(info_.threads, one.threads);
      numerics = numerics * 1000 + one.numerics_version;
    }
    info_.reason = placement_.reason;
    info_.numerics_version = static_cast<uint32_t>(numerics);
  }

  const BackendInfo& info() const noexcept override { return info_; }

  /// As if layers took equal parts of a KV pool.
  std::optional<uint64_t> free_memory_bytes() override {
    const auto layers = static_cast<uint64_t>(placement_.place_of_layer.size());
    std::optional<uint64_t> least;
    uint64_t hosts_layers = 0;
    const auto limit = [&](uint64_t free, uint64_t mine) {
      const uint64_t whole = mine == 0 ? free : free / mine * layers;
      least = std::min(least.value_or(UINT64_MAX), whole);
    };
    for (uint32_t i = 0; i < places_.size(); ++i) {
      const auto mine = static_cast<uint64_t>(std::ranges::count(placement_.place_of_layer, i));
      const auto own = places_[i]->free_memory_bytes();
      if (!own) hosts_layers += mine;
      else if (mine > 0) limit(*own, mine);
    }
    if (hosts_layers > 0) limit(host_memory_(), hosts_layers);
    return least;
  }

  Result<std::unique_ptr<Weight>> upload(const HostTensor& tensor, WeightUse use) override {
    if (use == WeightUse::kTableAndMatrix && placement_.embedding != placement_.head) {
      return Failure{Code::kInternal, "an embedding that is also the head must lie where the head is"};
    }
    return places_[placement_.of(tensor.part)]->upload(tensor, use);
  }

  Result<std::unique_ptr<KvPool>> create_kv_pool(const KvPoolSpec& spec) override { return split::SplitKvPool::create(places_, placement_, spec); }

  Result<std::unique_ptr<Stream>> open_stream(const StreamLimits& limits) override {
    std::vector<std::unique_ptr<Stream>> streams;
    for (const auto& place : places_) streams.push_back(KVASIR_TRY(place->open_stream(limits)));
    return std::unique_ptr<Stream>(std::make_unique<split::SplitStream>(std::move(streams), placement_));
  }

 private:
  std::vector<std::unique_ptr<Backend>> places_;
  SplitPlacement placement_;
  std::function<uint64_t()> host_memory_;
  BackendInfo info_;
};

}  // namespace

Result<std::unique_ptr<Backend>> make_split_backend(std::vector<std::unique_ptr<Backend>> places, SplitPlacement placement,
                                                    std::function<uint64_t()> host_memory) {
  const auto there = [&](uint32_t place) { return place < places.size(); };
  if (!std::ranges::all_of(placement.place_of_layer, there) || !there(placement.embedding) || !there(placement.head)) {
    return Failure{Code::kInvalidArgument, "a part of the model was given a place that is not there"};
  }
  return std::unique_ptr<Backend>(std::make_unique<SplitBackend>(std::move(places), std::move(placement), std::move(host_memory)));
}

}  // namespace kvasir
