// One answer in the making: from logits to tokens, text, stop conditions and the result. Knows nothing of threads,
// pages or other requests. Owned by an EngineInstance; engine thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/engine/messages.h"
#include "core/engine/prompt_builder.h"
#include "core/engine/text_assembler.h"

namespace kvasir {

/// When what happened, for Timings. `load` is time spent waiting for the model.
struct RequestTimes {
  TimePoint arrived;
  std::optional<TimePoint> first_step, first_token, last_token;
  Milliseconds load{0};
};
/// `computed`: prompt tokens not taken from the cache.
Timings timings_of(const RequestTimes& times, TimePoint now, uint64_t computed, uint64_t completed);

class Generation {
 public:
  /// `tokenizer` outlives this. `context`: tokens that prompt and answer may have together.
  Generation(const Generate& request, const PreparedPrompt& prompt, SamplingParams params, const Tokenizer& tokenizer,
             uint32_t context);

  /// Tokens that may still be made of the prompt's length on: 0 means that the prompt is only computed.
  uint32_t room() const noexcept { return room_; }
  /// Samples from one row of logits (scratch afterwards). Errors: kBackend if there is no finite logit.
  struct Step {
    TokenId token = 0;
    std::string delta;
    std::optional<FinishReason> finish;
  };
  Result<Step> accept(std::span<float> logits, std::span<const TokenId> history);
  /// How many candidates of a row choose the same token as all its logits; 0: all are needed.
  uint32_t candidates() const noexcept { return want_logprobs_ || digest_logits_ ? 0 : sampler_.candidates(); }
  /// The same from a row's candidates; at least candidates() of them, or the whole vocabulary.
  Result<Step> accept(std::span<const Candidate> best, std::span<const TokenId> history);
  /// Why it ends when the prompt was computed and room() is 0.
  FinishReason reason_without_room() const noexcept;
  uint64_t completion_tokens() const noexcept { return tokens_.size(); }

  /// Ends it: `tail` is the text that was held back, to be sent before the result.
  struct End {
    std::string tail;
    GenerateResult result;
  };
  End finish(FinishReason reason, uint64_t cached_tokens, const RequestTimes& times, TimePoint now);
  /// What there is after every Generate::partial_every tokens, or as soon behind them as no token stands for text that
  /// is not certain yet; else nothing.
  std::optional<GenerateResult> partial(uint64_t cached_tokens, const RequestTimes& times, TimePoint now);

 private:
  GenerateResult describe(FinishReason reason, uint64_t cached_tokens, const RequestTimes& times, TimePoint now) const;
  Step take(TokenId token, bool thinks);
  void record(std::span<const float> logits, TokenId token);
  void describe_context(GenerateResult& result) const;
  bool ends(TokenId token) const;
  std::optional<FinishReason> finish_reason(TokenId token) const;
  std::optional<TokenId> next_forced();

  const Tokenizer& tokenizer_;
  GenerationId id_;
  uint32_t max_tokens_;
  uint32_t room_;
  uint64_t prompt_tokens_;
  uint64_t dropped_bytes_;
  uint32_t top_logprobs_;
  bool want_logprobs_, return_tokens_, ignore_eos_, digest_logits_;
  Sampler sampler_;
  std::optional<uint32_t> reasoning_budget_;
  std::vector<TokenId> closing_;
  size_t next_closing_ = 0;  ///< of closing_; not 0: the thought was cut
  uint64_t reasoning_tokens_ = 0;
  TextAssembler text_;
  PreparedPrompt prompt_;  // its ids only for a session, which stores them
  bool in_session_;
  uint32_t partial_every_;
  uint64_t next_partial_;
  TextAssemblerOptions text_options_;
  std::string answer_;
  std::vector<TokenId> tokens_;
  std::vector<LogprobEntry> logprobs_;
  std::vector<uint64_t> digests_;
  std::vector<float> raw_logits_;  // the sampler works in place; log-probabilities want the untouched row
};

/// One score_text in the making.
class Scoring {
 public:
  Scoring(const ScoreText& request, PreparedScore prepared);
  /// The ids whose rows must be computed: the last one only if somebody asks what comes after it.
  std::vector<TokenId> tokens_to_compute() const;
  uint32_t first_row() const noexcept { return prepared_.first_scored - 1; }
  /// The logits of the row of token `index`.
  void accept(uint32_t index, std::span<const float> logits);
  ScoreResult result();

 private:
  GenerationId id_;
  uint32_t top_;
  PreparedScore prepared_;
  ScoreResult result_;
};

}  // namespace kvasir
