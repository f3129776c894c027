// What a backend made of backends promises beside models that work: the bits of the whole, pages as one, errors of any place.
#include <catch2/catch.hpp>

#include <cstring>
#include <numeric>

#include "backends/registry.h"
#include "backends/split/split_backend.h"
#include "tests/kernels/kernel_lab.h"
#include "tests/model/runner.h"
#include "tests/support/data.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

constexpr uint32_t kLayers = 5, kHeads = 2, kDim = 32, kRows = 70;

/// Forwards all but what a test changes; its stream fails at the n-th finish.
class Fragile final : public Backend {
 public:
  explicit Fragile(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}
  const BackendInfo& info() const noexcept override { return inner_->info(); }
  std::optional<uint64_t> free_memory_bytes() override { return 1000; }
  Result<std::unique_ptr<Weight>> upload(const HostTensor& tensor, WeightUse use) override { return inner_->upload(tensor, use); }
  Result<std::unique_ptr<KvPool>> create_kv_pool(const KvPoolSpec& spec) override {
    if (pool_fails) return Failure{Code::kTooLarge, "planned: no room"};
    return inner_->create_kv_pool(spec);
  }
  Result<std::unique_ptr<Stream>> open_stream(const StreamLimits& limits) override {
    if (stream_fails) return Failure{Code::kBackend, "planned: lost"};
    return inner_->open_stream(limits);
  }
  bool pool_fails = false, stream_fails = false;

 private:
  std::unique_ptr<Backend> inner_;
};

std::unique_ptr<Backend> split_of(std::vector<std::unique_ptr<Backend>> places, std::vector<uint32_t> layers, uint32_t ends) {
  auto made = make_split_backend(std::move(places), {.place_of_layer = std::move(layers), .embedding = ends, .head = ends, .reason = "for tests"},
                                 [] { return uint64_t{4000}; });
  REQUIRE(made);
  return *std::move(made);
}

std::unique_ptr<Backend> cpu() {
  auto made = BackendRegistry::create().open("cpu", {.threads = 1});
  REQUIRE(made);
  return *std::move(made);
}

std::vector<std::unique_ptr<Backend>> two_cpus() {
  std::vector<std::unique_ptr<Backend>> places;
  places.push_back(cpu());
  places.push_back(cpu());
  return places;
}

KvPoolSpec pool_spec(KvType type = KvType::kF16) {
  KvPoolSpec spec{.type = type, .layers = {}, .group_pages = {8}, .state_floats = {}, .state_slots = 0};
  for (uint32_t i = 0; i < kLayers; ++i) spec.layers.push_back({.group = 0, .n_kv_heads = kHeads, .k_dim = kDim, .v_dim = kDim, .layer = i});
  return spec;
}

/// A little chain of attention layers that adds to the residual; `weights` per layer.
struct Chain {
  std::unique_ptr<Backend> backend;
  std::vector<std::vector<float>> values;
  std::vector<std::unique_ptr<Weight>> weights;
  std::unique_ptr<KvPool> pool;
  std::unique_ptr<Stream> stream;

  struct Floats final : ByteSource {
    std::span<const float> from;
    Result<void> read(uint64_t offset, std::span<std::byte> into) const override {
      std::memcpy(into.data(), reinterpret_cast<const std::byte*>(from.data()) + offset, into.size());
      return {};
    }
  };

  explicit Chain(std::unique_ptr<Backend> made) : backend(std::move(made)) {
    for (uint32_t i = 0; i < kLayers; ++i) {
      Noise noise(100 + i);
      values.emplace_back(kHeads * kDim * kHeads * kDim);
      for (float& v : values.back()) v = 0.1F * noise.normal();
      Floats source;
      source.from = values.back();
      auto uploaded = backend->upload({.name = "w", .type = TensorType::kF32, .rows = kHeads * kDim, .cols = kHeads * kDim, .source = &source,
                                       .part = {ModelPart::Kind::kLayer, i}}, WeightUse::kMatrix);
      REQUIRE(uploaded);
      weights.push_back(*std::move(uploaded));
    }
    pool = *backend->create_kv_pool(pool_spec());
    stream = *backend->open_stream({});
  }

