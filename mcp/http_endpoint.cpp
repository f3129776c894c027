#include "mcp/http_endpoint.h"

#include <algorithm>
#include <cctype>
#include <utility>
#include <variant>
#include <vector>

#include "rpc/parse.h"

namespace kvasir::mcp {
namespace {

using rpc::HttpExchange;
using rpc::HttpRequest;

// What the reference servers answer in the legacy era; MCP reserves no codes for it.
constexpr int kLegacyBadRequest = -32000, kLegacySessionNotFound = -32001;
const rpc::HeaderList kAllowed = {{"Allow", "POST, DELETE"}};

rpc::RpcError plain_error(int code, std::string message) {
  return {code, std::move(message), std::nullopt};
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool is_json(const HttpRequest& request) {
  const auto type = header_value(request.headers, "content-type");
  if (!type) return false;
  const std::string text = lower(*type);
  return trimmed(std::string_view(text).substr(0, text.find(';'))) == "application/json";
}

bool is_encoded(const HttpRequest& request) {
  const auto encoding = header_value(request.headers, "content-encoding");
  return encoding && lower(*encoding) != "identity";
}

/// Does an Accept header take this type? Parameters are ignored, except that q=0 means no.
bool accepts(const std::string& accept, std::string_view type) {
  const std::string text = lower(accept);
  const std::string family = std::string(type.substr(0, type.find('/'))) + "/*";
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::string_view item = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), item.size() + 1));
    const std::string_view range = trimmed(item.substr(0, item.find(';')));
    if (range != type && range != family && range != "*/*") continue;
    if (item.find("q=0") == std::string_view::npos || item.find("q=0.") != std::string_view::npos) return true;
  }
  return false;
}

bool is_modern_named(const HttpRequest& request) {
  const auto version = header_value(request.headers, "mcp-protocol-version");
  return version && *version >= kModernVersion;
}

}  // namespace

/// One POST while it is being taken in.
struct HttpEndpoint::Post {
  HttpRequest request;
  std::shared_ptr<HttpExchange> exchange;
  std::shared_ptr<HttpAnswers> answers;

  rpc::CallInfo info(bool cancel_by_disconnect) const {
    return {.transport = rpc::Transport::kHttp,
            .cancel_by_disconnect = cancel_by_disconnect,
            .principal = request.principal,
            .headers = &request.headers};
  }
};

HttpEndpoint::HttpEndpoint(McpServer& server, EventLoop& loop, HttpEndpointOptions options)
    : server_(server),
      loop_(loop),
      options_(std::move(options)),
      sessions_(options_.max_sessions, options_.session_ttl) {}

void HttpEndpoint::handle(HttpRequest request, const std::shared_ptr<HttpExchange>& exchange) {
  if (request.method == "DELETE") return handle_delete(request, *exchange);
  if (request.method != "POST")
    return refuse_http(*exchange, 405, plain_error(rpc::kInvalidRequest, "Method not allowed: POST a message"), {},
                       kAllowed);
  if (!is_json(request))
    return refuse_http(*exchange, 415, plain_error(rpc::kInvalidRequest, "Content-Type must be application/json"));
  if (is_encoded(request))
    return refuse_http(*exchange, 415,
                       plain_error(rpc::kInvalidRequest, "Content-Encoding is not supported: send the body as it is"));
  const auto accept = header_value(request.headers, "accept");
  if (!accept || !accepts(*accept, "application/json"))
    return refuse_http(*exchange, 406,
                       plain_error(rpc::kInvalidRequest, "Accept must list application/json and text/event-stream"));
  const bool events = accepts(*accept, "text/event-stream");
  Post post{std::move(request), exchange,
            std::make_shared<HttpAnswers>(exchange, events, options_.limits.outbox_soft_bytes)};
  handle_post(post);
}

void HttpEndpoint::handle_post(Post& post) {
  const auto accepts_batch = [&](const Json& array) {
    rpc::CallInfo info = post.info(false);
    const auto id = header_value(post.request.headers, "mcp-session-id");
    const auto session = id ? sessions_.find(*id, post.request.principal, loop_.now()) : nullptr;
    info.connection = session ? &session->connection : nullptr;
    return !is_modern_named(post.request) && server_.accepts_batch(array, info);
  };
  auto parsed = rpc::parse_text(post.request.body, options_.limits, server_.rules(), accepts_batch);
  if (parsed.is_batch && !parsed.batch_refused) return run_batch(post, parsed.messages);
  if (parsed.messages.empty())
    return refuse_http(*post.exchange, 400, plain_error(rpc::kInvalidRequest, "the body holds no message"));
  auto& message = parsed.messages.front();
  if (const auto* bad = std::get_if<rpc::BadMessage>(&message))
    return refuse_http(*post.exchange, 400, bad->error, bad->id);
  if (const auto* request = std::get_if<rpc::Request>(&message)) return handle_request(post, *request);
  // A response: we never ask anything, so it belongs to nothing. Legacy clients may still send one.
  if (is_modern_named(post.request))
    return refuse_http(*post.exchange, 400, plain_error(rpc::kInvalidRequest, "responses are not accepted"));
  if (require_session(post, {})) post.exchange->respond(202, {}, "");
}

