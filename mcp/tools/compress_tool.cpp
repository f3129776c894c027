#include "mcp/tools/compress_tool.h"

#include <chrono>
#include <memory>
#include <utility>

#include "sessions/compression/quality.h"
#include "sessions/compression/sliding_window.h"
#include "sessions/turn_builder.h"

namespace kvasir::mcp {
namespace {

using Clock = std::chrono::steady_clock;

struct CompressArgs {
  std::string session_id;
  std::string strategy = "sliding_window";
  std::optional<float> target_ratio;
  std::optional<uint64_t> target_tokens;
  std::optional<std::string> focus;
  float max_quality_loss = 0.1F;
  bool dry_run = false;
};

constexpr uint32_t kTop = 64;
constexpr uint64_t kMostScored = 128;
constexpr float kDefaultRatio = 0.5F;

/// One compression under way, from step to step.
struct Work {
  CompressArgs args;
  Clock::time_point started = Clock::now();
  TurnNode node = 0;
  std::vector<TokenId> before, after;
  std::string text;
  uint64_t scored = 0;
  ScoreResult full;
  QualityReport quality;
  Json report;
};
using Shared = std::shared_ptr<Work>;

Result<SessionStep> wrong_event(const Event& event) {
  if (const auto* failed = std::get_if<Failed>(&event)) return Failure{failed->code, failed->message};
  return Failure(Code::kInternal, "the engine answered with another event");
}

SessionStep score_step(const std::vector<TokenId>& tokens, uint64_t scored,
                       std::function<void(const Event&, SessionService&, const std::string&, Then<SessionStep>)> next) {
  ScoreText score;
  score.tokens = tokens;
  score.has_tokens = true;
  score.top = kTop;
  score.score_from = static_cast<uint32_t>(tokens.size() - scored);
  SessionStep step;
  step.ask = std::move(score);
  step.next = std::move(next);
  return step;
}

Result<Shared> begin(const CompressArgs& args, const SessionDetails& details) {
  auto work = std::make_shared<Work>();
  work->args = args;
  work->node = details.session.head;
  work->before = context_tokens(details.turns);
  work->text = context_text(details.turns);
  const uint64_t size = work->before.size();
  const auto kept = static_cast<uint64_t>(static_cast<double>(size) *
                                          (1.0 - static_cast<double>(args.target_ratio.value_or(kDefaultRatio))));
  uint64_t pinned = kAttentionSinks;
  if (!details.turns.empty() && details.turns.front().role == "system") {
    for (const auto& turn : details.turns) {  // the system message's tokens came with the first question's
      if (turn.tokens.empty()) continue;
      pinned = turn.tokens.size();
      break;
    }
  }
  work->after = KVASIR_TRY(keep_window(work->before, args.target_tokens.value_or(kept), pinned));
  work->scored = std::min(kMostScored, work->after.size() / 2);
  return work;
}

void apply(const Shared& work, SessionService& sessions, const std::string& principal, Then<SessionStep> then) {
  CompressedContext context{work->node, work->after, work->text, work->args.strategy};
  sessions.compress(principal, work->args.session_id, std::move(context),
                    [work, then = std::move(then)](Result<CompressedSession> done) mutable {
                      if (!done) return then(Failure(std::move(done).error()));
                      SessionStep step;
                      step.result = std::move(work->report);
                      step.result["applied"] = true;
                      step.result["head"] = done->head;
                      step.result["checkpoint_before"] = done->checkpoint_before;
                      then(std::move(step));
                    });
}

void judge(const Shared& work, const CacheResult& cache, SessionService& sessions, const std::string& principal,
           Then<SessionStep> then) {
  const QualityReport& q = work->quality;
  const auto before = static_cast<double>(work->before.size());
  const auto limit = static_cast<double>(work->args.max_quality_loss);
  const bool refused = q.dnll > limit;
  const std::chrono::duration<double, std::milli> ms = Clock::now() - work->started;
  Json& report = work->report;
  report = Json{{"strategy", work->args.strategy},
                {"tokens_before", work->before.size()},
                {"tokens_after", work->after.size()},
                {"ratio", 1.0 - static_cast<double>(work->after.size()) / before},
                {"bytes_before", work->before.size() * cache.kv_bytes_per_token},
                {"bytes_after", work->after.size() * cache.kv_bytes_per_token},
                {"ms", ms.count()},
                {"dnll", q.dnll},
                {"kl_mean", q.kl_mean},
                {"kl_p95", q.kl_p95},
                {"top1_agree", q.top1_agree},
                {"scored_tokens", q.scored},
                {"probes", {{"asked", 0}, {"passed", 0}}}};
  const std::string loss = std::to_string(q.dnll) + " nats per token, max_quality_loss is " + std::to_string(limit);
  report["verdict"] = (refused ? "refused: it would cost " : "kept: it costs ") + loss;
  report["applied"] = false;
  if (!refused && !work->args.dry_run) return apply(work, sessions, principal, std::move(then));
  SessionStep step;
  step.result = std::move(report);
  then(std::move(step));
}

/// Full context, compressed context, sizes, verdict: each step asks the engine and goes on with its answer.
SessionStep first_step(const Shared& work) {
  const auto sizes = [work](const Event& event, SessionService& sessions, const std::string& principal,
                            Then<SessionStep> then) {
    const auto* cache = std::get_if<CacheResult>(&event);
    if (cache == nullptr) return then(wrong_event(event));
    judge(work, *cache, sessions, principal, std::move(then));
  };
  const auto compressed = [work, sizes](const Event& event, SessionService&, const std::string&,
                                        Then<SessionStep> then) {
    const auto* score = std::get_if<ScoreResult>(&event);
    if (score == nullptr) return then(wrong_event(event));
    auto quality = compare_scores(work->full, *score);
    if (!quality) return then(Failure(quality.error()));
    work->quality = *quality;
    SessionStep step;
    step.ask = ProbeCache{};
    step.next = sizes;
    then(std::move(step));
  };
  const auto full = [work, compressed](const Event& event, SessionService&, const std::string&,
                                       Then<SessionStep> then) {
    const auto* score = std::get_if<ScoreResult>(&event);
    if (score == nullptr) return then(wrong_event(event));
    work->full = *score;
    then(score_step(work->after, work->scored, compressed));
  };
  return score_step(work->before, work->scored, full);
}

Result<void> check(const CompressArgs& args) {
  if (args.strategy != "sliding_window") {
    return Failure(Code::kUnsupported,
                   "strategy " + args.strategy + " is not available in this build; use sliding_window");
  }
  if (args.focus) return Failure(Code::kInvalidArgument, "focus goes with strategy attention_based");
  if (args.target_ratio && args.target_tokens) {
    return Failure(Code::kInvalidArgument, "give only one of target_ratio and target_tokens");
  }
  return {};
}

const FieldTable<CompressArgs>& fields() {
  static const auto table =
      FieldTable<CompressArgs>()
          .add("session_id", &CompressArgs::session_id, "The session.",
               {.max_bytes = 128, .min_bytes = 1, .required = true, .positional = true})
          .add("strategy", &CompressArgs::strategy, "sliding_window (default): first tokens and newest ones stay.",
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

}  // namespace

Tool compress_session_tool() {
  Tool tool;
  tool.name = "compress_session";
  tool.title = "Compress a session";
  tool.description =
      "Make a session's context shorter. Measures what that costs first and refuses above max_quality_loss; the "
      "messages "
      "stay, and rewinding to checkpoint_before takes it back.";
  tool.input_schema = fields().schema();
  tool.output_schema = output_schema({
      {"strategy", "string", "What was done"},
      {"tokens_before", "integer", "Tokens of context"},
      {"tokens_after", "integer", "Tokens that stay"},
      {"ratio", "number", "Share removed"},
      {"bytes_before", "integer", "KV memory"},
      {"bytes_after", "integer", "KV memory that stays"},
      {"ms", "number", "Time it took"},
      {"dnll", "number", "Nats per token that the newest tokens became less likely"},
      {"kl_mean", "number", "Divergence of the predictions"},
      {"kl_p95", "number", "The same, worst 5 %"},
      {"top1_agree", "number", "Share of positions with the same likeliest token"},
      {"scored_tokens", "integer", "Tokens that were compared"},
      {"probes", "object", "asked, passed"},
      {"verdict", "string", "Kept or refused, and why"},
      {"applied", "boolean", "Whether the session is compressed now"},
      {"head", "string", "The last turn now", false},
      {"checkpoint_before", "string", "Rewind or restore to it to take it back", false},
  });
  tool.parse = [](const Json& params) -> Result<ToolRequest> {
    const auto args = KVASIR_TRY(fields().parse(params));
    KVASIR_TRY(check(args));
    ToolRequest request;
    request.session = [args](SessionService& sessions, const std::string& principal, Then<SessionStep> then) {
      sessions.get(principal, args.session_id, [args, then = std::move(then)](Result<SessionDetails> details) mutable {
        if (!details) return then(Failure(std::move(details).error()));
        auto work = begin(args, *details);
        if (!work) return then(Failure(work.error()));
        then(first_step(*work));
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
