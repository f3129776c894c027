// Every bound of the protocol layer, in one place (reliability.md C1). Printed by `doctor`.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace kvasir::rpc {

struct Limits {
  size_t max_message_bytes = 4u << 20;       ///< WebSocket message = HTTP body = stdio line
  uint32_t max_depth = 64;
  uint32_t max_values = 300'000;
  size_t max_number_text_bytes = 1024;
  size_t max_id_bytes = 128;
  uint32_t max_batch = 32;
  uint32_t max_in_flight = 64;               ///< per connection
  uint32_t max_in_flight_total = 4096;
  uint32_t max_unknown_responses = 100;      ///< responses to nothing, then the connection is cut
  uint32_t max_connections = 12'000;
  uint32_t max_connections_per_peer = 1'000;
  size_t max_http_header_bytes = 16u << 10;
  size_t max_http_header_line_bytes = 8u << 10;
  uint32_t max_http_headers = 64;
  size_t outbox_soft_bytes = 256u << 10;     ///< above: the generation that fills it is paused
  size_t outbox_hard_bytes = 2u << 20;       ///< above: the connection is cut (single replies may exceed it once)
  uint32_t max_control_frames = 100;         ///< per 10 s, then close 1008
  uint32_t max_fragments = 16'384;           ///< of one WebSocket message, then close 1008
  std::chrono::seconds header_timeout{5};
  std::chrono::seconds body_timeout{30};
  std::chrono::seconds idle_timeout{60};
  std::chrono::seconds slow_reader_timeout{20};
  std::chrono::seconds ping_interval{30};
  std::chrono::seconds pong_timeout{10};
  std::chrono::seconds sse_keepalive{15};
};

}  // namespace kvasir::rpc
