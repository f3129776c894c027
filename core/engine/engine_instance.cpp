#include "core/engine/engine_instance.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "core/base/log.h"

namespace kvasir {
namespace {

constexpr Milliseconds kLoadingPatience{50};
constexpr Milliseconds kStalledPatience{10};
constexpr Milliseconds kQuietPatience{500};
constexpr Milliseconds kIdlePatience{60'000};
constexpr Milliseconds kProgressCheck{50};
constexpr Milliseconds kProgressInterval{100};
constexpr Milliseconds kHeartbeat{3000};

GenerationId id_of(const Work& work) {
  return std::visit([](const auto& command) { return command.id; }, work);
}

bool same(const Progress& a, const Progress& b) {
  return a.phase == b.phase && a.done == b.done && a.total == b.total;
}

Event cancelled_before_start(const Work& work) {
  if (const auto* generate = std::get_if<Generate>(&work)) {
    GenerateResult result;
    result.id = generate->id;
    result.finish_reason = FinishReason::kCancelled;
    return result;
  }
  return Failed{.id = id_of(work), .code = Code::kCancelled, .message = "cancelled"};
}

}  // namespace

EngineInstance::EngineInstance(EngineKey key, const EngineEnvironment& environment, const EngineLimits& limits,
                               EngineHost& host)
    : key_(std::move(key)), environment_(environment), limits_(limits), host_(host), parked_(limits.max_parked_bytes), guess_policy_(limits.max_guesses), thread_([this] { run(); }) {}

void EngineInstance::send(CommandBody body) {
  std::visit(
      [this](auto&& command) {
        using T = std::decay_t<decltype(command)>;
        if constexpr (std::is_same_v<T, Generate> || std::is_same_v<T, ScoreText> || std::is_same_v<T, Preload> ||
                      std::is_same_v<T, CompressContext> || std::is_same_v<T, CompareContexts>) {
          inbox_.put([&](EngineMail& mail) { mail.arrived.push_back({std::move(command), clock_.now()}); });
        } else if constexpr (std::is_same_v<T, ProbeCache>) {
          inbox_.put([&](EngineMail& mail) { mail.probes.push_back(std::move(command)); });
        } else if constexpr (std::is_same_v<T, Cancel>) {
          side_.cancel(command.id);
          inbox_.put([&](EngineMail& mail) { mail.controls[command.id].cancel = true; });
        } else if constexpr (std::is_same_v<T, Pause> || std::is_same_v<T, Resume>) {
          inbox_.put([&](EngineMail& mail) { mail.controls[command.id].paused = std::is_same_v<T, Pause>; });
        } else if constexpr (std::is_same_v<T, ModelInfo>) {
          post_info_job(command);
        } else {
          post_text_job(std::move(command));
        }
      },
      std::move(body));
}

void EngineInstance::request_unload() {
  inbox_.put([](EngineMail& mail) { mail.unload = true; });
}

void EngineInstance::stop() {
  inbox_.put([](EngineMail& mail) { mail.stop = true; });
  if (thread_.joinable()) thread_.join();
  side_.stop();
}

void EngineInstance::run() {
  last_active_ = clock_.now();
  for (bool stop = false; !stop;) {
    try {
      EngineMail mail = inbox_.take(patience());
      stop = mail.stop;
      receive(std::move(mail));
      if (stop) break;
      expire(clock_.now());
      stalled_ = scheduler_ && scheduler_->has_work() && !step();
      report_progress(clock_.now());
      if (!requests_.empty() || loading_) last_active_ = clock_.now();
    } catch (const std::exception& e) {
      // Only the standard library throws here, and then memory is what it lacks: give the model's back.
      log::error(std::string("engine_exception what=") + e.what());
      while (!requests_.empty()) fail(requests_.begin(), Code::kInternal, std::string("the engine failed: ") + e.what());
      unload();
      if (!loading_) host_.load_ended(*this);
    }
  }
  if (loading_) {
    loading_->cancelled = true;
    loading_.reset();
    host_.load_ended(*this);
  }
  while (!requests_.empty()) cancel(requests_.begin());
  unload();
}

Milliseconds EngineInstance::patience() const {
  if (scheduler_ && scheduler_->has_work()) return stalled_ ? kStalledPatience : Milliseconds(0);
  if (loading_) return kLoadingPatience;
  const TimePoint now = clock_.now();
  if (!requests_.empty()) {
    Milliseconds wait = kQuietPatience;
    for (const auto& [serial, request] : requests_) {
      if (request.deadline) wait = std::min<Milliseconds>(wait, *request.deadline - now);
    }
    return std::max(wait, Milliseconds(1));
  }
  if (!model_) return kIdlePatience;
  const TimePoint used(std::chrono::nanoseconds(last_used_ns.load()));
  const Milliseconds quiet = now - std::max(used, last_active_);
  return std::clamp(Milliseconds(static_cast<double>(limits_.idle_unload_ms)) - quiet, Milliseconds(1), kIdlePatience);
}

void EngineInstance::receive(EngineMail mail) {
  if (mail.stop) {
    for (const Arrived& arrived : mail.arrived) host_.post(cancelled_before_start(arrived.work));
    for (const ProbeCache& probe : mail.probes) {
      host_.post(Failed{.id = probe.id, .code = Code::kCancelled, .message = "cancelled"});
    }
    return;
  }
  for (Arrived& arrived : mail.arrived) on_arrived(std::move(arrived));
  for (Prepared& prepared : mail.prepared) on_prepared(std::move(prepared));
  for (const auto& [id, control] : mail.controls) on_control(id, control);
  for (const ProbeCache& probe : mail.probes) on_probe(probe);
  if (mail.loaded) on_loaded(std::move(*mail.loaded));
  if (!model_ || loading_ || !requests_.empty()) return;
  const TimePoint used(std::chrono::nanoseconds(last_used_ns.load()));
  const Milliseconds quiet = clock_.now() - std::max(used, last_active_);
  if (mail.unload || quiet.count() >= static_cast<double>(limits_.idle_unload_ms)) unload();
}

void EngineInstance::on_arrived(Arrived arrived) {
  const uint64_t serial = next_serial_++;
  Request request;
  request.id = id_of(arrived.work);
  request.times.arrived = arrived.at;
  if (const auto* generate = std::get_if<Generate>(&arrived.work); generate != nullptr && generate->max_time_ms > 0) {
    // A limit beyond what a clock can count is none.
    constexpr uint64_t kLongest = 1'000'000'000'000;
    if (generate->max_time_ms < kLongest) request.deadline = arrived.at + std::chrono::milliseconds(generate->max_time_ms);
  }
  request.work = std::move(arrived.work);
  serials_[request.id] = serial;
  const auto placed = requests_.emplace(serial, std::move(request)).first;
  if (const auto* generate = std::get_if<Generate>(&placed->second.work)) {
    if (auto checked = check_generate(*generate, limits_); !checked) {
      return fail(placed, checked.error().code, checked.error().message);
    }
  }
  if (!model_) {
    if (!loading_) start_load();
  } else if (std::holds_alternative<Preload>(placed->second.work)) {
    host_.post(Ready{.id = placed->second.id, .load_ms = load_ms_});
    erase(placed);
  } else {
    prepare(serial, placed->second);
    placed->second.stage = Stage::kPreparing;
  }
}

void EngineInstance::on_prepared(Prepared prepared) {
  const auto found = requests_.find(prepared.serial);
  if (found == requests_.end() || found->second.stage != Stage::kPreparing) return;
  if (!prepared.prompt) return fail(found, prepared.prompt.error().code, prepared.prompt.error().message);
  if (!scheduler_) return fail(found, Code::kUnavailable, "the model was unloaded");
  auto begun = begin_sequence(prepared.serial, found->second, std::move(*prepared.prompt));
  if (!begun) return fail(found, begun.error().code, begun.error().message);
}

void EngineInstance::on_control(GenerationId id, const Control& control) {
  const auto serial = serials_.find(id);
  if (serial == serials_.end()) return;
  const auto request = requests_.find(serial->second);
  if (control.cancel) return cancel(request);
  if (!control.paused) return;
  request->second.paused = *control.paused;
  if (request->second.stage != Stage::kScheduled) return;
  *control.paused ? scheduler_->pause(request->first) : scheduler_->resume(request->first);
}

void EngineInstance::on_probe(const ProbeCache& probe) {
  CacheResult result;
  result.id = probe.id;
  if (scheduler_) {
    result.loaded = true;
    result.context = context_;
    result.kv_bytes_per_token = runner_->block_bytes() / kPageTokens;
    result.fingerprint = model_->model->description().fingerprint;
    const uint32_t base = probe.stages.empty() ? 0 : probe.stages.back().edit.kept_tokens;
    result.cached_tokens =
        scheduler_->kv().cached_tokens(cache_root(probe.cache_salt, probe.stages), probe.tokens, base);
  }
  host_.post(std::move(result));
}

void EngineInstance::expire(TimePoint now) {
  for (auto it = requests_.begin(); it != requests_.end();) {
    const auto request = it++;
    if (request->second.deadline && *request->second.deadline <= now) finish(request, FinishReason::kTimeLimit);
  }
}

void EngineInstance::finish(Requests::iterator request, FinishReason reason) {
  Request& r = request->second;
  const TimePoint now = clock_.now();
  GenerateResult result;
  if (r.generation) {
    Generation::End end = r.generation->finish(reason, r.cached_tokens, r.times, now);
    if (!end.tail.empty()) {
      host_.post(TextDelta{.id = r.id, .text = std::move(end.tail), .tokens_so_far = r.generation->completion_tokens()});
    }
    result = std::move(end.result);
    result.loaded_tokens = std::min(r.loaded_tokens, r.cached_tokens);
    result.cache_note = r.cache_note;
    result.timings.parked = r.parked;
    result.timings.guessed_tokens = r.guessed_tokens;
    result.timings.accepted_tokens = r.accepted_tokens;
    save_pages(request->first, r, Pages::kAll);  // before the answer: whoever deletes the session then deletes these too
  } else {
    result.id = r.id;
    result.finish_reason = reason;
    result.timings = timings_of(r.times, now, 0, 0);
  }
  if (model_) {
    result.model = model_->model->description().name;
    result.fingerprint = model_->model->description().fingerprint;
  }
  host_.post(std::move(result));
  erase(request);
}

void EngineInstance::fail(Requests::iterator request, Code code, std::string message) {
  const uint64_t retry_after_ms = code == Code::kBusy ? 1000 : 0;
  host_.post(Failed{.id = request->second.id, .code = code, .message = std::move(message), .retry_after_ms = retry_after_ms});
  erase(request);
}

void EngineInstance::cancel(Requests::iterator request) {
  if (std::holds_alternative<Generate>(request->second.work)) return finish(request, FinishReason::kCancelled);
  fail(request, Code::kCancelled, "cancelled");
}

void EngineInstance::erase(Requests::iterator request) {
  if (scheduler_) scheduler_->remove(request->first);
  parked_.forget(request->first);
  if (const auto serial = serials_.find(request->second.id); serial != serials_.end() && serial->second == request->first) {
    serials_.erase(serial);
  }
  requests_.erase(request);
  // Nobody waits for this model any more: stop reading it.
  if (loading_ && requests_.empty()) loading_->cancelled = true;
}

Progress EngineInstance::progress_of(uint64_t serial, const Request& request) const {
  Progress progress{.id = request.id};
  if (request.stage == Stage::kLoading) {
    progress.phase = Phase::kLoading;
    progress.done = loading_ ? loading_->percent.load() : 0;
    progress.total = 100;
    return progress;
  }
  if (request.stage == Stage::kPreparing) return progress;
  const auto prompt = static_cast<uint64_t>(request.prompt_tokens);
  switch (scheduler_->phase(serial)) {
    case SeqPhase::kWaiting: progress.done = scheduler_->requests_ahead(serial); return progress;
    case SeqPhase::kPrefill:
    case SeqPhase::kComplete:
      progress.phase = Phase::kPrefill;
      progress.done = scheduler_->computed_tokens(serial);
      progress.total = prompt;
      return progress;
    case SeqPhase::kDecode: break;
  }
  progress.phase = Phase::kDecode;
  progress.done = request.generation ? request.generation->completion_tokens() : 0;
  progress.total = request.generation ? request.generation->room() : 0;
  return progress;
}

void EngineInstance::report_progress(TimePoint now) {
  if (now - progress_checked_ < kProgressCheck) return;
  progress_checked_ = now;
  for (auto& [serial, request] : requests_) {
    if (request.reported && now - request.reported_at < kProgressInterval) continue;
    const Progress progress = progress_of(serial, request);
    const bool news = !request.reported || !same(*request.reported, progress);
    if (!news && now - request.reported_at < kHeartbeat) continue;
    request.reported = progress;
    request.reported_at = now;
    host_.post(progress);
  }
}

}  // namespace kvasir
