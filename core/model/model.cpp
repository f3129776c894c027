#include "core/model/model.h"

#include <algorithm>
#include <optional>
#include <set>

#include "backends/weight_cache.h"
#include "core/base/log.h"
#include "core/model/describe.h"
#include "core/model/families/family.h"
#include "core/model/file_source.h"
#include "core/model/fingerprint.h"
#include "core/model/quantise.h"
#include "core/model/transformer.h"

namespace kvasir {
namespace {

Failure in_file(const std::string& path, const Error& error) {
  if (error.code == Code::kCancelled || error.message.starts_with(path)) return Failure(error);
  return Failure(error.code, path + ": " + error.message);
}

/// A file that was read and checked as a model, with everything that needs no weights.
struct CheckedModel {
  std::unique_ptr<ModelFile> file;
  std::unique_ptr<WeightPlan> plan;
  std::unique_ptr<Transformer> transformer;
  ModelDescription description;
};

Result<CheckedModel> check(std::unique_ptr<ModelFile> stored, const ModelOptions& options, const ModelLimits& limits) {
  auto [file, note] = quantise_on_load(std::move(stored), options.quantize);
  CheckedModel out;
  ModelConfig config = KVASIR_TRY(read_model_config(*file, limits));
  out.description = KVASIR_TRY(describe(*file, config));
  out.description.quantized_on_load = std::move(note);
  KVASIR_TRY(file->vocabulary());
  out.plan = std::make_unique<WeightPlan>(*file);
  out.transformer = KVASIR_TRY(Transformer::create(std::move(config), *out.plan));
  out.file = std::move(file);
  return out;
}

Result<CheckedModel> open_and_check(const std::string& path, const ModelOptions& options, const ModelLimits& limits) {
  auto file = KVASIR_TRY(ModelFile::open(path, limits));
  auto checked = check(std::move(file), options, limits);
  if (!checked) return in_file(path, checked.error());
  return checked;
}

Result<ModelText> make_text(const ModelFile& file) {
  ModelText text;
  VocabularyData vocabulary = KVASIR_TRY(file.vocabulary());
  text.tokenizer = KVASIR_TRY(Tokenizer::create(std::move(vocabulary)));
  if (auto source = KVASIR_TRY(file.chat_template())) {
    text.chat_template_source = std::move(*source);
    auto parsed = ChatTemplate::parse(text.chat_template_source);
    // A model with a template that we cannot read still completes text: said once, not fatal.
    if (parsed) {
      text.chat_template = std::move(*parsed);
    } else {
      log::warn("model event=chat_template_unusable reason=\"" + printable(parsed.error().message) + "\"");
    }
  }
  return text;
}

void warn_unused(const WeightPlan& plan, const std::string& path) {
  const auto unused = plan.unused();
  if (unused.empty()) return;
  log::warn("model event=unused_tensors count=" + std::to_string(unused.size()) + " first=" + unused.front() +
            " path=" + path);
}

/// Names what a load makes of these very files; nothing where bytes come from elsewhere (some folders of safetensors).
std::optional<std::string> identity_of(const ModelFile& file) {
  std::set<std::string> files;
  for (const FileTensor& tensor : file.stored().tensors()) {
    const auto* source = dynamic_cast<const FileSource*>(tensor.source);
    if (source == nullptr) return std::nullopt;
    files.insert(source->identity());
  }
  std::string out = header_fingerprint(file);
  for (const std::string& one : files) out += " " + one;
  return out;
}

class LoadedModel final : public Model {
 public:
  LoadedModel(CheckedModel checked, ModelText text, std::vector<std::unique_ptr<Weight>> weights)
      : description_(std::move(checked.description)),
        text_(std::move(text)),
        weights_(std::move(weights)),
        transformer_(std::move(checked.transformer)) {}

  const ModelDescription& description() const noexcept override { return description_; }
  const Tokenizer& tokenizer() const noexcept override { return *text_.tokenizer; }
  const ChatTemplate* chat_template() const noexcept override {
    return text_.chat_template ? &*text_.chat_template : nullptr;
  }
  uint64_t weight_bytes_in_memory() const noexcept override {
    uint64_t bytes = 0;
    for (const auto& weight : weights_) bytes += weight->bytes();
    return bytes;
  }

