// Rotary embedding, the KV cache and attention of the reference stream.
#include <algorithm>
#include <cmath>

#include "backends/reference/reference_stream.h"
#include "backends/reference/reference_weight.h"

namespace kvasir::reference {

void ReferenceStream::rope(Mat x, uint32_t heads, const RopeSpec& spec) noexcept {
  if (spec.kind == RopeKind::kNone) return;
  if (!check(heads > 0 && x.cols % heads == 0 && x.rows == layout_.rows, "rope: columns are no multiple of heads")) return;
  const uint32_t size = x.cols / heads, pairs = spec.dims / 2;
  if (!check(spec.dims % 2 == 0 && spec.offset + spec.dims <= size && spec.inverse_frequency.size() == pairs,
             "rope: dims do not fit the head")) {
    return;
  }
  const uint32_t step = spec.kind == RopeKind::kInterleaved ? 2 : 1;
  const uint32_t partner = spec.kind == RopeKind::kInterleaved ? 1 : pairs;
  for (uint32_t t = 0; t < x.rows; ++t) {
    for (uint32_t i = 0; i < pairs; ++i) {
      const double angle = static_cast<double>(position(t)) * static_cast<double>(spec.inverse_frequency[i]);
      const double c = std::cos(angle) * static_cast<double>(spec.magnitude);
      const double s = std::sin(angle) * static_cast<double>(spec.magnitude);
      for (uint32_t h = 0; h < heads; ++h) {
        float* pair = x.data + t * x.stride + h * size + spec.offset + i * step;
        const double a = static_cast<double>(pair[0]), b = static_cast<double>(pair[partner]);
        pair[0] = static_cast<float>(a * c - b * s);
        pair[partner] = static_cast<float>(a * s + b * c);
      }
    }
  }
}

float* ReferenceStream::cache_row(const SequenceRows& sequence, uint32_t kv_layer, uint32_t slot) noexcept {
  const uint32_t group = pool_->spec().layers[kv_layer].group;
  const uint32_t index = slot / kPageTokens;
  const bool there = group < sequence.pages.size() && index < sequence.pages[group].size() &&
                     pool_->valid_page(group, sequence.pages[group][index]);
  if (!check(there && !is_aged(sequence.pages[group][index]), "KV page of a needed slot is missing or aged")) return nullptr;
  return pool_->row(kv_layer, sequence.pages[group][index], slot % kPageTokens);
}

bool ReferenceStream::read_cache(const SequenceRows& sequence, uint32_t kv_layer, uint32_t slot, std::vector<float>& into) noexcept {
  const KvLayerSpec& layer = pool_->spec().layers[kv_layer];
  const uint32_t index = slot / kPageTokens;
  const bool there = layer.group < sequence.pages.size() && index < sequence.pages[layer.group].size() &&
                     pool_->valid_page(layer.group, sequence.pages[layer.group][index]);
  if (!check(there, "KV page of a needed slot is missing")) return false;
  into.resize(static_cast<size_t>(layer.n_kv_heads) * (layer.k_dim + layer.v_dim));
  pool_->read_row(kv_layer, sequence.pages[layer.group][index], slot % kPageTokens, into);
  return true;
}

void ReferenceStream::store_kv(uint32_t kv_layer, Mat k, Mat v) noexcept {
  if (!check(pool_ != nullptr && kv_layer < pool_->spec().layers.size(), "store_kv: no such KV layer")) return;
  const KvLayerSpec& layer = pool_->spec().layers[kv_layer];
  const uint32_t k_cols = layer.n_kv_heads * layer.k_dim, v_cols = layer.n_kv_heads * layer.v_dim;
  if (!check(k.rows == layout_.rows && k.cols == k_cols && v.cols == v_cols && (v_cols == 0 || v.rows == k.rows),
             "store_kv: shapes differ")) {
    return;
  }
  for (const SequenceRows& sequence : layout_.sequences) {
    for (uint32_t i = 0; i < sequence.n_rows; ++i) {
      float* cache = cache_row(sequence, kv_layer, sequence.first_slot + i);
      if (cache == nullptr) return;
      const size_t t = sequence.first_row + i;
      std::copy_n(k.data + t * k.stride, k_cols, cache);
      if (v_cols > 0) std::copy_n(v.data + t * v.stride, v_cols, cache + k_cols);
      for (uint32_t h = 0; h < layer.n_kv_heads; ++h) {
        pool_->round({cache + h * layer.k_dim, layer.k_dim});
        pool_->round({cache + k_cols + h * layer.v_dim, layer.v_dim});
      }
    }
  }
}

/// The weights scores / sum of row `t` join what the caller wants to know.
bool ReferenceStream::add_mass(AttentionMass& mass, uint32_t t, uint32_t kv_layer, uint32_t kv_head, uint32_t first_slot,
                               const std::vector<double>& scores, double sum) noexcept {
  if (t < mass.first_row || t >= mass.first_row + mass.n_rows) return true;
  const size_t heads = pool_->spec().layers[kv_layer].n_kv_heads;
  if (!check(kv_layer < mass.layers.size() && mass.layers[kv_layer].size() == heads * mass.slots, "no place for attention mass")) {
    return false;
  }
  for (size_t i = 0; i < scores.size() && first_slot + i < mass.slots; ++i) {
    mass.layers[kv_layer][size_t{kv_head} * mass.slots + first_slot + i] += static_cast<float>(scores[i] / sum);
  }
  return true;
}

void ReferenceStream::attention(Mat y, Mat q, const AttentionSpec& spec) noexcept {
  if (!check(pool_ != nullptr && spec.kv_layer < pool_->spec().layers.size(), "attention: no such KV layer")) return;
  const KvLayerSpec& layer = pool_->spec().layers[spec.kv_layer];
  const uint32_t v_dim = layer.v_dim > 0 ? layer.v_dim : spec.v_dim;
  if (!check(spec.n_heads > 0 && spec.n_heads % layer.n_kv_heads == 0 && q.cols == spec.n_heads * layer.k_dim &&
                 y.cols == spec.n_heads * v_dim && v_dim > 0 && y.rows == q.rows && q.rows == layout_.rows &&
                 (layer.v_dim > 0 || v_dim <= layer.k_dim),
             "attention: shapes differ")) {
    return;
  }
  if (!is_vector(spec.sinks, spec.n_heads, "attention: sinks have another size")) return;
  const uint32_t group = spec.n_heads / layer.n_kv_heads;
  std::vector<double> scores;
  std::vector<const float*> cache;
  for (const SequenceRows& sequence : layout_.sequences) {
    // Every row that is looked at, decoded once.
    std::vector<std::vector<float>> rows(sequence.n_rows > 0 ? sequence.first_slot + sequence.n_rows : 0);
    const uint32_t start = spec.window > 0 && sequence.first_slot + 1 > spec.window ? sequence.first_slot + 1 - spec.window : 0;
    for (uint32_t slot = start; slot < rows.size(); ++slot) {
      if (!read_cache(sequence, spec.kv_layer, slot, rows[slot])) return;
    }
    for (uint32_t i = 0; i < sequence.n_rows; ++i) {
      const uint32_t own = sequence.first_slot + i;
      const uint32_t first = spec.window > 0 && own + 1 > spec.window ? own + 1 - spec.window : 0;
      cache.clear();
      for (uint32_t slot = first; slot <= own; ++slot) cache.push_back(rows[slot].data());
      const size_t t = sequence.first_row + i;
      for (uint32_t h = 0; h < spec.n_heads; ++h) {
        const uint32_t kv = h / group;
        const float* query = q.data + t * q.stride + h * layer.k_dim;
        // With a sink its logit takes part in the maximum and in the sum, but has no value.
        double largest = spec.sinks ? static_cast<double>(as_reference(*spec.sinks).vector()[h]) : -INFINITY;
        scores.clear();
        for (const float* row : cache) {
          double score = 0.0;
          for (uint32_t d = 0; d < layer.k_dim; ++d) {
            score += static_cast<double>(query[d]) * static_cast<double>(row[kv * layer.k_dim + d]);
          }
          score *= static_cast<double>(spec.scale);
          if (spec.soft_cap > 0.0F) {
            score = static_cast<double>(spec.soft_cap) * std::tanh(score / static_cast<double>(spec.soft_cap));
          }
          largest = std::max(largest, score);
          scores.push_back(score);
        }
        double sum = spec.sinks ? std::exp(static_cast<double>(as_reference(*spec.sinks).vector()[h]) - largest) : 0.0;
        for (double& score : scores) sum += score = std::exp(score - largest);
        for (AttentionMass* mass : layout_.masses) {
          if (!add_mass(*mass, static_cast<uint32_t>(t), spec.kv_layer, kv, first, scores, sum)) return;
        }
        // MLA keeps no values: they are the first v_dim numbers of each key.
        const size_t value_at = layer.v_dim > 0 ? layer.n_kv_heads * layer.k_dim + kv * layer.v_dim : kv * layer.k_dim;
        for (uint32_t d = 0; d < v_dim; ++d) {
          double value = 0.0;
          for (size_t s = 0; s < cache.size(); ++s) value += scores[s] * static_cast<double>(cache[s][value_at + d]);
          y.data[t * y.stride + h * v_dim + d] = static_cast<float>(value / sum);
        }
      }
    }
  }
}

}  // namespace kvasir::reference
