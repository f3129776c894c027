// Loading and stepping a model: what a caller of core/model/model.h may rely on.
#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <thread>

#include "backends/registry.h"
#include "tests/model/gguf_writer.h"
#include "tests/model/runner.h"
#include "tests/model/temporary_folder.h"
#include "tests/support/data.h"

using namespace kvasir;
using namespace kvasir::test;
namespace fs = std::filesystem;

namespace {

std::vector<TokenId> some_tokens(size_t count, uint32_t vocab) {
  std::vector<TokenId> out;
  uint32_t state = 12345;
  for (size_t i = 0; i < count; ++i) {
    state = state * 1664525U + 1013904223U;
    out.push_back(static_cast<TokenId>((state >> 8) % vocab));
  }
  return out;
}

fs::path copy_to(const TemporaryFolder& folder, const fs::path& file, const char* name = "model.gguf") {
  const fs::path to = folder.path() / name;
  fs::copy_file(file, to);
  fs::permissions(to, fs::perms::owner_read | fs::perms::owner_write);
  return to;
}

std::vector<std::string> test_backends() {
  auto names = usable_cpu_backends();
  names.emplace_back("reference");
  return names;
}

}  // namespace

TEST_CASE("a description comes from the header alone", "[model]") {
  const auto path = KVASIR_NEEDS(shared_data("tiny-models/llama/model-bf16.gguf"));
  const auto result = describe_model(path.string());
  REQUIRE(result);
  const ModelDescription& d = *result;
  CHECK(d.name == "tiny llama");
  CHECK(d.architecture == "llama");
  CHECK(d.format == "gguf v3");
  CHECK(d.quantization == "BF16");
  CHECK(d.layers == 2);
  CHECK(d.heads == 4);
  CHECK(d.kv_heads == 2);
  CHECK(d.head_dim == 16);
  CHECK(d.embedding == 64);
  CHECK(d.feed_forward == 64);
  CHECK(d.max_context == 256);
  CHECK(d.vocab_size == 320);
  CHECK(d.parameters == 90432);
  CHECK(d.file_bytes == fs::file_size(path));
  CHECK(d.tensors.size() == 21);
  CHECK(d.has_chat_template);
  CHECK(d.fingerprint.size() == 32);
}

TEST_CASE("sampling that the metadata recommends is told, what nobody could ask for is ignored", "[model]") {
  const auto path = KVASIR_NEEDS(shared_data("tiny-models/llama/model-bf16.gguf"));
  const auto file = std::move(*ModelFile::open(path.string()));
  GgufWriter out;
  out.copy(file->metadata()).real("general.sampling.temp", 0.25F).number("general.sampling.top_k", 7);
  out.real("general.sampling.top_p", 7.0F)
      .real("general.sampling.penalty_repeat", 0.0F)
      .real("general.sampling.min_p", 0.125F);
  for (const FileTensor& tensor : file->tensors()) out.tensor(tensor);
  const TemporaryFolder folder;
  out.write(folder.path() / "model.gguf");
  const auto described = describe_model((folder.path() / "model.gguf").string());
  REQUIRE(described);
  CHECK(described->sampling.temperature == 0.25F);
  CHECK(described->sampling.top_k == 7U);
  CHECK(described->sampling.min_p == 0.125F);
  CHECK_FALSE(described->sampling.top_p);
  CHECK_FALSE(described->sampling.repeat_penalty);
}

TEST_CASE("the fingerprint of a loaded model changes with any weight, that of the header does not", "[model]") {
  const auto path = KVASIR_NEEDS(shared_data("tiny-models/llama/model-bf16.gguf"));
  const TemporaryFolder folder;
  const auto same = copy_to(folder, path, "same.gguf"), other = copy_to(folder, path, "other.gguf");
  {
    std::fstream file(other, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-1000, std::ios::end);
    file.put('\x3f');
  }
  const auto backend = make_reference_backend({});
  const auto loaded = [&](const fs::path& p) {
    auto model = Model::load(p.string(), *backend, {});
    REQUIRE(model);
    return (*model)->description().fingerprint;
  };
  CHECK(describe_model(same.string())->fingerprint == describe_model(other.string())->fingerprint);
  CHECK(loaded(path) == loaded(same));
  CHECK(loaded(path) != loaded(other));
  CHECK(loaded(path) != describe_model(path.string())->fingerprint);
}

