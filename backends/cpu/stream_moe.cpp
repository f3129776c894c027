// Mixture of experts, with the routing inside: router logits, choice of experts per row, then rows sorted by expert so
// that each expert's matrices meet all their rows at once. A row's result does not depend on the others: its experts
// are multiplied as in linear() and added in the order of choice.
#include <algorithm>
#include <cmath>

#include "backends/cpu/cpu_stream.h"
#include "backends/cpu/format.h"

namespace kvasir::cpu {
namespace {

constexpr uint32_t kMaxExperts = 1024;

/// One (row, choice) pair after sorting by expert.
struct Assignment {
  uint32_t row, choice;
};

struct MoeOp {
  MoeSpec spec;
  Mat y, x, logits;
  uint32_t tile_columns;
  bool exact;               // Activations::kF32
  uint32_t* chosen;         // [rows][top_k]
  float* weights;           // [rows][top_k]
  Assignment* sorted;       // [rows * top_k] by expert
  uint32_t* expert_begin;   // [experts + 1] into sorted
  PackPlan plan_in, plan_mid;
  uint8_t* packed_in;
  uint8_t* packed_mid;
  Mat gate, up, down;       // [rows * top_k, F | F | K] in sorted order
  uint64_t kernel_scratch;

  uint64_t pairs() const { return uint64_t{x.rows} * spec.top_k; }
};

/// The scores by which experts compete, and those that weigh them.
void router_scores(const MoeOp& op, const float* logits, float* scores, float* choice) {
  const uint32_t n = op.spec.experts;
  if (op.spec.router == RouterKind::kSoftmaxThenTopK) {
    const float largest = *std::max_element(logits, logits + n);
    float sum = 0.0F;
    for (uint32_t e = 0; e < n; ++e) sum += scores[e] = std::exp(logits[e] - largest);
    for (uint32_t e = 0; e < n; ++e) scores[e] /= sum;
  } else if (op.spec.router == RouterKind::kSigmoid) {
    for (uint32_t e = 0; e < n; ++e) scores[e] = 1.0F / (1.0F + std::exp(-logits[e]));
  } else {
    std::copy_n(logits, n, scores);
  }
  const float* bias = values_or_null(op.spec.select_bias);
  for (uint32_t e = 0; e < n; ++e) choice[e] = bias != nullptr ? scores[e] + bias[e] : scores[e];
}

/// Group-limited routing (DeepSeek): only the best groups compete. A group counts by the sum of its two best where a
/// selection bias exists (V3), else by its best (V2).
void drop_groups(const MoeOp& op, float* choice) {
  const uint32_t groups = op.spec.expert_groups;
  if (groups <= 1 || op.spec.top_groups >= groups) return;
  const uint32_t size = op.spec.experts / groups;
  float value[kMaxExperts];
  bool kept[kMaxExperts] = {};
  for (uint32_t g = 0; g < groups; ++g) {
    float best = -INFINITY;
    float second = -INFINITY;
    for (uint32_t i = 0; i < size; ++i) {
      const float v = choice[g * size + i];
      if (v > best) {
        second = best;
        best = v;
      } else if (v > second) {
        second = v;
      }
    }
    value[g] = op.spec.select_bias != nullptr && size > 1 ? best + second : best;
  }
  for (uint32_t k = 0; k < op.spec.top_groups; ++k) {
    uint32_t best = groups;
    for (uint32_t g = 0; g < groups; ++g) {
      if (!kept[g] && (best == groups || value[g] > value[best])) best = g;
    }
    kept[best] = true;
  }
  for (uint32_t e = 0; e < op.spec.experts; ++e) {
    if (!kept[e / size]) choice[e] = -INFINITY;
  }
}

/// The top_k of one row, best first (the lower index wins a tie), and their weights.
void route_row(const MoeOp& op, uint64_t row) {
  float scores[kMaxExperts];
  float choice[kMaxExperts];
  const MoeSpec& spec = op.spec;
  router_scores(op, row_of(op.logits, row), scores, choice);
  drop_groups(op, choice);
  uint32_t* chosen = op.chosen + row * spec.top_k;
  float* weights = op.weights + row * spec.top_k;
  bool taken[kMaxExperts] = {};
  for (uint32_t k = 0; k < spec.top_k; ++k) {
    uint32_t best = spec.experts;
    for (uint32_t e = 0; e < spec.experts; ++e) {
      if (!taken[e] && (best == spec.experts || choice[e] > choice[best])) best = e;
    }
    taken[best] = true;
    chosen[k] = best;
    weights[k] = scores[best];
  }
  if (spec.router == RouterKind::kTopKThenSoftmax) {
    const float largest = *std::max_element(weights, weights + spec.top_k);
    float sum = 0.0F;
    for (uint32_t k = 0; k < spec.top_k; ++k) sum += weights[k] = std::exp(weights[k] - largest);
    for (uint32_t k = 0; k < spec.top_k; ++k) weights[k] /= sum;
  }
  if (spec.normalise) {
    float sum = 0.0F;
    for (uint32_t k = 0; k < spec.top_k; ++k) sum += weights[k];
    sum = std::max(sum, 1e-20F);
    for (uint32_t k = 0; k < spec.top_k; ++k) weights[k] /= sum;
  }
  for (uint32_t k = 0; k < spec.top_k; ++k) weights[k] *= spec.weight_scale;
}

struct RouteArgs {
  const MoeOp* op;
  static void run(const RouteArgs& a, const OpContext& context) {
    for (uint64_t row = context.worker.begin(a.op->x.rows); row < context.worker.end(a.op->x.rows); ++row) route_row(*a.op, row);
  }
};

struct SortArgs {
  const MoeOp* op;
  static void run(const SortArgs& a, const OpContext& context) {
    if (context.worker.index != 0) return;
    const MoeOp& op = *a.op;
    const uint32_t experts = op.spec.experts;
    std::fill_n(op.expert_begin, experts + 1, 0U);
    for (uint64_t i = 0; i < op.pairs(); ++i) ++op.expert_begin[op.chosen[i] + 1];
    for (uint32_t e = 0; e < experts; ++e) op.expert_begin[e + 1] += op.expert_begin[e];
    uint32_t next[kMaxExperts];
    std::copy_n(op.expert_begin, experts, next);
    for (uint64_t i = 0; i < op.pairs(); ++i) {
      op.sorted[next[op.chosen[i]]++] = {static_cast<uint32_t>(i / op.spec.top_k), static_cast<uint32_t>(i % op.spec.top_k)};
    }
  }
};

/// The tile that sorted pair `i` of expert `e` belongs to.
struct PairPlace {
  uint64_t first;  // packed row where its tile begins
  uint32_t columns, column;
};
PairPlace place_of(const MoeOp& op, uint32_t expert, uint64_t pair) {
  const uint32_t begin = op.expert_begin[expert];
  const uint32_t count = op.expert_begin[expert + 1] - begin;
  const uint32_t tiles = tile_count(count, op.tile_columns);
  const auto at = static_cast<uint32_t>(pair - begin);
  for (uint32_t t = 0; t < tiles; ++t) {
    const TileSpan span = tile_span(count, tiles, t);
    if (at < span.first + span.count) return {begin + span.first, span.count, at - span.first};
  }
  return {};
}

uint32_t expert_of(const MoeOp& op, uint64_t pair) {
  const Assignment& a = op.sorted[pair];
  return op.chosen[uint64_t{a.row} * op.spec.top_k + a.choice];
}

/// Packs x for the first product, or act(gate) * up for the second.
struct PackPairsArgs {
  const MoeOp* op;
  bool middle;
  static void run(const PackPairsArgs& a, const OpContext& context) {
    const MoeOp& op = *a.op;
    const PackPlan& plan = a.middle ? op.plan_mid : op.plan_in;
    const PackedRows packed = packed_at(plan, op.pairs(), a.middle ? op.packed_mid : op.packed_in);
    auto* made = reinterpret_cast<float*>(context.scratch);
    const auto act = static_cast<ActivationIndex>(op.spec.activation);
    for (uint64_t i = context.worker.begin(op.pairs()); i < context.worker.end(op.pairs()); ++i) {
      const PairPlace place = place_of(op, expert_of(op, i), i);
      const float* row = made;
      if (!a.middle) row = row_of(op.x, op.sorted[i].row);
      else if (op.spec.gate != nullptr) context.kernels.gated(made, row_of(op.gate, i), row_of(op.up, i), plan.k, act);
      else context.kernels.activate(made, row_of(op.up, i), plan.k, act);
      pack_row(context.kernels, plan, packed, place.first, place.columns, place.column, row);
    }
  }
};

/// Multiplies every expert's rows with one of its matrices. Each thread takes its share of the panels of each expert.
struct ExpertLinearArgs {
  const MoeOp* op;
  const CpuWeight* weight;
  const CpuWeight* bias;
  Mat y;
  bool middle;
  static void run(const ExpertLinearArgs& a, const OpContext& context) {
    const MoeOp& op = *a.op;
    const PackPlan& plan = a.middle ? op.plan_mid : op.plan_in;
    const PackedRows packed = packed_at(plan, op.pairs(), a.middle ? op.packed_mid : op.packed_in);
    LinearArgs args;
    args.y_stride = a.y.stride;
    args.scratch = context.scratch;
    const uint64_t panels = a.weight->panels();
    for (uint32_t e = 0; e < op.spec.experts; ++e) {
      const uint64_t begin = op.expert_begin[e];
      args.columns = static_cast<uint32_t>(op.expert_begin[e + 1] - begin);
      if (args.columns == 0) continue;
      args.tiles = tile_count(args.columns, op.tile_columns);
      args.panels = a.weight->panel(e, 0);
      args.y = row_of(a.y, begin);
      args.bias = a.bias == nullptr ? nullptr : a.bias->values() + e * a.weight->rows();  // [experts][rows], in one matrix
      multiply_panels(context.kernels, plan, packed, begin, *a.weight, op.exact, args, context.worker.begin(panels), context.worker.end(panels), 0,
                      args.tiles);
    }
  }
};

/// y[row] += weight * down[pair], in the order of choice.
struct CombineArgs {
  const MoeOp* op;
  const uint32_t* place;  // [rows * top_k] sorted index of each pair
  static void run(const CombineArgs& a, const OpContext& context) {
    const MoeOp& op = *a.op;
    for (uint64_t row = context.worker.begin(op.y.rows); row < context.worker.end(op.y.rows); ++row) {
      for (uint32_t k = 0; k < op.spec.top_k; ++k) {
        const uint64_t pair = row * op.spec.top_k + k;
        context.kernels.add(row_of(op.y, row), row_of(op.down, a.place[pair]), op.weights[pair], op.y.cols);
      }
    }
  }
};

struct InvertArgs {
  const MoeOp* op;
  uint32_t* place;
  static void run(const InvertArgs& a, const OpContext& context) {
    const MoeOp& op = *a.op;
    for (uint64_t i = context.worker.begin(op.pairs()); i < context.worker.end(op.pairs()); ++i) {
      a.place[uint64_t{op.sorted[i].row} * op.spec.top_k + op.sorted[i].choice] = static_cast<uint32_t>(i);
    }
  }
};

template <class T>
Span span_of_n(const T* p, uint64_t n) noexcept {
  return {p, p + n};
}

}  // namespace

bool CpuStream::moe_usable(Mat y, Mat x, const MoeSpec& spec) noexcept {
  if (!has_data(y) || !has_data(x)) return false;
  if (!require(spec.gate_inp != nullptr && spec.up != nullptr && spec.down != nullptr, "moe: a weight is missing")) return false;
  if (!require(spec.experts > 0 && spec.experts <= kMaxExperts && spec.top_k > 0 && spec.top_k <= spec.experts, "moe: number of experts")) return false;
  if (!require(spec.expert_groups > 0 && spec.experts % spec.expert_groups == 0 && spec.top_groups > 0 &&
                   uint64_t{spec.experts} / spec.expert_groups * spec.top_groups >= spec.top_k,
               "moe: expert groups")) {
    return false;
  }
  const uint64_t k = x.cols;
  const uint64_t f = spec.up->rows();
  bool fits = y.rows == x.rows && y.cols == k && spec.gate_inp->rows() == spec.experts && spec.gate_inp->cols() == k;
  for (const Weight* w : {spec.gate, spec.up, spec.down}) {
    if (w == nullptr) continue;
    fits = fits && !cpu_weight(*w).is_vector() && w->experts() == spec.experts;
    fits = fits && (w == spec.down ? w->rows() == k && w->cols() == f : w->rows() == f && w->cols() == k);
  }
  const std::pair<const Weight*, uint64_t> vectors[] = {{spec.gate_bias, f}, {spec.up_bias, f}, {spec.down_bias, k}, {spec.select_bias, 1}, {spec.gate_inp_bias, 1}};
  for (const auto& [w, size] : vectors) {
    if (w != nullptr) fits = fits && cpu_weight(*w).is_vector() && w->experts() * w->rows() * w->cols() == size * spec.experts;
  }
  return require(fits, "moe: shapes differ");
}

void CpuStream::moe(Mat y, Mat x, const MoeSpec& spec) noexcept {
  if (!moe_usable(y, x, spec) || x.rows == 0) return;
  MoeOp op{};
  op.spec = spec;
  op.y = y;
  op.x = x;
  op.tile_columns = kernels_.tile_columns;
  op.exact = exact_;
  op.logits = alloc(x.rows, spec.experts);
  const LinearSpec router{.y = op.logits, .weight = spec.gate_inp, .bias = spec.gate_inp_bias};
  linear(std::span(&router, 1), x);

  const uint64_t pairs = op.pairs();
  const auto f = static_cast<uint32_t>(spec.up->rows());
  const auto rows = static_cast<uint32_t>(pairs);
  op.chosen = take<uint32_t>(pairs);
  op.weights = take<float>(pairs);
  op.sorted = take<Assignment>(pairs);
  op.expert_begin = take<uint32_t>(spec.experts + 1);
  if (spec.gate != nullptr) op.gate = alloc(rows, f);
  op.up = alloc(rows, f);
  op.down = alloc(rows, x.cols);
  op.plan_in.k = x.cols;
  op.plan_mid.k = f;
  for (const Weight* w : {spec.gate, spec.up}) {
    if (w != nullptr) plan_for(kernels_, cpu_weight(*w), exact_, op.plan_in);
  }
  plan_for(kernels_, cpu_weight(*spec.down), exact_, op.plan_mid);
  op.packed_in = take<uint8_t>(packed_bytes(op.plan_in, pairs));
  op.packed_mid = take<uint8_t>(packed_bytes(op.plan_mid, pairs));
  auto* place = take<uint32_t>(pairs);
  for (const Weight* w : {spec.gate, spec.up, spec.down}) {
    if (w != nullptr) need_scratch(linear_scratch_bytes(cpu_weight(*w).format(), w->cols(), exact_));
  }
  need_scratch(f * sizeof(float));
  const MoeOp* kept = keep(op);
  if (error_ || kept == nullptr) return;

  const Span routed = span_of_n(op.chosen, pairs);
  const Span sorted = span_of_n(op.sorted, pairs);
  const Span in = span_of_n(op.packed_in, packed_bytes(op.plan_in, pairs));
  const Span mid = span_of_n(op.packed_mid, packed_bytes(op.plan_mid, pairs));
  const Span places = span_of_n(place, pairs);
  record(RouteArgs{kept}, {span_of(op.logits)}, {routed});
  record(SortArgs{kept}, {routed}, {sorted});
  record(InvertArgs{kept, place}, {sorted}, {places});
  record(PackPairsArgs{kept, false}, {sorted, span_of(x)}, {in});
  auto expert_linear = [&](const Weight* w, const Weight* bias, Mat to, bool middle) {
    record(ExpertLinearArgs{kept, &cpu_weight(*w), bias == nullptr ? nullptr : &cpu_weight(*bias), to, middle}, {middle ? mid : in, sorted}, {span_of(to)});
  };
  if (spec.gate != nullptr) expert_linear(spec.gate, spec.gate_bias, op.gate, false);
  expert_linear(spec.up, spec.up_bias, op.up, false);
  record(PackPairsArgs{kept, true}, {sorted, span_of(op.gate), span_of(op.up)}, {mid});
  expert_linear(spec.down, spec.down_bias, op.down, true);
  record(CombineArgs{kept, place}, {places, routed, span_of(op.down), span_of(y)}, {span_of(y)});
}

}  // namespace kvasir::cpu
