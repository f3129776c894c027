// Reader of safetensors files: an 8-byte length, a JSON header, then the tensors without holes. Everything the header
// says is checked against the file before it is used (reliability.md T1-T9). Source: the format description in
// huggingface/safetensors.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/model/file_source.h"
#include "core/model/model_limits.h"

namespace kvasir {

enum class SafeType : uint8_t { kF32, kF16, kBF16, kF8E4M3, kI64, kI32, kU8, kOther };

struct SafeTensor {
  std::string name;
  SafeType type = SafeType::kOther;
  std::string type_name;
  std::vector<uint64_t> shape;
  const FileSource* source = nullptr;
  uint64_t offset = 0;  ///< absolute
  uint64_t bytes = 0;
  uint64_t values() const noexcept;  ///< product of the shape; checked by the reader
};

/// Errors: kCorrupt, kTooLarge, kIo; messages name the tensor.
Result<std::vector<SafeTensor>> read_safetensors(const FileSource& file, const ModelLimits& limits);

}  // namespace kvasir
