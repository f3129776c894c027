#include "tests/scheduler/engine_driver.h"

#include <algorithm>
#include <stdexcept>

namespace kvasir::test {

EngineDriver::EngineDriver(const FakeModelOptions& options, uint32_t pages, SchedulerLimits limits, uint32_t max_rows)
    : backend_(make_fake_backend()), model_(make_fake_model(options, "fake")) {
  const KvPoolSpec spec = model_->kv_spec(KvType::kF16, pages, limits.max_sequences, max_rows);
  KvPagesConfig config{.groups = {}, .state_slots = spec.state_slots, .max_step_rows = max_rows};
  const auto windows = model_->group_windows();
  for (size_t g = 0; g < windows.size(); ++g) config.groups.push_back({spec.group_pages[g], windows[g]});
  scheduler_ = std::make_unique<Scheduler>(config, limits);
  runner_ = std::move(*ModelRunner::create(*model_, *backend_, spec, max_rows));
}

void EngineDriver::admit(SeqId id, std::vector<TokenId> prompt, uint32_t new_tokens, std::optional<TimePoint> deadline,
                         Priority priority) {
  SeqRequest request;
  request.id = id;
  request.max_tokens = static_cast<uint32_t>(prompt.size()) + new_tokens;
  request.tokens = std::move(prompt);
  request.deadline = deadline;
  request.priority = priority;
  if (!scheduler_->admit(std::move(request))) throw std::runtime_error("not admitted");
  wanted_[id] = new_tokens;
  output[id];
}

uint32_t EngineDriver::step(const StepBudget& budget, TimePoint now) {
  const StepPlan plan = scheduler_->plan(budget, now);
  if (plan.empty()) return 0;
  if (!runner_->run(plan, *scheduler_)) throw std::runtime_error("forward failed");
  scheduler_->apply(plan);
  uint32_t row = 0;
  for (const PlannedRows& part : plan.parts) {
    const uint32_t first = row;
    row += part.logit_rows();
    if (!scheduler_->awaits_token(part.id)) continue;
    uint32_t at = first;
    bool goes_on = take_token(part.id, runner_->logits(at));
    while (goes_on && scheduler_->take_guess(part.id)) {
      ++accepted;
      goes_on = take_token(part.id, runner_->logits(++at));
    }
    if (goes_on && guesser) scheduler_->guess(part.id, guesser(part.id, output[part.id]));
  }
  return plan.rows;
}

bool EngineDriver::take_token(SeqId id, std::span<const float> logits) {
  const auto token = static_cast<TokenId>(std::ranges::max_element(logits) - logits.begin());
  output[id].push_back(token);
  if (output[id].size() == wanted_[id]) {
    finished.insert(id);
    scheduler_->remove(id);
    return false;
  }
  scheduler_->append(id, token);
  return true;
}

}  // namespace kvasir::test
