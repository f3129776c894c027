#include "tests/scheduler/fake_model.h"

#include <algorithm>
#include <cstring>
#include <thread>

namespace kvasir::test {
namespace {

uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

constexpr uint32_t kFakeParts = 3;                           // aged pages in a page
constexpr size_t kFakePageRows = kPageTokens * (1 + kFakeParts);  // plain rows, then those of aged pages

class FakePool final : public KvPool {
 public:
  explicit FakePool(KvPoolSpec spec) : spec_(std::move(spec)), states_(spec_.state_slots, 0) {
    for (const uint32_t pages : spec_.group_pages) rows_.emplace_back(pages * kFakePageRows, 0);
  }
  const KvPoolSpec& spec() const noexcept override { return spec_; }
  uint64_t bytes() const noexcept override { return rows_.empty() ? 0 : rows_[0].size() * sizeof(uint64_t); }
  uint64_t page_bytes(uint32_t) const noexcept override { return kFakePageRows * sizeof(uint64_t); }
  Result<void> export_page(uint32_t group, PageId page, std::span<std::byte> into) const override {
    std::memcpy(into.data(), &rows_.at(group).at(page * kFakePageRows), into.size());
    return {};
  }
  Result<void> import_page(uint32_t group, PageId page, std::span<const std::byte> from) override {
    std::memcpy(&row(group, page, 0), from.data(), from.size());
    return {};
  }
  Result<void> copy_page(uint32_t group, PageId from, PageId to) override {
    std::copy_n(&row(group, from, 0), kFakePageRows, &row(group, to, 0));
    return {};
  }
  KvAbilities abilities() const noexcept override {
    return {.attention_mass = true, .gather = true, .aged_per_page = kFakeParts};
  }
  /// A moved row stays what it was; an aged one is another.
  Result<void> gather(const KvGather& what) override {
    const uint32_t group = spec_.layers.at(what.kv_layer).group;
    for (size_t i = 0; i < what.rows.size(); ++i) {
      const uint64_t value = row(group, what.from[what.rows[i] / kPageTokens], what.rows[i] % kPageTokens);
      const PageId to = what.to[i / kPageTokens];
      row(group, to, i % kPageTokens) = is_aged(to) ? mix(value) : value;
    }
    return {};
  }
  Result<void> zero_state(uint32_t slot) override {
    states_.at(slot) = 0;
    return {};
  }
  Result<void> copy_state(uint32_t from, uint32_t to) override {
    states_.at(to) = states_.at(from);
    return {};
  }
  uint64_t& row(uint32_t group, PageId page, uint32_t slot) {
    const size_t part = is_aged(page) ? 1 + aged_part(page) : 0;
    return rows_.at(group).at(pool_page(page) * kFakePageRows + part * kPageTokens + slot);
  }
  uint64_t& state(uint32_t slot) { return states_.at(slot); }

 private:
  KvPoolSpec spec_;
  std::vector<std::vector<uint64_t>> rows_;
  std::vector<uint64_t> states_;
};

class FakeStream final : public Stream {
 public:
  void begin(const StepLayout&, KvPool*) noexcept override {}
  Mat alloc(uint32_t, uint32_t) noexcept override { return {}; }
  Result<void> finish() noexcept override { return {}; }
  void download(std::span<float>, Mat) noexcept override {}
  void upload(Mat, std::span<const float>) noexcept override {}
  void embed(Mat, const Weight&, std::span<const TokenId>, float) noexcept override {}
  void norm(Mat, Mat, const NormSpec&) noexcept override {}
  void linear(std::span<const LinearSpec>, Mat) noexcept override {}
  void gated(Mat, Mat, Mat, Activation) noexcept override {}
  void activate(Mat, Mat, Activation) noexcept override {}
  void add(Mat, Mat, float) noexcept override {}
  void multiply(Mat, Mat) noexcept override {}
  void scale(Mat, float) noexcept override {}
  void soft_cap(Mat, float) noexcept override {}
  void copy_columns(Mat, uint32_t, Mat, uint32_t, uint32_t) noexcept override {}
  void gather_rows(Mat, Mat, std::span<const uint32_t>) noexcept override {}
  void rope(Mat, uint32_t, const RopeSpec&) noexcept override {}
  void store_kv(uint32_t, Mat, Mat) noexcept override {}
  void attention(Mat, Mat, const AttentionSpec&) noexcept override {}

