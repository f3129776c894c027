// Key-value metadata of a model file with typed getters: a wrong type, range or element type is an error that names the
// key, never a reinterpretation. Keys follow GGUF's names whatever the file's format. Immutable once filled;
// thread-safe.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "core/base/result.h"

namespace kvasir {

/// GGUF's value type numbers.
enum class MetaType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};
/// Bytes of a scalar of this type; 0 for strings, arrays and unknown numbers.
uint32_t scalar_bytes(MetaType type) noexcept;
const char* type_name(MetaType type) noexcept;

/// A scalar keeps its little-endian bytes, as do the elements of a scalar array.
struct MetaArray {
  MetaType element = MetaType::kU8;
  uint64_t count = 0;
  std::string bytes;                 ///< scalar elements
  std::vector<std::string> strings;  ///< string elements
};
struct MetaScalar {
  MetaType type = MetaType::kU8;
  uint64_t bits = 0;
};
using MetaValue = std::variant<MetaScalar, std::string, MetaArray>;

class Metadata {
 public:
  /// False if the key is there already.
  bool insert(std::string key, MetaValue value);
  bool contains(std::string_view key) const { return find(key) != nullptr; }
  /// In file order.
  const std::vector<std::string>& keys() const noexcept { return keys_; }
  const MetaValue* find(std::string_view key) const;

  // Absent keys give nothing; present ones of another type or out of [low, high] give kCorrupt. Integers may be stored
  // as any integer type.
  Result<std::optional<int64_t>> integer(std::string_view key, int64_t low, int64_t high) const;
  Result<std::optional<double>> real(std::string_view key) const;  ///< finite f32 or f64
  Result<std::optional<bool>> boolean(std::string_view key) const;
  Result<std::optional<std::string_view>> string(std::string_view key) const;
  Result<std::optional<std::vector<int64_t>>> integers(std::string_view key) const;  ///< also arrays of bool
  Result<std::optional<std::vector<float>>> floats(std::string_view key) const;      ///< f32 elements only
  Result<const std::vector<std::string>*> strings(std::string_view key) const;       ///< null if absent

  /// A short rendering for people: strings cut, arrays as type and count.
  std::string describe(std::string_view key) const;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view s) const noexcept { return std::hash<std::string_view>()(s); }
  };
  std::unordered_map<std::string, MetaValue, Hash, std::equal_to<>> values_;
  std::vector<std::string> keys_;
};

}  // namespace kvasir