void HttpEndpoint::handle_delete(const HttpRequest& request, HttpExchange& exchange) {
  if (is_modern_named(request))
    return refuse_http(exchange, 405,
                       plain_error(rpc::kInvalidRequest, "Method not allowed: this version has no sessions"), {},
                       {{"Allow", "POST"}});
  const auto id = header_value(request.headers, "mcp-session-id");
  if (!id) return refuse_http(exchange, 400, plain_error(kLegacyBadRequest, "Mcp-Session-Id header is required"));
  const auto session = sessions_.find(*id, request.principal, loop_.now());
  if (!session) return refuse_http(exchange, 404, plain_error(kLegacySessionNotFound, "Session not found"));
  sessions_.remove(*id);
  const auto in_flight = session->in_flight;
  for (const auto& [request_id, reply] : in_flight)
    if (const auto live = reply.lock()) live->cancel(rpc::CancelCause::kRequested);
  exchange.respond(200, {}, "");
}

void HttpEndpoint::handle_request(Post& post, const rpc::Request& request) {
  if (!request.id.present()) return handle_notification(post, request);
  const auto chosen = choose_era(request, &post.request.headers);
  if (const auto* refusal = std::get_if<Refusal>(&chosen))
    return refuse_http(*post.exchange, refusal->http_status, refusal->error, request.id);
  if (std::get<Era>(chosen) == Era::kModern) return run_modern(post, request);
  run_legacy(post, request);
}

void HttpEndpoint::run_modern(Post& post, const rpc::Request& request) {
  if (at_capacity(nullptr))
    return refuse_http(*post.exchange, 503, plain_error(rpc::kOverloaded, "Overloaded: too many requests in flight"),
                       request.id);
  const auto reply = make_reply(post, request.id, nullptr);
  post.exchange->on_disconnect([weak = std::weak_ptr(reply)] {
    if (const auto live = weak.lock()) live->cancel(rpc::CancelCause::kDisconnected);
  });
  server_.dispatch(Era::kModern, request, post.info(true), rpc::Responder(reply));
}

void HttpEndpoint::run_legacy(Post& post, const rpc::Request& request) {
  std::shared_ptr<HttpSession> session;
  const bool handshake = request.method == "initialize";
  if (handshake) {
    if (!sessions_.make_room(loop_.now()))
      return refuse_http(*post.exchange, 503, plain_error(rpc::kOverloaded, "Overloaded: too many sessions"),
                         request.id);
    session = sessions_.make(post.request.principal, options_.default_engine, loop_.now());
  } else {
    session = require_session(post, request.id);
    if (!session) return;
    if (session->in_flight.contains(request.id.text))
      return refuse_http(
          *post.exchange, 400,
          plain_error(rpc::kInvalidRequest, "Invalid Request: id " + request.id.text + " is already in flight"));
  }
  if (at_capacity(session.get()))
    return refuse_http(*post.exchange, 503, plain_error(rpc::kOverloaded, "Overloaded: too many requests in flight"),
                       request.id);
  const auto reply = make_reply(post, request.id, session);
  if (handshake)
    reply->on_result = [this, session, answers = post.answers] {
      sessions_.add(session);
      answers->set_header("Mcp-Session-Id", session->id);
    };
  // Legacy clients may lose the stream and mean nothing by it: they get a grace period.
  post.exchange->on_disconnect([this, weak = std::weak_ptr(reply)] {
    loop_.after(options_.disconnect_grace, [weak] {
      if (const auto live = weak.lock()) live->cancel(rpc::CancelCause::kDisconnected);
    });
  });
  rpc::CallInfo info = post.info(false);
  info.connection = &session->connection;
  server_.dispatch(Era::kLegacy, request, info, rpc::Responder(reply));
}

