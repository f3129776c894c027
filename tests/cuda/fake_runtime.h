// A CUDA runtime for tests: the functions that cuda_device.cpp calls, over the emulator's kernels, with one GPU. Any call
// can be made to fail. What was made and not destroyed is counted. One thread.
#pragma once

#include <cstdint>
#include <functional>

namespace kvasir::test {

struct FakeRuntime {
  uint64_t calls = 0;              ///< that can fail, made so far
  uint64_t fail_at = UINT64_MAX;   ///< 0 is the first
  int error = 0;                   ///< a cudaError_t
  bool sticky = false;             ///< and everything after it fails in the same way, until the device is reset
  bool lost = false;
  uint64_t live = 0;               ///< memory, streams, events, graphs
  uint64_t resets = 0;
  const char* failed = "";         ///< the function that was made to fail
};
/// The runtime's state; set it between lives.
FakeRuntime& fake_runtime();

/// For what else stands on the runtime: counts a call, and gives the cudaError_t with which it fails, or 0.
int fake_step(const char* function);
/// Runs work on a cudaStream_t, or records it in its capture.
void fake_enqueue(void* stream, std::function<void()> work);

}  // namespace kvasir::test
