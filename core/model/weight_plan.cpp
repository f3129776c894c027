#include "core/model/weight_plan.h"

#include <algorithm>

#include "core/model/file_source.h"

namespace kvasir {
namespace {

std::string shape_text(const FileTensor& t) {
  std::string out = "[";
  for (uint32_t i = 0; i < t.dimensions; ++i) out += (i ? ", " : "") + std::to_string(t.dims[i]);
  return out + "]";
}

Failure wrong_shape(const FileTensor& t, std::initializer_list<uint64_t> wanted) {
  std::string text = "[";
  for (const uint64_t d : wanted) text += (text.size() > 1 ? ", " : "") + std::to_string(d);
  return Failure(Code::kCorrupt,
                 "tensor " + t.name + " has shape " + shape_text(t) + " where the metadata says " + text + "]");
}

bool is_float(TensorType type) {
  return type == TensorType::kF32 || type == TensorType::kF16 || type == TensorType::kBF16;
}

uint64_t row_bytes(const FileTensor& t) {
  const TensorTypeInfo* info = tensor_type_info(t.type);
  return t.dims[0] / info->block_values * info->block_bytes;
}

}  // namespace

Result<const FileTensor*> WeightPlan::find(const std::string& name) {
  const FileTensor* tensor = file_.find(name);
  if (tensor == nullptr) return Failure(Code::kCorrupt, "tensor " + name + " is missing");
  used_.insert(name);
  return tensor;
}

void WeightPlan::request(const FileTensor& t, WeightUse use, const Weight*& slot, uint64_t experts, uint64_t rows,
                         uint64_t cols, uint64_t first_row) {
  HostTensor host;
  host.name = t.name;
  host.type = t.type;
  host.experts = experts;
  host.rows = rows;
  host.cols = cols;
  host.source = t.source;
  host.part = part_;
  const TensorTypeInfo* info = tensor_type_info(t.type);
  const uint64_t bytes_per_row = cols / info->block_values * info->block_bytes;
  host.offset = t.offset + first_row * bytes_per_row;
  const uint64_t bytes = experts * rows * bytes_per_row;
  requests_.push_back({std::move(host), use, &slot, bytes});
  bytes_ += bytes;
}

Result<void> WeightPlan::matrix(const Weight*& slot, const std::string& name, uint64_t rows, uint64_t cols,
                                RowView view) {
  const FileTensor* t = KVASIR_TRY(find(name));
  const uint64_t all = view.of == 0 ? rows : view.of;
  if (t->dims[0] != cols || t->dims[1] != all || t->dims[2] != 1 || t->dims[3] != 1)
    return wrong_shape(*t, {cols, all});
  request(*t, WeightUse::kMatrix, slot, 1, rows, cols, view.first);
  return {};
}

Result<void> WeightPlan::experts(const Weight*& slot, const std::string& name, uint64_t experts, uint64_t rows,
                                 uint64_t cols) {
  const FileTensor* t = KVASIR_TRY(find(name));
  if (t->dims[0] != cols || t->dims[1] != rows || t->dims[2] != experts || t->dims[3] != 1) {
    return wrong_shape(*t, {cols, rows, experts});
  }
  request(*t, WeightUse::kMatrix, slot, experts, rows, cols, 0);
  return {};
}

Result<void> WeightPlan::slice(const Weight*& slot, const std::string& name, uint64_t index, uint64_t count,
                               uint64_t rows, uint64_t cols) {
  const FileTensor* t = KVASIR_TRY(find(name));
  if (t->dims[0] != cols || t->dims[1] != rows || t->dims[2] != count || t->dims[3] != 1) {
    return wrong_shape(*t, {cols, rows, count});
  }
  request(*t, WeightUse::kMatrix, slot, 1, rows, cols, index * rows);
  return {};
}

Result<void> WeightPlan::table(const Weight*& slot, const std::string& name, uint64_t rows, uint64_t cols,
                               bool also_matrix) {
  const FileTensor* t = KVASIR_TRY(find(name));
  if (t->dims[0] != cols || t->dims[1] != rows || t->dims[2] != 1 || t->dims[3] != 1)
    return wrong_shape(*t, {cols, rows});
  request(*t, also_matrix ? WeightUse::kTableAndMatrix : WeightUse::kTable, slot, 1, rows, cols, 0);
  return {};
}

Result<void> WeightPlan::vector(const Weight*& slot, const std::string& name, uint64_t values, RowView view) {
  const FileTensor* t = KVASIR_TRY(find(name));
  const uint64_t all = view.of == 0 ? values : view.of;
  if (t->values() != all) return wrong_shape(*t, {all});
  if (!is_float(t->type)) {
    return Failure(Code::kCorrupt, "tensor " + name + " is " + std::string(tensor_type_info(t->type)->name) +
                                       "; a vector must be F32, F16 or BF16");
  }
  request(*t, WeightUse::kVector, slot, 1, 1, values, 0);
  requests_.back().tensor.offset += view.first * (row_bytes(*t) / t->dims[0]);
  return {};
}

Result<void> WeightPlan::taps(const Weight*& slot, const std::string& name, uint64_t channels, uint64_t count) {
  const FileTensor* t = KVASIR_TRY(find(name));
  if (t->dims[0] != count || t->values() != channels * count || !is_float(t->type))
    return wrong_shape(*t, {count, channels});
  request(*t, WeightUse::kVector, slot, 1, channels, count, 0);
  return {};
}

Result<void> WeightPlan::optional_vector(const Weight*& slot, const std::string& name, uint64_t values, RowView view) {
  if (!contains(name)) return {};
  return vector(slot, name, values, view);
}

Result<void> WeightPlan::row_table(const Weight*& slot, const std::string& name, uint64_t values) {
  KVASIR_TRY(vector(slot, name, values));
  requests_.back().use = WeightUse::kTable;
  return {};
}

std::vector<std::string> WeightPlan::unused() const {
  std::vector<std::string> out;
  for (const FileTensor& tensor : file_.tensors()) {
    if (!used_.contains(tensor.name)) out.push_back(tensor.name);
  }
  return out;
}

Result<std::vector<std::unique_ptr<Weight>>> WeightPlan::upload(Backend& backend, const Progress& progress) {
  // File by file, in order: keeps the disk reading forward. Each upload is parallel inside.
  std::sort(requests_.begin(), requests_.end(), [](const Request& a, const Request& b) {
    if (a.tensor.source != b.tensor.source) return std::less<>()(a.tensor.source, b.tensor.source);
    return a.tensor.offset < b.tensor.offset;
  });
  std::vector<std::unique_ptr<Weight>> weights;
  weights.reserve(requests_.size());
  uint64_t done = 0;
  for (const Request& request : requests_) {
    const double share = bytes_ == 0 ? 0.0 : static_cast<double>(done) / static_cast<double>(bytes_);
    if (progress && !progress(share)) return Failure(Code::kCancelled, "loading was cancelled");
    weights.push_back(KVASIR_TRY(backend.upload(request.tensor, request.use)));
    *request.slot = weights.back().get();
    done += request.bytes;
  }
  if (progress && !progress(1.0)) return Failure(Code::kCancelled, "loading was cancelled");
  return weights;
}

}  // namespace kvasir
