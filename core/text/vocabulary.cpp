#include "core/text/vocabulary.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace kvasir::text {
namespace {

// Ends of a turn, a tool call or all text, by family. "<reponame>" and other file separators are not ends.
constexpr auto kEndTexts = std::to_array<std::string_view>(
    {"</s>",
     "<eos>",
     "<|endoftext|>",
     "<|end_of_text|>",
     "[EOS]",
     "<|im_end|>",
     "<|eot_id|>",
     "<|eom_id|>",
     "<|end|>",
     "<|return|>",
     "<|call|>",
     "<|calls|>",
     "<|flush|>",
     "<end_of_turn>",
     "<turn|>",
     "<EOT>",
     "_<EOT>",
     "[EOT]",
     "<|eot|>",
     "<|eom|>",
     "<end_of_utterance>",
     "<|endofturn|>",
     "<|END_OF_TURN_TOKEN|>",
     "<\xEF\xBD\x9C"
     "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",  // DeepSeek's, with full-width bars
     "[e~["});
// Gemma 4 hands over to a tool with a user-defined token.
constexpr std::string_view kToolHandover = "<|tool_response>";

// Where the metadata names none: StarCoder's and Granite's, SantaCoder's, Qwen's, Code Llama's, DeepSeek's (with
// full-width bars), GLM's, CodeGemma has Qwen's.
struct FillTexts {
  std::string_view prefix, suffix, middle;
};
constexpr auto kFillTexts = std::to_array<FillTexts>({
    {"<fim_prefix>", "<fim_suffix>", "<fim_middle>"},
    {"<fim-prefix>", "<fim-suffix>", "<fim-middle>"},
    {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"},
    {"\xE2\x96\x81<PRE>", "\xE2\x96\x81<SUF>", "\xE2\x96\x81<MID>"},
    {"<PRE>", "<SUF>", "<MID>"},
    {"<\xEF\xBD\x9C"
     "fim\xE2\x96\x81"
     "begin\xEF\xBD\x9C>",
     "<\xEF\xBD\x9C"
     "fim\xE2\x96\x81hole\xEF\xBD\x9C>",
     "<\xEF\xBD\x9C"
     "fim\xE2\x96\x81"
     "end\xEF\xBD\x9C>"},
    {"<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"},
});

using Ids = std::optional<TokenId>;

Result<Ids> checked_id(std::optional<int64_t> given, Ids fallback, std::string_view key, size_t tokens) {
  if (given) {
    if (*given < 0 || static_cast<uint64_t>(*given) >= tokens) {
      return Failure{Code::kCorrupt, std::string(key) + " is " + std::to_string(*given) +
                                         ", outside the vocabulary of " + std::to_string(tokens) +
                                         " tokens; correct or remove the key"};
    }
    return Ids(static_cast<TokenId>(*given));
  }
  if (fallback && static_cast<size_t>(*fallback) >= tokens) {
    return Failure{Code::kCorrupt, std::string(key) + " is absent and its usual value " + std::to_string(*fallback) +
                                       " is outside the vocabulary of " + std::to_string(tokens) +
                                       " tokens; convert the model again"};
  }
  return fallback;
}

struct NamedIds {
  Ids bos, eos, eot, eom, unknown, fim_prefix, fim_suffix, fim_middle;
};

/// Also marks the named ids as control tokens where the file has no kinds at all.
Result<NamedIds> take_ids(const VocabularyData& data, const VocabularyDefaults& defaults, TokenTable& table) {
  NamedIds ids;
  const size_t n = table.size();
  ids.bos = KVASIR_TRY(checked_id(data.bos, defaults.bos, "tokenizer.ggml.bos_token_id", n));
  ids.eos = KVASIR_TRY(checked_id(data.eos, defaults.eos, "tokenizer.ggml.eos_token_id", n));
  ids.eot = KVASIR_TRY(checked_id(data.eot, std::nullopt, "tokenizer.ggml.eot_token_id", n));
  ids.eom = KVASIR_TRY(checked_id(data.eom, std::nullopt, "tokenizer.ggml.eom_token_id", n));
  ids.unknown = KVASIR_TRY(checked_id(data.unk, defaults.unknown, "tokenizer.ggml.unknown_token_id", n));
  struct Other {
    const std::optional<int64_t>& id;
    std::string_view key;
  };
  const Other others[] = {
      {data.sep, "tokenizer.ggml.seperator_token_id"},  // the format's own spelling
      {data.pad, "tokenizer.ggml.padding_token_id"},        {data.mask, "tokenizer.ggml.mask_token_id"},
      {data.fim_prefix, "tokenizer.ggml.fim_pre_token_id"}, {data.fim_suffix, "tokenizer.ggml.fim_suf_token_id"},
      {data.fim_middle, "tokenizer.ggml.fim_mid_token_id"}};
  if (data.fim_prefix && data.fim_suffix && data.fim_middle) {
    ids.fim_prefix = static_cast<TokenId>(*data.fim_prefix);
    ids.fim_suffix = static_cast<TokenId>(*data.fim_suffix);
    ids.fim_middle = static_cast<TokenId>(*data.fim_middle);
  }
  std::vector<TokenId> named;
  for (const Other& other : others) {
    if (const Ids id = KVASIR_TRY(checked_id(other.id, std::nullopt, other.key, n))) named.push_back(*id);
  }
  if (data.kinds.empty()) {
    for (const Ids& id : {ids.bos, ids.eos, ids.eot, ids.eom}) {
      if (id) named.push_back(*id);
    }
    for (const TokenId id : named) table.set_kind(id, TokenKind::kControl);
    if (ids.unknown && table.kind(*ids.unknown) == TokenKind::kNormal)
      table.set_kind(*ids.unknown, TokenKind::kUnknown);
  }
  return ids;
}

std::vector<TokenId> find_ends(const NamedIds& ids, const TokenTable& table) {
  std::vector<TokenId> ends;
  for (const Ids& id : {ids.eos, ids.eot, ids.eom}) {
    if (id) ends.push_back(*id);
  }
  for (const std::string_view text : kEndTexts) {
    const TokenId id = table.find(text);
    if (id >= 0 && table.kind(id) == TokenKind::kControl) ends.push_back(id);
  }
  if (const TokenId id = table.find(kToolHandover); id >= 0 && table.kind(id) != TokenKind::kNormal) ends.push_back(id);
  // In the harmony format <|end|> closes one channel of a turn; <|return|> and <|call|> close the turn.
  const bool harmony = table.find("<|return|>") >= 0 && (table.find("<|call|>") >= 0 || table.find("<|calls|>") >= 0);
  if (harmony) std::erase(ends, table.find("<|end|>"));
  return ends;
}

std::optional<FillTokens> find_fill_tokens(const NamedIds& ids, const TokenTable& table) {
  if (ids.fim_prefix) return FillTokens{*ids.fim_prefix, *ids.fim_suffix, *ids.fim_middle};
  const auto special = [&](std::string_view text) -> Ids {
    const TokenId id = table.find(text);
    if (id < 0 || table.kind(id) == TokenKind::kNormal) return std::nullopt;
    return id;
  };
  for (const FillTexts& texts : kFillTexts) {
    const Ids prefix = special(texts.prefix), suffix = special(texts.suffix), middle = special(texts.middle);
    if (prefix && suffix && middle) return FillTokens{*prefix, *suffix, *middle};
  }
  return std::nullopt;
}

/// Converters fill a vocabulary up to the size of the embedding with "[PAD<id>]", as user-defined tokens; the model's
/// own tokenizer has no such tokens.
bool is_filler(std::string_view text, TokenId id) {
  return text.starts_with("[PAD") && text == "[PAD" + std::to_string(id) + "]";
}

SpecialTokens find_specials(const TokenTable& table, const NamedIds& ids) {
  // Phi-3's tokenizer swallows white space after its control tokens; the file cannot say so, this token gives it away.
  const bool strip_right = table.find("<|placeholder6|>") >= 0 && table.find("<|assistant|>") >= 0;
  std::vector<SpecialTokens::Entry> entries;
  for (size_t i = 0; i < table.size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    const TokenKind kind = table.kind(id);
    const std::string_view text = table.text(id);
    const bool control = kind == TokenKind::kControl || (kind == TokenKind::kUnknown && ids.unknown == id);
    if (!control && (kind != TokenKind::kUserDefined || is_filler(text, id))) continue;
    const bool strips = strip_right && text != "<unk>" && text != "<s>" && text != "<|endoftext|>";
    entries.push_back({text, {.id = id, .trusted_only = control, .strip_right = strips}});
  }
  return SpecialTokens(std::move(entries));
}

SpecialTokens listed_specials(const TokenTable& table, const std::vector<SpecialToken>& added) {
  std::vector<SpecialTokens::Entry> entries;
  for (const SpecialToken& token : added) entries.push_back({table.text(token.id), token});
  return SpecialTokens(std::move(entries));
}

Result<bool> adds(std::optional<bool> said, bool usual, const Ids& id, std::string_view key, std::string_view id_key) {
  if (said.value_or(false) && !id) {
    return Failure{Code::kCorrupt, std::string(key) + " is true but " + std::string(id_key) +
                                       " is absent; add one or remove the other"};
  }
  return said.value_or(usual) && id.has_value();
}

}  // namespace

bool is_end_token_text(std::string_view text) noexcept {
  return std::find(kEndTexts.begin(), kEndTexts.end(), text) != kEndTexts.end();
}

Result<TokenizerParts> check_vocabulary(VocabularyData& data, const VocabularyDefaults& defaults,
                                        const TokenizerLimits& limits) {
  TokenTable table =
      KVASIR_TRY(TokenTable::create(std::move(data.tokens), data.kinds, defaults.spelling, limits, defaults.names));
  const NamedIds ids = KVASIR_TRY(take_ids(data, defaults, table));
  SpecialPolicy policy;
  policy.bos = ids.bos;
  policy.eos = ids.eos;
  policy.unknown = ids.unknown;
  policy.add_bos = KVASIR_TRY(
      adds(data.add_bos, defaults.add_bos, ids.bos, "tokenizer.ggml.add_bos_token", "tokenizer.ggml.bos_token_id"));
  policy.add_eos =
      KVASIR_TRY(adds(data.add_eos, false, ids.eos, "tokenizer.ggml.add_eos_token", "tokenizer.ggml.eos_token_id"));
  policy.ends = find_ends(ids, table);
  policy.fill = find_fill_tokens(ids, table);
  for (const int64_t end : data.end_ids) {
    if (end < 0 || static_cast<uint64_t>(end) >= table.size()) {
      return Failure{Code::kCorrupt, "eos_token_id " + std::to_string(end) +
                                         " of the configuration is outside the vocabulary of " +
                                         std::to_string(table.size()) + " tokens; correct it"};
    }
    policy.ends.push_back(static_cast<TokenId>(end));
  }
  std::sort(policy.ends.begin(), policy.ends.end());
  policy.ends.erase(std::unique(policy.ends.begin(), policy.ends.end()), policy.ends.end());
  SpecialTokens specials =
      defaults.added != nullptr ? listed_specials(table, *defaults.added) : find_specials(table, ids);
  return TokenizerParts{std::move(table), std::move(specials), {}, std::move(policy), limits};
}

}  // namespace kvasir::text
