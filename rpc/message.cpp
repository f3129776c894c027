#include "rpc/message.h"

namespace kvasir::rpc {

std::string dump(const Json& value) {
  return value.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

std::string result_text(const MessageId& id, const Json& result) {
  std::string out = R"({"jsonrpc":"2.0","id":)";
  out += id.present() ? std::string_view(id.text) : std::string_view("null");
  out += R"(,"result":)";
  out += dump(result);
  out += '}';
  return out;
}

std::string error_text(const MessageId& id, const RpcError& error, bool omit_unknown_id) {
  Json body{{"code", error.code}, {"message", error.message}};
  if (error.data) body["data"] = *error.data;
  std::string out = R"({"jsonrpc":"2.0")";
  if (id.present()) {
    out += R"(,"id":)" + id.text;
  } else if (!omit_unknown_id) {
    out += R"(,"id":null)";
  }
  out += R"(,"error":)";
  out += dump(body);
  out += '}';
  return out;
}

std::string notification_text(std::string_view method, const Json& params) {
  return R"({"jsonrpc":"2.0","method":)" + dump(Json(method)) + R"(,"params":)" + dump(params) + '}';
}

}  // namespace kvasir::rpc
