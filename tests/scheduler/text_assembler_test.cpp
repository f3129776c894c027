#include "core/engine/text_assembler.h"

#include <catch2/catch.hpp>

#include "tests/scheduler/fake_model.h"
#include "tests/text/small_vocabulary.h"

using namespace kvasir;

namespace {

struct Case {
  std::string opened, said, wanted;
};

std::unique_ptr<Tokenizer> vocabulary_with(const std::vector<std::string>& controls) {
  VocabularyData data = test::small_byte_vocabulary();
  for (const auto& word : controls) {
    if (std::ranges::count(data.tokens, word) == 0) test::detail::add(data, word, TokenKind::kControl, 0);
  }
  data.scores.clear();
  auto made = Tokenizer::create(std::move(data));
  REQUIRE(made);
  return std::move(*made);
}

std::string push_all(TextAssembler& text, const Tokenizer& tokenizer, std::string_view said, bool markers) {
  const auto encoded = tokenizer.encode(said, {.parse_special = markers});
  REQUIRE(encoded);
  std::string out;
  for (const TokenId id : encoded->ids) out += text.push(id);
  return out;
}

/// `reasoning|answer`, `-` for no reasoning. The fake tokenizer spells everything byte by byte.
std::string hear(const Tokenizer& tokenizer, const TextAssemblerOptions& options, std::string_view said) {
  TextAssembler text(tokenizer, options);
  std::string out = push_all(text, tokenizer, said, true);
  out += text.finish();
  return text.reasoning().value_or("-") + "|" + out;
}

}  // namespace

TEST_CASE("tokens that are parts of a code point come out whole") {
  const test::FakeTokenizer tokenizer;
  TextAssembler text(tokenizer, {});
  CHECK(text.push(0xF0) == "");
  CHECK(text.push(0x9F) == "");
  CHECK(text.push(0x98) == "");
  CHECK(text.push(0x80) == "\xF0\x9F\x98\x80");
  CHECK(text.push(0xE2) == "");
  CHECK(text.finish() == "\xEF\xBF\xBD");
}

TEST_CASE("a thought is told apart from the answer, and stop strings look at the answer only") {
  const test::FakeTokenizer tokenizer;
  TextAssembler text(tokenizer, {.stops = {"x"}, .reasoning = find_reasoning_format(tokenizer, nullptr)});
  std::string out;
  const auto push_all = [&](std::string_view bytes) {
    for (const char c : bytes) out += text.push(static_cast<unsigned char>(c));
  };
  push_all("\n");
  out += text.push(test::kFakeThink);
  push_all("\n why x? \n");
  out += text.push(test::kFakeThinkEnd);
  push_all("\n\nbecause x");
  CHECK(out + text.finish() == "\nbecause ");
  CHECK(text.reasoning() == "why x?");
  CHECK(text.stop_sequence() == "x");
}

TEST_CASE("a thought that the prompt opened is reasoning from the first token, also when it never ends") {
  const test::FakeTokenizer tokenizer;
  TextAssembler text(tokenizer, {.stops = {}, .reasoning = find_reasoning_format(tokenizer, nullptr), .opened = "<think>"});
  CHECK(text.push('h') == "");
  CHECK(text.push('m') == "");
  CHECK(text.finish() == "");
  CHECK(text.reasoning() == "hm");
}

