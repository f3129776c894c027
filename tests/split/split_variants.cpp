// Lets the tests of models (tests/model) run with every second layer in another place, so that rows cross a border at each.
#include <stdexcept>

#include "backends/registry.h"
#include "backends/split/split_backend.h"
#include "tests/model/runner.h"

namespace kvasir::test {
namespace {

std::unique_ptr<Backend> open_one(const char* name, const BackendOptions& options) {
  auto backend = BackendRegistry::create().open(name, options);
  if (!backend) throw std::runtime_error(backend.error().message);
  return *std::move(backend);
}

}  // namespace

std::vector<std::string> usable_cpu_backends() { return {"reference and cpu by turns", "first layer apart"}; }

std::unique_ptr<Backend> open_backend(const std::string& name, const BackendOptions& options) {
  if (name == "reference") return open_one("reference", options);
  std::vector<std::unique_ptr<Backend>> places;
  places.push_back(open_one("reference", options));
  places.push_back(open_one("cpu", options));
  SplitPlacement placement{.place_of_layer = std::vector<uint32_t>(64, 1), .embedding = 1, .head = 1, .reason = "for tests"};
  for (size_t i = 0; i < placement.place_of_layer.size(); ++i) {
    if (name == "first layer apart" ? i == 0 : i % 2 == 0) placement.place_of_layer[i] = 0;
  }
  auto split = make_split_backend(std::move(places), std::move(placement), [] { return uint64_t{1} << 30; });
  if (!split) throw std::runtime_error(split.error().message);
  return *std::move(split);
}

}  // namespace kvasir::test
