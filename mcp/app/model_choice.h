// From the name that a user gives to the path of a model. Only looks at directory entries, never opens a model.
#pragma once

#include <string>
#include <vector>

#include "core/base/result.h"

namespace kvasir::app {

inline constexpr const char* kDefaultModelFile = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// A path (GGUF file or Hugging Face folder), the name of an entry of the models folder with or without ".gguf", or
/// "" for the default model. Absolute result. Errors: kUnavailable, with where was looked and how to get the model.
Result<std::string> resolve_model(const std::string& name, const std::string& models_dir);

/// The entries of the models folder that look like models, by name.
std::vector<std::string> list_models(const std::string& models_dir);

}  // namespace kvasir::app
