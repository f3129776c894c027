#include "mcp/tools/compression_run.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <utility>

#include "sessions/compression/probes.h"
#include "sessions/compression/summary.h"
#include "sessions/turn_builder.h"

namespace kvasir::mcp {
namespace {

using Clock = std::chrono::steady_clock;
using Next = std::function<void(const Event&, SessionService&, const std::string&, Then<SessionStep>)>;

constexpr size_t kMostProbes = 4, kSparedTurns = 2;
constexpr uint32_t kProbeTokens = 24;
constexpr double kDefaultRatio = 0.5;
constexpr uint64_t kSmallestPart = 256;  // tokens that are summarised at once, at least
constexpr size_t kMostScored = 128, kFewestScored = 4;

class CompressionRun : public std::enable_shared_from_this<CompressionRun> {
 public:
  CompressionRun(CompressionRequest request, SessionDetails details)
      : request_(std::move(request)), details_(std::move(details)) {}

  Result<SessionStep> begin() {
    before_ = KVASIR_TRY(session_context(details_.turns));
    if (before_.tokens.empty()) return Failure{Code::kInvalidArgument, "there is nothing to compress yet: say something first"};
    const auto size = static_cast<double>(before_.tokens.size());
    CompressionAim aim{.strategy = request_.strategy, .pinned = system_tokens(), .focused = request_.focus.has_value()};
    aim.target_tokens = request_.target_tokens.value_or(
        static_cast<uint64_t>(size * (1.0 - request_.target_ratio.value_or(kDefaultRatio))));
    if (request_.strategy == Strategy::kHierarchical) {
      summary_plan_ = KVASIR_TRY(plan_summary(details_.turns, aim.target_tokens, std::max(kSmallestPart, before_.tokens.size() * 3 / 4)));
      return next_summary();
    }
    plan_ = KVASIR_TRY(plan_compression(aim, before_));
    return ask(choice(plan_.choice), &CompressionRun::on_chosen);
  }

 private:
  using Method = void (CompressionRun::*)(const Event&, Then<SessionStep>);

  SessionStep ask(CommandBody body, Method method) {
    SessionStep step;
    step.ask = std::move(body);
    step.next = [self = shared_from_this(), method](const Event& event, SessionService& sessions,
                                                    const std::string& principal, Then<SessionStep> then) {
      if (const auto* failed = std::get_if<Failed>(&event)) return then(Failure{failed->code, failed->message});
      self->sessions_ = &sessions;
      self->principal_ = principal;
      (self.get()->*method)(event, std::move(then));
    };
    return step;
  }
  static void wrong(Then<SessionStep>& then) { then(Failure{Code::kInternal, "the engine answered with another event"}); }

  /// The system message's tokens came with the first question's.
  uint64_t system_tokens() const {
    if (!before_.stages.empty() || details_.turns.empty() || details_.turns.front().role != "system") return 0;
    uint64_t bytes = 0, tokens = 0;
    for (const Turn& turn : details_.turns) {
      bytes += turn.content.size();
      if (turn.tokens.empty()) continue;
      tokens = turn.tokens.size();
      break;
    }
    return bytes == 0 ? 0 : tokens * details_.turns.front().content.size() / bytes;
  }

  Prompt prompt(const SessionContext& context) const {
    Prompt out;
    out.kind = Prompt::Kind::kTokens;
    out.in_session = true;
    out.history_tokens = context.tokens;
    out.history_stages = context.stages;
    out.history_text = context_text(details_.turns);
    out.history_model = details_.session.fingerprint;
    return out;
  }
  /// The same with a question behind it.
  Prompt question(const SessionContext& context, const std::string& text) const {
    Prompt out = prompt(context);
    out.kind = Prompt::Kind::kMessages;
    out.messages = conversation(details_.turns);
    out.messages.push_back({"user", text, {}});
    return out;
  }

  CompressContext choice(const RowChoice& rows) const {
    CompressContext out;
    out.prompt = request_.focus ? question(before_, *request_.focus) : prompt(before_);
    out.choice = rows;
    out.aged = plan_.aged;
    out.cache_owner = request_.session_id;
    return out;
  }
  CompareContexts comparison(const SessionContext& other) const {
    return {.full = {before_.stages, before_.tokens}, .other = {other.stages, other.tokens}, .scored = plan_.scored,
            .cache_salt = {}, .cache_owner = request_.session_id};
  }
  SessionContext behind(const CompressResult& result) const {
    SessionContext out = before_;
    const auto rest = before_.tokens.begin() + result.edit.source_tokens;
    out.stages.push_back({{before_.tokens.begin(), rest}, result.edit});
    out.tokens = result.kept;
    out.tokens.insert(out.tokens.end(), rest, before_.tokens.end());
    return out;
  }