TEST_CASE("tags of several tokens are found across any split, and what only looks like one is text") {
  const std::vector<Case> cases{
      {"", "[THINK]a [/THIN b\xC3\xA9[/THINK]\n\nc", "a [/THIN b\xC3\xA9|c"},
      {"", " [THINK][/THINK]c", "| c"},
      {"", "[THI c", "-|[THI c"},
      {"", "[THI", "-|[THI"},
      {"", "a [THINK]b", "-|a [THINK]b"},
      {"[THINK]", "hm x[/THINK]ok x", "hm x|ok "},
      {"[THINK]", "hm [/THIN", "hm [/THIN|"},
  };
  const ReasoningFormat format{.open = "[THINK]", .close = "[/THINK]"};
  const auto tokens = vocabulary_with({"[THINK]", "[/THINK]"});
  for (const auto& [opened, said, wanted] : cases) {
    INFO(said);
    const TextAssemblerOptions options{.stops = {"x"}, .reasoning = format, .opened = opened};
    CHECK(hear(test::FakeTokenizer(), options, said) == wanted);
    // As tokens, what stands in the answer is a control token and has no text.
    if (std::string_view(wanted).find('[') == std::string_view::npos) CHECK(hear(*tokens, options, said) == wanted);
  }
}

TEST_CASE("Gemma 4: the channel's name is no part of the thought, and a call ends it") {
  const auto tokens = vocabulary_with({"<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>"});
  const auto format = find_reasoning_format(*tokens, nullptr);
  REQUIRE(format);
  CHECK(format->open == "<|channel>");
  const std::vector<Case> cases{
      {"", "<|channel>thought\nhm\n<channel|>Yes.", "hm|Yes."},
      {"", "<|channel>thought\n<channel|>Yes.", "|Yes."},
      {"", "Yes.", "-|Yes."},
      {"", "<|channel>thought\nhm", "hm|"},
      {"", "<|channel>though", "|"},
      {"", "<|channel>thoughts of mine<channel|>Yes.", "thoughts of mine|Yes."},
      {"<|channel>thought\n", "hm<channel|>Yes.", "hm|Yes."},
      {"<|channel>", "thought\nhm<channel|>Yes.", "hm|Yes."},
      {"", "<|channel>thought\nhm<|tool_call>call:f{}<tool_call|>", "hm|<|tool_call>call:f{}<tool_call|>"},
  };
  for (const auto& [opened, said, wanted] : cases) {
    INFO(said);
    const TextAssemblerOptions options{.stops = {}, .reasoning = format, .opened = opened, .controls = true};
    CHECK(hear(*tokens, options, said) == wanted);
    CHECK(hear(test::FakeTokenizer(), options, said) == wanted);
  }
}

TEST_CASE("Harmony: analysis is thought, final and commentary are answer, a call keeps its header") {
  const auto tokens = vocabulary_with(harmony_markers());
  const auto format = find_reasoning_format(*tokens, nullptr);
  REQUIRE(format);
  CHECK(format->kind == ReasoningFormat::Kind::kHarmony);
  const std::string start = "<|start|>assistant";
  const std::vector<Case> cases{
      {start, "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>", "hm|Yes."},
      {start, "<|channel|>final<|message|>Yes.", "-|Yes."},
      {start, "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>analysis<|message|>b<|end|>", "a\n\nb|"},
      {start, "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>final<|message|>Found.", "-|I look.\n\nFound."},
      {start, "<|channel|>commentary<|message|>I look.\n<|end|><|start|>assistant<|channel|>analysis<|message|>hm<|end|>"
              "<|start|>assistant<|channel|>final<|message|>\nFound.", "hm|I look.\n\n\nFound."},
      // A call, in both orders that the format allows.
      {start, "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"a\":1}<|call|>",
       "-|<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"a\":1}"},
      {start, " to=functions.f<|channel|>commentary<|message|>{}", "-|to=functions.f<|channel|>commentary<|message|>{}"},
      {start, "<|channel|>analysis to=browser.open<|message|>{}", "-|<|channel|>analysis to=browser.open<|message|>{}"},
      // Ends, starts and whole headers that are missing.
      {start, "<|channel|>analysis<|message|>hm", "hm|"},
      {start, "<|channel|>analysis<|message|>hm<|start|>assistant<|channel|>final<|message|>Yes.", "hm|Yes."},
      {start, "<|channel|>analysis<|message|>hm<|channel|>final<|message|>Yes.", "hm|Yes."},
      {start, "<|channel|>analysis<|message|>hm<|end|>Yes.", "hm|Yes."},
      {start, "<|channel|>anal", "-|"},
      {start, "Yes.", "-|Yes."},
      {start, " t", "-| t"},
      {start, "<|message|>Yes.", "-|Yes."},
      {"", "Yes.", "-|Yes."},
      {"", "<|start|>assistant<|channel|>final<|message|>Yes.", "-|Yes."},
      {start + "<|channel|>analysis<|message|>", "hm<|end|><|start|>assistant<|channel|>final<|message|>Yes.", "hm|Yes."},
      {start + "<|channel|>final<|message|>", "Yes.", "-|Yes."},
      // Not every word is a channel that is known.
      {start, "<|channel|>reflection<|message|>Yes.", "-|Yes."},
  };
  for (const auto& [opened, said, wanted] : cases) {
    INFO(opened << " ... " << said);
    const TextAssemblerOptions options{.stops = {}, .reasoning = format, .opened = opened};
    CHECK(hear(*tokens, options, said) == wanted);
    CHECK(hear(test::FakeTokenizer(), options, said) == wanted);
  }
}

