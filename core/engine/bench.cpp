#include "core/engine/bench.h"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "core/base/bytes.h"
#include "core/engine/context_plan.h"
#include "core/engine/model_runner.h"
#include "core/engine/placement.h"

namespace kvasir {
namespace {

constexpr uint32_t kStepRows = 256;
constexpr uint32_t kScoreRows = 64;
constexpr uint32_t kMaxBatch = 256;
constexpr uint32_t kMaxRepeat = 1000;

/// One loaded model with room for `sequences` of `tokens` each, and nobody to share it with.
class Rig {
 public:
  static Result<std::unique_ptr<Rig>> create(const EngineEnvironment& environment, const EngineKey& key);
  /// Fresh KV pages for so many sequences of so many tokens. Nothing is reused between repetitions.
  Result<void> make_room(const EngineKey& key, uint32_t sequences, uint32_t tokens);
  uint32_t longest = 0;  ///< tokens of a sequence in any measurement: set before the first make_room()
  /// Runs one step; `use` gets each sequence and token index whose row has logits. Generating sequences get the token
  /// it returns.
  using UseLogits = std::function<Result<std::optional<TokenId>>(SeqId, uint32_t index, std::span<float>)>;
  Result<void> step(const UseLogits& use);

  Scheduler& scheduler() { return *scheduler_; }
  Model& model() { return *model_; }
  const BackendInfo& backend() const { return backend_->info(); }
  DevicePeaks peaks() { return backend_->measure_peaks(); }
  uint64_t kv_bytes_per_token = 0;  ///< of the layers that look at everything; set by make_room()
  double load_ms = 0;

 private:
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<ModelRunner> runner_;
};

Result<std::unique_ptr<Rig>> Rig::create(const EngineEnvironment& environment, const EngineKey& key) {
  auto rig = std::make_unique<Rig>();
  const SteadyClock clock;
  const TimePoint started = clock.now();
  auto opened = KVASIR_TRY(environment.open_backend(key.backend, {.threads = key.threads, .activations = key.activations}));
  const ModelDescription description = KVASIR_TRY(environment.describe(key.model, {.quantize = key.quantize}));
  rig->backend_ = KVASIR_TRY(place_model(environment, key, description, std::move(opened))).backend;
  rig->model_ = KVASIR_TRY(environment.load(key.model, {.quantize = key.quantize}, *rig->backend_, [](double) { return true; }));
  rig->load_ms = Milliseconds(clock.now() - started).count();
  return rig;
}

Result<void> Rig::make_room(const EngineKey& key, uint32_t sequences, uint32_t tokens) {
  const auto pages = checked_mul<uint32_t>(sequences, (tokens + kPageTokens - 1) / kPageTokens);
  if (!pages) return Failure{Code::kTooLarge, "batch and tokens are too many"};
  const KvPoolSpec spec = model_->kv_spec(key.kv_type, *pages, sequences, kStepRows);
  const std::vector<uint32_t> windows = model_->group_windows();
  kv_bytes_per_token = kv_cost(spec, windows).bytes_per_token;
  KvPagesConfig config{.groups = {}, .state_slots = spec.state_floats.empty() ? 0 : spec.state_slots,
                       .max_step_rows = kStepRows, .prefix_reuse = false};
  for (size_t g = 0; g < spec.group_pages.size(); ++g) {
    config.groups.push_back({.pages = spec.group_pages[g], .window = g < windows.size() ? windows[g] : 0});
  }
  if (!runner_) model_->choose_context(longest);
  runner_.reset();
  scheduler_ = std::make_unique<Scheduler>(std::move(config), SchedulerLimits{.max_sequences = sequences});
  runner_ = KVASIR_TRY(ModelRunner::create(*model_, *backend_, spec, kStepRows));
  return {};
}

Result<void> Rig::step(const UseLogits& use) {
  const StepPlan plan = scheduler_->plan({.rows = kStepRows, .score_rows = kScoreRows}, TimePoint{});
  if (plan.empty()) return Failure{Code::kInternal, "the benchmark's sequences cannot go on"};
  KVASIR_TRY(runner_->run(plan, *scheduler_));
  scheduler_->apply(plan);
  uint32_t row = 0;
  for (const PlannedRows& part : plan.parts) {
    for (uint32_t i = part.logits_from; i < part.count; ++i, ++row) {
      const auto token = KVASIR_TRY(use(part.id, part.first + i, runner_->logits(row)));
      if (token && scheduler_->awaits_token(part.id)) scheduler_->append(part.id, *token);
    }
  }
  return {};
}

/// Ids without meaning but spread over the vocabulary.
std::vector<TokenId> some_tokens(uint32_t count, uint32_t vocabulary, uint32_t seed) {
  std::vector<TokenId> out(count);
  uint32_t state = seed * 2654435761U + 1;
  for (TokenId& token : out) {
    state = state * 1664525U + 1013904223U;
    token = static_cast<TokenId>((state >> 8) % vocabulary);
  }
  return out;
}

/// Greedy decoding of a batch that already holds its context.
class Decoder {
 public:
  explicit Decoder(Rig& rig) : rig_(rig), sampler_(SamplingParams{.temperature = 0, .logit_bias = {}}) {}

