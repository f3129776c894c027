#include "rpc/net/http_parser.h"

#include <algorithm>
#include <array>

#include "core/base/bytes.h"
#include "rpc/net/http_text.h"

namespace kvasir::rpc {
namespace {

constexpr size_t kMaxChunkLineBytes = 256;
constexpr size_t kMaxChunkDigits = 16;
constexpr uint32_t kMaxBlankLines = 2;
constexpr std::array<std::string_view, 8> kOnlyOnce{"host", "content-length", "transfer-encoding", "content-type",
                                                    "authorization", "origin", "sec-websocket-key", "sec-websocket-version"};

bool is_target_char(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte > 0x20 && byte < 0x7F && c != '#' && c != '"' && c != '<' && c != '>' && c != '\\' && c != '^' && c != '`' &&
         c != '{' && c != '|' && c != '}';
}

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

/// Percent signs are followed by two digits, and none hides a NUL, a dot or a slash from the segment check.
bool escapes_ok(std::string_view path) {
  for (size_t i = path.find('%'); i != std::string_view::npos; i = path.find('%', i + 1)) {
    if (path.size() - i < 3 || !is_hex(path[i + 1]) || !is_hex(path[i + 2])) return false;
    const std::string code = lower(path.substr(i + 1, 2));
    if (code == "00" || code == "2e" || code == "2f" || code == "5c") return false;
  }
  return true;
}

bool segments_ok(std::string_view path) {
  if (path == "/") return true;
  for (size_t begin = 1; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view segment = path.substr(begin, end - begin);
    if (segment == "." || segment == ".." || (segment.empty() && end != path.size())) return false;
    begin = end + 1;
  }
  return true;
}

}  // namespace

std::string_view HttpHead::header(std::string_view name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string_view() : std::string_view(found->second);
}

void HttpParser::reset() {
  state_ = State::kRequestLine;
  head_ = {};
  line_.clear();
  body_ = {};
  authority_.clear();
  remaining_ = head_bytes_ = 0;
  header_count_ = blank_lines_ = 0;
}

HttpParser::Status HttpParser::fail(int status, std::string_view reason) {
  state_ = State::kFailed;
  error_status_ = status;
  error_reason_ = reason;
  return Status::kError;
}

HttpParser::Status HttpParser::parse(std::string_view& in) {
  if (state_ == State::kFailed) return Status::kError;
  for (;;) {
    const Status status = step(in);
    if (status != Status::kNeedMore) return status;
    if (in.empty() && state_ != State::kHeadDone) return Status::kNeedMore;
  }
}

bool HttpParser::take_line(std::string_view& in, size_t max_bytes, int too_long_status) {
  const size_t newline = in.find('\n');
  const size_t take = newline == std::string_view::npos ? in.size() : newline + 1;
  if (line_.size() + take > max_bytes + 2) {
    fail(too_long_status, "a line is too long");
    return false;
  }
  line_ += in.substr(0, take);
  in.remove_prefix(take);
  // A carriage return must be followed by the newline; looking back one byte finds it early.
  const size_t stray = line_.find('\r');
  if (stray != std::string::npos && stray + 1 < line_.size() && line_[stray + 1] != '\n') {
    fail(400, "a carriage return inside a line");
    return false;
  }
  if (newline == std::string_view::npos) return false;
  if (line_.size() < 2 || line_[line_.size() - 2] != '\r') {
    fail(400, "a line that does not end in CRLF");
    return false;
  }
  line_.resize(line_.size() - 2);
  return true;
}

HttpParser::Status HttpParser::step(std::string_view& in) {
  const auto pending = [this] { return state_ == State::kFailed ? Status::kError : Status::kNeedMore; };
  switch (state_) {
    case State::kRequestLine:
      if (!take_line(in, limits_.max_http_header_line_bytes, 414)) {
        // Anything that cannot become a method (a TLS hello, binary noise) is refused at its first byte.
        if (state_ != State::kFailed && !line_.empty() && line_[0] != '\r' && !is_token(line_.substr(0, 1))) {
          return fail(400, "not an HTTP request");
        }
        return pending();
      }
      return request_line();
    case State::kHeaders:
      if (!take_line(in, limits_.max_http_header_line_bytes, 431)) return pending();
      return line_.empty() ? head_complete() : header_line();
    case State::kHeadDone:
      state_ = head_.chunked ? State::kChunkSize : remaining_ > 0 ? State::kBody : State::kDone;
      return state_ == State::kDone ? Status::kComplete : Status::kNeedMore;
    case State::kBody:
    case State::kChunkData: return take_data(in);
    case State::kChunkSize:
      if (!take_line(in, kMaxChunkLineBytes, 400)) return pending();
      return chunk_size();
    case State::kChunkEnd:
      if (!take_line(in, 0, 400)) return pending();
      line_.clear();
      state_ = State::kChunkSize;
      return Status::kNeedMore;
    case State::kTrailers:
      if (!take_line(in, limits_.max_http_header_line_bytes, 431)) return pending();
      if (!line_.empty()) return header_line();
      state_ = State::kDone;
      return Status::kComplete;
    case State::kDone: return Status::kComplete;
    case State::kFailed: return Status::kError;
  }
  return Status::kError;
}

HttpParser::Status HttpParser::request_line() {
  if (line_.empty()) {
    return ++blank_lines_ > kMaxBlankLines ? fail(400, "blank lines instead of a request") : Status::kNeedMore;
  }
  const std::string line = std::exchange(line_, {});
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string::npos || last == first) return fail(400, "the request line is not METHOD TARGET VERSION");
  head_.method = line.substr(0, first);
  if (!is_token(head_.method)) return fail(400, "the method is not a token");
  const std::string_view version = std::string_view(line).substr(last + 1);
  if (const Status status = target(std::string_view(line).substr(first + 1, last - first - 1)); status == Status::kError) return status;
  const bool well_formed = version.size() == 8 && version.starts_with("HTTP/") && version[5] >= '0' && version[5] <= '9' &&
                           version[6] == '.' && version[7] >= '0' && version[7] <= '9';
  if (!well_formed) return fail(400, "the HTTP version is malformed");
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return fail(505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
  head_.http10 = version == "HTTP/1.0";
  state_ = State::kHeaders;
  return Status::kNeedMore;
}

HttpParser::Status HttpParser::target(std::string_view text) {
  if (!std::all_of(text.begin(), text.end(), is_target_char)) return fail(400, "the request target is malformed");
  if (text.starts_with("http://")) {
    text.remove_prefix(7);
    const size_t slash = std::min(text.find('/'), text.size());
    authority_ = lower(text.substr(0, slash));
    text.remove_prefix(slash);
    if (authority_.empty()) return fail(400, "the request target has no host");
    if (text.empty()) text = "/";
  }
  if (text == "*" && head_.method == "OPTIONS") text = "/";
  if (!text.starts_with('/')) return fail(400, "the request target must be a path");
  const size_t question = std::min(text.find('?'), text.size());
  head_.path = text.substr(0, question);
  if (question < text.size()) head_.query = text.substr(question + 1);
  if (!escapes_ok(head_.path) || !segments_ok(head_.path)) return fail(400, "the path has an empty, dot or escaped segment");
  return Status::kNeedMore;
}

HttpParser::Status HttpParser::header_line() {
  const std::string line = std::exchange(line_, {});
  head_bytes_ += line.size() + 2;
  if (head_bytes_ > limits_.max_http_header_bytes) return fail(431, "the headers are too big");
  if (++header_count_ > limits_.max_http_headers) return fail(431, "too many headers");
  const size_t colon = line.find(':');
  if (colon == std::string::npos || !is_token(std::string_view(line).substr(0, colon))) {
    return fail(400, "a header line is malformed");  // also folded lines and space before the colon
  }
  const std::string_view value = trim(std::string_view(line).substr(colon + 1));
  const bool clean = std::all_of(value.begin(), value.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte == '\t' || (byte >= 0x20 && byte != 0x7F);
  });
  if (!clean) return fail(400, "a control character in a header");
  if (state_ == State::kTrailers) return Status::kNeedMore;
  std::string name = lower(std::string_view(line).substr(0, colon));
  if (std::find(kOnlyOnce.begin(), kOnlyOnce.end(), name) != kOnlyOnce.end() && head_.headers.contains(name)) {
    return fail(400, "a header that may come only once came twice");
  }
  head_.headers.emplace(std::move(name), value);
  return Status::kNeedMore;
}

