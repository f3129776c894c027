// Ids must equal those of the models' own tokenizers, on every published pair that is at hand.
#include <catch2/catch.hpp>

#include "tests/support/data.h"
#include "tests/text/sha256.h"
#include "tests/text/vocab_data.h"

namespace kvasir::test {
namespace {

void check_cases(const Tokenizer& tokenizer, const std::vector<TokenCase>& cases) {
  REQUIRE(!cases.empty());
  for (const TokenCase& c : cases) {
    const auto got = tokenizer.encode(c.text, {.add_special = c.add_special, .parse_special = c.special});
    REQUIRE(got);
    INFO("text: " << c.text);
    CHECK(got->ids == c.ids);
  }
}

void check_vocab_pair(const char* name) {
  const auto gguf = KVASIR_NEEDS(shared_data("vocab/ggml-vocab-" + std::string(name) + ".gguf"));
  check_cases(*load_tokenizer(gguf), read_inp_out(gguf));
}

void check_truth(const char* vocabulary, const char* truth) {
  const auto gguf = KVASIR_NEEDS(shared_data("vocab/ggml-vocab-" + std::string(vocabulary) + ".gguf"));
  const auto rows = KVASIR_NEEDS(shared_data("tokenizer-truth/" + std::string(truth) + ".jsonl"));
  check_cases(*load_tokenizer(gguf), read_token_cases(rows));
}

}  // namespace

TEST_CASE("llama-spm encodes every vocabulary test text as published") {
  check_vocab_pair("llama-spm");
}
TEST_CASE("llama-bpe encodes every vocabulary test text as published") {
  check_vocab_pair("llama-bpe");
}
TEST_CASE("gpt-2 encodes every vocabulary test text as published") {
  check_vocab_pair("gpt-2");
}
TEST_CASE("qwen2 encodes every vocabulary test text as published") {
  check_vocab_pair("qwen2");
}
TEST_CASE("gemma-4 encodes every vocabulary test text as published") {
  check_vocab_pair("gemma-4");
}
TEST_CASE("phi-3 encodes every vocabulary test text as published") {
  check_vocab_pair("phi-3");
}

TEST_CASE("gpt-2 agrees with the Hugging Face tokenizer on tricky strings") {
  check_truth("gpt-2", "gpt2");
}
TEST_CASE("llama-spm agrees with the Hugging Face tokenizer on tricky strings") {
  check_truth("llama-spm", "llama2");
}
TEST_CASE("qwen2 agrees with the Hugging Face tokenizer on tricky strings") {
  check_truth("qwen2", "qwen2_5");
}
TEST_CASE("llama-bpe agrees with the Hugging Face tokenizer on tricky strings") {
  check_truth("llama-bpe", "llama3_2");
}

TEST_CASE("smollm agrees with the references on its tricky strings") {
  const auto gguf = KVASIR_NEEDS(default_model());
  const auto rows = KVASIR_NEEDS(shared_data("smollm2-135m/tokenizer.jsonl"));
  check_cases(*load_tokenizer(gguf), read_token_cases(rows));
}

TEST_CASE("smollm gives the reference ids of the golden prompts, chats with their control tokens") {
  const auto gguf = KVASIR_NEEDS(default_model());
  const auto rows = KVASIR_NEEDS(shared_data("smollm2-135m/golden.jsonl"));
  check_cases(*load_tokenizer(gguf), read_token_cases(rows));
}

TEST_CASE("smollm gives the reference ids of the whole WikiText-2 test file") {
  const auto gguf = KVASIR_NEEDS(default_model());
  const auto wiki = KVASIR_NEEDS(shared_data("wikitext2/wiki.test.raw"));
  const auto expected = KVASIR_NEEDS(shared_data("smollm2-135m/ppl.json"));
  REQUIRE(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const auto got = load_tokenizer(gguf)->encode(read_file(wiki), {});
  REQUIRE(got);
  CHECK(got->dropped_bytes == 0);
  CHECK(sha256_of_ids(got->ids) == json_string_field(expected, "ids_sha256_le_int32"));
}

TEST_CASE("the tiny models' tokenizer gives the recorded ids") {
  const auto gguf = KVASIR_NEEDS(shared_data("tiny-models/llama/model-bf16.gguf"));
  const auto rows = KVASIR_NEEDS(shared_data("tiny-models/tokenizer.jsonl"));
  auto cases = read_token_cases(rows);
  for (TokenCase& c : cases) c.special = true;  // recorded from the tokenizers library, which always parses them
  check_cases(*load_tokenizer(gguf), cases);
}

}  // namespace kvasir::test
