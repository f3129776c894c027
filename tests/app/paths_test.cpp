#include "mcp/app/paths.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "mcp/app/model_choice.h"

using namespace kvasir;
using namespace kvasir::app;
namespace fs = std::filesystem;

namespace {

/// A variable that gets its old value back.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    value == nullptr ? unsetenv(name) : setenv(name, value, 1);
  }
  ~Variable() { old_.empty() ? unsetenv(name_) : setenv(name_, old_.c_str(), 1); }

 private:
  const char* name_;
  std::string old_;
};

struct ModelsFolder {
  ModelsFolder() : path(fs::temp_directory_path() / ("kvasir-models-" + std::to_string(getpid()))) {
    fs::create_directories(path);
  }
  ~ModelsFolder() { fs::remove_all(path); }
  void add(const std::string& name) const { std::ofstream(path / name) << "x"; }
  fs::path path;
};

}  // namespace

TEST_CASE("folders follow the option, then XDG, then the home folder, and are absolute") {
  const Variable home("HOME", "/home/someone");
  const Variable cache("XDG_CACHE_HOME", nullptr);
  {
    const Variable xdg("XDG_DATA_HOME", nullptr);
    CHECK(resolve_paths("")->data_dir == "/home/someone/.local/share/kvasir");
    CHECK(resolve_paths("")->models_dir == "/home/someone/.local/share/kvasir/models");
    CHECK(resolve_paths("~/data/")->data_dir == "/home/someone/data");
    CHECK(resolve_paths("/srv//k/../kvasir/")->data_dir == "/srv/kvasir");
    CHECK(resolve_paths("here")->data_dir == (fs::current_path() / "here").string());
  }
  const Variable xdg("XDG_DATA_HOME", "/xdg");
  CHECK(resolve_paths("")->data_dir == "/xdg/kvasir");
  const Variable relative("XDG_DATA_HOME", "not/absolute");
  CHECK(resolve_paths("")->data_dir == "/home/someone/.local/share/kvasir");
}

TEST_CASE("a model is found by path, by name with and without its ending, and by default") {
  const ModelsFolder folder;
  folder.add("tiny.gguf");
  CHECK(*resolve_model("tiny", folder.path.string()) == (folder.path / "tiny.gguf").string());
  CHECK(*resolve_model("tiny.gguf", folder.path.string()) == (folder.path / "tiny.gguf").string());
  CHECK(*resolve_model((folder.path / "tiny.gguf").string(), "/nowhere") == (folder.path / "tiny.gguf").string());
  const auto none = resolve_model("", folder.path.string());
  REQUIRE_FALSE(none);
  CHECK(none.error().code == Code::kUnavailable);
  CHECK(none.error().message.find("./x run") != std::string::npos);
  folder.add(kDefaultModelFile);
  CHECK(*resolve_model("", folder.path.string()) == (folder.path / kDefaultModelFile).string());
}

TEST_CASE("a model that is not there is refused with what is, and never looked for outside the folder") {
  const ModelsFolder folder;
  folder.add("tiny.gguf");
  const auto near = resolve_model("tine", folder.path.string());
  REQUIRE_FALSE(near);
  CHECK(near.error().message.find("tiny.gguf") != std::string::npos);
  CHECK_FALSE(resolve_model("../" + folder.path.filename().string() + "/tiny", folder.path.string()));
  CHECK_FALSE(resolve_model(std::string("tiny\0.gguf", 10), folder.path.string()));
  CHECK(list_models(folder.path.string()) == std::vector<std::string>{"tiny.gguf"});
  CHECK(list_models("/nowhere").empty());
  for (const char* part : {"big-00001-of-00002.gguf", "big-00002-of-00002.gguf"}) folder.add(part);
  CHECK(list_models(folder.path.string()) == std::vector<std::string>{"big-00001-of-00002.gguf", "tiny.gguf"});
}

TEST_CASE("private folders are made with their parents and are private") {
  const ModelsFolder folder;
  const fs::path deep = folder.path / "a" / "b";
  REQUIRE(make_private_dir(deep.string()));
  REQUIRE(make_private_dir(deep.string()));
  CHECK((fs::status(deep).permissions() & fs::perms::others_all) == fs::perms::none);
  folder.add("file");
  CHECK_FALSE(make_private_dir((folder.path / "file" / "c").string()));
}
