// A text under construction that spends from the budget as it grows and stops at the output limit. One rendering.
// Errors: kTooLarge.
#pragma once

#include <string_view>
#include <utility>

#include "core/text/jinja/budget.h"
#include "core/text/jinja/text.h"

namespace kvasir::jinja {

class TextBuilder {
 public:
  explicit TextBuilder(Budget& budget) : budget_(budget) {}

  Result<void> append(std::string_view bytes, bool trusted) {
    KVASIR_TRY(reserve(bytes.size()));
    text_.append(bytes, trusted);
    return {};
  }
  Result<void> append(const Text& text) { return append_slice(text, 0, text.size()); }
  Result<void> append_slice(const Text& text, size_t begin, size_t end) {
    // A slice has at most as many runs as the whole text; those are paid for too.
    KVASIR_TRY(reserve(end - begin + std::min(text.weight() - text.size(), 4 * (end - begin))));
    text_.append_slice(text, begin, end);
    return {};
  }
  /// `count` copies of one character.
  Result<void> fill(size_t count, char c, bool trusted) {
    KVASIR_TRY(reserve(count));
    text_.append(std::string(count, c), trusted);
    return {};
  }

  const Text& text() const noexcept { return text_; }
  Text take() { return std::move(text_); }

 private:
  /// Before `bytes` more are added.
  Result<void> reserve(size_t bytes) {
    unpaid_ += bytes;
    if (bytes > budget_.limits().max_output_bytes || text_.size() + bytes > budget_.limits().max_output_bytes) {
      return budget_.spend_bytes(budget_.limits().max_output_bytes + 1);
    }
    if (unpaid_ < 64) return {};
    const size_t units = unpaid_ / 64;
    unpaid_ %= 64;
    return budget_.spend(units);
  }

  Budget& budget_;
  Text text_;
  size_t unpaid_ = 0;
};

}  // namespace kvasir::jinja
