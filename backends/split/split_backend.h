// A backend made of backends: every part of a model lies in one of several places. Owns them. Engine thread, as they are;
// upload() as theirs.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backends/backend.h"

namespace kvasir {

/// Which place holds what: indices into the list of backends.
struct SplitPlacement {
  std::vector<uint32_t> place_of_layer;
  uint32_t embedding = 0, head = 0;
  std::string reason;  ///< for people: "20 of 32 layers on the GPU: ..."
  uint32_t of(const ModelPart& part) const noexcept {
    if (part.kind == ModelPart::Kind::kLayer) return part.layer < place_of_layer.size() ? place_of_layer[part.layer] : head;
    return part.kind == ModelPart::Kind::kEmbedding ? embedding : head;
  }
};

/// `host_memory`: free memory of the host, for places that have none of their own. Errors: kInvalidArgument (a place that
/// is not there).
Result<std::unique_ptr<Backend>> make_split_backend(std::vector<std::unique_ptr<Backend>> places, SplitPlacement placement,
                                                    std::function<uint64_t()> host_memory);

}  // namespace kvasir
