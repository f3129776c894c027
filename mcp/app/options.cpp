#include "mcp/app/options.h"

#include <algorithm>
#include <cassert>
#include <charconv>
#include <cmath>
#include <cstdlib>

namespace kvasir::app {
namespace {

std::string in_words(const OptionSpec& spec, Origin origin) {
  switch (origin) {
    case Origin::kEnvironment:
      return variable_name(spec.name);
    case Origin::kFile:
      return "config key " + key_name(spec.name);
    case Origin::kFlag:
    case Origin::kDefault:
      break;
  }
  return "--" + std::string(spec.name);
}

/// What is wrong with `text` as a value of this kind; nothing if it is fine.
std::string_view complaint(OptionKind kind, std::string_view text) {
  switch (kind) {
    case OptionKind::kWhole:
      return parse_whole(text) ? "" : "is not a whole number";
    case OptionKind::kDecimal:
      return parse_decimal(text) ? "" : "is not a number";
    case OptionKind::kSwitch:
      return parse_switch(text) ? "" : "is neither true nor false";
    case OptionKind::kText:
    case OptionKind::kList:
      break;
  }
  return "";
}

const std::vector<std::string>* find(const RawValues& values, std::string_view name) {
  const auto it = values.find(name);
  return it == values.end() || it->second.empty() ? nullptr : &it->second;
}

}  // namespace

std::string_view origin_name(Origin origin) noexcept {
  switch (origin) {
    case Origin::kDefault:
      return "default";
    case Origin::kFile:
      return "file";
    case Origin::kEnvironment:
      return "environment";
    case Origin::kFlag:
      return "flag";
  }
  return "default";
}

std::string variable_name(std::string_view option) {
  std::string name = "KVASIR_";
  for (const char c : option) name += c == '-' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  return name;
}

std::string key_name(std::string_view option) {
  std::string name(option);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

std::optional<uint64_t> parse_whole(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<double> parse_decimal(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<bool> parse_switch(std::string_view text) {
  for (const std::string_view yes : {"1", "true", "yes", "on"}) {
    if (text == yes) return true;
  }
  for (const std::string_view no : {"", "0", "false", "no", "off"}) {
    if (text == no) return false;
  }
  return std::nullopt;
}

RawValues read_environment(const std::vector<const OptionSpec*>& specs) {
  RawValues out;
  for (const OptionSpec* spec : specs) {
    const char* value = std::getenv(variable_name(spec->name).c_str());
    // An empty variable counts as unset: that is how scripts and client configurations switch one off.
    if (value == nullptr || *value == '\0') continue;
    std::string_view rest = value;
    std::vector<std::string>& values = out[std::string(spec->name)];
    while (spec->kind == OptionKind::kList && rest.find(',') != std::string_view::npos) {
      values.emplace_back(rest.substr(0, rest.find(',')));
      rest.remove_prefix(rest.find(',') + 1);
    }
    values.emplace_back(rest);
  }
  return out;
}

std::optional<Options::BadValue> Options::resolve(std::vector<const OptionSpec*> specs, const RawValues& flags,
                                                  const RawValues& environment, const RawValues& file, Options& out) {
  for (const OptionSpec* spec : specs) {
    Value value;
    if (const auto* given = find(flags, spec->name)) {
      value = {*given, Origin::kFlag};
    } else if ((given = find(environment, spec->name)) != nullptr) {
      value = {*given, Origin::kEnvironment};
    } else if ((given = find(file, spec->name)) != nullptr) {
      value = {*given, Origin::kFile};
    } else if (!spec->fallback.empty()) {
      value = {{std::string(spec->fallback)}, Origin::kDefault};
    }
    for (const std::string& text : value.values) {
      if (const auto what = complaint(spec->kind, text); !what.empty()) {
        return BadValue{
            {Code::kInvalidArgument, in_words(*spec, value.origin) + ": '" + text + "' " + std::string(what)},
            value.origin == Origin::kFlag};
      }
    }
    out.values_[std::string(spec->name)] = std::move(value);
  }
  out.specs_ = std::move(specs);
  return std::nullopt;
}

const Options::Value& Options::at(std::string_view name) const {
  static const Value kNothing;
  const auto it = values_.find(name);
  assert(it != values_.end() && "the command's table does not list this option");
  return it == values_.end() ? kNothing : it->second;
}

std::string Options::text(std::string_view name) const {
  const Value& value = at(name);
  return value.values.empty() ? "" : value.values.back();
}
uint64_t Options::whole(std::string_view name) const {
  return parse_whole(text(name)).value_or(0);
}
double Options::decimal(std::string_view name) const {
  return parse_decimal(text(name)).value_or(0);
}
bool Options::enabled(std::string_view name) const {
  return parse_switch(text(name)).value_or(false);
}
std::vector<std::string> Options::list(std::string_view name) const {
  return at(name).values;
}
bool Options::has(std::string_view name) const {
  return !at(name).values.empty();
}
Origin Options::origin(std::string_view name) const {
  return at(name).origin;
}

}  // namespace kvasir::app
