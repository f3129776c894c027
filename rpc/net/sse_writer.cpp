#include "rpc/net/sse_writer.h"

#include <array>
#include <charconv>
#include <ctime>

#include "rpc/net/http_text.h"

namespace kvasir::rpc {
namespace {

void append_clean(std::string& out, std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == '\t' || (byte >= 0x20 && byte != 0x7F)) out += c;
  }
}

}  // namespace

std::string response_head(int status, const HeaderList& headers) {
  std::string out = "HTTP/1.1 " + std::to_string(status) + ' ';
  out += reason_phrase(status);
  out += "\r\n";
  for (const auto& [name, value] : headers) {
    append_clean(out, name);
    out += ": ";
    append_clean(out, value);
    out += "\r\n";
  }
  out += "\r\n";
  return out;
}

std::string http_date() {
  thread_local std::time_t at = -1;
  thread_local std::string text;
  const std::time_t now = std::time(nullptr);
  if (now != at) {
    constexpr std::array<std::string_view, 7> kDays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    constexpr std::array<std::string_view, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    std::tm utc{};
    gmtime_r(&now, &utc);
    const auto two = [](int n) { return std::string(n < 10 ? "0" : "") + std::to_string(n); };
    text = std::string(kDays.at(static_cast<size_t>(utc.tm_wday))) + ", " + two(utc.tm_mday) + ' ' +
           std::string(kMonths.at(static_cast<size_t>(utc.tm_mon))) + ' ' + std::to_string(1900 + utc.tm_year) + ' ' +
           two(utc.tm_hour) + ':' + two(utc.tm_min) + ':' + two(utc.tm_sec) + " GMT";
    at = now;
  }
  return text;
}

std::string sse_event(std::string_view text) {
  std::string out = "event: message\ndata: ";
  out.reserve(out.size() + text.size() + 2);
  for (const char c : text) {
    if (c == '\r') continue;
    out += c;
    if (c == '\n') out += "data: ";
  }
  out += "\n\n";
  return out;
}

std::string http_chunk(std::string_view text) {
  if (text.empty()) return {};
  std::array<char, 16> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), text.size(), 16).ptr;
  std::string out(digits.data(), end);
  out += "\r\n";
  out += text;
  out += "\r\n";
  return out;
}

}  // namespace kvasir::rpc
