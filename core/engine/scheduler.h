// Who computes what in the next step: continuous batching with chunked prefill. Pure: no thread, no clock, no I/O; time
// comes in as a value and the caller runs the step. Owned by one EngineInstance; engine thread.
//
// A sequence is its tokens and how many of them have KV. Whatever lacks KV is computed next: one row is a decode, many
// are a prefill chunk, all of them again is what preemption costs. Of a compressed context (context_edit.h) the base is
// found in memory, or the contexts before it are computed first and compressed in the same way. Results cannot depend on any choice made here: a
// row's arithmetic is the same in every batch (decisions.md 9).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "core/base/clock.h"
#include "core/base/result.h"
#include "core/engine/kv_pages.h"
#include "core/engine/priority.h"

namespace kvasir {

using SeqId = uint64_t;  ///< also the order of arrival: among equals, admission is first come, first served

/// An earlier context of a sequence, up to the compression that ended it.
struct SeqStage {
  std::vector<TokenId> tokens;   ///< as SeqRequest::tokens
  ChainHash root;
  uint32_t base_tokens = 0;      ///< leading tokens that are the base of this stage
  uint32_t kept_tokens = 0;      ///< of the base that is made of it
  uint32_t parts = 1;            ///< pages of that base in one page of the pool
  uint32_t position_shift = 0;   ///< positions of its tokens behind the base are so far ahead of their slots
};

struct SeqRequest {
  SeqId id = 0;
  std::vector<TokenId> tokens;   ///< the prompt, not empty
  std::vector<SeqStage> stages;  ///< how its base is made again if it is not in memory; oldest first
  uint32_t base_tokens = 0;      ///< leading tokens that are the base of `root`: never computed, never scored
  uint32_t position_shift = 0;   ///< as SeqStage::position_shift
  uint32_t max_tokens = 0;       ///< prompt and output at most: what is reserved
  uint32_t logits_from = 0;      ///< first token whose row wants logits; a generation: the last of the prompt
  bool generates = true;         ///< false: ends when every row is computed (scoring)
  Priority priority = Priority::kNormal;
  std::optional<uint32_t> compute_from;  ///< first token whose row is computed even where its KV is known; default:
                                         ///< logits_from of what does not generate
  std::optional<TimePoint> deadline;
  ChainHash root;                ///< whose cached pages may be shared
};

struct StepBudget {
  uint32_t rows = 256;
  uint32_t score_rows = 64;      ///< rows of scoring sequences that want logits (they are big)
};

/// Consecutive rows of one sequence.
struct PlannedRows {
  SeqId id = 0;
  uint32_t first = 0;         ///< index of the first token
  uint32_t count = 0;
  uint32_t logits_from = 0;   ///< first of these rows that wants logits; == count: none
  uint32_t guesses = 0;       ///< of these rows, the last ones: guessed tokens
  uint32_t logit_rows() const noexcept { return count - logits_from; }
};

struct StepPlan {
  std::vector<PlannedRows> parts;          ///< in the order of the step's rows
  std::vector<PageCopy> copies;            ///< to do before the rows
  std::vector<uint32_t> fresh_states;      ///< recurrent state slots to zero before the rows
  std::vector<SeqId> expired;              ///< past their deadline: end them
  uint32_t rows = 0;
  uint32_t logit_rows = 0;
  bool empty() const noexcept { return parts.empty(); }
};

/// Called by plan(), each with a sequence whose page table is open.
struct PlanHooks {
  std::function<void(SeqId)> admitted = {};  ///< it got its pages: the moment for restore_page()
  std::function<void(SeqId)> parked = {};    ///< it is about to lose them: the moment to keep what they hold
};

struct SchedulerLimits {
  uint32_t max_sequences = 64;   ///< with KV at once
  uint32_t min_chunk = 16;       ///< prefill rows per sequence and step at least, where there is room
};

enum class SeqPhase : uint8_t { kWaiting, kPrefill, kDecode, kComplete };

class Scheduler {
 public:
  Scheduler(KvPagesConfig pages, SchedulerLimits limits = {});

  /// Queues a sequence; it runs when its pages can be promised. Errors: kInvalidArgument (no tokens, known id),
  /// kTooLarge (more pages than there are).
  Result<void> admit(SeqRequest request);
  /// The rows of the next step. Decodes come first, one row each; what is left of the budget is shared evenly among
  /// prefills of the highest priority, so that a long prompt delays no equal by more than its share. When pages or
  /// places are short, paused sequences give up theirs, then running ones of a lower priority than who waits: their KV is
  /// put back or computed again later, to the same bits.
  StepPlan plan(const StepBudget& budget, TimePoint now, const PlanHooks& hooks = {});
  /// The next page of this sequence's tokens, or so many of its first rows, is not computed but filled by `fill`, which
  /// gets one page per group and says whether it did. Never the last token. False: nothing changed.
  bool restore_page(SeqId id, uint32_t rows, const std::function<bool(const std::vector<PageId>&)>& fill);
  /// Tokens that may follow, to be computed with the next decode row of this sequence where budget and reservation
  /// allow. Requires awaits_token(id) == false.
  void guess(SeqId id, std::span<const TokenId> tokens);
  /// Where the next tokens of this sequence stand at the beginning of another's page: see KvPages.
  KvPages::PartialPage partial_page(SeqId id) const;
  /// The plan's rows were computed, guesses apart. Sequences that left meanwhile are skipped.
  void apply(const StepPlan& plan);
  /// The token sampled from the last row. Requires phase(id) == kDecode and nothing left to compute.
  void append(SeqId id, TokenId token);
  /// Whether the appended token is the next guess, and its row thereby computed: the sequence awaits another token, from
  /// the next row of logits. If not, what was guessed behind it is void.
  bool take_guess(SeqId id);
  /// The stage that this sequence has just computed and that has to become a base before it goes on, if any.
  std::optional<size_t> stage_done(SeqId id) const;
  /// Pages for that base; nothing: somebody else made it meanwhile, or there is no room.
  std::optional<std::vector<PageId>> begin_base(SeqId id);
  /// The base is there: the sequence goes on behind it, at once or when there is room.
  void end_base(SeqId id);
  /// A base of another kind: made of this sequence's rows, or (without one) read from elsewhere.
  std::optional<std::vector<PageId>> add_base(const ChainHash& root, uint32_t tokens, uint32_t parts, std::optional<SeqId> from);
  void drop_base(const ChainHash& root) { kv_.drop_base(root); }
  /// Stages that lie behind it; equal to the request's number of stages: it computes its own tokens.
  size_t stage(SeqId id) const { return sequences_.at(id).at; }
  bool in_last_stage(SeqId id) const { return sequences_.at(id).last(); }
  /// Rope position of a row of the stage that it is in, less the row's index.
  uint32_t position_shift(SeqId id) const { return sequences_.at(id).shift(); }
  /// Ends a sequence in any state and frees its pages; unknown ids are ignored.
  void remove(SeqId id);
  void pause(SeqId id);
  void resume(SeqId id);