void HttpEndpoint::run_batch(Post& post, const std::vector<rpc::Incoming>& messages) {
  const auto session = require_session(post, {});
  if (!session) return;
  size_t replies = 0;
  for (const auto& message : messages) {
    const auto* request = std::get_if<rpc::Request>(&message);
    if (std::holds_alternative<rpc::BadMessage>(message) || (request != nullptr && request->id.present())) ++replies;
  }
  if (replies == 0) post.exchange->respond(202, {}, "");
  post.answers->expect_batch(replies);
  std::vector<std::weak_ptr<HttpReply>> running;
  for (const auto& message : messages) {
    if (const auto* bad = std::get_if<rpc::BadMessage>(&message)) {
      post.answers->add(rpc::error_text(bad->id, bad->error, true), 200);
      continue;
    }
    const auto* request = std::get_if<rpc::Request>(&message);
    if (request == nullptr) continue;
    if (!request->id.present()) {
      if (request->method == "notifications/cancelled") cancel(*session, *request);
      continue;
    }
    if (session->in_flight.contains(request->id.text) || at_capacity(session.get())) {
      const bool busy = !session->in_flight.contains(request->id.text);
      const auto error = busy ? plain_error(rpc::kOverloaded, "Overloaded: too many requests in flight")
                              : plain_error(rpc::kInvalidRequest, "Invalid Request: id is already in flight");
      post.answers->add(rpc::error_text(busy ? request->id : rpc::MessageId{}, error, true), 200);
      continue;
    }
    const auto reply = make_reply(post, request->id, session);
    running.push_back(reply);
    rpc::CallInfo info = post.info(false);
    info.connection = &session->connection;
    info.in_batch = true;
    server_.dispatch(Era::kLegacy, *request, info, rpc::Responder(reply));
  }
  post.exchange->on_disconnect([this, running] {
    loop_.after(options_.disconnect_grace, [running] {
      for (const auto& weak : running)
        if (const auto live = weak.lock()) live->cancel(rpc::CancelCause::kDisconnected);
    });
  });
}

void HttpEndpoint::handle_notification(Post& post, const rpc::Request& notification) {
  if (era_of_notification(notification, &post.request.headers) == Era::kLegacy) {
    const auto session = require_session(post, {});
    if (!session) return;
    if (notification.method == "notifications/cancelled") cancel(*session, notification);
  }
  post.exchange->respond(202, {}, "");
}

void HttpEndpoint::cancel(HttpSession& session, const rpc::Request& notification) {
  if (!notification.params || !notification.params->is_object()) return;
  const auto id = notification.params->find("requestId");
  if (id == notification.params->end()) return;
  const auto found = session.in_flight.find(rpc::dump(*id));
  if (found == session.in_flight.end()) return;
  if (const auto reply = found->second.lock()) reply->cancel(rpc::CancelCause::kRequested);
}

std::shared_ptr<HttpSession> HttpEndpoint::require_session(Post& post, const rpc::MessageId& id) {
  const auto& headers = post.request.headers;
  const auto refuse = [&](int status, int code, std::string message) {
    refuse_http(*post.exchange, status, plain_error(code, std::move(message)), id);
    return std::shared_ptr<HttpSession>();
  };
  const auto session_id = header_value(headers, "mcp-session-id");
  if (!session_id)
    return refuse(400, kLegacyBadRequest, "Bad Request: Mcp-Session-Id header is required; initialize first");
  auto session = sessions_.find(*session_id, post.request.principal, loop_.now());
  if (!session) return refuse(404, kLegacySessionNotFound, "Session not found");
  const auto version = header_value(headers, "mcp-protocol-version");
  if (version && !is_legacy_version(*version))
    return refuse(400, kLegacyBadRequest, "Bad Request: Unsupported protocol version: " + shown_name(*version));
  return session;
}

std::shared_ptr<HttpReply> HttpEndpoint::make_reply(Post& post, const rpc::MessageId& id,
                                                    const std::shared_ptr<HttpSession>& session) {
  auto reply = std::make_shared<HttpReply>(post.answers, id);
  ++*in_flight_;
  if (session) session->in_flight[id.text] = reply;
  reply->on_done = [count = in_flight_, session, key = id.text] {
    --*count;
    if (session) session->in_flight.erase(key);
  };
  return reply;
}

bool HttpEndpoint::at_capacity(const HttpSession* session) const {
  if (*in_flight_ >= options_.limits.max_in_flight_total) return true;
  return session != nullptr && session->in_flight.size() >= options_.limits.max_in_flight;
}

}  // namespace kvasir::mcp
