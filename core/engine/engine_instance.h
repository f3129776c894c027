// One engine of the pool: a model under one EngineKey, its inference thread and its side worker. Created empty; the
// model comes with the first command that needs it and goes when nobody asked for a while. send() and the other public
// functions are thread-safe; everything marked so below belongs to the engine thread.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>

#include "core/engine/comparison.h"
#include "core/engine/context_plan.h"
#include "core/engine/engine.h"
#include "core/engine/engine_environment.h"
#include "core/engine/engine_inbox.h"
#include "core/engine/engine_metrics.h"
#include "core/engine/generation.h"
#include "core/engine/model_runner.h"
#include "core/engine/parked_pages.h"
#include "core/engine/prompt_lookup.h"
#include "core/engine/side_worker.h"

namespace kvasir {

class EngineInstance;

/// What an instance needs from its pool. Thread-safe.
class EngineHost {
 public:
  virtual ~EngineHost() = default;
  virtual void post(Event event) = 0;
  /// Waits for the right to load (one load at a time) and for so much memory, unloading idle engines if need be.
  /// load_ended() gives the right back (and does nothing without it). Called on a loader thread.
  virtual Result<void> begin_load(const EngineInstance& who, uint64_t bytes, const std::atomic<bool>& cancelled) = 0;
  virtual void load_ended(const EngineInstance& who) = 0;
  virtual void unloaded() = 0;
};

class EngineInstance {
 public:
  EngineInstance(EngineKey key, const EngineEnvironment& environment, const EngineLimits& limits, EngineHost& host);
  ~EngineInstance() { stop(); }
  EngineInstance(const EngineInstance&) = delete;
  EngineInstance& operator=(const EngineInstance&) = delete;

  /// Every command but Cancel, Pause and Resume gets exactly one final event through the host.
  void send(CommandBody body);
  void request_unload();
  /// Ends everything with kCancelled and joins. Idempotent; call from one thread.
  void stop();

  const EngineKey& key() const noexcept { return key_; }
  bool loaded() const noexcept { return loaded_flag_.load(); }
  const EngineCounters& counters() const noexcept { return counters_; }

  std::atomic<uint64_t> in_flight{0};   ///< counted by the pool
  std::atomic<int64_t> last_used_ns{0};  ///< set by the pool

 private:
  enum class Stage : uint8_t { kLoading, kPreparing, kScheduled };
  /// What a CompressContext finds out while its context is computed.
  struct Compression {
    AttentionMass mass;
    uint32_t asks_from = 0;  ///< first token whose row asks
    uint32_t parts = 1;      ///< of the pages that are made in one page of the pool
  };
  struct Request {
    GenerationId id = 0;
    Work work;
    Stage stage = Stage::kLoading;
    bool paused = false;
    RequestTimes times;
    std::optional<TimePoint> deadline;
    std::unique_ptr<Generation> generation;
    std::unique_ptr<Scoring> scoring;
    std::unique_ptr<Compression> compression;
    std::unique_ptr<Comparison> comparison;
    std::vector<ContextStage> stages;  ///< of the context that it computes
    uint32_t prompt_tokens = 0, cached_tokens = 0, loaded_tokens = 0;
    std::string cache_note;
    PromptLookup lookup;
    uint64_t parked = 0;
    uint64_t guessed_tokens = 0, accepted_tokens = 0;
    std::optional<Progress> reported;
    TimePoint reported_at;
  };
  using Requests = std::map<uint64_t, Request>;
  /// A load under way; the flags are shared with the loader thread.
  struct Loading {
    std::atomic<bool> cancelled{false};
    std::atomic<uint32_t> percent{0};
    TimePoint started;
    std::jthread thread;
  };
  /// What ModelInfo may say while the engine thread computes.
  struct Status {
    uint32_t context = 0;
    std::string context_reason;
    uint64_t kv_bytes = 0;
  };

  // engine_instance.cpp: the thread, its mail, ends of requests
  void run();
  Milliseconds patience() const;
  void receive(EngineMail mail);
  void on_arrived(Arrived arrived);
  void on_prepared(Prepared prepared);
  void on_control(GenerationId id, const Control& control);
  void on_probe(const ProbeCache& probe);
  void expire(TimePoint now);
  void finish(Requests::iterator request, FinishReason reason);
  void fail(Requests::iterator request, Code code, std::string message);
  void cancel(Requests::iterator request);
  void erase(Requests::iterator request);
  void report_progress(TimePoint now);
  Progress progress_of(uint64_t serial, const Request& request) const;

  // engine_instance_load.cpp: model in, model out
  void start_load();
  void on_loaded(Result<std::shared_ptr<LoadedModel>> loaded);
  void on_load_failed(const Error& raw);
  void answer_loaded(TimePoint started);
  Result<void> set_up(std::shared_ptr<LoadedModel> loaded);
  void unload();

