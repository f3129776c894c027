// HTTP/1.1 over one connection: requests one after the other (keep-alive, pipelining with reading paused), the checks
// that come before any handler, timeouts, and the hand-over to a WebSocket. Owned by its connection; io thread.
#pragma once

#include <memory>
#include <string>

#include "rpc/net/connection.h"
#include "rpc/net/http.h"
#include "rpc/net/http_parser.h"
#include "rpc/net/server_context.h"

namespace kvasir::rpc {

class HttpSession final : public Protocol {
 public:
  HttpSession(Connection& connection, ServerContext& context);
  ~HttpSession() override;

  void bytes(char* data, size_t size) override;
  void eof() override;
  void closed() override;
  void drained() override;
  void tick(TimePoint now) override;
  void shutdown() override;

 private:
  class Exchange;
  void process();
  bool handle_head();
  bool upgrade();
  void preflight(std::string_view origin);
  void dispatch();
  void fail(int status, std::string_view reason, HeaderList headers = {});
  HeaderList common_headers() const;
  void exchange_over();
  void lose_client();

  Connection& connection_;
  ServerContext& context_;
  HttpParser parser_;
  std::string in_;                    // bytes not yet parsed
  std::weak_ptr<Exchange> exchange_;  // the request being answered; its handler owns it
  std::string principal_;
  std::string cors_origin_;           // of the present request, if its pages may read the answer
  TimePoint since_;                   // when the present phase (idle, head, body) began
  TimePoint last_output_;
  bool busy_ = false;                 // a handler has the request
  bool processing_ = false;
  bool head_method_ = false;
  bool http10_ = false;
  bool keep_alive_ = true;
  bool streaming_ = false;
  bool client_gone_ = false;
  bool closing_ = false;
  bool upgraded_ = false;
};

}  // namespace kvasir::rpc
