// A move-only std::function (std::move_only_function is C++23): for handlers that own a Reply. Thread-compatible.
#pragma once

#include <memory>
#include <utility>

namespace kvasir {

template <class Signature>
class UniqueFunction;

template <class R, class... Args>
class UniqueFunction<R(Args...)> {
 public:
  UniqueFunction() = default;
  template <class F>
    requires(!std::is_same_v<std::decay_t<F>, UniqueFunction>)
  UniqueFunction(F f) : call_(std::make_unique<Holder<F>>(std::move(f))) {}  // NOLINT: implicit, as std::function

  R operator()(Args... args) { return call_->invoke(std::forward<Args>(args)...); }
  explicit operator bool() const noexcept { return call_ != nullptr; }

 private:
  struct Callable {
    virtual ~Callable() = default;
    virtual R invoke(Args... args) = 0;
  };
  template <class F>
  struct Holder final : Callable {
    explicit Holder(F fn) : f(std::move(fn)) {}
    R invoke(Args... args) override { return f(std::forward<Args>(args)...); }
    F f;
  };
  std::unique_ptr<Callable> call_;
};

}  // namespace kvasir