HttpParser::Status HttpParser::head_complete() {
  line_.clear();
  if (head_.header("host").empty()) return fail(400, "the Host header is missing");
  if (!authority_.empty() && authority_ != lower(head_.header("host"))) return fail(400, "target and Host header disagree");
  if (const Status status = transfer_encoding(); status == Status::kError) return status;
  if (const auto length = head_.headers.find("content-length"); length != head_.headers.end()) {
    uint64_t bytes = 0;
    const std::string& text = length->second;
    const bool digits = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
    for (const char c : text) {
      const auto shifted = digits ? checked_mul<uint64_t>(bytes, 10) : std::nullopt;
      const auto sum = shifted ? checked_add<uint64_t>(*shifted, static_cast<uint64_t>(c - '0')) : std::nullopt;
      if (!sum) return fail(400, "the Content-Length is not a number");
      bytes = *sum;
    }
    if (!digits) return fail(400, "the Content-Length is not a number");
    if (bytes > limits_.max_message_bytes) return fail(413, "the body is too big (max_message_bytes)");
    head_.content_length = remaining_ = bytes;
  }
  const bool wants_close = has_list_item(head_.headers, "connection", "close");
  head_.keep_alive = head_.http10 ? !wants_close && has_list_item(head_.headers, "connection", "keep-alive") : !wants_close;
  if (const auto expect = head_.headers.find("expect"); expect != head_.headers.end()) {
    if (lower(expect->second) != "100-continue") return fail(417, "only 100-continue can be expected");
    head_.expects_continue = !head_.http10 && head_.has_body();
  }
  state_ = State::kHeadDone;
  return Status::kHead;
}