  bool contains(SeqId id) const { return sequences_.contains(id); }
  SeqPhase phase(SeqId id) const;
  /// Those of the stage that it is in.
  const std::vector<TokenId>& tokens(SeqId id) const { return sequences_.at(id).current(); }
  std::span<const TokenId> guesses(SeqId id) const { return sequences_.at(id).guesses; }
  const PageTable& pages(SeqId id) const { return sequences_.at(id).table; }
  /// Tokens of the request that were found in the prefix index at its first admission.
  uint32_t reused_tokens(SeqId id) const { return sequences_.at(id).reused; }
  uint32_t computed_tokens(SeqId id) const { return sequences_.at(id).table.length; }
  /// True once the last row's logits were computed and no token was appended since.
  bool awaits_token(SeqId id) const;
  size_t requests_ahead(SeqId id) const;
  bool has_work() const;
  size_t waiting() const noexcept { return waiting_.size(); }
  size_t running() const noexcept { return running_.size(); }
  size_t decoding() const;
  std::optional<TimePoint> next_deadline() const;
  const KvPages& kv() const noexcept { return kv_; }
  bool invariants_hold() const;

 private:
  struct Sequence {
    std::vector<TokenId> tokens;
    uint32_t max_tokens = 0;
    uint32_t logits_from = 0;
    uint32_t compute_from = 0;
    bool generates = true;
    Priority priority = Priority::kNormal;
    bool paused = false;
    bool seen = false;             // was admitted before: `reused` is settled
    uint64_t paused_since = 0;
    uint32_t reused = 0;
    std::optional<TimePoint> deadline;
    std::vector<SeqStage> stages;
    size_t at = 0;                 // stage that it is in; stages.size(): the last, its own tokens
    ChainHash root;
    uint32_t base_tokens = 0;
    uint32_t position_shift = 0;
    PageTable table;
    std::vector<TokenId> guesses;  // behind the last token; only those of the last plan remain
    bool last() const noexcept { return at == stages.size(); }
    const std::vector<TokenId>& current() const noexcept { return last() ? tokens : stages[at].tokens; }
    uint32_t shift() const noexcept { return last() ? position_shift : stages[at].position_shift; }
    const ChainHash& root_of(size_t stage) const noexcept { return stage < stages.size() ? stages[stage].root : root; }
    uint32_t base_of(size_t stage) const noexcept { return stage < stages.size() ? stages[stage].base_tokens : base_tokens; }
    uint32_t slots_from(size_t stage) const noexcept;  // that it can come to need
    /// Tokens whose KV may come from elsewhere: rows that want logits (or ask) are computed even where it is known.
    std::span<const TokenId> reusable() const noexcept {
      const std::span<const TokenId> all = current();
      return last() && compute_from < all.size() ? all.first(compute_from + 1) : all;
    }
    uint32_t left() const noexcept { return static_cast<uint32_t>(current().size()) - table.length; }
    bool decodes() const noexcept { return last() && generates && left() == 1; }
  };

  struct Shares;  // rows given so far in a plan
  /// Higher priority first, then first come.
  struct Turn {
    Priority priority;
    SeqId id;
    bool operator<(const Turn& other) const noexcept {
      return priority != other.priority ? priority > other.priority : id < other.id;
    }
  };
  Turn turn_of(SeqId id) const { return {sequences_.at(id).priority, id}; }
  void admit_waiting(StepPlan& plan, const PlanHooks& hooks);
  bool preempt_one(Priority who_waits, const PlanHooks& hooks);
  bool open(Sequence& sequence);
  void share_decodes(Shares& shares);
  void share_prefills(Shares& shares);
  void share_prefills(Shares& shares, Priority priority);
  uint32_t affordable_guesses(const Sequence& sequence, uint32_t rows_left) const;
  void take_rows(SeqId id, Sequence& sequence, uint32_t count, uint32_t guesses, StepPlan& plan);

  SchedulerLimits limits_;
  KvPages kv_;
  std::map<SeqId, Sequence> sequences_;
  std::set<Turn> waiting_;       // without pages, not paused
  std::vector<SeqId> running_;   // with pages, in order of admission
  size_t decode_turn_ = 0;       // who is served first when rows are short
  size_t prefill_turn_ = 0;
  uint64_t pauses_ = 0;
};

}  // namespace kvasir