  Result<std::vector<float>> run(const StepLayout& layout, uint32_t first = 0) {
    std::vector<float> in(size_t{layout.rows} * kHeads * kDim), out(in.size());
    for (uint32_t row = 0; row < layout.rows; ++row) {
      Noise noise(5000 + first + row);
      for (uint32_t c = 0; c < kHeads * kDim; ++c) in[row * kHeads * kDim + c] = noise.normal();
    }
    stream->begin(layout, pool.get());
    Mat x = stream->alloc(layout.rows, kHeads * kDim);
    stream->upload(x, in);
    for (uint32_t i = 0; i < kLayers; ++i) {
      stream->enter({ModelPart::Kind::kLayer, i}, std::span(&x, 1));
      const Mat k = stream->alloc(layout.rows, kHeads * kDim), y = stream->alloc(layout.rows, kHeads * kDim);
      const LinearSpec part{.y = k, .weight = weights[i].get()};
      stream->linear(std::span(&part, 1), x);
      stream->store_kv(i, k, k);
      stream->attention(y, x, {.kv_layer = i, .n_heads = kHeads, .scale = 0.2F});
      stream->add(x, y, 0.5F);
    }
    stream->enter({ModelPart::Kind::kHead}, std::span(&x, 1));
    stream->download(out, x);
    KVASIR_TRY(stream->finish());
    return out;
  }
};

}  // namespace

TEST_CASE("two places of one backend give the bits of the whole model, masses and moved pages included", "[split]") {
  Chain whole(cpu()), turns(split_of(two_cpus(), {0, 1, 0, 1, 1}, 0)), front(split_of(two_cpus(), {0, 0, 1, 1, 1}, 1));
  const auto masses_of = [](Chain& chain, std::vector<float>& out) {
    AttentionMass mass{.first_row = 0, .n_rows = 2, .slots = 64, .layers = std::vector<std::vector<float>>(kLayers, std::vector<float>(kHeads * 64))};
    const auto pages = layout_of({kRows}, {0}).sequences[0].pages[0];
    CHECK(chain.run(layout_of({kRows}, {0})));
    std::vector<uint32_t> rows(kPageTokens);
    std::iota(rows.begin(), rows.end(), 3U);
    const PageId to[] = {7};
    for (uint32_t layer = 0; layer < kLayers; ++layer) REQUIRE(chain.pool->gather({.kv_layer = layer, .from = pages, .rows = rows, .to = to, .turns = {}}));
    REQUIRE(chain.pool->copy_page(0, 7, 6));
    std::vector<std::byte> page(chain.pool->page_bytes(0));
    REQUIRE(chain.pool->export_page(0, 6, page));
    REQUIRE(chain.pool->import_page(0, 5, page));
    StepLayout next = layout_of({2}, {62});
    next.sequences[0].pages[0] = {5};
    next.masses = {&mass};
    const auto y = chain.run(next, 200);
    REQUIRE(y);
    for (const auto& layer : mass.layers) out.insert(out.end(), layer.begin(), layer.end());
    return *y;
  };
  std::vector<float> want_mass, turn_mass, front_mass;
  const auto want = masses_of(whole, want_mass);
  CHECK(masses_of(turns, turn_mass) == want);
  CHECK(masses_of(front, front_mass) == want);
  CHECK(std::accumulate(want_mass.begin(), want_mass.end(), 0.0) == Approx(2 * kHeads * kLayers));
  CHECK(turn_mass == want_mass);
  CHECK(front_mass == want_mass);
  CHECK(turns.pool->page_bytes(0) == whole.pool->page_bytes(0));
  CHECK(turns.pool->bytes() == whole.pool->bytes());
  CHECK(turns.pool->abilities().aged_per_page == whole.pool->abilities().aged_per_page);
}

TEST_CASE("a trained model says the same in two places", "[split]") {
  const auto path = KVASIR_NEEDS(shared_data("stories260K/stories260K-f32.gguf"));
  auto backend = split_of(two_cpus(), {0, 0, 1, 0, 1}, 1);
  auto whole = cpu();
  std::vector<std::vector<float>> logits;
  for (Backend* one : {whole.get(), backend.get()}) {
    auto model = Model::load(path.string(), *one, {});
    REQUIRE(model);
    const auto spec = (*model)->kv_spec(KvType::kF16, 4, 1, 64);
    auto pool = one->create_kv_pool(spec);
    auto stream = one->open_stream({});
    REQUIRE((pool && stream));
    logits.emplace_back((*model)->description().vocab_size);
    const std::vector<TokenId> tokens = {1, 403, 407, 261, 378};
    const uint32_t wanted[] = {4};
    REQUIRE((*model)->forward(**stream, **pool, layout_of({5}, {0}), tokens, wanted, logits.back()));
  }
  CHECK(logits[0] == logits[1]);
}

