// Ops with state per sequence: causal convolution, the selective scan of Mamba-2, the gated delta rule. Straight loops
// over the rows of each sequence, in parallel over channels or heads; the state lives in the KvPool's slots.
#include <cmath>
#include <cstring>

#include "backends/cpu/cpu_stream.h"

namespace kvasir::cpu {
namespace {

/// A sequence's rows and its state.
struct StateRows {
  uint32_t first_row, n_rows;
  float* state;
};

struct ConvArgs {
  Mat y, x;
  const float* taps;  // [channels][n_taps]
  const float* bias;
  uint32_t n_taps;
  Activation activation;
  const StateRows* sequences;
  uint32_t sequence_count;

  static void channel(const ConvArgs& a, const StateRows& s, uint32_t c) {
    const uint32_t past = a.n_taps - 1;
    const float* taps = a.taps + uint64_t{c} * a.n_taps;
    float* state = s.state + uint64_t{c} * past;  // oldest first
    for (uint32_t i = 0; i < s.n_rows; ++i) {
      const float x = row_of(a.x, s.first_row + i)[c];
      float sum = a.bias != nullptr ? a.bias[c] : 0.0F;
      for (uint32_t t = 0; t < past; ++t) sum += taps[t] * state[t];
      sum += taps[past] * x;
      for (uint32_t t = 0; t + 1 < past; ++t) state[t] = state[t + 1];
      if (past > 0) state[past - 1] = x;
      row_of(a.y, s.first_row + i)[c] = sum;
    }
  }
  static void run(const ConvArgs& a, const OpContext& context) {
    constexpr uint32_t kGroup = 16;  // channels per item: a cache line of each row
    const uint64_t groups = (a.x.cols + kGroup - 1) / kGroup;
    const uint64_t items = groups * a.sequence_count;
    for (uint64_t i = context.worker.begin(items); i < context.worker.end(items); ++i) {
      const StateRows& s = a.sequences[i / groups];
      const auto first = static_cast<uint32_t>(i % groups * kGroup);
      const uint32_t count = a.x.cols - first < kGroup ? a.x.cols - first : kGroup;
      for (uint32_t c = first; c < first + count; ++c) channel(a, s, c);
      if (a.activation == Activation::kIdentity) continue;
      for (uint32_t r = 0; r < s.n_rows; ++r) {
        float* y = row_of(a.y, s.first_row + r) + first;
        context.kernels.activate(y, y, count, static_cast<ActivationIndex>(a.activation));
      }
    }
  }
};

struct ScanArgs {
  Mat y, x, b, c, dt;
  uint32_t heads, head_dim, state_dim, groups;
  const float* a;
  const float* d;
  const float* dt_bias;
  const StateRows* sequences;
  uint32_t sequence_count;

  static void head(const ScanArgs& a, const StateRows& s, uint32_t h) {
    const uint32_t n = a.state_dim;
    const uint32_t group = h / (a.heads / a.groups);
    float* state = s.state + uint64_t{h} * a.head_dim * n;  // [head_dim][state_dim]
    for (uint32_t i = 0; i < s.n_rows; ++i) {
      const uint32_t row = s.first_row + i;
      const float raw = row_of(a.dt, row)[h] + (a.dt_bias != nullptr ? a.dt_bias[h] : 0.0F);
      const float dt = raw > 20.0F ? raw : std::log1p(std::exp(raw));
      const float decay = std::exp(dt * a.a[h]);
      const float* x = row_of(a.x, row) + uint64_t{h} * a.head_dim;
      const float* b = row_of(a.b, row) + uint64_t{group} * n;
      const float* c = row_of(a.c, row) + uint64_t{group} * n;
      float* y = row_of(a.y, row) + uint64_t{h} * a.head_dim;
      for (uint32_t p = 0; p < a.head_dim; ++p) {
        float* sp = state + uint64_t{p} * n;
        const float in = dt * x[p];
        float sum = 0.0F;
        for (uint32_t j = 0; j < n; ++j) {
          sp[j] = sp[j] * decay + in * b[j];
          sum += sp[j] * c[j];
        }
        y[p] = sum + (a.d != nullptr ? a.d[h] * x[p] : 0.0F);
      }
    }
  }
  static void run(const ScanArgs& a, const OpContext& context) {
    const uint64_t items = uint64_t{a.heads} * a.sequence_count;
    for (uint64_t i = context.worker.begin(items); i < context.worker.end(items); ++i) {
      head(a, a.sequences[i / a.heads], static_cast<uint32_t>(i % a.heads));
    }
  }
};

struct DeltaArgs {
  Mat y, q, k, v, g, beta;
  uint32_t k_heads, v_heads, k_dim, v_dim;
  const StateRows* sequences;
  uint32_t sequence_count;

