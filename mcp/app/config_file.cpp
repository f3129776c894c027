#include "mcp/app/config_file.h"

#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "mcp/app/command_line.h"

namespace kvasir::app {
namespace {

constexpr uintmax_t kMaxFileBytes = 1u << 20;

Result<std::string> text_of(const toml::node& node, const std::string& key) {
  std::ostringstream out;
  if (node.is_string()) return node.ref<std::string>();
  if (node.is_boolean()) return std::string(node.ref<bool>() ? "true" : "false");
  if (node.is_integer()) return std::to_string(node.ref<int64_t>());
  if (node.is_floating_point()) {
    out.precision(17);
    out << node.ref<double>();
    return out.str();
  }
  return Failure{Code::kInvalidArgument, "config key " + key + " must be a text, a number, true or false"};
}

Result<std::vector<std::string>> values_of(const toml::node& node, const OptionSpec& spec, const std::string& key) {
  std::vector<std::string> out;
  if (spec.kind == OptionKind::kList && node.is_array()) {
    for (const auto& element : *node.as_array()) out.push_back(KVASIR_TRY(text_of(element, key)));
    return out;
  }
  out.push_back(KVASIR_TRY(text_of(node, key)));
  return out;
}

const OptionSpec* spec_of(const std::vector<const OptionSpec*>& specs, std::string_view key) {
  const auto it =
      std::find_if(specs.begin(), specs.end(), [&](const auto* spec) { return key_name(spec->name) == key; });
  return it == specs.end() ? nullptr : *it;
}

Result<void> take(const toml::table& table, const std::string& where, const std::vector<const OptionSpec*>& specs,
                  const std::vector<const OptionSpec*>& all_known, const std::vector<std::string>& tables,
                  RawValues& out) {
  for (const auto& [key_node, node] : table) {
    const std::string key(key_node.str());
    if (node.is_table() && where.empty() && std::find(tables.begin(), tables.end(), key) != tables.end()) continue;
    if (spec_of(all_known, key) == nullptr) {
      std::vector<std::string> names;
      for (const auto* spec : all_known) names.push_back(key_name(spec->name));
      const std::string near = nearest(key, names);
      return Failure{Code::kInvalidArgument,
                     "unknown config key '" + key + "'" + (near.empty() ? "" : "; did you mean '" + near + "'?")};
    }
    if (const OptionSpec* spec = spec_of(specs, key)) {
      out[std::string(spec->name)] = KVASIR_TRY(values_of(node, *spec, where + key));
    }
  }
  return {};
}

}  // namespace

Result<RawValues> read_config_file(const std::string& path, bool required, std::string_view command,
                                   const std::vector<const OptionSpec*>& specs,
                                   const std::vector<const OptionSpec*>& all_known,
                                   const std::vector<std::string>& tables) {
  std::error_code ec;
  const auto status = std::filesystem::status(path, ec);
  if (!std::filesystem::exists(status)) {
    if (required) return Failure{Code::kNotFound, "there is no config file " + path};
    return RawValues{};
  }
  if (!std::filesystem::is_regular_file(status)) return Failure{Code::kIo, path + " is not a file"};
  if (const auto size = std::filesystem::file_size(path, ec); ec || size > kMaxFileBytes) {
    return Failure{Code::kIo, ec ? "cannot read " + path : path + " is over 1 MiB: that is no configuration"};
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) return Failure{Code::kIo, "cannot read " + path + ": " + std::strerror(errno)};
  try {
    const toml::table root = toml::parse(in, path);
    RawValues out;
    KVASIR_TRY(take(root, "", specs, all_known, tables, out));
    if (const auto* table = root[command].as_table()) {
      KVASIR_TRY(take(*table, std::string(command) + ".", specs, all_known, tables, out));
    }
    return out;
  } catch (const toml::parse_error& e) {
    return Failure{Code::kInvalidArgument,
                   path + ", line " + std::to_string(e.source().begin.line) + ": " + std::string(e.description())};
  }
}

}  // namespace kvasir::app
