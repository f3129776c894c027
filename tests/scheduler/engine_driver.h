// Runs sequences on a scheduler and a fake model without any thread: what scheduler tests look at. The next token is the
// arg max, so a token sequence stands for all logits that led to it.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <vector>

#include "core/engine/model_runner.h"
#include "tests/scheduler/fake_model.h"

namespace kvasir::test {

class EngineDriver {
 public:
  EngineDriver(const FakeModelOptions& options, uint32_t pages, SchedulerLimits limits = {}, uint32_t max_rows = 96);
  /// One step; sequences that have all their tokens leave. Returns rows computed.
  uint32_t step(const StepBudget& budget, TimePoint now);
  Scheduler& scheduler() { return *scheduler_; }
  void admit(SeqId id, std::vector<TokenId> prompt, uint32_t new_tokens, std::optional<TimePoint> deadline = {},
             Priority priority = Priority::kNormal);
  /// What to guess behind a sequence's output so far; its next step carries that where there is room.
  std::function<std::vector<TokenId>(SeqId, const std::vector<TokenId>& output)> guesser;
  uint64_t accepted = 0;  ///< guesses that were right
  /// Tokens made so far.
  std::map<SeqId, std::vector<TokenId>> output;
  std::set<SeqId> finished;

 private:
  bool take_token(SeqId id, std::span<const float> logits);

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<ModelRunner> runner_;
  std::map<SeqId, uint32_t> wanted_;
};

}  // namespace kvasir::test
