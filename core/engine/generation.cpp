#include "core/engine/generation.h"

#include <xxhash.h>

#include <algorithm>
#include <utility>

namespace kvasir {
namespace {

double ms_between(TimePoint from, TimePoint to) { return std::max(0.0, Milliseconds(to - from).count()); }
double per_second(uint64_t count, double ms) { return ms > 0 ? static_cast<double>(count) * 1000.0 / ms : 0.0; }

TextAssemblerOptions text_options(const Generate& request, const PreparedPrompt& prompt) {
  return {.stops = request.stop,
          .reasoning = prompt.reasoning,
          .opened = prompt.opened,
          .controls = !request.prompt.tools_json.empty()};
}

/// The end of a thought as tokens.
std::vector<TokenId> closing_tokens(const PreparedPrompt& prompt, const Tokenizer& tokenizer) {
  if (!prompt.reasoning) return {};
  const std::string end = end_of_thought(*prompt.reasoning);
  if (const auto one = tokenizer.find(end)) return {*one};
  auto encoded = tokenizer.encode(std::string_view(end), {.parse_special = true, .prefix_space = false});
  return encoded ? std::move(encoded->ids) : std::vector<TokenId>();
}

/// A stop string cut the text: keeps the ids whose text is a beginning of it. Where a token reaches over the cut, that
/// text is a little shorter than what was shown; the next turn's prompt then brings the rest again.
void cut_answer(const Tokenizer& tokenizer, TextAssemblerOptions options, const std::string& shown,
                std::vector<TokenId>& answer, std::string& text) {
  options.stops.clear();
  TextAssembler assembler(tokenizer, std::move(options));
  std::string so_far;
  size_t kept = 0;
  text.clear();
  for (size_t i = 0; i < answer.size(); ++i) {
    so_far += assembler.push(answer[i]);
    if (so_far.size() > shown.size()) break;
    if (so_far.size() == text.size()) continue;
    text = so_far;
    kept = i + 1;
  }
  answer.resize(kept);
}

}  // namespace

Timings timings_of(const RequestTimes& times, TimePoint now, uint64_t computed, uint64_t completed) {
  Timings out;
  out.load_ms = times.load.count();
  const TimePoint started = times.first_step.value_or(now);
  out.queue_ms = std::max(0.0, ms_between(times.arrived, started) - out.load_ms);
  if (!times.first_step) return out;
  const TimePoint prefilled = times.first_token.value_or(now);
  out.prefill_ms = ms_between(started, prefilled);
  out.prefill_tok_s = per_second(computed, out.prefill_ms);
  if (!times.first_token) return out;
  out.ttft_ms = ms_between(times.arrived, *times.first_token);
  out.decode_ms = ms_between(*times.first_token, times.last_token.value_or(*times.first_token));
  out.decode_tok_s = completed > 1 ? per_second(completed - 1, out.decode_ms) : 0.0;
  return out;
}

Generation::Generation(const Generate& request, const PreparedPrompt& prompt, SamplingParams params,
                       const Tokenizer& tokenizer, uint32_t context)
    : tokenizer_(tokenizer),
      id_(request.id),
      max_tokens_(request.max_tokens),
      room_(std::min(request.max_tokens, context - std::min(context, static_cast<uint32_t>(prompt.tokens.size())))),
      prompt_tokens_(prompt.tokens.size()),
      dropped_bytes_(prompt.dropped_bytes),
      top_logprobs_(request.logprobs),
      want_logprobs_(request.want_logprobs),
      return_tokens_(request.return_tokens),
      ignore_eos_(request.ignore_eos),
      digest_logits_(request.digest_logits),
      sampler_(std::move(params)),
      reasoning_budget_(request.reasoning_budget),
      closing_(closing_tokens(prompt, tokenizer)),
      text_(tokenizer, text_options(request, prompt)),
      prompt_(prompt),
      in_session_(request.prompt.in_session),
      partial_every_(request.prompt.in_session ? request.partial_every : 0),
      next_partial_(partial_every_),
      text_options_(text_options(request, prompt)) {
  if (!in_session_) {
    prompt_.tokens = {};
    prompt_.context_text = {};
  }
}

FinishReason Generation::reason_without_room() const noexcept {
  return max_tokens_ == 0 ? FinishReason::kLength : FinishReason::kContextFull;
}

bool Generation::ends(TokenId token) const {
  return !ignore_eos_ && std::ranges::count(tokenizer_.end_tokens(), token) > 0;
}

void Generation::record(std::span<const float> logits, TokenId token) {
  TokenLogprob row = logprob_of(logits, token, top_logprobs_);
  const bool control = tokenizer_.kind(token) == TokenKind::kControl;
  logprobs_.push_back({.token = token,
                       .text = to_valid_utf8(control ? tokenizer_.token_text(token) : tokenizer_.token_bytes(token)),
                       .logprob = row.logprob,
                       .top = std::move(row.top)});
}

std::optional<FinishReason> Generation::finish_reason(TokenId token) const {
  if (ends(token) || text_.stop_sequence()) return FinishReason::kStop;
  if (tokens_.size() < room_) return std::nullopt;
  return tokens_.size() == max_tokens_ ? FinishReason::kLength : FinishReason::kContextFull;
}

/// The thought has had its share: its end is said for the model, which then goes on with the answer.
std::optional<TokenId> Generation::next_forced() {
  if (next_closing_ == 0 && !(text_.in_reasoning() && reasoning_budget_ && reasoning_tokens_ >= *reasoning_budget_)) {
    return std::nullopt;
  }
  if (next_closing_ == closing_.size()) return std::nullopt;
  return closing_[next_closing_++];
}

Result<Generation::Step> Generation::accept(std::span<float> logits, std::span<const TokenId> history) {
  if (digest_logits_) digests_.push_back(XXH3_64bits(logits.data(), logits.size_bytes()));
  if (want_logprobs_) raw_logits_.assign(logits.begin(), logits.end());
  const bool thinks = text_.in_reasoning();
  const std::optional<TokenId> forced = next_forced();
  const TokenId token = forced ? *forced : KVASIR_TRY(sampler_.sample(logits, history, tokens_.size(), history.size()));
  if (want_logprobs_) record(raw_logits_, token);
  return take(token, thinks);
}

Result<Generation::Step> Generation::accept(std::span<const Candidate> best, std::span<const TokenId> history) {
  const bool thinks = text_.in_reasoning();
  const std::optional<TokenId> forced = next_forced();
  const size_t wanted = candidates();
  return take(forced ? *forced : KVASIR_TRY(sampler_.sample_best(best.first(std::min(wanted, best.size())), history.size())), thinks);
}

/// `thinks`: whether the answer was inside a thought before it.
Generation::Step Generation::take(TokenId token, bool thinks) {
  tokens_.push_back(token);
  Step step{.token = token, .delta = {}, .finish = {}};
  if (!ends(token)) step.delta = text_.push(token);
  if (thinks || text_.in_reasoning()) ++reasoning_tokens_;
  answer_ += step.delta;
  step.finish = finish_reason(token);
  return step;
}

Generation::End Generation::finish(FinishReason reason, uint64_t cached_tokens, const RequestTimes& times, TimePoint now) {
  End end;
  end.tail = text_.finish();
  answer_ += end.tail;
  end.result = describe(reason, cached_tokens, times, now);
  if (return_tokens_) end.result.tokens = tokens_;
  end.result.logprobs = std::move(logprobs_);
  end.result.logit_digests = std::move(digests_);
  return end;
}

std::optional<GenerateResult> Generation::partial(uint64_t cached_tokens, const RequestTimes& times, TimePoint now) {
  if (partial_every_ == 0 || tokens_.size() < next_partial_ || text_.holds_back()) return std::nullopt;
  next_partial_ = tokens_.size() + partial_every_;
  return describe(FinishReason::kCancelled, cached_tokens, times, now);
}

GenerateResult Generation::describe(FinishReason reason, uint64_t cached_tokens, const RequestTimes& times,
                                    TimePoint now) const {
  GenerateResult result;
  result.id = id_;
  result.text = answer_;
  result.finish_reason = reason;
  result.stop_sequence = reason == FinishReason::kStop ? text_.stop_sequence() : std::nullopt;
  result.reasoning = text_.reasoning();
  result.usage = {.prompt_tokens = prompt_tokens_, .cached_tokens = cached_tokens, .completion_tokens = tokens_.size(),
                  .reasoning_tokens = reasoning_tokens_};
  result.reasoning_cut = next_closing_ > 0;
  result.timings = timings_of(times, now, prompt_tokens_ - std::min(prompt_tokens_, cached_tokens), tokens_.size());
  result.sampling = sampler_.params();
  result.seed = result.sampling.seed;
  result.dropped_bytes = dropped_bytes_;
  result.truncated = prompt_.truncated;
  result.ignored = prompt_.ignored;
  result.history_note = prompt_.history_note;
  if (in_session_) describe_context(result);
  return result;
}

void Generation::describe_context(GenerateResult& result) const {
  std::vector<TokenId> answer = tokens_;
  if (!answer.empty() && ends(answer.back())) answer.pop_back();  // the template writes the end of a turn itself
  result.answer_text = result.text;
  if (result.reasoning || text_.left_out_markers()) {
    if (auto all = tokenizer_.decode(answer, true)) result.answer_text = to_valid_utf8(*all);
  } else if (result.stop_sequence) {
    cut_answer(tokenizer_, text_options_, result.text, answer, result.answer_text);
  }
  result.context_tokens = prompt_.tokens;
  result.context_tokens.insert(result.context_tokens.end(), answer.begin(), answer.end());
  result.tokens_in_context = answer.size();
  result.context_text = prompt_.context_text;
  result.history_rewritten = prompt_.history_rewritten;
}

Scoring::Scoring(const ScoreText& request, PreparedScore prepared)
    : id_(request.id), top_(request.top), prepared_(std::move(prepared)) {
  const size_t first = std::min<size_t>(prepared_.first_scored, prepared_.tokens.size());
  result_.tokens.assign(prepared_.tokens.begin() + static_cast<std::ptrdiff_t>(first), prepared_.tokens.end());
  result_.logprobs.assign(result_.tokens.size(), 0.0F);
  if (top_ > 0) result_.top.resize(result_.tokens.size());
}

std::vector<TokenId> Scoring::tokens_to_compute() const {
  std::vector<TokenId> tokens = prepared_.tokens;
  if (top_ == 0) tokens.pop_back();
  return tokens;
}

void Scoring::accept(uint32_t index, std::span<const float> logits) {
  const size_t next = size_t{index} + 1;
  if (next == prepared_.tokens.size()) {
    result_.top_last = logprob_of(logits, 0, top_).top;
    return;
  }
  TokenLogprob row = logprob_of(logits, prepared_.tokens[next], top_);
  result_.logprobs[next - prepared_.first_scored] = row.logprob;
  if (top_ > 0) result_.top[next - prepared_.first_scored] = std::move(row.top);
}

ScoreResult Scoring::result() {
  result_.id = id_;
  for (const float logprob : result_.logprobs) result_.nll -= static_cast<double>(logprob);
  return std::move(result_);
}

}  // namespace kvasir
