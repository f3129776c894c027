// tokenizer.json and tokenizer.model: the same ids as the libraries that define these files, and clear refusals.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "core/text/tokenizer.h"
#include "tests/support/data.h"
#include "tests/text/vocab_data.h"

namespace kvasir::test {
namespace {

using Ids = std::vector<TokenId>;

Result<std::unique_ptr<Tokenizer>> from_json(std::string json, std::string config = "", TokenizerLimits limits = {}) {
  VocabularyData data;
  data.tokenizer_json = std::move(json);
  data.tokenizer_config_json = std::move(config);
  return Tokenizer::create(std::move(data), limits);
}

std::unique_ptr<Tokenizer> must(Result<std::unique_ptr<Tokenizer>> made) {
  if (!made) FAIL(made.error().message);
  return std::move(*made);
}

std::unique_ptr<Tokenizer> load_folder(const std::filesystem::path& folder) {
  const auto zipped = folder / "tokenizer.json.gz";
  const bool is_zipped = std::filesystem::exists(zipped);
  return must(from_json(is_zipped ? read_gzip(zipped) : read_file(folder / "tokenizer.json"),
                        read_file(folder / "tokenizer_config.json")));
}

void check_rows(const Tokenizer& tokenizer, const std::vector<TokenCase>& rows) {
  REQUIRE(!rows.empty());
  for (const TokenCase& row : rows) {
    INFO(row.text);
    CHECK(tokenizer.encode(row.text, {.add_special = row.add_special, .parse_special = row.special})->ids == row.ids);
  }
}

/// A tokenizer.json with parts replaced: "model" and whatever else is given.
std::string json_with(std::string_view model, std::string_view more = "") {
  return R"({"version": "1.0", "added_tokens": [{"id": 5, "content": "<end>", "special": true}], )" +
         std::string(more) + R"("model": )" + std::string(model) + "}";
}

constexpr const char* kModel =
    R"({"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "\u2581": 3, "\u2581ab": 4}, "merges": ["a b", ["\u2581", "ab"]]})";
constexpr const char* kMarks =
    R"("normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}, )";

void refuses(const std::string& json, Code code, const std::string& words, TokenizerLimits limits = {}) {
  const auto made = from_json(json, "", limits);
  REQUIRE_FALSE(made);
  CHECK(made.error().code == code);
  CHECK_THAT(made.error().message, Catch::Contains(words));
}

}  // namespace

TEST_CASE("gemma3's tokenizer.json gives the ids of its own tokenizer") {
  const auto folder = KVASIR_NEEDS(shared_data("tokenizers/gemma3"));
  const auto rows = KVASIR_NEEDS(shared_data("tokenizer-truth/gemma3.jsonl"));
  const auto t = load_folder(folder);
  auto cases = read_token_cases(rows);
  for (TokenCase& row : cases) row.special = true;  // one row is "<pad>", which the library always takes for the token
  check_rows(*t, cases);
  CHECK(t->encode("<pad>", {})->ids.size() > 1);
  CHECK(t->adds_bos());
  CHECK(t->bos() == 2);
  CHECK(Ids(t->end_tokens().begin(), t->end_tokens().end()) == Ids{1, 106});  // <eos>, <end_of_turn>
  CHECK(*t->decode(t->encode("  two  spaces", {})->ids, false) == "  two  spaces");
}

TEST_CASE("llama3.2's tokenizer.json gives the ids of its own tokenizer") {
  const auto folder = KVASIR_NEEDS(shared_data("tokenizers/llama3_2"));
  const auto rows = KVASIR_NEEDS(shared_data("tokenizer-truth/llama3_2.jsonl"));
  const auto t = load_folder(folder);
  check_rows(*t, read_token_cases(rows));
  CHECK(t->adds_bos());
  CHECK(Ids(t->end_tokens().begin(), t->end_tokens().end()) == Ids{128001, 128008, 128009});
}

TEST_CASE("qwen3's tokenizer.json gives the ids of its own tokenizer") {
  const auto folder = KVASIR_NEEDS(shared_data("tokenizers/qwen3"));
  const auto rows = KVASIR_NEEDS(shared_data("tokenizer-truth/qwen3.jsonl"));
  const auto t = load_folder(folder);
  check_rows(*t, read_token_cases(rows));
  CHECK_FALSE(t->adds_bos());
  CHECK(t->eos() == t->find("<|im_end|>"));
}

