// Which tensors a model needs, checked against the file before any byte of weights is read, and then uploaded in file
// order. Layers register their tensors with the place where the uploaded Weight is to go. Used once, by the loader.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "core/model/model_file.h"

namespace kvasir {

/// A part of a tensor's rows (fused tensors): rows [first, first + rows of the request).
struct RowView {
  uint64_t first = 0;
  uint64_t of = 0;  ///< rows that the whole tensor must have; 0: exactly the requested ones
};

class WeightPlan {
 public:
  explicit WeightPlan(const ModelFile& file) : file_(file) {}

  const ModelFile& file() const noexcept { return file_; }
  bool contains(std::string_view name) const { return file_.find(name) != nullptr; }

  /// Tensors asked for from here on belong to this part of the model; at first: the embedding.
  void enter(const ModelPart& part) noexcept { part_ = part; }

  // Errors: kCorrupt (missing tensor, other shape, a type that cannot be used so).
  /// W[rows, cols] for linear().
  Result<void> matrix(const Weight*& slot, const std::string& name, uint64_t rows, uint64_t cols, RowView view = {});
  /// experts x W[rows, cols] for moe().
  Result<void> experts(const Weight*& slot, const std::string& name, uint64_t experts, uint64_t rows, uint64_t cols);
  /// One matrix of a stack of `count`.
  Result<void> slice(const Weight*& slot, const std::string& name, uint64_t index, uint64_t count, uint64_t rows,
                     uint64_t cols);
  /// Table[rows, cols] for embed(); `also_matrix`: the output projection uses the same copy.
  Result<void> table(const Weight*& slot, const std::string& name, uint64_t rows, uint64_t cols, bool also_matrix);
  /// `values` numbers held as f32: norms, biases, taps. `rows` keeps a two-dimensional shape (conv taps).
  Result<void> vector(const Weight*& slot, const std::string& name, uint64_t values, RowView view = {});
  Result<void> taps(const Weight*& slot, const std::string& name, uint64_t channels, uint64_t count);
  /// As vector(), but an absent tensor leaves the slot null.
  Result<void> optional_vector(const Weight*& slot, const std::string& name, uint64_t values, RowView view = {});
  /// A vector used as a table of one row (embed() broadcasts it).
  Result<void> row_table(const Weight*& slot, const std::string& name, uint64_t values);

  /// Marks a tensor as known without needing it.
  void ignore(std::string_view name) { used_.insert(std::string(name)); }
  /// Tensors of the file that nobody asked for.
  std::vector<std::string> unused() const;
  /// Bytes of the file that upload() will read.
  uint64_t bytes() const noexcept { return bytes_; }

  using Progress = std::function<bool(double)>;
  /// Uploads everything in file order and fills the slots. Errors: kCancelled, and those of Backend::upload.
  Result<std::vector<std::unique_ptr<Weight>>> upload(Backend& backend, const Progress& progress);

 private:
  struct Request {
    HostTensor tensor;
    WeightUse use;
    const Weight** slot;
    uint64_t bytes;
  };
  Result<const FileTensor*> find(const std::string& name);
  void request(const FileTensor& tensor, WeightUse use, const Weight*& slot, uint64_t experts, uint64_t rows,
               uint64_t cols, uint64_t first_row);

  const ModelFile& file_;
  std::vector<Request> requests_;
  std::unordered_set<std::string> used_;
  uint64_t bytes_ = 0;
  ModelPart part_;
};

}  // namespace kvasir
