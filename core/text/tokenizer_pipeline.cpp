#include "core/text/tokenizer_pipeline.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "core/text/byte_bpe.h"
#include "core/text/char_bpe.h"
#include "core/text/tokenizer_json.h"
#include "core/text/unigram.h"
#include "core/text/vocabulary.h"

namespace kvasir::text {
namespace {

constexpr VocabularyNames kNames{"tokenizer.json: vocabulary", "tokenizer.json: added_tokens",
                                 "tokenizer.json: model.merges"};

Failure unsupported(std::string_view part, const std::string& what) {
  return Failure{Code::kUnsupported, "tokenizer.json: " + std::string(part) + " " + what};
}

/// The steps of a part: itself, or what is in its (nested) Sequence.
void flatten(const JsonNode& node, std::string_view list_key, std::vector<const JsonNode*>& out) {
  std::vector<const JsonNode*> left{&node};
  while (!left.empty()) {
    const JsonNode* step = left.back();
    left.pop_back();
    if (step->kind != JsonNode::Kind::kObject) continue;
    if (step->string("type") != "Sequence") {
      out.push_back(step);
      continue;
    }
    const JsonNode* list = step->find(list_key);
    if (list == nullptr) continue;
    for (auto item = list->items.rbegin(); item != list->items.rend(); ++item) left.push_back(&*item);
  }
}

std::vector<const JsonNode*> steps_of(const JsonNode& node, std::string_view list_key) {
  std::vector<const JsonNode*> out;
  flatten(node, list_key, out);
  return out;
}

std::string type_of(const JsonNode& step) {
  return std::string(step.string("type"));
}

// ------------------------------------------------------------------------------------------------ what the parts say

struct Plan {
  Normalizer normalizer;
  ScannerChain scanners{};
  size_t scanner_count = 0;
  bool byte_level = false;
  bool byte_prefix_space = false;  ///< ByteLevel.add_prefix_space
  size_t prefix_stage = 0;         ///< scanners before ByteLevel
  bool literal = false;       ///< the normaliser marks spaces itself, since added tokens are searched in what it makes
  bool prepends = false;      ///< Prepend or Metaspace
  bool marks_spaces = false;  ///< Replace " " by U+2581, or Metaspace
  SpaceRules spaces{.prefix = PrefixSpace::kNever};
  bool strips_leading_space = false;
  std::optional<TokenId> first_id, last_id;  ///< that the post-processor puts around a text
  bool has_template = false;
};

Result<void> plan_replace(const JsonNode& step, Plan& plan) {
  const JsonNode* pattern = step.find("pattern");
  const std::string_view to = step.string("content");
  const std::string_view from = pattern == nullptr ? "" : pattern->string("String");
  const std::string_view expression = pattern == nullptr ? "" : pattern->string("Regex");
  constexpr size_t kMostBytes = 16;  // keeps what normalising may add in proportion
  if (from.size() > kMostBytes || to.size() > kMostBytes)
    return unsupported("normalizer Replace", "with texts over 16 bytes is not supported");
  if (from == " " && to == kSpaceMarker) plan.marks_spaces = true;
  if (from == " " && to == kSpaceMarker && !plan.literal) {
    // seen to by the model, which is faster
  } else if (!from.empty()) {
    plan.normalizer.add({NormalizeStep::Kind::kReplace, std::string(from), std::string(to)});
  } else if (expression == " {2,}") {
    plan.normalizer.add(
        {NormalizeStep::Kind::kCollapseSpaces, "", to == kSpaceMarker ? std::string(" ") : std::string(to)});
  } else {
    return unsupported("normalizer Replace", "of the expression " + quote_token(expression) + " is not supported");
  }
  return {};
}

/// Base64 (RFC 4648) without white space.
std::optional<std::string> decode_base64(std::string_view text) {
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  while (text.ends_with('=')) text.remove_suffix(1);
  for (const char c : text) {
    constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out.push_back(static_cast<char>(static_cast<uint8_t>(bits >> count)));
    }
  }
  return out;
}

Result<void> plan_normalizer(const JsonNode& node, Plan& plan) {
  using Kind = NormalizeStep::Kind;
  for (const JsonNode* step : steps_of(node, "normalizers")) {
    const std::string type = type_of(*step);
    if (type == "NFC")
      plan.normalizer.add({Kind::kNfc});
    else if (type == "NFD")
      plan.normalizer.add({Kind::kNfd});
    else if (type == "NFKC")
      plan.normalizer.add({Kind::kNfkc});
    else if (type == "NFKD")
      plan.normalizer.add({Kind::kNfkd});
    else if (type == "Lowercase")
      plan.normalizer.add({Kind::kLowercase});
    else if (type == "Replace")
      KVASIR_TRY(plan_replace(*step, plan));
    else if (type == "Strip") {
      if (step->boolean("strip_left").value_or(true)) plan.normalizer.add({Kind::kStripLeft});
      if (step->boolean("strip_right").value_or(true)) plan.normalizer.add({Kind::kStripRight});
    } else if (type == "Prepend") {
      if (step->string("prepend") != kSpaceMarker)
        return unsupported("normalizer Prepend", "of anything but U+2581 is not supported");
      plan.prepends = true;
      if (plan.literal) {
        plan.normalizer.add({Kind::kPrepend, "", std::string(kSpaceMarker)});
      } else {
        plan.spaces.prefix = PrefixSpace::kEverySegment;
      }
    } else if (type == "Precompiled") {
      const auto blob = decode_base64(step->string("precompiled_charsmap"));
      if (!blob) return Failure{Code::kCorrupt, "tokenizer.json: normalizer.precompiled_charsmap is not Base64"};
      if (!blob->empty()) plan.normalizer.add(KVASIR_TRY(CharsMap::create(*blob)));
    } else {
      return unsupported("normalizer", "of type " + quote_token(type) + " is not supported");
    }
  }
  return {};
}

Result<void> add_scanners(const ScannerChain& chain, Plan& plan) {
  for (const Scanner scanner : chain) {
    if (scanner == nullptr) break;
    if (plan.scanner_count + 1 >= kMaxScanners) return unsupported("pre_tokenizer", "has too many steps");
    plan.scanners[plan.scanner_count++] = scanner;
  }
  return {};
}

Result<void> plan_split(const JsonNode& step, Plan& plan) {
  const JsonNode* pattern = step.find("pattern");
  const std::string_view expression = pattern == nullptr ? "" : pattern->string("Regex");
  const std::string_view text = pattern == nullptr ? "" : pattern->string("String");
  const std::string_view behaviour = step.string("behavior");
  const bool invert = step.boolean("invert").value_or(false);
  // Gemma's split at spaces comes after they became markers, so there are none.
  if (text == " " && plan.marks_spaces) return {};
  const auto scanners = find_scanners_by_pattern(expression.empty() ? text : expression);
  if (!scanners) {
    return unsupported("pre_tokenizer Split", "has the expression " +
                                                  quote_token(expression.empty() ? text : expression) +
                                                  ", which is not one of the known ones; no other is ever run on text");
  }
  // "Removed" with "invert" keeps the matches and drops the rest; the known whole-text expressions leave no rest.
  if (behaviour != "Isolated" && behaviour != "isolated" && !(behaviour == "Removed" && invert)) {
    return unsupported("pre_tokenizer Split", "with behavior " + quote_token(behaviour) + " is not supported");
  }
  return add_scanners(*scanners, plan);
}

Result<void> plan_metaspace(const JsonNode& step, Plan& plan) {
  const std::string_view scheme = step.string("prepend_scheme");
  if (step.string("replacement") != kSpaceMarker)
    return unsupported("pre_tokenizer Metaspace", "with another marker than U+2581 is not supported");
  plan.marks_spaces = true;
  plan.spaces.metaspace = true;
  plan.spaces.split_at_spaces = step.boolean("split").value_or(true);
  const bool wanted = step.boolean("add_prefix_space").value_or(true);
  if (scheme == "never" || (scheme.empty() && !wanted)) {
    plan.spaces.prefix = PrefixSpace::kNever;
  } else {
    plan.prepends = true;
    plan.spaces.prefix = scheme == "first" ? PrefixSpace::kFirstSegment : PrefixSpace::kEverySegment;
  }
  return {};
}

Result<void> plan_pre_tokenizer(const JsonNode& node, Plan& plan) {
  for (const JsonNode* step : steps_of(node, "pretokenizers")) {
    const std::string type = type_of(*step);
    const std::string_view behaviour = step->string("behavior");
    if (type == "ByteLevel") {
      plan.byte_level = true;
      plan.byte_prefix_space = step->boolean("add_prefix_space").value_or(true);
      plan.prefix_stage = plan.scanner_count;
      if (step->boolean("use_regex").value_or(true)) KVASIR_TRY(add_scanners({gpt2_scanner()}, plan));
    } else if (type == "Split") {
      KVASIR_TRY(plan_split(*step, plan));
    } else if (type == "Digits") {
      const bool single = step->boolean("individual_digits").value_or(false);
      KVASIR_TRY(add_scanners({single ? single_number_scanner() : number_run_scanner()}, plan));
    } else if (type == "Punctuation" && (behaviour.empty() || behaviour == "Isolated" || behaviour == "Contiguous")) {
      KVASIR_TRY(add_scanners({behaviour == "Contiguous" ? punctuation_run_scanner() : punctuation_scanner()}, plan));
    } else if (type == "Metaspace") {
      KVASIR_TRY(plan_metaspace(*step, plan));
    } else if (type == "WhitespaceSplit") {
      plan.spaces.split_at_white_space = true;
    } else {
      return unsupported("pre_tokenizer", "of type " + quote_token(type) + " is not supported");
    }
  }
  return {};
}

/// The token that a TemplateProcessing entry names, as an id.
std::optional<TokenId> template_id(const JsonNode& entry, const JsonNode& processor) {
  const JsonNode* token = entry.find("SpecialToken");
  const JsonNode* all = processor.find("special_tokens");
  if (token == nullptr || all == nullptr) return std::nullopt;
  const JsonNode* named = all->find(token->string("id"));
  const JsonNode* ids = named == nullptr ? nullptr : named->find("ids");
  if (ids == nullptr || ids->items.size() != 1 || ids->items[0].kind != JsonNode::Kind::kNumber) return std::nullopt;
  const double id = ids->items[0].number;
  if (!(id >= 0 && id < INT32_MAX)) return std::nullopt;
  return static_cast<TokenId>(id);
}

void plan_post_processor(const JsonNode& node, Plan& plan) {
  for (const JsonNode* step : steps_of(node, "processors")) {
    const JsonNode* single = step->find("single");
    if (type_of(*step) != "TemplateProcessing" || single == nullptr || single->items.empty()) continue;
    plan.has_template = true;
    plan.first_id = template_id(single->items.front(), *step);
    plan.last_id = template_id(single->items.back(), *step);
  }
}

void plan_decoder(const JsonNode& node, Plan& plan) {
  for (const JsonNode* step : steps_of(node, "decoders")) {
    const std::string type = type_of(*step);
    if (type == "Strip" || type == "Metaspace") plan.strips_leading_space = true;
  }
}

// -------------------------------------------------------------------------------------------------- the vocabulary

SpecialToken as_special(const AddedToken& token) {
  return {static_cast<TokenId>(token.id), token.special, token.lstrip, token.rstrip, token.single_word};
}

/// The added tokens that are searched in normalised text, as the normaliser makes them. Of equal ones the first wins,
/// control tokens before others.
Result<SpecialTokens> normalised_tokens(const std::vector<AddedToken>& added, const Normalizer& normalizer,
                                        const TokenizerLimits& limits) {
  std::map<std::string, SpecialToken> found;
  for (const bool special : {true, false}) {
    for (const AddedToken& token : added) {
      if (!token.normalized || token.special != special) continue;
      std::string buffer;
      const auto text = normalizer.apply(token.content, buffer, limits.max_token_bytes);
      if (!text || text->empty()) {
        return unsupported("added_tokens", quote_token(token.content) +
                                               " is empty or too long after normalisation, which is not supported");
      }
      found.emplace(*text, as_special(token));
    }
  }
  std::vector<SpecialTokens::Entry> entries;
  for (const auto& [text, token] : found) entries.push_back({text, token});
  return SpecialTokens(std::move(entries));
}

/// Kinds by what the file says, ids of the special tokens, and the fillers of holes.
std::vector<SpecialToken> fill_vocabulary(TokenizerFile& file, const TokenizerConfig& config, VocabularyData& data) {
  data.kinds.assign(file.tokens.size(), static_cast<int32_t>(TokenKind::kNormal));
  const auto set = [&](size_t id, TokenKind kind) { data.kinds[id] = static_cast<int32_t>(kind); };
  for (size_t i = 0; i < file.tokens.size(); ++i) {
    std::string& token = file.tokens[i];
    if (token.empty()) {
      token = "[no token " + std::to_string(i) + "]";
      set(i, TokenKind::kUnknown);
    } else if (file.byte_fallback && parse_byte_token(token)) {
      set(i, TokenKind::kByte);
    } else if (token == file.unknown) {
      set(i, TokenKind::kUnknown);
      data.unk = static_cast<int64_t>(i);
    }
  }
  if (file.unknown_id && static_cast<size_t>(*file.unknown_id) < file.tokens.size()) {
    data.unk = file.unknown_id;
    set(static_cast<size_t>(*file.unknown_id), TokenKind::kUnknown);
  }
  std::vector<SpecialToken> added;
  for (const AddedToken& token : file.added) {
    const auto id = static_cast<size_t>(token.id);
    if (static_cast<TokenKind>(data.kinds[id]) != TokenKind::kUnknown) {
      set(id, token.special ? TokenKind::kControl : TokenKind::kUserDefined);
    }
    if (!token.normalized) added.push_back(as_special(token));
    if (token.content == config.bos) data.bos = token.id;
    if (token.content == config.eos) data.eos = token.id;
    if (token.content == config.pad) data.pad = token.id;
  }
  return added;
}

/// BOS and EOS: the post-processor puts them there; the classes that build their own go by the configuration.
void decide_ends(const Plan& plan, const TokenizerConfig& config, VocabularyData& data) {
  const bool by_config = config.tokenizer_class.starts_with("Llama") || config.tokenizer_class.starts_with("Gemma") ||
                         config.tokenizer_class.starts_with("CodeLlama") || !plan.has_template;
  if (!data.bos && plan.first_id) data.bos = *plan.first_id;
  if (!data.eos && plan.last_id) data.eos = *plan.last_id;
  const bool first = plan.first_id && data.bos == *plan.first_id, last = plan.last_id && data.eos == *plan.last_id;
  data.add_bos = data.bos && (by_config ? config.add_bos.value_or(first) : first);
  data.add_eos = data.eos && (by_config ? config.add_eos.value_or(last) : last);
}

Result<void> refuse_doubled_added(const std::vector<AddedToken>& added) {
  std::vector<int64_t> ids;
  for (const AddedToken& token : added) ids.push_back(token.id);
  std::sort(ids.begin(), ids.end());
  if (const auto twice = std::adjacent_find(ids.begin(), ids.end()); twice != ids.end()) {
    return Failure{Code::kCorrupt, "tokenizer.json: added_tokens has the id " + std::to_string(*twice) +
                                       " twice; fetch the file again"};
  }
  return {};
}

Result<std::unique_ptr<Tokenizer>> build_unigram(TokenizerParts parts, std::vector<double> scores, Plan plan) {
  if (!parts.policy.unknown) return Failure{Code::kCorrupt, "tokenizer.json: a Unigram model needs unk_id"};
  scores.resize(parts.table.size());
  for (const double score : scores) {
    if (!std::isfinite(score)) return Failure{Code::kCorrupt, "tokenizer.json: a piece has a score that is no number"};
  }
  return std::unique_ptr<Tokenizer>(std::make_unique<Unigram>(std::move(parts), std::move(scores), UnigramPieces::kAll,
                                                              plan.spaces, std::move(plan.normalizer)));
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> create_from_json(VocabularyData data, const TokenizerLimits& limits) {
  TokenizerFile file = KVASIR_TRY(read_tokenizer_file(data.tokenizer_json, limits));
  TokenizerConfig config;
  if (!data.tokenizer_config_json.empty()) config = KVASIR_TRY(read_tokenizer_config(data.tokenizer_config_json));
  KVASIR_TRY(refuse_doubled_added(file.added));
  Plan plan;
  plan.literal =
      std::any_of(file.added.begin(), file.added.end(), [](const AddedToken& token) { return token.normalized; });
  KVASIR_TRY(plan_normalizer(file.normalizer, plan));
  KVASIR_TRY(plan_pre_tokenizer(file.pre_tokenizer, plan));
  plan_post_processor(file.post_processor, plan);
  plan_decoder(file.decoder, plan);

  const std::vector<SpecialToken> added = fill_vocabulary(file, config, data);
  decide_ends(plan, config, data);
  data.tokens = std::move(file.tokens);
  VocabularyDefaults defaults;
  defaults.spelling = plan.byte_level ? TokenSpelling::kByteLevel : TokenSpelling::kSpaceMarked;
  defaults.names = kNames;
  defaults.added = &added;
  TokenizerParts parts = KVASIR_TRY(check_vocabulary(data, defaults, limits));
  parts.table.set_only_added(std::move(file.only_added));
  parts.policy.strip_leading_space = plan.strips_leading_space && plan.prepends;
  parts.normalised = KVASIR_TRY(normalised_tokens(file.added, plan.normalizer, limits));
  if (file.model == JsonModel::kUnigram)
    return build_unigram(std::move(parts), std::move(file.scores), std::move(plan));

  MergeTable merges = KVASIR_TRY(MergeTable::create(file.merges, parts.table, kNames));
  if (plan.byte_level) {
    if (plan.marks_spaces || plan.prepends)
      return unsupported("pre_tokenizer", "mixes ByteLevel and U+2581 for spaces");
    ByteBpeOptions options{plan.scanners,        plan.prefix_stage, file.ignore_merges,    std::move(plan.normalizer),
                           parts.policy.unknown, file.fuse_unknown, plan.byte_prefix_space};
    return std::unique_ptr<Tokenizer>(
        std::make_unique<ByteBpe>(std::move(parts), std::move(merges), std::move(options)));
  }
  if (!plan.marks_spaces || plan.scanner_count != 0) {
    return unsupported("pre_tokenizer",
                       "neither is ByteLevel nor marks spaces by U+2581 alone; this combination is not supported");
  }
  if (file.ignore_merges) return unsupported("model.ignore_merges", "is supported with ByteLevel only");
  CharBpeOptions options{plan.spaces, file.fuse_unknown, std::move(plan.normalizer)};
  return std::unique_ptr<Tokenizer>(std::make_unique<CharBpe>(std::move(parts), std::move(merges), std::move(options)));
}

}  // namespace kvasir::text