TEST_CASE("the tiny models' tokenizer.json gives the recorded ids") {
  const auto folder = KVASIR_NEEDS(shared_data("tiny-models/llama"));
  auto rows = read_token_cases(KVASIR_NEEDS(shared_data("tiny-models/tokenizer.jsonl")));
  for (TokenCase& row : rows) row.special = true;
  const auto t = load_folder(folder);
  check_rows(*t, rows);
  CHECK(t->eos() == 2);
}

TEST_CASE("tinystories' tokenizer.json and its GGUF vocabulary agree") {
  const auto folder = KVASIR_NEEDS(shared_data("tinystories-656k"));
  const auto from_file = load_folder(folder);
  const auto from_gguf = load_tokenizer(folder / "tinystories-656k-f32.gguf");
  CHECK(from_file->bos() == from_gguf->bos());
  CHECK(from_file->adds_bos());
  for (const char* text : {"Once upon a time, there was a dog named Max.", "  two  spaces ", "a\nb",
                           "<b>\xE4\xBD\xA0\xE4\xBD\xA0!", "", " "}) {
    const auto a = from_file->encode(text, {.add_special = true}), b = from_gguf->encode(text, {.add_special = true});
    INFO(text);
    CHECK(a->ids == b->ids);
    CHECK(a->dropped_bytes == b->dropped_bytes);
    CHECK(*from_file->decode(a->ids, false) == *from_gguf->decode(b->ids, false));
  }
}

TEST_CASE("tokenizer.model files give the ids of the sentencepiece library") {
  for (const char* name : {"own-bpe", "own-unigram"}) {
    VocabularyData data;
    data.sentencepiece_model = read_file(fixture(std::string("tokenizers/") + name + ".model"));
    const auto t = must(Tokenizer::create(data));
    std::vector<TokenCase> rows;
    for (TokenCase& row : read_token_cases(fixture("tokenizers/own-sentencepiece.jsonl"))) {
      if (row.group == name) rows.push_back(std::move(row));
    }
    check_rows(*t, rows);
    CHECK(*t->decode(t->encode("some plain text", {})->ids, false) == "some plain text");
    CHECK(t->bos() == 1);
    CHECK(Ids(t->end_tokens().begin(), t->end_tokens().end()) == Ids{2});
  }
}

TEST_CASE("tokenizer.json files of every kind give the ids of the tokenizers library") {
  std::map<std::string, std::vector<TokenCase>> by_file;
  for (TokenCase& row : read_token_cases(fixture("tokenizers/own-json.jsonl"))) {
    row.special = true;
    by_file[row.group].push_back(std::move(row));
  }
  CHECK(by_file.size() == 9);
  for (const auto& [file, rows] : by_file) {
    INFO(file);
    check_rows(*must(from_json(read_file(fixture("tokenizers/" + file)))), rows);
  }
}

TEST_CASE("control tokens that are found in normalised text need trusted bytes") {
  const auto t = must(from_json(read_file(fixture("tokenizers/own-bytes-nfc.json"))));
  const TokenId control = *t->find("<|norm|>");
  const auto found = [&](const TrustedText& text) {
    const Ids ids = t->encode(text, {})->ids;
    return std::count(ids.begin(), ids.end(), control);
  };
  const auto text = [](std::initializer_list<std::pair<const char*, bool>> parts) {
    TrustedText out;
    for (const auto& [bytes, trusted] : parts) out.append(bytes, trusted);
    return out;
  };
  CHECK(found(text({{"<|norm|>", true}})) == 1);
  CHECK(found(text({{"a<|norm|>", false}})) == 0);
  CHECK(found(text({{"<|norm|>", true}, {"<|norm|>", false}, {"<|norm|>", true}})) == 2);
  CHECK(found(text({{"<|no", true}, {"rm|>", false}})) == 0);
  CHECK(found(text({{"<|norm|>e", true}, {"\xCC\x81 <|norm|>", false}})) ==
        0);  // the accent composes across the border
}

