// kvasir-gpu-check: what one loan of a GPU must answer, in minutes: is every op right (against the reference, all types and
// shapes of the op tests), do graphs and overlap change a bit, what is the machine's ceiling and how near are we. Exit
// status 0: all right (or no GPU, which is said), 1: something is wrong.
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include <chrono>
#include <cstring>
#include <exception>

#include "tests/cuda/gpu_check/gpu.h"

namespace kvasir::test {

void Report::line(const std::string& section, const std::string& name, double value, const std::string& unit, const std::string& note) {
  std::printf("%-10s %-58s %12.2f %-6s %s\n", section.c_str(), name.c_str(), value, unit.c_str(), note.c_str());
  std::fflush(stdout);
  if (json_ == nullptr) return;
  std::fprintf(json_, "{\"section\": \"%s\", \"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\", \"note\": \"%s\"}\n", section.c_str(), name.c_str(), value, unit.c_str(), note.c_str());
  std::fflush(json_);
}
void Report::text(const std::string& words) {
  std::printf("%s\n", words.c_str());
  std::fflush(stdout);
}

namespace {

constexpr const char* kUsage =
    "usage: kvasir-gpu-check [--only ops|bits|ceilings|products|prompts|models] [--filter TESTS] [--quick] [--json FILE]\n"
    "Checks every op of the CUDA backend on this machine's GPU against the reference, then measures.\n";

struct Options {
  std::string only, filter;
  const char* json = nullptr;
  bool quick = false, wrong = false;
};

Options parse(int argc, char** argv) {
  Options out;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--quick") out.quick = true;
    else if (word == "--only" && i + 1 < argc) out.only = argv[++i];
    else if (word == "--filter" && i + 1 < argc) out.filter = argv[++i];
    else if (word == "--json" && i + 1 < argc) out.json = argv[++i];
    else out.wrong = true;
  }
  return out;
}

int run_tests(const std::string& filter) {
  Catch::Session session;
  Catch::ConfigData config = session.configData();
  if (!filter.empty()) config.testsOrTags.push_back(filter);
  config.showDurations = Catch::ShowDurations::Never;
  session.useConfigData(config);
  return session.run();
}

int run(const Options& options) {
  Report report(options.json);
  const auto begin = std::chrono::steady_clock::now();
  const auto wanted = [&](const char* part) { return options.only.empty() || options.only == part; };
  const cuda::DeviceProbe probe = cuda::probe_device(0);
  report.text("GPU: " + probe.reason);
  if (!probe.usable) {
    report.text("skipped, for want of a GPU: ops against the reference, equal bits, ceilings, products, prompts, whole models");
    return 0;
  }
  int wrong = 0;
  if (wanted("ops")) wrong += run_tests(options.filter);
  if (wanted("bits")) wrong += check_equal_bits(report);
  Ceilings ceilings{1};
  if (wanted("ceilings") || wanted("products") || wanted("models")) ceilings = measure_ceilings(report);
  if (wanted("products")) measure_products(report, ceilings);
  if (wanted("prompts")) measure_prompts(report);
  if (wanted("models")) measure_models(report, ceilings, options.quick);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  report.line("total", wrong == 0 ? "everything right" : "SOMETHING IS WRONG", seconds.count(), "s");
  return wrong == 0 ? 0 : 1;
}

}  // namespace
}  // namespace kvasir::test

int main(int argc, char** argv) {
  const kvasir::test::Options options = kvasir::test::parse(argc, argv);
  if (options.wrong) {
    std::fputs(kvasir::test::kUsage, stderr);
    return 2;
  }
  try {
    return kvasir::test::run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kvasir-gpu-check: %s\n", error.what());
    return 1;
  }
}
