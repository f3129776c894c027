// Really trained models against published or independently computed results.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sstream>

#include <nlohmann/json.hpp>

#include "tests/model/runner.h"
#include "tests/support/data.h"

using namespace kvasir;
using namespace kvasir::test;
using nlohmann::json;

namespace {

std::vector<json> read_lines(const std::filesystem::path& path) {
  std::vector<json> lines;
  std::istringstream in(read_file(path));
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) lines.push_back(json::parse(line));
  }
  return lines;
}

std::vector<std::string> all_backends() {
  auto names = usable_cpu_backends();
  names.emplace_back("reference");
  return names;
}

double log_probability(std::span<const float> logits, size_t id) { return static_cast<double>(logits[id]) - logsumexp(logits); }

/// What one prompt of smollm2-135m/golden.jsonl comes to.
struct Comparison {
  double top20 = 0.0;          ///< largest difference of a log-probability among the reference's best 20
  double nll = 0.0;            ///< difference of the prompt's NLL sums
  size_t greedy_wrong = 0;     ///< steps that differ with a margin above the one allowed
  double greedy_margin = 0.0;  ///< largest reference margin of a step that differs
};

/// `clear_margin`: greedy steps whose reference margin is below it may differ. The golden continuation is fed.
Comparison compare(Runner& runner, const json& golden, double clear_margin) {
  const json& reference = golden["reference"];
  const auto ids = golden["ids"].get<std::vector<TokenId>>();
  const auto greedy = reference["greedy"]["ids"].get<std::vector<TokenId>>();
  const auto margins = reference["greedy"]["margins"].get<std::vector<double>>();
  std::vector<TokenId> tokens = ids;
  tokens.insert(tokens.end(), greedy.begin(), greedy.end() - 1);
  runner.reset();
  const auto logits = runner.run(tokens, 256);
  const size_t n = runner.vocab();
  const auto row = [&](size_t i) { return std::span(logits).subspan(i * n, n); };
  Comparison out;
  for (const auto& entry : reference["top20"]) {
    const double got = log_probability(row(ids.size() - 1), entry[0].get<size_t>());
    out.top20 = std::max(out.top20, std::fabs(got - entry[1].get<double>()));
  }
  double nll = 0.0;
  for (size_t i = 0; i + 1 < ids.size(); ++i) nll -= log_probability(row(i), static_cast<size_t>(ids[i + 1]));
  out.nll = std::fabs(nll - reference["nll_sum"].get<double>());
  for (size_t i = 0; i < greedy.size(); ++i) {
    if (argmax(row(ids.size() - 1 + i)) == static_cast<size_t>(greedy[i])) continue;
    out.greedy_margin = std::max(out.greedy_margin, margins[i]);
    if (margins[i] > clear_margin) ++out.greedy_wrong;
  }
  return out;
}

}  // namespace

TEST_CASE("stories260K reproduces its official 200 greedy steps", "[golden]") {
  const auto path = KVASIR_NEEDS(shared_data("stories260K/stories260K-f32.gguf"));
  const std::string expected = read_file(path.parent_path() / "expected_greedy_200steps.txt");
  for (const std::string& backend : all_backends()) {
    for (const bool tight : {true, false}) {
      if (!tight && backend == "reference") continue;
      CAPTURE(backend, tight);
      RunnerOptions options;
      options.backend = backend;
      if (!tight) options.kv = KvType::kF16, options.activations = Activations::kAuto;
      Runner runner(path, options);
      std::vector<TokenId> tokens = {1};
      for (int i = 0; i < 200; ++i) {
        const TokenId last[] = {tokens.back()};
        tokens.push_back(static_cast<TokenId>(argmax(runner.run(last))));
      }
      const auto text = runner.model().tokenizer().decode(std::span(tokens).subspan(1), false);
      REQUIRE(text);
      std::string got = *text;
      if (!got.empty() && got.front() == ' ' && expected.front() != ' ') got.erase(0, 1);
      // The official run may stop a token earlier or later; its text must be the beginning of ours or the reverse.
      const size_t common = std::min(got.size(), expected.size());
      CHECK(got.substr(0, common) == expected.substr(0, common));
      CHECK(common + 8 >= expected.size());
    }
  }
}

TEST_CASE("tinystories-656k agrees with its float64 forward pass", "[golden]") {
  const auto path = KVASIR_NEEDS(shared_data("tinystories-656k/tinystories-656k-f32.gguf"));
  const auto lines = read_lines(path.parent_path() / "golden.jsonl");
  REQUIRE(lines.size() == 2);
  for (const std::string& backend : all_backends()) {
    CAPTURE(backend);
    RunnerOptions options;
    options.backend = backend;
    Runner runner(path, options);
    for (const json& golden : lines) {
      auto tokens = golden["prompt_ids"].get<std::vector<TokenId>>();
      const auto greedy = golden["greedy_ids"].get<std::vector<TokenId>>();
      const size_t first = tokens.size() - 1;
      tokens.insert(tokens.end(), greedy.begin(), greedy.end() - 1);
      runner.reset();
      const auto logits = runner.run(tokens);
      const size_t n = runner.vocab();
      double worst = 0.0;
      size_t differ = 0;
      for (size_t i = 0; i < greedy.size(); ++i) {
        const auto row = std::span(logits).subspan((first + i) * n, n);
        if (argmax(row) != static_cast<size_t>(greedy[i])) ++differ;
        for (const auto& entry : golden["top5_logprobs"][i]) {
          worst = std::max(worst, std::fabs(log_probability(row, entry[0].get<size_t>()) - entry[1].get<double>()));
        }
      }
      CHECK(differ == 0);
      CHECK(worst < 1e-4);
    }
  }
}

TEST_CASE("SmolLM2-135M agrees with its float32 reference within the tolerances of its data", "[golden]") {
  const auto model = KVASIR_NEEDS(default_model());
  const auto data = KVASIR_NEEDS(shared_data("smollm2-135m/golden.jsonl"));
  const auto lines = read_lines(data);
  const auto cpus = usable_cpu_backends();
  std::printf("%-18s %-6s %-22s %9s %9s %6s %8s\n", "backend", "kind", "prompt", "top20", "nll", "greedy", "margin");
  for (const std::string& backend : all_backends()) {
    for (const bool tight : {true, false}) {
      const bool reference = backend == "reference";
      if (reference && !tight) continue;
      RunnerOptions options;
      options.backend = backend;
      options.context = 256;
      if (!tight) options.kv = KvType::kF16, options.activations = Activations::kAuto;
      Runner runner(model, options);
      for (const json& golden : lines) {
        const size_t n = golden["n_ids"].get<size_t>();
        if (n > 200 || (reference && n > 10)) continue;
        const Comparison c = compare(runner, golden, tight ? 1e-3 : 0.3);
        const auto id = golden["id"].get<std::string>();
        std::printf("%-18s %-6s %-22s %9.2e %9.2e %6zu %8.4f\n", backend.c_str(), tight ? "tight" : "loose", id.c_str(), c.top20, c.nll,
                    c.greedy_wrong, c.greedy_margin);
        CAPTURE(backend, tight, id);
        CHECK(c.greedy_wrong == 0);
        CHECK(c.top20 < (tight ? 1e-3 : 0.35));
        CHECK(c.nll < (tight ? 1e-3 + 1e-5 * static_cast<double>(n) : 0.02 * static_cast<double>(n)));
      }
    }
  }
}
