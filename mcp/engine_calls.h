// Who waits for what the engine says: the map from GenerationId to pending call. Commands go out through it, events
// come back through it, in order. Owned by the host; io thread only (the engine's wake-up is posted there).
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "core/base/result.h"
#include "core/engine/engine.h"

namespace kvasir::mcp {

/// One waiting call. final() comes exactly once, then the call is forgotten.
class EngineCall {
 public:
  virtual ~EngineCall() = default;
  virtual void progress(const Progress&) {}
  virtual void delta(const TextDelta&) {}
  virtual void partial(const PartialResult&) {}
  /// The server ends. True: what the engine still says about it should be heard (it was told to stop).
  virtual bool closing() { return false; }
  virtual void final(const Event& event) = 0;
};

class EngineCalls {
 public:
  explicit EngineCalls(Engine& engine) : engine_(engine) {}

  /// Sends `body` under a new id. Errors: kBusy (queue full), kUnavailable (closed); `call` is then not kept.
  Result<GenerationId> start(EngineKey engine, CommandBody body, std::shared_ptr<EngineCall> call);
  /// Unknown or finished ids are ignored. The call's final event still comes.
  void cancel(GenerationId id);
  void pause(GenerationId id);
  void resume(GenerationId id);
  /// Delivers at most `max_events`. True: there may be more.
  bool drain(size_t max_events);
  /// Refuses new calls and tells the pending ones. True: what some of them still hear is worth a moment.
  bool begin_close();
  bool heard_out() const;  ///< all of those were
  /// Fails every pending call and refuses new ones; the engine's later events are dropped.
  void close();
  size_t pending() const noexcept { return pending_.size(); }

 private:
  struct Pending {
    EngineKey engine;
    std::shared_ptr<EngineCall> call;  // shared: a timer or a cancel handler may hold it weakly at the same time
    bool awaited = false;              // at the end
  };
  void deliver(const Event& event);
  template <class Command>
  void control(GenerationId id);

  Engine& engine_;
  std::unordered_map<GenerationId, Pending> pending_;
  GenerationId next_id_ = 1;
  bool closed_ = false;
};

}  // namespace kvasir::mcp
