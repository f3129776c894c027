#include "tests/model/runner.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

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

Runner::Runner(const std::filesystem::path& path, const RunnerOptions& options) : options_(options) {
  BackendOptions backend_options;
  backend_options.activations = options.activations;
  backend_ = open_backend(options.backend, backend_options);
  model_ = must(Model::load(path.string(), *backend_, {}, {.quantize = options.quantize}));
  model_->choose_context(options.context);
  const uint32_t pages = (options.context + kPageTokens - 1) / kPageTokens * options.sequences;
  KvPoolSpec spec = model_->kv_spec(options.kv, pages, options.sequences, options.max_rows);
  // Every group keeps everything here; what a window no longer needs is tested apart.
  std::fill(spec.group_pages.begin(), spec.group_pages.end(), pages);
  if (!spec.state_floats.empty()) spec.state_slots = options.sequences;
  pool_ = must(backend_->create_kv_pool(spec));
  StreamLimits limits;
  limits.max_rows = options.max_rows;
  stream_ = must(backend_->open_stream(limits));
  reset();
}

void Runner::reset() {
  lengths_.assign(options_.sequences, 0);
  if (pool_->spec().state_floats.empty()) return;
  for (uint32_t s = 0; s < options_.sequences; ++s) must(pool_->zero_state(s));
}

std::vector<std::vector<PageId>> Runner::pages_of(uint32_t sequence) const {
  const uint32_t count = (options_.context + kPageTokens - 1) / kPageTokens;
  std::vector<PageId> pages(count);
  // Out of order, so that nothing may depend on neighbouring pages.
  for (uint32_t i = 0; i < count; ++i) pages[i] = sequence * count + (count - 1 - i);
  std::vector<std::vector<PageId>> groups(pool_->spec().group_pages.size(), pages);
  if (!options_.drop_window_pages) return groups;
  const auto windows = model_->group_windows();
  for (size_t g = 0; g < groups.size(); ++g) {
    if (windows[g] == 0 || lengths_[sequence] + 1 <= windows[g]) continue;
    const uint32_t first_needed = lengths_[sequence] + 1 - windows[g];
    for (uint32_t i = 0; i < first_needed / kPageTokens; ++i) groups[g][i] = kNoPage;
  }
  return groups;
}

std::vector<float> Runner::step(std::span<const Piece> pieces) {
  StepLayout layout;
  std::vector<TokenId> tokens;
  for (const Piece& piece : pieces) {
    SequenceRows rows;
    rows.first_row = layout.rows;
    rows.n_rows = static_cast<uint32_t>(piece.tokens.size());
    rows.first_position = rows.first_slot = lengths_[piece.sequence];
    rows.state_slot = piece.sequence;
    rows.pages = pages_of(piece.sequence);
    lengths_[piece.sequence] += rows.n_rows;
    layout.rows += rows.n_rows;
    tokens.insert(tokens.end(), piece.tokens.begin(), piece.tokens.end());
    layout.sequences.push_back(std::move(rows));
  }
  std::vector<uint32_t> wanted(layout.rows);
  std::iota(wanted.begin(), wanted.end(), 0U);
  std::vector<float> logits(static_cast<size_t>(layout.rows) * vocab());
  must(model_->forward(*stream_, *pool_, layout, tokens, wanted, logits));
  return logits;
}

std::vector<float> Runner::run(std::span<const TokenId> tokens, uint32_t chunk, bool last_only) {
  std::vector<float> all;
  chunk = std::min(chunk, options_.max_rows);
  for (size_t at = 0; at < tokens.size(); at += chunk) {
    const auto part = tokens.subspan(at, std::min<size_t>(chunk, tokens.size() - at));
    const Piece piece{0, {part.begin(), part.end()}};
    std::vector<float> logits = step({&piece, 1});
    if (last_only) {
      all.assign(logits.end() - vocab(), logits.end());
    } else {
      all.insert(all.end(), logits.begin(), logits.end());
    }
  }
  return all;
}

size_t argmax(std::span<const float> logits) {
  return static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

double logsumexp(std::span<const float> logits) {
  const double largest = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0.0;
  for (const float v : logits) sum += std::exp(static_cast<double>(v) - largest);
  return largest + std::log(sum);
}

}  // namespace kvasir::test
