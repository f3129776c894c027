// Sampling as asked, completed: argument, then the model file's recommendation, then Kvasir's defaults (decisions.md
// 20). Pure.
#pragma once

#include "core/engine/messages.h"

namespace kvasir {

/// `drawn_seed` is used where the request names none. Ranges are not checked here: validate() does.
SamplingParams resolve_sampling(const SamplingRequest& request, const RecommendedSampling& recommended,
                                uint64_t drawn_seed);
/// A seed from the operating system, at most 2^53 - 1 so that it survives a trip through any JSON reader.
uint64_t draw_seed();

}  // namespace kvasir
