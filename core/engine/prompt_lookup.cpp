#include "core/engine/prompt_lookup.h"

#include <xxhash.h>

#include <algorithm>

namespace kvasir {
namespace {

constexpr double kLearningRate = 0.2;
constexpr double kTimeWeight = 0.1;
// Until it was measured, a further row is taken to cost this share of the first: little, so that it gets measured.
constexpr double kHopedRowShare = 0.1;
// Rows are only spent for a gain above what timing can tell apart.
constexpr double kLeastGain = 1.05;
// A bad measurement must not forbid guesses for ever: it counts for so many first rows at most, and fades.
constexpr double kDearestRow = 2;
constexpr double kForgetting = 0.995;

}  // namespace

size_t PromptLookup::KeyHash::operator()(const Key& key) const noexcept { return XXH3_64bits(key.data(), sizeof key); }

std::span<const TokenId> PromptLookup::guess(std::span<const TokenId> tokens, uint32_t most) {
  guesses_.clear();
  const auto key_before = [&](uint32_t index) {
    Key key;
    std::copy_n(tokens.begin() + (index - kLookupTokens), kLookupTokens, key.begin());
    return key;
  };
  for (; indexed_ < tokens.size(); ++indexed_) after_[key_before(indexed_)] = indexed_;
  if (tokens.size() < kLookupTokens) return {};
  const auto found = after_.find(key_before(static_cast<uint32_t>(tokens.size())));
  if (found == after_.end()) return {};
  const auto guesses = tokens.subspan(found->second, std::min<size_t>(most, tokens.size() - found->second));
  guesses_.assign(guesses.rbegin(), guesses.rend());
  return guesses;
}

void PromptLookup::learn(TokenId token) {
  if (guesses_.empty()) return;
  const bool right = guesses_.back() == token;
  right_share_ += kLearningRate * ((right ? 1.0 : 0.0) - right_share_);
  if (right) guesses_.pop_back();
  else guesses_.clear();
}

uint32_t GuessPolicy::worth(double right_share) const noexcept {
  if (row_ms_ <= 0) return 0;
  const double extra = extra_known_ ? extra_row_ms_ : kHopedRowShare * row_ms_;
  uint32_t best = 0;
  double best_gain = kLeastGain;
  double tokens = 1, chance = 1;
  for (uint32_t guesses = 1; guesses <= most_; ++guesses) {
    chance *= right_share;
    tokens += chance;
    const double gain = tokens * row_ms_ / (row_ms_ + guesses * extra);
    if (gain > best_gain) {
      best_gain = gain;
      best = guesses;
    }
  }
  return best;
}

void GuessPolicy::measured(uint32_t rows, double ms) noexcept {
  if (rows == 1) {
    row_ms_ = row_ms_ <= 0 ? ms : row_ms_ + kTimeWeight * (ms - row_ms_);
    extra_row_ms_ *= kForgetting;
    return;
  }
  if (row_ms_ <= 0) return;
  const double extra = std::clamp((ms - row_ms_) / (rows - 1), 0.0, kDearestRow * row_ms_);
  extra_row_ms_ = extra_known_ ? extra_row_ms_ + kTimeWeight * (extra - extra_row_ms_) : extra;
  extra_known_ = true;
  // A longer context makes every step slower, also while each of them carries guesses.
  const double expected = row_ms_ + (rows - 1) * extra_row_ms_;
  row_ms_ *= 1.0 + kTimeWeight * (std::clamp(ms / expected, 0.5, 2.0) - 1.0);
}

}  // namespace kvasir
