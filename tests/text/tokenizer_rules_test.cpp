// The rules around merging: special tokens and trust, BOS and EOS, decoding, bytes without a token, end tokens.
#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <thread>

#include "core/text/tokenizer.h"
#include "tests/support/data.h"
#include "tests/text/small_vocabulary.h"
#include "tests/text/vocab_data.h"

namespace kvasir::test {
namespace {

using Ids = std::vector<TokenId>;

std::unique_ptr<Tokenizer> make(VocabularyData data) {
  auto made = Tokenizer::create(std::move(data));
  if (!made) FAIL(made.error().message);
  return std::move(*made);
}

Ids ids_of(const Tokenizer& tokenizer, std::string_view text, EncodeOptions options = {}) {
  const auto got = tokenizer.encode(text, options);
  REQUIRE(got);
  return got->ids;
}

TokenId id_of(const Tokenizer& tokenizer, std::string_view text) {
  const auto id = tokenizer.find(text);
  REQUIRE(id);
  return *id;
}

std::string random_text(std::mt19937& random, size_t length) {
  static const char* const kParts[] = {"a",
                                       "hello",
                                       " ",
                                       "  ",
                                       "\n",
                                       "\t",
                                       "1",
                                       "42",
                                       "'s",
                                       "\xC3\xA9",
                                       "e\xCC\x81",
                                       "\xE4\xBD\xA0",
                                       "\xF0\x9F\x98\x80",
                                       "<|im_end|>",
                                       "<s>",
                                       "</s>",
                                       "[user]",
                                       "<0x0A>",
                                       "\xE2\x96\x81",
                                       ".",
                                       "-",
                                       "Z"};
  std::string out;
  while (out.size() < length) out += kParts[random() % std::size(kParts)];
  return out;
}

}  // namespace

TEST_CASE("merges are applied by rank, and a word is cut by the pre-tokenizer") {
  const auto t = make(small_byte_vocabulary());
  CHECK(ids_of(*t, "hello") == Ids{id_of(*t, "hello")});
  CHECK(ids_of(*t, "hell") == Ids{id_of(*t, "hell")});
  CHECK(ids_of(*t, "aaaaa") == Ids{id_of(*t, "aaaa"), id_of(*t, "a")});
  CHECK(ids_of(*t, "hello world").at(1) == id_of(*t, "\xC4\xA0w"));
  CHECK(ids_of(*t, "").empty());
}

TEST_CASE("short and long words are merged by the same rules") {
  const auto t = make(small_byte_vocabulary());
  for (const size_t n : {1u, 2u, 39u, 40u, 41u, 42u, 43u, 200u, 1000u}) {  // the method changes at 40 symbols
    const Ids got = ids_of(*t, std::string(n, 'a'));
    Ids expected(n / 4, id_of(*t, "aaaa"));
    if (n % 4 >= 2) expected.push_back(id_of(*t, "aa"));
    if (n % 2 == 1) expected.push_back(id_of(*t, "a"));
    CHECK(got == expected);
  }
}

TEST_CASE("a control token in a user's bytes is plain text, in trusted bytes it is the token") {
  const auto t = make(small_byte_vocabulary());
  const TokenId end = id_of(*t, "<|im_end|>");
  const Ids plain = ids_of(*t, "a<|im_end|>b");
  CHECK(std::count(plain.begin(), plain.end(), end) == 0);
  CHECK(*t->decode(plain, false) == "a<|im_end|>b");
  CHECK(ids_of(*t, "a<|im_end|>b", {.parse_special = true}) == Ids{'a', end, 'b'});

  TrustedText text;
  text.append("<|im_end|>", false);
  text.append("<|im_end|>", true);
  const auto mixed = t->encode(text, {});
  REQUIRE(mixed);
  CHECK(mixed->ids.back() == end);
  CHECK(std::count(mixed->ids.begin(), mixed->ids.end(), end) == 1);
}

TEST_CASE("a control token half of whose bytes come from a user is plain text") {
  const auto t = make(small_byte_vocabulary());
  const std::string token = "<|im_end|>";
  const TokenId end = id_of(*t, token);
  for (size_t cut = 1; cut < token.size(); ++cut) {
    for (const bool first_trusted : {false, true}) {
      TrustedText text;
      text.append(token.substr(0, cut), first_trusted);
      text.append(token.substr(cut), !first_trusted);
      const auto got = t->encode(text, {});
      REQUIRE(got);
      CHECK(std::count(got->ids.begin(), got->ids.end(), end) == 0);
      CHECK(*t->decode(got->ids, false) == token);
    }
  }
}

TEST_CASE("trust decides between a longer control token and a shorter one inside it") {
  const auto t = make(small_byte_vocabulary());
  CHECK(ids_of(*t, "<|im_end|>x", {.parse_special = true}) == Ids{id_of(*t, "<|im_end|>x")});
  TrustedText text;
  text.append("<|im_end|>", true);
  text.append("x", false);
  CHECK(t->encode(text, {})->ids == Ids{id_of(*t, "<|im_end|>"), 'x'});
}

TEST_CASE("user-defined tokens are found anywhere, the longest first") {
  const auto t = make(small_byte_vocabulary());
  CHECK(ids_of(*t, "a[user]b") == Ids{'a', id_of(*t, "[user]"), 'b'});
  CHECK(ids_of(*t, "[user]+[user]") == Ids{id_of(*t, "[user]+"), id_of(*t, "[user]")});
}

TEST_CASE("no merge makes a control token out of plain text") {
  auto data = small_spm_vocabulary();  // "<s" + ">" would be "<s>"
  const auto spm = make(data);
  for (const char* text : {"<s>", "</s>", "hello<s>hello</s>", "<unk>", "<0x0A>"}) {
    for (const TokenId id : ids_of(*spm, text)) CHECK(spm->kind(id) != TokenKind::kControl);
  }
  auto bytes = small_byte_vocabulary();  // a file whose merges lead to a control token
  bytes.tokens.push_back("<|");
  bytes.kinds.push_back(1);
  bytes.tokens.push_back("<||");
  bytes.kinds.push_back(3);
  bytes.merges.insert(bytes.merges.end(), {"< |", "<| |"});
  const auto t = make(bytes);
  CHECK(ids_of(*t, "<||") == Ids{id_of(*t, "<|"), '|'});
}

TEST_CASE("BOS and EOS come as the metadata says and are never doubled") {
  auto data = small_byte_vocabulary();
  data.add_eos = true;
  const auto t = make(data);
  const TokenId bos = *t->bos(), eos = *t->eos();
  CHECK(t->adds_bos());
  CHECK(ids_of(*t, "a") == Ids{'a'});
  CHECK(ids_of(*t, "a", {.add_special = true}) == Ids{bos, 'a', eos});
  CHECK(ids_of(*t, "", {.add_special = true}) == Ids{bos, eos});
  CHECK(ids_of(*t, "<|start|>a<|im_end|>", {.add_special = true, .parse_special = true}) == Ids{bos, 'a', eos});
  CHECK(ids_of(*t, "<|start|>a", {.add_special = true}).at(1) == '<');

  data.add_bos = false;
  data.add_eos = false;
  const auto without = make(data);
  CHECK_FALSE(without->adds_bos());
  CHECK(ids_of(*without, "a", {.add_special = true}) == Ids{'a'});
}

TEST_CASE("tokens for filling in the middle are those of the metadata, else the well-known texts, else none") {
  auto data = small_byte_vocabulary();
  CHECK_FALSE(make(data)->fill_tokens());
  const auto first = static_cast<TokenId>(data.tokens.size());
  for (const char* text : {"<|fim_suffix|>", "<|fim_prefix|>", "<|fim_middle|>"}) {
    data.tokens.emplace_back(text);
    data.kinds.push_back(1);  // ordinary text that only looks like it
  }
  CHECK_FALSE(make(data)->fill_tokens());
  for (size_t i = 0; i < 3; ++i) data.kinds[data.kinds.size() - 1 - i] = 3;
  const auto named = make(data)->fill_tokens();
  REQUIRE(named);
  CHECK(named->suffix == first);
  CHECK(named->prefix == first + 1);
  CHECK(named->middle == first + 2);
  data.fim_prefix = 'p', data.fim_suffix = 's', data.fim_middle = 'm';
  const auto said = make(data)->fill_tokens();
  REQUIRE(said);
  CHECK(said->prefix == 'p');
  CHECK(said->suffix == 's');
  CHECK(said->middle == 'm');
}

TEST_CASE("bytes without a token are left out and counted") {
  auto data = small_byte_vocabulary();
  data.tokens['z'] = "gone";  // its byte has no token now
  const auto t = make(data);
  const auto got = t->encode("hezllzo", {});
  REQUIRE(got);
  CHECK(got->dropped_bytes == 2);
  CHECK(got->ids == Ids{id_of(*t, "hello")});  // as in the tokenizers library: left out before merging
  CHECK(t->encode("zz", {})->ids.empty());
  CHECK(t->encode("hello", {})->dropped_bytes == 0);
}

TEST_CASE("SPM puts a space in front unless the text continues another one") {
  const auto t = make(small_spm_vocabulary());
  const TokenId hello = id_of(*t, "\xE2\x96\x81hello");
  CHECK(ids_of(*t, "hello") == Ids{hello});
  CHECK(ids_of(*t, "hello", {.prefix_space = false}) == Ids{id_of(*t, "hello")});
  CHECK(ids_of(*t, " hello") == Ids{id_of(*t, "\xE2\x96\x81"), hello});
  CHECK(ids_of(*t, "hello</s>hello", {.parse_special = true}) == Ids{hello, 2, hello});
  CHECK(ids_of(*t, "</s>hello", {.parse_special = true, .prefix_space = false}) == Ids{2, hello});
  auto data = small_spm_vocabulary();
  data.add_space_prefix = false;
  CHECK(ids_of(*make(data), "hello") == Ids{id_of(*t, "hello")});
}

TEST_CASE("SPM collapses spaces where the metadata says so") {
  auto data = small_spm_vocabulary();
  data.remove_extra_whitespaces = true;
  const auto t = make(data);
  const TokenId hello = id_of(*t, "\xE2\x96\x81hello");
  CHECK(ids_of(*t, "  hello   hello  ") == Ids{hello, hello});
  CHECK(ids_of(*t, "   ").empty());
}

TEST_CASE("SPM falls back to bytes, and to one <unk> where there are no byte tokens") {
  const auto t = make(small_spm_vocabulary());
  CHECK(ids_of(*t, "\xE4\xBD\xA0", {.prefix_space = false}) == Ids{3 + 0xE4, 3 + 0xBD, 3 + 0xA0});
  CHECK(ids_of(*t, "\xFF", {.prefix_space = false}) == Ids{3 + 0xFF});  // not UTF-8, still not lost

  auto data = small_spm_vocabulary();
  for (auto* v : {&data.kinds}) v->erase(v->begin() + 3, v->begin() + 259);
  data.scores.erase(data.scores.begin() + 3, data.scores.begin() + 259);
  data.tokens.erase(data.tokens.begin() + 3, data.tokens.begin() + 259);
  const auto without = make(data);
  const auto got = without->encode("h\xE4\xBD\xA0\xE4\xBD\xA0h", {.prefix_space = false});
  REQUIRE(got);
  CHECK(got->ids == Ids{id_of(*without, "h"), 0, id_of(*without, "h")});
  CHECK(got->dropped_bytes == 6);
}

TEST_CASE("decoding gives the text back, hides control tokens unless asked, and refuses foreign ids") {
  const auto t = make(small_byte_vocabulary());
  const Ids ids = ids_of(*t, "hello<|im_end|>", {.add_special = true, .parse_special = true});
  CHECK(*t->decode(ids, false) == "hello");
  CHECK(*t->decode(ids, true) == "<|start|>hello<|im_end|>");
  CHECK(t->token_bytes(*t->eos()).empty());
  CHECK(t->token_text(*t->eos()) == "<|im_end|>");
  CHECK(t->token_bytes(id_of(*t, "\xC4\xA0w")) == " w");
  for (const TokenId bad : {-1, static_cast<TokenId>(t->vocab_size()), INT32_MAX, INT32_MIN}) {
    const auto refused = t->decode(Ids{0, bad}, false);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Code::kInvalidArgument);
  }
  const auto spm = make(small_spm_vocabulary());
  CHECK(*spm->decode(ids_of(*spm, "hello hello"), false) == "hello hello");
  CHECK(*spm->decode(Ids{3 + 0xC3, 3 + 0xA9}, false) == "\xC3\xA9");
  CHECK(spm->token_bytes(id_of(*spm, "\xE2\x96\x81hello")) == " hello");
}

