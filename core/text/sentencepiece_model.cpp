// Reader of SentencePiece's tokenizer.model: a protocol buffer (sentencepiece_model.proto), read by hand with every
// length checked against what is left.
#include <cmath>
#include <cstring>
#include <utility>

#include "core/base/bytes.h"
#include "core/text/char_bpe.h"
#include "core/text/tokenizer_json.h"
#include "core/text/tokenizer_pipeline.h"
#include "core/text/unigram.h"
#include "core/text/vocabulary.h"

namespace kvasir::text {
namespace {

constexpr VocabularyNames kNames{"tokenizer.model: pieces", "tokenizer.model: piece types", "tokenizer.model: merges"};

Failure damaged(const std::string& what) {
  return Failure{Code::kCorrupt, "tokenizer.model " + what + "; the file is damaged, fetch it again"};
}

/// One message of a protocol buffer: field after field.
class Message {
 public:
  explicit Message(std::string_view bytes) : in_(std::as_bytes(std::span(bytes.data(), bytes.size()))) {}

  struct Field {
    uint32_t number = 0;
    uint64_t value = 0;      ///< of a varint or a fixed width
    std::string_view bytes;  ///< of a string or a message
  };
  /// The next field; nothing at the end. Errors: kCorrupt.
  Result<std::optional<Field>> next() {
    if (in_.remaining() == 0) return std::optional<Field>();
    const auto key = varint();
    if (!key || *key >> 3 == 0 || *key >> 3 > UINT32_MAX) return damaged("has a bad field");
    Field field{static_cast<uint32_t>(*key >> 3), 0, {}};
    std::optional<uint64_t> value;
    switch (*key & 7) {
      case 0:
        value = varint();
        break;
      case 1:
        value = in_.read<uint64_t>();
        break;
      case 5:
        if (const auto narrow = in_.read<uint32_t>()) value = *narrow;
        break;
      case 2:
        if (const auto size = varint()) {
          if (const auto bytes = in_.read_bytes(*size)) {
            field.bytes = *bytes;
            value = 0;
          }
        }
        break;
      default:
        break;
    }
    if (!value) return damaged("ends inside a field");
    field.value = *value;
    return std::optional<Field>(field);
  }

