#include "core/engine/generation.h"

#include <catch2/catch.hpp>

#include "core/engine/sampling_defaults.h"
#include "tests/scheduler/fake_model.h"
#include "tests/text/small_vocabulary.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

Generate request(uint32_t max_tokens) {
  Generate out;
  out.id = 1;
  out.prompt.kind = Prompt::Kind::kText;
  out.max_tokens = max_tokens;
  return out;
}

struct Run {
  std::string deltas;
  GenerateResult result;
};

/// Makes the generation say `bytes` (or -1 for the end token) by one-hot logits.
Run say(const Generate& what, const std::vector<int>& bytes, uint32_t context = 100, size_t prompt_tokens = 3,
        bool thinking = false) {
  static const FakeTokenizer tokenizer;
  PreparedPrompt prompt;
  prompt.tokens.assign(prompt_tokens, 'p');
  if (what.prompt.kind == Prompt::Kind::kMessages) prompt.reasoning = find_reasoning_format(tokenizer, nullptr);
  prompt.opened = thinking ? "<think>" : "";
  SamplingParams greedy;
  greedy.temperature = 0;
  Generation generation(what, prompt, greedy, tokenizer, context);
  std::vector<TokenId> history = prompt.tokens;
  Run run;
  FinishReason reason = FinishReason::kCancelled;
  for (const int byte : bytes) {
    std::vector<float> logits(kFakeVocab, 0.0F);
    logits[static_cast<size_t>(byte < 0 ? kFakeEos : byte)] = 10.0F;
    auto step = generation.accept(logits, history);
    REQUIRE(step);
    run.deltas += step->delta;
    history.push_back(step->token);
    if (step->finish) {
      reason = *step->finish;
      break;
    }
  }
  auto end = generation.finish(reason, 0, {}, {});
  run.deltas += end.tail;
  run.result = std::move(end.result);
  return run;
}

}  // namespace

TEST_CASE("max_tokens ends with length, the context with context_full") {
  const std::vector<int> text(50, 'a');
  const Run limited = say(request(5), text);
  CHECK(limited.result.text == "aaaaa");
  CHECK(limited.result.finish_reason == FinishReason::kLength);
  const Run full = say(request(50), text, 10);
  CHECK(full.result.text == "aaaaaaa");
  CHECK(full.result.finish_reason == FinishReason::kContextFull);
  CHECK(full.result.usage.prompt_tokens == 3);
  CHECK(full.result.usage.completion_tokens == 7);
  CHECK(say(request(7), text, 10).result.finish_reason == FinishReason::kLength);
}

TEST_CASE("an end token ends with stop and adds no text; ignore_eos goes on") {
  Generate what = request(5);
  what.return_tokens = true;
  const Run stopped = say(what, {'h', 'i', -1, 'x'});
  CHECK(stopped.result.text == "hi");
  CHECK(stopped.result.finish_reason == FinishReason::kStop);
  CHECK_FALSE(stopped.result.stop_sequence);
  CHECK(stopped.result.tokens == std::vector<TokenId>{'h', 'i', kFakeEos});
  what.ignore_eos = true;
  const Run ignored = say(what, {'h', 'i', -1, 'x', 'y', 'z'});
  CHECK(ignored.result.text == "hixy");
  CHECK(ignored.result.finish_reason == FinishReason::kLength);
}

TEST_CASE("deltas joined are the text, also with stop strings and split code points") {
  Generate what = request(20);
  what.stop = {"END"};
  const Run stopped = say(what, {'a', 0xC3, 0xA9, 'E', 'N', 'E', 'N', 'D', 'x'});
  CHECK(stopped.result.text == "a\xC3\xA9" "EN");
  CHECK(stopped.deltas == stopped.result.text);
  CHECK(stopped.result.stop_sequence == "END");
  CHECK(stopped.result.usage.completion_tokens == 8);
  const Run cut = say(what, {'a', 'E', 'N', 0xE2, 0x82});
  CHECK(cut.result.text == "aEN\xEF\xBF\xBD");
  CHECK(cut.deltas == cut.result.text);
}

