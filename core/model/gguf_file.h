// A GGUF model behind ModelFile: one file, or the parts NAME-00001-of-0000N.gguf that other tools split large models
// into (keys split.no, split.count, split.tensors.count). Any part names the whole; metadata comes from the first.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/model/model_file.h"

namespace kvasir {

/// What the name of a part says: "big-00002-of-00003.gguf" is {"big", 2, 3}.
struct GgufPartName {
  std::string stem;
  uint32_t number = 0;  ///< from 1
  uint32_t count = 0;
};
std::optional<GgufPartName> parse_gguf_part_name(std::string_view file_name);

/// Opens a file, with all parts of its model. A part that is missing, surplus, there twice or from another model is an
/// error that names it. Errors: kNotFound, kIo, kCorrupt, kUnsupported, kTooLarge.
Result<std::unique_ptr<ModelFile>> open_gguf(const std::string& path, const ModelLimits& limits);

/// The one model (first part) among the .gguf files of a folder. Errors: kNotFound (none), kInvalidArgument (several,
/// by name), kIo.
Result<std::string> gguf_in_folder(const std::string& folder);

}  // namespace kvasir
