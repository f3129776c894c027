#include "core/text/byte_bpe.h"

#include <utility>

namespace kvasir::text {

ByteBpe::ByteBpe(TokenizerParts parts, MergeTable merges, ByteBpeOptions options)
    : TokenizerBase(std::move(parts)), merges_(std::move(merges)), options_(std::move(options)) {
  for (size_t b = 0; b < byte_tokens_.size(); ++b) {
    std::string text;
    const char byte = static_cast<char>(static_cast<uint8_t>(b));
    append_in_alphabet({&byte, 1}, text);
    const TokenId id = table().find(text);
    byte_tokens_[b] = id >= 0 && table().in_text(id) ? id : -1;
  }
}

Result<void> ByteBpe::encode_segment(const Segment& segment, Workspace& work, Encoded& out) const {
  std::string_view text = KVASIR_TRY(normalise(options_.normalizer, segment.text, work));
  if (options_.prefix_space && segment.prefix_space && !text.starts_with(' ')) {
    std::string with_space = " ";
    with_space.append(text);
    work.normalised = std::move(with_space);
    text = work.normalised;
  }
  const char* const text_end = text.data() + text.size();
  split_words(options_.scanners, text, [&](const char* begin, const char* end) {
    encode_word({begin, static_cast<size_t>(end - begin)}, text_end, work, out,
                [&](std::string_view word) { merge_word(word, work, out); });
  });
  return {};
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
  work.merger.merge(symbols, [this](const Symbol& left, const Symbol& right) { return merges_.join(left.id, right.id); });
  for (const Symbol& symbol : symbols) out.ids.push_back(symbol.id);
}

}  // namespace kvasir::text
