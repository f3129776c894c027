#include "mcp/app/store_options.h"

#include <algorithm>

#include "mcp/app/engine_options.h"

namespace kvasir::app {
namespace {

const OptionSpec kAutosave{"autosave-tokens", OptionKind::kWhole, "N", "256",
                           "keep what there is of a session's answer after every N tokens of it; 0: whole answers only"};
const OptionSpec kConversationQuota{"quota-conversation-mb", OptionKind::kWhole, "MB", "1024",
                                    "most that one principal's stored conversations may take; more is refused"};
const OptionSpec kKvQuota{"quota-kv-mb", OptionKind::kWhole, "MB", "4096",
                          "most that the KV of one principal's sessions may take on disk; its oldest makes room"};
constexpr uint64_t kMostAutosave = 1'000'000;
constexpr uint64_t kMostQuota = 1u << 30;  // a petabyte: products stay far from 2^64

const std::vector<const OptionSpec*>& store_options() {
  static const std::vector<const OptionSpec*> all{&kAutosave, &kConversationQuota, &kKvQuota};
  return all;
}

Result<uint64_t> megabytes(const Options& options, const OptionSpec& spec) {
  const uint64_t value = options.whole(spec.name);
  if (value == 0 || value > kMostQuota) {
    return Failure{Code::kInvalidArgument, "--" + std::string(spec.name) + ": from 1 to " + std::to_string(kMostQuota)};
  }
  return value << 20;
}

Result<void> read_quotas(const Options& options, StoreSettings& out) {
  out.sessions.max_bytes_per_principal = KVASIR_TRY(megabytes(options, kConversationQuota));
  out.blocks.max_bytes_per_principal = KVASIR_TRY(megabytes(options, kKvQuota));
  out.blocks.max_bytes = std::max(out.blocks.max_bytes, out.blocks.max_bytes_per_principal);
  return {};
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
  KVASIR_TRY(read_quotas(options, out));
  return out;
}

std::vector<const OptionSpec*> quota_options() {
  return {&kConversationQuota, &kKvQuota};
}

Result<StoreSettings> quota_settings(const Options& options) {
  StoreSettings out;
  KVASIR_TRY(read_quotas(options, out));
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
