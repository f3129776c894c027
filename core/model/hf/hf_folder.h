// A Hugging Face model folder behind ModelFile: config.json, model.safetensors (or shards with an index), tokenizer
// files, generation_config.json and chat_template.jinja. Nothing outside the folder is opened, whatever its files say.
#pragma once

#include <memory>
#include <string>

#include "core/model/model_file.h"

namespace kvasir {

/// True if `path` is a folder with a config.json.
bool is_hf_folder(const std::string& path);
/// Errors: kNotFound (a missing file, by name), kCorrupt, kUnsupported, kTooLarge, kIo.
Result<std::unique_ptr<ModelFile>> open_hf_folder(const std::string& path, const ModelLimits& limits);

}  // namespace kvasir