TEST_CASE("a thought that reaches its budget is closed, and the answer follows") {
  Generate what = request(20);
  what.prompt.kind = Prompt::Kind::kMessages;
  what.return_tokens = true;
  const std::vector<int> thought{kFakeThink, 'a', 'b', 'c', 'd', 'e'};
  const Run free = say(what, thought);
  CHECK(free.result.reasoning == "abcde");
  CHECK_FALSE(free.result.reasoning_cut);
  CHECK(free.result.usage.reasoning_tokens == 6);
  what.reasoning_budget = 3;
  const Run cut = say(what, thought);
  CHECK(cut.result.tokens == std::vector<TokenId>{kFakeThink, 'a', 'b', kFakeThinkEnd, 'd', 'e'});
  CHECK(cut.result.reasoning == "ab");
  CHECK(cut.result.text == "de");
  CHECK(cut.deltas == "de");
  CHECK(cut.result.reasoning_cut);
  CHECK(cut.result.usage.reasoning_tokens == 4);
  what.reasoning_budget = 0;
  const Run none = say(what, {'a', 'b'}, 100, 3, true);
  CHECK(none.result.reasoning == "");
  CHECK(none.result.text == "b");
  CHECK(none.result.reasoning_cut);
  const Run unneeded = say(what, {'a', 'b'});
  CHECK(unneeded.result.text == "ab");
  CHECK_FALSE(unneeded.result.reasoning_cut);
}

TEST_CASE("a Harmony thought that reaches its budget is closed by all that begins the answer") {
  VocabularyData data = small_byte_vocabulary();
  for (const auto& word : harmony_markers()) {
    if (word != "<|start|>") test::detail::add(data, word, TokenKind::kControl, 0);
  }
  data.scores.clear();
  const auto tokenizer = Tokenizer::create(std::move(data));
  REQUIRE(tokenizer);
  PreparedPrompt prompt;
  prompt.tokens = {1};
  prompt.reasoning = find_reasoning_format(**tokenizer, nullptr);
  prompt.opened = "<|start|>assistant<|channel|>analysis<|message|>";
  Generate what = request(40);
  what.reasoning_budget = 2;
  SamplingParams greedy;
  greedy.temperature = 0;
  Generation generation(what, prompt, greedy, **tokenizer, 100);
  std::vector<float> logits((*tokenizer)->vocab_size(), 0.0F);
  logits['a'] = 10.0F;
  std::vector<TokenId> history = prompt.tokens;
  for (int i = 0; i < 40; ++i) {
    const auto step = generation.accept(logits, history);
    REQUIRE(step);
    history.push_back(step->token);
  }
  const GenerateResult result = generation.finish(FinishReason::kLength, 0, {}, {}).result;
  CHECK(result.reasoning == "aa");
  CHECK(result.reasoning_cut);
  CHECK_FALSE(result.text.empty());
  CHECK(result.text == std::string(result.text.size(), 'a'));
  const auto closing = (*tokenizer)->encode("<|end|><|start|>assistant<|channel|>final<|message|>", {.parse_special = true});
  REQUIRE(closing);
  REQUIRE(history.size() > 3 + closing->ids.size());
  CHECK(std::equal(closing->ids.begin(), closing->ids.end(), history.begin() + 3));
}

TEST_CASE("log-probabilities are those of the raw logits and digests tell rows apart") {
  Generate what = request(3);
  what.want_logprobs = true;
  what.logprobs = 2;
  what.digest_logits = true;
  const Run run = say(what, {'a', 'a', 'b'});
  REQUIRE(run.result.logprobs.size() == 3);
  const LogprobEntry& first = run.result.logprobs[0];
  CHECK(first.token == 'a');
  CHECK(first.text == "a");
  CHECK(first.logprob == Approx(10.0 - std::log(std::exp(10.0) + kFakeVocab - 1)));
  REQUIRE(first.top.size() == 2);
  CHECK(first.top[0].first == 'a');
  REQUIRE(run.result.logit_digests.size() == 3);
  CHECK(run.result.logit_digests[0] == run.result.logit_digests[1]);
  CHECK(run.result.logit_digests[0] != run.result.logit_digests[2]);
}