TEST_CASE("a tokenizer.model that is cut or changed anywhere answers with an error or works") {
  const std::string whole = read_file(fixture("tokenizers/own-unigram.model"));
  const auto attempt = [](std::string bytes) {
    VocabularyData data;
    data.sentencepiece_model = std::move(bytes);
    const auto made = Tokenizer::create(std::move(data));
    if (made) CHECK((*made)->encode("A text \xEF\xAC\x81 with e\xCC\x81", {}).has_value());
    return made.has_value();
  };
  CHECK(attempt(whole));
  CHECK_FALSE(attempt(whole.substr(0, whole.size() / 2) + "\xFF"));
  for (size_t i = 0; i < whole.size(); i += 41) {
    attempt(whole.substr(0, i));
    std::string changed = whole;
    changed[i] = static_cast<char>(~changed[i]);
    attempt(std::move(changed));
  }
}

TEST_CASE("added tokens follow their strip and word rules") {
  const std::string added = R"({"added_tokens": [
      {"id": 5, "content": "<end>", "special": true, "lstrip": true, "rstrip": true},
      {"id": 6, "content": "word", "special": false, "single_word": true}], )";
  const auto t = must(from_json(added + kMarks + R"("model": )" + kModel + "}"));
  const auto ids = [&](const char* text) { return t->encode(text, {.parse_special = true})->ids; };
  CHECK(ids("a \t<end>\n b") == Ids{0, 5, 1});
  CHECK(ids("a word b") == Ids{0, 3, 6, 3, 1});
  CHECK(ids("aword b").front() == 0);
  CHECK(ids("aword b").size() == 3);  // the letters of "word" have no tokens and there is no <unk>
}

TEST_CASE("both spellings of merges are read, and spaces are marked") {
  const auto t = must(from_json(json_with(kModel, kMarks)));
  CHECK(t->encode("ab ab", {})->ids == Ids{2, 4});
  CHECK(*t->decode(Ids{2, 4, 5}, true) == "ab ab<end>");
}

