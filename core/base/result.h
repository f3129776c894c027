// Result<T>: a value or an Error, the only way in which Kvasir's own code reports failure. Member names follow
// std::expected, so that a later switch is one alias. Thread-compatible, like any value.
#pragma once

#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

namespace kvasir {

/// What went wrong, by meaning. The wire codes are decided in one table, mcp/error_mapping.cpp.
enum class Code {
  kInvalidArgument,  ///< the caller's input is wrong; the message says what to change
  kNotFound,
  kBusy,             ///< try again later; nothing was lost
  kTooLarge,         ///< over a named limit
  kCancelled,
  kDeadline,
  kCorrupt,          ///< bytes from outside break their format
  kUnsupported,      ///< well formed, but not something this build does
  kIo,
  kBackend,          ///< a kernel, driver or device failed
  kUnavailable,      ///< a needed part (model, backend, library) is not there; exit code 3
  kConflict,         ///< somebody else was faster, or holds the lock
  kInternal,         ///< a bug of ours
};

/// Stable lower-case name of a code, e.g. "invalid_argument".
constexpr const char* code_name(Code code) noexcept {
  switch (code) {
    case Code::kInvalidArgument: return "invalid_argument";
    case Code::kNotFound: return "not_found";
    case Code::kBusy: return "busy";
    case Code::kTooLarge: return "too_large";
    case Code::kCancelled: return "cancelled";
    case Code::kDeadline: return "deadline";
    case Code::kCorrupt: return "corrupt";
    case Code::kUnsupported: return "unsupported";
    case Code::kIo: return "io";
    case Code::kBackend: return "backend";
    case Code::kUnavailable: return "unavailable";
    case Code::kConflict: return "conflict";
    case Code::kInternal: return "internal";
  }
  return "internal";
}

struct Error {
  Code code = Code::kInternal;
  std::string message;
};

/// Tag that makes a failed Result: `return Failure{Code::kCorrupt, "tensor data ends after the file"}`.
struct Failure {
  Error error;
  Failure(Code code, std::string message) : error{code, std::move(message)} {}
  explicit Failure(Error e) : error(std::move(e)) {}
};

template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT: implicit by design, as std::expected
  Result(Failure failure) : state_(std::in_place_index<1>, std::move(failure.error)) {}  // NOLINT

  bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const& { return std::get<1>(state_); }
  Error&& error() && { return std::get<1>(std::move(state_)); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;
  Result() = default;
  Result(Failure failure) : error_(std::move(failure.error)) {}  // NOLINT: implicit by design

  bool has_value() const noexcept { return !error_.has_value(); }
  explicit operator bool() const noexcept { return has_value(); }
  void value() const noexcept {}
  void operator*() const noexcept {}
  const Error& error() const& { return *error_; }
  Error&& error() && { return std::move(*error_); }

 private:
  std::optional<Error> error_;
};

namespace detail {
template <class T>
T take(Result<T>&& r) { return std::move(r).value(); }
inline void take(Result<void>&&) {}
}  // namespace detail

}  // namespace kvasir

/// Unwraps a Result or returns its error from the enclosing function: `auto x = KVASIR_TRY(parse(bytes));`
#define KVASIR_TRY(expression)                                                  \
  __extension__({                                                               \
    auto kvasir_result_ = (expression);                                         \
    if (!kvasir_result_) return ::kvasir::Failure(std::move(kvasir_result_).error()); \
    ::kvasir::detail::take(std::move(kvasir_result_));                          \
  })
