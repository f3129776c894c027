#include "tests/support/fake_engine.h"

#include <algorithm>
#include <array>
#include <sstream>
#include <utility>
#include <variant>

namespace kvasir::test {
namespace {

constexpr std::array<const char*, 8> kWords = {"Once", " upon", " a", " time", " in", " København", " 🦊", "."};
constexpr uint64_t kNaturalEnd = 8;

uint64_t count_words(const std::string& text) {
  std::istringstream in(text);
  std::string word;
  uint64_t words = 0;
  while (in >> word) ++words;
  return words;
}

std::string steering_text(const Prompt& prompt) {
  return prompt.kind == Prompt::Kind::kMessages && !prompt.messages.empty() ? prompt.messages.back().content
                                                                            : prompt.text;
}

uint64_t count_prompt(const Prompt& prompt) {
  if (prompt.kind == Prompt::Kind::kTokens) return prompt.tokens.size();
  if (prompt.kind == Prompt::Kind::kText) return count_words(prompt.text);
  uint64_t words = 0;
  for (const auto& message : prompt.messages) words += count_words(message.content);
  return words;
}

Code code_of(const std::string& name) {
  for (const Code code :
       {Code::kInvalidArgument, Code::kNotFound, Code::kBusy, Code::kTooLarge, Code::kCancelled, Code::kDeadline,
        Code::kCorrupt, Code::kUnsupported, Code::kIo, Code::kBackend, Code::kUnavailable, Code::kConflict})
    if (name == code_name(code)) return code;
  return Code::kInternal;
}

}  // namespace

FakeEngine::FakeEngine(After after, FakeEngineOptions the_options) : options(the_options), after_(std::move(after)) {}

std::string FakeEngine::text(uint64_t tokens) {
  std::string out;
  for (uint64_t i = 0; i < tokens; ++i) out += kWords[i % kWords.size()];
  return out;
}

bool FakeEngine::send(Command command) {
  if (shut_) return false;
  commands.push_back(command);
  if (const auto* c = std::get_if<Cancel>(&command.body)) return cancel(c->id), true;
  if (const auto* p = std::get_if<Pause>(&command.body)) {
    if (const auto run = running_.find(p->id); run != running_.end()) run->second.paused = true, ++run->second.step;
    return true;
  }
  if (const auto* r = std::get_if<Resume>(&command.body)) {
    const auto run = running_.find(r->id);
    if (run != running_.end() && std::exchange(run->second.paused, false)) schedule(r->id);
    return true;
  }
  if (pending() >= options.max_pending) return commands.pop_back(), false;
  if (auto* generate = std::get_if<Generate>(&command.body)) return begin(std::move(*generate)), true;
  answer(std::move(command.body));
  return true;
}

std::optional<Event> FakeEngine::poll() {
  if (events_.empty()) return std::nullopt;
  Event event = std::move(events_.front());
  events_.pop_front();
  return event;
}

void FakeEngine::emit(Event event) {
  if (shut_) return;
  events_.push_back(std::move(event));
  if (wake_) wake_();
}

void FakeEngine::begin(Generate request) {
  const std::string steer = steering_text(request.prompt);
  if (steer.starts_with("!fail ")) {
    const Code code = code_of(steer.substr(6));
    return emit(Failed{request.id, code, "the engine says: " + steer.substr(6), code == Code::kBusy ? 250U : 0U});
  }
  if (running_.size() >= options.max_running) {
    emit(Progress{request.id, Phase::kQueued, waiting_.size(), 0});
    waiting_.push_back(std::move(request));
    return;
  }
  const GenerationId id = request.id;
  Run run{std::move(request), steer, 0, 0, false, 0, {}};
  run.prompt_tokens = count_prompt(run.request.prompt);
  running_.emplace(id, std::move(run));
  load_then(id, [this, id] { prefill(id); });
}

void FakeEngine::admit() {
  if (waiting_.empty() || running_.size() >= options.max_running) return;
  Generate next = std::move(waiting_.front());
  waiting_.pop_front();
  for (size_t i = 0; i < waiting_.size(); ++i) emit(Progress{waiting_[i].id, Phase::kQueued, i, 0});
  begin(std::move(next));
}

void FakeEngine::load_then(GenerationId id, UniqueFunction<void()> then) {
  if (loaded_ || options.load_time.count() == 0) {
    loaded_ = true;
    return then();
  }
  load_step(id, 0, std::make_shared<UniqueFunction<void()>>(std::move(then)));
}

void FakeEngine::load_step(GenerationId id, int step, std::shared_ptr<UniqueFunction<void()>> then) {
  constexpr int kSteps = 5;
  if (step == kSteps) {
    loaded_ = true;
    return (*then)();
  }
  emit(Progress{id, Phase::kLoading, static_cast<uint64_t>(step * 100 / kSteps), 100});
  after_(options.load_time / kSteps, [this, id, step, then] { load_step(id, step + 1, then); });
}

void FakeEngine::prefill(GenerationId id) {
  const auto found = running_.find(id);
  if (found == running_.end()) return;
  emit(Progress{id, Phase::kPrefill, found->second.prompt_tokens, found->second.prompt_tokens});
  if (found->second.prompt.starts_with("!burst")) {
    const uint64_t tokens = std::min<uint64_t>(found->second.request.max_tokens, kNaturalEnd);
    for (uint64_t i = 0; i < tokens; ++i) emit(TextDelta{id, kWords[i % kWords.size()], i + 1});
    found->second.made = tokens;
    return finish(id, tokens == kNaturalEnd ? FinishReason::kStop : FinishReason::kLength);
  }
  if (options.prefill_time.count() == 0) return schedule(id);
  after_(options.prefill_time, [this, id] {
    if (running_.contains(id)) schedule(id);
  });
}

void FakeEngine::schedule(GenerationId id) {
  Run& run = running_.at(id);
  if (run.paused || run.prompt.starts_with("!hang")) return;
  if (run.request.max_tokens == 0) return finish(id, FinishReason::kLength);
  after_(options.token_time, [this, id, step = ++run.step] {
    const auto found = running_.find(id);
    if (found != running_.end() && found->second.step == step) decode(id);
  });
}

void FakeEngine::decode(GenerationId id) {
  Run& run = running_.at(id);
  run.worked += options.token_time;
  if (run.request.max_time_ms > 0 && static_cast<uint64_t>(run.worked.count()) >= run.request.max_time_ms)
    return finish(id, FinishReason::kTimeLimit);
  emit(TextDelta{id, kWords[run.made % kWords.size()], run.made + 1});
  ++run.made;
  const uint32_t every = run.request.prompt.in_session ? run.request.partial_every : 0;
  if (every > 0 && run.made % every == 0 && run.made < run.request.max_tokens) {
    emit(PartialResult{id, result_of(run, FinishReason::kCancelled)});
  }
  if (run.made >= run.request.max_tokens) return finish(id, FinishReason::kLength);
  if (run.made == kNaturalEnd && !run.request.ignore_eos) return finish(id, FinishReason::kStop);
  schedule(id);
}

/// A session's context: the history, then one token per byte of the rest.
void FakeEngine::describe_context(const Generate& request, uint64_t made, GenerateResult& result) {
  for (const auto& message : request.prompt.messages) result.context_text += "<" + message.role + ">" + message.content;
  if (request.prompt.messages.empty()) result.context_text = request.prompt.history_text;
  result.context_tokens = request.prompt.history_tokens;
  for (size_t i = request.prompt.history_text.size(); i < result.context_text.size(); ++i) {
    result.context_tokens.push_back(static_cast<unsigned char>(result.context_text[i]));
  }
  result.usage.prompt_tokens = result.context_tokens.size();
  result.answer_text = text(made);
  for (const char c : result.answer_text) result.context_tokens.push_back(static_cast<unsigned char>(c));
  result.tokens_in_context = result.answer_text.size();
}

void FakeEngine::finish(GenerationId id, FinishReason reason) {
  const auto node = running_.extract(id);
  emit(result_of(node.mapped(), reason));
  admit();
}

GenerateResult FakeEngine::result_of(const Run& run, FinishReason reason) const {
  GenerateResult result;
  result.id = run.request.id;
  result.text = text(run.made);
  result.finish_reason = reason;
  result.usage = {run.prompt_tokens, 0, run.made};
  result.timings.decode_ms = static_cast<double>(run.made) * static_cast<double>(options.token_time.count());
  result.seed = run.request.sampling.seed.value_or(42);
  result.model = "fake";
  result.fingerprint = "fake";
  if (run.request.prompt.in_session) describe_context(run.request, run.made, result);
  if (run.request.return_tokens)
    for (uint64_t i = 0; i < run.made; ++i) result.tokens.push_back(static_cast<TokenId>(i % kWords.size()));
  if (run.request.want_logprobs)
    for (uint64_t i = 0; i < run.made; ++i)
      result.logprobs.push_back(
          {static_cast<TokenId>(i % kWords.size()), kWords[i % kWords.size()], -0.5F, {{1, -0.5F}, {2, -1.5F}}});
  return result;
}

void FakeEngine::cancel(GenerationId id) {
  if (running_.contains(id)) return finish(id, FinishReason::kCancelled);
  const auto found = std::find_if(waiting_.begin(), waiting_.end(), [id](const Generate& g) { return g.id == id; });
  if (found == waiting_.end()) return;
  GenerateResult result;
  result.id = id;
  result.finish_reason = FinishReason::kCancelled;
  result.model = "fake";
  waiting_.erase(found);
  emit(std::move(result));
}

void FakeEngine::answer(CommandBody body) {
  if (const auto* count = std::get_if<CountTokens>(&body)) {
    CountResult result{count->id, count_prompt(count->prompt), {}, std::nullopt, 0};
    if (count->prompt.kind == Prompt::Kind::kMessages) {
      for (const auto& message : count->prompt.messages) result.per_message.push_back(count_words(message.content));
      result.template_overhead = 4 * count->prompt.messages.size();
      result.tokens += *result.template_overhead;
    }
    return emit(std::move(result));
  }
  if (const auto* score = std::get_if<ScoreText>(&body)) {
    ScoreResult result;
    result.id = score->id;
    const uint64_t first = score->score_from > 0 ? score->score_from : 1;
    const uint64_t tokens = score->has_tokens ? score->tokens.size() - first : count_words(score->text);
    for (uint64_t i = 0; i < tokens; ++i) {
      result.tokens.push_back(score->score_from > 0 ? score->tokens[first + i] : static_cast<TokenId>(i));
      result.logprobs.push_back(-1.0F);
      if (score->top > 0) result.top.push_back({{static_cast<TokenId>(i), -1.0F}});
    }
    result.nll = static_cast<double>(tokens);
    if (score->top > 0) result.top_last = {{7, -0.25F}};
    return emit(std::move(result));
  }
  if (const auto* compress = std::get_if<CompressContext>(&body)) {
    const std::vector<TokenId>& history = compress->prompt.history_tokens;
    // Every layer looked everywhere the same.
    const auto edit = choose_rows(compress->choice, {{std::vector<float>(compress->choice.source_tokens, 1.0F)}});
    if (!edit) return emit(Failed{compress->id, edit.error().code, edit.error().message, 0});
    CompressResult result{compress->id, *edit, kept_tokens(*edit, history), edit->source_tokens * 100ULL, edit->kept_tokens * 100ULL};
    result.edit.aged = compress->aged;
    if (compress->aged) result.kept_bytes /= 3;
    return emit(std::move(result));
  }
  if (const auto* compare = std::get_if<CompareContexts>(&body)) {
    return emit(CompareResult{.id = compare->id, .scored = compare->scored, .nll_full = 10, .nll_other = 10 + options.compare_cost,
                              .kl_mean = 0.5, .kl_p95 = 1, .top1_agree = 1});
  }
  if (const auto* tokenize = std::get_if<Tokenize>(&body)) {
    TokenizeResult result{tokenize->id, {}, {}, 0};
    for (const char c : tokenize->text) {
      result.tokens.push_back(static_cast<unsigned char>(c));
      if (tokenize->pieces) result.pieces.emplace_back(1, c);
    }
    return emit(std::move(result));
  }
  if (const auto* detokenize = std::get_if<Detokenize>(&body)) {
    DetokenizeResult result{detokenize->id, ""};
    for (const TokenId token : detokenize->tokens) result.text.push_back(static_cast<char>(token));
    return emit(std::move(result));
  }
  if (const auto* info = std::get_if<ModelInfo>(&body)) {
    ModelInfoResult result;
    result.id = info->id;
    result.loaded = loaded_;
    result.model.name = "fake";
    result.model.architecture = "llama";
    result.model.quantization = "Q4_1";
    result.model.format = "gguf v3";
    result.model.path = "/models/fake.gguf";
    result.model.parameters = 134'515'008;
    result.model.max_context = 2048;
    result.model.vocab_size = 49'152;
    result.context = 2048;
    result.backend = {"reference", "scalar", "asked for", 1, 1};
    result.probes = {{"reference", true, 0, "always there"}};
    return emit(std::move(result));
  }
  if (const auto* probe = std::get_if<ProbeCache>(&body)) {
    CacheResult result;
    result.id = probe->id;
    result.loaded = loaded_;
    result.fingerprint = "fake";
    result.context = 2048;
    result.kv_bytes_per_token = 100;
    result.cached_tokens = probe->tokens.size() / 64 * 64;
    return emit(std::move(result));
  }
  if (const auto* preload = std::get_if<Preload>(&body)) {
    const GenerationId id = preload->id;
    return load_then(id, [this, id] { emit(Ready{id, 1.0}); });
  }
}

}  // namespace kvasir::test
