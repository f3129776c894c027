// A strict pull parser for JSON from files (RFC 8259), for vocabularies of tens of megabytes: no tree is built of what
// is read in order, and nothing is recursive. The first error is kept, and from then on every call gives nothing.
// Single-threaded; borrows the text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/result.h"

namespace kvasir::text {

/// A small part of a document as a tree.
struct JsonNode {
  enum class Kind : uint8_t { kNull, kBool, kNumber, kString, kArray, kObject };
  Kind kind = Kind::kNull;
  bool flag = false;
  double number = 0;
  std::string text;
  std::vector<std::string> keys;  ///< of an object, in file order
  std::vector<JsonNode> items;    ///< of an array, or the values of an object

  const JsonNode* find(std::string_view key) const noexcept;     ///< a member that is there and not null
  std::string_view string(std::string_view key) const noexcept;  ///< a member that is a string, else ""
  std::optional<bool> boolean(std::string_view key) const noexcept;
};

class JsonReader {
 public:
  static constexpr uint32_t kMaxDepth = 32;
  static constexpr size_t kMaxTreeValues = 200'000;  ///< in one take_tree()
  static constexpr size_t kMaxTreeKeys = 2'000;      ///< of one object there

  explicit JsonReader(std::string_view text) : text_(text) {}

  using Kind = JsonNode::Kind;
  /// The kind of the value that comes next; nothing after an error or at the end.
  std::optional<Kind> peek();
  bool enter_object() { return enter('{', Kind::kObject); }
  bool enter_array() { return enter('[', Kind::kArray); }
  /// In an object: takes the next key and stands before its value; false (and out of the object) at its end.
  bool next_key(std::string& key);
  /// The two halves of next_key(), for keys that are taken by take_view().
  bool next_element() { return separator('}'); }
  bool take_colon();
  /// In an array: true if an element comes; false (and out of the array) at its end.
  bool next_item();
  bool take_string(std::string& out);
  /// A string without escapes as it stands in the text, else in `scratch`.
  std::optional<std::string_view> take_view(std::string& scratch);
  /// `["a", "b"]` of strings without escapes. Of anything else nothing, and nothing is taken: then the other calls read
  /// it, or say what is wrong with it.
  std::optional<std::pair<std::string_view, std::string_view>> take_plain_pair();
  std::optional<double> take_number();
  /// A number that is written as an integer within [low, high].
  std::optional<int64_t> take_integer(int64_t low, int64_t high);
  size_t bytes_left() const noexcept { return text_.size() - at_; }
  void skip();
  JsonNode take_tree();
  /// After the outermost value: only white space may follow. The error, if there was one.
  Result<void> finish();
  bool failed() const noexcept { return !error_.empty(); }
  void fail(std::string what);

 private:
  struct Level {
    bool object = false;
    bool first = true;
  };
  bool enter(char open, Kind kind);
  bool separator(char close);
  void skip_space() noexcept;
  bool skip_to(char wanted) noexcept;
  bool pass_plain() noexcept;
  bool take_rest(size_t begin, bool ascii, std::string& out);
  void fail_not_utf8(size_t begin);
  bool take_escape(std::string& out);
  std::optional<uint32_t> take_hex4();
  std::string_view take_number_text();
  bool take_word(std::string_view word);
  void scalar_into(JsonNode& node);

  std::string_view text_;
  size_t at_ = 0;
  std::vector<Level> levels_;
  std::string error_;
};

}  // namespace kvasir::text
