// Vocabularies and expected ids for the tokenizer tests: a minimal reader of GGUF metadata, and of JSON lines.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/text/tokenizer.h"

namespace kvasir::test {

/// The tokenizer.* keys of a GGUF file. Throws std::runtime_error on anything unexpected: test data only.
VocabularyData read_vocabulary(const std::filesystem::path& gguf);
/// A GGUF file, or a tokenizer.json (also .gz) or tokenizer.model with the tokenizer_config.json beside it.
VocabularyData read_any_vocabulary(const std::filesystem::path& file);
/// Throws std::runtime_error with the message if it cannot be made.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& gguf);

struct TokenCase {
  std::string text;
  std::vector<TokenId> ids;
  bool special = false;
  bool add_special = false;
  std::string group;  ///< "model" of the line, if it has one
};
/// Lines of {"text", "ids", "special"?, "add_special_tokens"?}. A line with "messages" counts as special.
std::vector<TokenCase> read_token_cases(const std::filesystem::path& jsonl);
struct WordCase {
  std::string pre, text;
  std::vector<size_t> words;  ///< bytes of each
};
std::vector<WordCase> read_word_cases(const std::filesystem::path& jsonl);
/// The contents of a .gz file, by way of gzip. Throws std::runtime_error.
std::string read_gzip(const std::filesystem::path& path);
/// llama.cpp's pairs: FILE.inp and FILE.out.
std::vector<TokenCase> read_inp_out(const std::filesystem::path& gguf);
std::string sha256_of_ids(const std::vector<TokenId>& ids);
std::string json_string_field(const std::filesystem::path& json, const std::string& field);

}  // namespace kvasir::test
