// Mixture of experts of the reference stream: routing, then the chosen experts one after another.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "backends/reference/reference_stream.h"
#include "backends/reference/reference_weight.h"

namespace kvasir::reference {
namespace {

struct Choice {
  uint32_t expert = 0;
  double weight = 0.0;
};

/// y = row `m` of `w` for expert `e`, times x, in double.
double matrix_row(const ReferenceWeight& w, uint32_t e, size_t m, const double* x, std::vector<float>& scratch) {
  scratch.resize(w.cols());
  w.decode_row(e, m, scratch.data());
  double sum = 0.0;
  for (size_t i = 0; i < w.cols(); ++i) sum += static_cast<double>(scratch[i]) * x[i];
  return sum;
}

void softmax(std::vector<double>& values) {
  const double largest = *std::max_element(values.begin(), values.end());
  double sum = 0.0;
  for (double& v : values) sum += v = std::exp(v - largest);
  for (double& v : values) v /= sum;
}

/// Indices of the `count` largest values, best first; equal values: the lower index.
std::vector<uint32_t> top(const std::vector<double>& values, uint32_t count) {
  std::vector<uint32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return values[a] > values[b] || (values[a] == values[b] && a < b);
  });
  order.resize(count);
  return order;
}

/// Group-limited routing: experts outside the best groups are out. A group counts as its two best (sigmoid router,
/// DeepSeek-V3) or its best (softmax router, DeepSeek-V2).
void keep_best_groups(std::vector<double>& scores, const MoeSpec& spec) {
  const uint32_t size = spec.experts / spec.expert_groups;
  std::vector<double> groups(spec.expert_groups);
  for (uint32_t g = 0; g < spec.expert_groups; ++g) {
    std::vector<double> members(scores.begin() + g * size, scores.begin() + (g + 1) * size);
    std::sort(members.rbegin(), members.rend());
    groups[g] = members[0] + (spec.router == RouterKind::kSigmoid && size > 1 ? members[1] : 0.0);
  }
  std::vector<bool> kept(spec.expert_groups, false);
  for (const uint32_t g : top(groups, spec.top_groups)) kept[g] = true;
  for (uint32_t e = 0; e < spec.experts; ++e) {
    if (!kept[e / size]) scores[e] = -INFINITY;
  }
}

std::vector<Choice> route(std::vector<double> logits, const MoeSpec& spec) {
  std::vector<double> weights = logits;
  if (spec.router == RouterKind::kSoftmaxThenTopK) softmax(weights);
  if (spec.router == RouterKind::kSigmoid) {
    for (double& w : weights) w = 1.0 / (1.0 + std::exp(-w));
  }
  std::vector<double> scores = weights;
  if (spec.select_bias) {
    for (uint32_t e = 0; e < spec.experts; ++e) scores[e] += static_cast<double>(as_reference(*spec.select_bias).vector()[e]);
  }
  if (spec.expert_groups > 1) keep_best_groups(scores, spec);
  std::vector<Choice> chosen;
  std::vector<double> picked;
  for (const uint32_t e : top(scores, spec.top_k)) {
    chosen.push_back({e, weights[e]});
    picked.push_back(weights[e]);
  }
  if (spec.router == RouterKind::kTopKThenSoftmax) {
    softmax(picked);
    for (size_t i = 0; i < picked.size(); ++i) chosen[i].weight = picked[i];
  }
  if (spec.normalise) {
    double sum = 0.0;
    for (const Choice& c : chosen) sum += c.weight;
    for (Choice& c : chosen) c.weight /= std::max(sum, 1e-20);
  }
  for (Choice& c : chosen) c.weight *= static_cast<double>(spec.weight_scale);
  return chosen;
}

double bias_of(const Weight* bias, uint32_t expert, size_t index, size_t size) {
  return bias ? static_cast<double>(as_reference(*bias).vector()[expert * size + index]) : 0.0;
}

}  // namespace

void ReferenceStream::moe(Mat y, Mat x, const MoeSpec& spec) noexcept {
  if (!same_shape(y, x, "moe: shapes differ")) return;
  if (!check(spec.gate_inp && spec.up && spec.down && spec.top_k > 0 && spec.top_k <= spec.experts &&
                 spec.gate_inp->rows() == spec.experts && spec.gate_inp->cols() == x.cols &&
                 spec.up->experts() == spec.experts && spec.up->cols() == x.cols && spec.down->rows() == y.cols &&
                 spec.down->cols() == spec.up->rows() && spec.expert_groups > 0 &&
                 spec.experts % spec.expert_groups == 0 && spec.top_groups <= spec.expert_groups,
             "moe: weights do not fit each other")) {
    return;
  }
  const size_t hidden = spec.up->rows();
  std::vector<double> in(x.cols), middle(hidden), logits(spec.experts), out(y.cols);
  std::vector<float> scratch;
  for (size_t t = 0; t < x.rows; ++t) {
    for (size_t i = 0; i < x.cols; ++i) in[i] = static_cast<double>(x.data[t * x.stride + i]);
    for (uint32_t e = 0; e < spec.experts; ++e) {
      logits[e] = matrix_row(as_reference(*spec.gate_inp), 0, e, in.data(), scratch) +
                  bias_of(spec.gate_inp_bias, 0, e, spec.experts);
    }
    std::fill(out.begin(), out.end(), 0.0);
    for (const Choice& choice : route(logits, spec)) {
      const uint32_t e = choice.expert;
      for (size_t m = 0; m < hidden; ++m) {
        const double up = matrix_row(as_reference(*spec.up), e, m, in.data(), scratch) + bias_of(spec.up_bias, e, m, hidden);
        if (spec.gate == nullptr) {
          middle[m] = activation(spec.activation, up);
          continue;
        }
        const double gate =
            matrix_row(as_reference(*spec.gate), e, m, in.data(), scratch) + bias_of(spec.gate_bias, e, m, hidden);
        middle[m] = gated_activation(spec.activation, gate, up);
      }
      for (size_t i = 0; i < y.cols; ++i) {
        out[i] += choice.weight * (matrix_row(as_reference(*spec.down), e, i, middle.data(), scratch) +
                                   bias_of(spec.down_bias, e, i, y.cols));
      }
    }
    for (size_t i = 0; i < y.cols; ++i) {
      float& to = y.data[t * y.stride + i];
      to = static_cast<float>(static_cast<double>(to) + out[i]);
    }
  }
}

}  // namespace kvasir::reference
