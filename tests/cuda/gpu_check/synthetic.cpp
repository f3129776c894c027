#include "tests/cuda/gpu_check/synthetic.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "tests/kernels/kernel_lab.h"

namespace kvasir::test {
namespace {

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(result).value();
}
void must(Result<void> result) {
  if (!result) throw std::runtime_error(result.error().message);
}

}  // namespace

const char* recipe_name(Recipe recipe) {
  switch (recipe) {
    case Recipe::kF16: return "F16";
    case Recipe::kQ8_0: return "Q8_0";
    case Recipe::kQ4_K_M: return "Q4_K_M";
    case Recipe::kQ4_0: return "Q4_0";
  }
  return "";
}

/// A few megabytes of random blocks over and over: never zeros, which are read faster than they should be.
struct SyntheticModel::Source final : ByteSource {
  TensorType type;
  std::vector<std::byte> bytes;
  explicit Source(TensorType t) : type(t), bytes(random_tensor(t, 1024, 4096, 77)) {}
  Result<void> read(uint64_t offset, std::span<std::byte> into) const override {
    for (size_t at = 0; at < into.size();) {
      const size_t from = (offset + at) % bytes.size(), count = std::min(bytes.size() - from, into.size() - at);
      std::memcpy(into.data() + at, bytes.data() + from, count);
      at += count;
    }
    return {};
  }
};

const Weight* SyntheticModel::matrix(TensorType type, uint64_t rows, uint64_t cols, WeightUse use) {
  auto found = std::find_if(sources_.begin(), sources_.end(), [&](const auto& s) { return s->type == type; });
  if (found == sources_.end()) {
    sources_.push_back(std::make_unique<Source>(type));
    found = sources_.end() - 1;
  }
  const uint64_t block = tensor_type_info(type)->block_bytes;
  const HostTensor tensor{.name = "synthetic", .type = type, .rows = rows, .cols = cols, .source = found->get(), .offset = weights_.size() * 1024 * block};
  weights_.push_back(must(backend_.upload(tensor, use)));
  if (use == WeightUse::kMatrix) weight_bytes_ += weights_.back()->bytes();
  return weights_.back().get();
}

const Weight* SyntheticModel::ones(uint64_t count) {
  struct Ones final : ByteSource {
    Result<void> read(uint64_t, std::span<std::byte> into) const override {
      const float scale = 0.5F;
      for (size_t i = 0; i + 4 <= into.size(); i += 4) std::memcpy(into.data() + i, &scale, 4);
      return {};
    }
  } source;
  const HostTensor tensor{.name = "norm", .type = TensorType::kF32, .rows = 1, .cols = count, .source = &source};
  weights_.push_back(must(backend_.upload(tensor, WeightUse::kVector)));
  return weights_.back().get();
}

SyntheticModel::SyntheticModel(Backend& backend, const SyntheticShape& shape, Recipe recipe, uint32_t sequences, uint32_t context)
    : backend_(backend), shape_(shape), context_((context + kPageTokens - 1) / kPageTokens * kPageTokens) {
  const TensorType plain = recipe == Recipe::kF16 ? TensorType::kF16 : recipe == Recipe::kQ8_0 ? TensorType::kQ8_0 : recipe == Recipe::kQ4_0 ? TensorType::kQ4_0 : TensorType::kQ4_K;
  const TensorType better = recipe == Recipe::kQ4_K_M ? TensorType::kQ6_K : plain;
  const uint64_t q = uint64_t{shape.heads} * shape.head_dim, kv = uint64_t{shape.kv_heads} * shape.head_dim;
  KvPoolSpec spec{.type = KvType::kF16, .layers = {}, .group_pages = {context_ / kPageTokens * sequences}, .state_floats = {}, .state_slots = 0};
  embedding_ = matrix(plain, shape.vocab, shape.width, WeightUse::kTable);
  for (uint32_t i = 0; i < shape.layers; ++i) {
    const TensorType some = i % 2 == 0 ? better : plain;  // half of the layers, as the recipe does
    layers_.push_back({ones(shape.width), matrix(plain, q, shape.width), matrix(plain, kv, shape.width), matrix(some, kv, shape.width), matrix(plain, shape.width, q),
                       ones(shape.width), matrix(plain, shape.hidden, shape.width), matrix(plain, shape.hidden, shape.width), matrix(some, shape.width, shape.hidden)});
    spec.layers.push_back({0, shape.kv_heads, shape.head_dim, shape.head_dim});
  }
  last_norm_ = ones(shape.width);
  head_ = matrix(better, shape.vocab, shape.width);
  for (uint32_t i = 0; i < shape.head_dim / 2; ++i) frequencies_.push_back(static_cast<float>(std::pow(10000.0, -2.0 * i / shape.head_dim)));
  pool_ = must(backend_.create_kv_pool(spec));
  stream_ = must(backend_.open_stream({}));
}

