#include "mcp/app/store_options.h"

#include <iterator>

#include "mcp/app/engine_options.h"

namespace kvasir::app {
namespace {

const OptionSpec kAutosave{"autosave-tokens", OptionKind::kWhole, "N", "256",
                           "keep what there is of a session's answer after every N tokens of it; 0: whole answers only"};
constexpr uint64_t kMostAutosave = 1'000'000;

const std::vector<const OptionSpec*>& store_options() {
  static const std::vector<const OptionSpec*> all{&kAutosave};
  return all;
}

}  // namespace

std::vector<const OptionSpec*> server_options(std::vector<const OptionSpec*> more) {
  more.insert(more.begin(), store_options().begin(), store_options().end());
  return serving_options(std::move(more));
}

Result<StoreSettings> store_settings(const Options& options) {
  StoreSettings out;
  const uint64_t autosave = options.whole(kAutosave.name);
  if (autosave > kMostAutosave) return Failure{Code::kInvalidArgument, "--autosave-tokens: at most 1000000"};
  out.autosave_tokens = static_cast<uint32_t>(autosave);
  return out;
}

void append_store_flags(const Options& options, std::vector<std::string>& command) {
  for (const OptionSpec* spec : store_options()) {
    if (options.origin(spec->name) != Origin::kFlag) continue;
    command.push_back("--" + std::string(spec->name));
    command.push_back(options.text(spec->name));
  }
}

}  // namespace kvasir::app
