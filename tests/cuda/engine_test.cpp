// Whole engines with a small trained model on the emulated GPU: sessions whose pages move between devices and disk,
// compressed contexts, and models that are divided between GPUs and the CPU because memory is short or because it was asked.
#include <catch2/catch.hpp>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/emulation/emulated_device.h"
#include "core/engine/placement.h"
#include "tests/scheduler/engine_harness.h"
#include "tests/scheduler/map_blocks.h"
#include "tests/support/data.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

constexpr uint64_t kHeadroom = uint64_t{32} << 20;

struct Machine {
  uint32_t gpus = 1;
  const cuda::emulation::EmulatedDevice** opened = nullptr;  ///< told the device that was opened last
  uint64_t gpu_bytes = uint64_t{512} << 20;  ///< each, beside the headroom
};

/// The real world, but "cuda" (and what "auto" takes) is emulated.
class EmulatedEnvironment final : public EngineEnvironment {
 public:
  EmulatedEnvironment(const Machine& machine, std::shared_ptr<KvBlockStore> blocks)
      : machine_(machine), real_(make_system_environment(BackendRegistry::create(), std::move(blocks))) {}
  std::vector<Probe> probes() const override { return real_->probes(); }
  Result<Probe> select_backend(std::string_view name) const override {
    if (name == "auto" || name == "cuda") return Probe{"cuda", true, 1000, "emulated", machine_.gpus};
    return real_->select_backend(name);
  }
  Result<std::unique_ptr<Backend>> open_backend(std::string_view name, const BackendOptions& options) const override {
    if (name != "auto" && name != "cuda") return real_->open_backend(name, options);
    cuda::CudaOptions settings;
    settings.stream = {.activations = options.activations, .arena_bytes = 4096, .mirror_bytes = 1024};
    settings.slab_bytes = 0;
    settings.headroom_bytes = kHeadroom;
    auto device = std::make_unique<cuda::emulation::EmulatedDevice>(cuda::emulation::EmulatedOptions{.memory_bytes = kHeadroom + machine_.gpu_bytes});
    if (machine_.opened != nullptr) *machine_.opened = device.get();
    return std::unique_ptr<Backend>(std::make_unique<cuda::CudaBackend>(std::move(device), settings, BackendInfo{"cuda", "emulated GPU", "for tests", 1, cuda::kCudaNumerics}));
  }
  Result<ModelDescription> describe(const std::string& path, const ModelOptions& options) const override { return real_->describe(path, options); }
  Result<ModelText> load_text(const std::string& path) const override { return real_->load_text(path); }
  Result<std::unique_ptr<Model>> load(const std::string& path, const ModelOptions& options, Backend& backend, const LoadProgress& progress) const override {
    return real_->load(path, options, backend, progress);
  }
  KvBlockStore* kv_blocks() const override { return real_->kv_blocks(); }
  uint64_t available_memory_bytes() const override { return uint64_t{1} << 30; }

 private:
  Machine machine_;
  std::unique_ptr<EngineEnvironment> real_;
};

struct Lab {
  std::string model;
  Machine machine = {};
  std::shared_ptr<MapBlocks> blocks = std::make_shared<MapBlocks>();

  /// Exact numbers, so that every device chooses the same tokens.
  EngineKey key(const std::string& backend, std::optional<uint32_t> gpu_layers = {}) const {
    return {.model = model, .threads = 1, .backend = backend, .kv_type = KvType::kF32, .activations = Activations::kF32, .gpu_layers = gpu_layers};
  }
  std::unique_ptr<EngineHarness> start(const EngineKey& key) const {
    auto harness = std::make_unique<EngineHarness>(make_engine_pool(std::make_unique<EmulatedEnvironment>(machine, blocks), {.max_sequences = 2, .max_step_rows = 64}));
    harness->key = key;
    return harness;
  }
  std::unique_ptr<EngineHarness> start(const std::string& backend, std::optional<uint32_t> gpu_layers = {}) const { return start(key(backend, gpu_layers)); }
};

Generate turn(const std::string& text, uint32_t tokens) {
  Generate out = generate(text, tokens);
  out.cache_owner = "s_1";
  out.cache_salt = "alice";
  return out;
}

const std::string kStory =
    "Once upon a time there was a little girl named Lily. She loved to play outside in the park with her red ball. One day she saw a big dog. "
    "The dog was very happy and wanted to play too. Lily said hello to the dog";

std::vector<TokenId> tokens_of(EngineHarness& engine, uint32_t count = 5) { return engine.ask<GenerateResult>(generate("Once upon a time", count)).tokens; }

}  // namespace

