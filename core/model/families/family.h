// The table of model families: an architecture's name, and the reader that turns its metadata into a ModelConfig.
// Adding a family is a row in families/table.cpp and, where it differs, a reader of a few lines.
#pragma once

#include <span>
#include <string_view>

#include "core/model/families/config_reader.h"

namespace kvasir {

struct Family {
  std::string_view architecture;  ///< general.architecture
  Result<ModelConfig> (*read)(ConfigReader& reader);
};

std::span<const Family> families() noexcept;
/// Error kUnsupported names the architecture and lists those that work.
Result<const Family*> find_family(std::string_view architecture);

/// The checked configuration of a file. Errors: kCorrupt, kUnsupported, kTooLarge.
Result<ModelConfig> read_model_config(const ModelFile& file, const ModelLimits& limits);

// Readers, by the file they are in.
Result<ModelConfig> read_llama(ConfigReader& reader);
Result<ModelConfig> read_qwen2(ConfigReader& reader);
Result<ModelConfig> read_qwen2_moe(ConfigReader& reader);
Result<ModelConfig> read_qwen3(ConfigReader& reader);
Result<ModelConfig> read_qwen3_moe(ConfigReader& reader);
Result<ModelConfig> read_qwen3_next(ConfigReader& reader);
Result<ModelConfig> read_qwen35(ConfigReader& reader);
Result<ModelConfig> read_gemma(ConfigReader& reader);
Result<ModelConfig> read_gemma2(ConfigReader& reader);
Result<ModelConfig> read_gemma3(ConfigReader& reader);
Result<ModelConfig> read_gemma4(ConfigReader& reader);
Result<ModelConfig> read_phi2(ConfigReader& reader);
Result<ModelConfig> read_phi3(ConfigReader& reader);
Result<ModelConfig> read_gpt2(ConfigReader& reader);
Result<ModelConfig> read_gpt_neox(ConfigReader& reader);
Result<ModelConfig> read_falcon(ConfigReader& reader);
Result<ModelConfig> read_starcoder2(ConfigReader& reader);
Result<ModelConfig> read_stablelm(ConfigReader& reader);
Result<ModelConfig> read_olmo2(ConfigReader& reader);
Result<ModelConfig> read_granite(ConfigReader& reader);
Result<ModelConfig> read_smollm3(ConfigReader& reader);
Result<ModelConfig> read_command_r(ConfigReader& reader);
Result<ModelConfig> read_cohere2(ConfigReader& reader);
Result<ModelConfig> read_glm4(ConfigReader& reader);
Result<ModelConfig> read_gpt_oss(ConfigReader& reader);
Result<ModelConfig> read_deepseek2(ConfigReader& reader);
Result<ModelConfig> read_lfm2(ConfigReader& reader);
Result<ModelConfig> read_mamba2(ConfigReader& reader);

}  // namespace kvasir