TEST_CASE("what a tokenizer.json asks for and is not known here is refused by name (V12)") {
  const auto split = [](std::string_view pattern) {
    return json_with(kModel, std::string(R"("pre_tokenizer": {"type": "Split", "pattern": {"Regex": ")") +
                                 std::string(pattern) + R"("}, "behavior": "Isolated"}, )");
  };
  refuses(split("(a+)+$"), Code::kUnsupported, "(a+)+$");
  refuses(split(std::string(100'000, '(')), Code::kUnsupported, "((((");
  refuses(split("(?<=a)b"), Code::kUnsupported, "not one of the known ones");
  refuses(json_with(kModel, R"("normalizer": {"type": "BertNormalizer"}, )"), Code::kUnsupported, "BertNormalizer");
  refuses(json_with(kModel, R"("pre_tokenizer": {"type": "BertPreTokenizer"}, )"), Code::kUnsupported,
          "BertPreTokenizer");
  refuses(json_with(R"({"type": "WordPiece", "vocab": {"a": 0}})"), Code::kUnsupported, "WordPiece");
  refuses(json_with(R"({"type": "BPE", "vocab": {"a": 0}, "merges": [], "end_of_word_suffix": "</w>"})"),
          Code::kUnsupported, "end_of_word_suffix");
  refuses(json_with(kModel), Code::kUnsupported, "marks spaces");
  refuses(json_with(kModel, R"("normalizer": {"type": "Replace", "pattern": {"String": "a"}, "content": ")" +
                                std::string(1000, 'x') + "\"}, "),
          Code::kUnsupported, "over 16 bytes");
}

TEST_CASE("a damaged tokenizer.json is refused with the place") {
  const std::string good = json_with(kModel, kMarks);
  REQUIRE(from_json(good));
  for (size_t i = 0; i < good.size(); ++i) CHECK_FALSE(from_json(good.substr(0, i)));
  refuses(good + "x", Code::kCorrupt, "something follows");
  refuses("[]", Code::kCorrupt, "an object was expected");
  refuses("{}", Code::kCorrupt, "no model");
  refuses(std::string(100'000, '['), Code::kCorrupt, "tokenizer.json");
  refuses(R"({"x": )" + std::string(100'000, '[') + "}", Code::kCorrupt, "nested deeper than 32");
  refuses(json_with(R"({"vocab": {"a": 0, "b": 0}, "merges": []})", kMarks), Code::kCorrupt, "the id 0 is there twice");
  refuses(json_with(R"({"vocab": {"a": 0, "a": 1}, "merges": []})", kMarks), Code::kCorrupt, "is there twice");
  refuses(json_with(R"({"vocab": {"a": -1}, "merges": []})", kMarks), Code::kCorrupt,
          "an integer between 0 and 999999");
  refuses(json_with(R"({"vocab": {"a": 1.5}, "merges": []})", kMarks), Code::kCorrupt, "an integer between");
  refuses(json_with(R"({"vocab": {"a": 1e400}, "merges": []})", kMarks), Code::kCorrupt, "an integer between");
  refuses(json_with(R"({"vocab": {"a": 999999}, "merges": []})", kMarks), Code::kCorrupt,
          "names the id 999999 but only 1");
  refuses(json_with(R"({"vocab": {"": 0}, "merges": []})", kMarks), Code::kCorrupt, "is empty");
  refuses(json_with(R"({"vocab": {"a": 0}, "merges": ["a z"]})", kMarks), Code::kCorrupt, "model.merges[0]");
  refuses(json_with(R"({"vocab": {"a": 0}, "merges": ["az"]})", kMarks), Code::kCorrupt, "is not two tokens");
  refuses(json_with(R"({"vocab": {"a": 0}, "merges": [["a"]]})", kMarks), Code::kCorrupt, "a merge of two tokens");
  refuses(json_with(R"({"vocab": {"a": 0}, "merges": [["a", "a", "a"]]})", kMarks), Code::kCorrupt,
          "a merge of two tokens");
  refuses(json_with("{\"vocab\": {\"\xFF\": 0}, \"merges\": []}", kMarks), Code::kCorrupt, "not UTF-8");
  refuses(json_with(R"({"vocab": {"\ud800": 0}, "merges": []})", kMarks), Code::kCorrupt, "bad escape");
  refuses(json_with(kModel, R"("normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}, )"),
          Code::kCorrupt, "precompiled_charsmap");
  refuses(json_with(kModel, R"("normalizer": {"type": "Precompiled", "precompiled_charsmap": "A*"}, )"), Code::kCorrupt,
          "Base64");
  refuses(json_with(R"({"type": "Unigram", "vocab": [["a", -1]]})", kMarks), Code::kCorrupt, "unk_id");
  refuses(json_with(R"({"type": "Unigram", "unk_id": 0, "vocab": [["a", 1e999]]})", kMarks), Code::kCorrupt,
          "out of range");
  refuses(R"({"added_tokens": [{"id": 1, "content": "x"}, {"id": 1, "content": "x"}], )" + std::string(kMarks) +
              R"("model": )" + kModel + "}",
          Code::kCorrupt, "the id 1 is there twice");
  refuses(good, Code::kCorrupt, "an integer between 0 and 3", {.max_tokens = 4});
}

TEST_CASE("end ids of the configuration are end tokens and must be in the vocabulary") {
  VocabularyData data;
  data.tokenizer_json = json_with(kModel, kMarks);
  data.end_ids = {3, 5};
  const auto t = must(Tokenizer::create(data));
  CHECK(Ids(t->end_tokens().begin(), t->end_tokens().end()) == Ids{3, 5});
  data.end_ids = {6};
  const auto refused = Tokenizer::create(data);
  REQUIRE_FALSE(refused);
  CHECK_THAT(refused.error().message, Catch::Contains("eos_token_id 6"));
}

TEST_CASE("BOS of a tokenizer.json is what its post-processor puts in front") {
  const std::string processor =
      R"("post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<end>"}}, {"Sequence": {"id": "A"}}],
      "special_tokens": {"<end>": {"id": "<end>", "ids": [5], "tokens": ["<end>"]}}}, )";
  const auto t = must(from_json(json_with(kModel, kMarks + processor)));
  CHECK(t->bos() == 5);
  CHECK(t->encode("a", {.add_special = true})->ids == Ids{5, 0});
  const auto off =
      must(from_json(json_with(kModel, kMarks + processor),
                     R"({"tokenizer_class": "LlamaTokenizer", "bos_token": "<end>", "add_bos_token": false})"));
  CHECK_FALSE(off->adds_bos());
  const auto none = must(from_json(json_with(kModel, kMarks)));
  CHECK_FALSE(none->bos());
}

}  // namespace kvasir::test
