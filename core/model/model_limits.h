// Every bound on what a model file may say, in one struct (reliability.md C1). Printed by `doctor`; a file beyond a
// bound fails with kTooLarge and the bound's name.
#pragma once

#include <cstdint>

namespace kvasir {

struct ModelLimits {
  uint64_t max_metadata_keys = 65'536;
  uint64_t max_tensors = 65'536;
  uint32_t max_parts = 1024;  ///< files of one model
  uint64_t max_key_bytes = 1024;
  uint64_t max_string_bytes = 16u << 20;
  uint64_t max_array_elements = 8u << 20;
  uint64_t max_metadata_bytes = 256u << 20;
  uint64_t max_tensor_name_bytes = 63;
  uint32_t max_dimensions = 4;
  uint64_t max_dimension = INT32_MAX;
  uint64_t min_alignment = 8;
  uint64_t max_alignment = 65'536;
  uint32_t max_layers = 512;
  uint32_t max_heads = 1024;
  uint32_t max_head_size = 4096;
  uint32_t max_state_heads = 65'536;  ///< of a state-space mixer
  uint32_t max_experts = 4096;
  uint32_t max_width = 1u << 20;  ///< embedding, feed-forward
  uint64_t max_vocab = 1'000'000;
  uint32_t max_context = 1u << 24;  ///< a file that promises more is clamped to this
};

}  // namespace kvasir
