// Text in which every byte knows whether it came from the template or model file (trusted) or from a user (not).
// Control tokens are recognised only in trusted bytes, so user text can never become one (decisions.md 17).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace kvasir {

/// A run of equal trust. Runs are in order, adjacent, non-empty and cover the text; neighbours differ in trust.
struct TrustRun {
  size_t begin = 0;
  size_t end = 0;
  bool trusted = false;
};

class TrustedText {
 public:
  TrustedText() = default;
  TrustedText(std::string_view text, bool trusted) { append(text, trusted); }
  void append(std::string_view text, bool trusted) {
    if (text.empty()) return;
    const size_t begin = text_.size();
    text_.append(text);
    if (!runs_.empty() && runs_.back().trusted == trusted) {
      runs_.back().end = text_.size();
    } else {
      runs_.push_back({begin, text_.size(), trusted});
    }
  }
  /// The text from byte `begin` on, every byte as trusted as it was.
  TrustedText suffix(size_t begin) const {
    TrustedText out;
    for (const TrustRun& run : runs_) {
      const size_t from = begin > run.begin ? begin : run.begin;
      if (from < run.end) out.append(std::string_view(text_).substr(from, run.end - from), run.trusted);
    }
    return out;
  }
  const std::string& text() const noexcept { return text_; }
  const std::vector<TrustRun>& runs() const noexcept { return runs_; }

 private:
  std::string text_;
  std::vector<TrustRun> runs_;
};

}  // namespace kvasir