  Result<void> admit(uint32_t sequences, uint32_t context, uint32_t new_tokens, uint32_t seed) {
    const uint32_t vocabulary = rig_.model().description().vocab_size;
    for (uint32_t i = 0; i < sequences; ++i) {
      SeqRequest request;
      request.id = ++last_id_;
      request.tokens = some_tokens(context, vocabulary, seed + i);
      request.max_tokens = context + new_tokens;
      KVASIR_TRY(rig_.scheduler().admit(std::move(request)));
      live_.push_back(last_id_);
    }
    return {};
  }
  /// Steps until every sequence has sampled `count` tokens since it was admitted.
  Result<void> run_until(uint64_t count) {
    while (made_ < count * live_.size()) {
      const auto take = [this](SeqId id, uint32_t, std::span<float> logits) -> Result<std::optional<TokenId>> {
        const auto& history = rig_.scheduler().tokens(id);
        const TokenId token = KVASIR_TRY(sampler_.sample(logits, history, 0, history.size()));
        ++made_;
        return std::optional(token);
      };
      KVASIR_TRY(rig_.step(take));
    }
    return {};
  }
  void clear() {
    for (const SeqId id : live_) rig_.scheduler().remove(id);
    live_.clear();
    made_ = 0;
  }

 private:
  Rig& rig_;
  Sampler sampler_;
  std::vector<SeqId> live_;
  SeqId last_id_ = 0;
  uint64_t made_ = 0;
};

Result<void> check(const BenchOptions& options, uint32_t max_context) {
  if (options.batch == 0 || options.batch > kMaxBatch) return Failure{Code::kInvalidArgument, "batch is from 1 to " + std::to_string(kMaxBatch)};
  if (options.repeat == 0 || options.repeat > kMaxRepeat) return Failure{Code::kInvalidArgument, "repeat is from 1 to " + std::to_string(kMaxRepeat)};
  const uint64_t longest = std::max<uint64_t>(options.prompt_tokens, uint64_t{options.depth} + options.gen_tokens);
  if (longest > max_context) {
    return Failure{Code::kTooLarge, std::to_string(longest) + " tokens are beyond the model's context of " + std::to_string(max_context)};
  }
  return {};
}

Result<void> measure_prefill(Rig& rig, const BenchOptions& options, BenchReport& report, const BenchProgress& progress) {
  KVASIR_TRY(rig.make_room(options.engine, 1, options.prompt_tokens + 1));
  const SteadyClock clock;
  Decoder decoder(rig);
  for (uint32_t i = 0; i <= options.repeat; ++i) {  // the first one only warms up
    if (progress) progress("prefill " + std::to_string(i) + " of " + std::to_string(options.repeat));
    const TimePoint started = clock.now();
    KVASIR_TRY(decoder.admit(1, options.prompt_tokens, 1, i));
    KVASIR_TRY(decoder.run_until(1));
    const double ms = Milliseconds(clock.now() - started).count();
    decoder.clear();
    if (i > 0) report.prefill_tok_s.push_back(options.prompt_tokens * 1000.0 / ms);
  }
  return {};
}

Result<void> measure_decode(Rig& rig, const BenchOptions& options, BenchReport& report, const BenchProgress& progress) {
  const uint32_t context = std::max(1U, options.depth);
  // One token of warm-up leaves each sequence decoding; then the clock runs.
  KVASIR_TRY(rig.make_room(options.engine, options.batch, context + options.gen_tokens + 1));
  const SteadyClock clock;
  Decoder decoder(rig);
  for (uint32_t i = 1; i <= options.repeat; ++i) {
    if (progress) progress("decode " + std::to_string(i) + " of " + std::to_string(options.repeat));
    const TimePoint admitted = clock.now();
    KVASIR_TRY(decoder.admit(options.batch, context, options.gen_tokens + 1, 1000 * i));
    KVASIR_TRY(decoder.run_until(1));
    const TimePoint started = clock.now();
    KVASIR_TRY(decoder.run_until(1 + options.gen_tokens));
    const TimePoint ended = clock.now();
    const double ms = Milliseconds(ended - started).count();
    decoder.clear();
    report.total_tok_s.push_back(options.batch * (static_cast<double>(context) + options.gen_tokens) * 1000.0 / Milliseconds(ended - admitted).count());
    report.decode_tok_s.push_back(static_cast<double>(options.batch) * options.gen_tokens * 1000.0 / ms);
  }
  return {};
}

uint64_t peak_rss_bytes() {
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<uint64_t>(usage.ru_maxrss) << 10;
}

}  // namespace

Result<BenchReport> run_bench(const EngineEnvironment& environment, const BenchOptions& options, const BenchProgress& progress) {
  if (progress) progress("loading " + options.engine.model);
  const auto rig = KVASIR_TRY(Rig::create(environment, options.engine));
  BenchReport report;
  report.model = rig->model().description();
  report.backend = rig->backend();
  report.load_ms = rig->load_ms;
  KVASIR_TRY(check(options, report.model.max_context));
  rig->longest = std::max(options.prompt_tokens, options.depth + options.gen_tokens) + 1;
  report.bytes_per_token = bytes_per_token(report.model);
  if (options.prompt_tokens > 0) KVASIR_TRY(measure_prefill(*rig, options, report, progress));
  if (options.gen_tokens > 0) KVASIR_TRY(measure_decode(*rig, options, report, progress));
  report.peak_rss_bytes = peak_rss_bytes();  // before the probe's own buffer
  if (progress) progress("memory bandwidth and peaks");
  report.read_gb_s = measure_read_gb_s(report.backend.threads);
  report.peaks = rig->peaks();
  const Activations activations = options.engine.activations;
  report.prefill_limit_tok_s = prefill_limit(work_per_token(report.model, report.peaks, activations, false));
  const uint64_t kv_bytes = rig->kv_bytes_per_token * (options.depth + options.gen_tokens / 2);
  report.decode_limit_tok_s = decode_limit(work_per_token(report.model, report.peaks, activations, true), kv_bytes, options.batch, report.read_gb_s);
  return report;
}

Result<PerplexityReport> run_perplexity(const EngineEnvironment& environment, const PerplexityOptions& options,
                                        const BenchProgress& progress) {
  const uint32_t length = options.chunk_tokens;
  if (length < 4) return Failure{Code::kInvalidArgument, "a chunk has at least 4 tokens"};
  const auto rig = KVASIR_TRY(Rig::create(environment, options.engine));
  const Tokenizer& tokenizer = rig->model().tokenizer();
  if (length > rig->model().description().max_context) return Failure{Code::kTooLarge, "a chunk is longer than the model's context"};
  const bool adds_bos = tokenizer.adds_bos() && tokenizer.bos();
  std::vector<TokenId> tokens = KVASIR_TRY(tokenizer.encode(options.text, {.add_special = adds_bos})).ids;
  const auto whole = static_cast<uint32_t>(tokens.size() / length);
  const uint32_t chunks = options.chunks == 0 ? whole : std::min(options.chunks, whole);
  if (chunks == 0) {
    return Failure{Code::kInvalidArgument, "the text has " + std::to_string(tokens.size()) + " tokens, less than one chunk of " +
                                               std::to_string(length)};
  }
  rig->longest = length;
  KVASIR_TRY(rig->make_room(options.engine, 1, length));
  PerplexityReport report{.text_tokens = tokens.size()};
  double squares = 0;
  for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
    const auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(chunk) * length;
    std::vector<TokenId> window(begin, begin + length);
    if (adds_bos) window[0] = *tokenizer.bos();
    SeqRequest request;
    request.id = chunk + 1;
    request.tokens.assign(window.begin(), window.end() - 1);  // what follows the last token is not asked
    request.max_tokens = length;
    request.logits_from = length / 2;
    request.generates = false;
    KVASIR_TRY(rig->scheduler().admit(std::move(request)));
    while (rig->scheduler().phase(chunk + 1) != SeqPhase::kComplete) {
      KVASIR_TRY(rig->step([&](SeqId, uint32_t index, std::span<float> logits) -> Result<std::optional<TokenId>> {
        const double loss = -static_cast<double>(logprob_of(logits, window[index + 1], 0).logprob);
        report.nll += loss;
        squares += loss * loss;
        ++report.scored;
        return std::optional<TokenId>();
      }));
    }
    rig->scheduler().remove(chunk + 1);
    report.chunks = chunk + 1;
    const auto count = static_cast<double>(report.scored);
    report.perplexity = std::exp(report.nll / count);
    if (progress) progress("chunk " + std::to_string(chunk + 1) + " of " + std::to_string(chunks) + ": " + std::to_string(report.perplexity));
  }
  const auto count = static_cast<double>(report.scored);
  const double mean = report.nll / count;
  if (report.scored > 1) report.standard_error = report.perplexity * std::sqrt(std::max(0.0, squares / count - mean * mean) / (count - 1));
  return report;
}

}  // namespace kvasir