 protected:
  void unsupported(const char*) noexcept override {}
};

class FakeBackend final : public Backend {
 public:
  explicit FakeBackend(std::optional<uint64_t> memory) : memory_(memory) { info_.name = memory ? "fake-device" : "fake"; }
  const BackendInfo& info() const noexcept override { return info_; }
  std::optional<uint64_t> free_memory_bytes() override { return memory_; }
  Result<std::unique_ptr<Weight>> upload(const HostTensor&, WeightUse) override {
    return Failure{Code::kUnsupported, "the fake backend has no weights"};
  }
  Result<std::unique_ptr<KvPool>> create_kv_pool(const KvPoolSpec& spec) override {
    return std::unique_ptr<KvPool>(std::make_unique<FakePool>(spec));
  }
  Result<std::unique_ptr<Stream>> open_stream(const StreamLimits&) override {
    return std::unique_ptr<Stream>(std::make_unique<FakeStream>());
  }

 private:
  std::optional<uint64_t> memory_;
  BackendInfo info_{.name = "fake", .isa_or_device = "none", .reason = "test", .threads = 1, .numerics_version = 1};
};

ModelDescription describe_fake(const FakeModelOptions& options, const std::string& path) {
  ModelDescription description;
  description.path = path;
  description.name = "fake";
  description.architecture = "fake";
  description.layers = static_cast<uint32_t>(options.windows.size());
  description.kv_heads = 1;
  description.head_dim = 64;
  description.max_context = options.max_context;
  description.vocab_size = kFakeVocab;
  description.weight_bytes = 1 << 20;
  description.fingerprint = path;
  description.sampling.top_k = 30;
  return description;
}

class FakeModel final : public Model {
 public:
  FakeModel(FakeModelOptions options, const std::string& path)
      : options_(std::move(options)), description_(describe_fake(options_, path)) {
    if (options_.chat_template.empty()) return;
    if (auto parsed = ChatTemplate::parse(options_.chat_template)) template_.emplace(std::move(*parsed));
  }
  const ModelDescription& description() const noexcept override { return description_; }
  const Tokenizer& tokenizer() const noexcept override { return tokenizer_; }
  const ChatTemplate* chat_template() const noexcept override { return template_ ? &*template_ : nullptr; }
  uint64_t weight_bytes_in_memory() const noexcept override { return 1 << 20; }
  KvPoolSpec kv_spec(KvType type, uint32_t full_pages, uint32_t max_sequences, uint32_t max_rows) const override;
  std::vector<uint32_t> group_windows() const override { return options_.windows; }
  Result<std::vector<RopeSpec>> key_ropes() const override { return std::vector<RopeSpec>(options_.windows.size()); }
  Result<void> forward(Stream&, KvPool& pool, const StepLayout& layout, std::span<const TokenId> tokens,
                       std::span<const uint32_t> logit_rows, std::span<float> logits) override;

 private:
  uint64_t fold(FakePool& pool, const SequenceRows& rows, uint32_t slot) const;
  void write_logits(uint64_t seed, std::span<float> logits) const;

