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

void EngineDriver::admit(SeqId id, std::vector<TokenId> prompt, uint32_t new_tokens, std::optional<TimePoint> deadline) {
  SeqRequest request;
  request.id = id;
  request.max_tokens = static_cast<uint32_t>(prompt.size()) + new_tokens;
  request.tokens = std::move(prompt);
  request.deadline = deadline;
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
    const auto logits = runner_->logits(first);
    const auto token = static_cast<TokenId>(std::ranges::max_element(logits) - logits.begin());
    output[part.id].push_back(token);
    if (output[part.id].size() == wanted_[part.id]) {
      finished.insert(part.id);
      scheduler_->remove(part.id);
    } else {
      scheduler_->append(part.id, token);
    }
  }
  return plan.rows;
}

}  // namespace kvasir::test
