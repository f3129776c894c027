// Plain JSON-RPC methods by name, with the signature as the contract. Framing-independent; knows nothing of models.
// Registered once at start, then immutable; io thread.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "rpc/service.h"

namespace kvasir::rpc {

/// Parses params into P: by name from an object, by position from an array. Made from a field table (mcp/tools/schema.h).
template <class P>
using ParamsParser = std::function<Result<P>(const Json& params)>;

class Router final : public Service {
 public:
  using Handler = UniqueFunction<void(const CallInfo&, const Json& params, const MessageId& id, Responder)>;

  /// Typed registration: bad params answer -32602 with the parser's message (it names the path) before `handle` runs.
  template <class P>
  void method(std::string name, ParamsParser<P> parse, std::function<void(const CallInfo&, P, const MessageId&, Responder)> handle) {
    add(std::move(name), [parse = std::move(parse), handle = std::move(handle)](const CallInfo& info, const Json& params,
                                                                                 const MessageId& id, Responder reply) {
      auto parsed = parse(params);
      if (!parsed) return reply.error({kInvalidParams, parsed.error().message, std::nullopt});
      handle(info, std::move(*parsed), id, std::move(reply));
    });
  }
  /// Names beginning with "rpc." are reserved and refused (assert).
  void add(std::string name, Handler handler);
  std::vector<std::string> names() const;

  Rules rules() const override;
  std::unique_ptr<ConnectionState> connect(const CallInfo&) override;
  void call(Request request, const CallInfo& info, Responder responder) override;
  void notification(Request request, const CallInfo& info) override;
  bool accepts_batch(const Json&, const CallInfo&) override;

 private:
  std::map<std::string, Handler, std::less<>> handlers_;
};

}  // namespace kvasir::rpc