  FakeModelOptions options_;
  ModelDescription description_;
  FakeTokenizer tokenizer_;
  std::optional<ChatTemplate> template_;
};

KvPoolSpec FakeModel::kv_spec(KvType type, uint32_t full_pages, uint32_t max_sequences, uint32_t max_rows) const {
  KvPoolSpec spec;
  spec.type = type;
  for (uint32_t g = 0; g < options_.windows.size(); ++g) {
    spec.layers.push_back({.group = g, .n_kv_heads = 1, .k_dim = 64, .v_dim = 64});
    const uint32_t window = options_.windows[g];
    const uint32_t each = (window + max_rows + kPageTokens - 1) / kPageTokens + 1;
    spec.group_pages.push_back(window == 0 ? full_pages : max_sequences * each);
  }
  if (options_.recurrent) {
    spec.state_floats = {2};
    spec.state_slots = max_sequences;
  }
  return spec;
}

uint64_t FakeModel::fold(FakePool& pool, const SequenceRows& rows, uint32_t slot) const {
  uint64_t sum = options_.recurrent ? pool.state(rows.state_slot) : 0;
  for (uint32_t g = 0; g < options_.windows.size(); ++g) {
    const uint32_t window = options_.windows[g];
    const uint32_t first = window == 0 || slot + 1 < window ? 0 : slot + 1 - window;
    for (uint32_t s = first; s <= slot; ++s) {
      // at() throws on a missing page: a bug of the paging, not of the model.
      sum = mix(sum ^ pool.row(g, rows.pages.at(g).at(s / kPageTokens), s % kPageTokens));
    }
  }
  return sum;
}

void FakeModel::write_logits(uint64_t seed, std::span<float> logits) const {
  for (size_t i = 0; i < logits.size(); ++i) {
    logits[i] = static_cast<float>(mix(seed + i) % 100'000) / 10'000.0F;
    // Mostly letters, sometimes bytes of longer code points: text like a model's.
    if (i < 256 && i >= 'a' && i <= 'z') logits[i] += 6.0F;
    if (i >= 0xC3 && i <= 0xC4) logits[i] += 3.0F;
  }
  logits[kFakeEos] += static_cast<float>(options_.eos_bias);
  logits[kFakeBos] = logits[kFakeThink] = logits[kFakeThinkEnd] = -100.0F;
}

Result<void> FakeModel::forward(Stream&, KvPool& any_pool, const StepLayout& layout, std::span<const TokenId> tokens,
                                std::span<const uint32_t> logit_rows, std::span<float> logits) {
  auto& pool = dynamic_cast<FakePool&>(any_pool);
  if (options_.step_time.count() > 0) std::this_thread::sleep_for(options_.step_time);
  if (options_.fail_step && options_.fail_step()) return Failure{Code::kBackend, "the fake backend failed as told"};
  for (AttentionMass* mass : layout.masses) {  // every asking row looks at the letter x
    for (uint32_t slot = 0; slot < mass->slots; ++slot) {
      const SequenceRows& rows = layout.sequences.at(0);
      const uint64_t seen = pool.row(0, rows.pages.at(0).at(slot / kPageTokens), slot % kPageTokens);
      mass->layers.at(0).at(slot) += seen == mix(uint64_t{'x'} * 7919 + slot) ? static_cast<float>(mass->n_rows) : 0.0F;
    }
  }
  size_t next_logits = 0;
  for (const SequenceRows& rows : layout.sequences) {
    for (uint32_t i = 0; i < rows.n_rows; ++i) {
      const uint32_t slot = rows.first_slot + i;
      const uint32_t row = rows.first_row + i;
      const uint64_t value = mix(static_cast<uint64_t>(tokens[row]) * 7919 + rows.first_position + i);
      for (uint32_t g = 0; g < options_.windows.size(); ++g) {
        pool.row(g, rows.pages.at(g).at(slot / kPageTokens), slot % kPageTokens) = value;
      }
      if (options_.recurrent) pool.state(rows.state_slot) = mix(pool.state(rows.state_slot) ^ value);
      if (next_logits == logit_rows.size() || logit_rows[next_logits] != row) continue;
      write_logits(fold(pool, rows, slot), logits.subspan(next_logits * kFakeVocab, kFakeVocab));
      ++next_logits;
    }
  }
  if (next_logits != logit_rows.size()) return Failure{Code::kInternal, "logit rows are not rows of the layout"};
  return {};
}

}  // namespace

FakeTokenizer::FakeTokenizer() {
  for (int byte = 0; byte < 256; ++byte) texts_.emplace_back(1, static_cast<char>(byte));
  for (const char* special : {"<s>", "</s>", "<think>", "</think>"}) texts_.emplace_back(special);
}

Result<Encoded> FakeTokenizer::encode(const TrustedText& text, const EncodeOptions& options) const {
  Encoded out;
  if (options.add_special) out.ids.push_back(kFakeBos);
  for (const char c : text.text()) out.ids.push_back(static_cast<unsigned char>(c));
  return out;
}

std::string_view FakeTokenizer::token_bytes(TokenId id) const {
  return id < 256 ? std::string_view(texts_[static_cast<size_t>(id)]) : std::string_view();
}
std::string_view FakeTokenizer::token_text(TokenId id) const { return texts_[static_cast<size_t>(id)]; }
TokenKind FakeTokenizer::kind(TokenId id) const { return id < 256 ? TokenKind::kByte : TokenKind::kControl; }

Result<std::string> FakeTokenizer::decode(std::span<const TokenId> ids, bool special) const {
  std::string out;
  for (const TokenId id : ids) {
    if (!valid(id)) return Failure{Code::kInvalidArgument, "no such token"};
    out += special ? token_text(id) : token_bytes(id);
  }
  return out;
}

std::optional<TokenId> FakeTokenizer::find(std::string_view token_text) const {
  const auto found = std::ranges::find(texts_, token_text);
  if (found == texts_.end()) return std::nullopt;
  return static_cast<TokenId>(found - texts_.begin());
}

std::unique_ptr<Model> make_fake_model(const FakeModelOptions& options, const std::string& path) {
  return std::make_unique<FakeModel>(options, path);
}
std::unique_ptr<Backend> make_fake_backend(std::optional<uint64_t> memory) { return std::make_unique<FakeBackend>(memory); }

std::vector<Probe> FakeEnvironment::probes() const { return {{.name = "fake", .usable = true, .score = 1, .reason = "test"}}; }

Result<Probe> FakeEnvironment::select_backend(std::string_view name) const {
  if (name == "auto" || name == "fake" || name == "cpu") return probes().front();
  return Failure{Code::kUnavailable, "backend '" + std::string(name) + "' cannot run here: no driver"};
}

Result<std::unique_ptr<Backend>> FakeEnvironment::open_backend(std::string_view name, const BackendOptions&) const {
  KVASIR_TRY(select_backend(name));
  return make_fake_backend(name == "cpu" ? std::nullopt : device_memory);
}

Result<ModelDescription> FakeEnvironment::describe(const std::string& path, const ModelOptions&) const {
  if (path.find("missing") != std::string::npos) return Failure{Code::kNotFound, "no such file"};
  return describe_fake(options_, path);
}

Result<ModelText> FakeEnvironment::load_text(const std::string& path) const {
  KVASIR_TRY(describe(path, {}));
  ModelText text;
  text.tokenizer = std::make_unique<FakeTokenizer>();
  return text;
}

Result<std::unique_ptr<Model>> FakeEnvironment::load(const std::string& path, const ModelOptions&, Backend& backend, const LoadProgress& progress) const {
  KVASIR_TRY(describe(path, {}));
  if (backend.free_memory_bytes().value_or(UINT64_MAX) < uint64_t{64} << 20U) return Failure{Code::kTooLarge, "out of device memory"};
  constexpr int kParts = 20;
  for (int i = 0; i < kParts; ++i) {
    if (!progress(static_cast<double>(i) / kParts)) return Failure{Code::kCancelled, "cancelled"};
    std::this_thread::sleep_for(options_.load_time / kParts);
  }
  ++loads;
  return make_fake_model(options_, path);
}

}  // namespace kvasir::test
