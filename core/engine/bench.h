// Measurements on one model, without server, threads of an engine or a tokenizer in the way: what `kvasir bench` prints.
// Same scheduler, runner and sampler as an engine; the calling thread computes. Not for use beside a running engine.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/engine/engine_environment.h"
#include "core/engine/messages.h"

namespace kvasir {

struct BenchOptions {
  EngineKey engine;             ///< context is ignored: what the run needs is taken
  uint32_t prompt_tokens = 512; ///< 0: no prefill measurement
  uint32_t gen_tokens = 64;     ///< 0: no decode measurement
  uint32_t depth = 0;           ///< tokens in the cache before the first decoded one
  uint32_t batch = 1;           ///< sequences decoding at once
  uint32_t repeat = 3;
};

struct BenchReport {
  ModelDescription model;
  BackendInfo backend;
  double load_ms = 0;
  std::vector<double> prefill_tok_s;  ///< per repetition: prompt tokens over the time from embedding to the first sampled id
  std::vector<double> decode_tok_s;   ///< per repetition: tokens of the whole batch over the time of their steps, sampling included
  std::vector<double> total_tok_s;    ///< per repetition of decode: what was put in and what came out, over the time from admission to the end
  uint64_t bytes_per_token = 0;       ///< weights read per decoded token at batch 1: every matrix once, a tied table once
  double read_gb_s = 0;               ///< plain reading by as many threads (best of 5 in this run), 1e9 bytes
  DevicePeaks peaks;                  ///< of the arithmetic units with the backend's instructions, measured in this run
  double prefill_limit_tok_s = 0;     ///< if nothing but the products of the weights took time, at the peaks; 0: not known
  double decode_limit_tok_s = 0;      ///< if reading weights and KV and those products overlapped without loss; 0: not known
  uint64_t peak_rss_bytes = 0;
};

/// Told what is being done, for a progress line; may be empty.
using BenchProgress = std::function<void(const std::string& what)>;

/// Errors: kInvalidArgument (a number out of range), kTooLarge (beyond the model's context), those of load and backend.
Result<BenchReport> run_bench(const EngineEnvironment& environment, const BenchOptions& options,
                              const BenchProgress& progress = {});

struct PerplexityOptions {
  EngineKey engine;
  std::string text;             ///< tokenised as a whole
  uint32_t chunks = 0;          ///< 0: all whole chunks of the text
  uint32_t chunk_tokens = 512;
};
struct PerplexityReport {
  double perplexity = 0;        ///< exp(nll / scored)
  double nll = 0;               ///< sum of natural-log losses
  double standard_error = 0;    ///< of the perplexity, over scored tokens
  uint64_t scored = 0;
  uint32_t chunks = 0;
  uint64_t text_tokens = 0;
};
/// As llama-perplexity does: chunks with a fresh context each, the first token of a chunk replaced by BOS where the
/// model adds one, the second half of each chunk scored. Errors: kInvalidArgument (text too short), else as above.
Result<PerplexityReport> run_perplexity(const EngineEnvironment& environment, const PerplexityOptions& options,
                                        const BenchProgress& progress = {});

/// What one token takes at least. Of a mixture of experts only those used count.
struct TokenWork {
  uint64_t bytes = 0;          ///< of weights, read once
  double operations = 0;       ///< of their products; attention is not counted
  double compute_seconds = 0;  ///< of these at `peaks`
};
TokenWork work_per_token(const ModelDescription& model, const DevicePeaks& peaks, Activations activations, bool with_head);
/// Tokens per second at the limits: products alone; or reading weights once and `kv_bytes` per sequence, while `batch`
/// sequences compute. 0 where a limit is not known.
double prefill_limit(const TokenWork& work);
double decode_limit(const TokenWork& work, uint64_t kv_bytes, uint32_t batch, double read_gb_s);
/// Bytes of weights that decoding one token reads.
uint64_t bytes_per_token(const ModelDescription& model);
/// Best of five: sum of a buffer much larger than the caches by `threads` threads; 1e9 bytes per second.
double measure_read_gb_s(uint32_t threads);

}  // namespace kvasir
