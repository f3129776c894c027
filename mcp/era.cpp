#include "mcp/era.h"

#include <algorithm>

namespace kvasir::mcp {
namespace {

constexpr std::string_view kVersionKey = "io.modelcontextprotocol/protocolVersion";
constexpr std::string_view kCapabilitiesKey = "io.modelcontextprotocol/clientCapabilities";
constexpr std::string_view kClientInfoKey = "io.modelcontextprotocol/clientInfo";
constexpr std::string_view kLogLevelKey = "io.modelcontextprotocol/logLevel";
constexpr size_t kMaxMetaKeys = 64;
constexpr size_t kShownNameBytes = 64;

constexpr std::array<std::string_view, 4> kModernMethods = {"server/discover", "subscriptions/listen", "tools/list",
                                                            "tools/call"};
constexpr std::array<std::string_view, 8> kLogLevels = {"debug", "info",     "notice", "warning",
                                                        "error", "critical", "alert",  "emergency"};

template <class List>
bool contains(const List& list, std::string_view value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

const Json* meta_of(const std::optional<Json>& params) {
  if (!params || !params->is_object()) return nullptr;
  const auto found = params->find("_meta");
  return found == params->end() ? nullptr : &*found;
}

const Json* claim_of(const std::optional<Json>& params) {
  const Json* meta = meta_of(params);
  return meta != nullptr && meta->is_object() && meta->contains(kVersionKey) ? meta : nullptr;
}

bool modern_named(std::string_view version) noexcept {
  return version >= kModernVersion;
}

Refusal invalid_params(std::string message, std::string_view key, int http_status = 400) {
  Json data{{"key", std::string(key)}};
  return {{rpc::kInvalidParams, std::move(message), std::move(data)}, http_status};
}

Refusal header_mismatch(std::string message) {
  return {{rpc::kHeaderMismatch, std::move(message), std::nullopt}, 400};
}

/// The envelope's keys have the right types. MCP 2026-07-28 basic, "_meta".
std::optional<Refusal> check_envelope(const Json& meta) {
  if (!meta.at(kVersionKey).is_string())
    return invalid_params("_meta." + std::string(kVersionKey) + " must be a string", kVersionKey);
  const auto capabilities = meta.find(kCapabilitiesKey);
  if (capabilities == meta.end())
    return invalid_params("_meta." + std::string(kCapabilitiesKey) + " is missing; {} will do", kCapabilitiesKey);
  if (!capabilities->is_object())
    return invalid_params("_meta." + std::string(kCapabilitiesKey) + " must be an object", kCapabilitiesKey);
  const auto info = meta.find(kClientInfoKey);
  if (info != meta.end() && !info->is_object())
    return invalid_params("_meta." + std::string(kClientInfoKey) + " must be an object", kClientInfoKey);
  return std::nullopt;
}

bool valid_modern_claim(const std::optional<Json>& params) {
  const Json* meta = claim_of(params);
  return meta != nullptr && !check_envelope(*meta) && meta->at(kVersionKey) == kModernVersion;
}

Refusal unsupported_version(const std::string& requested) {
  Json data;
  data["supported"] = Json::array({std::string(kModernVersion)});
  data["requested"] = requested;
  return {{rpc::kUnsupportedVersion, "Unsupported protocol version", std::move(data)}, 400};
}

/// The name that Mcp-Name repeats, for methods that have one.
std::optional<std::string_view> name_parameter(std::string_view method) {
  if (method == "tools/call" || method == "prompts/get") return "name";
  if (method == "resources/read") return "uri";
  if (method.starts_with("tasks/")) return "taskId";
  return std::nullopt;
}

/// MCP 2026-07-28 basic/transports/streamable-http, "Standard headers": all are there and agree with the body.
std::optional<Refusal> check_required_headers(const rpc::Request& request, const rpc::HttpHeaders& headers) {
  if (!header_value(headers, "mcp-protocol-version")) return header_mismatch("header MCP-Protocol-Version is missing");
  if (!header_value(headers, "mcp-method")) return header_mismatch("header Mcp-Method is missing");
  const auto parameter = name_parameter(request.method);
  if (!parameter) return std::nullopt;
  const auto raw = header_value(headers, "mcp-name");
  if (!raw) return header_mismatch("header Mcp-Name is missing");
  const auto name = decode_header_value(*raw);
  if (!name) return header_mismatch("header Mcp-Name is not valid base64");
  const auto value = request.params->find(*parameter);
  if (value != request.params->end() && value->is_string() && value->get_ref<const std::string&>() != *name)
    return header_mismatch("header Mcp-Name does not equal params." + std::string(*parameter));
  return std::nullopt;
}

std::variant<Era, Refusal> choose_modern(const rpc::Request& request, const Json& meta,
                                         const rpc::HttpHeaders* headers) {
  if (auto refusal = check_envelope(meta)) return *refusal;
  const auto& version = meta.at(kVersionKey).get_ref<const std::string&>();
  if (headers != nullptr) {
    if (const auto header = header_value(*headers, "mcp-protocol-version"); header && *header != version)
      return header_mismatch("header MCP-Protocol-Version does not equal the version in _meta");
    if (const auto header = header_value(*headers, "mcp-method"); header && *header != request.method)
      return header_mismatch("header Mcp-Method does not equal the method");
  }
  if (version != kModernVersion) return unsupported_version(version);
  if (headers != nullptr)
    if (auto refusal = check_required_headers(request, *headers)) return *refusal;
  if (!contains(kModernMethods, request.method))
    return Refusal{{rpc::kMethodNotFound, "Method not found: " + shown_name(request.method), std::nullopt}, 404};
  return Era::kModern;
}

int base64_digit(char c) noexcept {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  if (c == '/') return 63;
  return -1;
}

/// Strict RFC 4648 §4: full groups, padding only at the end, unused bits zero.
std::optional<std::string> decode_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text.substr(0, text.size() - padding)) {
    const int digit = base64_digit(c);
    if (digit < 0) return std::nullopt;
    bits = (bits << 6U) | static_cast<uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out.push_back(static_cast<char>((bits >> static_cast<uint32_t>(count)) & 0xFFU));
  }
  if ((bits & ((1U << static_cast<uint32_t>(count)) - 1U)) != 0) return std::nullopt;
  return out;
}

}  // namespace

