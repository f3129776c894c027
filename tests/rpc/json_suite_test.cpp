// JSONTestSuite: every y_ file is accepted and every n_ file refused; i_ files may go either way but not crash. The
// accepted ones mean what nlohmann's own parser says they mean.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>

#include "rpc/parse.h"
#include "tests/support/data.h"

using namespace kvasir;
namespace fs = std::filesystem;

namespace {

struct Unpacked {
  Unpacked() {
    std::string name = (fs::temp_directory_path() / "kvasir-json-suite-XXXXXX").string();
    if (mkdtemp(name.data()) != nullptr) path = name;
  }
  ~Unpacked() {
    std::error_code ec;
    fs::remove_all(path, ec);
  }
  fs::path path;
};

}  // namespace

TEST_CASE("json suite: y_ files are accepted, n_ files refused") {
  const auto archive = KVASIR_NEEDS(test::shared_data("json-suites.tar.xz"));
  const Unpacked folder;
  const std::string command = "tar -xJf '" + archive.string() + "' -C '" + folder.path.string() + "' 2>/dev/null";
  if (std::system(command.c_str()) != 0) return test::report_skip("tar with xz");
  int yes = 0, no = 0, either = 0;
  const rpc::Limits limits;
  for (const auto& entry : fs::directory_iterator(folder.path / "json/JSONTestSuite/test_parsing")) {
    const std::string name = entry.path().filename().string();
    const std::string text = test::read_file(entry.path());
    INFO(name);
    const auto parsed = rpc::parse_json(text, limits, /*allow_duplicate_keys=*/true);
    if (name[0] == 'y') {
      ++yes;
      REQUIRE(parsed);
      CHECK(nlohmann::json::parse(rpc::dump(*parsed)) == nlohmann::json::parse(text));
    } else if (name[0] == 'n') {
      ++no;
      CHECK_FALSE(parsed);
    } else {
      ++either;
      if (parsed) CHECK(nlohmann::json::accept(text));
    }
  }
  CHECK(yes == 95);
  CHECK(no == 188);
  CHECK(either == 35);
}
