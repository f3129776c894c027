// The real device's code over a runtime in which every call fails once, in turn, with an error that passes, one that means
// no memory and one that loses the GPU: typed, nothing left behind, and the next engine of the process works.
#include <catch2/catch.hpp>

#include <cuda_runtime_api.h>

#include <set>

#include "backends/cuda/cuda_device.h"
#include "tests/cuda/backend_life.h"
#include "tests/cuda/fake_runtime.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

struct Outcome {
  std::optional<Error> error;
  std::vector<float> y;
  bool opened = false;
};

Outcome live_once() {
  Outcome out;
  auto device = cuda::open_cuda_device(0);
  if (!device) {
    out.error = device.error();
    return out;
  }
  out.opened = true;
  const Life life(*std::move(device));
  out.error = life.error;
  out.y = life.y;
  return out;
}

}  // namespace

TEST_CASE("each call of the runtime may fail: typed, nothing left, and the process goes on", "[cuda][failures]") {
  setenv("KVASIR_CUBLASLT", "/nowhere/libcublasLt.so", 1);
  fake_runtime() = {};
  const Outcome fine = live_once();
  REQUIRE_FALSE(fine.error);
  REQUIRE(fine.opened);
  CHECK(fake_runtime().live == 0);
  const uint64_t calls = fake_runtime().calls;
  REQUIRE(calls > 300);
  std::set<std::string> failed;
  for (const cudaError_t error : {cudaErrorInvalidValue, cudaErrorMemoryAllocation, cudaErrorIllegalAddress}) {
    const bool sticky = error == cudaErrorIllegalAddress;
    uint64_t survived = 0;
    for (uint64_t at = 0; at < calls; ++at) {
      fake_runtime() = {.fail_at = at, .error = error, .sticky = sticky};
      const Outcome out = live_once();
      failed.insert(fake_runtime().failed);
      CAPTURE(error, at, fake_runtime().failed);
      REQUIRE(fake_runtime().live == 0);
      if (!out.error) {  // the step ran without a graph, or only took_up() failed, whose device is current anyway
        ++survived;
        REQUIRE(out.y == fine.y);
      } else {
        const Code code = out.error->code;
        REQUIRE((code == Code::kBackend || code == Code::kUnavailable || (code == Code::kTooLarge && error == cudaErrorMemoryAllocation)));
        if (out.opened && !sticky) REQUIRE(code == (error == cudaErrorMemoryAllocation ? Code::kTooLarge : Code::kBackend));
        REQUIRE_FALSE(out.error->message.empty());
        if (sticky && out.opened) REQUIRE(fake_runtime().resets == 1);
      }
      fake_runtime() = {};
      if (at % 37 == 0) REQUIRE(live_once().y == fine.y);
    }
    CHECK(survived < calls / 4);
  }
  for (const char* each : {"cudaDriverGetVersion", "cudaGetDeviceCount", "cudaGetDeviceProperties", "cudaDeviceGetAttribute", "cudaMemGetInfo", "cudaMalloc", "cudaHostAlloc",
                           "cudaStreamCreateWithFlags", "cudaStreamQuery", "cudaEventCreate", "cudaMemcpyAsync", "cudaMemsetAsync", "cudaFuncGetAttributes",
                           "cudaFuncSetAttribute", "cudaLaunchKernelExC", "cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate", "cudaGraphLaunch"}) {
    CAPTURE(each);
    CHECK(failed.contains(each));
  }
}
