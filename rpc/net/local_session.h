// One front end on the host's UNIX socket: greeting, reply, then the client's messages as if they came from stdio.
// Owned by its connection; io thread.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "rpc/net/connection.h"
#include "rpc/net/server_context.h"
#include "rpc/net/stdio_framing.h"
#include "rpc/peer.h"

namespace kvasir::rpc {

class LocalSession final : public Protocol, public Channel {
 public:
  /// `gate` outlives the session.
  LocalSession(Connection& connection, ServerContext& context, const LocalGate& gate);

  void bytes(char* data, size_t size) override;
  void eof() override;
  void closed() override;
  void drained() override;
  void tick(TimePoint) override {}
  void shutdown() override;

  void send_answer(std::string text) override;
  void send_notification(std::string text) override;
  bool congested() const override;
  void cut(std::string_view reason) override;
  void idle() override;
  std::chrono::milliseconds answer_gap() const override;

 private:
  void message(std::string_view text);
  void greet(std::string_view text);

  Connection& connection_;
  ServerContext& context_;
  const LocalGate& gate_;
  StdioFraming framing_;
  Json greeting_;
  std::optional<Peer> peer_;  // after the greeting
  bool mcp_ = false;
  bool ending_ = false;  // no more messages: ends when nothing is in flight
};

}  // namespace kvasir::rpc
