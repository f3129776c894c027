// Every model family, as a GGUF file and as a Hugging Face folder, against the logits of its reference implementation
// (tiny random models). tests/families.md holds what came out; `./x test --families` writes it anew.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "tests/model/runner.h"
#include "tests/support/data.h"

using namespace kvasir;
using namespace kvasir::test;
using nlohmann::json;

namespace {

struct Family {
  const char* folder;
  const char* gguf = "model-bf16.gguf";
  const char* golden = "golden.jsonl";
  double tolerance = 1e-3;
  uint32_t short_context = 0;  ///< longrope: prompts that stay below it are judged with the short factors
  bool experts = false;        ///< rounding may flip the router: with the default types only told, not judged
};

const Family kFamilies[] = {
    {"llama"},
    {"llama3"},
    {"mistral", "model-bf16.gguf", "golden-gguf.jsonl"},
    {.folder = "mixtral", .experts = true},
    {"qwen2"},
    {"qwen3"},
    {.folder = "qwen2_moe", .experts = true},
    {.folder = "qwen3_moe", .experts = true},
    {"quant_mixed", "model-mixed.gguf"},
    {"gemma"},
    {"gemma2"},
    {"gemma3"},
    {"gemma4"},
    {"phi2", "model-f16.gguf"},
    {.folder = "phi3", .short_context = 64},
    {"falcon7b"},
    {"falcon40b"},
    {"gpt2", "model-f32.gguf"},
    {"gpt_neox"},
    {"starcoder2", "model-bf16.gguf", "golden-gguf.jsonl"},
    {"stablelm"},
    {"olmo2"},
    {"olmo3"},
    {"granite"},
    {"smollm3"},
    {"cohere"},
    {"cohere2"},
    {"glm4"},
    {.folder = "gpt_oss", .experts = true},
    {.folder = "gpt_oss_mxfp4", .experts = true},
    {.folder = "deepseek_v2", .experts = true},
    {.folder = "deepseek_v3", .experts = true},
    {"lfm2"},
    {"mamba2"},
    // Float32 itself is off by 2e-4 to 2e-3 in these two (README of the data, note 5).
    {.folder = "qwen3_next", .tolerance = 5e-3, .experts = true},
    {.folder = "qwen3_5", .tolerance = 5e-3},
};

struct Errors {
  double logits = 0.0, logsumexp = 0.0;
  size_t argmax_wrong = 0, positions = 0;
};

/// One of the two forms of a model.
struct Form {
  std::filesystem::path model, golden;
};
Form gguf_form(const Family& family, const std::filesystem::path& root) {
  return {root / family.folder / family.gguf, root / family.folder / family.golden};
}
/// Nothing for the one that exists only as a GGUF file. Folders know the windows that two GGUF files cannot say.
std::optional<Form> folder_form(const Family& family, const std::filesystem::path& root) {
  const auto folder = root / family.folder;
  if (!std::filesystem::exists(folder / "config.json") || std::string_view(family.folder) == "quant_mixed") return {};
  return Form{folder, folder / "golden.jsonl"};
}

std::vector<json> read_lines(const std::filesystem::path& path) {
  std::vector<json> lines;
  std::istringstream in(read_file(path));
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) lines.push_back(json::parse(line));
  }
  return lines;
}

/// One prompt and its greedy continuation, fed at once: the golden ids, whatever we would have chosen.
void judge(Runner& runner, const json& golden, double clear_margin, Errors& errors) {
  const auto prompt = golden["prompt"].get<std::vector<TokenId>>();
  const auto greedy = golden["greedy"].get<std::vector<TokenId>>();
  std::vector<TokenId> tokens = prompt;
  tokens.insert(tokens.end(), greedy.begin(), greedy.end() - 1);
  runner.reset();
  const std::vector<float> logits = runner.run(tokens);
  const size_t n = runner.vocab();
  const auto row = [&](size_t i) { return std::span(logits).subspan(i * n, n); };
  const auto compare = [&](size_t at, size_t want, double margin) {
    ++errors.positions;
    if (margin > clear_margin && argmax(row(at)) != want) ++errors.argmax_wrong;
  };
  for (size_t i = 0; i < prompt.size(); ++i) {
    compare(i, golden["argmax"][i].get<size_t>(), golden["margin"][i].get<double>());
    errors.logsumexp = std::max(errors.logsumexp, std::fabs(logsumexp(row(i)) - golden["logsumexp"][i].get<double>()));
  }
  for (size_t i = 0; i < greedy.size(); ++i) {
    compare(prompt.size() - 1 + i, static_cast<size_t>(greedy[i]), golden["greedy_margin"][i].get<double>());
  }
  for (size_t v = 0; v < n; ++v) {
    const double error =
        std::fabs(static_cast<double>(row(prompt.size() - 1)[v]) - golden["logits_last"][v].get<double>());
    errors.logits = std::isnan(error) ? INFINITY : std::max(errors.logits, error);
  }
}

Errors judge_family(const Family& family, const Form& form, RunnerOptions options, double clear_margin) {
  Errors errors;
  const auto lines = read_lines(form.golden);
  // Prompts on the two sides of a longrope model's original context need models that chose differently.
  for (const bool is_short : {true, false}) {
    if (is_short && family.short_context == 0) continue;
    options.context = is_short ? family.short_context : 256;
    Runner runner(form.model, options);
    for (const json& golden : lines) {
      const size_t length = golden["prompt"].size() + golden["greedy"].size();
      if (family.short_context > 0 && is_short != (length <= family.short_context)) continue;
      judge(runner, golden, clear_margin, errors);
    }
  }
  return errors;
}

