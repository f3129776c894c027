// Bytes waiting to be written to one connection, counted by ourselves: a soft limit that pauses producers, a hard one
// that ends the connection. No I/O, no locks; belongs to its connection.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "rpc/limits.h"

namespace kvasir::rpc {

class Outbox {
 public:
  explicit Outbox(const Limits& limits) : soft_bytes_(limits.outbox_soft_bytes), hard_bytes_(limits.outbox_hard_bytes) {}

  /// False: more than the hard limit waits already, nothing was added. One text may exceed the limit once.
  bool push(std::string_view bytes);
  std::string_view front() const { return std::string_view(buffer_).substr(head_); }
  /// The first `count` bytes of front() are written.
  void pop(size_t count);
  size_t bytes() const { return buffer_.size() - head_; }
  bool empty() const { return bytes() == 0; }
  bool congested() const { return bytes() > soft_bytes_; }
  /// Few enough wait to go on; half the soft limit, so that a producer does not stutter around it.
  bool relaxed() const { return bytes() <= soft_bytes_ / 2; }
  /// Time to stop reading from a client that does not read.
  bool crowded() const { return bytes() > hard_bytes_ / 2; }

 private:
  size_t soft_bytes_;
  size_t hard_bytes_;
  std::string buffer_;
  size_t head_ = 0;
};

}  // namespace kvasir::rpc
