// Models without a file: the shapes of well-known ones with random weights of any type, run through the same ops as the
// transformer's dense decoder. For speed and for equality of bits, not for meaning. Throws std::runtime_error.
#pragma once

#include <memory>
#include <vector>

#include "backends/backend.h"

namespace kvasir::test {

struct SyntheticShape {
  const char* name;
  uint32_t width, layers, heads, kv_heads, head_dim, hidden, vocab;
};
enum class Recipe : uint8_t { kF16, kQ8_0, kQ4_K_M, kQ4_0 };
const char* recipe_name(Recipe recipe);

class SyntheticModel {
 public:
  SyntheticModel(Backend& backend, const SyntheticShape& shape, Recipe recipe, uint32_t sequences, uint32_t context);
  ~SyntheticModel();
  /// One step of `rows` rows per sequence after `position` cached ones; logits of each sequence's last row into logits().
  void step(uint32_t sequences, uint32_t rows, uint32_t position);
  const std::vector<float>& logits() const noexcept { return logits_; }
  /// Bytes of weights that a step must read, without the embedding's table.
  uint64_t weight_bytes() const noexcept { return weight_bytes_; }
  uint64_t kv_bytes_per_token() const noexcept;
  Stream& stream() noexcept { return *stream_; }

 private:
  struct Layer {
    const Weight *norm1, *q, *k, *v, *o, *norm2, *gate, *up, *down;
  };
  struct Source;
  const Weight* matrix(TensorType type, uint64_t rows, uint64_t cols, WeightUse use = WeightUse::kMatrix);
  const Weight* ones(uint64_t count);
  void lay_out(uint32_t sequences, uint32_t rows, uint32_t position);

  Backend& backend_;
  SyntheticShape shape_;
  uint32_t context_;
  std::vector<std::unique_ptr<Source>> sources_;
  std::vector<std::unique_ptr<Weight>> weights_;
  std::unique_ptr<KvPool> pool_;
  std::unique_ptr<Stream> stream_;
  std::vector<Layer> layers_;
  const Weight *embedding_ = nullptr, *head_ = nullptr, *last_norm_ = nullptr;
  std::vector<float> frequencies_, logits_;
  std::vector<TokenId> ids_;
  std::vector<uint32_t> last_rows_;
  StepLayout layout_;
  uint64_t weight_bytes_ = 0;
};

}  // namespace kvasir::test
