#include "sessions/compression/quality.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

namespace kvasir {
namespace {

using Top = std::vector<std::pair<TokenId, float>>;

/// KL over the full context's listed tokens and, as one more event, everything else. A token that the compressed
/// context does not list counts as likely as the last one it does: a lower bound, and said to be one.
double divergence(const Top& full, const Top& compressed) {
  std::map<TokenId, double> other(compressed.begin(), compressed.end());
  double floor = 0;
  for (const auto& [id, logprob] : compressed) floor = std::min(floor, static_cast<double>(logprob));
  double sum = 0;
  double rest_full = 1;
  double rest_other = 1;
  for (const auto& [id, logprob] : full) {
    const double p = std::exp(static_cast<double>(logprob));
    const auto found = other.find(id);
    const double log_q = found != other.end() ? found->second : floor;
    sum += p * (static_cast<double>(logprob) - log_q);
    rest_full -= p;
    rest_other -= std::exp(log_q);
  }
  constexpr double kTiny = 1e-9;
  rest_full = std::max(rest_full, kTiny);
  rest_other = std::max(rest_other, kTiny);
  return std::max(0.0, sum + rest_full * std::log(rest_full / rest_other));
}

}  // namespace

Result<QualityReport> compare_scores(const ScoreResult& full, const ScoreResult& compressed) {
  if (full.tokens != compressed.tokens || full.tokens.empty() || full.top.size() != full.tokens.size() ||
      compressed.top.size() != full.tokens.size()) {
    return Failure{Code::kInternal, "the two contexts scored different tokens"};
  }
  QualityReport out;
  out.scored = full.tokens.size();
  const auto count = static_cast<double>(out.scored);
  out.dnll = (compressed.nll - full.nll) / count;
  std::vector<double> kl;
  double agree = 0;
  for (size_t i = 0; i < full.top.size(); ++i) {
    kl.push_back(divergence(full.top[i], compressed.top[i]));
    out.kl_mean += kl.back() / count;
    const bool same = !full.top[i].empty() && !compressed.top[i].empty() &&
                      full.top[i].front().first == compressed.top[i].front().first;
    agree += same ? 1 : 0;
  }
  std::ranges::sort(kl);
  out.kl_p95 = kl[std::min(kl.size() - 1, kl.size() * 95 / 100)];
  out.top1_agree = agree / count;
  return out;
}

}  // namespace kvasir
