#include "backends/offload_plan.h"

#include <algorithm>
#include <cstdio>
#include <numeric>

namespace kvasir {
namespace {

std::string gib(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GiB", static_cast<double>(bytes) / static_cast<double>(uint64_t{1} << 30U));
  return text;
}

uint64_t add_capped(uint64_t a, uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }

/// Room on each GPU after the headroom.
std::vector<uint64_t> room_of(const OffloadRequest& request) {
  std::vector<uint64_t> room;
  for (const uint64_t free : request.free_bytes) room.push_back(free > request.headroom_bytes ? free - request.headroom_bytes : 0);
  return room;
}

struct Filled {
  std::vector<uint32_t> device_of_layer;
  std::vector<uint64_t> used;
  uint32_t layers = 0;
  bool head_fits = false;
};

/// Whether several GPUs share by their size, or are filled one after another.
enum class Sharing : uint8_t { kBySize, kFull };

/// The first `wanted` layers in order onto the GPUs, then the head behind the last of all layers if it fits.
Filled fill(const OffloadRequest& request, const std::vector<uint64_t>& room, uint32_t wanted, Sharing sharing) {
  const auto count = static_cast<uint32_t>(request.layer_bytes.size());
  const uint64_t head = request.head_bytes != 0 ? request.head_bytes : request.embedding_bytes;
  uint64_t whole = 0, all_room = 0;
  for (uint32_t i = 0; i < wanted; ++i) whole = add_capped(whole, request.layer_bytes[i]);
  for (const uint64_t r : room) all_room = add_capped(all_room, r);
  Filled out;
  out.device_of_layer.assign(count, OffloadPlan::kCpu);
  out.used.assign(room.size(), 0);
  uint32_t gpu = 0;
  for (uint32_t layer = 0; layer < wanted && gpu < room.size();) {
    const uint64_t bytes = request.layer_bytes[layer];
    const bool last_gpu = gpu + 1 == room.size();
    const double share = all_room == 0 ? 0.0 : static_cast<double>(whole) * (static_cast<double>(room[gpu]) / static_cast<double>(all_room));
    const bool has_share = sharing == Sharing::kFull || last_gpu || static_cast<double>(out.used[gpu]) + static_cast<double>(bytes) / 2 <= share;
    if (bytes > room[gpu] - out.used[gpu] || !has_share) {
      ++gpu;
      continue;
    }
    out.used[gpu] += bytes;
    out.device_of_layer[layer] = gpu;
    out.layers = ++layer;
  }
  if (out.layers == count && count > 0) {
    const uint32_t last = out.device_of_layer[count - 1];
    out.head_fits = head <= room[last] - out.used[last];
    if (out.head_fits) out.used[last] += head;
  }
  return out;
}

}  // namespace

Result<OffloadPlan> plan_offload(const OffloadRequest& request) {
  const auto count = static_cast<uint32_t>(request.layer_bytes.size());
  if (request.gpu_layers.value_or(0) > count) {
    return Failure{Code::kInvalidArgument, "the model has " + std::to_string(count) + " layers, " + std::to_string(*request.gpu_layers) + " were asked for the GPU"};
  }
  const std::vector<uint64_t> room = room_of(request);
  const uint32_t wanted = request.gpu_layers.value_or(count);
  Filled filled = fill(request, room, wanted, Sharing::kBySize);
  if (filled.layers < wanted) filled = fill(request, room, wanted, Sharing::kFull);
  if (request.gpu_layers && filled.layers < wanted) {
    const uint64_t needed = std::accumulate(request.layer_bytes.begin(), request.layer_bytes.begin() + wanted, uint64_t{0}, add_capped);
    return Failure{Code::kTooLarge, std::to_string(wanted) + " layers need " + gib(needed) + " of GPU memory, " + gib(std::accumulate(room.begin(), room.end(), uint64_t{0}, add_capped)) +
                                        " are free; at most " + std::to_string(filled.layers) + " fit"};
  }
  OffloadPlan plan;
  plan.device_of_layer = std::move(filled.device_of_layer);
  plan.used_bytes = std::move(filled.used);
  plan.gpu_layers = filled.layers;
  if (filled.head_fits) plan.head_device = plan.device_of_layer.back();
  // A tied table is where the head is; another one stays with the CPU, which looks up rows as fast as they are copied.
  if (filled.head_fits && request.head_bytes == 0) plan.embedding_device = plan.head_device;
  const size_t gpus = static_cast<size_t>(std::ranges::count_if(plan.used_bytes, [](uint64_t used) { return used > 0; }));
  if (plan.gpu_layers == 0) {
    plan.reason = room.empty() ? "no GPU: all " + std::to_string(count) + " layers on the CPU" : "no layer fits on the GPU: all " + std::to_string(count) + " layers on the CPU";
  } else {
    const uint64_t used = std::accumulate(plan.used_bytes.begin(), plan.used_bytes.end(), uint64_t{0}, add_capped);
    plan.reason = (plan.gpu_layers == count ? "all " : std::to_string(plan.gpu_layers) + " of ") + std::to_string(count) + " layers on " +
                  (gpus == 1 ? "one GPU" : std::to_string(gpus) + " GPUs") + ", " + gib(used) + (filled.head_fits ? "" : "; the head on the CPU");
  }
  return plan;
}

}  // namespace kvasir
