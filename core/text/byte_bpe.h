// Byte-level BPE (GPT-2 and most models since): words by a pre-tokenizer, each merged from its bytes by a ranked table.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/text/merge_table.h"
#include "core/text/pretokenizer.h"
#include "core/text/tokenizer_base.h"

namespace kvasir::text {

struct ByteBpeOptions {
  ScannerChain scanners{};
  size_t prefix_stage = 0;  ///< scanners before ByteLevel: it puts the space in front of each of their pieces
  bool ignore_merges = false;
  Normalizer normalizer = {};
  std::optional<TokenId> unknown = {};  ///< for bytes without a token; else they are left out
  bool fuse_unknown = false;            ///< one for neighbouring ones
  bool prefix_space = false;  ///< ByteLevel's add_prefix_space: one in front of a segment that begins with none
};

class ByteBpe final : public TokenizerBase {
 public:
  ByteBpe(TokenizerParts parts, MergeTable merges, ByteBpeOptions options);

 private:
  Result<std::string_view> prepare(const Segment& segment, std::string& buffer) const override {
    return normalise(options_.normalizer, segment, buffer);
  }
  void encode_piece(const Segment& piece, Workspace& work, Encoded& out) const override;
  void encode_prefixed(std::string_view text, Workspace& work, Encoded& out) const;
  void encode_words(const ScannerChain& scanners, std::string_view text, Workspace& work, Encoded& out) const;
  void merge_word(std::string_view word, Workspace& work, Encoded& out) const;

  MergeTable merges_;
  ByteBpeOptions options_;
  ScannerChain before_{}, after_{};         ///< the scanners before and after the space is put in front
  std::array<TokenId, 256> byte_tokens_{};  ///< -1: the byte has no token
};

}  // namespace kvasir::text
