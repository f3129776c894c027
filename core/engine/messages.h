// The messages between the front (network, protocol, sessions) and the engine: commands in, events out. Plain values
// without pointers, callbacks or stop tokens, so that the same code serves a thread and, later, a process
// (decisions.md 5). Every struct has a codec in message_codec.h, and one test lane sends everything through it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "backends/backend.h"
#include "core/base/result.h"
#include "core/engine/context_edit.h"
#include "core/engine/priority.h"
#include "core/engine/row_selection.h"
#include "core/model/model.h"
#include "core/sampling/sampler.h"

namespace kvasir {

using GenerationId = uint64_t;  ///< chosen by the front, unique while in flight

/// Which engine a command is for: engines are pooled by this key (decisions.md 2).
struct EngineKey {
  std::string model;          ///< path as resolved by the front; never opened there
  uint32_t context = 0;       ///< 0: the model's, capped by memory
  uint32_t threads = 0;       ///< 0: automatic
  std::string backend = "auto";
  KvType kv_type = KvType::kF16;
  Activations activations = Activations::kAuto;
  QuantizeOnLoad quantize = QuantizeOnLoad::kNone;
  std::optional<uint32_t> gpu_layers = {};  ///< layers on a GPU; absent: as many as fit
  bool prompt_lookup = true;  ///< guesses tokens where that pays; the answers are the same
  bool operator==(const EngineKey&) const = default;
};

struct ChatMessage {
  std::string role;
  std::string content;
  std::string json;  ///< the whole message as JSON when it has more than role and content; then it is what renders
};

enum class OverflowPolicy : uint8_t { kError, kTruncateOldest, kSlidingWindow, kCompress };

/// What to continue: exactly one of the three forms.
struct Prompt {
  enum class Kind : uint8_t { kMessages, kText, kTokens } kind = Kind::kMessages;
  std::vector<ChatMessage> messages;  ///< rendered through the chat template with a generation prompt
  std::string tools_json;             ///< for the template, or empty
  std::string template_extra_json;    ///< object of further variables of the template, or empty
  std::optional<bool> enable_thinking;  ///< absent: as the template would have it
  std::string text;                   ///< raw continuation: BOS as the metadata says
  std::optional<std::string> suffix;  ///< with text: fill in what belongs between the two
  std::vector<TokenId> tokens;        ///< used as they are
  // A session's stored history: these ids are the truth and are not made again from text (decisions.md 21). If the
  // rendered conversation begins with history_text, only the rest is encoded and appended; else everything is rendered
  // again and the result says so.
  bool in_session = false;
  std::vector<TokenId> history_tokens;
  std::string history_text;
  std::string history_model;  ///< fingerprint of the model that made those ids; another one's are not used
  std::vector<ContextStage> history_stages;  ///< how history_tokens came to be shorter than what was said; oldest first
};

/// Sampling as asked: what is absent comes from the model file's recommendation, then from Kvasir's defaults
/// (decisions.md 20). The engine resolves it and echoes the seed.
struct SamplingRequest {
  std::optional<float> temperature, top_p, min_p, repeat_penalty, frequency_penalty, presence_penalty;
  std::optional<uint32_t> top_k;
  std::optional<uint64_t> seed;
  std::vector<std::pair<TokenId, float>> logit_bias;
};

struct Generate {
  GenerationId id = 0;
  Prompt prompt;
  SamplingRequest sampling;
  uint32_t max_tokens = 100;
  std::optional<uint32_t> reasoning_budget;  ///< most tokens of a thought; then its end is put in the model's mouth
  uint64_t max_time_ms = 0;        ///< 0: none
  Priority priority = Priority::kNormal;
  std::vector<std::string> stop;
  OverflowPolicy overflow = OverflowPolicy::kError;
  uint32_t logprobs = 0;           ///< top alternatives per token; see want_logprobs
  bool want_logprobs = false;
  bool return_tokens = false;
  bool ignore_eos = false;
  bool digest_logits = false;      ///< per-step XXH3 of the logits, for tests of batch invariance
  std::string cache_salt;          ///< whose cached pages may be shared: other salts see and time none of them
  std::string cache_owner;         ///< a session: its pages may be kept on disk under this name; empty: never
  uint32_t partial_every = 0;      ///< in a session: a PartialResult after so many tokens of the answer; 0: none
};
struct CountTokens {
  GenerationId id = 0;
  Prompt prompt;                   ///< kText counts without BOS; kMessages also per message
};
struct ScoreText {
  GenerationId id = 0;
  std::string prompt;              ///< may be empty; tokenised apart, without a prefix space (decisions.md 18)
  std::string text;
  std::vector<TokenId> tokens;     ///< instead of text
  bool has_tokens = false;
  uint32_t top = 0;
  uint32_t score_from = 0;         ///< with tokens alone: index of the first that is scored; 0: the second
  std::string cache_salt;          ///< as in Generate
};
/// Chooses the rows of a context that stay and makes the shorter context of them, ready in memory. The prompt is a
/// session's (in_session); what it appends to the history is what will be asked, and not part of the context. Without
/// that, the rows behind source_tokens ask.
struct CompressContext {
  GenerationId id = 0;
  Prompt prompt;
  RowChoice choice;
  bool aged = false;
  std::string cache_salt, cache_owner;  ///< as in Generate; pages are read from disk only: nobody decided to keep it yet
};
/// The same last tokens, behind two contexts.
struct CompareContexts {
  struct Context {
    std::vector<ContextStage> stages;
    std::vector<TokenId> tokens;
  };
  GenerationId id = 0;
  Context full, other;
  uint32_t scored = 0;                  ///< tokens at the end of both
  std::string cache_salt, cache_owner;
};
struct Tokenize {
  GenerationId id = 0;
  std::string text;
  bool add_special = false, parse_special = false, pieces = false;
};
struct Detokenize {
  GenerationId id = 0;
  std::vector<TokenId> tokens;
};
struct ModelInfo { GenerationId id = 0; };      ///< header only if nothing is loaded; never loads
struct Preload { GenerationId id = 0; };        ///< loads now; answered by Ready
struct Cancel { GenerationId id = 0; };         ///< unknown ids are ignored; a running one ends with kCancelled
struct Pause { GenerationId id = 0; };          ///< slow reader: keep KV, stop decoding this one
struct Resume { GenerationId id = 0; };
/// How much of these tokens' KV is at hand; never loads.
struct ProbeCache {
  GenerationId id = 0;
  std::vector<TokenId> tokens;
  std::string cache_salt;
  std::vector<ContextStage> stages;
};

using CommandBody = std::variant<Generate, CountTokens, ScoreText, Tokenize, Detokenize, ModelInfo, Preload, Cancel, Pause,
                                 Resume, ProbeCache, CompressContext, CompareContexts>;
struct Command {
  EngineKey engine;
  CommandBody body;
};

enum class FinishReason : uint8_t { kStop, kLength, kTimeLimit, kContextFull, kCancelled, kGrammar };

enum class Phase : uint8_t { kQueued, kLoading, kPrefill, kDecode };
/// Sent when something changed, at most about 10 a second; also the heartbeat.
struct Progress {
  GenerationId id = 0;
  Phase phase = Phase::kQueued;
  uint64_t done = 0;    ///< kQueued: requests ahead; kLoading: percent; kPrefill/kDecode: tokens
  uint64_t total = 0;
};
/// New text, always whole code points; deltas joined equal GenerateResult::text.
struct TextDelta {
  GenerationId id = 0;
  std::string text;
  uint64_t tokens_so_far = 0;
};
struct Usage {
  uint64_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;
  uint64_t reasoning_tokens = 0;  ///< of the completion, with the tags
};
struct Timings {
  double queue_ms = 0, load_ms = 0, prefill_ms = 0, ttft_ms = 0, decode_ms = 0, prefill_tok_s = 0, decode_tok_s = 0;
  uint64_t parked = 0;  ///< times that its place was taken by work of a higher priority, or while its reader was behind
  uint64_t guessed_tokens = 0, accepted_tokens = 0;  ///< by prompt lookup: rows spent, rows that were right
};
struct LogprobEntry {
  TokenId token = 0;
  std::string text;
  float logprob = 0;
  std::vector<std::pair<TokenId, float>> top;
};
/// What an overflow policy took out of the context (decisions.md: never silently).
struct Truncated {
  OverflowPolicy policy = OverflowPolicy::kError;
  uint64_t removed_tokens = 0, removed_messages = 0;
};
struct GenerateResult {
  GenerationId id = 0;
  std::string text;
  FinishReason finish_reason = FinishReason::kStop;
  std::optional<std::string> stop_sequence;
  std::optional<std::string> reasoning;
  bool reasoning_cut = false;  ///< the thought reached reasoning_budget
  Usage usage;
  Timings timings;
  uint64_t seed = 0;
  std::string model;
  std::vector<TokenId> tokens;
  std::vector<LogprobEntry> logprobs;
  std::vector<uint64_t> logit_digests;
  uint64_t dropped_bytes = 0;   ///< prompt bytes without a token (decisions.md 18)
  SamplingParams sampling;      ///< what was really used
  // Filled for prompts with in_session: what the session stores.
  std::vector<TokenId> context_tokens;  ///< the whole context after this answer, without the end token
  uint64_t tokens_in_context = 0;       ///< how many at its end are the answer
  std::string context_text;             ///< the text that the prompt's tokens stand for, what was removed included
  std::string answer_text;              ///< the text that the answer's tokens stand for, thoughts included
  bool history_rewritten = false;       ///< the stored ids were replaced: context_tokens holds all of the new ones
  std::string history_note;             ///< why, in words
  // For every prompt.
  std::vector<std::string> ignored;     ///< what the caller gave for the template and the template does not read
  std::optional<Truncated> truncated;
  std::string fingerprint;              ///< of the model that answered
  uint64_t loaded_tokens = 0;           ///< of usage.cached_tokens: read from disk
  std::string cache_note;               ///< why stored pages could not be used, if they could not
};
/// An answer of a session that goes on: what is stored of it in case that its end never comes.
struct PartialResult {
  GenerationId id = 0;
  GenerateResult so_far;                ///< every token of it stands for text that is in it
};
struct CountResult {
  GenerationId id = 0;
  uint64_t tokens = 0;
  std::vector<uint64_t> per_message;
  std::optional<uint64_t> template_overhead;
  uint64_t dropped_bytes = 0;
  std::vector<std::string> ignored;  ///< as in GenerateResult
};
struct ScoreResult {
  GenerationId id = 0;
  std::vector<TokenId> tokens;          ///< the scored ones
  std::vector<float> logprobs;
  double nll = 0;
  std::vector<std::vector<std::pair<TokenId, float>>> top;
  std::vector<std::pair<TokenId, float>> top_last;
};
struct TokenizeResult {
  GenerationId id = 0;
  std::vector<TokenId> tokens;
  std::vector<std::string> pieces;      ///< bytes, perhaps not UTF-8
  uint64_t dropped_bytes = 0;
};
struct DetokenizeResult { GenerationId id = 0; std::string text; };
struct MemoryInfo {
  uint64_t weights_bytes = 0, kv_bytes = 0, kv_free_pages = 0, kv_total_pages = 0, rss_bytes = 0;
};
struct ModelInfoResult {
  GenerationId id = 0;
  bool loaded = false;
  ModelDescription model;
  uint32_t context = 0;                 ///< in use (loaded) or what a load would take at most
  std::string context_reason;           ///< why it is smaller than max_context, if it is
  BackendInfo backend;                  ///< chosen, or what would be chosen
  uint32_t gpu_layers = 0;              ///< that lie in memory of a GPU
  std::vector<Probe> probes;
  SamplingParams default_sampling;
  MemoryInfo memory;
};
struct Ready { GenerationId id = 0; double load_ms = 0; };
struct CacheResult {
  GenerationId id = 0;
  bool loaded = false;
  std::string fingerprint;              ///< empty while nothing is loaded
  uint32_t context = 0;                 ///< tokens that fit; 0 while nothing is loaded
  uint64_t kv_bytes_per_token = 0;      ///< of layers that keep everything
  uint64_t cached_tokens = 0;           ///< a prompt that begins with the tokens would not compute so many of them
};
struct CompressResult {
  GenerationId id = 0;
  ContextEdit edit;
  std::vector<TokenId> kept;            ///< the tokens that the shorter context is said to have
  uint64_t source_bytes = 0, kept_bytes = 0;  ///< of KV
};
struct CompareResult {
  GenerationId id = 0;
  uint64_t scored = 0;
  double nll_full = 0, nll_other = 0;   ///< sums of negated natural logarithms
  double kl_mean = 0, kl_p95 = 0;       ///< of the full context's distribution from the other's, over the vocabulary
  double top1_agree = 0;                ///< share of positions with the same likeliest token
};
/// The request ended with an error instead of a result.
struct Failed {
  GenerationId id = 0;
  Code code = Code::kInternal;
  std::string message;
  uint64_t retry_after_ms = 0;          ///< kBusy: when to try again
};

/// Every command but Cancel/Pause/Resume gets exactly one final event: its result or Failed.
using Event = std::variant<Progress, TextDelta, GenerateResult, CountResult, ScoreResult, TokenizeResult, DetokenizeResult,
                           ModelInfoResult, Ready, Failed, CacheResult, CompressResult, CompareResult, PartialResult>;

}  // namespace kvasir
