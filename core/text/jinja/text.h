// A string whose every byte knows whether it is trusted (decisions.md 17), in the form the interpreter computes with:
// most strings are of one kind and carry no list at all. A value type; no thread of its own; no errors.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvasir::jinja {

class Text {
 public:
  Text() = default;
  Text(std::string bytes, bool trusted) : bytes_(std::move(bytes)), first_trusted_(trusted) {}

  std::string_view view() const noexcept { return bytes_; }
  size_t size() const noexcept { return bytes_.size(); }
  bool empty() const noexcept { return bytes_.empty(); }
  /// What the text weighs in memory.
  size_t weight() const noexcept { return bytes_.size() + flips_.size() * sizeof(uint32_t); }

  bool trusted_at(size_t offset) const noexcept {
    if (flips_.empty()) return first_trusted_;
    const auto before = std::upper_bound(flips_.begin(), flips_.end(), offset) - flips_.begin();
    return first_trusted_ != ((before & 1) != 0);
  }
  bool all_trusted() const noexcept { return bytes_.empty() || (flips_.empty() && first_trusted_); }

  void append(std::string_view bytes, bool trusted) {
    if (bytes.empty()) return;
    if (bytes_.empty()) {
      first_trusted_ = trusted;
      flips_.clear();
    } else if (last_trusted() != trusted) {
      flips_.push_back(static_cast<uint32_t>(bytes_.size()));  // strings with runs are far below 4 GiB (output limit)
    }
    bytes_.append(bytes);
  }
  void append(const Text& other) { append_slice(other, 0, other.size()); }
  void append_slice(const Text& other, size_t begin, size_t end) {
    other.for_each_run(begin, end, [this](std::string_view piece, bool trusted) { append(piece, trusted); });
  }
  Text slice(size_t begin, size_t end) const {
    Text out;
    out.append_slice(*this, begin, end);
    return out;
  }

  /// Calls `use(bytes, trusted)` for each run of [begin, end), in order.
  template <class Use>
  void for_each_run(size_t begin, size_t end, Use use) const {
    auto flip = std::upper_bound(flips_.begin(), flips_.end(), begin);
    bool trusted = first_trusted_ != (((flip - flips_.begin()) & 1) != 0);
    while (begin < end) {
      const size_t stop = flip == flips_.end() ? end : std::min<size_t>(end, *flip);
      use(view().substr(begin, stop - begin), trusted);
      begin = stop;
      trusted = !trusted;
      if (flip != flips_.end()) ++flip;
    }
  }

 private:
  bool last_trusted() const noexcept { return first_trusted_ != ((flips_.size() & 1) != 0); }

  std::string bytes_;
  bool first_trusted_ = true;
  std::vector<uint32_t> flips_;  // ascending offsets at which trust changes
};

}  // namespace kvasir::jinja