TEST_CASE("a session's pages come back on the GPU, and are computed again on another device", "[cuda][engine]") {
  const auto path = KVASIR_NEEDS(shared_data("stories260K/stories260K-f32.gguf"));
  const Lab lab{path.string()};
  const auto first = lab.start("cuda")->ask<GenerateResult>(turn(kStory, 8));
  REQUIRE(first.usage.prompt_tokens > 64);
  CHECK(first.loaded_tokens == 0);
  const auto again = lab.start("cuda")->ask<GenerateResult>(turn(kStory, 8));
  CHECK(again.tokens == first.tokens);
  CHECK(again.loaded_tokens >= 64);
  CHECK(again.usage.cached_tokens == again.loaded_tokens);
  const auto cpu = lab.start("cpu")->ask<GenerateResult>(turn(kStory, 8));
  CHECK(cpu.tokens == first.tokens);
  CHECK(cpu.loaded_tokens == 0);  // other numerics: none of these pages is taken, and the usage says so
  CHECK(cpu.usage.cached_tokens == 0);
  const auto cpu_again = lab.start("cpu")->ask<GenerateResult>(turn(kStory, 8));
  CHECK(cpu_again.loaded_tokens >= 64);
  const auto back = lab.start("cuda")->ask<GenerateResult>(turn(kStory, 8));
  CHECK(back.tokens == first.tokens);
  CHECK(back.loaded_tokens == again.loaded_tokens);
  const auto divided = lab.start("cuda", 2)->ask<GenerateResult>(turn(kStory, 8));
  CHECK(divided.tokens == first.tokens);
  CHECK(divided.loaded_tokens == 0);
  CHECK(lab.start("cuda", 2)->ask<GenerateResult>(turn(kStory, 8)).loaded_tokens == again.loaded_tokens);
}

TEST_CASE("contexts are compressed on the GPU: by attention, aged, whole and divided", "[cuda][engine]") {
  const auto path = KVASIR_NEEDS(shared_data("stories260K/stories260K-f32.gguf"));
  const Lab lab{path.string()};
  for (const bool aged : {false, true}) {
    for (const std::optional<uint32_t> layers : {std::optional<uint32_t>(), std::optional(3U)}) {
      std::vector<TokenId> tokens[2];
      for (const bool gpu : {true, false}) {
        if (layers && (aged || !gpu)) continue;
        const auto engine = lab.start(gpu ? "cuda" : "cpu", layers);
        CompressContext command;
        command.prompt.kind = Prompt::Kind::kTokens;
        command.prompt.in_session = true;
        for (TokenId i = 0; i < 140; ++i) command.prompt.history_tokens.push_back(260 + i * 7 % 230);
        command.choice = aged ? RowChoice{.rule = KeepRule::kAll, .source_tokens = 128, .kept_tokens = 128}
                              : RowChoice{.rule = KeepRule::kAttention, .source_tokens = 128, .kept_tokens = 64, .pinned = 4};
        command.aged = aged;
        command.cache_salt = "alice";
        const auto made = engine->ask<CompressResult>(command);
        CAPTURE(aged, gpu, layers.has_value());
        CHECK(made.kept.size() == (aged ? 128 : 64));
        Generate on = generate("", 4);
        on.prompt.kind = Prompt::Kind::kTokens;
        on.prompt.in_session = true;
        on.prompt.history_stages = {{command.prompt.history_tokens, made.edit}};
        on.prompt.history_tokens = made.kept;
        on.prompt.history_tokens.insert(on.prompt.history_tokens.end(), command.prompt.history_tokens.begin() + made.edit.source_tokens, command.prompt.history_tokens.end());
        on.cache_salt = "alice";
        tokens[gpu ? 1 : 0] = engine->ask<GenerateResult>(on).tokens;
      }
      if (!layers) CHECK(tokens[0] == tokens[1]);
    }
  }
}

TEST_CASE("tokens sampled from the candidates of the GPU are those that the CPU samples", "[cuda][engine][sampling]") {
  const auto path = KVASIR_NEEDS(shared_data("stories260K/stories260K-f32.gguf"));
  const cuda::emulation::EmulatedDevice* device = nullptr;
  const Lab lab{path.string(), {.opened = &device}};
  const auto gpu = lab.start("cuda"), cpu = lab.start("cpu");
  constexpr uint32_t kTokens = 6, kRowOfLogits = 512 * 4;
  for (uint64_t seed = 0; seed < 3; ++seed) {
    Generate command = generate("Once upon a time", kTokens);
    command.sampling = {.temperature = 0.9F, .top_p = 0.9F, .min_p = seed % 2 == 0 ? 0.0F : 0.05F, .repeat_penalty = 1.0F, .frequency_penalty = 0.0F,
                        .presence_penalty = 0.0F, .top_k = seed == 2 ? 128U : 40U, .seed = seed, .logit_bias = {}};
    const auto want = cpu->ask<GenerateResult>(command).tokens;
    if (seed == 0) gpu->ask<Ready>(Preload{});
    const uint64_t before = device->bytes_out();
    CHECK(gpu->ask<GenerateResult>(command).tokens == want);
    const uint64_t short_way = device->bytes_out() - before;
    CHECK(short_way < kTokens * kRowOfLogits);
    if (seed > 0) continue;
    command.want_logprobs = true;  // all logits are needed: the long way gives the same
    CHECK(gpu->ask<GenerateResult>(command).tokens == want);
    CHECK(device->bytes_out() - before - short_way >= kTokens * kRowOfLogits);
  }
}

