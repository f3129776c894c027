#include "rpc/net/stdio_framing.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "rpc/net/http_text.h"

namespace kvasir::rpc {
namespace {

constexpr std::string_view kBlank = " \t\r\n";

bool is_blank(std::string_view text) { return text.find_first_not_of(kBlank) == std::string_view::npos; }

}  // namespace

StdioFraming::StdioFraming(Framing framing, const Limits& limits, Sink sink)
    : max_bytes_(limits.max_message_bytes),
      max_header_bytes_(limits.max_http_header_line_bytes),
      sink_(std::move(sink)),
      mode_(framing == Framing::kLines ? Mode::kLines : Mode::kUnknown) {}

void StdioFraming::feed(std::string_view bytes) {
  while (!bytes.empty()) {
    if (mode_ == Mode::kUnknown) detect(bytes);
    if (mode_ == Mode::kLines) {
      feed_line(bytes);
    } else if (in_body_) {
      feed_body(bytes);
    } else if (mode_ == Mode::kHeaders) {
      feed_header(bytes);
    }
  }
}

/// No JSON text begins with a letter C; the headers of the Language Server Protocol all do.
void StdioFraming::detect(std::string_view& bytes) {
  const size_t first = bytes.find_first_not_of(kBlank);
  if (first == std::string_view::npos) {
    bytes = {};
    return;
  }
  bytes.remove_prefix(first);
  mode_ = bytes[0] == 'C' || bytes[0] == 'c' ? Mode::kHeaders : Mode::kLines;
}

void StdioFraming::fault(int code, std::string message) { sink_.fault({code, std::move(message), std::nullopt}); }

void StdioFraming::too_long() {
  fault(kInvalidRequest, "Invalid Request: a message of more than " + std::to_string(max_bytes_) + " bytes (max_message_bytes)");
}

void StdioFraming::feed_line(std::string_view& bytes) {
  const size_t newline = bytes.find('\n');
  const size_t take = std::min(newline, bytes.size());
  if (!skipping_ && take > max_bytes_ - std::min(max_bytes_, partial_.size())) {
    too_long();
    skipping_ = true;
    std::string().swap(partial_);
  }
  if (!skipping_) partial_ += bytes.substr(0, take);
  bytes.remove_prefix(take);
  if (newline == std::string_view::npos) return;
  bytes.remove_prefix(1);
  line_complete();
}

void StdioFraming::line_complete() {
  const std::string line = std::exchange(partial_, {});
  if (std::exchange(skipping_, false) || is_blank(line)) return;
  std::string_view text = line;
  if (text.ends_with('\r')) text.remove_suffix(1);
  sink_.message(text);
}

void StdioFraming::feed_header(std::string_view& bytes) {
  const size_t newline = bytes.find('\n');
  const size_t take = std::min(newline, bytes.size());
  if (!skipping_ && partial_.size() + take > max_header_bytes_) {
    fault(kParseError, "Parse error: a header line is too long");
    skipping_ = true;
    partial_.clear();
  }
  if (!skipping_) partial_ += bytes.substr(0, take);
  bytes.remove_prefix(take);
  if (newline == std::string_view::npos) return;
  bytes.remove_prefix(1);
  const std::string line = std::exchange(partial_, {});
  if (!std::exchange(skipping_, false)) header_complete(line);
}

void StdioFraming::header_complete(std::string_view line) {
  line = trim(line.substr(0, line.find('\r')));
  if (line.empty()) {
    if (!std::exchange(length_known_, false)) return;  // blank lines between frames, or after a refused header
    in_body_ = true;
    discard_ = length_ > max_bytes_ ? length_ : 0;
    if (discard_ > 0) too_long();
    if (length_ == 0) in_body_ = false;
    return;
  }
  const size_t colon = std::min(line.find(':'), line.size());
  const std::string name = lower(trim(line.substr(0, colon)));
  if (name != "content-length") {
    if (colon == line.size()) fault(kParseError, "Parse error: expected a Content-Length header");
    return;
  }
  const std::string_view value = trim(line.substr(colon + 1));
  uint64_t length = 0;
  const auto [end, problem] = std::from_chars(value.data(), value.data() + value.size(), length);
  if (value.empty() || problem != std::errc() || end != value.data() + value.size() || length_known_) {
    length_known_ = false;
    return fault(kParseError, "Parse error: the Content-Length header is not one number");
  }
  length_ = length;
  length_known_ = true;
}

void StdioFraming::feed_body(std::string_view& bytes) {
  if (discard_ > 0) {
    const auto drop = static_cast<size_t>(std::min<uint64_t>(discard_, bytes.size()));
    bytes.remove_prefix(drop);
    discard_ -= drop;
    in_body_ = discard_ > 0;
    return;
  }
  const auto take = static_cast<size_t>(std::min<uint64_t>(length_ - partial_.size(), bytes.size()));
  partial_ += bytes.substr(0, take);
  bytes.remove_prefix(take);
  if (partial_.size() < length_) return;
  in_body_ = false;
  const std::string text = std::exchange(partial_, {});
  sink_.message(text);
}

void StdioFraming::end() {
  if (mode_ == Mode::kHeaders) {
    if (in_body_ || length_known_) fault(kParseError, "Parse error: the input ends inside a message");
    return;
  }
  line_complete();
}

std::string StdioFraming::frame(std::string_view text) const {
  std::string out;
  if (mode_ == Mode::kHeaders) out = "Content-Length: " + std::to_string(text.size()) + "\r\n\r\n";
  out += text;
  if (mode_ != Mode::kHeaders) out += '\n';
  return out;
}

}  // namespace kvasir::rpc
