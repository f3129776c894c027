#include "tests/kernels/kernel_lab.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "backends/reference/dequantise.h"
#include "backends/registry.h"

namespace kvasir::test {
namespace {

constexpr uint32_t kMaxSlots = 4096;  // per sequence, in layout_of()

uint16_t half_bits(float value) {  // normal halves only
  uint32_t bits = 0;
  std::memcpy(&bits, &value, 4);
  return static_cast<uint16_t>((bits >> 16 & 0x8000U) | ((bits & 0x7FFFFFFFU) - 0x38000000U) >> 13);
}

void put_half(std::vector<std::byte>& to, size_t at, float value) {
  const uint16_t h = half_bits(value);
  std::memcpy(to.data() + at, &h, 2);
}

/// Where a block keeps its f16 scales, and how large these must be for weights of about 0.05.
struct ScaleFields {
  std::vector<uint32_t> offsets;
  float size;
};

ScaleFields scale_fields(TensorType type) {
  switch (type) {
    case TensorType::kQ4_0: return {{0}, 0.01F};
    case TensorType::kQ4_1: return {{0, 2}, 0.01F};
    case TensorType::kQ5_0: return {{0}, 0.005F};
    case TensorType::kQ5_1: return {{0, 2}, 0.005F};
    case TensorType::kQ8_0: return {{0}, 0.0007F};
    case TensorType::kQ2_K: return {{80, 82}, 0.003F};
    case TensorType::kQ3_K: return {{108}, 0.0012F};
    case TensorType::kQ4_K:
    case TensorType::kQ5_K: return {{0, 2}, 0.0003F};
    case TensorType::kQ6_K: return {{208}, 0.00013F};
    case TensorType::kIQ4_NL: return {{0}, 0.0007F};
    case TensorType::kIQ4_XS: return {{0}, 0.00013F};
    case TensorType::kIQ1_S: return {{0}, 0.01F};
    case TensorType::kIQ2_XXS:
    case TensorType::kIQ2_XS:
    case TensorType::kIQ2_S: return {{0}, 0.001F};
    case TensorType::kIQ3_XXS: return {{0}, 0.0005F};
    case TensorType::kIQ3_S: return {{0}, 0.0005F};
    case TensorType::kTQ1_0: return {{52}, 0.07F};
    case TensorType::kTQ2_0: return {{64}, 0.07F};
    case TensorType::kQ1_0:
    case TensorType::kQ2_0: return {{0}, 0.07F};
    default: return {};
  }
}

/// Scales that are no f16 word: NVFP4's four E4M3 bytes, IQ1_M's nibbles in four words.
void put_packed_scales(TensorType type, Noise& noise, std::byte* block) {
  if (type == TensorType::kNVFP4) {
    for (int s = 0; s < 4; ++s) block[s] = static_cast<std::byte>(8 + noise.bits() % 20);
    return;
  }
  const uint32_t half = half_bits(noise.uniform(0.005F, 0.015F));
  for (uint32_t i = 0; i < 4; ++i) block[49 + 2 * i] = (block[49 + 2 * i] & std::byte{15}) | static_cast<std::byte>((half >> (4 * i) & 15U) << 4U);
}

}  // namespace

const std::vector<TensorType> kPackedTypes = {
    TensorType::kF32,  TensorType::kF16,  TensorType::kBF16, TensorType::kQ4_0, TensorType::kQ4_1, TensorType::kQ5_0, TensorType::kQ5_1,
    TensorType::kQ8_0, TensorType::kQ2_K, TensorType::kQ3_K, TensorType::kQ4_K, TensorType::kQ5_K, TensorType::kQ6_K,
    TensorType::kIQ4_NL, TensorType::kIQ4_XS, TensorType::kMXFP4, TensorType::kIQ1_S, TensorType::kIQ1_M, TensorType::kIQ2_XXS, TensorType::kIQ2_XS,
    TensorType::kIQ2_S, TensorType::kIQ3_XXS, TensorType::kIQ3_S, TensorType::kTQ1_0, TensorType::kTQ2_0, TensorType::kNVFP4, TensorType::kQ1_0, TensorType::kQ2_0};

uint32_t Noise::bits() {
  state_ ^= state_ << 13U;
  state_ ^= state_ >> 7U;
  state_ ^= state_ << 17U;
  return static_cast<uint32_t>(state_ * 0x2545F4914F6CDD1DU >> 32U);
}

float Noise::uniform(float low, float high) { return low + (high - low) * (static_cast<float>(bits() >> 8U) * 0x1p-24F); }

float Noise::normal() {
  float sum = -6.0F;
  for (int i = 0; i < 12; ++i) sum += uniform(0.0F, 1.0F);
  return sum;
}

std::vector<std::byte> random_tensor(TensorType type, uint64_t rows, uint64_t cols, uint64_t seed) {
  const TensorTypeInfo* info = tensor_type_info(type);
  Noise noise(seed);
  const uint64_t blocks = rows * cols / info->block_values;
  std::vector<std::byte> out(blocks * info->block_bytes);
  if (info->block_values == 1) {
    for (uint64_t i = 0; i < blocks; ++i) {
      const float value = noise.normal() * 0.05F;
      uint32_t bits = 0;
      std::memcpy(&bits, &value, 4);
      if (type == TensorType::kF32) std::memcpy(out.data() + 4 * i, &bits, 4);
      else if (type == TensorType::kBF16) bits >>= 16U, std::memcpy(out.data() + 2 * i, &bits, 2);
      else put_half(out, 2 * i, std::abs(value) < 1e-4F ? 0.001F : value);
    }
    return out;
  }
  for (std::byte& b : out) b = static_cast<std::byte>(noise.bits());
  if (type == TensorType::kMXFP4) {
    for (uint64_t i = 0; i < blocks; ++i) out[i * info->block_bytes] = static_cast<std::byte>(120 + noise.bits() % 3);
  }
  if (type == TensorType::kNVFP4 || type == TensorType::kIQ1_M) {
    for (uint64_t i = 0; i < blocks; ++i) put_packed_scales(type, noise, out.data() + i * info->block_bytes);
  }
  const ScaleFields fields = scale_fields(type);
  for (uint64_t i = 0; i < blocks; ++i) {
    for (const uint32_t offset : fields.offsets) {
      const float sign = noise.bits() % 5 == 0 ? -1.0F : 1.0F;
      put_half(out, i * info->block_bytes + offset, sign * noise.uniform(0.5F, 1.5F) * fields.size);
    }
  }
  return out;
}

std::vector<float> decoded_tensor(TensorType type, uint64_t rows, uint64_t cols, uint64_t seed) {
  const std::vector<std::byte> bytes = random_tensor(type, rows, cols, seed);
  std::vector<float> out(rows * cols);
  dequantise(type, bytes, out);
  return out;
}

struct Lab::Memory final : ByteSource {
  std::vector<std::byte> bytes;
  Result<void> read(uint64_t offset, std::span<std::byte> into) const override {
    if (offset > bytes.size() || into.size() > bytes.size() - offset) return Failure{Code::kCorrupt, "the source ended"};
    std::memcpy(into.data(), bytes.data() + offset, into.size());
    return {};
  }
};

Lab::Lab(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {
  auto stream = backend_->open_stream({});
  if (!stream) throw std::runtime_error(stream.error().message);
  stream_ = *std::move(stream);
}

Lab::~Lab() = default;

void Lab::make_pool(const KvPoolSpec& spec) {
  auto pool = backend_->create_kv_pool(spec);
  if (!pool) throw std::runtime_error(pool.error().message);
  pool_ = *std::move(pool);
}

const Weight& Lab::weight(TensorType type, uint64_t rows, uint64_t cols, uint64_t seed, WeightUse use, uint64_t experts) {
  auto source = std::make_unique<Memory>();
  source->bytes = random_tensor(type, rows * experts, cols, seed);
  const HostTensor tensor{.name = "test", .type = type, .experts = experts, .rows = rows, .cols = cols, .source = source.get()};
  sources_.push_back(std::move(source));
  auto weight = backend_->upload(tensor, use);
  if (!weight) throw std::runtime_error(weight.error().message);
  weights_.push_back(*std::move(weight));
  return *weights_.back();
}

const Weight& Lab::vector(const std::vector<float>& values, float add, uint64_t rows, uint64_t experts) {
  auto source = std::make_unique<Memory>();
  source->bytes.resize(values.size() * sizeof(float));
  std::memcpy(source->bytes.data(), values.data(), source->bytes.size());
  const HostTensor tensor{.name = "vector", .type = TensorType::kF32, .experts = experts, .rows = rows,
                          .cols = values.size() / rows / experts, .source = source.get(), .add = add};
  sources_.push_back(std::move(source));
  auto weight = backend_->upload(tensor, WeightUse::kVector);
  if (!weight) throw std::runtime_error(weight.error().message);
  weights_.push_back(*std::move(weight));
  return *weights_.back();
}

Mat Lab::input(uint32_t rows, uint32_t cols, uint64_t seed, uint32_t first_row, float size) {
  std::vector<float> all;
  for (uint32_t r = 0; r < rows; ++r) {
    Noise noise(seed * 1000003 + first_row + r);
    for (uint32_t c = 0; c < cols; ++c) all.push_back(noise.normal() * size);
  }
  return values(rows, cols, all);
}

Mat Lab::grid_input(uint32_t rows, uint32_t cols, uint64_t seed, uint32_t first_row) {
  std::vector<float> all;
  for (uint32_t r = 0; r < rows; ++r) {
    Noise noise(seed * 1000003 + first_row + r);
    for (uint32_t c = 0; c < cols; ++c) {
      const float step = std::ldexp(1.0F, -7 + static_cast<int>((c / 32 + r) % 3));
      const float q = c % 32 == 7 ? 127.0F : std::floor(noise.uniform(-127.0F, 128.0F));
      all.push_back(q * step);
    }
  }
  return values(rows, cols, all);
}

Mat Lab::values(uint32_t rows, uint32_t cols, const std::vector<float>& values) {
  inputs_.push_back(std::make_unique<std::vector<float>>(values));
  const Mat x = stream_->alloc(rows, cols);
  stream_->upload(x, *inputs_.back());
  return x;
}

Mat Lab::zeros(uint32_t rows, uint32_t cols) { return values(rows, cols, std::vector<float>(size_t{rows} * cols)); }

void Lab::output(Mat x) {
  outputs_.push_back(std::make_unique<std::vector<float>>(size_t{x.rows} * x.cols, std::numeric_limits<float>::quiet_NaN()));
  stream_->download(*outputs_.back(), x);
}

std::vector<std::vector<float>> Lab::run(const StepLayout& layout, const std::function<void(Lab&)>& program) {
  outputs_.clear();
  inputs_.clear();
  stream_->begin(layout, pool_.get());
  program(*this);
  auto done = stream_->finish();
  if (!done) throw std::runtime_error(done.error().message);
  std::vector<std::vector<float>> out;
  for (auto& each : outputs_) out.push_back(std::move(*each));
  return out;
}

std::vector<std::vector<float>> Lab::run(uint32_t rows, const std::function<void(Lab&)>& program) {
  StepLayout layout;
  layout.rows = rows;
  SequenceRows all;
  all.n_rows = rows;
  layout.sequences.push_back(all);
  return run(layout, program);
}

std::unique_ptr<Backend> open_reference() { return make_reference_backend({}); }

double relative_error(const std::vector<float>& a, const std::vector<float>& b, double floor) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double largest = floor;
  double error = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, std::abs(static_cast<double>(b[i])));
    error = std::max(error, std::abs(static_cast<double>(a[i]) - b[i]));
  }
  return error / largest;
}

StepLayout layout_of(const std::vector<uint32_t>& rows, const std::vector<uint32_t>& before, uint32_t groups) {
  StepLayout layout;
  for (size_t s = 0; s < rows.size(); ++s) {
    SequenceRows sequence;
    sequence.first_row = layout.rows;
    sequence.n_rows = rows[s];
    sequence.first_position = sequence.first_slot = before[s];
    sequence.state_slot = static_cast<uint32_t>(s);
    const uint32_t pages = (before[s] + rows[s] + kPageTokens - 1) / kPageTokens;
    sequence.pages.resize(groups);
    for (auto& table : sequence.pages) {
      for (uint32_t p = 0; p < pages; ++p) table.push_back(static_cast<PageId>(p * rows.size() + (s + p) % rows.size()));
    }
    layout.rows += rows[s];
    layout.sequences.push_back(std::move(sequence));
  }
  return layout;
}

uint32_t pages_for(uint32_t sequences, uint32_t slots) {
  return (std::min(slots, kMaxSlots) + kPageTokens - 1) / kPageTokens * sequences;
}

}  // namespace kvasir::test