TEST_CASE("Harmony: an answer may speak of the format when its words are tokens") {
  const auto tokens = vocabulary_with(harmony_markers());
  TextAssembler text(*tokens, {.stops = {}, .reasoning = find_reasoning_format(*tokens, nullptr), .opened = "<|start|>assistant"});
  std::string out = push_all(text, *tokens, "<|channel|>final<|message|>", true);
  out += push_all(text, *tokens, "write <|end|> at the end", false);
  CHECK(out + text.finish() == "write <|end|> at the end");
  CHECK_FALSE(text.reasoning());
  CHECK(text.left_out_markers());
}

TEST_CASE("Harmony: a header without end is text sooner or later") {
  const auto format = ReasoningFormat{ReasoningFormat::Kind::kHarmony, {}, {}};
  const std::string said = "<|channel|>" + std::string(2000, 'a');
  CHECK(hear(test::FakeTokenizer(), {.stops = {}, .reasoning = format, .opened = "<|start|>assistant"}, said) == "-|" + said);
}

TEST_CASE("what the prompt has opened is the template's, never a user's") {
  const ReasoningFormat tags{.open = "<think>", .close = "</think>"};
  const ReasoningFormat harmony{ReasoningFormat::Kind::kHarmony, {}, {}};
  const auto prompt = [](std::string_view user, std::string_view ours) {
    TrustedText text;
    text.append(user, false);
    text.append(ours, true);
    return text;
  };
  CHECK(opened_by_prompt(prompt("a", "b<think>\n"), tags) == "<think>\n");
  CHECK(opened_by_prompt(prompt("<think>", "\n"), tags).empty());
  CHECK(opened_by_prompt(prompt("a", "<think>\n\n</think>\n\n"), tags).empty());
  CHECK(opened_by_prompt(prompt("a", "<|start|>assistant"), harmony) == "<|start|>assistant");
  CHECK(opened_by_prompt(prompt("<|start|>assistant<|channel|>analysis<|message|>", "\n"), harmony).empty());
  const ReasoningFormat gemma{.open = "<|channel>", .close = "<channel|>", .label = "thought\n"};
  CHECK(opened_by_prompt(prompt("a", "<|turn>model\n<|channel>thought\n"), gemma) == "<|channel>thought\n");
  CHECK(opened_by_prompt(prompt("a", "<|turn>model\n<|channel>thought\n<channel|>"), gemma).empty());
}

TEST_CASE("without a thought there is no reasoning") {
  const test::FakeTokenizer tokenizer;
  TextAssembler text(tokenizer, {.stops = {}, .reasoning = find_reasoning_format(tokenizer, nullptr)});
  CHECK(text.push('o') == "o");
  CHECK(text.push('k') == "k");
  CHECK_FALSE(text.reasoning());
}
