// What an engine's side worker does: prompts to tokens, counting, (de)tokenising, describing the model. It never waits
// for the weights: before a load it reads the file's header.
#include <exception>
#include <utility>

#include "core/engine/engine_instance.h"
#include "core/engine/sampling_defaults.h"
#include "core/engine/session_prompt.h"

namespace kvasir {
namespace {

/// Runs third-party-free but allocating code; running out of memory becomes an error of this one request.
template <class Function>
auto guarded(const Function& function) -> decltype(function()) {
  try {
    return function();
  } catch (const std::exception& e) {
    return Failure{Code::kInternal, std::string("the side worker failed: ") + e.what()};
  }
}

}  // namespace

std::shared_ptr<LoadedModel> EngineInstance::shared_model() const {
  const std::lock_guard lock(shared_mutex_);
  return shared_model_;
}

Result<TextTools> EngineInstance::text_tools(std::shared_ptr<const LoadedModel>& holder) {
  holder = shared_model();
  if (holder) {
    side_text_.reset();
    return TextTools{.tokenizer = &holder->model->tokenizer(), .chat_template = holder->model->chat_template()};
  }
  if (!side_text_) side_text_ = KVASIR_TRY(environment_.load_text(key_.model));
  return TextTools{.tokenizer = side_text_->tokenizer.get(),
                   .chat_template = side_text_->chat_template ? &*side_text_->chat_template : nullptr};
}

void EngineInstance::prepare(uint64_t serial, const Request& request) {
  using Prompts = std::variant<PreparedPrompt, PreparedScore>;
  side_.post({.id = {},
              .run =
                  [this, serial, work = request.work, model = model_,
                   facts = ContextFacts{context_, positions_, model_->model->description().fingerprint}] {
                    const TextTools tools{.tokenizer = &model->model->tokenizer(),
                                          .chat_template = model->model->chat_template()};
                    auto prompt = guarded([&]() -> Result<Prompts> {
                      if (const auto* generate = std::get_if<Generate>(&work)) {
                        return Prompts(KVASIR_TRY(prepare_generation(*generate, tools, limits_, facts)));
                      }
                      if (const auto* compress = std::get_if<CompressContext>(&work)) {
                        return Prompts(KVASIR_TRY(prepare_compression(*compress, tools, limits_, facts)));
                      }
                      if (const auto* compare = std::get_if<CompareContexts>(&work)) {
                        for (const auto* context : {&compare->full, &compare->other}) {
                          KVASIR_TRY(check_ids(context->tokens, *tools.tokenizer, limits_.max_prompt_tokens));
                          for (const ContextStage& stage : context->stages) {
                            KVASIR_TRY(check_ids(stage.tokens, *tools.tokenizer, limits_.max_prompt_tokens));
                          }
                        }
                        return Prompts(PreparedPrompt{});
                      }
                      return Prompts(KVASIR_TRY(prepare_score(std::get<ScoreText>(work), tools, limits_)));
                    });
                    inbox_.put([&](EngineMail& mail) { mail.prepared.push_back({serial, std::move(prompt)}); });
                  },
              .cancelled = {}});
}

template <class Function>
void EngineInstance::post_job(GenerationId id, Function function) {
  side_.post({.id = id,
              .run =
                  [this, id, function = std::move(function)] {
                    auto event = guarded(function);
                    if (event) return host_.post(std::move(*event));
                    host_.post(Failed{.id = id, .code = event.error().code, .message = event.error().message});
                  },
              .cancelled = [this, id] { host_.post(Failed{.id = id, .code = Code::kCancelled, .message = "cancelled"}); }});
}

void EngineInstance::post_text_job(TextCommand command) {
  const GenerationId id = std::visit([](const auto& body) { return body.id; }, command);
  const auto answer = [limits = limits_](const TextCommand& any, const TextTools& tools) -> Result<Event> {
    if (const auto* count = std::get_if<CountTokens>(&any)) return Event(KVASIR_TRY(count_tokens(*count, tools, limits)));
    if (const auto* encode = std::get_if<Tokenize>(&any)) return Event(KVASIR_TRY(tokenize(*encode, tools)));
    return Event(KVASIR_TRY(detokenize(std::get<Detokenize>(any), tools)));
  };
  post_job(id, [this, command = std::move(command), answer]() -> Result<Event> {
    std::shared_ptr<const LoadedModel> holder;
    const TextTools tools = KVASIR_TRY(text_tools(holder));
    return answer(command, tools);
  });
}

void EngineInstance::post_info_job(const ModelInfo& command) {
  post_job(command.id, [this, id = command.id]() -> Result<Event> { return Event(KVASIR_TRY(describe(id))); });
}

Result<ModelInfoResult> EngineInstance::describe(GenerationId id) {
  ModelInfoResult info;
  info.id = id;
  info.probes = environment_.probes();
  info.memory.rss_bytes = resident_memory_bytes();
  const std::shared_ptr<LoadedModel> model = shared_model();
  if (model) {
    info.loaded = true;
    info.model = model->model->description();
    info.backend = model->backend->info();
    if (!model->backend_note.empty()) info.backend.reason += "; " + model->backend_note;
    info.gpu_layers = model->gpu_layers;
    info.memory.weights_bytes = model->model->weight_bytes_in_memory();
    info.memory.kv_total_pages = counters_.kv_total_pages;
    info.memory.kv_free_pages = counters_.kv_free_pages;
    const std::lock_guard lock(shared_mutex_);
    info.context = status_.context;
    info.context_reason = status_.context_reason;
    info.memory.kv_bytes = status_.kv_bytes;
  } else {
    info.model = KVASIR_TRY(environment_.describe(key_.model, {.quantize = key_.quantize}));
    if (const auto probe = environment_.select_backend(key_.backend)) {
      info.backend = {.name = probe->name, .isa_or_device = {}, .reason = probe->reason, .threads = key_.threads};
    } else {
      info.backend = {.name = key_.backend, .isa_or_device = {}, .reason = probe.error().message};
    }
    const uint64_t values = uint64_t{2} * info.model.layers * info.model.kv_heads * info.model.head_dim;
    const auto plan = plan_context({.model_max = info.model.max_context,
                                    .asked = key_.context,
                                    .bytes_per_token = kv_bytes(key_.kv_type, values),
                                    .available_bytes = environment_.available_memory_bytes(),
                                    .max_sequences = limits_.max_sequences});
    info.context = plan ? plan->context : 0;
    info.context_reason = plan ? plan->reason : plan.error().message;
  }
  info.default_sampling = resolve_sampling({}, info.model.sampling, 0);
  return info;
}

}  // namespace kvasir
