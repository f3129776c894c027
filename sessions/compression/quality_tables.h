// A QualityReport for people: tables in Markdown with 95 % intervals, and a plot as SVG. Pure.
#pragma once

#include <string>

#include "sessions/compression/quality_bench.h"

namespace kvasir {

/// Middle and 95 % interval.
struct Interval {
  double middle = 0, low = 0, high = 0;
};
/// Of a share (Wilson 1927); nothing asked: 0 to 1.
Interval share_interval(uint64_t right, uint64_t asked);
/// Perplexity retained: 1 as good as the full context, 0 as none at all. By resampling spans.
Interval retained(const LikelihoodRow& row);
/// Nats per token that it costs, by resampling spans.
Interval cost(const LikelihoodRow& row);

/// Tables; recall is shown only where the full context answers at least four of five, else why not.
std::string to_markdown(const QualityReport& report);
/// Perplexity retained and needles found against the share removed.
std::string to_svg(const QualityReport& report);

}  // namespace kvasir
