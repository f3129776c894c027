// kvasir mcp and kvasir rpc as thin front ends (decisions.md 1, 4): copies messages between stdin/stdout and the host
// of this user, starts a host where there is none, answers what was in flight when a host dies, and ends with its
// input. One thread, poll(), bounded buffers: a client that does not read stops the reading from the host, which pauses
// the generation. Never opens a model.
#pragma once

#include "core/base/result.h"
#include "mcp/app/front/host_link.h"
#include "mcp/app/interrupt.h"
#include "rpc/net/server.h"

namespace kvasir::app {

struct FrontEndOptions {
  int in_fd = 0;
  int out_fd = 1;
  rpc::Framing framing = rpc::Framing::kLines;
  HostLinkOptions link;
};

/// Runs until the input ends or a signal comes. `first` is the link to a host that greeted already.
/// Errors: kCancelled after SIGINT.
Result<void> run_front_end(const HostPlace& place, OwnedFd first, const FrontEndOptions& options, Interrupt& interrupt);

}  // namespace kvasir::app
