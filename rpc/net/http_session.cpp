#include "rpc/net/http_session.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/base/log.h"
#include "rpc/net/http_text.h"
#include "rpc/net/sse_writer.h"
#include "rpc/net/ws_handshake.h"
#include "rpc/net/ws_session.h"

namespace kvasir::rpc {
namespace {

constexpr size_t kMaxPipelinedBytes = 64u << 10;     // read ahead while a request is being answered
constexpr size_t kMinBodyBytesPerSecond = 1024;
constexpr std::chrono::seconds kAnswerAfterEof{2};   // for a client that closed its sending side only
constexpr std::array<std::string_view, 7> kMethods{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
constexpr const char* kCorsHeaders =
    "content-type, accept, authorization, mcp-protocol-version, mcp-method, mcp-name, mcp-session-id, last-event-id";

}  // namespace

/// One request being answered. The handler owns it; the session cuts the tie when the client is gone.
class HttpSession::Exchange final : public HttpExchange {
 public:
  explicit Exchange(HttpSession& session) : session_(&session) {}
  ~Exchange() override {
    if (session_ == nullptr || over_) return;
    log::error("http_unanswered a request was dropped without an answer");
    if (started_) {
      end();
    } else {
      respond(500, {}, {});
    }
  }

  void respond(int status, const HeaderList& headers, std::string body) override {
    if (session_ == nullptr || started_) return;
    started_ = true;
    HeaderList all = session_->common_headers();
    all.insert(all.end(), headers.begin(), headers.end());
    if (status != 204) all.emplace_back("content-length", std::to_string(body.size()));
    std::string out = response_head(status, all);
    if (!session_->head_method_ && status != 204) out += body;
    session_->connection_.send(out);
    finish();
  }
  void start_events(const HeaderList& headers) override {
    if (session_ == nullptr || started_) return;
    started_ = true;
    if (session_->http10_) session_->keep_alive_ = false;  // without chunks the end of the stream is the end of the connection
    HeaderList all = session_->common_headers();
    all.insert(all.end(), {{"content-type", "text/event-stream"},
                           {"cache-control", "no-cache, no-transform"},
                           {"x-accel-buffering", "no"}});
    all.insert(all.end(), headers.begin(), headers.end());
    if (!session_->http10_) all.emplace_back("transfer-encoding", "chunked");
    session_->streaming_ = true;
    session_->last_output_ = session_->connection_.now();
    session_->connection_.send(response_head(200, all));
  }
  void event(std::string_view json_line) override { stream(sse_event(json_line)); }
  void end() override {
    if (session_ == nullptr || over_ || !started_) return;
    if (!session_->http10_ && !session_->head_method_) session_->connection_.send(kLastChunk);
    finish();
  }
  bool started() const override { return started_; }
  size_t buffered_bytes() const override { return session_ == nullptr ? 0 : session_->connection_.buffered_bytes(); }
  void on_disconnect(UniqueFunction<void()> fn) override {
    if (lost_) return fn();
    if (!over_) on_disconnect_ = std::move(fn);
  }
  void on_drained(UniqueFunction<void()> fn) override {
    if (!over_) on_drained_ = std::move(fn);
  }

  void keep_alive() { stream(kSseKeepAlive); }
  void lost() {
    if (over_ || std::exchange(lost_, true)) return;
    auto fn = std::move(on_disconnect_);
    if (fn) fn();
  }
  void drained() {
    auto fn = std::move(on_drained_);
    if (!fn) return;
    fn();
    if (!on_drained_ && !over_) on_drained_ = std::move(fn);
  }
  void detach() { session_ = nullptr; }

 private:
  void stream(std::string_view text) {
    if (session_ == nullptr || over_ || !started_ || session_->head_method_) return;
    session_->last_output_ = session_->connection_.now();
    if (session_->http10_) return session_->connection_.send(text);
    session_->connection_.send(http_chunk(text));
  }
  void finish() {
    over_ = true;
    on_disconnect_ = {};
    on_drained_ = {};
    std::exchange(session_, nullptr)->exchange_over();
  }

