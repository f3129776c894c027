// Small pure readings of HTTP header text (RFC 9110 §5.6). Thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rpc/service.h"

namespace kvasir::rpc {

std::string lower(std::string_view text);       ///< ASCII only
std::string_view trim(std::string_view text);   ///< spaces and tabs
bool is_token(std::string_view text);           ///< one or more characters of a method or header name
/// The items of a comma-separated list, trimmed, empty ones left out.
std::vector<std::string_view> list_items(std::string_view text);
/// One of the headers of this name lists `item` (in lower case), whatever its case there.
bool has_list_item(const HttpHeaders& headers, std::string_view name, std::string_view item);
/// The media type of a Content-Type value, in lower case, without parameters.
std::string media_type(std::string_view content_type);
/// Reason phrase of a status this server sends.
std::string_view reason_phrase(int status);
/// Reads equal bytes in equal time whatever they are; for the length, compare digests.
bool equal_constant_time(std::string_view a, std::string_view b);

}  // namespace kvasir::rpc
