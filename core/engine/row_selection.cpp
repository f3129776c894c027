#include "core/engine/row_selection.h"

#include <algorithm>
#include <numeric>

namespace kvasir {
namespace {

constexpr uint32_t kPoolReach = 2;  // SnapKV's pooling over 5 neighbours: a token is kept together with what it stands in

/// Sum over heads, then the mean of each row and its neighbours.
std::vector<float> pooled(const std::vector<float>& mass, uint32_t rows) {
  std::vector<float> sum(rows, 0.0F);
  for (size_t i = 0; i < mass.size(); ++i) sum[i % rows] += mass[i];
  std::vector<float> out(rows);
  for (uint32_t row = 0; row < rows; ++row) {
    const uint32_t first = row - std::min(row, kPoolReach), last = std::min(rows - 1, row + kPoolReach);
    for (uint32_t i = first; i <= last; ++i) out[row] += sum[i];
    out[row] /= static_cast<float>(last - first + 1);
  }
  return out;
}

/// The same in [0, 1) for the same (seed, row): splitmix64's finaliser.
float random_score(uint64_t seed, uint32_t row) {
  uint64_t x = seed + (uint64_t{row} + 1) * 0x9E3779B97F4A7C15U;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return static_cast<float>((x ^ (x >> 31)) >> 40) / static_cast<float>(1U << 24);
}

/// Pinned and recent rows, and of the others those with the highest score; the newer one on ties.
std::string best_rows(const RowChoice& choice, const std::vector<float>& scores) {
  std::string bitmap((size_t{choice.source_tokens} + 7) / 8, '\0');
  const uint32_t begin = choice.pinned, end = choice.source_tokens - choice.recent;
  for (uint32_t row = 0; row < begin; ++row) keep_row(bitmap, row);
  for (uint32_t row = end; row < choice.source_tokens; ++row) keep_row(bitmap, row);
  std::vector<uint32_t> order(end - begin);
  std::iota(order.begin(), order.end(), begin);
  const auto wanted = static_cast<std::ptrdiff_t>(choice.kept_tokens - choice.pinned - choice.recent);
  std::nth_element(order.begin(), order.begin() + std::min<std::ptrdiff_t>(wanted, std::ssize(order)), order.end(),
                   [&](uint32_t a, uint32_t b) { return scores[a] != scores[b] ? scores[a] > scores[b] : a > b; });
  for (const uint32_t row : std::span(order).first(static_cast<size_t>(wanted))) keep_row(bitmap, row);
  return bitmap;
}

}  // namespace

Result<ContextEdit> choose_rows(const RowChoice& choice, std::span<const std::vector<float>> masses) {
  ContextEdit edit{.source_tokens = choice.source_tokens, .kept_tokens = choice.kept_tokens, .rows = {}};
  if (choice.rule == KeepRule::kAll) {
    if (edit.kept_tokens != edit.source_tokens) return Failure{Code::kInvalidArgument, "all rows stay or none"};
    return edit;
  }
  if (edit.kept_tokens > edit.source_tokens || uint64_t{choice.pinned} + choice.recent > edit.kept_tokens) {
    return Failure{Code::kInvalidArgument, "more rows must stay than may"};
  }
  std::vector<float> scores(edit.source_tokens);
  if (choice.rule == KeepRule::kAttention) {
    for (const std::vector<float>& mass : masses) {
      if (mass.empty() || mass.size() % edit.source_tokens != 0) return Failure{Code::kInternal, "attention of other rows"};
      edit.rows.push_back(best_rows(choice, pooled(mass, edit.source_tokens)));
    }
    return edit;
  }
  for (uint32_t row = 0; row < edit.source_tokens; ++row) {
    scores[row] = choice.rule == KeepRule::kWindow ? static_cast<float>(row) : random_score(choice.seed, row);
  }
  edit.rows.push_back(best_rows(choice, scores));
  return edit;
}

}  // namespace kvasir
