// HTTP as the layers above see it: a request that passed the checks (syntax, size, Host, Origin, token) and an exchange
// to answer it with, once or as a stream of server-sent events. io thread only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/unique_function.h"
#include "rpc/service.h"

namespace kvasir::rpc {

struct HttpRequest {
  std::string method;  ///< upper case, as sent
  std::string path;    ///< without the query
  std::string query;
  HttpHeaders headers;
  std::string body;
  std::string principal;
};

using HeaderList = std::vector<std::pair<std::string, std::string>>;

class HttpExchange {
 public:
  virtual ~HttpExchange() = default;
  virtual void respond(int status, const HeaderList& headers, std::string body) = 0;
  /// Sends the head of a 200 text/event-stream; then event() until end(). Keep-alive comments are automatic.
  virtual void start_events(const HeaderList& headers) = 0;
  virtual void event(std::string_view json_line) = 0;  ///< `event: message\ndata: <json>\n\n`
  virtual void end() = 0;
  virtual bool started() const = 0;                    ///< a head has been sent
  virtual size_t buffered_bytes() const = 0;
  virtual void on_disconnect(UniqueFunction<void()> fn) = 0;
  virtual void on_drained(UniqueFunction<void()> fn) = 0;
};
using HttpHandler = std::function<void(HttpRequest, std::shared_ptr<HttpExchange>)>;

}  // namespace kvasir::rpc