TEST_CASE("a row without a finite logit is an error, not a token") {
  const FakeTokenizer tokenizer;
  PreparedPrompt prompt;
  prompt.tokens = {1};
  Generation generation(request(3), prompt, {}, tokenizer, 10);
  std::vector<float> logits(kFakeVocab, std::numeric_limits<float>::quiet_NaN());
  const auto step = generation.accept(logits, prompt.tokens);
  REQUIRE_FALSE(step);
  CHECK(step.error().code == Code::kBackend);
}

TEST_CASE("sampling: argument before the file's recommendation before the defaults") {
  SamplingRequest asked;
  asked.temperature = 0.1F;
  RecommendedSampling file;
  file.temperature = 0.9F;
  file.top_k = 7;
  const SamplingParams params = resolve_sampling(asked, file, 42);
  CHECK(params.temperature == 0.1F);
  CHECK(params.top_k == 7);
  CHECK(params.top_p == 0.95F);
  CHECK(params.min_p == 0.05F);
  CHECK(params.seed == 42);
  asked.seed = 5;
  CHECK(resolve_sampling(asked, file, 42).seed == 5);
  CHECK(draw_seed() < (uint64_t{1} << 53));
  CHECK(draw_seed() != draw_seed());
}

TEST_CASE("requests over a named limit are refused with advice") {
  const EngineLimits limits;
  Generate what = request(1);
  CHECK(check_generate(what, limits));
  const auto code = [&] { return check_generate(what, limits).error().code; };
  what.stop.assign(limits.max_stop_strings, "s");
  CHECK(check_generate(what, limits));
  what.stop.emplace_back("s");
  CHECK(code() == Code::kInvalidArgument);
  what.stop = {""};
  CHECK(code() == Code::kInvalidArgument);
  what.stop = {std::string(limits.max_stop_bytes, 'x')};
  CHECK(check_generate(what, limits));
  what.stop = {std::string(limits.max_stop_bytes + 1, 'x')};
  CHECK(code() == Code::kInvalidArgument);
  what.stop.clear();
  what.sampling.logit_bias.assign(limits.max_logit_bias + 1, {1, 1.0F});
  CHECK(code() == Code::kInvalidArgument);
}

TEST_CASE("prompts: ids are checked, raw text gets BOS, an empty one is BOS alone") {
  const FakeTokenizer tokenizer;
  const TextTools tools{.tokenizer = &tokenizer};
  const EngineLimits limits{.max_prompt_tokens = 5};
  Prompt prompt;
  prompt.kind = Prompt::Kind::kTokens;
  for (const TokenId bad : {-1, static_cast<int>(kFakeVocab)}) {
    prompt.tokens = {1, bad};
    const auto refused = prepare_prompt(prompt, tools, limits, true);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Code::kInvalidArgument);
    CHECK(refused.error().message.find(std::to_string(bad)) != std::string::npos);
  }
  prompt.tokens.assign(6, 1);
  CHECK(prepare_prompt(prompt, tools, limits, true).error().code == Code::kTooLarge);
  prompt.tokens.clear();
  CHECK(prepare_prompt(prompt, tools, limits, true).error().code == Code::kInvalidArgument);
  prompt.kind = Prompt::Kind::kText;
  CHECK(prepare_prompt(prompt, tools, limits, true)->tokens == std::vector<TokenId>{kFakeBos});
  CHECK(prepare_prompt(prompt, tools, limits, false)->tokens.empty());
  prompt.text = "ab";
  CHECK(prepare_prompt(prompt, tools, limits, true)->tokens == std::vector<TokenId>{kFakeBos, 'a', 'b'});
  prompt.kind = Prompt::Kind::kMessages;
  prompt.messages = {{"user", "hi", ""}};
  const auto no_template = prepare_prompt(prompt, tools, limits, true);
  REQUIRE_FALSE(no_template);
  CHECK(no_template.error().message.find("raw") != std::string::npos);
}

