// Arbitrary bytes as text: encode and decode must give them back, and a user's bytes must never become a control token.
// Arbitrary bytes as a vocabulary: creation must answer, and what it accepts must encode without harm.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "core/text/tokenizer.h"
#include "core/text/utf8_stream.h"
#include "tests/fuzz/targets.h"
#include "tests/text/small_vocabulary.h"

namespace {

using kvasir::TokenId;
using kvasir::Tokenizer;
using kvasir::TokenKind;
using kvasir::VocabularyData;

void require(bool condition) {
  if (!condition) std::abort();
}

/// Takes numbers and strings off the front of the input; zeros and nothing once it is used up.
class Input {
 public:
  explicit Input(std::string_view bytes) : bytes_(bytes) {}
  uint8_t byte() {
    if (bytes_.empty()) return 0;
    const auto value = static_cast<uint8_t>(bytes_.front());
    bytes_.remove_prefix(1);
    return value;
  }
  std::string text(size_t most) {
    const std::string out(bytes_.substr(0, byte() % (most + 1)));
    bytes_.remove_prefix(std::min(out.size(), bytes_.size()));
    return out;
  }
  std::string_view rest() const { return bytes_; }
  bool empty() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
};

void check_text(const Tokenizer& tokenizer, std::string_view text, bool lossless) {
  const auto encoded = tokenizer.encode(text, {.prefix_space = false});
  require(encoded.has_value());
  for (const TokenId id : encoded->ids) require(tokenizer.valid(id) && tokenizer.kind(id) != TokenKind::kControl);
  const auto decoded = tokenizer.decode(encoded->ids, false);
  require(decoded.has_value());
  if (lossless) require(*decoded == text);
  kvasir::Utf8Stream stream;
  std::string shown;
  for (const TokenId id : encoded->ids) shown += stream.push(tokenizer.token_bytes(id));
  shown += stream.flush();
  require(kvasir::is_valid_utf8(shown));
  if (lossless) require(shown == kvasir::to_valid_utf8(*decoded));
  require(tokenizer.encode(text, {.add_special = true, .parse_special = true}).has_value());
}

VocabularyData vocabulary_from(Input& in) {
  const uint8_t shape = in.byte();
  VocabularyData data = (shape & 1) != 0 ? kvasir::test::small_spm_vocabulary() : kvasir::test::small_byte_vocabulary();
  static constexpr const char* kPres[] = {
      "",         "gpt-2",  "llama-bpe", "qwen2", "gpt-4o", "deepseek-v3", "deepseek-llm", "tiny_aya",
      "superbpe", "jais-2", "chameleon", "bloom", "gemma4", "youtu",       "kimi-k2",      "smollm"};
  data.pre = kPres[in.byte() % std::size(kPres)];
  if ((shape & 2) != 0) data.tokens.clear();
  if ((shape & 4) != 0) data.kinds.clear();
  if ((shape & 8) != 0) data.scores.clear();
  if ((shape & 16) != 0) data.merges.clear();
  if ((shape & 32) != 0) data.unk = static_cast<int8_t>(in.byte());
  if ((shape & 64) != 0) data.eos = static_cast<int8_t>(in.byte());
  for (uint8_t tokens = in.byte() % 32; tokens > 0 && !in.empty(); --tokens) {
    data.tokens.push_back(in.text(12));
    const uint8_t kind = in.byte();
    if (!data.kinds.empty()) data.kinds.push_back(kind % 8);
    if (!data.scores.empty()) data.scores.push_back(static_cast<float>(in.byte()) - 128.0f);
  }
  for (uint8_t merges = in.byte() % 16; merges > 0 && !in.empty(); --merges) data.merges.push_back(in.text(12));
  return data;
}

}  // namespace

void kvasir::fuzz::tokenizer(std::string_view bytes) {
  static const auto kByteLevel = std::move(*Tokenizer::create(kvasir::test::small_byte_vocabulary()));
  static const auto kSpm = std::move(*Tokenizer::create(kvasir::test::small_spm_vocabulary()));
  if (bytes.empty()) return;
  Input in(bytes);
  if ((in.byte() & 1) == 0) {
    check_text(*kByteLevel, in.rest(), true);
    // U+2581 becomes a space in SPM, and so does what its decoder strips in front: only then may they differ.
    const bool marked = in.rest().find("\xE2\x96\x81") != std::string_view::npos || in.rest().starts_with(' ') ||
                        in.rest().find("[user]") != std::string_view::npos;
    check_text(*kSpm, in.rest(), !marked);
    return;
  }
  auto made = Tokenizer::create(vocabulary_from(in), {.max_tokens = 2000, .max_text_bytes = 1u << 20});
  if (!made) {
    require(!made.error().message.empty());
    return;
  }
  const auto encoded = (*made)->encode(in.rest(), {.add_special = true, .parse_special = true});
  if (!encoded) return;
  for (const TokenId id : encoded->ids) require((*made)->valid(id));
  require((*made)->decode(encoded->ids, true).has_value());
}
