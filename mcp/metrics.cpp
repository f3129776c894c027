#include "mcp/metrics.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace kvasir::mcp {
namespace {

std::string number(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.9g", value);
  return text.data();
}

const char* name_of(rpc::Transport transport) noexcept {
  switch (transport) {
    case rpc::Transport::kStdio:
      return "stdio";
    case rpc::Transport::kWebSocket:
      return "websocket";
    case rpc::Transport::kHttp:
      return "http";
  }
  return "";
}

const char* name_of(rpc::CancelCause cause) noexcept {
  switch (cause) {
    case rpc::CancelCause::kRequested:
      return "requested";
    case rpc::CancelCause::kDisconnected:
      return "disconnected";
    case rpc::CancelCause::kShutdown:
      return "shutdown";
  }
  return "";
}

void head(std::string& out, std::string_view name, std::string_view type, std::string_view help) {
  out.append("# HELP ")
      .append(name)
      .append(" ")
      .append(help)
      .append("\n# TYPE ")
      .append(name)
      .append(" ")
      .append(type)
      .append("\n");
}

void single(std::string& out, std::string_view name, std::string_view type, std::string_view help, uint64_t value) {
  head(out, name, type, help);
  out.append(name).append(" ").append(std::to_string(value)).append("\n");
}

void write_engine(std::string& out, const EngineMetrics& engine) {
  single(out, "kvasir_engine_steps_total", "counter", "Steps of the engine.", engine.steps);
  single(out, "kvasir_engine_step_sequences_total", "counter",
         "Sequences summed over steps; over the steps: the mean batch.", engine.sequences);
  single(out, "kvasir_engine_step_tokens_total", "counter", "Tokens computed, prompts and answers.", engine.rows);
  single(out, "kvasir_engine_guessed_tokens_total", "counter", "Rows spent on guesses of prompt lookup.", engine.guessed_tokens);
  single(out, "kvasir_engine_accepted_tokens_total", "counter", "Guesses that were right.", engine.accepted_tokens);
  single(out, "kvasir_engine_parked_total", "counter", "Times that a generation gave up its KV pages to others.", engine.parked);
  single(out, "kvasir_engine_errors_total", "counter", "Steps that the backend failed.", engine.backend_errors);
  single(out, "kvasir_loaded_models", "gauge", "Models in memory.", engine.loaded_models);
  head(out, "kvasir_sequences", "gauge", "Generations with KV pages, and those that wait for some.");
  out.append("kvasir_sequences{state=\"running\"} ").append(std::to_string(engine.running)).append("\n");
  out.append("kvasir_sequences{state=\"waiting\"} ").append(std::to_string(engine.waiting)).append("\n");
  head(out, "kvasir_kv_blocks", "gauge", "KV pages of the first group of layers.");
  const uint64_t used = engine.kv_total_pages - std::min(engine.kv_free_pages, engine.kv_total_pages);
  out.append("kvasir_kv_blocks{state=\"used\"} ").append(std::to_string(used)).append("\n");
  out.append("kvasir_kv_blocks{state=\"free\"} ").append(std::to_string(engine.kv_free_pages)).append("\n");
}

}  // namespace

void Metrics::call_finished(std::string_view method, rpc::Transport transport, std::string_view outcome,
                            double seconds) {
  requests_[{std::string(method), name_of(transport), std::string(outcome)}].observe(kRequestBounds, seconds);
}

void Metrics::generated(const GenerateResult& result) {
  prompt_tokens_ += result.usage.prompt_tokens;
  cached_tokens_ += result.usage.cached_tokens;
  generated_tokens_ += result.usage.completion_tokens;
  queue_wait_.observe(kRequestBounds, result.timings.queue_ms / 1000.0);
  if (result.usage.completion_tokens == 0) return;
  first_token_.observe(kFirstTokenBounds, result.timings.ttft_ms / 1000.0);
  if (result.timings.decode_tok_s > 0) inter_token_.observe(kTokenBounds, 1.0 / result.timings.decode_tok_s);
}

void Metrics::cancelled(rpc::CancelCause cause) {
  ++cancelled_[name_of(cause)];
}

template <size_t N>
void Metrics::write(std::string& out, std::string_view name, std::string_view labels,
                    const std::array<double, N>& bounds, const Histogram<N>& histogram) {
  const std::string comma = labels.empty() ? "" : std::string(labels) + ",";
  const std::string braces = labels.empty() ? "" : "{" + std::string(labels) + "}";
  uint64_t total = 0;
  for (size_t i = 0; i <= N; ++i) {
    total += histogram.buckets[i];
    out.append(name).append("_bucket{").append(comma).append("le=\"").append(i < N ? number(bounds[i]) : "+Inf");
    out.append("\"} ").append(std::to_string(total)).append("\n");
  }
  out.append(name).append("_sum").append(braces).append(" ").append(number(histogram.sum)).append("\n");
  out.append(name).append("_count").append(braces).append(" ").append(std::to_string(total)).append("\n");
}

std::string Metrics::text(const rpc::Server::Stats& server, const EngineMetrics& engine, size_t pending_calls,
                          size_t http_sessions) const {
  std::string out;
  head(out, "kvasir_request_duration_seconds", "histogram", "Tool calls from arrival to answer.");
  for (const auto& [key, histogram] : requests_) {
    const auto& [method, transport, status] = key;
    write(out, "kvasir_request_duration_seconds",
          "method=\"" + method + "\",transport=\"" + transport + "\",status=\"" + status + "\"", kRequestBounds,
          histogram);
  }
  head(out, "kvasir_time_to_first_token_seconds", "histogram", "From the request to its first token.");
  write(out, "kvasir_time_to_first_token_seconds", "", kFirstTokenBounds, first_token_);
  head(out, "kvasir_inter_token_seconds", "histogram", "Mean time per token of each generation.");
  write(out, "kvasir_inter_token_seconds", "", kTokenBounds, inter_token_);
  head(out, "kvasir_queue_wait_seconds", "histogram", "Time before the prompt was read.");
  write(out, "kvasir_queue_wait_seconds", "", kRequestBounds, queue_wait_);
  single(out, "kvasir_prompt_tokens_total", "counter", "Prompt tokens of finished generations.", prompt_tokens_);
  single(out, "kvasir_generated_tokens_total", "counter", "Tokens generated.", generated_tokens_);
  single(out, "kvasir_prefix_cache_hit_tokens_total", "counter", "Prompt tokens that were not computed again.",
         cached_tokens_);
  head(out, "kvasir_cancelled_total", "counter", "Calls that ended early, by cause.");
  for (const auto& [cause, count] : cancelled_)
    out.append("kvasir_cancelled_total{cause=\"")
        .append(cause)
        .append("\"} ")
        .append(std::to_string(count))
        .append("\n");
  single(out, "kvasir_queue_depth", "gauge", "Calls that wait for the engine or run.", pending_calls);
  single(out, "kvasir_http_sessions", "gauge", "Open MCP sessions over HTTP.", http_sessions);
  single(out, "kvasir_connections", "gauge", "Open connections.", server.connections);
  single(out, "kvasir_in_flight_requests", "gauge", "Requests on stdio, WebSocket and /rpc without an answer yet.",
         server.in_flight);
  single(out, "kvasir_outbox_bytes", "gauge", "Bytes that wait for slow readers.", server.outbox_bytes);
  single(out, "kvasir_requests_total", "counter", "Messages on stdio, WebSocket and /rpc.", server.requests);
  single(out, "kvasir_refused_total", "counter", "Connections and messages refused.", server.refused);
  write_engine(out, engine);
  return out;
}

}  // namespace kvasir::mcp