bool is_legacy_version(std::string_view version) noexcept {
  return contains(kLegacyVersions, version);
}

std::variant<Era, Refusal> choose_era(const rpc::Request& request, const rpc::HttpHeaders* headers) {
  std::optional<std::string> header;
  if (headers != nullptr) header = header_value(*headers, "mcp-protocol-version");
  const bool modern_header = header && modern_named(*header);
  if (request.method == "initialize" && !valid_modern_claim(request.params)) {
    if (modern_header)
      return header_mismatch("initialize belongs to older versions than the MCP-Protocol-Version header");
    return Era::kLegacy;
  }
  if (const Json* meta = claim_of(request.params)) return choose_modern(request, *meta, headers);
  if (modern_header)
    return invalid_params(
        "params._meta." + std::string(kVersionKey) + " and ." + std::string(kCapabilitiesKey) + " are missing",
        kVersionKey);
  if (request.method == "server/discover" || request.method == "subscriptions/listen")
    return invalid_params(request.method + " needs params._meta." + std::string(kVersionKey), kVersionKey);
  return Era::kLegacy;
}

Era era_of_notification(const rpc::Request& notification, const rpc::HttpHeaders* headers) {
  if (claim_of(notification.params) != nullptr) return Era::kModern;
  if (headers == nullptr) return Era::kLegacy;
  const auto header = header_value(*headers, "mcp-protocol-version");
  return header && modern_named(*header) ? Era::kModern : Era::kLegacy;
}

bool has_modern_claim(const Json& message) {
  if (!message.is_object()) return false;
  const auto params = message.find("params");
  if (params == message.end() || !params->is_object()) return false;
  const auto meta = params->find("_meta");
  return meta != params->end() && meta->is_object() && meta->contains(kVersionKey);
}

std::variant<RequestContext, Refusal> read_context(const rpc::Request& request, Era era,
                                                   std::string_view legacy_version) {
  RequestContext context;
  context.era = era;
  context.version = era == Era::kModern ? kModernVersion : legacy_version;
  const int status = era == Era::kModern ? 400 : 200;
  if (request.params && !request.params->is_object())
    return Refusal{{rpc::kInvalidParams, "params must be an object", std::nullopt}, status};
  const Json* meta = meta_of(request.params);
  if (meta == nullptr) return context;
  if (!meta->is_object()) return invalid_params("params._meta must be an object", "_meta", status);
  if (meta->size() > kMaxMetaKeys)
    return invalid_params("params._meta has " + std::to_string(meta->size()) + " keys, at most " +
                              std::to_string(kMaxMetaKeys) + " are allowed",
                          "_meta", status);
  if (const auto token = meta->find("progressToken"); token != meta->end()) {
    if (!token->is_string() && !token->is_number_integer())
      return invalid_params("_meta.progressToken must be a string or an integer", "progressToken", status);
    context.progress_token = *token;
  }
  const auto level = meta->find(kLogLevelKey);
  if (era == Era::kModern && level != meta->end() &&
      !(level->is_string() && contains(kLogLevels, level->get_ref<const std::string&>())))
    return invalid_params("_meta." + std::string(kLogLevelKey) + " is no log level", kLogLevelKey, 200);
  return context;
}

std::optional<std::string> header_value(const rpc::HttpHeaders& headers, std::string_view name) {
  const auto [first, last] = headers.equal_range(name);
  if (first == last) return std::nullopt;
  std::string joined = first->second;
  for (auto it = std::next(first); it != last; ++it) joined += ", " + it->second;
  return joined;
}

std::optional<std::string> decode_header_value(std::string_view value) {
  constexpr std::string_view kPrefix = "=?base64?", kSuffix = "?=";
  if (value.size() < kPrefix.size() + kSuffix.size() || !value.starts_with(kPrefix) || !value.ends_with(kSuffix))
    return std::string(value);
  return decode_base64(value.substr(kPrefix.size(), value.size() - kPrefix.size() - kSuffix.size()));
}

std::string shown_name(std::string_view name) {
  if (name.size() <= kShownNameBytes) return std::string(name);
  size_t cut = kShownNameBytes;
  while (cut > 0 && (static_cast<unsigned char>(name[cut]) & 0xC0U) == 0x80U) --cut;
  return std::string(name.substr(0, cut)) + "...";
}

}  // namespace kvasir::mcp
