// What becomes of messages: one BOS and no more, whatever template and metadata say; tools and switches for the template,
// and what the template has no use for.
#include "core/engine/prompt_builder.h"

#include <catch2/catch.hpp>

#include "tests/text/small_vocabulary.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

struct Text {
  std::unique_ptr<Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat_template;
  TextTools tools() const { return {tokenizer.get(), chat_template ? &*chat_template : nullptr}; }
};

Text make_text(VocabularyData data, std::string_view source) {
  Text out;
  auto tokenizer = Tokenizer::create(std::move(data));
  if (!tokenizer) FAIL(tokenizer.error().message);
  out.tokenizer = std::move(*tokenizer);
  auto parsed = ChatTemplate::parse(source);
  if (!parsed) FAIL(parsed.error().message);
  out.chat_template = std::move(*parsed);
  return out;
}

Prompt question(std::string content) {
  Prompt prompt;
  prompt.messages.push_back({"user", std::move(content), ""});
  return prompt;
}

std::string shown(const Text& text, const PreparedPrompt& prompt) {
  auto decoded = text.tokenizer->decode(prompt.tokens, true);
  REQUIRE(decoded);
  return *decoded;
}

std::string prompt_of(const Text& text, const Prompt& prompt) {
  const auto made = prepare_prompt(prompt, text.tools(), {}, true);
  if (!made) return made.error().message;
  return shown(text, *made);
}

constexpr const char* kPlain = "{{ messages[0].content }}";
constexpr const char* kWithBos = "{{ bos_token }}{{ messages[0].content }}";

/// A vocabulary of each form, that adds BOS, does not, or leaves it open. All call BOS `<|start|>` or `<s>`.
VocabularyData gguf_vocabulary(bool spm, std::optional<bool> add_bos) {
  VocabularyData data = spm ? small_spm_vocabulary() : small_byte_vocabulary();
  data.add_bos = add_bos;
  return data;
}
VocabularyData file_vocabulary(std::optional<bool> add_bos) {
  VocabularyData data;
  data.tokenizer_json =
      R"({"added_tokens": [{"id": 3, "content": "<s>", "special": true}], "post_processor": {"type": "TemplateProcessing",)"
      R"( "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}], "special_tokens": {"<s>": {"id": "<s>",)"
      R"( "ids": [3], "tokens": ["<s>"]}}}, "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},)"
      R"( "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})";
  data.tokenizer_config_json = R"({"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>")";
  if (add_bos) data.tokenizer_config_json += std::string(R"(, "add_bos_token": )") + (*add_bos ? "true" : "false");
  data.tokenizer_config_json += "}";
  return data;
}

}  // namespace

TEST_CASE("BOS stands once before a chat, or not at all, as metadata and template say together") {
  struct Case {
    const char* name;
    std::function<VocabularyData(std::optional<bool>)> vocabulary;
    std::string bos;
    bool by_default;  // where the metadata is silent
  };
  const std::vector<Case> cases{
      {"byte-level GGUF", [](auto add) { return gguf_vocabulary(false, add); }, "<|start|>", false},
      {"SPM GGUF", [](auto add) { return gguf_vocabulary(true, add); }, "<s>", true},
      {"tokenizer.json", [](auto add) { return file_vocabulary(add); }, "<s>", true},
  };
  for (const auto& form : cases) {
    for (const auto add : {std::optional<bool>(), std::optional(true), std::optional(false)}) {
      INFO(form.name << ", add_bos " << (add ? (*add ? "true" : "false") : "absent"));
      const bool adds = add.value_or(form.by_default);
      const Text plain = make_text(form.vocabulary(add), kPlain);
      CHECK(plain.tokenizer->adds_bos() == adds);
      const auto count = [&](const Text& text, const Prompt& prompt) {
        const auto made = prepare_prompt(prompt, text.tools(), {}, true);
        REQUIRE(made);
        CHECK((made->tokens.front() == *text.tokenizer->bos()) == (std::ranges::count(made->tokens, *text.tokenizer->bos()) > 0));
        return std::ranges::count(made->tokens, *text.tokenizer->bos());
      };
      CHECK(count(plain, question("ab")) == (adds ? 1 : 0));
      CHECK(count(make_text(form.vocabulary(add), kWithBos), question("ab")) == 1);
      // A user who writes its name gets its letters.
      if (form.name != std::string("tokenizer.json")) {
        CHECK(count(plain, question(form.bos + "ab")) == (adds ? 1 : 0));
      }
      Prompt raw;
      raw.kind = Prompt::Kind::kText;
      raw.text = "ab";
      CHECK(count(plain, raw) == (adds ? 1 : 0));
    }
  }
}

