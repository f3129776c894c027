// `kvasir bench compress` with an engine that remembers every word it can see: what is asked, of whom, and what counts.
#include <catch2/catch.hpp>

#include <algorithm>
#include <set>

#include "sessions/compression/quality_bench.h"
#include "sessions/compression/quality_tables.h"
#include "sessions/compression/scripted_chat.h"

using namespace kvasir;

namespace {

constexpr size_t kBytes = 4;  // of ASCII in a token

std::vector<TokenId> tokens_of(const std::string& text) {
  std::vector<TokenId> out;
  for (size_t at = 0; at < text.size(); at += kBytes) {
    TokenId token = 0;
    for (const char c : text.substr(at, kBytes)) token = token << 8 | c;
    out.push_back(token);
  }
  return out;
}
std::string text_of(const std::vector<TokenId>& tokens) {
  std::string out;
  for (const TokenId token : tokens) {
    for (int shift = 24; shift >= 0; shift -= 8) {
      if (token >> shift != 0) out += static_cast<char>(token >> shift & 0x7F);
    }
  }
  return out;
}

/// What begins as something earlier did goes on as that did.
struct CopyingEngine {
  bool remembers = true;
  size_t compressed = 0;

  Result<Event> operator()(CommandBody body) {
    if (const auto* tokenize = std::get_if<Tokenize>(&body)) return Event(TokenizeResult{.tokens = tokens_of(tokenize->text), .pieces = {}});
    if (const auto* compress = std::get_if<CompressContext>(&body)) return shorter(*compress);
    if (const auto* compare = std::get_if<CompareContexts>(&body)) {
      const auto lost = static_cast<double>(compare->full.tokens.size()) - static_cast<double>(compare->other.tokens.size());
      return Event(CompareResult{.scored = 100, .nll_full = 200, .nll_other = 200 + lost / 10, .kl_mean = 0.5, .top1_agree = 0.9});
    }
    return generated(std::get<Generate>(body));
  }

 private:
  Result<Event> shorter(const CompressContext& command) {
    ++compressed;
    const std::vector<std::vector<float>> flat(1, std::vector<float>(command.choice.source_tokens, 1.0F));
    CompressResult result;
    result.edit = *choose_rows(command.choice, flat);
    result.edit.aged = command.aged;
    const auto& history = command.prompt.history_tokens;
    result.kept = kept_tokens(result.edit, std::span(history).first(command.choice.source_tokens));
    return Event(std::move(result));
  }
  Result<Event> generated(const Generate& command) const {
    GenerateResult result;
    if (command.prompt.kind == Prompt::Kind::kTokens) {
      const std::string all = text_of(command.prompt.history_tokens);
      const size_t asked = all.rfind("Answer: ");
      const std::string lead = all.substr(asked != std::string::npos ? asked + 8 : all.rfind("assistant: ") + 11);
      const size_t earlier = all.find(lead);
      if (remembers && earlier + lead.size() < all.size()) result.text = all.substr(earlier + lead.size(), 20);
    } else if (command.max_tokens > 0) {
      result.text = "They talked about this and that.";
    }
    std::string rendered;
    for (const ChatMessage& message : command.prompt.messages) rendered += message.role + ": " + message.content + "\n";
    result.context_tokens = tokens_of(rendered + "assistant: ");
    return Event(std::move(result));
  }
};

QualityReport measured(CopyingEngine& engine, std::optional<Contender> only = {}) {
  QualityOptions options;
  options.only = only;
  for (int i = 0; i < 1000; ++i) options.text += "a word and another ";
  options.spans = 2;
  options.documents = 1;
  options.chats = 2;
  options.ratios = {0.5};
  const auto report = measure_quality([&](CommandBody body) { return engine(std::move(body)); }, options, {});
  if (!report) FAIL(report.error().message);
  return *report;
}

const RecallRow& row_of(const RecallTable& table, Contender who) {
  const auto found = std::ranges::find_if(table.rows, [&](const RecallRow& row) { return row.who == who; });
  REQUIRE(found != table.rows.end());
  return *found;
}

}  // namespace

TEST_CASE("an answer begins with what is asked for and goes no further") {
  CHECK(answers(" 4821.", "4821"));
  CHECK(answers("4821", "4821"));
  CHECK(answers(" **4821** is it", "4821"));
  CHECK(answers(" notes482.txt, I think", "notes482.txt"));
  CHECK_FALSE(answers(" 48213.", "4821"));
  CHECK_FALSE(answers(" 14821", "4821"));
  CHECK_FALSE(answers(" green, not blue", "blue"));
  CHECK_FALSE(answers("", "4821"));
  CHECK_FALSE(answers("  ", "4821"));
}

TEST_CASE("a scripted chat tells eight facts, each once, two of a category, never in the newest turns") {
  std::set<std::vector<size_t>> orders;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const ScriptedChat chat = scripted_chat(seed);
    REQUIRE(chat.messages.size() == 60);
    REQUIRE(chat.turns.size() == 60);
    REQUIRE(chat.facts.size() == 8);
    std::vector<size_t> categories(4), order;
    std::string all;
    for (const ChatMessage& message : chat.messages) all += message.content + "\n";
    size_t last = 0;
    for (const ChatFact& fact : chat.facts) {
      ++categories[fact.category];
      order.push_back(fact.category);
      const size_t at = all.find(fact.said());
      CAPTURE(seed, fact.said());
      REQUIRE(at != std::string::npos);
      CHECK(at >= last);  // told in this order
      last = at;
      CHECK(all.find(fact.truth, all.find(fact.truth) + 1) == std::string::npos);  // nothing else answers the question
      CHECK(answers(all.substr(at + fact.lead.size()), fact.truth));
    }
    CHECK(categories == std::vector<size_t>(4, 2));
    orders.insert(order);
    CHECK(last < all.size() * 9 / 10);
    CHECK(scripted_chat(seed).messages[3].content == chat.messages[3].content);
  }
  CHECK(orders.size() > 10);  // no category is always the oldest
}

