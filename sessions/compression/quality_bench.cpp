#include "sessions/compression/quality_bench.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "sessions/compression/scripted_chat.h"
#include "sessions/compression/summary.h"
#include "sessions/turn_builder.h"

namespace kvasir {
namespace {

constexpr uint32_t kAsking = 64;          // newest rows whose attention decides where no question is known
constexpr uint32_t kRecent = 192, kRecentFocused = 32, kPinned = kAttentionSinks;
constexpr uint32_t kNeedles = 4;
constexpr uint32_t kAnswerTokens = 12;

/// A context, and what follows it or asks about it.
struct Task {
  std::vector<TokenId> context;
  std::vector<TokenId> behind;
};
/// Another conversation in the place of a context.
struct Alternative {
  Contender who;
  double ratio;  ///< shorter by this share
  Task task;
};

class Bench {
 public:
  Bench(const AskEngine& engine, const QualityOptions& options, const QualityProgress& progress)
      : engine_(engine), options_(options), progress_(progress) {}

  Result<QualityReport> run() {
    tokens_ = KVASIR_TRY(tokenise(options_.text));
    const uint64_t needed = uint64_t{options_.spans} * (options_.prefix_tokens + options_.next_tokens) +
                            uint64_t{options_.documents} * options_.prefix_tokens;
    if (tokens_.size() < needed) {
      return Failure{Code::kInvalidArgument, "the text has " + std::to_string(tokens_.size()) + " tokens, " +
                                                 std::to_string(needed) + " are needed: take a longer one or fewer spans"};
    }
    QualityReport report;
    report.likelihood = KVASIR_TRY(likelihood());
    report.needles = KVASIR_TRY(needles());
    report.chats = KVASIR_TRY(chats());
    return report;
  }

 private:
  template <class T>
  Result<T> ask(CommandBody body) {
    Event event = KVASIR_TRY(engine_(std::move(body)));
    if (auto* result = std::get_if<T>(&event)) return std::move(*result);
    return Failure{Code::kInternal, "the engine answered with another event"};
  }
  Result<std::vector<TokenId>> tokenise(const std::string& text) {
    Tokenize command;
    command.text = text;
    return KVASIR_TRY(ask<TokenizeResult>(std::move(command))).tokens;
  }
  void say(const std::string& what) const {
    if (progress_) progress_(what);
  }

  /// Rows of `context` that a contender keeps, or nothing if it does not shorten.
  std::optional<RowChoice> choice(Contender who, double ratio, uint32_t size, uint64_t seed) const {
    // Where the newest rows ask, they are not asked about.
    const uint32_t source = who == Contender::kFocused ? size : size - kAsking;
    const double wanted = (1.0 - ratio) * size - (size - source);
    const uint32_t kept = std::max(1U, static_cast<uint32_t>(wanted / kPageTokens + 0.5)) * kPageTokens;
    if (who == Contender::kQuantized) {
      const uint32_t old = (size - 128) / kPageTokens * kPageTokens;
      return RowChoice{.rule = KeepRule::kAll, .source_tokens = old, .kept_tokens = old};
    }
    if (kept >= source) return std::nullopt;
    const KeepRule rule = who == Contender::kWindow ? KeepRule::kWindow : who == Contender::kRandom ? KeepRule::kRandom : KeepRule::kAttention;
    const uint32_t recent = who == Contender::kFocused ? kRecentFocused : who == Contender::kRandom ? 0 : kRecent;
    return RowChoice{.rule = rule, .source_tokens = source, .kept_tokens = kept, .pinned = kPinned,
                     .recent = std::min(recent, kept / 2), .seed = seed, .in_place = true};
  }

  /// The context as a contender leaves it. kFocused: `question` asks.
  Result<SessionContext> shorten(Contender who, const RowChoice& rows, const std::vector<TokenId>& context,
                                 const std::vector<TokenId>& question) {
    CompressContext command;
    command.prompt.kind = Prompt::Kind::kTokens;
    command.prompt.in_session = true;
    command.prompt.history_tokens = context;
    if (who == Contender::kFocused) {
      command.prompt.history_tokens.insert(command.prompt.history_tokens.end(), question.begin(), question.end());
    }
    command.choice = rows;
    command.aged = who == Contender::kQuantized;
    const auto result = KVASIR_TRY(ask<CompressResult>(std::move(command)));
    const auto rest = context.begin() + rows.source_tokens;
    SessionContext out{.stages = {{{context.begin(), rest}, result.edit}}, .tokens = result.kept};
    out.tokens.insert(out.tokens.end(), rest, context.end());
    return out;
  }

