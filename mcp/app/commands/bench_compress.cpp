// kvasir bench compress: what compression costs on a model and a text, as tables and a plot.
#include <fstream>

#include "mcp/app/commands/commands.h"
#include "mcp/app/engine_client.h"
#include "mcp/app/engine_options.h"
#include "mcp/app/input.h"
#include "sessions/compression/quality_bench.h"
#include "sessions/compression/quality_tables.h"

namespace kvasir::app {
namespace {

const OptionSpec kText{"text", OptionKind::kText, "FILE", "", "real prose to measure on (needed)"};
const OptionSpec kSpans{"spans", OptionKind::kWhole, "N", "30", "texts of the likelihood table; 0: no table"};
const OptionSpec kDocuments{"documents", OptionKind::kWhole, "N", "12", "documents of the needle table, four needles each"};
const OptionSpec kChats{"chats", OptionKind::kWhole, "N", "12", "chats of the recall table, eight facts each"};
const OptionSpec kPrefix{"prefix-tokens", OptionKind::kWhole, "N", "1024", "tokens of a context, at least 512"};
const OptionSpec kOnly{"only", OptionKind::kText, "NAME", "", "measure one row of the tables only, say kv_quantize"};
const OptionSpec kPlot{"plot", OptionKind::kText, "FILE", "", "also write a plot as SVG"};

Result<uint32_t> bounded(const Options& options, const OptionSpec& spec, uint64_t least, uint64_t most) {
  const uint64_t value = options.whole(spec.name);
  if (value >= least && value <= most) return static_cast<uint32_t>(value);
  return Failure{Code::kInvalidArgument, "--" + std::string(spec.name) + " is between " + std::to_string(least) + " and " +
                                             std::to_string(most)};
}

Result<void> write_plot(const std::string& path, const std::string& svg) {
  std::ofstream file(path, std::ios::binary);
  file << svg;
  file.close();
  if (!file) return Failure{Code::kIo, "cannot write " + path};
  return {};
}

Result<void> run(Context& context) {
  const Options& options = context.options;
  if (!options.has(kText.name)) return Failure{Code::kInvalidArgument, "--text FILE: some real prose, a few hundred KiB"};
  QualityOptions quality;
  quality.text = KVASIR_TRY(read_text_file(options.text(kText.name), kMaxInputBytes));
  quality.spans = KVASIR_TRY(bounded(options, kSpans, 0, 10'000));
  quality.documents = KVASIR_TRY(bounded(options, kDocuments, 0, 10'000));
  quality.chats = KVASIR_TRY(bounded(options, kChats, 0, 10'000));
  quality.prefix_tokens = KVASIR_TRY(bounded(options, kPrefix, 512, 1U << 20));
  if (options.has(kOnly.name)) quality.only = KVASIR_TRY(contender_of(options.text(kOnly.name)));
  const EngineKey key = KVASIR_TRY(resolved_engine_key(context));
  EngineClient client(*context.interrupt);
  Console& console = *context.console;
  const AskEngine engine = [&](CommandBody body) {
    if (context.interrupt->signal() != 0) return Result<Event>(Failure{Code::kCancelled, "interrupted"});
    return client.ask(key, std::move(body), [](const Event&) {});
  };
  const auto report = KVASIR_TRY(measure_quality(engine, quality, [&](const std::string& what) {
    if (console.err_is_terminal()) console.note(what);
  }));
  console.line(to_markdown(report));
  if (!options.has(kPlot.name)) return {};
  return write_plot(options.text(kPlot.name), to_svg(report));
}

}  // namespace

Command bench_compress_command() {
  return {{"bench compress", "what compression costs on a model and a text: tables and a plot",
           engine_options({&kText, &kSpans, &kDocuments, &kChats, &kPrefix, &kOnly, &kPlot}), "", false, false,
           "  kvasir bench compress --text wiki.test.raw --plot compression.svg\n"
           "  kvasir bench compress --text wiki.test.raw --spans 6 --documents 3 --chats 2"},
          run};
}

}  // namespace kvasir::app
