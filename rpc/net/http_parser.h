// HTTP/1.1 requests from bytes, strictly (RFC 9112), no I/O: where two readings are possible the request is refused,
// because a proxy in front may read it the other way (request smuggling). Owned by one connection; io thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "rpc/limits.h"
#include "rpc/net/http.h"

namespace kvasir::rpc {

/// A checked request head. Exactly one Host header exists; header names are in lower case.
struct HttpHead {
  std::string method;
  std::string path;   ///< begins with '/'; no empty, "." or ".." segment
  std::string query;
  HttpHeaders headers;
  uint64_t content_length = 0;
  bool chunked = false;
  bool http10 = false;
  bool keep_alive = true;
  bool expects_continue = false;

  /// Value of a header that may come only once, or empty.
  std::string_view header(std::string_view name) const;
  bool has_body() const { return chunked || content_length > 0; }
};

class HttpParser {
 public:
  explicit HttpParser(const Limits& limits) : limits_(limits) {}

  enum class Status : uint8_t { kNeedMore, kHead, kComplete, kError };
  /// Takes bytes from the front of `in`. kHead: the head is there, nothing of the body was read yet; call again to go on.
  /// kComplete: one whole request; call reset() before the next. kError: answer error_status() and close.
  Status parse(std::string_view& in);
  void reset();

  HttpHead& head() { return head_; }
  std::string take_body() { return std::move(body_); }
  size_t body_bytes() const { return body_.size(); }
  int error_status() const { return error_status_; }
  std::string_view error_reason() const { return error_reason_; }
  /// Nothing of a request has been read yet.
  bool fresh() const { return state_ == State::kRequestLine && line_.empty(); }
  bool in_body() const { return state_ > State::kHeadDone && state_ < State::kDone; }

 private:
  enum class State : uint8_t { kRequestLine, kHeaders, kHeadDone, kBody, kChunkSize, kChunkData, kChunkEnd, kTrailers, kDone, kFailed };
  Status fail(int status, std::string_view reason);
  /// True when a line ended; it is in line_, without its CRLF.
  bool take_line(std::string_view& in, size_t max_bytes, int too_long_status);
  Status step(std::string_view& in);
  Status request_line();
  Status target(std::string_view text);
  Status header_line();
  Status head_complete();
  Status transfer_encoding();
  Status chunk_size();
  Status take_data(std::string_view& in);

  const Limits& limits_;
  State state_ = State::kRequestLine;
  HttpHead head_;
  std::string line_;
  std::string body_;
  std::string authority_;        // of an absolute-form target
  uint64_t remaining_ = 0;       // bytes of the body or chunk still to come
  size_t head_bytes_ = 0;        // of all header lines, or of all trailers
  uint32_t header_count_ = 0;
  uint32_t blank_lines_ = 0;     // before the request line
  int error_status_ = 0;
  std::string_view error_reason_;  // of a literal
};

}  // namespace kvasir::rpc