  struct Cell {
    Contender who;
    double ratio;
  };
  std::vector<Cell> cells(bool focused) const {
    std::vector<Cell> out = {{Contender::kQuantized, 0}};
    for (const double ratio : options_.ratios) {
      for (const Contender who : {Contender::kWindow, Contender::kRandom, Contender::kAttention}) out.push_back({who, ratio});
      if (focused) out.push_back({Contender::kFocused, ratio});
    }
    std::erase_if(out, [&](const Cell& cell) { return options_.only && cell.who != *options_.only; });
    return out;
  }
  double removed(const RowChoice& rows, size_t size) const {
    return static_cast<double>(rows.source_tokens - rows.kept_tokens) / static_cast<double>(size);
  }

  Result<CompareResult> compare(const std::vector<TokenId>& full, SessionContext other, const std::vector<TokenId>& next) {
    CompareContexts command;
    command.full.tokens = full;
    command.full.tokens.insert(command.full.tokens.end(), next.begin(), next.end());
    other.tokens.insert(other.tokens.end(), next.begin(), next.end());
    command.other = {std::move(other.stages), std::move(other.tokens)};
    command.scored = static_cast<uint32_t>(next.size()) - 1;
    return ask<CompareResult>(std::move(command));
  }

  Result<std::vector<LikelihoodRow>> likelihood() {
    const std::vector<Cell> all = cells(false);
    std::vector<LikelihoodRow> rows(all.size());
    for (uint32_t span = 0; span < options_.spans; ++span) {
      say("likelihood: text " + std::to_string(span + 1) + " of " + std::to_string(options_.spans));
      const auto begin = tokens_.begin() + static_cast<std::ptrdiff_t>(span) * (options_.prefix_tokens + options_.next_tokens);
      const std::vector<TokenId> prefix(begin, begin + options_.prefix_tokens);
      const std::vector<TokenId> next(begin + options_.prefix_tokens, begin + options_.prefix_tokens + options_.next_tokens);
      const auto none = KVASIR_TRY(compare(prefix, {.stages = {}, .tokens = {prefix.back()}}, next));
      for (size_t i = 0; i < all.size(); ++i) {
        const auto choice = this->choice(all[i].who, all[i].ratio, options_.prefix_tokens, options_.seed + span);
        if (!choice) continue;
        auto shorter = KVASIR_TRY(shorten(all[i].who, *choice, prefix, {}));
        const auto result = KVASIR_TRY(compare(prefix, std::move(shorter), next));
        const auto scored = static_cast<double>(result.scored);
        rows[i].who = all[i].who;
        rows[i].ratio = removed(*choice, prefix.size());
        rows[i].nll.push_back(result.nll_other / scored);
        rows[i].nll_full.push_back(result.nll_full / scored);
        rows[i].nll_none.push_back(none.nll_other / scored);
        rows[i].kl.push_back(result.kl_mean);
        rows[i].agree.push_back(result.top1_agree);
      }
    }
    std::erase_if(rows, [](const LikelihoodRow& row) { return row.nll.empty(); });
    return rows;
  }

  Result<std::string> answer(SessionContext context, const std::vector<TokenId>& question) {
    Generate command;
    command.prompt.kind = Prompt::Kind::kTokens;
    command.prompt.in_session = true;
    command.prompt.history_stages = std::move(context.stages);
    command.prompt.history_tokens = std::move(context.tokens);
    command.prompt.history_tokens.insert(command.prompt.history_tokens.end(), question.begin(), question.end());
    command.max_tokens = kAnswerTokens;
    command.sampling.temperature = 0.0F;
    return KVASIR_TRY(ask<GenerateResult>(std::move(command))).text;
  }

