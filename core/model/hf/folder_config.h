// config.json of a Hugging Face folder as metadata under GGUF's keys, and the sizes that rearranging tensors needs.
// Pure functions.
#pragma once

#include "core/model/hf/json_value.h"
#include "core/model/hf/tensor_map.h"
#include "core/model/metadata.h"

namespace kvasir {

struct FolderConfig {
  Metadata metadata;
  FolderShape shape;
  std::vector<float> rope_freqs;  ///< divisors of the frequencies (llama3, proportional); or empty
  std::vector<float> rope_factors_long, rope_factors_short;  ///< longrope; or empty
};

/// Errors: kCorrupt (a missing or ill-typed field, by name), kUnsupported (model_type, rope type).
Result<FolderConfig> read_folder_config(const JsonValue& config, const ModelLimits& limits);

}  // namespace kvasir