TEST_CASE("loading reports progress from 0 to 1 and can be cancelled", "[model]") {
  const auto path = KVASIR_NEEDS(shared_data("tiny-models/llama/model-bf16.gguf"));
  const auto backend = make_reference_backend({});
  std::vector<double> seen;
  REQUIRE(Model::load(path.string(), *backend, [&](double share) {
    seen.push_back(share);
    return true;
  }));
  REQUIRE(seen.size() > 2);
  CHECK(seen.front() == 0.0);
  CHECK(seen.back() == 1.0);
  CHECK(std::is_sorted(seen.begin(), seen.end()));
  const auto cancelled = Model::load(path.string(), *backend, [](double share) { return share < 0.5; });
  REQUIRE_FALSE(cancelled);
  CHECK(cancelled.error().code == Code::kCancelled);
}

TEST_CASE("a file that shrinks or changes while it is loaded is an error, not a crash", "[model]") {
  const auto path = KVASIR_NEEDS(shared_data("tiny-models/llama/model-bf16.gguf"));
  const TemporaryFolder folder;
  const auto backend = make_reference_backend({});
  const auto shrinking = copy_to(folder, path, "shrinking.gguf");
  const auto first = Model::load(shrinking.string(), *backend, [&](double share) {
    if (share == 0.0) fs::resize_file(shrinking, fs::file_size(shrinking) / 2);
    return true;
  });
  REQUIRE_FALSE(first);
  CHECK(first.error().code == Code::kCorrupt);
  const auto changing = copy_to(folder, path, "changing.gguf");
  const auto second = Model::load(changing.string(), *backend, [&](double share) {
    if (share == 1.0) fs::last_write_time(changing, fs::file_time_type::clock::now() + std::chrono::seconds(5));
    return true;
  });
  REQUIRE_FALSE(second);
  CHECK(second.error().code == Code::kCorrupt);
}

TEST_CASE("a token outside the vocabulary is refused before anything is computed", "[model]") {
  const auto path = KVASIR_NEEDS(shared_data("tiny-models/llama/model-bf16.gguf"));
  Runner runner(path, {});
  const TokenId bad[] = {320};
  const TokenId negative[] = {-1};
  CHECK_THROWS_WITH(runner.run(bad), Catch::Contains("outside the vocabulary"));
  CHECK_THROWS_WITH(runner.run(negative), Catch::Contains("outside the vocabulary"));
}

TEST_CASE("chunked and batched steps equal one step bit for bit", "[model]") {
  const auto root = KVASIR_NEEDS(shared_data("tiny-models"));
  const std::string best = test_backends().front();
  for (const char* folder : {"llama", "gemma2", "qwen3_moe", "deepseek_v3", "lfm2", "mamba2", "qwen3_5"}) {
    const fs::path path = root / folder / "model-bf16.gguf";
    for (const std::string& backend : test_backends()) {
      // Every backend with the plainest family, every family on the best backend.
      if (backend != best && backend != "reference" && folder != std::string_view("llama")) continue;
      for (const bool exact : {true, false}) {
        CAPTURE(folder, backend, exact);
        RunnerOptions options;
        options.backend = backend;
        options.sequences = 3;
        if (!exact) options.kv = KvType::kF16, options.activations = Activations::kAuto;
        Runner runner(path, options);
        const auto tokens = some_tokens(100, runner.vocab());
        const auto other = some_tokens(130, runner.vocab() / 2);
        const auto whole = runner.run(tokens);
        runner.reset();
        CHECK(runner.run(tokens, 7) == whole);
        runner.reset();
        CHECK(runner.run(tokens, 1) == whole);
        runner.reset();
        // The same tokens in sequence 1, between pieces of two others, in steps of uneven size.
        std::vector<float> batched;
        for (size_t at = 0, other_at = 0; at < tokens.size();) {
          const size_t count = std::min<size_t>(tokens.size() - at, at % 3 == 0 ? 1 : 17);
          std::vector<Piece> pieces(3);
          pieces[0] = {2,
                       {other.begin() + static_cast<std::ptrdiff_t>(other_at),
                        other.begin() + static_cast<std::ptrdiff_t>(other_at) + 3}};
          pieces[1] = {1,
                       {tokens.begin() + static_cast<std::ptrdiff_t>(at),
                        tokens.begin() + static_cast<std::ptrdiff_t>(at + count)}};
          pieces[2] = {0, {other[other_at]}};
          const auto logits = runner.step(pieces);
          batched.insert(batched.end(), logits.begin() + 3 * runner.vocab(), logits.end() - runner.vocab());
          at += count;
          other_at += 3;
        }
        CHECK(batched == whole);
      }
    }
  }
}

