// What a model file or folder offers, whatever its format: metadata under GGUF's keys, a checked tensor table under
// GGUF's names, vocabulary and chat template. Readers (gguf_reader; folders of safetensors later) implement it; code
// behind it may trust every offset, size and type. Immutable; thread-safe.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "core/model/metadata.h"
#include "core/model/model_limits.h"
#include "core/text/tokenizer.h"

namespace kvasir {

/// A tensor whose bytes [offset, offset + bytes) lie inside `source`. dims[0] is the fastest (the row length).
struct FileTensor {
  std::string name;
  TensorType type = TensorType::kF32;
  uint32_t dimensions = 1;
  std::array<uint64_t, 4> dims = {1, 1, 1, 1};
  const ByteSource* source = nullptr;
  uint64_t offset = 0;
  uint64_t bytes = 0;

  uint64_t values() const noexcept { return dims[0] * dims[1] * dims[2] * dims[3]; }  ///< checked by the reader
};

class ModelFile {
 public:
  virtual ~ModelFile() = default;
  /// Opens a file or folder by what it contains. Errors: kNotFound, kIo, kCorrupt, kUnsupported, kTooLarge.
  static Result<std::unique_ptr<ModelFile>> open(const std::string& path, const ModelLimits& limits = {});

  virtual const std::string& path() const noexcept = 0;
  virtual std::string format() const = 0;  ///< "gguf v3"
  virtual uint64_t file_bytes() const noexcept = 0;
  virtual const Metadata& metadata() const noexcept = 0;
  virtual const std::vector<FileTensor>& tensors() const noexcept = 0;
  virtual const FileTensor* find(std::string_view name) const = 0;
  /// True if Q and K rows are permuted for adjacent-pair rotation where the family's original is half-split (GGUF of
  /// llama).
  virtual bool permutes_query_key() const noexcept = 0;
  virtual Result<VocabularyData> vocabulary() const = 0;
  virtual Result<std::optional<std::string>> chat_template() const = 0;
  /// Error kCorrupt if a file is no longer what it was when opened.
  virtual Result<void> check_unchanged() const = 0;
  /// The model as it lies on disk, where this one changes weights while they are read (quantise.h); else itself.
  virtual const ModelFile& stored() const noexcept { return *this; }
};

/// tokenizer.ggml.* of GGUF metadata as checked types: counts, element types and id ranges (reliability.md V1-V4, V6,
/// V8).
Result<VocabularyData> read_vocabulary(const Metadata& metadata, const ModelLimits& limits);

/// All values of a small tensor as f32 (rope factors, scales). Errors: kIo, kCorrupt, kTooLarge (above 1 Mi values).
Result<std::vector<float>> read_values(const FileTensor& tensor);

}  // namespace kvasir
