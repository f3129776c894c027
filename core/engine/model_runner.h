// Runs what the scheduler planned: page copies, the step's layout, Model::forward, and the logits that come out. Owns
// the stream and the KV memory of one loaded model. Engine thread.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/engine/context_edit.h"
#include "core/engine/scheduler.h"
#include "core/model/model.h"

namespace kvasir {

/// What rows of a sequence look at, wanted while it is computed: see AttentionMass. Only its last stage is meant.
struct Capture {
  SeqId id = 0;
  uint32_t from = 0;  ///< first token whose row asks
  AttentionMass* mass = nullptr;
};

class ModelRunner {
 public:
  /// `model` and `backend` outlive this. Errors: those of the backend.
  static Result<std::unique_ptr<ModelRunner>> create(Model& model, Backend& backend, const KvPoolSpec& spec,
                                                     uint32_t max_rows);

  /// One step. `candidates`: of each row only so many likeliest tokens are wanted; 0: all logits. Errors: kBackend; then
  /// the KV of the plan's rows is undefined and recover() must be called.
  Result<void> run(const StepPlan& plan, const Scheduler& scheduler, std::span<const Capture> captures = {}, uint32_t candidates = 0);
  /// Candidates that run() may be asked for at most.
  uint32_t most_candidates() const noexcept;
  /// The rows that the last of `stages` keeps of a page table become the pages `to`. Errors: kUnsupported, and those of
  /// the pool.
  Result<void> compact(std::span<const ContextStage> stages, std::span<const PageId> from, std::span<const PageId> to);
  KvAbilities abilities() const noexcept { return pool_->abilities(); }
  /// Per KV layer and head a place for the weights of `slots` slots.
  AttentionMass empty_mass(uint32_t slots) const;
  /// Logits of the last run, by the order of the plan's logit rows. Scratch: the sampler works in place.
  std::span<float> logits(uint32_t row) noexcept { return std::span(logits_).subspan(size_t{row} * vocab_, vocab_); }
  /// The same of a run with candidates.
  std::span<const Candidate> candidates(uint32_t row) const noexcept { return std::span(best_).subspan(size_t{row} * best_count_, best_count_); }
  /// A fresh stream after an error.
  Result<void> recover();
  /// One page of each group, back to back. Errors: those of the pool.
  uint64_t block_bytes() const;
  Result<void> export_pages(const std::vector<PageId>& pages, std::span<std::byte> into) const;
  Result<void> import_pages(const std::vector<PageId>& pages, std::span<const std::byte> from);
  /// One page of each group to another. Errors: those of the pool.
  Result<void> copy_pages(const std::vector<PageId>& from, const std::vector<PageId>& to);
  uint64_t kv_bytes() const noexcept { return pool_->bytes(); }

 private:
  ModelRunner(Model& model, Backend& backend, uint32_t max_rows);
  void lay_out(const StepPlan& plan, const Scheduler& scheduler);
  void lay_out_captures(const StepPlan& plan, const Scheduler& scheduler, std::span<const Capture> captures);

  Model& model_;
  Backend& backend_;
  uint32_t max_rows_;
  size_t vocab_;
  std::unique_ptr<KvPool> pool_;
  std::unique_ptr<Stream> stream_;
  // Rebuilt every step, kept for their memory.
  StepLayout layout_;
  std::vector<TokenId> tokens_;
  std::vector<uint32_t> logit_rows_;
  std::vector<float> logits_;
  std::vector<Candidate> best_;
  uint32_t best_count_ = 0;  ///< 0: the last run gave logits
};

}  // namespace kvasir
