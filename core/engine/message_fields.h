// The fields of every message, once: fields(archive, message) hands them to a writer or a reader in the format's order.
// Append only: a changed order is another kMessageFormat. Included by message_codec.cpp alone.
#pragma once

#include "core/engine/messages.h"

namespace kvasir {

template <class A> void fields(A& a, EngineKey& m) {
  a(m.model, m.context, m.threads, m.backend, m.kv_type, m.activations, m.quantize, m.prompt_lookup, m.gpu_layers);
}
template <class A> void fields(A& a, ChatMessage& m) { a(m.role, m.content, m.json); }
template <class A> void fields(A& a, ContextEdit& m) { a(m.source_tokens, m.kept_tokens, m.rows, m.aged, m.in_place); }
template <class A> void fields(A& a, ContextStage& m) { a(m.tokens, m.edit); }
template <class A> void fields(A& a, RowChoice& m) {
  a(m.rule, m.source_tokens, m.kept_tokens, m.pinned, m.recent, m.seed, m.in_place);
}
template <class A> void fields(A& a, Prompt& m) {
  a(m.kind, m.messages, m.tools_json, m.template_extra_json, m.text, m.tokens, m.in_session, m.history_tokens, m.history_text,
    m.history_model, m.suffix, m.enable_thinking, m.history_stages);
}
template <class A> void fields(A& a, SamplingRequest& m) {
  a(m.temperature, m.top_p, m.min_p, m.repeat_penalty, m.frequency_penalty, m.presence_penalty, m.top_k, m.seed, m.logit_bias);
}
template <class A> void fields(A& a, Generate& m) {
  a(m.id, m.prompt, m.sampling, m.max_tokens, m.max_time_ms, m.stop, m.overflow, m.logprobs, m.want_logprobs,
    m.return_tokens, m.ignore_eos, m.digest_logits, m.reasoning_budget, m.cache_salt, m.cache_owner, m.priority, m.partial_every);
}
template <class A> void fields(A& a, CountTokens& m) { a(m.id, m.prompt); }
template <class A> void fields(A& a, ScoreText& m) { a(m.id, m.prompt, m.text, m.tokens, m.has_tokens, m.top, m.score_from, m.cache_salt); }
template <class A> void fields(A& a, Tokenize& m) { a(m.id, m.text, m.add_special, m.parse_special, m.pieces); }
template <class A> void fields(A& a, Detokenize& m) { a(m.id, m.tokens); }
template <class A> void fields(A& a, ModelInfo& m) { a(m.id); }
template <class A> void fields(A& a, Preload& m) { a(m.id); }
template <class A> void fields(A& a, Cancel& m) { a(m.id); }
template <class A> void fields(A& a, Pause& m) { a(m.id); }
template <class A> void fields(A& a, Resume& m) { a(m.id); }
template <class A> void fields(A& a, ProbeCache& m) { a(m.id, m.tokens, m.cache_salt, m.stages); }
template <class A> void fields(A& a, CompressContext& m) { a(m.id, m.prompt, m.choice, m.aged, m.cache_salt, m.cache_owner); }
template <class A> void fields(A& a, CompareContexts::Context& m) { a(m.stages, m.tokens); }
template <class A> void fields(A& a, CompareContexts& m) { a(m.id, m.full, m.other, m.scored, m.cache_salt, m.cache_owner); }
template <class A> void fields(A& a, Command& m) { a(m.engine, m.body); }

template <class A> void fields(A& a, Progress& m) { a(m.id, m.phase, m.done, m.total); }
template <class A> void fields(A& a, TextDelta& m) { a(m.id, m.text, m.tokens_so_far); }
template <class A> void fields(A& a, Usage& m) { a(m.prompt_tokens, m.cached_tokens, m.completion_tokens, m.reasoning_tokens); }
template <class A> void fields(A& a, Timings& m) {
  a(m.queue_ms, m.load_ms, m.prefill_ms, m.ttft_ms, m.decode_ms, m.prefill_tok_s, m.decode_tok_s, m.parked,
    m.guessed_tokens, m.accepted_tokens);
}
template <class A> void fields(A& a, LogprobEntry& m) { a(m.token, m.text, m.logprob, m.top); }
template <class A> void fields(A& a, SamplingParams& m) {
  a(m.temperature, m.top_k, m.top_p, m.min_p, m.repeat_penalty, m.frequency_penalty, m.presence_penalty, m.logit_bias, m.seed);
}
template <class A> void fields(A& a, Truncated& m) { a(m.policy, m.removed_tokens, m.removed_messages); }
template <class A> void fields(A& a, GenerateResult& m) {
  a(m.id, m.text, m.finish_reason, m.stop_sequence, m.reasoning, m.usage, m.timings, m.seed, m.model, m.tokens, m.logprobs,
    m.logit_digests, m.dropped_bytes, m.sampling, m.reasoning_cut, m.context_tokens, m.tokens_in_context,
    m.context_text, m.answer_text, m.history_rewritten, m.history_note, m.truncated, m.fingerprint,
    m.loaded_tokens, m.cache_note, m.ignored);
}
template <class A> void fields(A& a, PartialResult& m) { a(m.id, m.so_far); }
template <class A> void fields(A& a, CountResult& m) { a(m.id, m.tokens, m.per_message, m.template_overhead, m.dropped_bytes, m.ignored); }
template <class A> void fields(A& a, ScoreResult& m) { a(m.id, m.tokens, m.logprobs, m.nll, m.top, m.top_last); }
template <class A> void fields(A& a, TokenizeResult& m) { a(m.id, m.tokens, m.pieces, m.dropped_bytes); }
template <class A> void fields(A& a, DetokenizeResult& m) { a(m.id, m.text); }
template <class A> void fields(A& a, MemoryInfo& m) {
  a(m.weights_bytes, m.kv_bytes, m.kv_free_pages, m.kv_total_pages, m.rss_bytes);
}
template <class A> void fields(A& a, RecommendedSampling& m) { a(m.temperature, m.top_p, m.min_p, m.repeat_penalty, m.top_k); }
template <class A> void fields(A& a, ModelDescription::Tensor& m) { a(m.name, m.type, m.shape, m.bytes); }
template <class A> void fields(A& a, ModelDescription& m) {
  a(m.path, m.name, m.architecture, m.quantization, m.format, m.parameters, m.file_bytes, m.weight_bytes, m.layers,
    m.embedding, m.heads, m.kv_heads, m.head_dim, m.feed_forward, m.max_context, m.vocab_size, m.has_chat_template,
    m.sampling, m.fingerprint, m.tensors, m.metadata, m.quantized_on_load, m.shared_caches);
}
template <class A> void fields(A& a, BackendInfo& m) { a(m.name, m.isa_or_device, m.reason, m.threads, m.numerics_version); }
template <class A> void fields(A& a, Probe& m) { a(m.name, m.usable, m.score, m.reason, m.devices); }
template <class A> void fields(A& a, ModelInfoResult& m) {
  a(m.id, m.loaded, m.model, m.context, m.context_reason, m.backend, m.probes, m.default_sampling, m.memory, m.gpu_layers);
}
template <class A> void fields(A& a, Ready& m) { a(m.id, m.load_ms); }
template <class A> void fields(A& a, CacheResult& m) { a(m.id, m.loaded, m.fingerprint, m.context, m.kv_bytes_per_token, m.cached_tokens); }
template <class A> void fields(A& a, CompressResult& m) { a(m.id, m.edit, m.kept, m.source_bytes, m.kept_bytes); }
template <class A> void fields(A& a, CompareResult& m) {
  a(m.id, m.scored, m.nll_full, m.nll_other, m.kl_mean, m.kl_p95, m.top1_agree);
}
template <class A> void fields(A& a, Failed& m) { a(m.id, m.code, m.message, m.retry_after_ms); }

/// The largest legal number of each enum that travels.
constexpr uint8_t last_of(KvType) { return static_cast<uint8_t>(KvType::kF32); }
constexpr uint8_t last_of(QuantizeOnLoad) { return static_cast<uint8_t>(QuantizeOnLoad::kBF16); }
constexpr uint8_t last_of(Activations) { return static_cast<uint8_t>(Activations::kF32); }
constexpr uint8_t last_of(Prompt::Kind) { return static_cast<uint8_t>(Prompt::Kind::kTokens); }
constexpr uint8_t last_of(OverflowPolicy) { return static_cast<uint8_t>(OverflowPolicy::kCompress); }
constexpr uint8_t last_of(Priority) { return static_cast<uint8_t>(Priority::kHigh); }
constexpr uint8_t last_of(KeepRule) { return static_cast<uint8_t>(KeepRule::kAll); }
constexpr uint8_t last_of(FinishReason) { return static_cast<uint8_t>(FinishReason::kGrammar); }
constexpr uint8_t last_of(Phase) { return static_cast<uint8_t>(Phase::kDecode); }
constexpr uint8_t last_of(Code) { return static_cast<uint8_t>(Code::kInternal); }

}  // namespace kvasir
