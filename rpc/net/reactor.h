// The io loop: readiness of descriptors, timers and posted tasks on the one thread that calls run(). Asio behind a
// pimpl; no other file sees it. post() and stop() are thread-safe, everything else belongs to the loop's thread.
#pragma once

#include <chrono>
#include <memory>

#include "core/base/unique_function.h"

namespace kvasir::rpc {

/// A descriptor that the loop watches, closed with this object.
class Descriptor {
 public:
  virtual ~Descriptor() = default;
  virtual int fd() const = 0;
  /// Calls back once when reading (writing) would not block. Not called after close().
  virtual void on_readable(UniqueFunction<void()> fn) = 0;
  virtual void on_writable(UniqueFunction<void()> fn) = 0;
  virtual void close() = 0;
};

class Reactor {
 public:
  Reactor();
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  /// Runs tasks until stop(). What a task throws is logged and does not end the loop.
  void run();
  void stop();
  void post(UniqueFunction<void()> task);
  void after(std::chrono::milliseconds delay, UniqueFunction<void()> task);
  /// Takes over a descriptor of a socket or pipe, already non-blocking.
  std::unique_ptr<Descriptor> watch(int fd);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kvasir::rpc
