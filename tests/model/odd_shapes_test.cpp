// Shapes that published models do not have but a file may: small random GGUFs, whose logits on every CPU variant must
// be those of the naive backend. What the naive backend computes is held to other implementations by families_test.
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <optional>

#include "core/model/quantise.h"
#include "tests/model/gguf_writer.h"
#include "tests/model/runner.h"
#include "tests/model/temporary_folder.h"
#include "tests/text/small_vocabulary.h"

using namespace kvasir;
using namespace kvasir::test;
namespace fs = std::filesystem;

namespace {

struct Shape {
  const char* name;
  const char* family = "llama";  ///< llama, qwen2 (biases) or qwen3 (norms of Q and K)
  uint32_t width = 64, heads = 4, kv_heads = 2, head_dim = 16, hidden = 96, layers = 2;
  uint32_t rotated = 0;  ///< 0: the whole head
  bool tied = false;
  uint32_t window = 0;
  TensorType type = TensorType::kF32;
};

const Shape kShapes[] = {
    {.name = "plain"},
    {.name = "heads of 12, rows of 50", .width = 50, .heads = 3, .kv_heads = 3, .head_dim = 12, .hidden = 70},
    {.name = "heads of 20, one key head", .width = 60, .heads = 5, .kv_heads = 1, .head_dim = 20, .hidden = 33},
    {.name = "heads of 40 of 36 rotated, tied",
     .width = 72,
     .heads = 2,
     .kv_heads = 1,
     .head_dim = 40,
     .hidden = 97,
     .rotated = 36,
     .tied = true},
    {.name = "heads of 80", .family = "qwen2", .width = 48, .heads = 6, .kv_heads = 2, .head_dim = 80, .hidden = 31},
    {.name = "heads of 96, norms, seven query heads to one",
     .family = "qwen3",
     .width = 40,
     .heads = 7,
     .kv_heads = 1,
     .head_dim = 96,
     .hidden = 65,
     .tied = true},
    {.name = "heads of 2", .width = 34, .heads = 9, .kv_heads = 3, .head_dim = 2, .hidden = 5},
    {.name = "heads of 200", .width = 24, .heads = 1, .kv_heads = 1, .head_dim = 200, .hidden = 8},
    {.name = "rows of 1 and 3", .width = 3, .heads = 1, .kv_heads = 1, .head_dim = 6, .hidden = 1},
    {.name = "a window shorter than a page", .family = "llama", .window = 5},
    {.name = "a window of more than a page",
     .family = "llama",
     .width = 36,
     .heads = 3,
     .kv_heads = 1,
     .head_dim = 10,
     .window = 67},
    {.name = "a window longer than the prompt", .family = "llama", .kv_heads = 1, .tied = true, .window = 190},
    {.name = "BF16, rows of 50",
     .family = "qwen3",
     .width = 50,
     .heads = 3,
     .kv_heads = 3,
     .head_dim = 14,
     .hidden = 70,
     .type = TensorType::kBF16},
    {.name = "F16, tied, rows of 90",
     .family = "qwen2",
     .width = 90,
     .heads = 3,
     .kv_heads = 1,
     .head_dim = 30,
     .hidden = 41,
     .tied = true,
     .type = TensorType::kF16},
    {.name = "Q8_0, rows of 96 and 160",
     .width = 96,
     .heads = 5,
     .kv_heads = 5,
     .head_dim = 32,
     .hidden = 160,
     .type = TensorType::kQ8_0},
    {.name = "Q4_0, rows of 32 and 288, tied",
     .width = 32,
     .heads = 3,
     .kv_heads = 1,
     .head_dim = 96,
     .hidden = 288,
     .tied = true,
     .type = TensorType::kQ4_0},
    {.name = "Q4_0 with biases and one row more than a panel",
     .family = "qwen2",
     .width = 64,
     .heads = 1,
     .kv_heads = 1,
     .head_dim = 64,
     .hidden = 32,
     .type = TensorType::kQ4_0},
};

/// Numbers that do not repeat, from -1 to 1.
class Numbers {
 public:
  explicit Numbers(uint32_t seed) : state_(seed * 2654435761U + 1) {}
  float next() {
    state_ = state_ * 1664525U + 1013904223U;
    return static_cast<float>(state_ >> 8) / static_cast<float>(1U << 23) - 1.0F;
  }
  uint32_t below(uint32_t end) {
    next();
    return (state_ >> 8) % end;
  }