  SessionStep next_summary() {
    return ask(summary_request(summary_plan_.old[summaries_.size()], summary_plan_.summary_tokens), &CompressionRun::on_summary);
  }
  void on_summary(const Event& event, Then<SessionStep> then) {
    const auto* result = std::get_if<GenerateResult>(&event);
    if (result == nullptr) return wrong(then);
    if (result->text.empty()) return then(Failure{Code::kUnavailable, "the model wrote no summary: nothing was changed"});
    summaries_.push_back(result->text);
    if (summaries_.size() < summary_plan_.old.size()) return then(next_summary());
    summary_ = summary_text(summary_plan_, summaries_);
    Generate rendered;
    rendered.prompt.messages = summarised(summary_plan_, summary_);
    rendered.prompt.in_session = true;
    rendered.max_tokens = 0;
    then(ask(std::move(rendered), &CompressionRun::on_summarised));
  }
  /// The prompt that the shorter conversation makes, and behind it the last answer as it is.
  void on_summarised(const Event& event, Then<SessionStep> then) {
    const auto* result = std::get_if<GenerateResult>(&event);
    if (result == nullptr) return wrong(then);
    after_ = {.stages = {}, .tokens = result->context_tokens};
    after_.tokens.insert(after_.tokens.end(), summary_plan_.last_answer.begin(), summary_plan_.last_answer.end());
    const auto same = std::mismatch(before_.tokens.rbegin(), before_.tokens.rend(), after_.tokens.rbegin(), after_.tokens.rend());
    const auto common = static_cast<size_t>(same.first - before_.tokens.rbegin());
    const size_t base = before_.stages.empty() ? 0 : before_.stages.back().edit.kept_tokens;
    const size_t most = std::min({kMostScored, before_.tokens.size() - base - 1, after_.tokens.size() - 1});
    if (after_.tokens.size() >= before_.tokens.size()) {
      return then(Failure{Code::kInvalidArgument, "a summary would not be shorter: " + std::to_string(before_.tokens.size()) +
                                                      " tokens would become " + std::to_string(after_.tokens.size())});
    }
    plan_.scored = static_cast<uint32_t>(std::min(most, common));
    if (plan_.scored < kFewestScored) {
      return then(Failure{Code::kInvalidArgument, "the last answer is too short to measure what a summary costs: say something first"});
    }
    then(ask(comparison(after_), &CompressionRun::on_compared));
  }

  void on_chosen(const Event& event, Then<SessionStep> then) {
    const auto* result = std::get_if<CompressResult>(&event);
    if (result == nullptr) return wrong(then);
    chosen_ = *result;
    after_ = behind(chosen_);
    then(ask(comparison(after_), &CompressionRun::on_compared));
  }
  void on_compared(const Event& event, Then<SessionStep> then) {
    const auto* result = std::get_if<CompareResult>(&event);
    if (result == nullptr) return wrong(then);
    quality_ = *result;
    if (request_.strategy != Strategy::kAttentionBased || request_.focus || !request_.judge) return probe(std::move(then));
    RowChoice recency = plan_.choice;  // what a scorer that does not know the question has to beat
    recency.rule = KeepRule::kWindow;
    then(ask(choice(recency), &CompressionRun::on_recency_chosen));
  }
  void on_recency_chosen(const Event& event, Then<SessionStep> then) {
    const auto* result = std::get_if<CompressResult>(&event);
    if (result == nullptr) return wrong(then);
    then(ask(comparison(behind(*result)), &CompressionRun::on_recency_compared));
  }
  void on_recency_compared(const Event& event, Then<SessionStep> then) {
    const auto* result = std::get_if<CompareResult>(&event);
    if (result == nullptr) return wrong(then);
    recency_ = loss(*result);
    probe(std::move(then));
  }

  static double loss(const CompareResult& quality) {
    return quality.scored > 0 ? (quality.nll_other - quality.nll_full) / static_cast<double>(quality.scored) : 0.0;
  }

  void probe(Then<SessionStep> then) {
    if (request_.judge) probes_ = make_probes(details_.turns, kSparedTurns, kMostProbes);
    next_probe(std::move(then));
  }
  void next_probe(Then<SessionStep> then) {
    if (probed_ == probes_.size()) return then(ask(sizes(), &CompressionRun::on_sizes));
    then(ask(answer_to(before_), &CompressionRun::on_full_answer));
  }
  Generate answer_to(const SessionContext& context) const {
    Generate out;
    out.prompt = question(context, probes_[probed_].question);
    out.max_tokens = kProbeTokens;
    out.sampling.temperature = 0.0F;
    return out;
  }
  bool right(const Event& event) const {
    const auto* result = std::get_if<GenerateResult>(&event);
    return result != nullptr && result->text.find(probes_[probed_].answer) != std::string::npos;
  }
  void on_full_answer(const Event& event, Then<SessionStep> then) {
    if (right(event)) {
      ++asked_;
      return then(ask(answer_to(after_), &CompressionRun::on_answer));
    }
    ++probed_;  // what the whole context does not know, nobody can forget
    next_probe(std::move(then));
  }
  void on_answer(const Event& event, Then<SessionStep> then) {
    passed_ += right(event) ? 1 : 0;
    ++probed_;
    next_probe(std::move(then));
  }

