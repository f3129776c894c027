// An Engine without a model, for tests of everything in front of it: known text, a fixed pace on a loop that the test
// moves, and the troubles that a real engine has. Single-threaded: send() and poll() on the loop's thread.
//
// The text is "Once upon a time in København 🦊." over and over, one word per token. The last message (or raw text)
// steers: "!fail CODE" fails with that code, "!hang" never makes a token, "!burst" makes all tokens at once.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/unique_function.h"
#include "core/engine/engine.h"

namespace kvasir::test {

struct FakeEngineOptions {
  std::chrono::milliseconds token_time{10};
  std::chrono::milliseconds load_time{0};  ///< before the first result; reported in five steps
  std::chrono::milliseconds prefill_time{0};
  size_t max_pending = 64;  ///< beyond: send() says busy
  size_t max_running = 8;   ///< beyond: queued
  double compare_cost = 0;  ///< nats that the other context of a comparison costs in all
};

class FakeEngine final : public Engine {
 public:
  using After = std::function<void(std::chrono::milliseconds, UniqueFunction<void()>)>;
  FakeEngine(After after, FakeEngineOptions options);

  bool send(Command command) override;
  std::optional<Event> poll() override;
  void set_wake(std::function<void()> wake) override { wake_ = std::move(wake); }
  void shutdown() override { shut_ = true; }

  FakeEngineOptions options;
  std::vector<Command> commands;  ///< everything that was sent
  size_t running() const noexcept { return running_.size(); }
  size_t pending() const noexcept { return running_.size() + waiting_.size(); }
  static std::string text(uint64_t tokens);

 private:
  struct Run {
    Generate request;
    std::string prompt;
    uint64_t prompt_tokens = 0;
    uint64_t made = 0;
    bool paused = false;
    uint64_t step = 0;  ///< scheduled steps carry it, so that a pause makes old ones void
    std::chrono::milliseconds worked{0};
  };
  void emit(Event event);
  void begin(Generate request);
  void admit();
  void load_then(GenerationId id, UniqueFunction<void()> then);
  void load_step(GenerationId id, int step, std::shared_ptr<UniqueFunction<void()>> then);
  void prefill(GenerationId id);
  void schedule(GenerationId id);
  void decode(GenerationId id);
  void finish(GenerationId id, FinishReason reason);
  GenerateResult result_of(const Run& run, FinishReason reason) const;
  static void describe_context(const Generate& request, uint64_t made, GenerateResult& result);
  void cancel(GenerationId id);
  void answer(CommandBody body);

  After after_;
  std::function<void()> wake_;
  std::deque<Event> events_;
  std::map<GenerationId, Run> running_;
  std::deque<Generate> waiting_;
  bool loaded_ = false, shut_ = false;
};

}  // namespace kvasir::test
