// kvasir bench: speed of one model on this machine, and its perplexity on a text.
#include "core/engine/bench.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "core/engine/engine_environment.h"
#include "mcp/app/commands/commands.h"
#include "mcp/app/engine_options.h"
#include "mcp/app/exit_codes.h"
#include "mcp/app/input.h"
#include "rpc/message.h"

namespace kvasir::app {
namespace {

using rpc::Json;

const OptionSpec kPromptTokens{"prompt-tokens", OptionKind::kWhole, "N", "512",
                               "tokens of the prefill measurement; 0: none"};
const OptionSpec kGenTokens{"gen-tokens", OptionKind::kWhole, "N", "64", "tokens of the decode measurement; 0: none"};
const OptionSpec kDepth{"depth", OptionKind::kWhole, "N", "0", "tokens in the cache before decoding"};
const OptionSpec kBatch{"batch", OptionKind::kWhole, "N", "1", "sequences that decode at once"};
const OptionSpec kRepeat{"repeat", OptionKind::kWhole, "N", "3", "repetitions"};
const OptionSpec kPpl{"ppl", OptionKind::kText, "FILE", "", "perplexity of this text instead"};
const OptionSpec kChunks{"chunks", OptionKind::kWhole, "N", "0",
                         "with --ppl: only the first N chunks of 512 tokens; 0: all"};

Result<uint32_t> small(const Options& options, const OptionSpec& spec) {
  const uint64_t value = options.whole(spec.name);
  if (value > UINT32_MAX) return Failure{Code::kInvalidArgument, "--" + std::string(spec.name) + ": too large"};
  return static_cast<uint32_t>(value);
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

Json to_json(const BenchReport& report, const BenchOptions& options) {
  return {{"model", report.model.path},
          {"quantization", report.model.quantization},
          {"threads", report.backend.threads},
          {"backend", report.backend.name},
          {"prefill", {{"tokens", options.prompt_tokens}, {"tok_s", report.prefill_tok_s}, {"limit_tok_s", report.prefill_limit_tok_s}}},
          {"decode",
           {{"tokens", options.gen_tokens},
            {"depth", options.depth},
            {"batch", options.batch},
            {"tok_s", report.decode_tok_s},
            {"total_tok_s", report.total_tok_s},
            {"limit_tok_s", report.decode_limit_tok_s},
            {"bytes_per_token", report.bytes_per_token}}},
          {"peaks", {{"int8_gops", report.peaks.int8_gops}, {"f32_gops", report.peaks.f32_gops}, {"bf16_gops", report.peaks.bf16_gops}}},
          {"load_ms", report.load_ms},
          {"peak_rss_bytes", report.peak_rss_bytes},
          {"read_gb_s", report.read_gb_s}};
}

/// ", 62 % of the 900.0 that ... allow"; nothing where the limit is not known.
std::string share_of(double rate, double limit, const char* what) {
  if (limit <= 0) return "";
  char text[120];
  std::snprintf(text, sizeof text, "; %.0f %% of the %.1f that %s", 100 * rate / limit, limit, what);
  return text;
}

void print_table(Console& console, const BenchReport& report, const BenchOptions& options) {
  char line[240];
  const auto say = [&] { console.line(line); };
  std::snprintf(line, sizeof line, "model    %s (%s, %s)", report.model.name.c_str(), report.model.architecture.c_str(),
                report.model.quantization.c_str());
  say();
  std::snprintf(line, sizeof line, "backend  %s, %u threads", report.backend.name.c_str(), report.backend.threads);
  say();
  std::snprintf(line, sizeof line, "limits   reading %.1f GB/s; 8-bit products %.0f, f32 %.0f, bf16 %.0f GOP/s (measured now; 0: none)",
                report.read_gb_s, report.peaks.int8_gops, report.peaks.f32_gops, report.peaks.bf16_gops);
  say();
  if (!report.prefill_tok_s.empty()) {
    const double rate = median(report.prefill_tok_s);
    std::snprintf(line, sizeof line, "prefill  %u tokens: %.1f tok/s (median of %zu)%s", options.prompt_tokens, rate,
                  report.prefill_tok_s.size(), share_of(rate, report.prefill_limit_tok_s, "the products alone allow").c_str());
    say();
  }
  if (!report.decode_tok_s.empty()) {
    const double rate = median(report.decode_tok_s);
    std::snprintf(line, sizeof line, "decode   %u tokens at depth %u, batch %u: %.1f tok/s%s", options.gen_tokens, options.depth,
                  options.batch, rate, share_of(rate, report.decode_limit_tok_s, "reading and products allow").c_str());
    say();
    std::snprintf(line, sizeof line, "         a token reads %.1f MB of weights", static_cast<double>(report.bytes_per_token) / 1e6);
    say();
  }
  std::snprintf(line, sizeof line, "load     %.0f ms; peak memory %.1f MB", report.load_ms,
                static_cast<double>(report.peak_rss_bytes) / 1e6);
  say();
}

Result<void> perplexity(Context& context, const EngineKey& key, const BenchProgress& progress) {
  PerplexityOptions options;
  options.engine = key;
  options.text = KVASIR_TRY(read_text_file(context.options.text(kPpl.name), kMaxInputBytes));
  options.chunks = KVASIR_TRY(small(context.options, kChunks));
  const auto environment = make_system_environment(BackendRegistry::create());
  const auto report = KVASIR_TRY(run_perplexity(*environment, options, progress));
  context.console->end_progress();
  if (context.options.enabled("json")) {
    context.console->line(rpc::dump({{"model", key.model},
                                     {"perplexity", report.perplexity},
                                     {"nll", report.nll},
                                     {"standard_error", report.standard_error},
                                     {"scored", report.scored},
                                     {"chunks", report.chunks},
                                     {"text_tokens", report.text_tokens}}));
    return {};
  }
  char line[160];
  std::snprintf(line, sizeof line, "perplexity  %.4f +/- %.4f (%llu tokens in %u chunks)", report.perplexity,
                report.standard_error, static_cast<unsigned long long>(report.scored), report.chunks);
  context.console->line(line);
  return {};
}

Result<void> run(Context& context) {
  const EngineKey key = KVASIR_TRY(resolved_engine_key(context));
  Console& console = *context.console;
  const BenchProgress progress = [&](const std::string& what) {
    if (console.err_is_terminal()) console.note(what);
  };
  // A measurement has nothing to save: Ctrl-C ends it at once.
  context.interrupt->on_signal([] { _exit(kInterrupted); });
  if (context.options.has(kPpl.name)) return perplexity(context, key, progress);
  BenchOptions options;
  options.engine = key;
  options.prompt_tokens = KVASIR_TRY(small(context.options, kPromptTokens));
  options.gen_tokens = KVASIR_TRY(small(context.options, kGenTokens));
  options.depth = KVASIR_TRY(small(context.options, kDepth));
  options.batch = KVASIR_TRY(small(context.options, kBatch));
  options.repeat = KVASIR_TRY(small(context.options, kRepeat));
  const auto environment = make_system_environment(BackendRegistry::create());
  const BenchReport report = KVASIR_TRY(run_bench(*environment, options, progress));
  if (context.options.enabled("json")) {
    console.line(rpc::dump(to_json(report, options)));
  } else {
    print_table(console, report, options);
  }
  return {};
}

}  // namespace

Command bench_command() {
  return {{"bench", "speed of a model here, or its perplexity",
           engine_options({&kPromptTokens, &kGenTokens, &kDepth, &kBatch, &kRepeat, &kPpl, &kChunks, &kJson}), "",
           false, false,
           "  kvasir bench\n  kvasir bench --threads 2 --prompt-tokens 512 --gen-tokens 64 --json\n"
           "  kvasir bench --ppl wiki.test.raw --chunks 20"},
          run};
}

}  // namespace kvasir::app
