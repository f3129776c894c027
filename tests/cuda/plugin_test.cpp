// Finding and refusing plugins, each with a reason that a person can act on.
#include <catch2/catch.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "backends/plugin_loader.h"
#include "backends/registry.h"

using namespace kvasir;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path;
  Folder() {
    char name[] = "/tmp/kvasir-plugin-XXXXXX";
    path = mkdtemp(name);
  }
  ~Folder() {
    std::error_code ec;
    fs::remove_all(path, ec);
  }
};

std::string refusal(const std::string& file, const fs::path& folder) {
  const auto plugin = load_plugin(file, {folder});
  REQUIRE_FALSE(plugin);
  CHECK(plugin.error().code == Code::kUnavailable);
  return plugin.error().message;
}

}  // namespace

TEST_CASE("a plugin that is not there, no library, no plugin, or of another build is refused with the reason", "[cuda][plugin]") {
  const Folder folder;
  CHECK_THAT(refusal("libnone.so", folder.path), Catch::Contains("not installed") && Catch::Contains(folder.path.string()));
  std::ofstream(folder.path / "libtext.so") << "no library\n";
  CHECK_THAT(refusal("libtext.so", folder.path), Catch::Contains("cannot be loaded"));
  CHECK_THAT(refusal(fs::path(KVASIR_PLAIN_LIBRARY).filename(), fs::path(KVASIR_PLAIN_LIBRARY).parent_path()), Catch::Contains("no plugin of Kvasir"));
  CHECK_THAT(refusal(fs::path(KVASIR_STRANGE_PLUGIN).filename(), fs::path(KVASIR_STRANGE_PLUGIN).parent_path()), Catch::Contains("another version"));
}

TEST_CASE("the registry reports the plugin's own reason and opens nothing else instead", "[cuda][plugin]") {
  const auto registry = BackendRegistry::create();
  const auto& probes = registry.probes();
  const auto cuda = std::find_if(probes.begin(), probes.end(), [](const Probe& p) { return p.name == "cuda"; });
  REQUIRE(cuda != probes.end());
  INFO(cuda->reason);
  CHECK_FALSE(cuda->reason.empty());
  if (cuda->usable) return;  // a machine with a GPU: kvasir-gpu-check looks at the rest
  const auto opened = registry.open("cuda", {});
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Code::kUnavailable);
  CHECK_THAT(opened.error().message, Catch::Contains(cuda->reason));
}
