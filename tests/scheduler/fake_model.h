// A model without arithmetic that notices every paging mistake: each row stores a hash of its token and position in its
// page, and its logits come from folding what it reads back through the page table, slot by slot. So a wrong, recycled,
// uncopied or missing page changes tokens and digests. Vocabulary: one token per byte, and a few special ones.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/engine/engine_environment.h"

namespace kvasir::test {

inline constexpr TokenId kFakeBos = 256;
inline constexpr TokenId kFakeEos = 257;
inline constexpr TokenId kFakeThink = 258;
inline constexpr TokenId kFakeThinkEnd = 259;
inline constexpr uint32_t kFakeVocab = 260;

struct FakeModelOptions {
  std::vector<uint32_t> windows = {0};   ///< one layer group each
  bool recurrent = false;                ///< also folds a per-sequence state
  uint32_t max_context = 1024;
  std::string chat_template = {};        ///< empty: none
  double eos_bias = -50;                 ///< added to the end token's logit
  std::chrono::microseconds step_time{0};
  std::chrono::milliseconds load_time{0};
  std::function<bool()> fail_step = {};       ///< true: this forward() fails
};

class FakeTokenizer final : public Tokenizer {
 public:
  FakeTokenizer();
  using Tokenizer::encode;
  Result<Encoded> encode(const TrustedText& text, const EncodeOptions& options) const override;
  std::string_view token_bytes(TokenId id) const override;
  std::string_view token_text(TokenId id) const override;
  TokenKind kind(TokenId id) const override;
  size_t vocab_size() const noexcept override { return kFakeVocab; }
  Result<std::string> decode(std::span<const TokenId> ids, bool special) const override;
  std::optional<TokenId> bos() const noexcept override { return kFakeBos; }
  std::optional<TokenId> eos() const noexcept override { return kFakeEos; }
  bool adds_bos() const noexcept override { return true; }
  std::span<const TokenId> end_tokens() const noexcept override { return end_tokens_; }
  std::optional<TokenId> find(std::string_view token_text) const override;
  std::optional<FillTokens> fill_tokens() const noexcept override { return fill; }

  std::optional<FillTokens> fill;

 private:
  std::vector<std::string> texts_;
  std::vector<TokenId> end_tokens_{kFakeEos};
};

std::unique_ptr<Model> make_fake_model(const FakeModelOptions& options, const std::string& path);
/// `memory`: free bytes of a device with memory of its own; nothing: the host's.
std::unique_ptr<Backend> make_fake_backend(std::optional<uint64_t> memory = std::nullopt);

/// An environment whose every path is a fake model, except those that contain "missing".
class FakeEnvironment final : public EngineEnvironment {
 public:
  explicit FakeEnvironment(FakeModelOptions options = {}) : options_(std::move(options)) {}
  std::vector<Probe> probes() const override;
  Result<Probe> select_backend(std::string_view name) const override;
  Result<std::unique_ptr<Backend>> open_backend(std::string_view name, const BackendOptions& options) const override;
  Result<ModelDescription> describe(const std::string& path, const ModelOptions& options) const override;
  Result<ModelText> load_text(const std::string& path) const override;
  Result<std::unique_ptr<Model>> load(const std::string& path, const ModelOptions& options, Backend& backend,
                                      const LoadProgress& progress) const override;
  uint64_t available_memory_bytes() const override { return memory; }
  KvBlockStore* kv_blocks() const override { return blocks.get(); }

  std::shared_ptr<KvBlockStore> blocks;
  std::atomic<uint64_t> memory{8ULL << 30};
  std::optional<uint64_t> device_memory;  ///< of the backend that is not "cpu"; set before the first load
  mutable std::atomic<int> loads{0};

 private:
  FakeModelOptions options_;
};

}  // namespace kvasir::test
