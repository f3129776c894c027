#include "mcp/tools/compress_tool.h"

#include <utility>

#include "mcp/tools/compression_run.h"

namespace kvasir::mcp {
namespace {

struct CompressArgs {
  std::string session_id;
  std::string strategy = "sliding_window";
  std::optional<float> target_ratio;
  std::optional<uint64_t> target_tokens;
  std::optional<std::string> focus;
  std::optional<float> max_quality_loss;
  bool dry_run = false;
};

Result<CompressionRequest> to_request(const CompressArgs& args) {
  CompressionRequest out;
  out.session_id = args.session_id;
  out.strategy_name = args.strategy;
  out.strategy = KVASIR_TRY(strategy_of(args.strategy));
  if (args.focus && out.strategy != Strategy::kAttentionBased) {
    return Failure(Code::kInvalidArgument, "focus goes with strategy attention_based");
  }
  if (args.target_ratio && args.target_tokens) {
    return Failure(Code::kInvalidArgument, "give only one of target_ratio and target_tokens");
  }
  if (out.strategy == Strategy::kKvQuantize && (args.target_ratio || args.target_tokens)) {
    return Failure(Code::kInvalidArgument, "kv_quantize removes no tokens: it keeps old ones at 4 bits");
  }
  out.target_ratio = args.target_ratio;
  out.target_tokens = args.target_tokens;
  out.focus = args.focus;
  out.max_quality_loss = args.max_quality_loss;
  out.dry_run = args.dry_run;
  return out;
}

const FieldTable<CompressArgs>& fields() {
  static const auto table =
      FieldTable<CompressArgs>()
          .add("session_id", &CompressArgs::session_id, "The session.",
               {.max_bytes = 128, .min_bytes = 1, .required = true, .positional = true})
          .add("strategy", &CompressArgs::strategy,
               "sliding_window (default): first and newest tokens stay. attention_based: what focus (else the newest) "
               "looks at. kv_quantize: all stay, old ones at 4 bits. hierarchical: old turns become a summary.",
               {.one_of = {"sliding_window", "attention_based", "hierarchical", "kv_quantize"}})
          .add("target_ratio", &CompressArgs::target_ratio, "Share of the context to remove. Default 0.5.",
               {.minimum = 0.01, .maximum = 0.99})
          .add("target_tokens", &CompressArgs::target_tokens, "Tokens to keep, instead of target_ratio.",
               {.minimum = 32})
          .add("focus", &CompressArgs::focus, "What will be asked (attention_based).", {.max_bytes = 65'536})
          .add("max_quality_loss", &CompressArgs::max_quality_loss,
               "Nats per token that it may cost; above, nothing is changed. Default 0.1.",
               {.minimum = 0, .maximum = 100})
          .add("dry_run", &CompressArgs::dry_run, "Only measure.");
  return table;
}

Json result_schema() {
  return output_schema({
      {"strategy", "string", "What was done"},
      {"tokens_before", "integer", "Tokens"},
      {"tokens_after", "integer", "Tokens that stay"},
      {"ratio", "number", "Share removed"},
      {"bytes_before", "integer", "KV memory"},
      {"bytes_after", "integer", "KV memory that stays"},
      {"ms", "number", "Time"},
      {"dnll", "number", "Nats per token that the newest tokens lost"},
      {"dnll_recency", "number", "The same of sliding_window", false},
      {"kl_mean", "number", "KL divergence"},
      {"kl_p95", "number", "The same, worst 5 %"},
      {"top1_agree", "number", "Share of the same likeliest tokens"},
      {"scored_tokens", "integer", "Tokens compared"},
      {"probes", "object", "Exact things: asked, passed, tried"},
      {"summary", "string", "Of the old turns", false},
      {"verdict", "string", "Kept or refused, and why"},
      {"applied", "boolean", "Whether it was done"},
      {"head", "string", "The last turn now", false},
      {"checkpoint_before", "string", "To take it back", false},
  });
}

}  // namespace

Tool compress_session_tool() {
  Tool tool;
  tool.name = "compress_session";
  tool.title = "Compress a session";
  tool.description =
      "Make a session's context shorter or smaller. Measures the cost first, refuses above max_quality_loss; messages "
      "stay, rewinding to checkpoint_before takes it back.";
  tool.input_schema = fields().schema();
  tool.output_schema = result_schema();
  tool.parse = [](const Json& params) -> Result<ToolRequest> {
    const auto args = KVASIR_TRY(fields().parse(params));
    const auto compression = KVASIR_TRY(to_request(args));
    ToolRequest request;
    request.session = [compression](SessionService& sessions, const std::string& principal, Then<SessionStep> then) {
      sessions.get(principal, compression.session_id,
                   [compression, then = std::move(then)](Result<SessionDetails> details) mutable {
                     if (!details) return then(Failure(std::move(details).error()));
                     then(begin_compression(compression, std::move(*details)));
                   });
    };
    return request;
  };
  tool.result = [](const Event&) -> Result<Json> {
    return Failure(Code::kInternal, "a session tool's answer does not come from the engine");
  };
  return tool;
}

}  // namespace kvasir::mcp
