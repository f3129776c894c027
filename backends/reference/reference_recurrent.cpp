// Ops with state per sequence: causal convolution, selective scan, gated delta rule. State is f32, sums are double.
#include <algorithm>
#include <cmath>

#include "backends/reference/reference_stream.h"
#include "backends/reference/reference_weight.h"

namespace kvasir::reference {

float* ReferenceStream::layer_state(const SequenceRows& sequence, uint32_t state_layer, uint64_t offset,
                                    uint64_t floats) noexcept {
  const bool there = pool_ != nullptr && state_layer < pool_->spec().state_floats.size() &&
                     offset + floats <= pool_->spec().state_floats[state_layer] &&
                     sequence.state_slot < pool_->spec().state_slots;
  if (!check(there, "recurrent state of a sequence is missing")) return nullptr;
  return pool_->state(state_layer, sequence.state_slot) + offset;
}

void ReferenceStream::conv(Mat y, Mat x, const ConvSpec& spec) noexcept {
  if (!same_shape(y, x, "conv: shapes differ")) return;
  if (!check(spec.taps != nullptr && spec.taps->rows() == x.cols, "conv: taps have another size")) return;
  if (!is_vector(spec.bias, x.cols, "conv: bias has another size")) return;
  const std::vector<float>& taps = as_reference(*spec.taps).vector();
  const size_t n = spec.taps->cols(), channels = x.cols;
  std::vector<float> window(n * channels);  // the last n inputs, oldest first
  for (const SequenceRows& sequence : layout_.sequences) {
    float* state = layer_state(sequence, spec.state_layer, spec.state_offset, (n - 1) * channels);
    if (state == nullptr) return;
    std::copy_n(state, (n - 1) * channels, window.data() + channels);
    for (uint32_t i = 0; i < sequence.n_rows; ++i) {
      const size_t t = sequence.first_row + i;
      std::copy(window.begin() + static_cast<std::ptrdiff_t>(channels), window.end(), window.begin());
      std::copy_n(x.data + t * x.stride, channels, window.data() + (n - 1) * channels);
      for (size_t c = 0; c < channels; ++c) {
        double sum = spec.bias ? static_cast<double>(as_reference(*spec.bias).vector()[c]) : 0.0;
        for (size_t j = 0; j < n; ++j) {
          sum += static_cast<double>(taps[c * n + j]) * static_cast<double>(window[j * channels + c]);
        }
        y.data[t * y.stride + c] = static_cast<float>(activation(spec.activation, sum));
      }
    }
    std::copy_n(window.data() + channels, (n - 1) * channels, state);
  }
}

void ReferenceStream::scan(Mat y, Mat x, Mat b, Mat c, Mat dt, const ScanSpec& spec) noexcept {
  const size_t heads = spec.heads, size = spec.head_dim, n = spec.state_dim;
  if (!check(x.cols == heads * size && y.cols == x.cols && b.cols == spec.groups * n && c.cols == b.cols &&
                 dt.cols == heads && spec.groups > 0 && heads % spec.groups == 0,
             "scan: shapes differ")) {
    return;
  }
  if (!is_vector(spec.a_log_or_a, heads, "scan: a") || !is_vector(spec.d, heads, "scan: d") ||
      !is_vector(spec.dt_bias, heads, "scan: dt bias")) {
    return;
  }
  for (const SequenceRows& sequence : layout_.sequences) {
    float* state = layer_state(sequence, spec.state_layer, spec.state_offset, heads * size * n);
    if (state == nullptr) return;
    for (size_t t = sequence.first_row; t < sequence.first_row + sequence.n_rows; ++t) {
      for (size_t h = 0; h < heads; ++h) {
        double step = static_cast<double>(dt.data[t * dt.stride + h]);
        if (spec.dt_bias) step += static_cast<double>(as_reference(*spec.dt_bias).vector()[h]);
        step = activation(Activation::kSoftplus, step);
        const double decay = std::exp(step * static_cast<double>(as_reference(*spec.a_log_or_a).vector()[h]));
        const size_t group = h / (heads / spec.groups);
        for (size_t p = 0; p < size; ++p) {
          const double in = static_cast<double>(x.data[t * x.stride + h * size + p]);
          float* s = state + (h * size + p) * n;
          double out = spec.d ? static_cast<double>(as_reference(*spec.d).vector()[h]) * in : 0.0;
          for (size_t i = 0; i < n; ++i) {
            const double update = step * in * static_cast<double>(b.data[t * b.stride + group * n + i]);
            s[i] = static_cast<float>(decay * static_cast<double>(s[i]) + update);
            out += static_cast<double>(s[i]) * static_cast<double>(c.data[t * c.stride + group * n + i]);
          }
          y.data[t * y.stride + h * size + p] = static_cast<float>(out);
        }
      }
    }
  }
}

void ReferenceStream::delta(Mat y, Mat q, Mat k, Mat v, Mat g, Mat beta, const DeltaSpec& spec) noexcept {
  const size_t heads = spec.v_heads, n = spec.k_dim, size = spec.v_dim;
  if (!check(spec.k_heads > 0 && heads % spec.k_heads == 0 && q.cols == spec.k_heads * n && k.cols == q.cols &&
                 v.cols == heads * size && y.cols == v.cols && g.cols == heads && beta.cols == heads,
             "delta: shapes differ")) {
    return;
  }
  std::vector<double> change(size);
  for (const SequenceRows& sequence : layout_.sequences) {
    float* state = layer_state(sequence, spec.state_layer, spec.state_offset, heads * n * size);
    if (state == nullptr) return;
    for (size_t t = sequence.first_row; t < sequence.first_row + sequence.n_rows; ++t) {
      for (size_t h = 0; h < heads; ++h) {
        const size_t k_head = h / (heads / spec.k_heads);
        const float* key = k.data + t * k.stride + k_head * n;
        const float* query = q.data + t * q.stride + k_head * n;
        const double decay = std::exp(static_cast<double>(g.data[t * g.stride + h]));
        const double rate = static_cast<double>(beta.data[t * beta.stride + h]);
        float* s = state + h * n * size;  // [k_dim][v_dim]
        for (size_t i = 0; i < n * size; ++i) s[i] = static_cast<float>(decay * static_cast<double>(s[i]));
        for (size_t j = 0; j < size; ++j) {
          double known = 0.0;
          for (size_t i = 0; i < n; ++i) known += static_cast<double>(s[i * size + j]) * static_cast<double>(key[i]);
          change[j] = rate * (static_cast<double>(v.data[t * v.stride + h * size + j]) - known);
        }
        for (size_t j = 0; j < size; ++j) {
          double out = 0.0;
          for (size_t i = 0; i < n; ++i) {
            float& cell = s[i * size + j];
            cell = static_cast<float>(static_cast<double>(cell) + static_cast<double>(key[i]) * change[j]);
            out += static_cast<double>(cell) * static_cast<double>(query[i]);
          }
          y.data[t * y.stride + h * size + j] = static_cast<float>(out);
        }
      }
    }
  }
}

}  // namespace kvasir::reference