  // engine_instance_step.cpp: one step, and what becomes of its logits
  Result<void> begin_sequence(uint64_t serial, Request& request, std::variant<PreparedPrompt, PreparedScore> prompt);
  Result<void> begin_generation(Request& request, const PreparedPrompt& prompt, SeqRequest& sequence);
  Result<void> begin_scoring(Request& request, PreparedScore prompt, SeqRequest& sequence);
  bool step();
  StepBudget budget() const;
  void deliver(const StepPlan& plan);
  void deliver_tokens(Requests::iterator request, const PlannedRows& part, uint32_t first_row, TimePoint now);
  bool deliver_token(Requests::iterator request, uint32_t row, TimePoint now);
  void report_partial(SeqId serial, Request& request, TimePoint now);
  uint32_t candidates_wanted(const StepPlan& plan) const;
  void guess(uint64_t serial, Request& request);
  void complete(Requests::iterator request);
  void on_backend_error(const StepPlan& plan, const Error& error);
  void count_step(const StepPlan& plan, Milliseconds took);

  // engine_instance_compress.cpp: shorter contexts made of longer ones
  ChainHash cache_root(const std::string& salt, std::span<const ContextStage> stages = {}) const;
  uint32_t context_behind(std::span<const ContextStage> stages) const;  ///< tokens that can be in such a context
  bool keeps_positions(const CompressContext& command, std::span<const ContextStage> stages) const;
  Result<uint32_t> base_parts(bool aged) const;
  uint32_t parts_of(const ContextEdit& edit) const;  ///< of an edit that base_parts() allowed
  Result<void> place_in_cache(Request& request, std::span<const ContextStage> stages, SeqRequest& sequence);
  Result<void> begin_compression(Request& request, const PreparedPrompt& prompt, SeqRequest& sequence);
  std::vector<Capture> captures(const StepPlan& plan);
  Result<CompressResult> compress(SeqId serial, const Request& request);
  void finish_compression(Requests::iterator request);
  Result<void> begin_comparison(Request& request, SeqRequest& sequence);
  void finish_comparison(Requests::iterator request);
  void make_bases(const StepPlan& plan);

  // engine_instance_blocks.cpp: pages of sessions on disk, of parked sequences in memory
  std::string block_identity(const std::string& salt, std::span<const ContextStage> stages) const;
  void restore_base(Request& request, const SeqRequest& sequence);
  void save_base(const std::string& owner, const std::string& salt, std::span<const ContextStage> stages,
                 std::span<const TokenId> tokens);
  void restore_pages(SeqId serial);
  void park_pages(SeqId serial);
  void unpark_pages(SeqId serial);
  void load_pages(SeqId serial);
  enum class Pages : uint8_t { kAll, kWhole };  ///< kAll: also one that has only begun
  void save_pages(SeqId serial, const Request& request, Pages which);

  // engine_instance_side.cpp: what the side worker does
  void prepare(uint64_t serial, const Request& request);
  using TextCommand = std::variant<CountTokens, Tokenize, Detokenize>;
  void post_text_job(TextCommand command);
  void post_info_job(const ModelInfo& command);
  template <class Function>
  void post_job(GenerationId id, Function function);
  Result<TextTools> text_tools(std::shared_ptr<const LoadedModel>& holder);
  Result<ModelInfoResult> describe(GenerationId id);
  std::shared_ptr<LoadedModel> shared_model() const;

  const EngineKey key_;
  const EngineEnvironment& environment_;
  const EngineLimits limits_;
  EngineHost& host_;
  SteadyClock clock_;
  EngineCounters counters_;
  std::atomic<bool> loaded_flag_{false};

  mutable std::mutex shared_mutex_;
  std::shared_ptr<LoadedModel> shared_model_;  // guarded by shared_mutex_; shared with the side worker's current job
  Status status_;                              // guarded by shared_mutex_

  EngineInbox inbox_;

  // Engine thread only.
  Requests requests_;  // by serial: the order of arrival
  std::unordered_map<GenerationId, uint64_t> serials_;
  uint64_t next_serial_ = 1;
  std::unique_ptr<Loading> loading_;
  double load_ms_ = 0;
  std::shared_ptr<LoadedModel> model_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<ModelRunner> runner_;
  uint32_t context_ = 0;
  uint32_t positions_ = 0;  // that the model can tell apart: its own context at least
  std::string cache_identity_;
  ParkedPages parked_;
  std::vector<std::byte> block_;  // one page of every group, on its way
  uint32_t candidates_ = 0;  // per row of the last step; 0: it gave logits
  double ms_per_row_ = 0;
  GuessPolicy guess_policy_;
  bool stalled_ = false;  // there is work, but the last plan was empty
  TimePoint last_active_;
  TimePoint progress_checked_;

  std::optional<ModelText> side_text_;  // side worker only: the tokenizer while no model is loaded

  SideWorker side_;       // last but one: its jobs use what is above
  std::jthread thread_;   // last: runs on all of the above
};

}  // namespace kvasir
