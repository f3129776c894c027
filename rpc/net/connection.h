// One accepted TCP connection: bytes in to a protocol (HTTP, later perhaps WebSocket), bytes out through a bounded
// outbox, slow readers cut, and a lingering close so that last words arrive. Shared between the listener's set and
// pending readiness callbacks; io thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/clock.h"
#include "rpc/limits.h"
#include "rpc/net/outbox.h"
#include "rpc/net/reactor.h"

namespace kvasir::rpc {

class Connection;

/// What speaks over a connection. Called on the io thread, never after closed().
class Protocol {
 public:
  virtual ~Protocol() = default;
  /// Bytes that came in; the protocol may overwrite them.
  virtual void bytes(char* data, size_t size) = 0;
  virtual void eof() = 0;       ///< the client will send no more
  virtual void closed() = 0;    ///< the connection is gone; the last call
  virtual void drained() = 0;   ///< few enough bytes wait to be written again
  virtual void tick(TimePoint now) = 0;
  virtual void shutdown() = 0;  ///< the server stops: end politely
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  struct Host {
    Reactor& reactor;
    const Limits& limits;
    const Clock& clock;
    std::function<void(Connection&)> forget;  ///< called once, when the connection is over
  };
  Connection(std::shared_ptr<const Host> host, std::unique_ptr<Descriptor> descriptor, std::string peer_address);
  ~Connection();

  void start(std::unique_ptr<Protocol> protocol);
  /// From inside Protocol::bytes(): another protocol takes over. The old one gets no further call.
  void replace_protocol(std::unique_ptr<Protocol> protocol);

  /// Queues and tries to write at once. Over the hard limit the connection is aborted.
  void send(std::string_view bytes);
  /// Writes what is queued, then closes; what still comes in is read and dropped meanwhile, so that no reset destroys
  /// the last bytes. No further bytes(); send() is ignored.
  void finish();
  /// Closes now. Protocol::closed() follows from the loop, not from inside this call.
  void abort();
  /// Reading stops while bytes wait that nobody can take; tell when that is over.
  void pause_reading();
  void resume_reading();

  size_t buffered_bytes() const { return outbox_.bytes(); }
  bool congested() const { return outbox_.congested(); }
  bool open() const { return state_ == State::kOpen; }
  const std::string& peer_address() const { return peer_address_; }
  TimePoint now() const { return host_->clock.now(); }
  Protocol& protocol() { return *protocol_; }
  void tick(TimePoint now);

 private:
  enum class State : uint8_t { kOpen, kFinishing, kLingering, kClosed };
  void arm_read();
  void readable();
  void flush();
  void end_of_input();
  void after_flush();

  std::shared_ptr<const Host> host_;
  std::unique_ptr<Descriptor> descriptor_;
  std::string peer_address_;
  std::unique_ptr<Protocol> protocol_;
  std::unique_ptr<Protocol> retired_;  // replaced while it was on the stack
  Outbox outbox_;
  State state_ = State::kOpen;
  bool in_callback_ = false;   // output is flushed once, after the protocol returns
  bool reading_armed_ = false;
  bool writing_armed_ = false;
  bool paused_ = false;        // by the protocol
  bool eof_ = false;
  bool was_congested_ = false;
  TimePoint linger_until_{};
  TimePoint slow_since_{};     // when the present stall of the reader began
  size_t written_since_ = 0;
};

}  // namespace kvasir::rpc
