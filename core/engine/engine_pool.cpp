#include "core/engine/engine_pool.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/log.h"
#include "core/engine/engine_environment.h"
#include "core/engine/engine_instance.h"
#include "core/engine/outbox.h"

namespace kvasir {
namespace {

constexpr Milliseconds kRoomPoll{50};
constexpr Milliseconds kRoomPatience{20'000};
// Engines without a model are two sleeping threads: a few may stay for the next command of their key.
constexpr size_t kSpareInstances = 12;

std::string mebibytes(uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

class EnginePool final : public Engine, private EngineHost {
 public:
  EnginePool(std::unique_ptr<EngineEnvironment> environment, const EngineLimits& limits)
      : environment_(std::move(environment)), limits_(limits) {}
  ~EnginePool() override { shutdown(); }
  EnginePool(const EnginePool&) = delete;
  EnginePool& operator=(const EnginePool&) = delete;

  bool send(Command command) override;
  std::optional<Event> poll() override { return outbox_.poll(); }
  void set_wake(std::function<void()> wake) override { outbox_.set_wake(std::move(wake)); }
  void shutdown() override;
  EngineMetrics metrics() const override;

 private:
  using Instances = std::vector<std::shared_ptr<EngineInstance>>;

  bool send_control(CommandBody body, GenerationId id);
  std::shared_ptr<EngineInstance> instance_for(const EngineKey& key, std::shared_ptr<EngineInstance>& retired);
  EngineInstance* least_recently_used(const EngineInstance& but) const;

  void post(Event event) override;
  Result<void> begin_load(const EngineInstance& who, uint64_t bytes, const std::atomic<bool>& cancelled) override;
  void load_ended(const EngineInstance& who) override;
  void unloaded() override { changed_.notify_all(); }

  const std::unique_ptr<EngineEnvironment> environment_;
  const EngineLimits limits_;
  SteadyClock clock_;
  Outbox outbox_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Instances instances_;                                                          // guarded by mutex_, as all below
  std::unordered_map<GenerationId, std::shared_ptr<EngineInstance>> in_flight_;  // until the final event
  const EngineInstance* loader_ = nullptr;                                       // who may load now
  bool stopping_ = false;
};

std::shared_ptr<EngineInstance> EnginePool::instance_for(const EngineKey& key, std::shared_ptr<EngineInstance>& retired) {
  const auto found = std::ranges::find_if(instances_, [&](const auto& instance) { return instance->key() == key; });
  if (found != instances_.end()) return *found;
  if (instances_.size() >= limits_.max_loaded_models + kSpareInstances) {
    const auto spare = std::ranges::find_if(
        instances_, [](const auto& instance) { return instance->in_flight == 0 && !instance->loaded(); });
    if (spare == instances_.end()) return nullptr;
    retired = std::move(*spare);
    instances_.erase(spare);
  }
  instances_.push_back(std::make_shared<EngineInstance>(key, *environment_, limits_, static_cast<EngineHost&>(*this)));
  return instances_.back();
}

bool EnginePool::send_control(CommandBody body, GenerationId id) {
  std::shared_ptr<EngineInstance> instance;
  {
    const std::lock_guard lock(mutex_);
    const auto found = in_flight_.find(id);
    if (stopping_ || found == in_flight_.end()) return true;
    instance = found->second;
  }
  instance->send(std::move(body));
  return true;
}

bool EnginePool::send(Command command) {
  const GenerationId id = std::visit([](const auto& body) { return body.id; }, command.body);
  if (std::holds_alternative<Cancel>(command.body) || std::holds_alternative<Pause>(command.body) ||
      std::holds_alternative<Resume>(command.body)) {
    return send_control(std::move(command.body), id);
  }
  const size_t unpolled = outbox_.unpolled_finals();
  std::shared_ptr<EngineInstance> instance;
  std::shared_ptr<EngineInstance> retired;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_ || in_flight_.size() + unpolled >= limits_.max_commands) return false;
    if (in_flight_.contains(id)) {
      log::error("engine_duplicate_id id=" + std::to_string(id));
      return false;
    }
    instance = instance_for(command.engine, retired);
    if (!instance) return false;
    in_flight_.emplace(id, instance);
    ++instance->in_flight;
    instance->last_used_ns = clock_.now().time_since_epoch().count();
  }
  if (retired) retired->stop();  // idle and empty: its threads end at once
  instance->send(std::move(command.body));
  return true;
}

void EnginePool::post(Event event) {
  if (is_final(event)) {
    const std::lock_guard lock(mutex_);
    if (const auto found = in_flight_.find(event_id(event)); found != in_flight_.end()) {
      --found->second->in_flight;
      in_flight_.erase(found);
    }
    changed_.notify_all();
  }
  outbox_.post(std::move(event));
}

EngineInstance* EnginePool::least_recently_used(const EngineInstance& but) const {
  EngineInstance* oldest = nullptr;
  for (const auto& instance : instances_) {
    if (instance.get() == &but || !instance->loaded() || instance->in_flight > 0) continue;
    if (oldest == nullptr || instance->last_used_ns < oldest->last_used_ns) oldest = instance.get();
  }
  return oldest;
}

Result<void> EnginePool::begin_load(const EngineInstance& who, uint64_t bytes, const std::atomic<bool>& cancelled) {
  const TimePoint begun = clock_.now();
  std::unique_lock lock(mutex_);
  for (;; changed_.wait_for(lock, kRoomPoll)) {
    if (cancelled || stopping_) return Failure{Code::kCancelled, "cancelled"};
    if (loader_ != nullptr) continue;
    const auto loaded = static_cast<size_t>(std::ranges::count_if(instances_, [](const auto& i) { return i->loaded(); }));
    const bool slot = loaded < limits_.max_loaded_models;
    const uint64_t available = environment_->available_memory_bytes();
    if (slot && available >= bytes) {
      loader_ = &who;
      return {};
    }
    EngineInstance* victim = least_recently_used(who);
    if (victim != nullptr && clock_.now() - begun < kRoomPatience) {
      victim->request_unload();
      continue;
    }
    if (!slot) {
      return Failure{Code::kBusy, std::to_string(loaded) + " models are loaded and in use, which is the limit: try again later"};
    }
    return Failure{Code::kUnavailable, "not enough memory to load the model: it takes " + mebibytes(bytes) + ", " +
                                           mebibytes(available) + " are free"};
  }
}

void EnginePool::load_ended(const EngineInstance& who) {
  {
    const std::lock_guard lock(mutex_);
    if (loader_ == &who) loader_ = nullptr;
  }
  changed_.notify_all();
}

void EnginePool::shutdown() {
  Instances instances;
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(stopping_, true)) return;
    instances = instances_;
  }
  changed_.notify_all();
  for (const auto& instance : instances) instance->stop();
  outbox_.close();
  const std::lock_guard lock(mutex_);
  in_flight_.clear();
}

EngineMetrics EnginePool::metrics() const {
  EngineMetrics out;
  const std::lock_guard lock(mutex_);
  for (const auto& instance : instances_) {
    instance->counters().add_to(out);
    out.loaded_models += instance->loaded() ? 1 : 0;
  }
  out.in_flight = in_flight_.size();
  return out;
}

}  // namespace

std::unique_ptr<Engine> make_engine_pool(std::unique_ptr<EngineEnvironment> environment, const EngineLimits& limits) {
  return std::make_unique<EnginePool>(std::move(environment), limits);
}

}  // namespace kvasir