  ProbeCache sizes() const {
    ProbeCache out;
    out.tokens = after_.tokens;
    out.stages = after_.stages;
    return out;
  }
  void on_sizes(const Event& event, Then<SessionStep> then) {
    const auto* cache = std::get_if<CacheResult>(&event);
    if (cache == nullptr) return wrong(then);
    write_report(cache->kv_bytes_per_token);
    if (refused_ || request_.dry_run) return end(std::move(then));
    CompressedContext context{.node = details_.session.head, .edit = chosen_.edit, .tokens = {}, .text = {},
                              .strategy = request_.strategy_name};
    if (request_.strategy == Strategy::kHierarchical) {
      context.edit.reset();
      context.tokens = after_.tokens;
      context.text = context_text(details_.turns);
      context.strategy += "\n" + summary_;
    }
    sessions_->compress(principal_, request_.session_id, std::move(context),
                        [self = shared_from_this(), then = std::move(then)](Result<CompressedSession> done) mutable {
                          if (!done) return then(Failure(std::move(done).error()));
                          self->report_["applied"] = true;
                          self->report_["head"] = done->head;
                          self->report_["checkpoint_before"] = done->checkpoint_before;
                          then(self->warm());
                        });
  }
  /// Computes what follows the kept rows, so that the next turn starts at once, and keeps the pages for a restart.
  SessionStep warm() {
    Generate generate;
    generate.prompt = prompt(after_);
    generate.max_tokens = 0;
    generate.cache_owner = request_.session_id;
    SessionStep step;
    step.ask = std::move(generate);
    step.result = std::move(report_);
    step.merge = [](Json&, const Event&) {};
    return step;
  }
  void end(Then<SessionStep> then) {
    SessionStep step;
    step.result = std::move(report_);
    then(std::move(step));
  }

  std::string verdict() {
    const double dnll = loss(quality_), limit = request_.max_quality_loss.value_or(kDefaultQualityLoss);
    char cost[120];
    std::snprintf(cost, sizeof cost, "%.4f nats per token, max_quality_loss is %.4f", dnll, limit);
    if (!request_.judge) return "kept: it costs " + std::string(cost).substr(0, std::string(cost).find(','));
    refused_ = dnll > limit;
    if (refused_) return "refused: it would cost " + std::string(cost);
    if (recency_ && dnll > *recency_) {
      char worse[120];
      std::snprintf(worse, sizeof worse, "the newest tokens alone (sliding_window) cost %.4f, this costs %.4f", *recency_, dnll);
      refused_ = !request_.max_quality_loss;
      return std::string(refused_ ? "refused: " : "kept, though ") + worse + "; give focus if you know what will be asked";
    }
    if (passed_ < asked_ && !request_.max_quality_loss) {
      refused_ = true;
      return "refused: " + std::to_string(asked_ - passed_) + " of " + std::to_string(asked_) +
             " exact things that the whole context knows would be forgotten; give max_quality_loss to do it anyway";
    }
    return "kept: it costs " + std::string(cost);
  }

  void write_report(uint64_t bytes_per_token) {
    const std::chrono::duration<double, std::milli> ms = Clock::now() - started_;
    const uint64_t after = after_.tokens.size(), before = before_.tokens.size();
    const ContextEdit& edit = chosen_.edit;
    report_ = Json{{"strategy", request_.strategy_name},
                   {"tokens_before", before},
                   {"tokens_after", after},
                   {"ratio", 1.0 - static_cast<double>(after) / static_cast<double>(before)},
                   {"bytes_before", chosen_.source_bytes + (before - edit.source_tokens) * bytes_per_token},
                   {"bytes_after", chosen_.kept_bytes + (after - edit.kept_tokens) * bytes_per_token},
                   {"ms", ms.count()},
                   {"dnll", loss(quality_)},
                   {"kl_mean", quality_.kl_mean},
                   {"kl_p95", quality_.kl_p95},
                   {"top1_agree", quality_.top1_agree},
                   {"scored_tokens", quality_.scored},
                   {"probes", {{"asked", asked_}, {"passed", passed_}, {"tried", probes_.size()}}}};
    if (recency_) report_["dnll_recency"] = *recency_;
    if (!summary_.empty()) report_["summary"] = summary_;
    report_["verdict"] = verdict();
    report_["applied"] = false;
  }

  CompressionRequest request_;
  SessionDetails details_;
  Clock::time_point started_ = Clock::now();
  SessionContext before_, after_;
  SummaryPlan summary_plan_;
  std::vector<std::string> summaries_;
  std::string summary_;
  CompressionPlan plan_;
  CompressResult chosen_;
  CompareResult quality_;
  std::optional<double> recency_;
  std::vector<KnownAnswer> probes_;
  size_t probed_ = 0, asked_ = 0, passed_ = 0;
  bool refused_ = false;
  Json report_;
  SessionService* sessions_ = nullptr;  // of the call that runs this, set with each event
  std::string principal_;
};

}  // namespace

Result<SessionStep> begin_compression(CompressionRequest request, SessionDetails details) {
  return std::make_shared<CompressionRun>(std::move(request), std::move(details))->begin();
}

}  // namespace kvasir::mcp