  HttpSession* session_;  // null once over or gone
  UniqueFunction<void()> on_disconnect_;
  UniqueFunction<void()> on_drained_;
  bool started_ = false;
  bool over_ = false;
  bool lost_ = false;
};

HttpSession::HttpSession(Connection& connection, ServerContext& context)
    : connection_(connection), context_(context), parser_(context.limits()), since_(connection.now()), last_output_(since_) {}

HttpSession::~HttpSession() {
  if (const auto exchange = exchange_.lock()) exchange->detach();
}

void HttpSession::bytes(char* data, size_t size) {
  in_.append(data, size);
  process();
  if (busy_ && !upgraded_ && in_.size() > kMaxPipelinedBytes) connection_.pause_reading();
}

void HttpSession::process() {
  if (processing_) return;
  processing_ = true;
  size_t used = 0;
  while (!busy_ && !closing_ && !upgraded_ && used < in_.size()) {
    std::string_view rest = std::string_view(in_).substr(used);
    const bool was_fresh = parser_.fresh();
    const auto status = parser_.parse(rest);
    used = in_.size() - rest.size();
    if (was_fresh) since_ = connection_.now();
    if (status == HttpParser::Status::kNeedMore) break;
    if (status == HttpParser::Status::kError) {
      fail(parser_.error_status(), parser_.error_reason());
    } else if (status == HttpParser::Status::kHead) {
      if (!handle_head()) continue;
      // A request without a body is complete now, even if no byte follows.
      if (!parser_.head().has_body() && parser_.parse(rest) == HttpParser::Status::kComplete) dispatch();
    } else {
      dispatch();
    }
  }
  in_.erase(0, used);
  processing_ = false;
  if (upgraded_) {
    std::string rest = std::exchange(in_, {});
    if (!rest.empty()) connection_.protocol().bytes(rest.data(), rest.size());
  }
}

/// The checks before anything is read of the body. False: answered, or handed over.
bool HttpSession::handle_head() {
  HttpHead& head = parser_.head();
  since_ = connection_.now();
  keep_alive_ = head.keep_alive && !context_.stopping;
  http10_ = head.http10;
  head_method_ = head.method == "HEAD";
  cors_origin_.clear();
  const AccessPolicy& policy = *context_.policy;
  if (const auto refusal = policy.check_origin(head)) return fail(refusal->status, refusal->reason), false;
  const std::string_view origin = head.header("origin");
  if (!origin.empty() && policy.cors_allowed(origin)) cors_origin_ = origin;
  if (std::find(kMethods.begin(), kMethods.end(), head.method) == kMethods.end()) {
    return fail(405, "this method is not served here", {{"allow", "GET, HEAD, POST, DELETE, OPTIONS"}}), false;
  }
  if (head.method == "OPTIONS" && !cors_origin_.empty() && head.headers.contains("access-control-request-method")) {
    return preflight(origin), false;
  }
  auto identity = policy.authenticate(head);
  if (identity.refusal) {
    HeaderList headers;
    if (identity.refusal->status == 401) headers.emplace_back("www-authenticate", "Bearer");
    return fail(identity.refusal->status, identity.refusal->reason, std::move(headers)), false;
  }
  principal_ = std::move(identity.principal);
  if (is_websocket_attempt(head)) return upgrade();
  if (!context_.routes.contains(head.path)) return fail(404, "there is nothing at this path"), false;
  if (head.has_body()) {
    const std::string encoding = lower(head.header("content-encoding"));
    if (!encoding.empty() && encoding != "identity") return fail(415, "encoded bodies are not accepted"), false;
    if (head.expects_continue) connection_.send("HTTP/1.1 100 Continue\r\n\r\n");
  }
  return true;
}

bool HttpSession::upgrade() {
  const HttpHead& head = parser_.head();
  const auto found = context_.routes.find(head.path);
  if (found == context_.routes.end()) return fail(404, "there is nothing at this path"), false;
  const Route& route = found->second;
  if (route.websocket_service == nullptr) return fail(400, "there is no WebSocket at this path"), false;
  const WsHandshake handshake = check_handshake(head, route.subprotocol);
  if (handshake.status != 101) return fail(handshake.status, handshake.reason, handshake.headers), false;
  connection_.send(response_head(101, handshake.headers));
  CallInfo info;
  info.transport = Transport::kWebSocket;
  info.principal = principal_;
  upgraded_ = true;
  connection_.replace_protocol(std::make_unique<WsSession>(connection_, context_, *route.websocket_service, std::move(info)));
  return false;
}

void HttpSession::preflight(std::string_view origin) {
  const HttpHead& head = parser_.head();
  std::string allowed = kCorsHeaders;
  for (const std::string_view name : list_items(head.header("access-control-request-headers"))) {
    if (is_token(name) && lower(name).starts_with("mcp-param-")) allowed += ", " + lower(name);
  }
  HeaderList headers{{"date", http_date()},
                     {"access-control-allow-origin", std::string(origin)},
                     {"access-control-allow-methods", "GET, POST, DELETE, OPTIONS"},
                     {"access-control-allow-headers", allowed},
                     {"access-control-max-age", "600"},
                     {"vary", "origin"}};
  const bool close = head.has_body() || !keep_alive_;
  if (close) headers.emplace_back("connection", "close");
  connection_.send(response_head(204, headers));
  if (close) {
    closing_ = true;
    return connection_.finish();
  }
  parser_.reset();
}

HeaderList HttpSession::common_headers() const {
  HeaderList headers{{"date", http_date()}, {"x-content-type-options", "nosniff"}};
  if (!cors_origin_.empty()) {
    headers.insert(headers.end(), {{"access-control-allow-origin", cors_origin_},
                                   {"access-control-expose-headers", "mcp-session-id, mcp-protocol-version, www-authenticate"},
                                   {"vary", "origin"}});
  }
  if (!keep_alive_) {
    headers.emplace_back("connection", "close");
  } else if (http10_) {
    headers.emplace_back("connection", "keep-alive");
  }
  return headers;
}

/// A transport fault: answer and close, since the rest of the input may not be what it seems.
void HttpSession::fail(int status, std::string_view reason, HeaderList extra) {
  context_.count_refused();
  keep_alive_ = false;
  HeaderList headers = common_headers();
  headers.insert(headers.end(), extra.begin(), extra.end());
  const std::string body = std::string(reason) + "\n";
  headers.emplace_back("content-type", "text/plain; charset=utf-8");
  headers.emplace_back("content-length", std::to_string(body.size()));
  connection_.send(response_head(status, headers) + (head_method_ ? std::string() : body));
  closing_ = true;
  connection_.finish();
}

void HttpSession::dispatch() {
  HttpHead& head = parser_.head();
  HttpRequest request{std::move(head.method), std::move(head.path), std::move(head.query), std::move(head.headers),
                      parser_.take_body(), principal_};
  parser_.reset();
  const Route& route = context_.routes.find(request.path)->second;
  busy_ = true;
  streaming_ = false;
  const auto exchange = std::make_shared<Exchange>(*this);
  exchange_ = exchange;
  if (!route.handler) return exchange->respond(426, {{"upgrade", "websocket"}}, "this path speaks WebSocket only\n");
  try {
    route.handler(std::move(request), exchange);
  } catch (const std::exception& e) {
    log::error(std::string("http_exception ") + e.what());
  }
}

void HttpSession::exchange_over() {
  busy_ = false;
  streaming_ = false;
  since_ = connection_.now();
  if (!keep_alive_ || client_gone_) {
    closing_ = true;
    return connection_.finish();
  }
  if (processing_) return;  // the loop there goes on by itself
  connection_.resume_reading();
  if (!in_.empty()) process();
}

void HttpSession::eof() {
  client_gone_ = true;
  since_ = connection_.now();
  if (!busy_) {
    closing_ = true;
    return connection_.finish();
  }
  lose_client();
}

void HttpSession::lose_client() {
  if (const auto exchange = exchange_.lock()) exchange->lost();
}

void HttpSession::closed() {
  if (const auto exchange = exchange_.lock()) {
    exchange->detach();
    exchange->lost();
  }
}

void HttpSession::drained() {
  if (const auto exchange = exchange_.lock()) exchange->drained();
}

void HttpSession::shutdown() {
  keep_alive_ = false;
  if (busy_) return;
  closing_ = true;
  connection_.finish();
}

void HttpSession::tick(TimePoint now) {
  const Limits& limits = context_.limits();
  const auto waited = now - since_;
  if (busy_) {
    if (client_gone_ && waited > kAnswerAfterEof) return connection_.abort();
    const auto exchange = exchange_.lock();
    if (streaming_ && exchange && now - last_output_ >= limits.sse_keepalive) exchange->keep_alive();
    return;
  }
  if (parser_.fresh() && in_.empty()) {
    if (waited > limits.idle_timeout) {
      closing_ = true;
      connection_.finish();
    }
  } else if (!parser_.in_body()) {
    if (waited > limits.header_timeout) fail(408, "the request head did not arrive in time");
  } else if (waited > limits.body_timeout &&
             static_cast<double>(parser_.body_bytes()) <
                 static_cast<double>(kMinBodyBytesPerSecond) * std::chrono::duration<double>(waited).count()) {
    fail(408, "the request body did not arrive in time");
  }
}

}  // namespace kvasir::rpc
