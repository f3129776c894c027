// How much rows look at each slot (StepLayout::masses): a second look at the same queries and keys, taken only when a
// context is compressed. One item per KV head; sums in the order of rows and heads, whatever the step or the threads.
#include <algorithm>
#include <cmath>

#include "backends/cpu/cpu_stream.h"

namespace kvasir::cpu {
namespace {

constexpr uint32_t kQueriesAtOnce = 32;  ///< share one decoding of the keys; bounds the scratch

struct MassOp {
  Mat q;
  AttentionSpec spec;
  const float* sinks;        // [n_heads] or null
  const PageId* pages;
  const CpuKvPool* pool;
  uint32_t kv_heads, k_dim;
  uint32_t row, rows, slot;  // first row of the step, how many, slot of the first
  uint32_t slots;
  float* mass;               // [kv_heads][slots]

  uint32_t group() const { return spec.n_heads / kv_heads; }
  uint32_t own(uint32_t query) const { return slot + query / group(); }
  uint32_t low(uint32_t query) const {
    return spec.window != 0 && own(query) + 1 > spec.window ? own(query) + 1 - spec.window : 0;
  }
  const float* query_of(uint32_t query, uint32_t kv_head) const {
    return row_of(q, row + query / group()) + (uint64_t{kv_head} * group() + query % group()) * k_dim;
  }

  /// Scores of queries [first, first + count) against every page they see: scores[query][slot].
  void score(uint32_t kv_head, uint32_t first, uint32_t count, float* keys, float* scores, uint64_t stride) const {
    const uint32_t last_page = own(first + count - 1) / kPageRows;
    for (uint32_t page = low(first) / kPageRows; page <= last_page; ++page) {
      pool->read_keys(spec.kv_layer, kv_head, pages[page], keys);
      for (uint32_t i = 0; i < count; ++i) {
        const float* query = query_of(first + i, kv_head);
        float* out = scores + i * stride + uint64_t{page} * kPageRows;
        std::fill_n(out, kPageRows, 0.0F);
        for (uint32_t d = 0; d < k_dim; ++d) {
          for (uint32_t j = 0; j < kPageRows; ++j) out[j] += query[d] * keys[uint64_t{d} * kPageRows + j];
        }
      }
    }
  }

  void add_weights(uint32_t kv_head, uint32_t query, float* scores) const {
    float largest = sinks != nullptr ? sinks[kv_head * group() + query % group()] : -INFINITY;
    const float sink = largest;
    for (uint32_t s = low(query); s <= own(query); ++s) {
      scores[s] *= spec.scale;
      if (spec.soft_cap > 0.0F) scores[s] = spec.soft_cap * std::tanh(scores[s] / spec.soft_cap);
      largest = std::max(largest, scores[s]);
    }
    double sum = sinks != nullptr ? std::exp(static_cast<double>(sink - largest)) : 0.0;
    for (uint32_t s = low(query); s <= own(query); ++s) {
      scores[s] = std::exp(scores[s] - largest);
      sum += static_cast<double>(scores[s]);
    }
    const auto factor = static_cast<float>(1.0 / sum);
    float* out = mass + uint64_t{kv_head} * slots;
    for (uint32_t s = low(query); s <= std::min(own(query), slots - 1); ++s) out[s] += scores[s] * factor;
  }

  static void run(const MassOp& a, const OpContext& context) {
    auto* keys = reinterpret_cast<float*>(context.scratch);
    float* scores = keys + uint64_t{a.k_dim} * kPageRows;
    const uint64_t stride = uint64_t{a.slot + a.rows + kPageRows - 1} / kPageRows * kPageRows;
    const uint32_t queries = a.rows * a.group();
    for (uint64_t head = context.worker.begin(a.kv_heads); head < context.worker.end(a.kv_heads); ++head) {
      for (uint32_t first = 0; first < queries; first += kQueriesAtOnce) {
        const uint32_t count = std::min(kQueriesAtOnce, queries - first);
        a.score(static_cast<uint32_t>(head), first, count, keys, scores, stride);
        for (uint32_t i = 0; i < count; ++i) a.add_weights(static_cast<uint32_t>(head), first + i, scores + i * stride);
      }
    }
  }
};

}  // namespace

void CpuStream::record_mass(Mat q, const AttentionSpec& spec, AttentionMass& mass) noexcept {
  const KvLayerSpec& layer = pool_->spec().layers[spec.kv_layer];
  const auto sequence = std::ranges::find_if(layout_->sequences, [&](const SequenceRows& s) {
    return s.first_row <= mass.first_row && mass.first_row + mass.n_rows <= s.first_row + s.n_rows;
  });
  if (!require(sequence != layout_->sequences.end() && mass.n_rows > 0 && mass.slots > 0, "attention mass: rows of no sequence") ||
      !require(spec.kv_layer < mass.layers.size() &&
                   mass.layers[spec.kv_layer].size() == uint64_t{layer.n_kv_heads} * mass.slots,
               "attention mass: no place for this layer")) {
    return;
  }
  const MassOp op{.q = q, .spec = spec, .sinks = values_or_null(spec.sinks), .pages = sequence->pages[layer.group].data(),
                  .pool = pool_, .kv_heads = layer.n_kv_heads, .k_dim = layer.k_dim, .row = mass.first_row,
                  .rows = mass.n_rows, .slot = sequence->first_slot + (mass.first_row - sequence->first_row),
                  .slots = mass.slots, .mass = mass.layers[spec.kv_layer].data()};
  const uint64_t seen = (uint64_t{op.slot} + op.rows + kPageRows - 1) / kPageRows * kPageRows;
  need_scratch(sizeof(float) * (uint64_t{op.k_dim} * kPageRows + kQueriesAtOnce * seen));
  const std::vector<float>& out = mass.layers[spec.kv_layer];
  record(op, {span_of(q), kv_span(spec.kv_layer)}, {Span{out.data(), out.data() + out.size()}});
}

}  // namespace kvasir::cpu
