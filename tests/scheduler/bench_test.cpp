#include "core/engine/bench.h"

#include <catch2/catch.hpp>

#include "tests/scheduler/fake_model.h"
#include "tests/support/data.h"

using namespace kvasir;
using namespace kvasir::test;

TEST_CASE("a bench reports one rate per repetition") {
  const FakeEnvironment environment;
  const auto report = run_bench(environment, {.engine = {.model = "fake"}, .prompt_tokens = 300, .gen_tokens = 10, .depth = 100, .batch = 3, .repeat = 2});
  REQUIRE(report);
  CHECK(report->prefill_tok_s.size() == 2);
  CHECK(report->decode_tok_s.size() == 2);
  CHECK(report->decode_tok_s[0] > 0);
  CHECK(report->read_gb_s > 0.1);
  CHECK(report->peak_rss_bytes > 0);
}

TEST_CASE("a bench beyond the context or without sense is refused") {
  const FakeEnvironment environment;
  CHECK(run_bench(environment, {.engine = {.model = "fake"}, .prompt_tokens = 1025}).error().code == Code::kTooLarge);
  CHECK(run_bench(environment, {.engine = {.model = "fake"}, .gen_tokens = 1, .depth = UINT32_MAX}).error().code == Code::kTooLarge);
  CHECK(run_bench(environment, {.engine = {.model = "fake"}, .batch = 0}).error().code == Code::kInvalidArgument);
  CHECK(run_bench(environment, {.engine = {.model = "missing"}}).error().code == Code::kNotFound);
}

TEST_CASE("a decoded token reads every matrix once, a tied table too, an untied one not") {
  ModelDescription model;
  model.tensors = {{"token_embd.weight", "F32", {64, 100}, 25'600}, {"blk.0.attn_q.weight", "F32", {64, 64}, 16'384},
                   {"output_norm.weight", "F32", {64}, 256}};
  CHECK(bytes_per_token(model) == 25'600 + 16'384);
  model.tensors.push_back({"output.weight", "F32", {64, 100}, 25'600});
  CHECK(bytes_per_token(model) == 25'600 + 16'384);
}

TEST_CASE("perplexity scores the second half of whole chunks") {
  const FakeEnvironment environment;
  const auto report = run_perplexity(environment, {.engine = {.model = "fake"}, .text = std::string(999, 'a'), .chunk_tokens = 200});
  REQUIRE(report);
  CHECK(report->chunks == 5);
  CHECK(report->text_tokens == 1000);
  CHECK(report->scored == 5 * 99);
  CHECK(report->perplexity == Approx(std::exp(report->nll / 495)));
  CHECK(report->standard_error > 0);
  CHECK(run_perplexity(environment, {.engine = {.model = "fake"}, .text = "short"}).error().code == Code::kInvalidArgument);
}
