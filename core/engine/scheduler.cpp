#include "core/engine/scheduler.h"

#include <algorithm>
#include <string>
#include <utility>

namespace kvasir {

/// What a plan has given to each running sequence so far.
struct Scheduler::Shares {
  uint32_t rows = 0;        // left in the budget
  uint32_t score_rows = 0;  // left of those with logits of scoring sequences
  std::vector<Sequence*> sequences;
  std::vector<uint32_t> given;

  static uint32_t logits_of(const Sequence& sequence, uint32_t count) {
    if (!sequence.last()) return 0;
    const uint32_t plain = sequence.logits_from - std::min(sequence.logits_from, sequence.table.length);
    return count - std::min(count, plain);
  }
  /// Gives up to `share` more rows to sequence `i`; returns how many.
  uint32_t give(size_t i, uint32_t share) {
    const Sequence& sequence = *sequences[i];
    uint32_t count = std::min({share, sequence.left() - given[i], rows});
    if (!sequence.generates) {
      const uint32_t before = logits_of(sequence, given[i]);
      const uint32_t wanted = logits_of(sequence, given[i] + count) - before;
      const uint32_t allowed = std::min(wanted, score_rows);
      count -= wanted - allowed;
      score_rows -= allowed;
    }
    given[i] += count;
    rows -= count;
    return count;
  }
};

Scheduler::Scheduler(KvPagesConfig pages, SchedulerLimits limits) : limits_(limits), kv_(std::move(pages)) {}

Result<void> Scheduler::admit(SeqRequest request) {
  if (request.tokens.empty()) return Failure{Code::kInvalidArgument, "a sequence needs at least one token"};
  if (sequences_.contains(request.id)) return Failure{Code::kInvalidArgument, "sequence id is already in use"};
  const auto length = static_cast<uint32_t>(request.tokens.size());
  const uint32_t max_tokens = std::max(request.max_tokens, length);
  Sequence sequence;
  sequence.stages = std::move(request.stages);
  sequence.base_tokens = request.base_tokens;
  sequence.position_shift = request.position_shift;
  sequence.root = request.root;
  sequence.max_tokens = max_tokens;
  if (const uint32_t slots = sequence.slots_from(0); !kv_.can_ever_hold(slots)) {
    return Failure{Code::kTooLarge, std::to_string(slots) + " tokens do not fit into the KV pages of this engine"};
  }
  sequence.tokens = std::move(request.tokens);
  sequence.logits_from = request.generates ? length - 1 : std::min(request.logits_from, length);
  sequence.generates = request.generates;
  sequence.priority = request.priority;
  sequence.compute_from = request.compute_from.value_or(request.generates ? length : sequence.logits_from);
  sequence.deadline = request.deadline;
  sequences_.emplace(request.id, std::move(sequence));
  waiting_.insert(turn_of(request.id));
  return {};
}

/// The longest paused; else the lowest priority below `who_waits`, and of those the latest.
bool Scheduler::preempt_one(Priority who_waits, const PlanHooks& hooks) {
  const auto before = [&](SeqId a, SeqId b) {
    const Sequence& x = sequences_.at(a);
    const Sequence& y = sequences_.at(b);
    if (x.paused != y.paused) return x.paused;
    return x.paused ? x.paused_since < y.paused_since : Turn{y.priority, b} < Turn{x.priority, a};
  };
  const auto victim = std::ranges::min_element(running_, before);
  if (victim == running_.end()) return false;
  const SeqId id = *victim;
  Sequence& sequence = sequences_.at(id);
  if (!sequence.paused && sequence.priority >= who_waits) return false;
  if (hooks.parked) hooks.parked(id);
  kv_.close(sequence.table);
  running_.erase(victim);
  if (!sequence.paused) waiting_.insert(turn_of(id));
  return true;
}

uint32_t Scheduler::Sequence::slots_from(size_t stage) const noexcept {
  uint64_t most = max_tokens;
  for (size_t i = stage; i < stages.size(); ++i) {
    const uint64_t pages = (stages[i].tokens.size() + kPageTokens - 1) / kPageTokens;
    const uint64_t entries = stages[i].kept_tokens / kPageTokens, parts = std::max(1U, stages[i].parts);
    most = std::max(most, (pages + (entries + parts - 1) / parts) * kPageTokens);
  }
  return static_cast<uint32_t>(std::min<uint64_t>(most, UINT32_MAX));
}

/// Gives it pages, in the stage that it is in.
bool Scheduler::open(Sequence& sequence) {
  sequence.table.root = sequence.root_of(sequence.at);
  sequence.table.base_tokens = sequence.base_of(sequence.at);
  return kv_.open(sequence.table, sequence.reusable(), sequence.slots_from(sequence.at));
}

void Scheduler::admit_waiting(StepPlan& plan, const PlanHooks& hooks) {
  while (!waiting_.empty()) {
    const SeqId id = waiting_.begin()->id;
    Sequence& sequence = sequences_.at(id);
    sequence.at = sequence.stages.size();
    while (sequence.at > 0 && !kv_.has_base(sequence.root_of(sequence.at))) --sequence.at;
    const auto fits = [&] { return running_.size() < limits_.max_sequences && open(sequence); };
    bool opened = fits();
    while (!opened && preempt_one(sequence.priority, hooks)) opened = fits();
    if (!opened) return;
    waiting_.erase(turn_of(id));
    running_.push_back(id);
    if (kv_.config().state_slots > 0) plan.fresh_states.push_back(sequence.table.state_slot);
    if (hooks.admitted) hooks.admitted(id);
    if (!std::exchange(sequence.seen, true)) sequence.reused = sequence.last() ? sequence.table.length : 0;
  }
}

void Scheduler::share_decodes(Shares& shares) {
  std::vector<size_t> decodes;
  for (size_t i = 0; i < shares.sequences.size(); ++i) {
    const Sequence& sequence = *shares.sequences[i];
    if (!sequence.paused && sequence.decodes()) decodes.push_back(i);
  }
  if (decodes.empty()) return;
  const size_t served = std::min<size_t>(decodes.size(), shares.rows);
  for (size_t n = 0; n < served; ++n) shares.give(decodes[(decode_turn_ + n) % decodes.size()], 1);
  decode_turn_ = (decode_turn_ + served) % decodes.size();
}

void Scheduler::share_prefills(Shares& shares) {
  for (const Priority priority : {Priority::kHigh, Priority::kNormal, Priority::kLow}) share_prefills(shares, priority);
}

void Scheduler::share_prefills(Shares& shares, Priority priority) {
  std::vector<size_t> hungry;
  for (size_t i = 0; i < shares.sequences.size(); ++i) {
    const Sequence& sequence = *shares.sequences[i];
    if (sequence.priority == priority && !sequence.paused && sequence.left() > 0 && !sequence.decodes()) hungry.push_back(i);
  }
  if (hungry.empty() || shares.rows == 0) return;
  std::rotate(hungry.begin(), hungry.begin() + static_cast<std::ptrdiff_t>(prefill_turn_ % hungry.size()), hungry.end());
  ++prefill_turn_;
  while (shares.rows > 0 && !hungry.empty()) {
    const uint32_t even = shares.rows / static_cast<uint32_t>(hungry.size());
    const uint32_t share = std::max({even, limits_.min_chunk, 1U});
    std::vector<size_t> still_hungry;
    for (const size_t i : hungry) {
      if (shares.give(i, share) == share && shares.given[i] < shares.sequences[i]->left()) still_hungry.push_back(i);
    }
    hungry = std::move(still_hungry);
  }
}

/// Guesses ride along with a decode row where rows are left and pages were promised.
uint32_t Scheduler::affordable_guesses(const Sequence& sequence, uint32_t rows_left) const {
  if (!sequence.decodes() || kv_.config().state_slots > 0) return 0;
  const size_t room = sequence.max_tokens - std::min<size_t>(sequence.max_tokens, sequence.tokens.size());
  return static_cast<uint32_t>(std::min({sequence.guesses.size(), room, size_t{rows_left}}));
}

void Scheduler::take_rows(SeqId id, Sequence& sequence, uint32_t count, uint32_t guesses, StepPlan& plan) {
  PlannedRows part{.id = id, .first = sequence.table.length, .count = count};
  const uint32_t logits_from =
      sequence.generates ? static_cast<uint32_t>(sequence.tokens.size()) - 1 : sequence.logits_from;
  part.logits_from = sequence.last() ? std::min(count, logits_from - std::min(logits_from, part.first)) : count;
  sequence.guesses.resize(guesses);
  part.guesses = guesses;
  part.count += guesses;
  kv_.extend(sequence.table, part.count, plan.copies);
  plan.rows += part.count;
  plan.logit_rows += part.logit_rows();
  plan.parts.push_back(part);
}

bool Scheduler::restore_page(SeqId id, uint32_t rows, const std::function<bool(const std::vector<PageId>&)>& fill) {
  Sequence& sequence = sequences_.at(id);
  PageTable& table = sequence.table;
  if (!table.open || table.length % kPageTokens != 0 || table.length + rows >= sequence.reusable().size()) return false;
  std::vector<PageCopy> copies;  // none: a whole page is new to everybody
  kv_.extend(table, rows, copies);
  std::vector<PageId> pages;
  for (const auto& group : table.pages) pages.push_back(group[table.length / kPageTokens]);
  if (!fill(pages)) return false;
  kv_.commit(table, rows, sequence.current());
  return true;
}

std::optional<size_t> Scheduler::stage_done(SeqId id) const {
  const auto found = sequences_.find(id);
  if (found == sequences_.end() || found->second.last() || !found->second.table.open || found->second.left() > 0) return {};
  return found->second.at;
}

std::optional<std::vector<PageId>> Scheduler::begin_base(SeqId id) {
  Sequence& sequence = sequences_.at(id);
  const SeqStage& stage = sequence.stages[sequence.at];
  return kv_.add_base(sequence.root_of(sequence.at + 1), stage.kept_tokens, stage.parts, &sequence.table);
}

void Scheduler::end_base(SeqId id) {
  Sequence& sequence = sequences_.at(id);
  kv_.close(sequence.table);
  ++sequence.at;
  if (open(sequence)) return;
  std::erase(running_, id);
  if (!sequence.paused) waiting_.insert(turn_of(id));
}

std::optional<std::vector<PageId>> Scheduler::add_base(const ChainHash& root, uint32_t tokens, uint32_t parts,
                                                       std::optional<SeqId> from) {
  return kv_.add_base(root, tokens, parts, from ? &sequences_.at(*from).table : nullptr);
}

KvPages::PartialPage Scheduler::partial_page(SeqId id) const {
  const Sequence& sequence = sequences_.at(id);
  return kv_.partial_page(sequence.table, sequence.reusable());
}

StepPlan Scheduler::plan(const StepBudget& budget, TimePoint now, const PlanHooks& hooks) {
  StepPlan plan;
  for (const auto& [id, sequence] : sequences_) {
    if (sequence.deadline && *sequence.deadline <= now) plan.expired.push_back(id);
  }
  for (const SeqId id : plan.expired) remove(id);
  admit_waiting(plan, hooks);
  Shares shares{.rows = std::min(budget.rows, kv_.config().max_step_rows), .score_rows = budget.score_rows,
                .sequences = {}, .given = {}};
  for (const SeqId id : running_) shares.sequences.push_back(&sequences_.at(id));
  shares.given.assign(shares.sequences.size(), 0);
  share_decodes(shares);
  share_prefills(shares);
  for (size_t i = 0; i < shares.given.size(); ++i) {
    if (shares.given[i] == 0) continue;
    const uint32_t guesses = affordable_guesses(*shares.sequences[i], shares.rows);
    shares.rows -= guesses;
    take_rows(running_[i], *shares.sequences[i], shares.given[i], guesses, plan);
  }
  return plan;
}

void Scheduler::apply(const StepPlan& plan) {
  for (const PlannedRows& part : plan.parts) {
    const auto found = sequences_.find(part.id);
    if (found == sequences_.end() || !found->second.table.open) continue;
    kv_.commit(found->second.table, part.count - part.guesses, found->second.current());
  }
}

void Scheduler::guess(SeqId id, std::span<const TokenId> tokens) {
  sequences_.at(id).guesses.assign(tokens.begin(), tokens.end());
}

void Scheduler::append(SeqId id, TokenId token) { sequences_.at(id).tokens.push_back(token); }

bool Scheduler::take_guess(SeqId id) {
  Sequence& sequence = sequences_.at(id);
  if (sequence.guesses.empty() || sequence.guesses.front() != sequence.tokens.back()) {
    sequence.guesses.clear();
    return false;
  }
  sequence.guesses.erase(sequence.guesses.begin());
  kv_.commit(sequence.table, 1, sequence.tokens);
  return true;
}

void Scheduler::remove(SeqId id) {
  const auto found = sequences_.find(id);
  if (found == sequences_.end()) return;
  if (found->second.table.open) {
    kv_.close(found->second.table);
    std::erase(running_, id);
  }
  waiting_.erase(turn_of(id));
  sequences_.erase(found);
}

void Scheduler::pause(SeqId id) {
  const auto found = sequences_.find(id);
  if (found == sequences_.end() || found->second.paused) return;
  found->second.paused = true;
  found->second.paused_since = ++pauses_;
  waiting_.erase(turn_of(id));
}

void Scheduler::resume(SeqId id) {
  const auto found = sequences_.find(id);
  if (found == sequences_.end() || !std::exchange(found->second.paused, false)) return;
  if (!found->second.table.open) waiting_.insert(turn_of(id));
}

SeqPhase Scheduler::phase(SeqId id) const {
  const Sequence& sequence = sequences_.at(id);
  if (!sequence.table.open) return SeqPhase::kWaiting;
  if (!sequence.last()) return SeqPhase::kPrefill;
  if (sequence.left() == 0) return sequence.generates ? SeqPhase::kDecode : SeqPhase::kComplete;
  return sequence.generates && sequence.left() == 1 ? SeqPhase::kDecode : SeqPhase::kPrefill;
}

bool Scheduler::awaits_token(SeqId id) const {
  const auto found = sequences_.find(id);
  return found != sequences_.end() && found->second.table.open && found->second.last() && found->second.generates &&
         found->second.left() == 0;
}

size_t Scheduler::requests_ahead(SeqId id) const {
  return static_cast<size_t>(std::distance(waiting_.begin(), waiting_.lower_bound(turn_of(id))));
}

bool Scheduler::has_work() const {
  return !waiting_.empty() || std::ranges::any_of(running_, [&](SeqId id) {
    const Sequence& sequence = sequences_.at(id);
    return !sequence.paused && sequence.left() > 0;
  });
}

size_t Scheduler::decoding() const {
  return static_cast<size_t>(std::ranges::count_if(running_, [&](SeqId id) {
    const Sequence& sequence = sequences_.at(id);
    return !sequence.paused && phase(id) == SeqPhase::kDecode;
  }));
}

std::optional<TimePoint> Scheduler::next_deadline() const {
  std::optional<TimePoint> next;
  for (const auto& [id, sequence] : sequences_) {
    if (sequence.deadline && (!next || *sequence.deadline < *next)) next = sequence.deadline;
  }
  return next;
}

bool Scheduler::invariants_hold() const {
  std::vector<const PageTable*> live;
  std::set<SeqId> running(running_.begin(), running_.end());
  if (running.size() != running_.size() || running_.size() > limits_.max_sequences) return false;
  for (const auto& [id, sequence] : sequences_) {
    if (sequence.table.open != running.contains(id)) return false;
    if (waiting_.contains(turn_of(id)) != (!sequence.table.open && !sequence.paused)) return false;
    if (sequence.table.length > sequence.current().size() || sequence.tokens.size() > sequence.max_tokens) return false;
    if (sequence.table.open) live.push_back(&sequence.table);
  }
  return live.size() == running.size() && kv_.consistent(live);
}

}  // namespace kvasir
