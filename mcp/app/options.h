// Every option of the program from one table, and its value with where it came from: flag, KVASIR_ variable, config
// file, default, in this order. Immutable after resolve(); thread-safe. No third-party header: flags are read by
// command_line.cpp, the file by config_file.cpp.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace kvasir::app {

enum class OptionKind : uint8_t { kText, kWhole, kDecimal, kSwitch, kList };

struct OptionSpec {
  std::string_view name;  ///< as the flag is written, without dashes: "log-level"
  OptionKind kind = OptionKind::kText;
  std::string_view metavar;   ///< for help; empty for a switch
  std::string_view fallback;  ///< the default as text; empty: none
  std::string_view help;
};

enum class Origin : uint8_t { kDefault, kFile, kEnvironment, kFlag };
std::string_view origin_name(Origin origin) noexcept;

/// Values by option name, each a list (one element but for kList).
using RawValues = std::map<std::string, std::vector<std::string>, std::less<>>;

class Options {
 public:
  /// Takes the first source that has a value, option by option, and checks numbers and switches.
  /// Errors: kInvalidArgument, naming the flag, variable or key; `from_flag` says whether a flag was at fault.
  struct BadValue {
    Error error;
    bool from_flag = false;
  };
  static std::optional<BadValue> resolve(std::vector<const OptionSpec*> specs, const RawValues& flags,
                                         const RawValues& environment, const RawValues& file, Options& out);

  std::string text(std::string_view name) const;
  uint64_t whole(std::string_view name) const;
  double decimal(std::string_view name) const;
  bool enabled(std::string_view name) const;
  std::vector<std::string> list(std::string_view name) const;
  /// Somebody set it (any origin but the default), or it has a default.
  bool has(std::string_view name) const;
  Origin origin(std::string_view name) const;
  const std::vector<const OptionSpec*>& specs() const noexcept { return specs_; }

 private:
  struct Value {
    std::vector<std::string> values;
    Origin origin = Origin::kDefault;
  };
  const Value& at(std::string_view name) const;

  std::vector<const OptionSpec*> specs_;
  std::map<std::string, Value, std::less<>> values_;
};

/// "log-level" -> "KVASIR_LOG_LEVEL", "log_level".
std::string variable_name(std::string_view option);
std::string key_name(std::string_view option);
/// The variables of this process for these options; lists are split at commas.
RawValues read_environment(const std::vector<const OptionSpec*>& specs);

/// The whole text as a number, nothing else around it.
std::optional<uint64_t> parse_whole(std::string_view text);
std::optional<double> parse_decimal(std::string_view text);
std::optional<bool> parse_switch(std::string_view text);

}  // namespace kvasir::app