TEST_CASE("the family decides on BOS where byte-level metadata is silent") {
  for (const auto& [pre, adds] : {std::pair("llama-bpe", true), std::pair("gpt-2", false), std::pair("qwen2", false)}) {
    VocabularyData data = gguf_vocabulary(false, std::nullopt);
    data.pre = pre;
    INFO(pre);
    CHECK(make_text(std::move(data), kPlain).tokenizer->adds_bos() == adds);
  }
}

TEST_CASE("tools, the thinking switch and further variables reach the template") {
  const Text text = make_text(small_byte_vocabulary(),
                              "{{ messages[0].content }}|{% for t in tools or [] %}{{ t.function.name }},{% endfor %}|"
                              "{% if enable_thinking is defined %}{{ enable_thinking }}{% else %}-{% endif %}|{{ effort }}");
  Prompt prompt = question("hi");
  CHECK(prompt_of(text, prompt) == "<|start|>hi||-|");
  prompt.tools_json = R"([{"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"name": "g"}}])";
  prompt.enable_thinking = false;
  prompt.template_extra_json = R"({"effort": "low"})";
  CHECK(prompt_of(text, prompt) == "<|start|>hi|f,g,|False|low");
  prompt.enable_thinking = true;
  CHECK(prompt_of(text, prompt) == "<|start|>hi|f,g,|True|low");
  prompt.template_extra_json = R"({"messages": []})";
  CHECK(prompt_of(text, prompt).find("'messages'") != std::string::npos);
  prompt.template_extra_json = "[]";
  CHECK(prompt_of(text, prompt).find("object") != std::string::npos);
}

TEST_CASE("the thinking switch has the name that the template has for it") {
  Prompt prompt = question("hi");
  prompt.enable_thinking = true;
  CHECK(prompt_of(make_text(small_byte_vocabulary(), "{% if thinking %}think{% endif %}"), prompt) == "<|start|>think");
  // What is given by name goes before.
  prompt.template_extra_json = R"({"thinking": false})";
  CHECK(prompt_of(make_text(small_byte_vocabulary(), "a{% if thinking %}think{% endif %}"), prompt) == "<|start|>a");
}

TEST_CASE("what a template has no use for is named, and nothing else is") {
  using Names = std::vector<std::string>;
  const auto ignored = [](std::string_view source, bool given) {
    const Text text = make_text(small_byte_vocabulary(), source);
    Prompt prompt = question("hi");
    if (given) {
      prompt.tools_json = "[]";
      prompt.enable_thinking = false;
      prompt.template_extra_json = R"({"effort": "low", "documents": []})";
    }
    const auto made = prepare_prompt(prompt, text.tools(), {}, true);
    REQUIRE(made);
    return made->ignored;
  };
  CHECK(ignored(kPlain, true) == Names{"tools", "enable_thinking", "effort", "documents"});
  CHECK(ignored(kPlain, false).empty());
  CHECK(ignored("a{% if tools %}b{% endif %}{{ thinking }}", true) == Names{"effort", "documents"});
  CHECK(ignored("a{{ tools }}{{ enable_thinking }}{{ effort }}{{ documents }}", true).empty());
  // In a comment, in text or as an attribute a name is no use of the variable.
  CHECK(ignored("{# tools #}tools{{ messages[0].tools }}{{ enable_thinking }}{{ effort }}{{ documents }}", true) == Names{"tools"});
}

TEST_CASE("counting knows tools and what was ignored too") {
  const Text text = make_text(small_byte_vocabulary(), "{{ messages[0].content }}{{ tools }}");
  CountTokens count;
  count.prompt = question("hi");
  const auto without = count_tokens(count, text.tools(), {});
  count.prompt.tools_json = R"([{"name": "f"}])";
  count.prompt.enable_thinking = true;
  const auto with = count_tokens(count, text.tools(), {});
  REQUIRE(without);
  REQUIRE(with);
  CHECK(with->tokens > without->tokens);
  CHECK(with->ignored == std::vector<std::string>{"enable_thinking"});
}

TEST_CASE("a message with calls reaches the template whole") {
  const Text text = make_text(small_byte_vocabulary(),
                              "{% for m in messages %}{{ m.role }}:{% for c in m.tool_calls or [] %}{{ c.function.name }}"
                              "({{ c.function.arguments.city }}){% endfor %}{{ m.content or '' }};{% endfor %}");
  Prompt prompt = question("hi");
  prompt.messages.push_back({"assistant", "", R"({"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f",)"
                                              R"( "arguments": {"city": "Oslo"}}}]})"});
  prompt.messages.push_back({"tool", "7 C", R"({"role": "tool", "content": "7 C", "tool_call_id": "1"})"});
  CHECK(prompt_of(text, prompt) == "<|start|>user:hi;assistant:f(Oslo);tool:7 C;");
}
