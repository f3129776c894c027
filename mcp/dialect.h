// How one era of MCP shakes hands and shapes its results. Two implementations beside each other
// (dialect_2025_11_25.cpp, dialect_2026_07_28.cpp), one set of tools. Immutable; io thread. None of this touches the
// engine.
#pragma once

#include <memory>
#include <string>

#include "mcp/connection.h"
#include "mcp/era.h"
#include "rpc/message.h"
#include "rpc/service.h"

namespace kvasir::mcp {

/// Who we are, for both handshakes.
struct ServerFacts {
  std::string name = "kvasir";
  std::string version;
  std::string instructions;
};

enum class Caching : uint8_t { kNone, kStatic };

class Dialect {
 public:
  virtual ~Dialect() = default;
  /// Answers the methods that this era has beside tools/list and tools/call. False: unknown, `reply` is untouched.
  virtual bool answer(const rpc::Request& request, Connection* connection, rpc::Responder& reply) const = 0;
  /// Adds what every result of this era carries.
  virtual Json complete(Json result, Caching caching) const = 0;
};

std::unique_ptr<Dialect> make_dialect_2025_11_25(ServerFacts facts);
std::unique_ptr<Dialect> make_dialect_2026_07_28(ServerFacts facts);

}  // namespace kvasir::mcp
