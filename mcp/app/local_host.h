// This process as the host of its user and data folder: the seat, the gate that front ends pass, and the end of idle
// hosts. Used by `kvasir host`, which front ends start by themselves, and by `kvasir serve`. Main thread before run(),
// then the io thread.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "mcp/app/host_place.h"
#include "mcp/app/serving.h"
#include "mcp/greeting.h"

namespace kvasir::app {

struct LocalHostOptions {
  /// Leave after this long without front ends and calls. Absent: stay, also when a newer program asks for the seat.
  std::optional<std::chrono::milliseconds> idle_limit;
};

class LocalHost {
 public:
  /// Takes the seat, or returns null if another process has it. Errors: kIo.
  static Result<std::unique_ptr<LocalHost>> create(const std::string& data_dir, const LocalHostOptions& options);

  /// Lets front ends in from now on. `serving` outlives this object's use: both end with the process.
  void serve(Serving& serving);

 private:
  LocalHost(HostPlace::Seat seat, mcp::Build build, const LocalHostOptions& options)
      : seat_(std::move(seat)), build_(std::move(build)), options_(options) {}
  rpc::LocalWelcome welcome(const rpc::Json& greeting);
  void watch_idleness();
  void leave(const char* reason);
  void stop_when_quiet(std::chrono::steady_clock::time_point deadline);

  HostPlace::Seat seat_;
  const mcp::Build build_;
  const LocalHostOptions options_;
  Serving* serving_ = nullptr;
  std::chrono::steady_clock::time_point used_{};
  bool leaving_ = false;
};

}  // namespace kvasir::app