TEST_CASE("random texts come back from encode and decode, in every kind of vocabulary") {
  std::mt19937 random(7);
  const auto bytes = make(small_byte_vocabulary());
  const auto spm = make(small_spm_vocabulary());
  for (int i = 0; i < 300; ++i) {
    std::string text = random_text(random, 1 + random() % 120);
    CHECK(*bytes->decode(ids_of(*bytes, text), false) == text);
    // To SPM U+2581 is a space, and it puts one after a token that it finds in the text.
    for (size_t at; (at = text.find("\xE2\x96\x81")) != std::string::npos;) text.replace(at, 3, " ");
    for (size_t at; (at = text.find("[user]")) != std::string::npos;) text.replace(at, 6, "user");
    CHECK(*spm->decode(ids_of(*spm, text), false) == text);
    for (char& c : text) c = static_cast<char>(random());
    CHECK(*bytes->decode(ids_of(*bytes, text), false) == text);  // any bytes at all
  }
}

TEST_CASE("end tokens are those that the metadata names and the well-known control tokens") {
  auto data = small_byte_vocabulary();
  const auto add = [&](const char* text, int32_t kind) {
    data.tokens.push_back(text);
    data.kinds.push_back(kind);
    return static_cast<TokenId>(data.tokens.size() - 1);
  };
  const TokenId text_end = add("<|endoftext|>", 3);
  add("<|eot_id|>", 1);  // by chance an ordinary token of this name
  add("<reponame>", 3);
  const TokenId turn = add("own_turn_end", 3);
  data.eot = turn;
  const auto t = make(data);
  const Ids ends(t->end_tokens().begin(), t->end_tokens().end());
  CHECK(ends == Ids{*t->eos(), text_end, turn});
}

