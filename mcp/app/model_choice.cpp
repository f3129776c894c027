#include "mcp/app/model_choice.h"

#include <algorithm>
#include <filesystem>

#include "core/model/gguf_file.h"
#include "mcp/app/command_line.h"

namespace kvasir::app {
namespace fs = std::filesystem;
namespace {

bool is_there(const fs::path& path) {
  std::error_code ec;
  return fs::exists(path, ec);
}

bool looks_like_model(const fs::directory_entry& entry) {
  const std::string name = entry.path().filename().string();
  if (name.starts_with('.')) return false;
  std::error_code ec;
  if (entry.is_directory(ec)) return is_there(entry.path() / "config.json") || gguf_in_folder(entry.path().string());
  if (entry.path().extension() != ".gguf") return false;
  const auto part = parse_gguf_part_name(name);
  return !part || part->number <= 1;  // the first part stands for all
}

std::string absolute_text(const fs::path& path) {
  std::error_code ec;
  const fs::path full = fs::absolute(path, ec);
  return (ec ? path : full.lexically_normal()).string();
}

}  // namespace

std::vector<std::string> list_models(const std::string& models_dir) {
  std::vector<std::string> names;
  std::error_code ec;
  for (fs::directory_iterator it(models_dir, ec), end; !ec && it != end; it.increment(ec)) {
    if (looks_like_model(*it)) names.push_back(it->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::string> resolve_model(const std::string& name, const std::string& models_dir) {
  if (name.empty()) {
    const fs::path path = fs::path(models_dir) / kDefaultModelFile;
    if (is_there(path)) return absolute_text(path);
    return Failure{Code::kUnavailable,
                   "no model was named and the default one is not in " + models_dir +
                       ": type ./x run in the source folder once (it fetches it), or give --model FILE.gguf"};
  }
  if (name.find('\0') != std::string::npos)
    return Failure{Code::kInvalidArgument, "a model's name cannot hold a zero byte"};
  if (is_there(name)) return absolute_text(name);
  if (name.find('/') == std::string::npos) {
    for (const char* ending : {"", ".gguf"}) {
      const fs::path path = fs::path(models_dir) / (name + ending);
      if (is_there(path)) return absolute_text(path);
    }
  }
  const auto known = list_models(models_dir);
  std::string message = "there is no model '" + name + "', neither as a path nor in " + models_dir;
  if (const std::string near = nearest(name, known); !near.empty()) {
    message += "; did you mean '" + near + "'?";
  } else {
    message += known.empty() ? " (which is empty)" : ", which has:";
    for (size_t i = 0; i < std::min<size_t>(known.size(), 8); ++i) message += (i == 0 ? " " : ", ") + known[i];
  }
  return Failure{Code::kUnavailable, std::move(message)};
}

}  // namespace kvasir::app
