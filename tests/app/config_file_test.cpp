#include "mcp/app/config_file.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

using namespace kvasir;
using namespace kvasir::app;

namespace {

const OptionSpec kPort{"port", OptionKind::kWhole, "N", "", ""};
const OptionSpec kDataDir{"data-dir", OptionKind::kText, "DIR", "", ""};
const OptionSpec kOrigins{"allow-origin", OptionKind::kList, "O", "", ""};
const OptionSpec kOther{"other", OptionKind::kText, "X", "", ""};
const std::vector<const OptionSpec*> kSpecs{&kPort, &kDataDir, &kOrigins};
const std::vector<const OptionSpec*> kAll{&kPort, &kDataDir, &kOrigins, &kOther};

struct ConfigFile {
  explicit ConfigFile(const std::string& text)
      : path((std::filesystem::temp_directory_path() / ("kvasir-config-" + std::to_string(getpid()) + ".toml"))
                 .string()) {
    std::ofstream(path) << text;
  }
  ~ConfigFile() { std::filesystem::remove(path); }
  Result<RawValues> read() const { return read_config_file(path, true, "serve", kSpecs, kAll, {"serve", "run"}); }
  std::string path;
};

}  // namespace

TEST_CASE("keys are option names, and the command's table wins over the top") {
  const auto values = ConfigFile(
                          "port = 1\ndata_dir = '/srv'\nother = 'for somebody else'\n[serve]\nport = 2\nallow_origin = "
                          "['a', 'b']\n[run]\nport = 3\n")
                          .read();
  REQUIRE(values);
  CHECK(values->at("port") == std::vector<std::string>{"2"});
  CHECK(values->at("data-dir") == std::vector<std::string>{"/srv"});
  CHECK(values->at("allow-origin") == std::vector<std::string>{"a", "b"});
  CHECK(values->count("other") == 0);
}

TEST_CASE("a config file that is wrong is refused with its place or the nearest key") {
  const auto syntax = ConfigFile("port = 1\nport = = 2\n").read();
  REQUIRE_FALSE(syntax);
  CHECK(syntax.error().message.find("line 2") != std::string::npos);
  const auto key = ConfigFile("prot = 1\n").read();
  REQUIRE_FALSE(key);
  CHECK(key.error().message == "unknown config key 'prot'; did you mean 'port'?");
  const auto value = ConfigFile("port = {a = 1}\n").read();
  REQUIRE_FALSE(value);
  CHECK(value.error().message.find("config key port must be") == 0);
}

TEST_CASE("a config file that is absent is an error only when it was named") {
  CHECK(read_config_file("/nonexistent/kvasir.toml", false, "serve", kSpecs, kAll, {})->empty());
  CHECK(read_config_file("/nonexistent/kvasir.toml", true, "serve", kSpecs, kAll, {}).error().code == Code::kNotFound);
  CHECK(read_config_file("/", true, "serve", kSpecs, kAll, {}).error().code == Code::kIo);
}
