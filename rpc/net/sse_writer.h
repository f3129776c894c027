// Bytes of an HTTP response: heads, chunks, server-sent events. Pure; thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "rpc/net/http.h"

namespace kvasir::rpc {

/// Status line and headers with the blank line. Values that a handler gives lose their control characters.
std::string response_head(int status, const HeaderList& headers);
/// The current time as a Date header, renewed once a second.
std::string http_date();
/// `event: message` with a text of one line. A line break inside would start another field, so it ends the data there
/// and begins a new data line.
std::string sse_event(std::string_view text);
inline constexpr std::string_view kSseKeepAlive = ": keepalive\n\n";
/// One chunk of a chunked body; an empty text would end it, so it gives nothing.
std::string http_chunk(std::string_view text);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

}  // namespace kvasir::rpc