TEST_CASE("pages that left the window are not needed", "[model]") {
  const auto root = KVASIR_NEEDS(shared_data("tiny-models"));
  for (const char* folder : {"gemma2", "gpt_oss", "gemma4"}) {
    for (const std::string& backend : test_backends()) {
      CAPTURE(folder, backend);
      RunnerOptions options;
      options.backend = backend;
      Runner all(root / folder / "model-bf16.gguf", options);
      const auto tokens = some_tokens(200, all.vocab());
      const auto whole = all.run(tokens, 5);
      options.drop_window_pages = true;
      Runner dropping(root / folder / "model-bf16.gguf", options);
      CHECK(dropping.run(tokens, 5) == whole);
    }
  }
}

TEST_CASE("smaller KV types change the result, a little", "[model]") {
  const auto path = KVASIR_NEEDS(shared_data("tiny-models/llama/model-bf16.gguf"));
  RunnerOptions options;
  Runner exact(path, options);
  const auto tokens = some_tokens(60, exact.vocab());
  const auto want = exact.run(tokens);
  for (const auto& [type, limit] : {std::pair{KvType::kF16, 0.02}, std::pair{KvType::kQ8_0, 0.3}}) {
    options.kv = type;
    Runner runner(path, options);
    const auto got = runner.run(tokens);
    double worst = 0.0;
    for (size_t i = 0; i < got.size(); ++i)
      worst = std::max(worst, std::fabs(static_cast<double>(got[i]) - static_cast<double>(want[i])));
    CHECK(worst > 0.0);
    CHECK(worst < limit);
  }
}

TEST_CASE("exported KV pages carry a sequence to other pages", "[model]") {
  const auto path = KVASIR_NEEDS(shared_data("tiny-models/llama/model-bf16.gguf"));
  const auto backend = make_reference_backend({});
  const auto model = Model::load(path.string(), *backend, {});
  REQUIRE(model);
  const auto pool = backend->create_kv_pool((*model)->kv_spec(KvType::kF16, 4, 1, 64));
  REQUIRE(pool);
  const auto stream = backend->open_stream({});
  REQUIRE(stream);
  const auto logits_after = [&](std::vector<PageId> pages, uint32_t at, std::vector<TokenId> tokens) {
    StepLayout layout;
    layout.rows = static_cast<uint32_t>(tokens.size());
    layout.sequences = {{0, layout.rows, at, at, {std::move(pages)}, 0}};
    const uint32_t last = layout.rows - 1;
    std::vector<float> logits(320);
    REQUIRE((*model)->forward(**stream, **pool, layout, tokens, {&last, 1}, logits));
    return logits;
  };
  const auto tokens = some_tokens(64, 320);
  logits_after({0, 1}, 0, tokens);
  std::vector<std::byte> page((*pool)->page_bytes(0));
  REQUIRE((*pool)->export_page(0, 0, page));
  REQUIRE((*pool)->import_page(0, 2, page));
  REQUIRE((*pool)->copy_page(0, 2, 3));
  const auto want = logits_after({0, 1}, 64, {5});
  CHECK(logits_after({2, 1}, 64, {5}) == want);
  CHECK(logits_after({3, 1}, 64, {5}) == want);
  page.pop_back();
  CHECK_FALSE((*pool)->export_page(0, 0, page));
  CHECK_FALSE((*pool)->copy_page(0, 0, 4));
}

TEST_CASE("the text part of a file loads without weights, also from a file with none", "[model]") {
  const auto path = KVASIR_NEEDS(shared_data("vocab/ggml-vocab-llama-spm.gguf"));
  const auto text = load_model_text(path.string());
  REQUIRE(text);
  CHECK(text->tokenizer->vocab_size() == 32000);
  CHECK_FALSE(describe_model(path.string()));  // no weights: no model
}
