// One step of an engine: from prepared prompts to planned rows, and from logits to tokens and results.
#include <algorithm>
#include <utility>

#include "core/base/log.h"
#include "core/engine/engine_instance.h"
#include "core/engine/sampling_defaults.h"

namespace kvasir {
namespace {

// A step should not last longer than this: it is how late a cancel, another's token or a heartbeat can be.
constexpr double kSharedStepMs = 200;
constexpr double kLonelyStepMs = 500;
constexpr uint32_t kSmallestStepRows = 16;
constexpr uint32_t kScoreRows = 64;

Failure prompt_too_long(size_t tokens, uint32_t context) {
  return {Code::kTooLarge, "the prompt has " + std::to_string(tokens) + " tokens and the context holds " +
                               std::to_string(context) + ": shorten it by " + std::to_string(tokens - context) + " tokens"};
}

}  // namespace

Result<void> EngineInstance::begin_sequence(uint64_t serial, Request& request,
                                            std::variant<PreparedPrompt, PreparedScore> prompt) {
  SeqRequest sequence;
  sequence.id = serial;
  sequence.deadline = request.deadline;
  if (std::holds_alternative<CompareContexts>(request.work)) {
    KVASIR_TRY(begin_comparison(request, sequence));
  } else if (auto* score = std::get_if<PreparedScore>(&prompt)) {
    KVASIR_TRY(begin_scoring(request, std::move(*score), sequence));
    KVASIR_TRY(place_in_cache(request, {}, sequence));
  } else if (auto& prepared = std::get<PreparedPrompt>(prompt); std::holds_alternative<CompressContext>(request.work)) {
    KVASIR_TRY(begin_compression(request, prepared, sequence));
  } else {
    KVASIR_TRY(begin_generation(request, prepared, sequence));
    sequence.tokens = std::move(prepared.tokens);
    KVASIR_TRY(place_in_cache(request, prepared.stages, sequence));
  }
  request.prompt_tokens = static_cast<uint32_t>(sequence.tokens.size());
  request.stage = Stage::kScheduled;
  if (sequence.tokens.empty()) {  // one token and nothing asked about what follows it
    complete(requests_.find(serial));
    return {};
  }
  KVASIR_TRY(scheduler_->admit(std::move(sequence)));
  counters_.prompt_tokens.fetch_add(request.prompt_tokens, std::memory_order_relaxed);
  if (request.paused) scheduler_->pause(serial);
  return {};
}

Result<void> EngineInstance::begin_generation(Request& request, const PreparedPrompt& prompt, SeqRequest& sequence) {
  const Generate& generate = std::get<Generate>(request.work);
  const Tokenizer& tokenizer = model_->model->tokenizer();
  const auto length = static_cast<uint32_t>(prompt.tokens.size());
  const uint32_t context = context_behind(prompt.stages);
  if (prompt.tokens.size() > context) return prompt_too_long(prompt.tokens.size(), context);
  SamplingParams params = resolve_sampling(generate.sampling, model_->model->description().sampling, draw_seed());
  KVASIR_TRY(validate(params, model_->model->description().vocab_size));
  request.generation = std::make_unique<Generation>(generate, prompt, std::move(params), tokenizer, context);
  sequence.max_tokens = length + request.generation->room();
  sequence.generates = request.generation->room() > 0;
  sequence.logits_from = length;
  sequence.priority = generate.priority;
  return {};
}

Result<void> EngineInstance::begin_scoring(Request& request, PreparedScore prompt, SeqRequest& sequence) {
  if (prompt.tokens.size() > context_) return prompt_too_long(prompt.tokens.size(), context_);
  request.scoring = std::make_unique<Scoring>(std::get<ScoreText>(request.work), std::move(prompt));
  sequence.tokens = request.scoring->tokens_to_compute();
  sequence.max_tokens = static_cast<uint32_t>(sequence.tokens.size());
  sequence.generates = false;
  sequence.logits_from = request.scoring->first_row();
  return {};
}

StepBudget EngineInstance::budget() const {
  StepBudget out{.rows = limits_.max_step_rows, .score_rows = kScoreRows};
  if (ms_per_row_ <= 0) return out;
  const double target = scheduler_->running() + scheduler_->waiting() > 1 ? kSharedStepMs : kLonelyStepMs;
  const auto rows = static_cast<uint32_t>(std::min(target / ms_per_row_, static_cast<double>(limits_.max_step_rows)));
  const auto decodes = static_cast<uint32_t>(scheduler_->decoding());
  out.rows = std::min(limits_.max_step_rows, std::max(rows, kSmallestStepRows) + decodes);
  return out;
}

/// Enough for every row of the step, if the backend can choose candidates and nobody needs all logits; else 0.
uint32_t EngineInstance::candidates_wanted(const StepPlan& plan) const {
  uint32_t most = 0;
  for (const PlannedRows& part : plan.parts) {
    if (part.logit_rows() == 0) continue;
    const Request& request = requests_.at(part.id);
    const uint32_t wanted = request.generation ? request.generation->candidates() : 0;
    if (wanted == 0) return 0;
    most = std::max(most, wanted);
  }
  return most <= runner_->most_candidates() ? most : 0;
}

bool EngineInstance::step() {
  const TimePoint started = clock_.now();
  const StepPlan plan = scheduler_->plan(budget(), started, {.admitted = [this](SeqId serial) { restore_pages(serial); },
                                                             .parked = [this](SeqId serial) { park_pages(serial); }});
  for (const SeqId serial : plan.expired) {
    if (const auto request = requests_.find(serial); request != requests_.end()) finish(request, FinishReason::kTimeLimit);
  }
  if (plan.empty()) return false;
  for (const PlannedRows& part : plan.parts) {
    Request& request = requests_.at(part.id);
    if (request.times.first_step) continue;
    request.times.first_step = started;
    request.cached_tokens = scheduler_->reused_tokens(part.id);
    counters_.cached_tokens.fetch_add(request.cached_tokens, std::memory_order_relaxed);
  }
  candidates_ = candidates_wanted(plan);
  const auto computed = runner_->run(plan, *scheduler_, captures(plan), candidates_);
  if (!computed) {
    on_backend_error(plan, computed.error());
    return true;
  }
  scheduler_->apply(plan);
  count_step(plan, clock_.now() - started);
  make_bases(plan);
  deliver(plan);
  return true;
}

void EngineInstance::count_step(const StepPlan& plan, Milliseconds took) {
  constexpr double kWeight = 0.25;
  if (plan.rows >= kSmallestStepRows) {
    const double per_row = took.count() / plan.rows;
    ms_per_row_ = ms_per_row_ <= 0 ? per_row : ms_per_row_ + kWeight * (per_row - ms_per_row_);
  }
  const PlannedRows& first = plan.parts.front();
  if (plan.parts.size() == 1 && first.count == first.guesses + 1) guess_policy_.measured(first.count, took.count());
  counters_.steps.fetch_add(1, std::memory_order_relaxed);
  counters_.rows.fetch_add(plan.rows, std::memory_order_relaxed);
  counters_.sequences.fetch_add(plan.parts.size(), std::memory_order_relaxed);
  counters_.step_microseconds.fetch_add(static_cast<uint64_t>(took.count() * 1000), std::memory_order_relaxed);
  counters_.running = scheduler_->running();
  counters_.waiting = scheduler_->waiting();
  if (!scheduler_->kv().config().groups.empty()) counters_.kv_free_pages = scheduler_->kv().available(0);
}

void EngineInstance::deliver(const StepPlan& plan) {
  const TimePoint now = clock_.now();
  uint32_t row = 0;
  for (const PlannedRows& part : plan.parts) {
    const uint32_t first_row = row;
    row += part.logit_rows();
    const auto request = requests_.find(part.id);
    if (request == requests_.end()) continue;
    if (request->second.scoring) {
      for (uint32_t i = 0; i < part.logit_rows(); ++i) {
        request->second.scoring->accept(part.first + part.logits_from + i, runner_->logits(first_row + i));
      }
    } else if (request->second.comparison) {
      for (uint32_t i = 0; i < part.logit_rows(); ++i) {
        request->second.comparison->accept(part.first + part.logits_from + i, runner_->logits(first_row + i));
      }
    } else if (part.logit_rows() > 0) {
      deliver_tokens(request, part, first_row, now);
      continue;
    }
    if (scheduler_->phase(part.id) == SeqPhase::kComplete) complete(request);
  }
  counters_.running = scheduler_->running();
}

/// One row of logits, and one more for each guess that turned out to be the token.
void EngineInstance::deliver_tokens(Requests::iterator request, const PlannedRows& part, uint32_t first_row, TimePoint now) {
  const uint64_t serial = request->first;
  Request& r = request->second;
  r.guessed_tokens += part.guesses;
  counters_.guessed_tokens.fetch_add(part.guesses, std::memory_order_relaxed);
  for (uint32_t row = first_row;; ++row) {
    if (!deliver_token(request, row, now)) return;
    if (!scheduler_->take_guess(serial)) break;
    ++r.accepted_tokens;
    counters_.accepted_tokens.fetch_add(1, std::memory_order_relaxed);
  }
  report_partial(serial, r, now);
  guess(serial, r);
}

/// Every so many tokens of a session's answer: what a crash would leave of it, and its pages.
void EngineInstance::report_partial(SeqId serial, Request& request, TimePoint now) {
  auto so_far = request.generation->partial(request.cached_tokens, request.times, now);
  if (!so_far) return;
  so_far->model = model_->model->description().name;
  so_far->fingerprint = model_->model->description().fingerprint;
  save_pages(serial, request, Pages::kWhole);
  host_.post(PartialResult{.id = request.id, .so_far = std::move(*so_far)});
}

/// Guesses pay where memory is waited for: one sequence alone. The rows of others would be delayed by them.
void EngineInstance::guess(uint64_t serial, Request& request) {
  if (!key_.prompt_lookup || scheduler_->kv().config().state_slots > 0) return;  // a state cannot be taken back
  if (scheduler_->running() + scheduler_->waiting() > 1) return;
  const auto guesses = request.lookup.guess(scheduler_->tokens(serial), limits_.max_guesses);
  const uint32_t worth = guess_policy_.worth(request.lookup.right_share());
  scheduler_->guess(serial, guesses.first(std::min<size_t>(worth, guesses.size())));
}

/// True: the sequence goes on.
bool EngineInstance::deliver_token(Requests::iterator request, uint32_t row, TimePoint now) {
  const uint64_t serial = request->first;
  Request& r = request->second;
  const std::span<const TokenId> history = scheduler_->tokens(serial);
  auto accepted = candidates_ > 0 ? r.generation->accept(runner_->candidates(row), history) : r.generation->accept(runner_->logits(row), history);
  if (!accepted) {
    fail(request, accepted.error().code, accepted.error().message);
    return false;
  }
  r.lookup.learn(accepted->token);
  if (!r.times.first_token) r.times.first_token = now;
  r.times.last_token = now;
  counters_.completion_tokens.fetch_add(1, std::memory_order_relaxed);
  if (!accepted->delta.empty()) {
    host_.post(TextDelta{.id = r.id, .text = std::move(accepted->delta), .tokens_so_far = r.generation->completion_tokens()});
  }
  if (accepted->finish) {
    finish(request, *accepted->finish);
    return false;
  }
  scheduler_->append(serial, accepted->token);
  return true;
}

void EngineInstance::complete(Requests::iterator request) {
  Request& r = request->second;
  if (r.generation) return finish(request, r.generation->reason_without_room());
  if (r.compression) return finish_compression(request);
  if (r.comparison) return finish_comparison(request);
  host_.post(r.scoring->result());
  erase(request);
}

void EngineInstance::on_backend_error(const StepPlan& plan, const Error& error) {
  counters_.backend_errors.fetch_add(1, std::memory_order_relaxed);
  log::error("step_failed code=" + std::string(code_name(error.code)) + " message=" + error.message);
  for (const PlannedRows& part : plan.parts) {
    if (const auto request = requests_.find(part.id); request != requests_.end()) fail(request, error.code, error.message);
  }
  if (runner_->recover()) return;
  // No stream can be had any more: the next command loads afresh.
  while (!requests_.empty()) fail(requests_.begin(), error.code, error.message);
  unload();
}

}  // namespace kvasir
