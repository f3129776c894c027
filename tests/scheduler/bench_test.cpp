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
  CHECK(report->total_tok_s.size() == 2);
  // 110 tokens of each sequence in the time of the whole, 10 of them in a part of it.
  CHECK(report->total_tok_s[0] > 0);
  CHECK(report->total_tok_s[0] <= 11 * report->decode_tok_s[0]);
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

TEST_CASE("the limits of a token are its bytes over the bandwidth and its products over the peaks, experts by use") {
  ModelDescription model;
  model.metadata = {{"x.expert_count", "8"}, {"x.expert_used_count", "2"}};
  model.tensors = {{"token_embd.weight", "F32", {64, 100}, 25'600}, {"output.weight", "Q8_0", {64, 100}, 6'800},
                   {"blk.0.ffn_up_exps.weight", "Q4_0", {64, 32, 8}, 9'216}, {"blk.0.attn_q.weight", "F16", {64, 64}, 8'192}};
  const DevicePeaks peaks{.int8_gops = 10, .f32_gops = 2, .bf16_gops = 5};
  const TokenWork layers = work_per_token(model, peaks, Activations::kAuto, false);
  CHECK(layers.bytes == 9'216 / 4 + 8'192);
  CHECK(layers.operations == Approx(2 * 64 * 32 * 2 + 2 * 64 * 64));
  CHECK(layers.compute_seconds == Approx((2 * 64 * 32 * 2 / 10.0 + 2 * 64 * 64 / 2.0) / 1e9));
  CHECK(prefill_limit(layers) == Approx(1 / layers.compute_seconds));
  const TokenWork all = work_per_token(model, peaks, Activations::kAuto, true);
  CHECK(all.bytes == layers.bytes + 6'800);
  CHECK(work_per_token(model, peaks, Activations::kF32, true).compute_seconds == Approx(all.operations / 2 / 1e9));
  // one sequence is bound by reading, many by products
  CHECK(decode_limit(all, 1'000, 1, 1.0) == Approx(1e9 / static_cast<double>(all.bytes + 1'000)));
  CHECK(decode_limit(all, 0, 100, 1000.0) == Approx(1 / all.compute_seconds));
  CHECK(decode_limit(all, 0, 1, 0.0) == 0);
  CHECK(prefill_limit(work_per_token(model, {}, Activations::kAuto, true)) == 0);
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
