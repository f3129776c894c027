// The table of model families: an architecture's name, and the reader that turns its metadata into a ModelConfig. Adding
// a family is a row in families/table.cpp and, where it differs, a reader of a few lines.
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

Result<ModelConfig> read_llama(ConfigReader& reader);

}  // namespace kvasir