HttpParser::Status HttpParser::transfer_encoding() {
  const auto encoding = head_.headers.find("transfer-encoding");
  if (encoding == head_.headers.end()) return Status::kNeedMore;
  if (head_.http10 || head_.headers.contains("content-length")) return fail(400, "Transfer-Encoding is not allowed here");
  if (lower(encoding->second) != "chunked") return fail(400, "the only Transfer-Encoding is chunked");
  head_.chunked = true;
  return Status::kNeedMore;
}

HttpParser::Status HttpParser::chunk_size() {
  const std::string line = std::exchange(line_, {});
  const size_t digits = static_cast<size_t>(std::find_if_not(line.begin(), line.end(), is_hex) - line.begin());
  if (digits == 0 || digits > kMaxChunkDigits || (digits < line.size() && line[digits] != ';')) {
    return fail(400, "a chunk size is malformed");
  }
  const bool clean = std::all_of(line.begin(), line.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7F; });
  if (!clean) return fail(400, "a control character in a chunk extension");
  uint64_t size = 0;
  for (size_t i = 0; i < digits; ++i) {
    const char c = line[i];
    size = size << 4 | static_cast<uint64_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
  }
  if (size > limits_.max_message_bytes - body_.size()) return fail(413, "the body is too big (max_message_bytes)");
  remaining_ = size;
  head_bytes_ = 0;
  header_count_ = 0;
  state_ = size == 0 ? State::kTrailers : State::kChunkData;
  return Status::kNeedMore;
}

HttpParser::Status HttpParser::take_data(std::string_view& in) {
  const auto take = static_cast<size_t>(std::min<uint64_t>(remaining_, in.size()));
  body_ += in.substr(0, take);
  in.remove_prefix(take);
  remaining_ -= take;
  if (remaining_ > 0) return Status::kNeedMore;
  if (state_ == State::kBody) {
    state_ = State::kDone;
    return Status::kComplete;
  }
  state_ = State::kChunkEnd;
  return Status::kNeedMore;
}

}  // namespace kvasir::rpc
