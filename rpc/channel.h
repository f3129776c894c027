// Where a peer's messages go: the seam between the protocol machine (peer.h) and the transports (net/). io thread.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "rpc/message.h"

namespace kvasir::rpc {

class Channel {
 public:
  virtual ~Channel() = default;
  /// One complete message, or one batch, without framing. Never blocks; dropped when the connection is gone.
  virtual void send_answer(std::string text) = 0;
  virtual void send_notification(std::string text) = 0;
  /// More than the soft limit waits to be written.
  virtual bool congested() const = 0;
  /// The client misbehaves. Must neither disconnect nor destroy the peer before it returns to the loop.
  virtual void cut(std::string_view reason) = 0;
  /// A well-formed request is about to reach the service.
  virtual void starting(const Request&) {}
  /// The text is handled and nothing is in flight.
  virtual void idle() {}
  /// Least time between the last notification of a call and its answer (protocol.md §7, "Lost progress").
  virtual std::chrono::milliseconds answer_gap() const { return std::chrono::milliseconds(0); }
};

}  // namespace kvasir::rpc
