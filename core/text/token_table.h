// The tokens of a vocabulary: text, kind, the bytes each stands for, and the search by text. Immutable once made.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/result.h"
#include "core/text/huge_pages.h"
#include "core/text/space_marker.h"
#include "core/text/tokenizer.h"

namespace kvasir::text {

/// How a token's text stands for bytes.
enum class TokenSpelling : uint8_t {
  kByteLevel,    ///< GPT-2's alphabet: each code point of the text is one byte
  kSpaceMarked,  ///< plain text in which U+2581 is a space; byte tokens are written <0xNN>
};

/// What error messages call the parts of a vocabulary: keys of a GGUF file, or members of a tokenizer.json.
struct VocabularyNames {
  std::string_view tokens = "tokenizer.ggml.tokens";
  std::string_view kinds = "tokenizer.ggml.token_type";
  std::string_view merges = "tokenizer.ggml.merges";
};

class TokenTable {
 public:
  /// Takes the texts over. `kinds` as in VocabularyData (empty: all normal). Errors: kCorrupt for an empty, doubled or
  /// too long token, a wrong number of kinds or an unknown one, a byte token that is not <0xNN>; kTooLarge.
  static Result<TokenTable> create(std::vector<std::string> texts, const std::vector<int32_t>& kinds,
                                   TokenSpelling spelling, const TokenizerLimits& limits,
                                   const VocabularyNames& names = {});

  size_t size() const noexcept { return texts_.size(); }
  std::string_view text(TokenId id) const noexcept { return texts_[static_cast<size_t>(id)]; }
  TokenKind kind(TokenId id) const noexcept { return kinds_[static_cast<size_t>(id)]; }
  void set_kind(TokenId id, TokenKind kind) noexcept { kinds_[static_cast<size_t>(id)] = kind; }
  /// The bytes in running text; of control and unknown tokens too.
  std::string_view bytes(TokenId id) const noexcept {
    const auto i = static_cast<size_t>(id);
    return std::string_view(bytes_).substr(offsets_[i], offsets_[i + 1] - offsets_[i]);
  }
  /// -1 where there is none.
  TokenId find(std::string_view text) const noexcept;
  /// ids[i] = find(texts[i]); the searches overlap in time, which is several times faster in a large vocabulary.
  void find_many(std::span<const std::string_view> texts, std::span<TokenId> ids) const;
  size_t longest() const noexcept { return longest_; }
  /// Ordinary text may become this token: it is normal, user-defined or unused, and the model itself has it.
  bool in_text(TokenId id) const noexcept {
    const TokenKind k = kind(id);
    return (k == TokenKind::kNormal || k == TokenKind::kUserDefined || k == TokenKind::kUnused) && !only_added(id);
  }
  /// Tokens that are only found in text, and that the model does not know as pieces.
  void set_only_added(std::vector<bool> which) noexcept { only_added_ = std::move(which); }
  bool only_added(TokenId id) const noexcept { return !only_added_.empty() && only_added_[static_cast<size_t>(id)]; }

 private:
  TokenTable() = default;
  TokenId find_hashed(std::string_view text, uint64_t hash) const noexcept;
  Result<void> take_kinds(const std::vector<int32_t>& kinds, TokenSpelling spelling, const VocabularyNames& names);
  Result<void> index(const TokenizerLimits& limits, const VocabularyNames& names);
  Result<void> spell_bytes(TokenSpelling spelling, const VocabularyNames& names);

  std::vector<std::string> texts_;
  std::vector<TokenKind> kinds_;
  std::vector<bool> only_added_;  ///< by id, or empty
  std::string bytes_;
  std::vector<uint32_t> offsets_;
  HugeVector<uint64_t> slots_;  ///< upper half of the hash, id + 1; 0 is empty
  uint64_t seed_ = 0;
  size_t longest_ = 0;
};

/// GPT-2's alphabet: the byte for a code point, or nothing.
std::optional<uint8_t> byte_of_alphabet(uint32_t code_point) noexcept;
/// `bytes` in GPT-2's alphabet, appended.
void append_in_alphabet(std::string_view bytes, std::string& out);
/// The NN of "<0xNN>", upper or lower case.
std::optional<uint8_t> parse_byte_token(std::string_view text) noexcept;
/// For error messages: quoted, shortened, printable.
std::string quote_token(std::string_view text);

}  // namespace kvasir::text