/// KVASIR_FAMILY: one family, or (with a minus before it) all others.
bool skipped(const Family& family) {
  const char* only = std::getenv("KVASIR_FAMILY");
  if (only == nullptr) return false;
  return *only == '-' ? std::string_view(only + 1) == family.folder : std::string_view(only) != family.folder;
}

/// The table of tests/families.md: written where KVASIR_FAMILIES_MD says, printed otherwise.
class Table {
 public:
  explicit Table(const std::vector<std::string>& cpu) {
    std::string names;
    for (const auto& name : cpu) names += (names.empty() ? "" : ", ") + name;
    text_
        << "# Families\n\nWritten by `./x test --families`. Largest absolute difference of a logit from the reference\n"
           "implementation (logits have a standard deviation of about 2.2; 402 positions each, argmax and greedy\n"
           "continuations equal wherever the margin is above 0.01), KV and activations in f32. \"CPU\" is the worst "
           "of:\n"
        << names << ".\n\"Defaults\" is f16 KV and default activations on " << (cpu.empty() ? "none" : cpu.front())
        << ": a router of a model with experts may\nchoose otherwise there; the positions where argmax then differs at "
           "a "
           "margin above 0.5 are counted.\n\n"
        << "| family | GGUF, reference | GGUF, CPU | folder, reference | folder, CPU | GGUF, defaults |\n"
        << "|---|---|---|---|---|---|\n";
  }
  void begin(const char* family) { text_ << "| " << family << " |"; }
  void cell(double error, const std::string& remark = "") {
    char number[32];
    std::snprintf(number, sizeof number, " %.1e", error);
    text_ << number << remark << " |";
  }
  void empty() { text_ << " |"; }
  void end() { text_ << "\n"; }
  ~Table() {
    if (const char* path = std::getenv("KVASIR_FAMILIES_MD")) {
      std::ofstream(path) << text_.str();
    } else {
      std::printf("%s", text_.str().c_str());
    }
  }

 private:
  std::ostringstream text_;
};

/// Checks one form on each backend; the largest error.
double check_exact(const Family& family, const Form& form, const std::vector<std::string>& backends) {
  double worst = 0.0;
  for (const std::string& backend : backends) {
    CAPTURE(family.folder, form.model, backend);
    const Errors e = judge_family(family, form, {.backend = backend}, 1e-2);
    CHECK(e.positions == 402);
    CHECK(e.logits <= family.tolerance);
    CHECK(e.logsumexp <= family.tolerance);
    CHECK(e.argmax_wrong == 0);
    worst = std::max(worst, e.logits);
  }
  return worst;
}

void tell_defaults(const Family& family, const Form& form, const std::string& backend, Table& table) {
  CAPTURE(family.folder, backend);
  const RunnerOptions options{.backend = backend, .kv = KvType::kF16, .activations = Activations::kAuto};
  const Errors e = judge_family(family, form, options, 0.5);
  CHECK(e.positions == 402);
  if (family.experts) {
    CHECK(std::isfinite(e.logits));
    table.cell(e.logits, e.argmax_wrong == 0 ? "" : ", " + std::to_string(e.argmax_wrong) + " differ");
    return;
  }
  CHECK(e.logits <= 0.55);
  CHECK(e.argmax_wrong == 0);
  table.cell(e.logits);
}

}  // namespace

TEST_CASE("every family gives the logits of its reference implementation in both forms on every backend",
          "[families]") {
  const auto root = KVASIR_NEEDS(shared_data("tiny-models"));
  const auto cpu = usable_cpu_backends();
  Table table(cpu);
  for (const Family& family : kFamilies) {
    if (skipped(family)) continue;
    table.begin(family.folder);
    for (const auto& form : {std::optional(gguf_form(family, root)), folder_form(family, root)}) {
      for (const auto& backends : {std::vector<std::string>{"reference"}, cpu}) {
        if (form && !backends.empty()) {
          table.cell(check_exact(family, *form, backends));
        } else {
          table.empty();
        }
      }
    }
    if (cpu.empty()) {
      table.empty();
    } else {
      tell_defaults(family, gguf_form(family, root), cpu.front(), table);
    }
    table.end();
  }
}

TEST_CASE("the committed table names every family", "[families]") {
  const std::string table = read_file(fixture("../families.md"));
  for (const Family& family : kFamilies) {
    INFO(family.folder);
    CHECK(table.find("\n| " + std::string(family.folder) + " | ") != std::string::npos);
  }
}

// Run by test_reference_models.py, which makes the folders.
TEST_CASE("folders of other shapes give the logits of their reference implementation", "[.generated]") {
  const char* root = std::getenv("KVASIR_GENERATED_MODELS");
  REQUIRE(root != nullptr);
  auto backends = usable_cpu_backends();
  backends.emplace_back("reference");
  size_t folders = 0;
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    if (!std::filesystem::exists(entry.path() / "golden.jsonl")) continue;
    ++folders;
    const std::string name = entry.path().filename().string();
    const Family family{.folder = name.c_str(), .tolerance = 2e-3};
    check_exact(family, {entry.path(), entry.path() / "golden.jsonl"}, backends);
  }
  CHECK(folders > 0);
}
