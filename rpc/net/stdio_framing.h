// Messages out of a byte stream without other structure: one per line, or with Content-Length headers as the Language
// Server Protocol frames them, told apart by the first bytes. No I/O; memory bounded by the length limit; after a bad
// frame it finds the next one. io thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "rpc/limits.h"
#include "rpc/message.h"
#include "rpc/net/server.h"

namespace kvasir::rpc {

class StdioFraming {
 public:
  struct Sink {
    std::function<void(std::string_view)> message;
    std::function<void(const RpcError&)> fault;  ///< something that never became a message
  };
  StdioFraming(Framing framing, const Limits& limits, Sink sink);

  void feed(std::string_view bytes);
  /// End of input: an unfinished last line is a message all the same; an unfinished frame is a fault.
  void end();
  /// `text` framed as the client frames; lines until something else is known.
  std::string frame(std::string_view text) const;

 private:
  enum class Mode : uint8_t { kUnknown, kLines, kHeaders };
  void detect(std::string_view& bytes);
  void feed_line(std::string_view& bytes);
  void feed_header(std::string_view& bytes);
  void feed_body(std::string_view& bytes);
  void line_complete();
  void header_complete(std::string_view line);
  void fault(int code, std::string message);
  void too_long();

  const size_t max_bytes_;
  const size_t max_header_bytes_;
  Sink sink_;
  Mode mode_;
  std::string partial_;         // line, header line or body so far
  bool skipping_ = false;       // the rest of an over-long line, or of a bad header block
  bool in_body_ = false;
  bool length_known_ = false;
  uint64_t length_ = 0;         // announced bytes of the body
  uint64_t discard_ = 0;        // bytes of a body that is not taken
};

}  // namespace kvasir::rpc