TEST_CASE("a split backend says which layers are where", "[split]") {
  auto places = two_cpus();
  places.push_back(make_reference_backend({}));
  const auto backend = split_of(std::move(places), {0, 0, 2, 1, 2}, 1);
  const BackendInfo& info = backend->info();
  CHECK_THAT(info.name, Catch::StartsWith("cpu-") && Catch::EndsWith("+reference"));
  CHECK_THAT(info.isa_or_device, Catch::Contains("(layers 0-1) + ") && Catch::Contains("(layer 3) + ") && Catch::EndsWith("(layers 2, 4)"));
  CHECK(info.reason == "for tests");
  const auto other = split_of(two_cpus(), {0, 1, 1, 1, 1}, 1);
  CHECK(other->info().isa_or_device != backend->info().isa_or_device);  // pages of one are nothing to the other
}

TEST_CASE("free memory is that of the place which runs out first", "[split]") {
  std::vector<std::unique_ptr<Backend>> places;
  places.push_back(std::make_unique<Fragile>(cpu()));
  places.push_back(cpu());
  // Two of five layers have 1000 bytes, three have the host's 4000.
  CHECK(split_of(std::move(places), {0, 0, 1, 1, 1}, 1)->free_memory_bytes() == 2500);
  CHECK(split_of(two_cpus(), {0, 0, 1, 1, 1}, 1)->free_memory_bytes() == 4000);
}

TEST_CASE("an error of any place is the step's, the pool's or the stream's, and the next step works", "[split]") {
  for (const uint32_t bad : {0U, 1U}) {
    auto places = two_cpus();
    auto fragile = std::make_unique<Fragile>(std::move(places[bad]));
    Fragile* handle = fragile.get();
    places[bad] = std::move(fragile);
    Chain chain(split_of(std::move(places), {0, 1, 0, 1, 1}, 0));
    StepLayout broken = layout_of({kRows}, {0});
    broken.sequences[0].pages[0][1] = 1000;
    const auto failed = chain.run(broken);
    REQUIRE_FALSE(failed);
    CHECK(failed.error().code == Code::kInternal);
    CHECK(chain.run(layout_of({kRows}, {0})));
    handle->pool_fails = true;
    const auto pool = chain.backend->create_kv_pool(pool_spec());
    REQUIRE_FALSE(pool);
    CHECK(pool.error().code == Code::kTooLarge);
    handle->stream_fails = true;
    const auto stream = chain.backend->open_stream({});
    REQUIRE_FALSE(stream);
    CHECK(stream.error().code == Code::kBackend);
  }
}

TEST_CASE("a layer that reads a cache of another place is an error with the reason", "[split]") {
  Chain chain(split_of(two_cpus(), {0, 0, 1, 1, 1}, 1));
  const StepLayout layout = layout_of({1}, {0});
  chain.stream->begin(layout, chain.pool.get());
  Mat x = chain.stream->alloc(1, kHeads * kDim);
  chain.stream->upload(x, std::vector<float>(kHeads * kDim, 1.0F));
  chain.stream->enter({ModelPart::Kind::kLayer, 0}, std::span(&x, 1));
  chain.stream->attention(x, x, {.kv_layer = 3, .n_heads = kHeads, .scale = 1.0F});
  const auto done = chain.stream->finish();
  REQUIRE_FALSE(done);
  CHECK(done.error().code == Code::kUnsupported);
}

TEST_CASE("a placement that names no place is refused", "[split]") {
  CHECK_FALSE(make_split_backend(two_cpus(), {.place_of_layer = {0, 2}, .reason = ""}, [] { return uint64_t{0}; }));
  CHECK_FALSE(make_split_backend(two_cpus(), {.place_of_layer = {0, 1}, .head = 2, .reason = ""}, [] { return uint64_t{0}; }));
}
