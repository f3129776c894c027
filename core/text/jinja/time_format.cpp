#include "core/text/jinja/time_format.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace kvasir::jinja {
namespace {

constexpr std::array<std::string_view, 7> kDays{"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                "Thursday", "Friday", "Saturday"};
constexpr std::array<std::string_view, 12> kMonths{"January",   "February", "March",    "April",
                                                   "May",       "June",     "July",     "August",
                                                   "September", "October",  "November", "December"};

struct Moment {
  int64_t year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, weekday = 0, day_of_year = 0,
          unix_seconds = 0;
};

Moment moment_of(int64_t unix_seconds) {
  using namespace std::chrono;
  // The calendar of <chrono> covers the years -32767 to 32767.
  constexpr int64_t kFar = 900'000'000'000;
  const sys_seconds time{seconds{std::clamp(unix_seconds, -kFar, kFar)}};
  const auto day = floor<days>(time);
  const year_month_day date{day};
  const hh_mm_ss clock{time - day};
  const auto first = sys_days{date.year() / January / 1};
  return {int{date.year()},          unsigned{date.month()},    unsigned{date.day()},
          clock.hours().count(),     clock.minutes().count(),   clock.seconds().count(),
          weekday{day}.c_encoding(), (day - first).count() + 1, unix_seconds};
}

/// `flag` is glibc's: '-' no padding, '_' spaces, 0 the directive's own.
std::string number(int64_t value, size_t width, char flag, char fill = '0') {
  std::string digits = std::to_string(value);
  if (flag == '-' || digits.size() >= width) return digits;
  if (flag == '_') fill = ' ';
  return std::string(width - digits.size(), fill) + digits;
}

std::optional<std::string> directive(char letter, char flag, const Moment& m) {
  const auto two = [flag](int64_t value) { return number(value, 2, flag); };
  const int64_t hour12 = m.hour % 12 == 0 ? 12 : m.hour % 12;
  const auto day_name = std::string(kDays[static_cast<size_t>(m.weekday)]);
  const auto month_name = std::string(kMonths[static_cast<size_t>(m.month - 1)]);
  const auto padded = [](int64_t value) { return number(value, 2, '\0'); };
  const std::string clock = padded(m.hour) + ":" + padded(m.minute) + ":" + padded(m.second);
  switch (letter) {
    case 'Y':
      return std::to_string(m.year);
    case 'C':
      return two(m.year / 100);
    case 'y':
      return two(m.year % 100);
    case 'm':
      return two(m.month);
    case 'd':
      return two(m.day);
    case 'e':
      return number(m.day, 2, flag, ' ');
    case 'H':
      return two(m.hour);
    case 'I':
      return two(hour12);
    case 'M':
      return two(m.minute);
    case 'S':
      return two(m.second);
    case 'f':
      return std::string("000000");
    case 'p':
      return std::string(m.hour < 12 ? "AM" : "PM");
    case 'j':
      return number(m.day_of_year, 3, flag);
    case 'u':
      return std::to_string(m.weekday == 0 ? 7 : m.weekday);
    case 'w':
      return std::to_string(m.weekday);
    case 'a':
      return day_name.substr(0, 3);
    case 'A':
      return day_name;
    case 'b':
    case 'h':
      return month_name.substr(0, 3);
    case 'B':
      return month_name;
    case 'F':
      return std::to_string(m.year) + "-" + padded(m.month) + "-" + padded(m.day);
    case 'T':
    case 'X':
      return clock;
    case 'R':
      return padded(m.hour) + ":" + padded(m.minute);
    case 'D':
    case 'x':
      return padded(m.month) + "/" + padded(m.day) + "/" + padded(m.year % 100);
    case 'c':
      return day_name.substr(0, 3) + " " + month_name.substr(0, 3) + " " + number(m.day, 2, '_') + " " + clock + " " +
             std::to_string(m.year);
    case 'z':
      return std::string("+0000");
    case 'Z':
      return std::string("UTC");
    case 's':
      return std::to_string(m.unix_seconds);
    case 'n':
      return std::string("\n");
    case 't':
      return std::string("\t");
    case '%':
      return std::string("%");
    default:
      return std::nullopt;
  }
}

}  // namespace

Result<void> append_time(TextBuilder& out, const Text& format, int64_t unix_seconds) {
  const Moment moment = moment_of(unix_seconds);
  const auto bytes = format.view();
  size_t copied = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != '%') continue;
    const size_t flag_at = i + 1;
    const bool flagged = flag_at < bytes.size() && (bytes[flag_at] == '-' || bytes[flag_at] == '_');
    const size_t letter_at = flag_at + (flagged ? 1 : 0);
    if (letter_at >= bytes.size()) break;
    const auto text = directive(bytes[letter_at], flagged ? bytes[flag_at] : '\0', moment);
    if (!text) continue;
    KVASIR_TRY(out.append_slice(format, copied, i));
    KVASIR_TRY(out.append(*text, format.trusted_at(i)));
    copied = letter_at + 1;
    i = letter_at;
  }
  return out.append_slice(format, copied, bytes.size());
}

}  // namespace kvasir::jinja