  /// One question to everybody; `part` is where it counts.
  Result<void> examine(const Task& task, const std::string& truth, size_t part, RecallTable& table,
                       std::vector<Alternative> alternatives = {}) {
    ++table.asked;
    const auto full = KVASIR_TRY(answer({.stages = {}, .tokens = task.context}, task.behind));
    const auto size = static_cast<uint32_t>(task.context.size());
    if (!answers(full, truth)) {
      auto aged = KVASIR_TRY(shorten(Contender::kQuantized, *choice(Contender::kQuantized, 0, size, 0), task.context, {}));
      table.only_quantized += answers(KVASIR_TRY(answer(std::move(aged), task.behind)), truth) ? 1 : 0;
      return {};
    }
    ++table.right_full;
    const std::vector<Cell> all = cells(true);
    table.rows.resize(all.size() + alternatives.size());
    const auto count = [&](RecallRow& row, Contender who, double ratio, const std::string& text) {
      const bool right = answers(text, truth);
      row.who = who;
      row.ratio += (ratio - row.ratio) / static_cast<double>(++row.asked);  // alternatives differ in length: the mean
      row.by_part.resize(table.parts.size());
      ++row.by_part[part].first;
      row.right += right ? 1 : 0;
      row.by_part[part].second += right ? 1 : 0;
    };
    for (size_t i = 0; i < alternatives.size(); ++i) {
      auto& [who, ratio, other] = alternatives[i];
      count(table.rows[all.size() + i], who, ratio, KVASIR_TRY(answer({.stages = {}, .tokens = other.context}, other.behind)));
    }
    for (size_t i = 0; i < all.size(); ++i) {
      const auto choice = this->choice(all[i].who, all[i].ratio, size, options_.seed + table.asked);
      if (!choice) continue;
      auto shorter = KVASIR_TRY(shorten(all[i].who, *choice, task.context, task.behind));
      count(table.rows[i], all[i].who, all[i].who == Contender::kQuantized ? 0 : removed(*choice, size),
            KVASIR_TRY(answer(std::move(shorter), task.behind)));
    }
    return {};
  }

  Result<RecallTable> needles() {
    static constexpr std::array kNames = {"Arvid", "Berta", "Cecil", "Dagny", "Edvin", "Frida", "Gustav", "Hilma",
                                          "Ivar",  "Jorun", "Knut",  "Linnea", "Magnus", "Nanna", "Olaf", "Petra"};
    RecallTable table;
    table.parts = {"0-25 %", "25-50 %", "50-75 %", "75-100 %"};
    Numbers numbers{options_.seed};
    size_t at = size_t{options_.spans} * (options_.prefix_tokens + options_.next_tokens);
    for (uint32_t document = 0; document < options_.documents; ++document) {
      say("needles: document " + std::to_string(document + 1) + " of " + std::to_string(options_.documents));
      std::vector<std::pair<std::string, std::string>> facts;
      Task task;
      const uint32_t part = (options_.prefix_tokens - kNeedles * 20) / kNeedles;
      for (uint32_t i = 0; i < kNeedles; ++i) {
        const std::string name = kNames[(document * kNeedles + i) % kNames.size()];
        const std::string number = std::to_string(1000 + numbers.below(9000));
        const auto needle = KVASIR_TRY(tokenise("\nThe secret number of " + name + " is " + number + ".\n"));
        const auto where = static_cast<uint32_t>(numbers.below(part));
        const auto text = tokens_.begin() + static_cast<std::ptrdiff_t>(at);
        task.context.insert(task.context.end(), text, text + where);
        task.context.insert(task.context.end(), needle.begin(), needle.end());
        task.context.insert(task.context.end(), text + where, text + part);
        at += part;
        facts.emplace_back(name, number);
      }
      for (size_t i = 0; i < facts.size(); ++i) {
        task.behind = KVASIR_TRY(tokenise("\nQuestion: What is the secret number of " + facts[i].first +
                                           "?\nAnswer: The secret number of " + facts[i].first + " is"));
        KVASIR_TRY(examine(task, facts[i].second, i, table));
      }
    }
    return table;
  }

  /// The ids of a conversation as the chat template writes it, the question behind them, and where it begins.
  Result<Task> chat_task(const std::vector<ChatMessage>& messages, const std::string& question) {
    Generate first;
    first.prompt.messages = messages;
    first.prompt.in_session = true;
    first.max_tokens = 0;
    const auto whole = KVASIR_TRY(ask<GenerateResult>(first));
    Generate second;
    second.prompt.messages = messages;
    second.prompt.messages.push_back({"user", question, {}});
    second.prompt.in_session = true;
    second.max_tokens = 0;
    const auto asked = KVASIR_TRY(ask<GenerateResult>(second));
    const auto same = std::ranges::mismatch(whole.context_tokens, asked.context_tokens).in2 - asked.context_tokens.begin();
    Task task;
    task.context.assign(asked.context_tokens.begin(), asked.context_tokens.begin() + same);
    task.behind.assign(asked.context_tokens.begin() + same, asked.context_tokens.end());
    return task;
  }

