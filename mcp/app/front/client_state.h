// What a front end must know of the conversation that it copies: which requests wait for an answer, so that each gets
// one when the host dies, and how a legacy MCP client introduced itself, so that the next host can be told. Pure; the
// thread of the front end.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "mcp/greeting.h"
#include "rpc/limits.h"
#include "rpc/message.h"

namespace kvasir::app {

class ClientState {
 public:
  explicit ClientState(mcp::Greeting::Speaks speaks);

  /// A message on its way to the host.
  void client_said(std::string_view text);
  /// A message on its way to the client. False: it answers what the front end itself said, and goes no further.
  bool host_said(std::string_view text);
  /// The host is gone: an answer for every request that waits.
  std::vector<std::string> host_lost();
  /// What a new host must hear before anything else.
  std::vector<std::string> introduction();
  /// The text of an error for something that never became a message.
  std::string refusal(const rpc::RpcError& error) const;
  size_t waiting() const noexcept { return waiting_.size(); }

 private:
  void note(const rpc::Request& request, std::string_view text);

  const bool mcp_;
  const rpc::Limits limits_;
  std::map<std::string, rpc::MessageId> waiting_;  // by the id's canonical text
  std::string initialize_;                         // legacy MCP: the client's own message, with our id
  bool initialized_ = false;                       // and whether it said that it is ready
  bool introducing_ = false;
};

}  // namespace kvasir::app
