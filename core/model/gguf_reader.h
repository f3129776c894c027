// Reader of GGUF v2 and v3 (ggml docs/gguf.md). Everything a file says is checked before it is used: lengths against
// the remaining file and ModelLimits, products and sums for overflow, tensor ranges against the file, overlaps and
// gaps.
#pragma once

#include "core/model/file_source.h"
#include "core/model/model_file.h"

namespace kvasir {

/// Reads header, metadata and tensor table; no tensor data. Errors: kIo, kCorrupt, kUnsupported, kTooLarge.
Result<std::unique_ptr<ModelFile>> read_gguf(std::unique_ptr<FileSource> file, const ModelLimits& limits);

}  // namespace kvasir
