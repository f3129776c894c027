// Builds a GGUF-shaped tensor table from the tensors of a Hugging Face folder: names, orders of rows and dimensions are
// those that core/model's layers know, so that families are written once. Used while a folder is opened; the sources it
// makes live as long as the ModelFile that takes them.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/model/hf/safetensors_reader.h"
#include "core/model/hf/sources.h"
#include "core/model/model_file.h"

namespace kvasir {

/// Rows [first, first + count) of a tensor seen as [rows, row length].
struct RowRange {
  uint64_t first = 0;
  uint64_t count = 0;
};

class TensorBuilder {
 public:
  explicit TensorBuilder(const std::vector<SafeTensor>& tensors);

  /// The folder's tensor of this name, marked as used; null if absent.
  const SafeTensor* take(const std::string& name);
  /// As take(), but absence is an error.
  Result<const SafeTensor*> require(const std::string& name);
  std::vector<std::string> unused() const;

  // Each adds one tensor under a GGUF name. Errors: kUnsupported dtype, kCorrupt shape.
  Result<void> add(const std::string& name, const SafeTensor& tensor);
  /// add() and add_rows() of the folder's tensor `hf`, which must be there.
  Result<void> add_from(const std::string& name, const std::string& hf);
  Result<void> add_rows_from(const std::string& name, const std::string& hf, const std::vector<RowRange>& rows,
                             std::vector<uint64_t> dims);
  /// The same bytes under another shape (dims fastest first).
  Result<void> add_shaped(const std::string& name, const SafeTensor& tensor, std::vector<uint64_t> dims);
  /// Rows of one tensor in another order; `dims` of the result, fastest first.
  Result<void> add_rows(const std::string& name, const SafeTensor& tensor, const std::vector<RowRange>& rows,
                        std::vector<uint64_t> dims);
  /// Tensors of one shape stacked behind each other: experts.
  Result<void> add_stack(const std::string& name, const std::vector<const SafeTensor*>& parts);
  /// Values computed as f32 from the tensor's values: `make(values)` gives as many as dims hold.
  using MakeValues = std::function<std::vector<float>(std::vector<float>)>;
  Result<void> add_made(const std::string& name, const SafeTensor& tensor, std::vector<uint64_t> dims, MakeValues make);
  /// f32 values that the configuration implies (rope factors).
  Result<void> add_values(const std::string& name, std::vector<float> values);
  /// Raw blocks of a ggml type, made from several tensors' bytes.
  Result<void> add_blocks(const std::string& name, TensorType type, std::vector<uint64_t> dims, MadeSource::Make make);
  bool has(const std::string& name) const { return index_.contains(name); }

  std::vector<FileTensor> tensors;
  std::vector<std::unique_ptr<ByteSource>> sources;

 private:
  Result<FileTensor> start(const std::string& name, std::vector<uint64_t> dims, TensorType type);
  Result<void> finish(FileTensor tensor);

  std::unordered_map<std::string, const SafeTensor*> index_by_hf_;
  std::unordered_map<std::string, size_t> index_;
  std::unordered_map<std::string, bool> used_;
};

/// All values of a tensor as f32. Errors: kUnsupported dtype, kIo.
Result<std::vector<float>> read_f32(const SafeTensor& tensor);

}  // namespace kvasir