TEST_CASE("what the full context answers is asked of every contender") {
  CopyingEngine engine;
  const QualityReport report = measured(engine);
  REQUIRE(report.likelihood.size() == 4);
  for (const LikelihoodRow& row : report.likelihood) {
    CHECK(row.nll.size() == 2);
    CHECK(row.nll_full[0] == Approx(2));
    CHECK(row.nll_none[0] > row.nll[0]);
    CHECK((row.who == Contender::kQuantized) == (row.nll[0] == Approx(2)));
    CHECK(row.ratio == Approx(row.who == Contender::kQuantized ? 0 : 0.5).margin(0.04));
  }

  const RecallTable& needles = report.needles;
  CHECK(needles.asked == 4);
  CHECK(needles.right_full == 4);
  CHECK(row_of(needles, Contender::kQuantized).right == 4);
  const RecallRow& window = row_of(needles, Contender::kWindow);
  CHECK(window.by_part[0] == std::pair<uint64_t, uint64_t>{1, 0});  // recency has forgotten the oldest
  CHECK(window.by_part[3] == std::pair<uint64_t, uint64_t>{1, 1});

  const RecallTable& chats = report.chats;
  CHECK(chats.asked == 16);
  CHECK(chats.right_full == 16);
  for (const Contender who : {Contender::kQuantized, Contender::kWindow, Contender::kRandom, Contender::kAttention,
                              Contender::kFocused, Contender::kSummary, Contender::kIndexed, Contender::kSearched}) {
    CAPTURE(name_of(who));
    CHECK(row_of(chats, who).asked == 16);
    for (const auto& [asked, right] : row_of(chats, who).by_part) CHECK(asked == 4);
  }
  CHECK(row_of(chats, Contender::kQuantized).right == 16);
  CHECK(row_of(chats, Contender::kSearched).right == 16);  // the search brings the words back
  CHECK(row_of(chats, Contender::kSummary).right < 16);    // this summary tells nothing, but some turns are still there
  CHECK(row_of(chats, Contender::kSummary).ratio > 0.4);
  CHECK(to_markdown(report).find("Facts of a chat: the full context answers 16 of 16 (100 %). Of these:") != std::string::npos);
  CHECK(to_svg(report).ends_with("</svg>\n"));
}

TEST_CASE("one contender may be measured alone") {
  CHECK(*contender_of("attention_based, focus") == Contender::kFocused);
  CHECK(contender_of("magic").error().message.find("kv_quantize") != std::string::npos);
  CopyingEngine engine;
  const QualityReport report = measured(engine, Contender::kQuantized);
  REQUIRE(report.likelihood.size() == 1);
  CHECK(report.likelihood[0].who == Contender::kQuantized);
  CHECK(report.needles.rows.size() == 1);
}

TEST_CASE("where the full context does not know, no table is shown") {
  CopyingEngine engine{.remembers = false};
  const QualityReport report = measured(engine);
  CHECK(report.needles.right_full == 0);
  CHECK(report.chats.right_full == 0);
  CHECK(report.chats.only_quantized == 0);
  const std::string text = to_markdown(report);
  CHECK(text.find("Needles: the full context answers 0 of 4 (0 %); below 80 %") != std::string::npos);
  CHECK(text.find("hierarchical") == std::string::npos);
}

TEST_CASE("a text that is too short is refused with the numbers") {
  CopyingEngine engine;
  QualityOptions options;
  options.text = "short";
  const auto report = measure_quality([&](CommandBody body) { return engine(std::move(body)); }, options, {});
  REQUIRE_FALSE(report);
  CHECK(report.error().message.find("the text has 2 tokens") != std::string::npos);
}

TEST_CASE("intervals are Wilson's for shares, and drawn texts' for likelihoods") {
  const Interval all = share_interval(39, 39);
  CHECK(all.middle == 1.0);
  CHECK(all.low == Approx(0.9103).margin(5e-4));
  CHECK(all.high == 1.0);
  const Interval half = share_interval(50, 100);
  CHECK(half.low == Approx(0.4038).margin(5e-4));
  CHECK(half.high == Approx(0.5962).margin(5e-4));
  CHECK(share_interval(0, 0).high == 1.0);
  const LikelihoodRow row{.who = Contender::kWindow, .ratio = 0.5, .nll = {2.1, 2.3, 2.0}, .nll_full = {2.0, 2.0, 2.0},
                          .nll_none = {3.0, 3.0, 3.0}, .kl = {0, 0, 0}, .agree = {1, 1, 1}};
  CHECK(cost(row).middle == Approx(0.4 / 3));
  CHECK(cost(row).low >= 0.0);
  CHECK(cost(row).high <= 0.3);
  CHECK(retained(row).low < retained(row).middle);
  CHECK(retained(row).high <= 1.0);
}