TEST_CASE("a GPU that is too small takes the layers that fit, says so, and the answer is the same", "[cuda][engine][offload]") {
  const auto path = KVASIR_NEEDS(shared_data("stories260K/stories260K-f32.gguf"));
  Lab lab{path.string()};
  const auto want = tokens_of(*lab.start("cpu"));
  const auto offload = offload_request(*describe_model(lab.model), lab.key("auto"));
  REQUIRE(offload.layer_bytes.size() == 5);
  for (const uint32_t fit : {5U, 2U, 0U}) {
    lab.machine.gpu_bytes = fit == 5 ? uint64_t{1} << 30 : offload.layer_bytes[0] * fit + offload.layer_bytes[0] / 2;
    const auto engine = lab.start("auto");
    CAPTURE(fit);
    CHECK(tokens_of(*engine) == want);
    const auto info = engine->ask<ModelInfoResult>(ModelInfo{});
    CHECK(info.gpu_layers == fit);
    if (fit == 5) CHECK(info.backend.name == "cuda");
    if (fit == 2) {
      CHECK_THAT(info.backend.name, Catch::StartsWith("cuda+cpu-"));
      CHECK_THAT(info.backend.reason, Catch::Contains("2 of 5 layers on one GPU") && Catch::Contains("the head on the CPU"));
      CHECK_THAT(info.backend.isa_or_device, Catch::Contains("emulated GPU (layers 0-1)") && Catch::Contains("(layers 2-4)"));
    }
    if (fit == 0) {
      CHECK_THAT(info.backend.name, Catch::StartsWith("cpu-"));
      CHECK_THAT(info.backend.reason, Catch::Contains("cuda was not taken: no layer fits on the GPU"));
    }
  }
  const auto forced = lab.start("cuda");
  const auto refused = forced->wait_for<Failed>(forced->send(generate("x", 1)));
  CHECK(refused.code == Code::kTooLarge);
  CHECK_THAT(refused.message, Catch::Contains("no layer fits on the GPU"));
}

TEST_CASE("--gpu-layers puts so many layers on the GPU, or says why not", "[cuda][engine][offload]") {
  const auto path = KVASIR_NEEDS(shared_data("stories260K/stories260K-f32.gguf"));
  Lab lab{path.string()};
  const auto want = tokens_of(*lab.start("cpu"));
  for (const uint32_t asked : {0U, 1U, 4U, 999U}) {
    const auto engine = lab.start("auto", asked);
    CAPTURE(asked);
    CHECK(tokens_of(*engine) == want);
    CHECK(engine->ask<ModelInfoResult>(ModelInfo{}).gpu_layers == std::min(asked, 5U));
  }
  const auto failed = [&](const std::string& backend, uint32_t asked) {
    const auto engine = lab.start(backend, asked);
    return engine->wait_for<Failed>(engine->send(generate("x", 1)));
  };
  const auto nowhere = failed("cpu", 3);
  CHECK(nowhere.code == Code::kUnavailable);
  CHECK_THAT(nowhere.message, Catch::Contains("is no GPU"));
  lab.machine.gpu_bytes = offload_request(*describe_model(lab.model), lab.key("auto")).layer_bytes[0] * 5 / 2;
  const auto too_many = failed("auto", 4);
  CHECK(too_many.code == Code::kTooLarge);
  CHECK_THAT(too_many.message, Catch::Contains("at most 2 fit"));
}

TEST_CASE("two GPUs share the layers of a model that neither holds", "[cuda][engine][offload]") {
  const auto path = KVASIR_NEEDS(shared_data("stories260K/stories260K-f32.gguf"));
  Lab lab{path.string(), {.gpus = 2}};
  const auto want = tokens_of(*lab.start("cpu"));
  lab.machine.gpu_bytes = offload_request(*describe_model(lab.model), lab.key("auto")).layer_bytes[0] * 5 / 2;
  const auto engine = lab.start("auto");
  CHECK(tokens_of(*engine) == want);
  const auto info = engine->ask<ModelInfoResult>(ModelInfo{});
  CHECK(info.gpu_layers == 4);
  CHECK_THAT(info.backend.isa_or_device, Catch::Contains("(layers 0-1)") && Catch::Contains("(layers 2-3)") && Catch::Contains("(layer 4)"));
}

TEST_CASE("a model whose layers share caches is not divided, with the reason", "[cuda][engine][offload]") {
  const auto path = KVASIR_NEEDS(shared_data("tiny-models/gemma4/model-bf16.gguf"));
  Lab lab{path.string()};
  const auto engine = lab.start("cuda", 1);
  const auto refused = engine->wait_for<Failed>(engine->send(generate("x", 1)));
  CHECK(refused.code == Code::kUnsupported);
  CHECK_THAT(refused.message, Catch::Contains("read each other's caches"));
}
