// Drives a Model by hand, without an engine: one backend, one pool, sequences with pages of their own.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/model/model.h"

namespace kvasir::test {

struct RunnerOptions {
  std::string backend = "reference";
  KvType kv = KvType::kF32;
  Activations activations = Activations::kF32;
  QuantizeOnLoad quantize = QuantizeOnLoad::kNone;
  uint32_t sequences = 1;
  uint32_t context = 256;  ///< per sequence
  uint32_t max_rows = 256;
  bool drop_window_pages = false;  ///< pages that a window no longer reaches are kNoPage
};

/// Tokens of one sequence in a step.
struct Piece {
  uint32_t sequence = 0;
  std::vector<TokenId> tokens;
};

class Runner {
 public:
  /// Throws std::runtime_error with the message of any error: tests end there.
  Runner(const std::filesystem::path& model, const RunnerOptions& options);
  /// Appends the pieces' tokens to their sequences in one step; logits of every row, one after another.
  std::vector<float> step(std::span<const Piece> pieces);
  /// Appends tokens to sequence 0 in chunks of at most `chunk`; logits of every row (or the last only).
  std::vector<float> run(std::span<const TokenId> tokens, uint32_t chunk = 256, bool last_only = false);
  void reset();
  Model& model() { return *model_; }
  uint32_t vocab() const { return model_->description().vocab_size; }

 private:
  std::vector<std::vector<PageId>> pages_of(uint32_t sequence) const;

  RunnerOptions options_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<KvPool> pool_;
  std::unique_ptr<Stream> stream_;
  std::vector<uint32_t> lengths_;
};

// Both in runner_backends.cpp; tests of other backends give their own (tests/cuda).
std::unique_ptr<Backend> open_backend(const std::string& name, const BackendOptions& options);
/// Names of the usable backends of this machine whose name begins with "cpu", best first.
std::vector<std::string> usable_cpu_backends();

size_t argmax(std::span<const float> logits);
double logsumexp(std::span<const float> logits);

}  // namespace kvasir::test
