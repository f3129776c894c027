// The prompt of a generation: a session's stored ids continued by what is new (decisions.md 21), and what an overflow
// policy takes out when that is more than the context holds. Nothing is removed without a word: PreparedPrompt says
// what and why. Pure functions; side worker.
#pragma once

#include <cstdint>
#include <string>

#include "core/engine/prompt_builder.h"

namespace kvasir {

/// What the loaded model offers.
struct ContextFacts {
  uint32_t context = 0;
  uint32_t positions = 0;  ///< that the model can tell apart
  std::string fingerprint;
};

/// Errors: kTooLarge when no policy makes it fit, kInvalidArgument (what to change), and those of prepare_prompt().
Result<PreparedPrompt> prepare_generation(const Generate& request, const TextTools& tools, const EngineLimits& limits,
                                          const ContextFacts& facts);

/// The context to compress, and behind it what will be asked.
Result<PreparedPrompt> prepare_compression(const CompressContext& request, const TextTools& tools,
                                           const EngineLimits& limits, const ContextFacts& facts);

}  // namespace kvasir
