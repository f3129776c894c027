// A cuBLASLt for tests, opened at run time like the real one: the functions that cublaslt.cpp calls, which check what they
// are given and multiply on the CPU. Whoever opened it sets the hooks, by which each call may be made to fail.
#pragma once

#include <cstdint>
#include <functional>

namespace kvasir::test {

struct FakeCublasLt {
  /// Gives a cublasStatus_t: 0, or the failure that was planned for this call.
  int (*step)(const char* function) = nullptr;
  /// Runs work on a stream, or records it in its capture; a status as above.
  int (*run)(void* stream, const char* function, std::function<void()> work) = nullptr;
  int64_t made = 0;         ///< handles, descriptions, layouts and preferences that were not destroyed
  uint64_t choices = 0;     ///< algorithms looked up
  uint64_t products = 0;
};

}  // namespace kvasir::test

/// The module's only state.
extern "C" kvasir::test::FakeCublasLt* kvasir_fake_cublaslt();
