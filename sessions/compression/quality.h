// What a compression cost: the same last tokens scored with the full and with the compressed context (compression.md
// §4.3). Pure.
#pragma once

#include <cstdint>

#include "core/engine/messages.h"

namespace kvasir {

struct QualityReport {
  uint64_t scored = 0;             ///< tokens compared
  double dnll = 0;                 ///< nats per token that the compressed context is worse
  double kl_mean = 0, kl_p95 = 0;  ///< of the full one's distribution from the compressed one's, over the top tokens
  double top1_agree = 0;           ///< share of positions with the same likeliest token
};

/// Both scored the same tokens with the same `top`. Errors: kInternal when they did not.
Result<QualityReport> compare_scores(const ScoreResult& full, const ScoreResult& compressed);

}  // namespace kvasir
