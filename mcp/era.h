// Which MCP a message speaks, decided per message and never from earlier ones (protocol.md §2): modern (2026-07-28,
// facts in params._meta, no handshake) or legacy (2025-11-25 and older, after `initialize`). Pure; the truth table is
// tested.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "rpc/message.h"
#include "rpc/service.h"

namespace kvasir::mcp {

using rpc::Json;

enum class Era : uint8_t { kLegacy, kModern };

inline constexpr std::string_view kModernVersion = "2026-07-28";
inline constexpr std::array<std::string_view, 4> kLegacyVersions = {"2025-11-25", "2025-06-18", "2025-03-26",
                                                                    "2024-11-05"};
bool is_legacy_version(std::string_view version) noexcept;

/// An answer instead of a dispatch. `http_status` counts on HTTP only.
struct Refusal {
  rpc::RpcError error;
  int http_status = 400;
};

/// `headers` is null off HTTP: then nothing is asked of headers.
std::variant<Era, Refusal> choose_era(const rpc::Request& request, const rpc::HttpHeaders* headers);
/// For notifications: a claim or a modern header makes them modern.
Era era_of_notification(const rpc::Request& notification, const rpc::HttpHeaders* headers);
/// Does this element of a batch carry a modern claim (then there is no batch)?
bool has_modern_claim(const Json& message);

/// What a request says about itself, once its era is known.
struct RequestContext {
  Era era = Era::kLegacy;
  std::string version;                 ///< 2026-07-28, or the one that the connection negotiated
  std::optional<Json> progress_token;  ///< string or integer, echoed as it came
  rpc::Transport transport = rpc::Transport::kStdio;
  /// Fields newer than the client's version are left out. Versions are dates: they compare as text.
  bool since(std::string_view first_version) const noexcept { return version >= first_version; }
};

/// Reads params._meta. Refused: not an object, absurdly many keys, a progressToken or logLevel of the wrong kind.
std::variant<RequestContext, Refusal> read_context(const rpc::Request& request, Era era,
                                                   std::string_view legacy_version);

/// The value of a header, or nothing. Repeated headers are joined by ", ", so that they equal no single value.
std::optional<std::string> header_value(const rpc::HttpHeaders& headers, std::string_view name);
/// `=?base64?...?=` decoded, other values as they are; nothing if the sentinel holds bad base64.
std::optional<std::string> decode_header_value(std::string_view value);
/// At most 64 bytes of a name from outside, for messages, cut between code points.
std::string shown_name(std::string_view name);

}  // namespace kvasir::mcp
