// A WebSocket after its handshake: frames to messages for a peer, answers to frames, pings, close codes, and the limits
// that keep a hostile client cheap. Owned by its connection; io thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "rpc/net/connection.h"
#include "rpc/net/server_context.h"
#include "rpc/net/ws_codec.h"
#include "rpc/peer.h"

namespace kvasir::rpc {

class WsSession final : public Protocol, public Channel {
 public:
  WsSession(Connection& connection, ServerContext& context, Service& service, CallInfo info);
  ~WsSession() override;

  void bytes(char* data, size_t size) override;
  void eof() override;
  void closed() override;
  void drained() override;
  void tick(TimePoint now) override;
  void shutdown() override;

  void send_answer(std::string text) override;
  void send_notification(std::string text) override;
  bool congested() const override;
  void cut(std::string_view reason) override;
  void idle() override;

 private:
  void handle(ws::Message& message);
  bool control_allowed();
  void close(uint16_t code, std::string_view reason);

  Connection& connection_;
  ServerContext& context_;
  ws::Codec codec_;
  Peer peer_;
  TimePoint last_input_;
  TimePoint partial_since_;      // when the unfinished message began
  size_t partial_bytes_ = 0;
  TimePoint control_window_;     // start of the 10 s in which control frames are counted
  uint32_t control_frames_ = 0;
  bool pinged_ = false;          // a ping waits for any sign of life
  bool closing_ = false;         // our close frame is sent
  bool shutting_down_ = false;
};

}  // namespace kvasir::rpc
