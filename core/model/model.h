// A model ready to run: description, tokenizer, chat template, weights on a backend, and the forward pass.
// load() reads and packs weights in parallel; forward() is called by the one engine thread. Everything const is
// thread-safe once loaded (the engine's side worker tokenises and renders while the engine thread computes).
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "core/base/result.h"
#include "core/text/chat_template.h"
#include "core/text/tokenizer.h"

namespace kvasir {

/// Sampling that a model file recommends (generation_config, GGUF general.sampling.*); absent where it says nothing.
struct RecommendedSampling {
  std::optional<float> temperature, top_p, min_p, repeat_penalty;
  std::optional<uint32_t> top_k;
};

/// What float matrices become while they are loaded.
enum class QuantizeOnLoad : uint8_t { kNone, kQ8_0, kQ4_0, kBF16 };

struct ModelOptions {
  QuantizeOnLoad quantize = QuantizeOnLoad::kNone;
};

/// What the header alone tells: no weights are read. Shown by get_model_info, `models info`, `doctor`.
struct ModelDescription {
  std::string path;
  std::string name;          ///< general.name, else the file name
  std::string architecture;  ///< "llama", ...
  std::string
      quantization;    ///< the most common matrix type by bytes, e.g. "Q4_1"; with the file's own label if it has one
  std::string format;  ///< "gguf v3", "safetensors"
  std::string quantized_on_load;  ///< what ModelOptions::quantize changed and what it had to keep; empty: nothing
  uint64_t parameters = 0;
  uint64_t file_bytes = 0;
  uint64_t weight_bytes = 0;
  uint32_t layers = 0, embedding = 0, heads = 0, kv_heads = 0, head_dim = 0, feed_forward = 0;
  uint32_t max_context = 0;  ///< what the file says
  uint32_t vocab_size = 0;
  bool has_chat_template = false;
  bool shared_caches = false;  ///< a layer reads another one's KV cache: layers cannot lie in different places
  RecommendedSampling sampling;
  std::string fingerprint;  ///< hex; identity of metadata and tensor table before the load, of all weights after
                            ///< (decisions.md 8)
  struct Tensor {
    std::string name;
    std::string type;
    std::vector<uint64_t> shape;
    uint64_t bytes = 0;
  };
  std::vector<Tensor> tensors;
  std::vector<std::pair<std::string, std::string>> metadata;  ///< keys with short printable values
};

/// Opens and fully validates one model file or folder without reading weights: what `models info` prints.
/// Errors: kNotFound, kIo, kCorrupt, kUnsupported (names the architecture and lists those that work), kTooLarge.
Result<ModelDescription> describe_model(const std::string& path, const ModelOptions& options = {});

/// The tokenizer and template alone (tokenize, template commands): no weights are read.
struct ModelText {
  std::unique_ptr<Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat_template;  ///< none if the file has none
  std::string chat_template_source;
};
Result<ModelText> load_model_text(const std::string& path);

/// Called from loading threads with the share done, 0..1. Return false to cancel (load() then fails with kCancelled).
using LoadProgress = std::function<bool(double)>;

class Model {
 public:
  virtual ~Model() = default;
  static Result<std::unique_ptr<Model>> load(const std::string& path, Backend& backend, const LoadProgress& progress,
                                             const ModelOptions& options = {});

  virtual const ModelDescription& description() const noexcept = 0;
  virtual const Tokenizer& tokenizer() const noexcept = 0;
  virtual const ChatTemplate* chat_template() const noexcept = 0;
  virtual uint64_t weight_bytes_in_memory() const noexcept = 0;

  /// The longest context that sequences will reach, once before the first forward(). Models with two sets of rope
  /// factors (longrope: phi3) take the short set if it stays within their original context; without a call, the long
  /// set. Returns how many positions the model can tell apart then, at least `tokens`.
  virtual uint32_t choose_context(uint32_t tokens) { return std::max(tokens, description().max_context); }

  /// Cache geometry of one pool with `full_pages` pages for groups that keep everything. Window groups get what
  /// `max_sequences` sequences with chunks of `max_rows` need.
  virtual KvPoolSpec kv_spec(KvType type, uint32_t full_pages, uint32_t max_sequences, uint32_t max_rows) const = 0;
  /// Per group of kv_spec(): 0 = keeps everything, else the window in tokens.
  virtual std::vector<uint32_t> group_windows() const = 0;

  /// Per KV layer, how its keys are rotated: what moving a cached row to another position takes. The frequencies live as
  /// long as the model. Errors: kUnsupported where a row cannot be moved or left out (windows, recurrent state, learned
  /// positions), with the reason.
  virtual Result<std::vector<RopeSpec>> key_ropes() const {
    return Failure(Code::kUnsupported, "this model cannot move rows of its KV cache");
  }

  /// One step: tokens[row] for every row of the layout; logits of `logit_rows` (ascending) go to
  /// logits[i * vocab_size ...]. The layout's pages must be there already. Errors: kBackend; the KV rows of this step
  /// are then undefined.
  virtual Result<void> forward(Stream& stream, KvPool& pool, const StepLayout& layout, std::span<const TokenId> tokens,
                               std::span<const uint32_t> logit_rows, std::span<float> logits) = 0;
  /// The same, but of each row only its `count` likeliest tokens, as Stream::best(); for streams that can. Errors also:
  /// kUnsupported.
  virtual Result<void> forward_best(Stream& stream, KvPool& pool, const StepLayout& layout, std::span<const TokenId> tokens,
                                    std::span<const uint32_t> logit_rows, std::span<Candidate> best, uint32_t count) {
    (void)stream, (void)pool, (void)layout, (void)tokens, (void)logit_rows, (void)best, (void)count;
    return Failure(Code::kUnsupported, "this model gives whole rows of logits only");
  }
};

}  // namespace kvasir