SyntheticModel::~SyntheticModel() = default;

uint64_t SyntheticModel::kv_bytes_per_token() const noexcept { return uint64_t{shape_.layers} * shape_.kv_heads * shape_.head_dim * 4; }

void SyntheticModel::lay_out(uint32_t sequences, uint32_t rows, uint32_t position) {
  layout_ = {};
  layout_.rows = sequences * rows;
  ids_.resize(layout_.rows);
  for (uint32_t i = 0; i < layout_.rows; ++i) ids_[i] = static_cast<TokenId>((i * 7919 + position) % shape_.vocab);
  last_rows_.clear();
  const uint32_t pages = context_ / kPageTokens;
  for (uint32_t s = 0; s < sequences; ++s) {
    SequenceRows part{.first_row = s * rows, .n_rows = rows, .first_position = position, .first_slot = position, .pages = {{}}};
    for (uint32_t p = 0; p < pages; ++p) part.pages[0].push_back(p * sequences + s);
    layout_.sequences.push_back(std::move(part));
    last_rows_.push_back(s * rows + rows - 1);
  }
}

void SyntheticModel::step(uint32_t sequences, uint32_t rows, uint32_t position) {
  lay_out(sequences, rows, position);
  logits_.resize(size_t{sequences} * shape_.vocab);
  const uint32_t all = layout_.rows, q_cols = shape_.heads * shape_.head_dim, kv_cols = shape_.kv_heads * shape_.head_dim;
  Stream& s = *stream_;
  s.begin(layout_, pool_.get());
  const Mat x = s.alloc(all, shape_.width), q = s.alloc(all, q_cols), k = s.alloc(all, kv_cols), v = s.alloc(all, kv_cols);
  const Mat mixed = s.alloc(all, q_cols), gate = s.alloc(all, shape_.hidden), up = s.alloc(all, shape_.hidden);
  s.embed(x, *embedding_, ids_, 1.0F);
  const RopeSpec rope{.kind = RopeKind::kInterleaved, .dims = shape_.head_dim, .inverse_frequency = frequencies_};
  for (uint32_t i = 0; i < shape_.layers; ++i) {
    const Layer& l = layers_[i];
    const LinearSpec in[] = {{.y = q, .weight = l.q}, {.y = k, .weight = l.k}, {.y = v, .weight = l.v}};
    s.norm_linear(in, x, {.weight = l.norm1});
    s.rope_store(q, shape_.heads, k, shape_.kv_heads, v, i, rope);
    s.attention(mixed, q, {.kv_layer = i, .n_heads = shape_.heads, .scale = 1.0F / std::sqrt(static_cast<float>(shape_.head_dim))});
    const LinearSpec out[] = {{.y = x, .weight = l.o, .accumulate = true}};
    s.linear(out, mixed);
    const LinearSpec wide[] = {{.y = gate, .weight = l.gate}, {.y = up, .weight = l.up}};
    s.norm_linear(wide, x, {.weight = l.norm2});
    const LinearSpec down[] = {{.y = x, .weight = l.down, .accumulate = true, .scale = 0.05F}};
    s.gated_linear(down, gate, up, Activation::kSilu);
  }
  const Mat last = s.alloc(sequences, shape_.width), y = s.alloc(sequences, shape_.vocab);
  s.gather_rows(last, x, last_rows_);
  const LinearSpec head[] = {{.y = y, .weight = head_}};
  s.norm_linear(head, last, {.weight = last_norm_});
  s.download(logits_, y);
  must(s.finish());
}

}  // namespace kvasir::test
