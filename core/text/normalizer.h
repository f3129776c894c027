// What a tokenizer does to text before anything else: a short list of steps, as a tokenizer.json or a SentencePiece
// model names them. Every step is linear (composition n log n). Immutable; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace kvasir::text {

/// SentencePiece's precompiled_charsmap: replacements by longest match, as a double array and a pool of strings.
class CharsMap {
 public:
  /// Errors: kCorrupt (too short, sizes that disagree, offsets outside the pool).
  static Result<CharsMap> create(std::string_view blob);
  /// Nothing if the result would be over `most` bytes.
  std::optional<std::string> apply(std::string_view text, size_t most) const;

 private:
  std::vector<uint32_t> units_;
  std::string pool_;  ///< strings, each ended by a zero byte
};

struct NormalizeStep {
  enum class Kind : uint8_t {
    kNfc,
    kNfd,
    kNfkc,
    kNfkd,
    kLowercase,
    kStripLeft,
    kStripRight,
    kReplace,         ///< every `from` by `to`
    kCollapseSpaces,  ///< every run of two or more spaces by `to`
    kPrepend,         ///< `to` in front of text that is not empty
    kCharsMap,
  };
  Kind kind = Kind::kNfc;
  std::string from = {}, to = {};
};

enum class Prepend : bool { kLeaveOut, kApply };  ///< what kPrepend steps do: nothing where a text continues another

class Normalizer {
 public:
  void add(NormalizeStep step) { steps_.push_back(std::move(step)); }
  void add(CharsMap map) {
    maps_.push_back(std::move(map));
    steps_.push_back({NormalizeStep::Kind::kCharsMap});
  }
  bool empty() const noexcept { return steps_.empty(); }
  /// `text` itself if nothing changes, else a view of `buffer`; nothing if some step gives more than `most` bytes.
  std::optional<std::string_view> apply(std::string_view text, std::string& buffer, size_t most,
                                        Prepend prepend = Prepend::kApply) const;

 private:
  std::vector<NormalizeStep> steps_;
  std::vector<CharsMap> maps_;  ///< of the kCharsMap steps, in order
};

}  // namespace kvasir::text