  static void head(const DeltaArgs& a, const StateRows& s, uint32_t h, float* change) {
    const uint32_t k_head = h / (a.v_heads / a.k_heads);
    float* state = s.state + uint64_t{h} * a.k_dim * a.v_dim;  // [k_dim][v_dim]
    for (uint32_t i = 0; i < s.n_rows; ++i) {
      const uint32_t row = s.first_row + i;
      const float* q = row_of(a.q, row) + uint64_t{k_head} * a.k_dim;
      const float* k = row_of(a.k, row) + uint64_t{k_head} * a.k_dim;
      const float* v = row_of(a.v, row) + uint64_t{h} * a.v_dim;
      float* y = row_of(a.y, row) + uint64_t{h} * a.v_dim;
      const float decay = std::exp(row_of(a.g, row)[h]);
      const float beta = row_of(a.beta, row)[h];
      std::memset(change, 0, a.v_dim * sizeof(float));
      for (uint32_t r = 0; r < a.k_dim; ++r) {
        float* sr = state + uint64_t{r} * a.v_dim;
        for (uint32_t j = 0; j < a.v_dim; ++j) {
          sr[j] *= decay;
          change[j] += sr[j] * k[r];
        }
      }
      for (uint32_t j = 0; j < a.v_dim; ++j) change[j] = beta * (v[j] - change[j]);
      std::memset(y, 0, a.v_dim * sizeof(float));
      for (uint32_t r = 0; r < a.k_dim; ++r) {
        float* sr = state + uint64_t{r} * a.v_dim;
        for (uint32_t j = 0; j < a.v_dim; ++j) {
          sr[j] += k[r] * change[j];
          y[j] += sr[j] * q[r];
        }
      }
    }
  }
  static void run(const DeltaArgs& a, const OpContext& context) {
    const uint64_t items = uint64_t{a.v_heads} * a.sequence_count;
    for (uint64_t i = context.worker.begin(items); i < context.worker.end(items); ++i) {
      head(a, a.sequences[i / a.v_heads], static_cast<uint32_t>(i % a.v_heads), reinterpret_cast<float*>(context.scratch));
    }
  }
};

bool fits(const Weight* w, uint64_t size) noexcept {
  return w == nullptr || (cpu_weight(*w).is_vector() && w->rows() * w->cols() == size);
}

}  // namespace

bool CpuStream::state_usable(uint32_t state_layer, uint64_t first, uint64_t floats) noexcept {
  if (!require(pool_ != nullptr && state_layer < pool_->spec().state_floats.size() && first <= pool_->spec().state_floats[state_layer] &&
                   floats <= pool_->spec().state_floats[state_layer] - first,
               "recurrent state is too small")) {
    return false;
  }
  for (const SequenceRows& s : layout_->sequences) {
    if (!require(s.state_slot < pool_->spec().state_slots, "no such state slot")) return false;
  }
  return true;
}

Span CpuStream::state_span(uint32_t state_layer) const noexcept {
  const float* at = pool_->state(0, state_layer);
  return {at, at + 1};  // stands for this layer's state of all sequences
}

template <class Rows>
const Rows* CpuStream::state_rows(uint32_t state_layer, uint32_t state_offset) noexcept {
  auto* rows = take<Rows>(layout_->sequences.size());
  for (size_t i = 0; rows != nullptr && i < layout_->sequences.size(); ++i) {
    const SequenceRows& s = layout_->sequences[i];
    rows[i] = {s.first_row, s.n_rows, pool_->state(s.state_slot, state_layer) + state_offset};
  }
  return rows;
}

void CpuStream::conv(Mat y, Mat x, const ConvSpec& spec) noexcept {
  if (!has_data(y) || !has_data(x) || !require(spec.taps != nullptr, "conv: no taps")) return;
  const uint64_t n_taps = spec.taps->cols();
  if (!require(cpu_weight(*spec.taps).is_vector() && spec.taps->rows() == x.cols && y.cols == x.cols && y.rows == x.rows &&
                   x.rows == layout_->rows && fits(spec.bias, x.cols) && n_taps > 0 && spec.activation != Activation::kSwigluOai,
               "conv: shapes differ") ||
      !state_usable(spec.state_layer, spec.state_offset, uint64_t{x.cols} * (n_taps - 1))) {
    return;
  }
  const auto* sequences = state_rows<StateRows>(spec.state_layer, spec.state_offset);
  if (sequences == nullptr) return;
  record(ConvArgs{y, x, cpu_weight(*spec.taps).values(), values_or_null(spec.bias), static_cast<uint32_t>(n_taps), spec.activation, sequences,
                  static_cast<uint32_t>(layout_->sequences.size())},
         {span_of(x), state_span(spec.state_layer)}, {span_of(y), state_span(spec.state_layer)});
}

void CpuStream::scan(Mat y, Mat x, Mat b, Mat c, Mat dt, const ScanSpec& spec) noexcept {
  if (!has_data(y) || !has_data(x) || !has_data(b) || !has_data(c) || !has_data(dt)) return;
  const uint64_t width = uint64_t{spec.heads} * spec.head_dim;
  const uint64_t group_width = uint64_t{spec.groups} * spec.state_dim;
  if (!require(spec.heads > 0 && spec.groups > 0 && spec.heads % spec.groups == 0 && x.cols == width && y.cols == width && b.cols == group_width &&
                   c.cols == group_width && dt.cols == spec.heads && y.rows == layout_->rows && x.rows == y.rows && b.rows == y.rows && c.rows == y.rows &&
                   dt.rows == y.rows && spec.a_log_or_a != nullptr && fits(spec.a_log_or_a, spec.heads) && fits(spec.d, spec.heads) &&
                   fits(spec.dt_bias, spec.heads),
               "scan: shapes differ") ||
      !state_usable(spec.state_layer, spec.state_offset, width * spec.state_dim)) {
    return;
  }
  const auto* sequences = state_rows<StateRows>(spec.state_layer, spec.state_offset);
  if (sequences == nullptr) return;
  record(ScanArgs{y, x, b, c, dt, spec.heads, spec.head_dim, spec.state_dim, spec.groups, values_or_null(spec.a_log_or_a), values_or_null(spec.d),
                  values_or_null(spec.dt_bias), sequences, static_cast<uint32_t>(layout_->sequences.size())},
         {span_of(x), span_of(b), span_of(c), span_of(dt), state_span(spec.state_layer)}, {span_of(y), state_span(spec.state_layer)});
}

void CpuStream::delta(Mat y, Mat q, Mat k, Mat v, Mat g, Mat beta, const DeltaSpec& spec) noexcept {
  for (const Mat m : {y, q, k, v, g, beta}) {
    if (!has_data(m) || !require(m.rows == layout_->rows, "delta: shapes differ")) return;
  }
  const uint64_t k_width = uint64_t{spec.k_heads} * spec.k_dim;
  const uint64_t v_width = uint64_t{spec.v_heads} * spec.v_dim;
  if (!require(spec.k_heads > 0 && spec.v_heads % spec.k_heads == 0 && q.cols == k_width && k.cols == k_width && v.cols == v_width && y.cols == v_width &&
                   g.cols == spec.v_heads && beta.cols == spec.v_heads,
               "delta: shapes differ") ||
      !state_usable(spec.state_layer, spec.state_offset, v_width * spec.k_dim)) {
    return;
  }
  const auto* sequences = state_rows<StateRows>(spec.state_layer, spec.state_offset);
  if (sequences == nullptr) return;
  need_scratch(spec.v_dim * sizeof(float));
  record(DeltaArgs{y, q, k, v, g, beta, spec.k_heads, spec.v_heads, spec.k_dim, spec.v_dim, sequences,
                   static_cast<uint32_t>(layout_->sequences.size())},
         {span_of(q), span_of(k), span_of(v), span_of(g), span_of(beta), state_span(spec.state_layer)}, {span_of(y), state_span(spec.state_layer)});
}

}  // namespace kvasir::cpu
