// What this project's tokenizers and templates answer, for tests that compare them with other libraries
// (test_tokenizer_reference.py, test_template_reference.py); one line out for each line in.
//   text_answers ids VOCAB [PRE]   lines of hex-encoded text -> ids; VOCAB is a GGUF file, a tokenizer.json or a
//                                  tokenizer.model; if PRE is given, with that pre-tokenizer
//   text_answers render            lines of {"template", "messages", "extra"?} -> {"text"} or {"error"}
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "core/text/chat_template.h"
#include "core/text/tokenizer.h"
#include "tests/support/data.h"
#include "tests/text/vocab_data.h"

namespace {

using kvasir::TokenId;
using Json = nlohmann::ordered_json;

int nibble(char c) {
  return c <= '9' ? c - '0' : c - 'a' + 10;
}

std::string from_hex(const std::string& line) {
  std::string text;
  for (size_t i = 0; i + 1 < line.size(); i += 2) {
    text.push_back(static_cast<char>(nibble(line[i]) * 16 + nibble(line[i + 1])));
  }
  return text;
}

int print_ids(const std::filesystem::path& file, const char* pre) {
  auto data = kvasir::test::read_any_vocabulary(file);
  if (pre != nullptr) data.pre = pre;
  const auto made = kvasir::Tokenizer::create(std::move(data));
  if (!made) {
    std::fprintf(stderr, "%s\n", made.error().message.c_str());
    return 1;
  }
  std::string out;
  for (std::string line; std::getline(std::cin, line);) {
    const auto encoded = (*made)->encode(from_hex(line), {.parse_special = true});
    if (!encoded) return 1;
    out.clear();
    for (const TokenId id : encoded->ids) {
      if (!out.empty()) out += ' ';
      out += std::to_string(id);
    }
    std::puts(out.c_str());
  }
  return 0;
}

Json render(const Json& request) {
  const auto parsed = kvasir::ChatTemplate::parse(request.at("template").get<std::string>());
  if (!parsed) return {{"error", parsed.error().message}};
  kvasir::TemplateInput input;
  input.messages_json = request.at("messages").dump();
  if (request.contains("tools")) input.tools_json = request.at("tools").dump();
  if (request.contains("extra")) input.extra_json = request.at("extra").dump();
  input.add_generation_prompt = request.value("add_generation_prompt", true);
  input.bos_token = "<s>";
  input.eos_token = "</s>";
  input.now_unix_seconds = request.value("now", int64_t{0});
  const auto rendered = parsed->render(input);
  if (!rendered) return {{"error", rendered.error().message}};
  return {{"text", rendered->text()}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc >= 3 && std::string(argv[1]) == "ids") return print_ids(argv[2], argc > 3 ? argv[3] : nullptr);
  if (argc != 2 || std::string(argv[1]) != "render") {
    std::fprintf(stderr, "text_answers ids VOCAB [PRE] < lines of hex\ntext_answers render < lines of JSON\n");
    return 64;
  }
  for (std::string line; std::getline(std::cin, line);) std::puts(render(Json::parse(line)).dump().c_str());
  return 0;
}
