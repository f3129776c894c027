// The life of a model inside its engine: opened, loaded on a thread of its own while the engine thread stays
// responsive, given KV memory, unloaded.
#include <malloc.h>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <utility>

#include "core/base/log.h"
#include "core/engine/engine_instance.h"
#include "core/engine/placement.h"

namespace kvasir {
namespace {

// What a load needs beside the weights before anything is known of the KV cache: buffers, vocabulary.
constexpr uint64_t kLoadOverheadBytes = 64ULL << 20;
// Windowed layers and recurrent states cost memory per possible sequence: at most this part of the free memory.
constexpr uint64_t kFixedShareDivisor = 8;
// More full pages than any pool has: to ask for the geometry before the pool's size is known.
constexpr uint32_t kAnyPages = 1U << 20;

/// Load errors are about a file: its name belongs into the message.
Error with_file(Error error, const std::string& path) {
  const std::string name = std::filesystem::path(path).filename().string();
  if (error.message.find(name) == std::string::npos) error.message = path + ": " + error.message;
  return error;
}

std::string cache_identity(const EngineKey& key, const ModelDescription& model, const BackendInfo& backend) {
  return model.fingerprint + '|' + backend.name + '|' + backend.isa_or_device + '|' + std::to_string(backend.numerics_version) + '|' +
         std::to_string(static_cast<int>(key.kv_type)) + '|' + std::to_string(static_cast<int>(key.activations)) + '|' +
         std::to_string(static_cast<int>(key.quantize));
}

/// Loads on what is placed. Where that was an automatic choice and has too little memory of its own after all, the best
/// CPU variant takes its place, and the note says so.
Result<std::unique_ptr<Model>> load_model(const EngineEnvironment& environment, const EngineKey& key, const LoadProgress& progress,
                                          PlacedBackend& placed) {
  const ModelOptions options{.quantize = key.quantize};
  std::unique_ptr<Backend>& backend = placed.backend;
  auto model = environment.load(key.model, options, *backend, progress);
  if (model || model.error().code != Code::kTooLarge || key.backend != "auto" || key.gpu_layers || !backend->free_memory_bytes()) return model;
  auto cpu = environment.open_backend("cpu", {.threads = key.threads, .activations = key.activations});
  if (!cpu) return model;
  placed.gpu_layers = 0;
  placed.note = backend->info().name + " was not taken: " + model.error().message;
  log::warn("backend_changed from=" + backend->info().name + " reason=" + model.error().message);
  backend = std::move(*cpu);
  return environment.load(key.model, options, *backend, progress);
}

}  // namespace

void EngineInstance::start_load() {
  auto backend = environment_.open_backend(key_.backend, {.threads = key_.threads, .activations = key_.activations});
  if (!backend) {
    while (!requests_.empty()) fail(requests_.begin(), backend.error().code, backend.error().message);
    return;
  }
  loading_ = std::make_unique<Loading>();
  loading_->started = clock_.now();
  loading_->thread = std::jthread([this, loading = loading_.get(), opened = std::move(*backend)]() mutable {
    const ModelOptions options{.quantize = key_.quantize};
    const auto load = [&]() -> Result<std::shared_ptr<LoadedModel>> {
      const ModelDescription description = KVASIR_TRY(environment_.describe(key_.model, options));
      KVASIR_TRY(host_.begin_load(*this, description.weight_bytes + kLoadOverheadBytes, loading->cancelled));
      auto loaded = std::make_shared<LoadedModel>();
      const auto progress = [loading](double share) {
        loading->percent = static_cast<uint32_t>(std::clamp(share, 0.0, 1.0) * 100);
        return !loading->cancelled;
      };
      PlacedBackend placed = KVASIR_TRY(place_model(environment_, key_, description, std::move(opened)));
      auto model = load_model(environment_, key_, progress, placed);
      if (!model) return Failure(std::move(model).error());
      loaded->backend = std::move(placed.backend);
      loaded->backend_note = std::move(placed.note);
      loaded->gpu_layers = placed.gpu_layers;
      loaded->model = std::move(*model);
      return loaded;
    };
    Result<std::shared_ptr<LoadedModel>> outcome = Failure{Code::kInternal, "not loaded"};
    try {
      outcome = load();
    } catch (const std::exception& e) {
      outcome = Failure{Code::kUnavailable, std::string("loading failed: ") + e.what()};
    }
    inbox_.put([&](EngineMail& mail) { mail.loaded.emplace(std::move(outcome)); });
  });
}

void EngineInstance::on_loaded(Result<std::shared_ptr<LoadedModel>> loaded) {
  const bool was_cancelled = loading_->cancelled;
  const TimePoint started = loading_->started;
  loading_.reset();
  if (was_cancelled) {
    host_.load_ended(*this);
    // Whoever came after the last one had gone wants it after all.
    if (!requests_.empty()) start_load();
    return;
  }
  auto ready = loaded ? set_up(std::move(*loaded)) : Result<void>(Failure(std::move(loaded).error()));
  host_.load_ended(*this);  // not before the KV memory is taken: the next load counts what is free
  if (!ready) return on_load_failed(ready.error());
  answer_loaded(started);
}

void EngineInstance::on_load_failed(const Error& raw) {
  if (raw.code == Code::kCancelled) {  // the pool shuts down
    while (!requests_.empty()) cancel(requests_.begin());
    return;
  }
  const Error error = with_file(raw, key_.model);
  log::error("model_load_failed code=" + std::string(code_name(error.code)) + " message=" + error.message);
  while (!requests_.empty()) fail(requests_.begin(), error.code, error.message);
}

void EngineInstance::answer_loaded(TimePoint started) {
  const TimePoint now = clock_.now();
  load_ms_ = Milliseconds(now - started).count();
  counters_.loads.fetch_add(1, std::memory_order_relaxed);
  log::info("model_loaded file=" + key_.model + " ms=" + std::to_string(static_cast<uint64_t>(load_ms_)) +
            " context=" + std::to_string(context_) + " backend=" + model_->backend->info().name +
            " gpu_layers=" + std::to_string(model_->gpu_layers));
  for (auto it = requests_.begin(); it != requests_.end();) {
    const auto request = it++;
    if (std::holds_alternative<Preload>(request->second.work)) {
      host_.post(Ready{.id = request->second.id, .load_ms = load_ms_});
      erase(request);
      continue;
    }
    request->second.times.load = now - std::max(started, request->second.times.arrived);
    request->second.stage = Stage::kPreparing;
    prepare(request->first, request->second);
  }
}

Result<void> EngineInstance::set_up(std::shared_ptr<LoadedModel> loaded) {
  Model& model = *loaded->model;
  const uint64_t available = loaded->backend->free_memory_bytes().value_or(environment_.available_memory_bytes());
  const std::vector<uint32_t> windows = model.group_windows();
  uint32_t sequences = std::max(1U, limits_.max_sequences);
  KvCost cost = kv_cost(model.kv_spec(key_.kv_type, kAnyPages, sequences, limits_.max_step_rows), windows);
  while (sequences > 1 && cost.fixed_bytes > available / kFixedShareDivisor) {
    sequences /= 2;
    cost = kv_cost(model.kv_spec(key_.kv_type, kAnyPages, sequences, limits_.max_step_rows), windows);
  }
  const ContextPlan plan = KVASIR_TRY(plan_context({.model_max = model.description().max_context,
                                                    .asked = key_.context,
                                                    .bytes_per_token = cost.bytes_per_token,
                                                    .fixed_bytes = cost.fixed_bytes,
                                                    .available_bytes = available,
                                                    .max_sequences = sequences}));
  positions_ = model.choose_context(plan.context);
  const uint32_t pages = (plan.pool_tokens + kPageTokens - 1) / kPageTokens;
  const KvPoolSpec spec = model.kv_spec(key_.kv_type, pages, sequences, limits_.max_step_rows);
  auto runner = KVASIR_TRY(ModelRunner::create(model, *loaded->backend, spec, limits_.max_step_rows));
  KvPagesConfig config{.groups = {}, .state_slots = spec.state_floats.empty() ? 0 : spec.state_slots,
                       .max_step_rows = limits_.max_step_rows};
  for (size_t g = 0; g < spec.group_pages.size(); ++g) {
    config.groups.push_back({.pages = spec.group_pages[g], .window = g < windows.size() ? windows[g] : 0});
  }
  scheduler_ = std::make_unique<Scheduler>(std::move(config), SchedulerLimits{.max_sequences = sequences});
  runner_ = std::move(runner);
  block_.assign(runner_->block_bytes(), {});
  context_ = plan.context;
  ms_per_row_ = 0;
  guess_policy_ = GuessPolicy(limits_.max_guesses);
  cache_identity_ = cache_identity(key_, model.description(), loaded->backend->info());
  model_ = loaded;
  {
    const std::lock_guard lock(shared_mutex_);
    shared_model_ = std::move(loaded);
    status_ = {.context = plan.context, .context_reason = plan.reason, .kv_bytes = runner_->kv_bytes()};
  }
  const uint32_t total = scheduler_->kv().config().groups.empty() ? 0 : scheduler_->kv().total_pages(0);
  counters_.kv_total_pages = total;
  counters_.kv_free_pages = total;
  loaded_flag_ = true;
  return {};
}

void EngineInstance::unload() {
  if (!model_) return;
  scheduler_.reset();
  runner_.reset();
  {
    const std::lock_guard lock(shared_mutex_);
    shared_model_.reset();
    status_ = {};
  }
  model_.reset();
  counters_.kv_total_pages = 0;
  counters_.kv_free_pages = 0;
  counters_.running = 0;
  counters_.waiting = 0;
  malloc_trim(0);
  loaded_flag_ = false;
  log::info("model_unloaded file=" + key_.model);
  host_.unloaded();
}

}  // namespace kvasir