  /// The ids of a chat with the question behind it and the beginning of its answer, which names what is asked for.
  Result<Task> fact_task(const std::vector<ChatMessage>& messages, const std::string& question, const ChatFact& fact) {
    Task task = KVASIR_TRY(chat_task(messages, question));
    const auto lead = KVASIR_TRY(tokenise(fact.lead));
    task.behind.insert(task.behind.end(), lead.begin(), lead.end());
    return task;
  }

  /// Strategy `hierarchical` with the model's summaries, and what each of its parts adds.
  Result<std::vector<Alternative>> summaries(const ScriptedChat& chat, const ChatFact& fact, const std::string& summary,
                                             const SummaryPlan& plan, size_t size) {
    std::vector<Alternative> out;
    for (const Contender who : {Contender::kSummary, Contender::kIndexed, Contender::kSearched}) {
      const std::string text = who == Contender::kSummary ? summary.substr(0, summary.find(kIndexBegins)) : summary;
      std::vector<ChatMessage> messages = summarised(plan, text);
      messages.push_back(chat.messages.back());
      std::string question = fact.asked;
      if (who == Contender::kSearched) {
        for (const FoundTurn& found : search_turns(chat.turns, fact.words, 1)) {
          question = "Earlier we said: \"" + found.excerpt + "\"\n" + question;
        }
      }
      Alternative other{.who = who, .ratio = 0, .task = KVASIR_TRY(fact_task(messages, question, fact))};
      other.ratio = 1.0 - static_cast<double>(other.task.context.size()) / static_cast<double>(size);
      out.push_back(std::move(other));
    }
    return out;
  }

  Result<RecallTable> chats() {
    RecallTable table;
    table.parts = {"numbers", "artifacts", "preferences", "decisions"};
    for (uint32_t number = 0; number < options_.chats; ++number) {
      say("recall: chat " + std::to_string(number + 1) + " of " + std::to_string(options_.chats));
      const ScriptedChat chat = scripted_chat(options_.seed * 1000 + number);
      const auto whole = KVASIR_TRY(chat_task(chat.messages, "?"));
      const uint64_t target = whole.context.size() / 2;
      const auto plan = KVASIR_TRY(plan_summary(chat.turns, target, whole.context.size()));
      std::vector<std::string> texts;
      for (const auto& part : plan.old) {
        texts.push_back(KVASIR_TRY(ask<GenerateResult>(summary_request(part, plan.summary_tokens))).text);
      }
      const std::string summary = summary_text(plan, texts);
      for (const ChatFact& fact : chat.facts) {
        const Task task = KVASIR_TRY(fact_task(chat.messages, fact.asked, fact));
        auto shorter = KVASIR_TRY(summaries(chat, fact, summary, plan, task.context.size()));
        KVASIR_TRY(examine(task, fact.truth, fact.category, table, std::move(shorter)));
      }
    }
    return table;
  }

  const AskEngine& engine_;
  const QualityOptions& options_;
  const QualityProgress& progress_;
  std::vector<TokenId> tokens_;
};

}  // namespace

bool answers(std::string_view text, std::string_view truth) {
  const size_t begin = std::min(text.find_first_not_of(" \t\n\"'`*"), text.size());
  const std::string_view rest = text.substr(begin);
  if (!rest.starts_with(truth)) return false;
  const std::string_view behind = rest.substr(truth.size());
  return behind.empty() || std::isalnum(static_cast<unsigned char>(behind.front())) == 0;  // 4821, not 48213
}

std::string_view name_of(Contender who) {
  switch (who) {
    case Contender::kFull: return "full context";
    case Contender::kNone: return "no context";
    case Contender::kQuantized: return "kv_quantize";
    case Contender::kWindow: return "sliding_window";
    case Contender::kRandom: return "random rows";
    case Contender::kAttention: return "attention_based";
    case Contender::kFocused: return "attention_based, focus";
    case Contender::kSummary: return "summaries alone";
    case Contender::kIndexed: return "hierarchical";
    case Contender::kSearched: return "hierarchical, with search";
  }
  return "";
}

Result<Contender> contender_of(std::string_view name) {
  std::string names;
  for (const Contender who : {Contender::kQuantized, Contender::kWindow, Contender::kRandom, Contender::kAttention, Contender::kFocused}) {
    if (name == name_of(who)) return who;
    names += (names.empty() ? "" : "; ") + std::string(name_of(who));
  }
  return Failure{Code::kInvalidArgument, "there is no \"" + std::string(name) + "\" here, but: " + names};
}

Result<QualityReport> measure_quality(const AskEngine& engine, const QualityOptions& options, const QualityProgress& progress) {
  return Bench(engine, options, progress).run();
}

}  // namespace kvasir