 private:
  std::optional<uint64_t> varint() {
    uint64_t out = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = in_.read<uint8_t>();
      if (!byte) return std::nullopt;
      out |= uint64_t{*byte & 0x7Fu} << shift;
      if ((*byte & 0x80u) == 0) return out;
    }
    return std::nullopt;
  }
  ByteReader in_;
};

struct Model {
  VocabularyData data;
  std::string_view charsmap;
  uint64_t type = 1;  ///< 1 Unigram, 2 BPE
  bool add_dummy_prefix = true, remove_extra_whitespaces = true, escape_whitespaces = true, space_is_suffix = false;
};

/// Markers as spaces, in one pass: a hostile piece is as long as the file.
std::string with_spaces(std::string_view piece) {
  std::string out;
  for (size_t at = 0; at < piece.size();) {
    const size_t marker = std::min(piece.find(kSpaceMarker, at), piece.size());
    out.append(piece, at, marker - at);
    if (marker < piece.size()) out.push_back(' ');
    at = marker + kSpaceMarker.size();
  }
  return out;
}

/// SentencePiece { piece = 1, score = 2, type = 3 }
Result<void> read_piece(std::string_view bytes, Model& model) {
  Message message(bytes);
  std::string piece;
  float score = 0;
  int32_t kind = 1;
  while (const auto field = KVASIR_TRY(message.next())) {
    if (field->number == 1) piece = field->bytes;
    if (field->number == 2) {
      const auto bits = static_cast<uint32_t>(field->value);
      std::memcpy(&score, &bits, sizeof(score));
    }
    if (field->number == 3) kind = field->value <= 6 ? static_cast<int32_t>(field->value) : -1;
  }
  if (!std::isfinite(score)) return damaged("has a score that is no number");
  // These are found in the text before spaces are marked.
  if (kind == static_cast<int32_t>(TokenKind::kUserDefined)) piece = with_spaces(piece);
  model.data.tokens.push_back(std::move(piece));
  model.data.scores.push_back(score);
  model.data.kinds.push_back(kind);
  return {};
}

/// TrainerSpec { model_type = 3, treat_whitespace_as_suffix = 24, unk_id = 40, bos_id = 41, eos_id = 42, pad_id = 43 }
Result<void> read_trainer(std::string_view bytes, Model& model) {
  Message message(bytes);
  const auto id = [](uint64_t value) {  // negative: there is none
    const auto narrow = static_cast<int32_t>(static_cast<uint32_t>(value));
    return narrow < 0 ? std::nullopt : std::optional<int64_t>(narrow);
  };
  while (const auto field = KVASIR_TRY(message.next())) {
    if (field->number == 3) model.type = field->value;
    if (field->number == 24) model.space_is_suffix = field->value != 0;
    if (field->number == 40) model.data.unk = id(field->value);
    if (field->number == 41) model.data.bos = id(field->value);
    if (field->number == 42) model.data.eos = id(field->value);
    if (field->number == 43) model.data.pad = id(field->value);
  }
  return {};
}

/// NormalizerSpec { precompiled_charsmap = 2, add_dummy_prefix = 3, remove_extra_whitespaces = 4, escape_whitespaces =
/// 5 }
Result<void> read_normalizer(std::string_view bytes, Model& model) {
  Message message(bytes);
  while (const auto field = KVASIR_TRY(message.next())) {
    if (field->number == 2) model.charsmap = field->bytes;
    if (field->number == 3) model.add_dummy_prefix = field->value != 0;
    if (field->number == 4) model.remove_extra_whitespaces = field->value != 0;
    if (field->number == 5) model.escape_whitespaces = field->value != 0;
  }
  return {};
}

/// ModelProto { pieces = 1, trainer_spec = 2, normalizer_spec = 3 }
Result<Model> read_model(std::string_view bytes, const TokenizerLimits& limits) {
  Model model;
  model.data.unk = 0;  // the format's defaults
  model.data.bos = 1;
  model.data.eos = 2;
  Message message(bytes);
  while (const auto field = KVASIR_TRY(message.next())) {
    if (field->number == 1) {
      if (model.data.tokens.size() >= limits.max_tokens) {
        return Failure{Code::kTooLarge,
                       "tokenizer.model has more pieces than max_tokens = " + std::to_string(limits.max_tokens)};
      }
      KVASIR_TRY(read_piece(field->bytes, model));
    }
    if (field->number == 2) KVASIR_TRY(read_trainer(field->bytes, model));
    if (field->number == 3) KVASIR_TRY(read_normalizer(field->bytes, model));
  }
  if (model.type != 1 && model.type != 2) {
    return Failure{Code::kUnsupported, "tokenizer.model is of type " + std::to_string(model.type) +
                                           "; supported are: 1 (Unigram), 2 (BPE)"};
  }
  if (model.space_is_suffix || !model.escape_whitespaces) {
    return Failure{Code::kUnsupported,
                   "tokenizer.model treats spaces as suffixes or leaves them as they are, which is not supported"};
  }
  return model;
}

/// True if a marker stands only at the beginning of pieces, so that words can be cut one by one.
bool markers_only_lead(const TokenTable& table) {
  for (size_t i = 0; i < table.size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    if (table.kind(id) == TokenKind::kNormal && table.text(id).find(kSpaceMarker, 1) != std::string_view::npos)
      return false;
  }
  return true;
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> create_from_sentencepiece(VocabularyData data, const TokenizerLimits& limits) {
  Model model = KVASIR_TRY(read_model(data.sentencepiece_model, limits));
  TokenizerConfig config;
  if (!data.tokenizer_config_json.empty()) config = KVASIR_TRY(read_tokenizer_config(data.tokenizer_config_json));
  model.data.end_ids = std::move(data.end_ids);
  model.data.add_bos = config.add_bos.value_or(model.type == 2) && model.data.bos.has_value();
  model.data.add_eos = config.add_eos.value_or(config.tokenizer_class.starts_with("T5")) && model.data.eos.has_value();
  Normalizer normalizer;
  if (!model.charsmap.empty()) normalizer.add(KVASIR_TRY(CharsMap::create(model.charsmap)));

  VocabularyDefaults defaults;
  defaults.spelling = TokenSpelling::kSpaceMarked;
  defaults.names = kNames;
  const std::vector<float> scores = model.data.scores;
  TokenizerParts parts = KVASIR_TRY(check_vocabulary(model.data, defaults, limits));
  if (!parts.policy.unknown) return damaged("names no unknown piece");
  const PrefixSpace prefix = model.add_dummy_prefix ? PrefixSpace::kEverySegment : PrefixSpace::kNever;
  parts.policy.strip_leading_space = model.add_dummy_prefix;
  if (model.type == 2) {
    CharBpeOptions options;
    options.spaces = {.prefix = prefix, .remove_extra_whitespaces = model.remove_extra_whitespaces};
    options.normalizer = std::move(normalizer);
    return std::unique_ptr<Tokenizer>(std::make_unique<CharBpe>(std::move(parts), scores, std::move(options)));
  }
  const SpaceRules spaces{.prefix = prefix,
                          .remove_extra_whitespaces = model.remove_extra_whitespaces,
                          .split_at_spaces = markers_only_lead(parts.table)};
  return std::unique_ptr<Tokenizer>(std::make_unique<Unigram>(std::move(parts),
                                                              std::vector<double>(scores.begin(), scores.end()),
                                                              UnigramPieces::kNormal, spaces, std::move(normalizer)));
}

}  // namespace kvasir::text
