// A model file as people see it: the description that get_model_info and `models info` print.
#pragma once

#include "core/model/model.h"
#include "core/model/model_config.h"
#include "core/model/model_file.h"

namespace kvasir {

/// Errors: kCorrupt where descriptive keys have the wrong type.
Result<ModelDescription> describe(const ModelFile& file, const ModelConfig& config);

}  // namespace kvasir
