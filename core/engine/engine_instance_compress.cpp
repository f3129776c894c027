// Compressed contexts in an engine: where they lie in the cache, how one is made of another's rows, how it is made again
// when its base is gone, and how two contexts are compared.
#include <algorithm>
#include <utility>

#include "core/engine/engine_instance.h"

namespace kvasir {
namespace {

constexpr uint32_t kMostAsking = 1024;  // rows whose attention decides

Failure cannot(const std::string& why) { return {Code::kUnsupported, "a context cannot be compressed like this here: " + why}; }

}  // namespace

ChainHash EngineInstance::cache_root(const std::string& salt, std::span<const ContextStage> stages) const {
  return chain_root(cache_identity_ + '|' + salt + stages_identity(stages));
}

uint32_t EngineInstance::context_behind(std::span<const ContextStage> stages) const {
  return std::min(context_, positions_ - std::min(positions_, position_shift(stages)));
}

/// Rows that keep their positions are worth more to the model (sessions/compression/README.md), but leave it the fewer
/// positions for what follows: they move together once half of them is behind.
bool EngineInstance::keeps_positions(const CompressContext& command, std::span<const ContextStage> stages) const {
  const uint64_t end = uint64_t{command.choice.source_tokens} + position_shift(stages);
  if (command.choice.rule == KeepRule::kAll) return position_shift(stages) > 0;
  return command.choice.in_place && end <= positions_ / 2;
}

Result<uint32_t> EngineInstance::base_parts(bool aged) const {
  const KvAbilities can = runner_->abilities();
  if (!can.gather) return cannot("the backend " + model_->backend->info().name + " cannot move rows of its KV cache");
  if (!scheduler_->kv().config().prefix_reuse) return cannot("the model keeps a window or a recurrent state");
  if (aged && can.aged_per_page < 2) {
    return cannot("4 bits save nothing in a page of this backend and kv_type (f16 does)");
  }
  return aged ? can.aged_per_page : 1;
}

uint32_t EngineInstance::parts_of(const ContextEdit& edit) const {
  return edit.aged ? std::max(1U, runner_->abilities().aged_per_page) : 1;
}

/// Root, stages and base of the context that `sequence` computes.
Result<void> EngineInstance::place_in_cache(Request& request, std::span<const ContextStage> stages, SeqRequest& sequence) {
  const std::string salt = cache_salt_of(request.work);
  request.stages.assign(stages.begin(), stages.end());
  KVASIR_TRY(check_stages(stages, sequence.tokens, runner_->empty_mass(0).layers.size()));
  uint32_t base = 0;
  for (size_t i = 0; i < stages.size(); ++i) {
    const ContextEdit& edit = stages[i].edit;
    SeqStage stage;
    stage.tokens.assign(stages[i].tokens.begin(), stages[i].tokens.begin() + edit.source_tokens);
    stage.root = cache_root(salt, stages.first(i));
    stage.base_tokens = base;
    stage.kept_tokens = base = edit.kept_tokens;
    stage.parts = KVASIR_TRY(base_parts(edit.aged));
    stage.position_shift = position_shift(stages.first(i));
    sequence.stages.push_back(std::move(stage));
  }
  sequence.root = cache_root(salt, stages);
  sequence.base_tokens = base;
  sequence.position_shift = position_shift(stages);
  if (base >= sequence.tokens.size() && base > 0) {
    return Failure{Code::kInvalidArgument, "nothing follows what the compression kept"};
  }
  if (base > 0 && !scheduler_->kv().has_base(sequence.root)) restore_base(request, sequence);
  return {};
}

Result<void> EngineInstance::begin_compression(Request& request, const PreparedPrompt& prompt, SeqRequest& sequence) {
  const CompressContext& command = std::get<CompressContext>(request.work);
  const RowChoice& choice = command.choice;
  const auto history = static_cast<uint32_t>(command.prompt.history_tokens.size());
  const auto all = static_cast<uint32_t>(prompt.tokens.size());
  if (prompt.history_rewritten || history > all) {
    return Failure{Code::kInvalidArgument, "the chat template writes this conversation differently now: say something first"};
  }
  const uint32_t base = prompt.stages.empty() ? 0 : prompt.stages.back().edit.kept_tokens;
  if (choice.source_tokens == 0 || choice.source_tokens > history || choice.source_tokens <= base ||
      choice.kept_tokens == 0 || choice.kept_tokens > choice.source_tokens || choice.kept_tokens % kPageTokens != 0) {
    return Failure{Code::kInvalidArgument, "cannot keep " + std::to_string(choice.kept_tokens) + " of the first " +
                                               std::to_string(choice.source_tokens) + " of " + std::to_string(history) +
                                               " tokens: whole pages of " + std::to_string(kPageTokens) + " stay"};
  }
  const uint32_t parts = KVASIR_TRY(base_parts(command.aged));
  if (choice.rule != KeepRule::kAll) KVASIR_TRY(model_->model->key_ropes());
  request.compression = std::make_unique<Compression>();
  request.compression->parts = parts;
  sequence.tokens.assign(prompt.tokens.begin(), prompt.tokens.begin() + choice.source_tokens);
  if (choice.rule == KeepRule::kAttention) {
    if (!runner_->abilities().attention_mass) return cannot("the backend does not tell what rows look at");
    const bool focused = all > history;
    // The question stands behind the whole context, unless there is no room for both.
    const bool skips = focused && all > context_behind(prompt.stages);
    const auto from = prompt.tokens.begin() + (skips ? history : choice.source_tokens);
    sequence.tokens.insert(sequence.tokens.end(), from, prompt.tokens.end());
    const auto size = static_cast<uint32_t>(sequence.tokens.size());
    const uint32_t asking = focused ? all - history : history - choice.source_tokens;
    if (asking == 0 || asking > kMostAsking) {
      return Failure{Code::kInvalidArgument, std::to_string(asking) + " tokens ask what should stay: 1 to " +
                                                 std::to_string(kMostAsking) + " can"};
    }
    request.compression->asks_from = size - asking;
    sequence.compute_from = size - asking;
    request.compression->mass = runner_->empty_mass(choice.source_tokens);
  }
  const uint32_t pages = (choice.kept_tokens / kPageTokens + parts - 1) / parts;
  sequence.max_tokens = (static_cast<uint32_t>(sequence.tokens.size()) + kPageTokens - 1) / kPageTokens * kPageTokens +
                        pages * kPageTokens;
  sequence.generates = false;
  sequence.logits_from = static_cast<uint32_t>(sequence.tokens.size());
  return place_in_cache(request, prompt.stages, sequence);
}

std::vector<Capture> EngineInstance::captures(const StepPlan& plan) {
  std::vector<Capture> out;
  for (const PlannedRows& part : plan.parts) {
    Request& request = requests_.at(part.id);
    if (!request.compression || request.compression->mass.layers.empty()) continue;
    out.push_back({part.id, request.compression->asks_from, &request.compression->mass});
  }
  return out;
}

Result<CompressResult> EngineInstance::compress(SeqId serial, const Request& request) {
  const CompressContext& command = std::get<CompressContext>(request.work);
  CompressResult result;
  result.id = request.id;
  result.edit = KVASIR_TRY(choose_rows(command.choice, request.compression->mass.layers));
  result.edit.aged = command.aged;
  result.edit.in_place = keeps_positions(command, request.stages);
  ContextStage stage;
  const std::vector<TokenId>& history = command.prompt.history_tokens;
  stage.tokens.assign(history.begin(), history.begin() + result.edit.source_tokens);
  stage.edit = result.edit;
  result.kept = kept_tokens(stage.edit, stage.tokens);
  std::vector<ContextStage> stages = request.stages;
  stages.push_back(std::move(stage));
  const uint32_t parts = request.compression->parts;
  const auto base_bytes = [&](uint32_t tokens, uint32_t in_one) {
    return runner_->block_bytes() * ((tokens / kPageTokens + in_one - 1) / in_one);
  };
  result.kept_bytes = base_bytes(result.edit.kept_tokens, parts);
  const uint32_t base = request.stages.empty() ? 0 : request.stages.back().edit.kept_tokens;
  result.source_bytes = runner_->block_bytes() * (result.edit.source_tokens - base) / kPageTokens +
                        (base == 0 ? 0 : base_bytes(base, parts_of(request.stages.back().edit)));
  const ChainHash root = cache_root(command.cache_salt, stages);
  const auto entries = scheduler_->add_base(root, result.edit.kept_tokens, parts, serial);
  if (entries) {
    if (auto compacted = runner_->compact(stages, scheduler_->pages(serial).pages.at(0), *entries); !compacted) {
      scheduler_->drop_base(root);
      return Failure(std::move(compacted).error());
    }
  } else if (!scheduler_->kv().has_base(root)) {
    return Failure{Code::kBusy, "no room in the KV cache for the shorter context: try again"};
  }
  return result;
}

void EngineInstance::finish_compression(Requests::iterator request) {
  auto result = compress(request->first, request->second);
  if (!result) return fail(request, result.error().code, result.error().message);
  host_.post(std::move(*result));
  erase(request);
}

Result<void> EngineInstance::begin_comparison(Request& request, SeqRequest& sequence) {
  if (!request.comparison) {
    const CompareContexts& command = std::get<CompareContexts>(request.work);
    KVASIR_TRY(check_comparison(command));
    request.comparison = std::make_unique<Comparison>(command);
  }
  const CompareContexts::Context& context = request.comparison->context();
  if (const uint32_t most = context_behind(context.stages); context.tokens.size() > most) {
    return Failure{Code::kTooLarge, "the context to compare has " + std::to_string(context.tokens.size()) + " tokens, " +
                                        std::to_string(most) + " fit"};
  }
  sequence.tokens.assign(context.tokens.begin(), context.tokens.end() - 1);
  sequence.max_tokens = static_cast<uint32_t>(sequence.tokens.size());
  sequence.generates = false;
  sequence.logits_from = request.comparison->first_row();
  return place_in_cache(request, context.stages, sequence);
}

void EngineInstance::finish_comparison(Requests::iterator request) {
  const uint64_t serial = request->first;
  if (!request->second.comparison->go_on()) {
    host_.post(request->second.comparison->result());
    return erase(request);
  }
  scheduler_->remove(serial);
  parked_.forget(serial);  // those were the other context's
  SeqRequest sequence;
  sequence.id = serial;
  auto begun = begin_comparison(request->second, sequence);
  if (begun) begun = scheduler_->admit(std::move(sequence));
  if (!begun) return fail(request, begun.error().code, begun.error().message);
  if (request->second.paused) scheduler_->pause(serial);
}

/// Sequences that have computed an earlier context again: compressed as it was the first time, they go on.
void EngineInstance::make_bases(const StepPlan& plan) {
  for (const PlannedRows& part : plan.parts) {
    const auto done = scheduler_->stage_done(part.id);
    const auto request = requests_.find(part.id);
    if (!done || request == requests_.end()) continue;
    const auto entries = scheduler_->begin_base(part.id);
    if (entries) {
      const auto compacted =
          runner_->compact(std::span(request->second.stages).first(*done + 1), scheduler_->pages(part.id).pages.at(0), *entries);
      if (!compacted) {
        scheduler_->drop_base(cache_root(cache_salt_of(request->second.work), std::span(request->second.stages).first(*done + 1)));
        fail(request, compacted.error().code, compacted.error().message);
        continue;
      }
    }
    scheduler_->end_base(part.id);
  }
}

}  // namespace kvasir
