// From a front end to its host: finds the host's socket, starts a host where there is none, greets. Blocks, with a
// deadline; the thread of the front end.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "mcp/app/host_place.h"
#include "mcp/greeting.h"

namespace kvasir::app {

/// This program's file and version. Errors: kIo.
Result<mcp::Build> own_build();

struct HostLinkOptions {
  std::vector<std::string> host_command;  ///< arguments of this program that make it a host, with its name first
  mcp::Greeting greeting;
  std::chrono::milliseconds patience{10'000};  ///< for a host to start, or an older one to leave
};

/// The socket after greeting and reply, still blocking. Errors: kUnavailable (no host came up; with what it said),
/// kUnsupported (the host is of a newer, different kvasir), kIo.
Result<OwnedFd> connect_to_host(const HostPlace& place, const HostLinkOptions& options);

}  // namespace kvasir::app