  KvPoolSpec kv_spec(KvType type, uint32_t full_pages, uint32_t max_sequences, uint32_t max_rows) const override {
    KvPoolSpec spec = transformer_->caches();
    spec.type = type;
    for (const uint32_t window : transformer_->group_windows()) {
      // A window and a chunk in front of it, beginning anywhere inside a page.
      const uint64_t per_sequence = (uint64_t{window} + max_rows + kPageTokens - 1) / kPageTokens + 1;
      const uint64_t pages = window == 0 ? full_pages : std::min<uint64_t>(per_sequence * max_sequences, full_pages);
      spec.group_pages.push_back(static_cast<uint32_t>(pages));
    }
    if (!spec.state_floats.empty()) spec.state_slots = max_sequences;
    return spec;
  }
  std::vector<uint32_t> group_windows() const override { return transformer_->group_windows(); }
  Result<std::vector<RopeSpec>> key_ropes() const override { return transformer_->key_ropes(); }
  uint32_t choose_context(uint32_t tokens) override {
    return std::max(tokens, std::min(description_.max_context, transformer_->choose_context(tokens)));
  }

  Result<void> forward(Stream& stream, KvPool& pool, const StepLayout& layout, std::span<const TokenId> tokens,
                       std::span<const uint32_t> logit_rows, std::span<float> logits) override {
    if (logits.size() != logit_rows.size() * description_.vocab_size) {
      return Failure(Code::kInternal, "forward: logits do not match the layout");
    }
    KVASIR_TRY(check(layout, tokens));
    return transformer_->forward(stream, pool, layout, tokens, {.rows = logit_rows, .logits = logits, .best = {}});
  }
  Result<void> forward_best(Stream& stream, KvPool& pool, const StepLayout& layout, std::span<const TokenId> tokens,
                            std::span<const uint32_t> logit_rows, std::span<Candidate> best, uint32_t count) override {
    if (best.size() != logit_rows.size() * count || count == 0 || count > description_.vocab_size) {
      return Failure(Code::kInternal, "forward: candidates do not match the layout");
    }
    KVASIR_TRY(check(layout, tokens));
    return transformer_->forward(stream, pool, layout, tokens, {.rows = logit_rows, .logits = {}, .best = best, .count = count});
  }

 private:
  Result<void> check(const StepLayout& layout, std::span<const TokenId> tokens) const {
    if (tokens.size() != layout.rows) return Failure(Code::kInternal, "forward: tokens do not match the layout");
    for (const TokenId id : tokens) {
      if (id < 0 || static_cast<uint32_t>(id) >= description_.vocab_size) {
        return Failure(Code::kInvalidArgument, "token id " + std::to_string(id) + " is outside the vocabulary");
      }
    }
    return {};
  }

  ModelDescription description_;
  ModelText text_;
  std::vector<std::unique_ptr<Weight>> weights_;
  std::unique_ptr<Transformer> transformer_;
};

Result<std::unique_ptr<Model>> load_checked(CheckedModel checked, Backend& backend, const LoadProgress& progress) {
  ModelText text = KVASIR_TRY(make_text(*checked.file));
  warn_unused(*checked.plan, checked.file->path());
  if (const std::string& note = checked.description.quantized_on_load; !note.empty()) {
    log::info("model event=quantized_on_load what=\"" + note + "\" path=" + checked.file->path());
  }
  const auto identity = identity_of(*checked.file);
  auto* cache = identity ? dynamic_cast<WeightCache*>(&backend) : nullptr;
  auto fingerprint = cache ? cache->begin_weights(*identity) : std::nullopt;  // kept with the weights
  std::optional<WeightHasher> hasher;
  if (!fingerprint) hasher.emplace(*checked.file);
  auto weights = KVASIR_TRY(checked.plan->upload(backend, progress));
  checked.description.fingerprint = fingerprint ? *fingerprint : KVASIR_TRY(hasher->result());
  KVASIR_TRY(checked.file->check_unchanged());
  if (cache) cache->finish_weights(checked.description.fingerprint);
  return std::unique_ptr<Model>(std::make_unique<LoadedModel>(std::move(checked), std::move(text), std::move(weights)));
}

}  // namespace

Result<ModelDescription> describe_model(const std::string& path, const ModelOptions& options) {
  CheckedModel checked = KVASIR_TRY(open_and_check(path, options, ModelLimits{}));
  return std::move(checked.description);
}

Result<ModelText> load_model_text(const std::string& path) {
  const auto file = KVASIR_TRY(ModelFile::open(path, ModelLimits{}));
  auto text = make_text(*file);
  if (!text) return in_file(path, text.error());
  return text;
}

Result<std::unique_ptr<Model>> Model::load(const std::string& path, Backend& backend, const LoadProgress& progress,
                                           const ModelOptions& options) {
  auto model = load_checked(KVASIR_TRY(open_and_check(path, options, ModelLimits{})), backend, progress);
  if (!model) return in_file(path, model.error());
  return model;
}

}  // namespace kvasir
