#include "core/text/byte_bpe.h"

#include <utility>

namespace kvasir::text {

ByteBpe::ByteBpe(TokenizerParts parts, MergeTable merges, ByteBpeOptions options)
    : TokenizerBase(std::move(parts)), merges_(std::move(merges)), options_(std::move(options)) {
  for (size_t i = 0; i < options_.scanners.size(); ++i) {
    if (i < options_.prefix_stage) {
      before_[i] = options_.scanners[i];
    } else {
      after_[i - options_.prefix_stage] = options_.scanners[i];
    }
  }
  for (size_t b = 0; b < byte_tokens_.size(); ++b) {
    std::string text;
    const char byte = static_cast<char>(static_cast<uint8_t>(b));
    append_in_alphabet({&byte, 1}, text);
    const TokenId id = table().find(text);
    byte_tokens_[b] = id >= 0 && table().in_text(id) ? id : -1;
  }
}

void ByteBpe::encode_piece(const Segment& piece, Workspace& work, Encoded& out) const {
  if (!options_.prefix_space) {
    encode_words(options_.scanners, piece.text, work, out);
  } else if (options_.prefix_stage != 0) {
    split_words(before_, piece.text, [&](const char* begin, const char* end) {
      const std::string_view part(begin, static_cast<size_t>(end - begin));
      const bool continues = !piece.prefix_space && begin == piece.text.data();
      continues ? encode_words(after_, part, work, out) : encode_prefixed(part, work, out);
    });
  } else if (piece.prefix_space) {
    encode_prefixed(piece.text, work, out);
  } else {
    encode_words(after_, piece.text, work, out);
  }
}

void ByteBpe::encode_prefixed(std::string_view text, Workspace& work, Encoded& out) const {
  if (text.starts_with(' ')) {
    encode_words(after_, text, work, out);
    return;
  }
  work.prefixed.assign(1, ' ').append(text);
  encode_words(after_, work.prefixed, work, out);
}

void ByteBpe::encode_words(const ScannerChain& scanners, std::string_view text, Workspace& work, Encoded& out) const {
  const char* const text_end = text.data() + text.size();
  split_words(scanners, text, [&](const char* begin, const char* end) {
    encode_word({begin, static_cast<size_t>(end - begin)}, text_end, work, out,
                [&](std::string_view word) { merge_word(word, work, out); });
  });
}

void ByteBpe::merge_word(std::string_view word, Workspace& work, Encoded& out) const {
  if (options_.ignore_merges) {
    work.word.clear();
    append_in_alphabet(word, work.word);
    if (const TokenId id = table().find(work.word); id >= 0 && table().in_text(id)) {
      out.ids.push_back(id);
      return;
    }
  }
  auto& symbols = work.symbols;
  symbols.clear();
  for (size_t i = 0; i < word.size(); ++i) {
    TokenId id = byte_tokens_[static_cast<uint8_t>(word[i])];
    if (id < 0) {
      ++out.dropped_bytes;
      if (!options_.unknown) continue;  // left out before merging: what is around it may join
      if (options_.fuse_unknown && !symbols.empty() && symbols.back().id == *options_.unknown) continue;
      id = *options_.unknown;
    }
    symbols.push_back({id, static_cast<uint32_t>(i), 1});
  }
  work.merger.merge(symbols,
                    [this](const Symbol& left, const Symbol& right) { return merges_.join(left.id, right.id); });
  for (const Symbol& symbol : symbols) out.ids.push_back(symbol.id);
}

}  // namespace kvasir::text
