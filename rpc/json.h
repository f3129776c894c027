// The JSON value type of the protocol layers. Keys keep their order. Untrusted text is parsed only by rpc/parse.h.
#pragma once

#include <nlohmann/json.hpp>

namespace kvasir::rpc {
using Json = nlohmann::ordered_json;
}  // namespace kvasir::rpc