TEST_CASE("a prompt with a suffix is filled in the middle, or refused where the model cannot") {
  FakeTokenizer tokenizer;
  const TextTools tools{.tokenizer = &tokenizer};
  Prompt prompt;
  prompt.kind = Prompt::Kind::kText;
  prompt.text = "ab";
  prompt.suffix = "c";
  const auto refused = prepare_prompt(prompt, tools, {}, true);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::kUnsupported);
  CHECK(refused.error().message.find("suffix") != std::string::npos);
  tokenizer.fill = FillTokens{7, 8, 9};
  CHECK(prepare_prompt(prompt, tools, {}, true)->tokens == std::vector<TokenId>{kFakeBos, 7, 'a', 'b', 8, 'c', 9});
  prompt.text.clear();
  prompt.suffix = "";
  CHECK(prepare_prompt(prompt, tools, {}, true)->tokens == std::vector<TokenId>{kFakeBos, 7, 8, 9});
}

TEST_CASE("messages become JSON with everything escaped") {
  CHECK(messages_to_json({{"user", "a\"b\\\n\x01", ""}, {"x", "", R"({"role":"tool"})"}}) ==
        R"([{"role":"user","content":"a\"b\\\u000a\u0001"},{"role":"tool"}])");
  CHECK(messages_to_json({{"user", "\xFF", ""}}) == "[{\"role\":\"user\",\"content\":\"\xEF\xBF\xBD\"}]");
}

TEST_CASE("scoring: which tokens are scored and which rows are computed") {
  const FakeTokenizer tokenizer;
  const TextTools tools{.tokenizer = &tokenizer};
  ScoreText what;
  what.tokens = {'a', 'b', 'c'};
  what.has_tokens = true;
  SECTION("tokens alone: all but the first") {
    Scoring scoring(what, *prepare_score(what, tools, {}));
    CHECK(scoring.tokens_to_compute() == std::vector<TokenId>{'a', 'b'});
    CHECK(scoring.first_row() == 0);
    const std::vector<float> flat(kFakeVocab, 0.0F);
    scoring.accept(0, flat);
    scoring.accept(1, flat);
    const ScoreResult result = scoring.result();
    CHECK(result.tokens == std::vector<TokenId>{'b', 'c'});
    CHECK(result.nll == Approx(2 * std::log(kFakeVocab)));
    CHECK(result.top_last.empty());
  }
  SECTION("top asks for the row after the last token") {
    what.top = 1;
    Scoring scoring(what, *prepare_score(what, tools, {}));
    CHECK(scoring.tokens_to_compute().size() == 3);
    std::vector<float> logits(kFakeVocab, 0.0F);
    logits['z'] = 3;
    for (uint32_t i = 0; i < 3; ++i) scoring.accept(i, logits);
    const ScoreResult result = scoring.result();
    CHECK(result.top_last.at(0).first == 'z');
    CHECK(result.top.at(1).at(0).first == 'z');
  }
  SECTION("with a prompt only the text is scored") {
    what.has_tokens = false;
    what.prompt = "xy";
    what.text = "z";
    Scoring scoring(what, *prepare_score(what, tools, {}));
    CHECK(scoring.tokens_to_compute() == std::vector<TokenId>{kFakeBos, 'x', 'y'});
    CHECK(scoring.first_row() == 2);
  }
  SECTION("one token has nothing to be scored by") {
    what.tokens = {'a'};
    Scoring scoring(what, *prepare_score(what, tools, {}));
    CHECK(scoring.tokens_to_compute().empty());
    CHECK(scoring.result().tokens.empty());
  }
  SECTION("nothing at all is refused") {
    what.tokens.clear();
    CHECK(prepare_score(what, tools, {}).error().code == Code::kInvalidArgument);
  }
}
