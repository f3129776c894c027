// The tokenizer's part of GGUF metadata, as checked types. What a tokenizer makes of it is core/text's business.
#include "core/model/file_source.h"
#include "core/model/model_file.h"

namespace kvasir {
namespace {

/// A special token's id, which must name a token.
Result<std::optional<int64_t>> token_id(const Metadata& metadata, std::string_view name, size_t tokens) {
  return metadata.integer("tokenizer.ggml." + std::string(name) + "_token_id", 0, static_cast<int64_t>(tokens) - 1);
}

Result<void> check_count(const char* key, size_t count, size_t tokens) {
  if (count == tokens) return {};
  return Failure(Code::kCorrupt, std::string("metadata ") + key + " has " + std::to_string(count) + " elements for " +
                                     std::to_string(tokens) + " tokens");
}

Result<void> read_special(const Metadata& m, VocabularyData& v) {
  const size_t n = v.tokens.size();
  v.bos = KVASIR_TRY(token_id(m, "bos", n));
  v.eos = KVASIR_TRY(token_id(m, "eos", n));
  v.eot = KVASIR_TRY(token_id(m, "eot", n));
  v.eom = KVASIR_TRY(token_id(m, "eom", n));
  v.unk = KVASIR_TRY(token_id(m, "unknown", n));
  v.sep = KVASIR_TRY(token_id(m, "seperator", n));  // spelt so in the format
  v.pad = KVASIR_TRY(token_id(m, "padding", n));
  v.mask = KVASIR_TRY(token_id(m, "mask", n));
  v.fim_prefix = KVASIR_TRY(token_id(m, "fim_pre", n));
  v.fim_suffix = KVASIR_TRY(token_id(m, "fim_suf", n));
  v.fim_middle = KVASIR_TRY(token_id(m, "fim_mid", n));
  v.add_bos = KVASIR_TRY(m.boolean("tokenizer.ggml.add_bos_token"));
  v.add_eos = KVASIR_TRY(m.boolean("tokenizer.ggml.add_eos_token"));
  v.add_space_prefix = KVASIR_TRY(m.boolean("tokenizer.ggml.add_space_prefix"));
  v.remove_extra_whitespaces = KVASIR_TRY(m.boolean("tokenizer.ggml.remove_extra_whitespaces"));
  return {};
}

}  // namespace

Result<VocabularyData> read_vocabulary(const Metadata& m, const ModelLimits& limits) {
  VocabularyData v;
  const auto model = KVASIR_TRY(m.string("tokenizer.ggml.model"));
  const auto* tokens = KVASIR_TRY(m.strings("tokenizer.ggml.tokens"));
  if (!model || tokens == nullptr || tokens->empty()) {
    return Failure(Code::kCorrupt, "the file has no vocabulary (tokenizer.ggml.model, tokenizer.ggml.tokens)");
  }
  if (tokens->size() > limits.max_vocab) {
    return Failure(Code::kTooLarge, "vocabulary of " + std::to_string(tokens->size()) + " tokens; at most " +
                                        std::to_string(limits.max_vocab) + " are allowed");
  }
  v.model = *model;
  v.tokens = *tokens;
  if (const auto pre = KVASIR_TRY(m.string("tokenizer.ggml.pre"))) v.pre = *pre;
  if (auto scores = KVASIR_TRY(m.floats("tokenizer.ggml.scores"))) {
    KVASIR_TRY(check_count("tokenizer.ggml.scores", scores->size(), v.tokens.size()));
    v.scores = std::move(*scores);
  }
  if (const MetaValue* kinds = m.find("tokenizer.ggml.token_type")) {
    const auto* array = std::get_if<MetaArray>(kinds);
    // Other widths than the format's 32 bits were how readers got confused (llama.cpp#26690): refused.
    if (array == nullptr || (array->element != MetaType::kI32 && array->element != MetaType::kU32)) {
      return Failure(Code::kCorrupt, "metadata tokenizer.ggml.token_type is not an array of 32-bit integers");
    }
    const auto numbers = KVASIR_TRY(m.integers("tokenizer.ggml.token_type"));
    KVASIR_TRY(check_count("tokenizer.ggml.token_type", numbers->size(), v.tokens.size()));
    for (const int64_t number : *numbers) v.kinds.push_back(static_cast<int32_t>(number));
  }
  if (const auto* merges = KVASIR_TRY(m.strings("tokenizer.ggml.merges"))) v.merges = *merges;
  KVASIR_TRY(read_special(m, v));
  return v;
}

}  // namespace kvasir
