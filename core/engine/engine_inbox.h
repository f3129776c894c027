// What reaches one engine thread from elsewhere: commands from the front, prompts from the side worker, a model from
// its loader. Thread-safe; one thread drains it. Bounded by the pool's limit on requests in flight.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "core/base/clock.h"
#include "core/engine/messages.h"
#include "core/engine/prompt_builder.h"

namespace kvasir {

/// Commands that the engine thread itself carries out.
using Work = std::variant<Generate, ScoreText, Preload, CompressContext, CompareContexts>;
/// Whose cached pages a command may use; nobody's and everybody's: empty.
inline std::string cache_salt_of(const Work& work) {
  return std::visit(
      [](const auto& body) -> std::string {
        if constexpr (requires { body.cache_salt; }) return body.cache_salt;
        return {};
      },
      work);
}
struct Arrived {
  Work work;
  TimePoint at;
};
/// Cancel, Pause and Resume of one request, merged: however many are sent, one entry stays.
struct Control {
  bool cancel = false;
  std::optional<bool> paused;
};
/// A prompt that the side worker made ready; `serial` is the engine thread's own number of the request.
struct Prepared {
  uint64_t serial = 0;
  Result<std::variant<PreparedPrompt, PreparedScore>> prompt;
};
/// A model on its backend. The weights live in the backend: it is destroyed last.
struct LoadedModel {
  uint32_t gpu_layers = 0;
  std::string backend_note;  ///< why another backend than the chosen one; empty: it is that one
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Model> model;
};

struct EngineMail {
  std::vector<Arrived> arrived;
  std::vector<ProbeCache> probes;
  std::map<GenerationId, Control> controls;
  std::vector<Prepared> prepared;
  std::optional<Result<std::shared_ptr<LoadedModel>>> loaded;
  bool unload = false;
  bool stop = false;
  bool empty() const noexcept {
    return arrived.empty() && probes.empty() && controls.empty() && prepared.empty() && !loaded && !unload && !stop;
  }
};

class EngineInbox {
 public:
  /// Applies `edit` to the waiting mail and wakes the engine thread.
  template <class Edit>
  void put(Edit edit) {
    {
      const std::lock_guard lock(mutex_);
      edit(mail_);
    }
    changed_.notify_one();
  }
  /// All mail; waits up to `patience` for some. `stop` stays set.
  EngineMail take(Milliseconds patience) {
    std::unique_lock lock(mutex_);
    if (patience.count() > 0) changed_.wait_for(lock, patience, [this] { return !mail_.empty(); });
    EngineMail out = std::exchange(mail_, {});
    mail_.stop = out.stop;
    return out;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  EngineMail mail_;  // guarded by mutex_
};

}  // namespace kvasir
