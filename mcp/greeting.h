// What a front end (kvasir mcp, kvasir rpc) says first to the host of its user, and how the host reads it: untrusted
// JSON to a checked value, once. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/result.h"
#include "core/engine/messages.h"
#include "rpc/json.h"

namespace kvasir::mcp {

/// Which program file speaks. A newer one replaces the host of an older one, never the other way round.
struct Build {
  std::string version;
  int64_t file_time_ns = 0;  ///< modification time of the program file
  bool operator==(const Build&) const = default;
  bool newer_than(const Build& other) const noexcept { return file_time_ns > other.file_time_ns; }
};

struct Greeting {
  /// Changes when messages between front end and host change their meaning; both sides must have the same.
  static constexpr uint32_t kProtocol = 1;
  enum class Speaks : uint8_t { kMcp, kJsonRpc } speaks = Speaks::kMcp;
  EngineKey engine;  ///< of this connection; the model is an absolute path or a name from the models folder
  bool preload = false;
  Build build;
};

rpc::Json to_json(const Greeting& greeting);
/// The program file alone: understood whatever the protocol number. Errors: kInvalidArgument.
Result<Build> read_build(const rpc::Json& json);
/// Errors: kInvalidArgument, naming the member; kUnsupported for another protocol number.
Result<Greeting> read_greeting(const rpc::Json& json);

}  // namespace kvasir::mcp
