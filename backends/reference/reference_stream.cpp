#include "backends/reference/reference_stream.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <numbers>

#include "backends/reference/reference_weight.h"

namespace kvasir::reference {
namespace {

float* row(Mat m, size_t r) noexcept { return m.data + r * m.stride; }

double sigmoid(double x) noexcept { return 1.0 / (1.0 + std::exp(-x)); }

double dot(const float* a, const float* b, size_t n) noexcept {
  double sum = 0.0;
  for (size_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

}  // namespace

double activation(Activation act, double x) noexcept {
  switch (act) {
    case Activation::kSilu: return x * sigmoid(x);
    case Activation::kGeluErf: return 0.5 * x * (1.0 + std::erf(x / std::numbers::sqrt2));
    case Activation::kGeluTanh:
      return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    case Activation::kGeluQuick: return x * sigmoid(1.702 * x);
    case Activation::kRelu: return std::max(x, 0.0);
    case Activation::kReluSquared: return std::max(x, 0.0) * std::max(x, 0.0);
    case Activation::kSigmoid: return sigmoid(x);
    case Activation::kTanh: return std::tanh(x);
    case Activation::kSoftplus: return x > 20.0 ? x : std::log1p(std::exp(x));
    case Activation::kIdentity: return x;
    case Activation::kSwigluOai: {
      const double gate = std::min(x, 7.0);
      return gate * sigmoid(1.702 * gate);
    }
  }
  return x;
}

double gated_activation(Activation act, double gate, double up) noexcept {
  if (act == Activation::kSwigluOai) up = std::clamp(up, -7.0, 7.0) + 1.0;
  return activation(act, gate) * up;
}

bool ReferenceStream::check(bool fine, const char* what) noexcept {
  if (!fine && !error_) error_ = Error{Code::kBackend, what};
  return !error_;
}

bool ReferenceStream::same_shape(Mat a, Mat b, const char* op) noexcept {
  return check(a.rows == b.rows && a.cols == b.cols, op);
}

bool ReferenceStream::is_vector(const Weight* weight, uint64_t values, const char* op) noexcept {
  return check(weight == nullptr || as_reference(*weight).vector().size() == values, op);
}

void ReferenceStream::unsupported(const char* op) noexcept {
  if (!error_) error_ = Error{Code::kUnsupported, std::string("op not supported by this backend: ") + op};
}

void ReferenceStream::begin(const StepLayout& layout, KvPool* pool) noexcept {
  layout_ = layout;
  pool_ = static_cast<ReferenceKvPool*>(pool);
  arena_.clear();
  error_.reset();
  positions_.assign(layout.rows, 0);
  for (const SequenceRows& sequence : layout_.sequences) {
    if (!check(sequence.first_row + sequence.n_rows <= layout.rows, "begin: sequence rows outside the step")) return;
    for (uint32_t i = 0; i < sequence.n_rows; ++i) positions_[sequence.first_row + i] = sequence.first_position + i;
  }
}

Mat ReferenceStream::alloc(uint32_t rows, uint32_t cols) noexcept {
  // NaN-filled, so that an op that reads what nobody wrote shows.
  const size_t count = static_cast<size_t>(rows) * cols;
  std::unique_ptr<float[]> memory(new (std::nothrow) float[std::max<size_t>(count, 1)]);
  if (!check(memory != nullptr, "alloc: not enough memory")) return {};
  std::fill_n(memory.get(), count, std::nanf(""));
  arena_.push_back(std::move(memory));
  return {arena_.back().get(), rows, cols, cols};
}

Result<void> ReferenceStream::finish() noexcept {
  if (error_) return Failure(*error_);
  return {};
}

void ReferenceStream::download(std::span<float> into, Mat x) noexcept {
  if (!check(into.size() == static_cast<size_t>(x.rows) * x.cols, "download: wrong size")) return;
  for (size_t t = 0; t < x.rows; ++t) std::copy_n(row(x, t), x.cols, into.data() + t * x.cols);
}

void ReferenceStream::upload(Mat y, std::span<const float> from) noexcept {
  if (!check(from.size() == static_cast<size_t>(y.rows) * y.cols, "upload: wrong size")) return;
  for (size_t t = 0; t < y.rows; ++t) std::copy_n(from.data() + t * y.cols, y.cols, row(y, t));
}

void ReferenceStream::embed(Mat y, const Weight& table, std::span<const TokenId> ids, float scale) noexcept {
  if (!check(ids.size() == y.rows && table.cols() == y.cols, "embed: shapes differ")) return;
  for (size_t t = 0; t < y.rows; ++t) {
    if (!check(ids[t] >= 0 && static_cast<uint64_t>(ids[t]) < table.rows(), "embed: id outside the table")) return;
    as_reference(table).decode_row(0, static_cast<uint64_t>(ids[t]), row(y, t));
    for (size_t i = 0; i < y.cols; ++i) row(y, t)[i] *= scale;
  }
}

void ReferenceStream::add_positions(Mat y, const Weight& table, uint32_t offset) noexcept {
  if (!check(y.rows == layout_.rows && table.cols() == y.cols, "add_positions: shapes differ")) return;
  std::vector<float> values(y.cols);
  for (uint32_t t = 0; t < y.rows; ++t) {
    const uint64_t at = static_cast<uint64_t>(position(t)) + offset;
    if (!check(at < table.rows(), "add_positions: position outside the table")) return;
    as_reference(table).decode_row(0, at, values.data());
    for (size_t i = 0; i < y.cols; ++i) row(y, t)[i] += values[i];
  }
}

void ReferenceStream::norm(Mat y, Mat x, const NormSpec& spec) noexcept {
  if (!same_shape(y, x, "norm: shapes differ")) return;
  if (!check(spec.groups > 0 && x.cols % spec.groups == 0, "norm: columns are no multiple of groups")) return;
  const size_t n = x.cols / spec.groups;
  const ReferenceWeight* gain = spec.weight ? &as_reference(*spec.weight) : nullptr;
  const bool shared = gain != nullptr && gain->values() == n;
  if (!is_vector(spec.weight, shared ? n : x.cols, "norm: weight has another size")) return;
  if (!is_vector(spec.bias, shared ? n : x.cols, "norm: bias has another size")) return;
  for (size_t t = 0; t < x.rows; ++t) {
    for (size_t g = 0; g < spec.groups; ++g) {
      const float* in = row(x, t) + g * n;
      float* out = row(y, t) + g * n;
      double mean = 0.0, squares = 0.0;
      if (spec.kind == NormKind::kLayer) {
        for (size_t i = 0; i < n; ++i) mean += static_cast<double>(in[i]);
        mean /= static_cast<double>(n);
      }
      for (size_t i = 0; i < n; ++i) squares += (static_cast<double>(in[i]) - mean) * (static_cast<double>(in[i]) - mean);
      const double factor = 1.0 / std::sqrt(squares / static_cast<double>(n) + static_cast<double>(spec.eps));
      for (size_t i = 0; i < n; ++i) {
        const size_t at = shared ? i : g * n + i;
        double v = (static_cast<double>(in[i]) - mean) * factor;
        if (gain) v *= static_cast<double>(gain->vector()[at]);
        if (spec.bias) v += static_cast<double>(as_reference(*spec.bias).vector()[at]);
        out[i] = static_cast<float>(v);
      }
    }
  }
}

void ReferenceStream::linear(std::span<const LinearSpec> parts, Mat x) noexcept {
  for (const LinearSpec& part : parts) {
    const ReferenceWeight& w = as_reference(*part.weight);
    if (!check(w.cols() == x.cols && w.rows() == part.y.cols && part.y.rows == x.rows && w.experts() == 1,
               "linear: shapes differ")) {
      return;
    }
    if (!is_vector(part.bias, w.rows(), "linear: bias has another size")) return;
    std::vector<float> weights(x.cols);
    for (size_t m = 0; m < w.rows(); ++m) {
      w.decode_row(0, m, weights.data());
      const double bias = part.bias ? static_cast<double>(as_reference(*part.bias).vector()[m]) : 0.0;
      for (size_t t = 0; t < x.rows; ++t) {
        float& y = row(part.y, t)[m];
        double value = static_cast<double>(part.scale) * (dot(row(x, t), weights.data(), x.cols) + bias);
        if (part.accumulate) value += static_cast<double>(y);
        y = static_cast<float>(value);
      }
    }
  }
}

void ReferenceStream::gated(Mat y, Mat gate, Mat up, Activation act) noexcept {
  if (!same_shape(y, gate, "gated: shapes differ") || !same_shape(y, up, "gated: shapes differ")) return;
  for (size_t t = 0; t < y.rows; ++t) {
    for (size_t i = 0; i < y.cols; ++i) {
      row(y, t)[i] = static_cast<float>(
          gated_activation(act, static_cast<double>(row(gate, t)[i]), static_cast<double>(row(up, t)[i])));
    }
  }
}

void ReferenceStream::activate(Mat y, Mat x, Activation act) noexcept {
  if (!same_shape(y, x, "activate: shapes differ")) return;
  for (size_t t = 0; t < y.rows; ++t) {
    for (size_t i = 0; i < y.cols; ++i) {
      row(y, t)[i] = static_cast<float>(activation(act, static_cast<double>(row(x, t)[i])));
    }
  }
}

void ReferenceStream::add(Mat y, Mat x, float scale) noexcept {
  if (!same_shape(y, x, "add: shapes differ")) return;
  for (size_t t = 0; t < y.rows; ++t) {
    for (size_t i = 0; i < y.cols; ++i) {
      const double sum = static_cast<double>(row(y, t)[i]) + static_cast<double>(scale) * static_cast<double>(row(x, t)[i]);
      row(y, t)[i] = static_cast<float>(sum);
    }
  }
}

void ReferenceStream::multiply(Mat y, Mat x) noexcept {
  if (!check(y.rows == x.rows && (x.cols == y.cols || x.cols == 1), "multiply: shapes differ")) return;
  for (size_t t = 0; t < y.rows; ++t) {
    for (size_t i = 0; i < y.cols; ++i) row(y, t)[i] *= row(x, t)[x.cols == 1 ? 0 : i];
  }
}

void ReferenceStream::scale(Mat y, float factor) noexcept {
  for (size_t t = 0; t < y.rows; ++t) {
    for (size_t i = 0; i < y.cols; ++i) row(y, t)[i] *= factor;
  }
}

void ReferenceStream::soft_cap(Mat y, float cap) noexcept {
  for (size_t t = 0; t < y.rows; ++t) {
    for (size_t i = 0; i < y.cols; ++i) {
      const double v = static_cast<double>(row(y, t)[i]) / static_cast<double>(cap);
      row(y, t)[i] = static_cast<float>(static_cast<double>(cap) * std::tanh(v));
    }
  }
}

void ReferenceStream::copy_columns(Mat y, uint32_t y_col, Mat x, uint32_t x_col, uint32_t count) noexcept {
  if (!check(y.rows == x.rows && y_col + count <= y.cols && x_col + count <= x.cols, "copy_columns: out of range")) return;
  for (size_t t = 0; t < y.rows; ++t) std::copy_n(row(x, t) + x_col, count, row(y, t) + y_col);
}

void ReferenceStream::gather_rows(Mat y, Mat x, std::span<const uint32_t> rows) noexcept {
  if (!check(y.rows == rows.size() && y.cols == x.cols, "gather_rows: shapes differ")) return;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!check(rows[i] < x.rows, "gather_rows: no such row")) return;
    std::copy_n(row(x, rows[i]), x.cols, row(y, i));
  }
}

}  // namespace kvasir::reference