TEST_CASE("the default model stops at ids 0 and 2 and adds no BOS") {
  const auto t = load_tokenizer(KVASIR_NEEDS(default_model()));
  CHECK(Ids(t->end_tokens().begin(), t->end_tokens().end()) == Ids{0, 2});
  CHECK_FALSE(t->adds_bos());
  CHECK(t->bos() == 1);
  CHECK(ids_of(*t, "a", {.add_special = true}).size() == 1);
  CHECK(t->encode("\x04\x06"
                  "a\xF5",
                  {})
            ->dropped_bytes == 3);
}

TEST_CASE("phi-3 swallows white space after its control tokens, as its own tokenizer does") {
  const auto t = load_tokenizer(KVASIR_NEEDS(shared_data("vocab/ggml-vocab-phi-3.gguf")));
  const TokenId user = id_of(*t, "<|user|>");
  CHECK(ids_of(*t, "<|user|>\n hello", {.parse_special = true}) ==
        ids_of(*t, "<|user|>hello", {.parse_special = true}));
  CHECK(ids_of(*t, "<|user|>\nhello", {.parse_special = true}).front() == user);
}

TEST_CASE("converters' filler tokens are never found in text") {
  const auto t = load_tokenizer(KVASIR_NEEDS(shared_data("vocab/ggml-vocab-qwen2.gguf")));
  CHECK(*t->decode(ids_of(*t, "x [PAD151646] y"), false) == "x [PAD151646] y");
  CHECK(ids_of(*t, "[PAD151646]").size() > 1);
}

TEST_CASE("several threads may encode at once") {
  const auto t = make(small_byte_vocabulary());
  std::mt19937 random(3);
  const std::string text = random_text(random, 4000);
  const Ids expected = ids_of(*t, text);
  std::vector<Ids> got(6);
  std::vector<std::thread> threads;
  for (Ids& one : got) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) one = t->encode(text, {})->ids;
    });
  }
  for (auto& thread : threads) thread.join();
  for (const Ids& one : got) CHECK(one == expected);
}

}  // namespace kvasir::test