 private:
  uint32_t state_;
};

std::string bytes_of(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

/// The values in `type`; Q8_0 and Q4_0 by our own quantiser, BF16 and F16 cut short.
std::string encoded(const std::vector<float>& values, TensorType type) {
  if (type == TensorType::kF32) return bytes_of(values);
  if (type == TensorType::kQ8_0 || type == TensorType::kQ4_0) {
    std::string out(values.size() / 32 * tensor_type_info(type)->block_bytes, '\0');
    REQUIRE(quantise_blocks(type, values, std::as_writable_bytes(std::span(out))));
    return out;
  }
  std::string out;
  for (const float value : values) {
    const auto bits = std::bit_cast<uint32_t>(value);
    // Halves of magnitude 2^-14 and more differ from floats by their exponent's bias; smaller ones become zero.
    const bool tiny = ((bits >> 23) & 0xffU) < 113;
    const uint32_t half =
        tiny ? 0 : ((bits >> 16) & 0x8000U) | ((((bits >> 23) & 0xffU) - 112) << 10) | ((bits >> 13) & 0x3ffU);
    const auto code = static_cast<uint16_t>(type == TensorType::kBF16 ? bits >> 16 : half);
    out.append(reinterpret_cast<const char*>(&code), sizeof code);
  }
  return out;
}

class Maker {
 public:
  Maker(const Shape& shape, uint32_t seed) : s_(shape), numbers_(seed) {}

  void write(const fs::path& path) {
    metadata();
    tokens();
    matrix("token_embd.weight", s_.width, vocab_, 0.5F);
    if (!s_.tied) matrix("output.weight", s_.width, vocab_);
    vector("output_norm.weight", s_.width, 1.0F);
    for (uint32_t layer = 0; layer < s_.layers; ++layer) block("blk." + std::to_string(layer) + ".");
    out_.write(path);
  }

 private:
  std::string key(const char* name) const { return std::string(s_.family) + "." + name; }

  void metadata() {
    out_.text("general.architecture", s_.family).text("general.name", s_.name);
    out_.number(key("context_length"), 192).number(key("block_count"), s_.layers);
    out_.number(key("embedding_length"), s_.width).number(key("feed_forward_length"), s_.hidden);
    out_.number(key("attention.head_count"), s_.heads).number(key("attention.head_count_kv"), s_.kv_heads);
    out_.number(key("attention.key_length"), s_.head_dim).number(key("attention.value_length"), s_.head_dim);
    out_.real(key("attention.layer_norm_rms_epsilon"), 1e-5F).real(key("rope.freq_base"), 10000.0F);
    out_.number(key("rope.dimension_count"), s_.rotated != 0 ? s_.rotated : s_.head_dim);
    if (s_.window != 0) out_.number(key("attention.sliding_window"), s_.window);
  }
  void tokens() {
    VocabularyData v = small_byte_vocabulary();
    vocab_ = static_cast<uint32_t>(v.tokens.size());
    out_.text("tokenizer.ggml.model", v.model).text("tokenizer.ggml.pre", v.pre);
    out_.texts("tokenizer.ggml.tokens", v.tokens).texts("tokenizer.ggml.merges", v.merges);
    out_.signed_numbers("tokenizer.ggml.token_type", v.kinds);
    out_.number("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(*v.bos));
    out_.number("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(*v.eos));
  }
  void matrix(const std::string& name, uint32_t cols, uint32_t rows, float gain = 0.0F) {
    if (gain == 0.0F) gain = 2.2F / std::sqrt(static_cast<float>(cols));
    std::vector<float> values(size_t{cols} * rows);
    for (float& v : values) v = gain * numbers_.next();
    out_.tensor(name, s_.type, {cols, rows}, encoded(values, s_.type));
  }
  void vector(const std::string& name, uint32_t size, float middle) {
    std::vector<float> values(size);
    for (float& v : values) v = middle + 0.3F * numbers_.next();
    out_.tensor(name, TensorType::kF32, {size}, bytes_of(values));
  }
  void block(const std::string& b) {
    const std::string family = s_.family;
    const uint32_t q = s_.heads * s_.head_dim, kv = s_.kv_heads * s_.head_dim;
    vector(b + "attn_norm.weight", s_.width, 1.0F);
    matrix(b + "attn_q.weight", s_.width, q);
    matrix(b + "attn_k.weight", s_.width, kv);
    matrix(b + "attn_v.weight", s_.width, kv);
    matrix(b + "attn_output.weight", q, s_.width);
    if (family == "qwen2") {
      vector(b + "attn_q.bias", q, 0.0F);
      vector(b + "attn_k.bias", kv, 0.0F);
      vector(b + "attn_v.bias", kv, 0.0F);
    }
    if (family == "qwen3") {
      vector(b + "attn_q_norm.weight", s_.head_dim, 1.0F);
      vector(b + "attn_k_norm.weight", s_.head_dim, 1.0F);
    }
    vector(b + "ffn_norm.weight", s_.width, 1.0F);
    matrix(b + "ffn_gate.weight", s_.width, s_.hidden);
    matrix(b + "ffn_up.weight", s_.width, s_.hidden);
    matrix(b + "ffn_down.weight", s_.hidden, s_.width);
  }

  Shape s_;
  Numbers numbers_;
  GgufWriter out_;
  uint32_t vocab_ = 0;
};

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    worst = std::isnan(difference) ? INFINITY : std::max(worst, difference);
  }
  return worst;
}

/// Prompts of both sides of page ends, in chunks that no kernel likes.
constexpr size_t kLengths[] = {1, 63, 130};
constexpr uint32_t kChunk = 37;

void judge(const Shape& shape, const fs::path& file) {
  Numbers numbers(7);
  Runner naive(file, {.context = 192});
  for (const size_t length : kLengths) {
    std::vector<TokenId> tokens(length);
    for (TokenId& token : tokens) token = static_cast<TokenId>(numbers.below(naive.vocab()));
    naive.reset();
    const auto expected = naive.run(tokens, kChunk);
    for (const std::string& backend : usable_cpu_backends()) {
      CAPTURE(shape.name, backend, length);
      Runner runner(file, {.backend = backend, .context = 192});
      CHECK(largest_difference(runner.run(tokens, kChunk), expected) < 1e-3);
    }
  }
}

}  // namespace

TEST_CASE("models of odd shapes compute on every CPU variant what the naive backend computes", "[shapes]") {
  const TemporaryFolder folder;
  uint32_t seed = 0;
  for (const Shape& shape : kShapes) {
    const fs::path file = folder.path() / "odd.gguf";
    Maker(shape, ++seed).write(file);
    judge(shape, file);
  }
}

TEST_CASE("models of random shapes compute on every CPU variant what the naive backend computes", "[shapes]") {
  const TemporaryFolder folder;
  Numbers numbers(20260729);
  for (uint32_t i = 0; i < 6; ++i) {
    Shape shape{.name = "random"};
    shape.family = i % 3 == 0 ? "llama" : i % 3 == 1 ? "qwen2" : "qwen3";
    shape.kv_heads = 1 + numbers.below(3);
    shape.heads = shape.kv_heads * (1 + numbers.below(4));
    shape.head_dim = 2 + 2 * numbers.below(40);
    shape.width = 1 + numbers.below(120);
    shape.hidden = 1 + numbers.below(120);
    shape.layers = 1 + numbers.below(3);
    shape.tied = numbers.below(2) == 0;
    shape.window = shape.family[0] == 'l' && numbers.below(2) == 0 ? 1 + numbers.below(150) : 0;
    CAPTURE(shape.family, shape.width, shape.heads, shape.kv_heads, shape.head_dim, shape.hidden, shape.window);
    const fs::path file = folder.path() / "random.gguf";
    Maker(shape, 100 + i).write(file);
    judge(shape, file);
  }
}
