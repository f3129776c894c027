// Checked arithmetic and a bounds-checked little-endian reader: every size that comes from a file or the wire goes
// through here before it is used. Thread-compatible.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace kvasir {

template <class T>
constexpr std::optional<T> checked_add(T a, T b) noexcept {
  T out{};
  if (__builtin_add_overflow(a, b, &out)) return std::nullopt;
  return out;
}

template <class T>
constexpr std::optional<T> checked_mul(T a, T b) noexcept {
  T out{};
  if (__builtin_mul_overflow(a, b, &out)) return std::nullopt;
  return out;
}

/// Narrows without loss, or says no.
template <class To, class From>
constexpr std::optional<To> checked_cast(From value) noexcept {
  const auto narrowed = static_cast<To>(value);
  if (static_cast<From>(narrowed) != value || ((narrowed < To{}) != (value < From{}))) return std::nullopt;
  return narrowed;
}

/// `value` rounded up to a multiple of `alignment` (a power of two), or nothing where that overflows.
constexpr std::optional<uint64_t> align_up(uint64_t value, uint64_t alignment) noexcept {
  auto sum = checked_add<uint64_t>(value, alignment - 1);
  if (!sum) return std::nullopt;
  return *sum & ~(alignment - 1);
}

/// Reads little-endian scalars and strings from a borrowed buffer; a read past the end yields nothing and moves nothing.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) noexcept : bytes_(bytes) {}

  template <class T>
    requires std::is_arithmetic_v<T>
  std::optional<T> read() noexcept {
    static_assert(std::endian::native == std::endian::little, "big-endian hosts are not supported");
    if (remaining() < sizeof(T)) return std::nullopt;
    T value{};
    std::memcpy(&value, bytes_.data() + offset_, sizeof(T));
    offset_ += sizeof(T);
    return value;
  }
  std::optional<std::string_view> read_bytes(uint64_t count) noexcept {
    if (remaining() < count) return std::nullopt;
    const std::string_view out(reinterpret_cast<const char*>(bytes_.data()) + offset_, static_cast<size_t>(count));
    offset_ += static_cast<size_t>(count);
    return out;
  }
  bool skip(uint64_t count) noexcept { return read_bytes(count).has_value(); }
  size_t remaining() const noexcept { return bytes_.size() - offset_; }
  size_t offset() const noexcept { return offset_; }

 private:
  std::span<const std::byte> bytes_;
  size_t offset_ = 0;
};

}  // namespace kvasir
