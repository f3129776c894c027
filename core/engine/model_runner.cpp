#include "core/engine/model_runner.h"

#include <algorithm>
#include <utility>

namespace kvasir {

ModelRunner::ModelRunner(Model& model, Backend& backend, uint32_t max_rows)
    : model_(model), backend_(backend), max_rows_(max_rows), vocab_(model.description().vocab_size) {}

Result<std::unique_ptr<ModelRunner>> ModelRunner::create(Model& model, Backend& backend, const KvPoolSpec& spec,
                                                         uint32_t max_rows) {
  std::unique_ptr<ModelRunner> runner(new ModelRunner(model, backend, max_rows));
  runner->pool_ = KVASIR_TRY(backend.create_kv_pool(spec));
  KVASIR_TRY(runner->recover());
  return runner;
}

Result<void> ModelRunner::recover() {
  stream_ = KVASIR_TRY(backend_.open_stream({.max_rows = max_rows_}));
  return {};
}

void ModelRunner::lay_out(const StepPlan& plan, const Scheduler& scheduler) {
  layout_.rows = plan.rows;
  layout_.sequences.resize(plan.parts.size());
  tokens_.clear();
  logit_rows_.clear();
  for (size_t i = 0; i < plan.parts.size(); ++i) {
    const PlannedRows& part = plan.parts[i];
    const PageTable& table = scheduler.pages(part.id);
    const auto first_row = static_cast<uint32_t>(tokens_.size());
    SequenceRows& rows = layout_.sequences[i];
    rows.first_row = first_row;
    rows.n_rows = part.count;
    rows.first_position = part.first + scheduler.position_shift(part.id);
    rows.first_slot = part.first;
    rows.pages = table.pages;
    rows.state_slot = table.state_slot;
    const std::span<const TokenId> all = scheduler.tokens(part.id);
    const auto mine = all.subspan(part.first, part.count - part.guesses);
    tokens_.insert(tokens_.end(), mine.begin(), mine.end());
    const auto guesses = scheduler.guesses(part.id).first(part.guesses);
    tokens_.insert(tokens_.end(), guesses.begin(), guesses.end());
    for (uint32_t row = part.logits_from; row < part.count; ++row) logit_rows_.push_back(first_row + row);
  }
}

uint64_t ModelRunner::block_bytes() const {
  uint64_t sum = 0;
  for (uint32_t g = 0; g < pool_->spec().group_pages.size(); ++g) sum += pool_->page_bytes(g);
  return sum;
}

Result<void> ModelRunner::export_pages(const std::vector<PageId>& pages, std::span<std::byte> into) const {
  for (uint32_t g = 0; g < pages.size(); ++g) {
    KVASIR_TRY(pool_->export_page(g, pages[g], into.first(pool_->page_bytes(g))));
    into = into.subspan(pool_->page_bytes(g));
  }
  return {};
}

Result<void> ModelRunner::import_pages(const std::vector<PageId>& pages, std::span<const std::byte> from) {
  for (uint32_t g = 0; g < pages.size(); ++g) {
    KVASIR_TRY(pool_->import_page(g, pages[g], from.first(pool_->page_bytes(g))));
    from = from.subspan(pool_->page_bytes(g));
  }
  return {};
}

Result<void> ModelRunner::copy_pages(const std::vector<PageId>& from, const std::vector<PageId>& to) {
  for (uint32_t g = 0; g < from.size(); ++g) {
    if (from[g] != to[g]) KVASIR_TRY(pool_->copy_page(g, from[g], to[g]));
  }
  return {};
}

void ModelRunner::lay_out_captures(const StepPlan& plan, const Scheduler& scheduler, std::span<const Capture> captures) {
  layout_.masses.clear();
  for (const Capture& capture : captures) {
    for (size_t i = 0; i < plan.parts.size(); ++i) {
      const PlannedRows& part = plan.parts[i];
      const uint32_t end = part.first + part.count;
      if (part.id != capture.id || !scheduler.in_last_stage(part.id) || end <= capture.from) continue;
      const uint32_t first = std::max(capture.from, part.first);
      capture.mass->first_row = layout_.sequences[i].first_row + (first - part.first);
      capture.mass->n_rows = end - first;
      layout_.masses.push_back(capture.mass);
    }
  }
}

AttentionMass ModelRunner::empty_mass(uint32_t slots) const {
  AttentionMass mass{.slots = slots, .layers = {}};
  for (const KvLayerSpec& layer : pool_->spec().layers) mass.layers.emplace_back(size_t{layer.n_kv_heads} * slots, 0.0F);
  return mass;
}

Result<void> ModelRunner::compact(std::span<const ContextStage> stages, std::span<const PageId> from,
                                  std::span<const PageId> to) {
  const ContextEdit& edit = stages.back().edit;
  const bool turned = !edit.in_place && (!edit.rows.empty() || position_shift(stages.first(stages.size() - 1)) > 0);
  const auto layers = static_cast<uint32_t>(pool_->spec().layers.size());
  std::vector<RopeSpec> ropes(layers);
  if (turned) ropes = KVASIR_TRY(model_.key_ropes());
  if (ropes.size() != layers) return Failure{Code::kInternal, "rope of another number of layers"};
  for (uint32_t layer = 0; layer < layers; ++layer) {
    const std::vector<uint32_t> rows = kept_rows(edit, layer);
    std::vector<int32_t> turns(rows.size());
    if (turned) {
      const auto before = slot_positions(stages.first(stages.size() - 1), layer, edit.source_tokens);
      for (size_t i = 0; i < rows.size(); ++i) turns[i] = static_cast<int32_t>(i) - static_cast<int32_t>(before[rows[i]]);
    }
    KVASIR_TRY(pool_->gather({.kv_layer = layer, .from = from, .rows = rows, .to = to,
                              .rope = turned ? &ropes[layer] : nullptr, .turns = turns}));
  }
  return {};
}

uint32_t ModelRunner::most_candidates() const noexcept {
  return static_cast<uint32_t>(std::min<size_t>(stream_->most_candidates(), vocab_));
}

Result<void> ModelRunner::run(const StepPlan& plan, const Scheduler& scheduler, std::span<const Capture> captures, uint32_t candidates) {
  for (const PageCopy& copy : plan.copies) KVASIR_TRY(pool_->copy_page(copy.group, copy.from, copy.to));
  for (const uint32_t slot : plan.fresh_states) KVASIR_TRY(pool_->zero_state(slot));
  lay_out(plan, scheduler);
  lay_out_captures(plan, scheduler, captures);
  best_count_ = candidates;
  if (candidates > 0) {
    best_.resize(logit_rows_.size() * candidates);
    return model_.forward_best(*stream_, *pool_, layout_, tokens_, logit_rows_, best_, candidates);
  }
  const size_t needed = logit_rows_.size() * vocab_;
  if (logits_.size() < needed) logits_.resize(needed);
  return model_.forward(*stream_, *pool_, layout_, tokens_, logit_rows_, std::span(logits_).first(needed));
}

}  // namespace kvasir
