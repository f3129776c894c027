// What the loader asks of a backend that keeps weights: when, by which name, and what it does without.
#include <catch2/catch.hpp>

#include <chrono>
#include <filesystem>

#include "backends/registry.h"
#include "backends/weight_cache.h"
#include "core/model/model.h"
#include "tests/model/temporary_folder.h"
#include "tests/support/data.h"

using namespace kvasir;
using namespace kvasir::test;
namespace fs = std::filesystem;

namespace {

/// The reference backend, which says that it keeps weights and remembers what it was told.
class Keeper final : public Backend, public WeightCache {
 public:
  const BackendInfo& info() const noexcept override { return real_->info(); }
  Result<std::unique_ptr<Weight>> upload(const HostTensor& tensor, WeightUse use) override { return real_->upload(tensor, use); }
  Result<std::unique_ptr<KvPool>> create_kv_pool(const KvPoolSpec& spec) override { return real_->create_kv_pool(spec); }
  Result<std::unique_ptr<Stream>> open_stream(const StreamLimits& limits) override { return real_->open_stream(limits); }
  void keep_weights_in(const std::string&) override {}
  std::optional<std::string> begin_weights(const std::string& identity) override {
    identities.push_back(identity);
    return note;
  }
  void finish_weights(const std::string& told) override { notes.push_back(told); }

  std::optional<std::string> note;
  std::vector<std::string> identities, notes;

 private:
  std::unique_ptr<Backend> real_ = make_reference_backend({});
};

std::string fingerprint_of(const fs::path& path, Backend& backend, const ModelOptions& options = {}) {
  auto model = Model::load(path.string(), backend, [](double) { return true; }, options);
  REQUIRE(model);
  return (*model)->description().fingerprint;
}

}  // namespace

TEST_CASE("a kept fingerprint is believed, a fresh one is handed over to be kept", "[model]") {
  const auto path = KVASIR_NEEDS(shared_data("tiny-models/llama/model-bf16.gguf"));
  Keeper keeper;
  const auto plain = make_reference_backend({});
  const std::string fresh = fingerprint_of(path, keeper);
  CHECK(fresh == fingerprint_of(path, *plain));
  CHECK(keeper.notes == std::vector{fresh});
  keeper.note = "kept";
  CHECK(fingerprint_of(path, keeper) == "kept");
}

TEST_CASE("weights are kept by the name of this very file and of what the load makes of it", "[model]") {
  const auto path = KVASIR_NEEDS(shared_data("tiny-models/llama/model-bf16.gguf"));
  const TemporaryFolder folder;
  const fs::path copy = folder.path() / "model.gguf";
  fs::copy_file(path, copy);
  fs::permissions(copy, fs::perms::owner_read | fs::perms::owner_write);
  Keeper keeper;
  fingerprint_of(path, keeper);
  fingerprint_of(path, keeper);
  fingerprint_of(copy, keeper);
  fingerprint_of(path, keeper, {.quantize = QuantizeOnLoad::kQ8_0});
  fs::last_write_time(copy, fs::last_write_time(copy) - std::chrono::seconds(5));
  fingerprint_of(copy, keeper);
  const auto& seen = keeper.identities;
  REQUIRE(seen.size() == 5);
  CHECK(seen[0] == seen[1]);
  CHECK(seen[2] != seen[0]);
  CHECK(seen[3] != seen[0]);
  CHECK(seen[4] != seen[2]);
}
