#include "tests/support/data.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace kvasir::test {
namespace fs = std::filesystem;
namespace {

std::atomic<unsigned> g_skips{0};

constexpr const char* kDefaultModelFile = "SmolLM2-135M-Instruct.Q4_1.gguf";

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

fs::path data_dir() {
  if (auto dir = environment("KVASIR_DATA_DIR"); !dir.empty()) return dir;
  if (auto dir = environment("XDG_DATA_HOME"); !dir.empty()) return fs::path(dir) / "kvasir";
  return fs::path(environment("HOME")) / ".local/share/kvasir";
}

}  // namespace

std::optional<fs::path> shared_data(std::string_view relative) {
  fs::path root = environment("KVASIR_SHARED_DATA");
  if (root.empty()) root = fs::path(KVASIR_SOURCE_DIR) / "../shared/data";
  const fs::path path = root / relative;
  std::error_code ec;
  if (!fs::exists(path, ec)) return std::nullopt;
  return path;
}

fs::path fixture(std::string_view relative) {
  return fs::path(KVASIR_SOURCE_DIR) / "tests/data" / relative;
}

std::optional<fs::path> default_model() {
  fs::path path = environment("KVASIR_TEST_MODEL");
  if (path.empty()) path = data_dir() / "models" / kDefaultModelFile;
  std::error_code ec;
  if (!fs::exists(path, ec)) return std::nullopt;
  return path;
}

void report_skip(std::string_view what) {
  g_skips.fetch_add(1);
  std::printf("\nSKIP %.*s\n", static_cast<int>(what.size()), what.data());
  std::fflush(stdout);
}

unsigned skips_reported() {
  return g_skips.load();
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace kvasir::test
