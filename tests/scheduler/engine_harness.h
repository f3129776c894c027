// An Engine as the front sees it, with blocking calls for tests. Every wait has a deadline: a hang is a failed test.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/engine/engine_pool.h"
#include "core/engine/message_codec.h"
#include "core/engine/outbox.h"
#include "tests/scheduler/fake_model.h"

namespace kvasir::test {

class EngineHarness {
 public:
  /// KVASIR_TEST_CODEC=1 (the second run of these tests) sends every message through its bytes.
  explicit EngineHarness(std::unique_ptr<Engine> engine) {
    const char* lane = std::getenv("KVASIR_TEST_CODEC");
    engine_ = lane != nullptr && *lane == '1' ? make_codec_engine(std::move(engine)) : std::move(engine);
    engine_->set_wake([this] {
      const std::lock_guard lock(mutex_);
      woken_ = true;
      changed_.notify_all();
    });
  }
  explicit EngineHarness(const FakeModelOptions& options = {}, const EngineLimits& limits = {})
      : EngineHarness(make_engine_pool(std::make_unique<FakeEnvironment>(options), limits)) {}

  Engine& engine() { return *engine_; }
  EngineKey key{.model = "fake.gguf"};

  template <class Body>
  GenerationId send(Body body) {
    if (body.id == 0) body.id = next_id_++;
    const GenerationId id = body.id;
    if (!engine_->send({.engine = key, .body = std::move(body)})) throw std::runtime_error("the engine is busy");
    return id;
  }

  /// The next event of anybody, or nothing after `patience`.
  std::optional<Event> next(std::chrono::milliseconds patience = std::chrono::seconds(20)) {
    const auto until = std::chrono::steady_clock::now() + patience;
    for (;;) {
      if (auto event = engine_->poll()) {
        note(*event);
        return event;
      }
      std::unique_lock lock(mutex_);
      if (!changed_.wait_until(lock, until, [this] { return woken_; })) return std::nullopt;
      woken_ = false;
    }
  }

  /// Polls until the command has its final event.
  Event wait(GenerationId id) {
    while (!finals.contains(id)) {
      if (!next()) throw std::runtime_error("no final event for " + std::to_string(id));
    }
    return finals.at(id);
  }
  template <class T>
  T wait_for(GenerationId id) {
    const Event event = wait(id);
    if (const auto* failed = std::get_if<Failed>(&event); failed != nullptr && !std::is_same_v<T, Failed>) {
      throw std::runtime_error("failed: " + failed->message);
    }
    return std::get<T>(event);
  }
  template <class T, class Body>
  T ask(Body body) {
    return wait_for<T>(send(std::move(body)));
  }
  /// Polls until the generation has shown some text.
  void wait_for_text(GenerationId id) {
    while (texts[id].empty()) {
      if (!next()) throw std::runtime_error("no text for " + std::to_string(id));
    }
  }

  std::map<GenerationId, Event> finals;
  std::map<GenerationId, std::string> texts;           ///< deltas joined
  std::map<GenerationId, std::vector<Progress>> progress;

 private:
  void note(const Event& event) {
    const GenerationId id = event_id(event);
    if (finals.contains(id)) throw std::runtime_error("an event came after the final one of " + std::to_string(id));
    if (const auto* delta = std::get_if<TextDelta>(&event)) texts[id] += delta->text;
    if (const auto* step = std::get_if<Progress>(&event)) progress[id].push_back(*step);
    if (is_final(event)) finals.emplace(id, event);
  }

  GenerationId next_id_ = 1;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;              // guarded by mutex_
  std::unique_ptr<Engine> engine_;  // last: its threads wake this
};

inline Generate generate(const std::string& text, uint32_t max_tokens) {
  Generate out;
  out.prompt.kind = Prompt::Kind::kText;
  out.prompt.text = text;
  out.max_tokens = max_tokens;
  out.sampling.temperature = 0.0F;
  out.return_tokens = true;
  return out;
}

}  // namespace kvasir::test
