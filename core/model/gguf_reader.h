// Reader of one GGUF file, v2 or v3 (ggml docs/gguf.md). Everything a file says is checked before it is used: lengths
// against the remaining file and ModelLimits, products and sums for overflow, tensor ranges against the file, overlaps
// and gaps. Pure but for the reads; what makes a model of one or several files is gguf_file.h.
#pragma once

#include "core/model/file_source.h"
#include "core/model/model_file.h"

namespace kvasir {

/// What one file holds. Tensors name `file` as their source; names may still be there twice.
struct GgufPart {
  std::unique_ptr<FileSource> file;
  uint32_t version = 0;
  Metadata metadata;
  std::vector<FileTensor> tensors;
};

/// Reads header, metadata and tensor table; no tensor data. Errors: kIo, kCorrupt, kUnsupported, kTooLarge; the message
/// begins with the path.
Result<GgufPart> read_gguf(std::unique_ptr<FileSource> file, const ModelLimits& limits);

}  // namespace kvasir
