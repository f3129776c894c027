// The library of large products, opened at run time as the real one is: what it is asked, and each call that a long step
// makes of it or of the runtime failing in turn. Typed, nothing left behind, and the next engine of the process works.
#include <catch2/catch.hpp>

#include <cuda_runtime_api.h>

#include <cstring>
#include <set>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/cuda_device.h"
#include "backends/shared_library.h"
#include "tests/cuda/fake_cublaslt.h"
#include "tests/cuda/fake_runtime.h"
#include "tests/kernels/kernel_lab.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

constexpr uint32_t kRows = 65, kOut = 32, kCols = 64, kSteps = 4;  // decoding the weights, without, captured, replayed
constexpr int kOutOfMemory = 3, kInternalError = 14;               // cublasStatus_t

int planned(const char* function) {
  if (fake_step(function) == 0) return 0;
  return fake_runtime().error == cudaErrorMemoryAllocation ? kOutOfMemory : kInternalError;
}
int on_stream(void* stream, const char* function, std::function<void()> work) {
  if (const int status = planned(function); status != 0) return status;
  fake_enqueue(stream, std::move(work));
  return 0;
}

FakeCublasLt& library() {
  setenv("KVASIR_CUBLASLT", KVASIR_FAKE_CUBLASLT, 1);
  static FakeCublasLt* one = [] {
    const auto opened = SharedLibrary::open(KVASIR_FAKE_CUBLASLT);
    REQUIRE(opened);
    auto* state = reinterpret_cast<decltype(&kvasir_fake_cublaslt)>(opened->symbol("kvasir_fake_cublaslt"));
    REQUIRE(state != nullptr);
    return state();
  }();
  return *one;
}

struct Bytes final : ByteSource {
  std::vector<std::byte> bytes = random_tensor(TensorType::kQ4_0, kOut, kCols, 1);
  Result<void> read(uint64_t offset, std::span<std::byte> into) const override {
    std::memcpy(into.data(), bytes.data() + offset, into.size());
    return {};
  }
};

struct Outcome {
  std::optional<Error> error;
  std::vector<float> y;
  uint64_t opened_calls = 0;  ///< that opening the device took
};

Result<void> steps(Backend& backend, std::vector<float>& y) {
  const Bytes source;
  const HostTensor tensor{.name = "w", .type = TensorType::kQ4_0, .rows = kOut, .cols = kCols, .source = &source};
  const auto w = KVASIR_TRY(backend.upload(tensor, WeightUse::kTableAndMatrix));
  const auto stream = KVASIR_TRY(backend.open_stream({}));
  const std::vector<TokenId> ids(kRows, 7);
  for (uint32_t i = 0; i < kSteps; ++i) {
    StepLayout layout;
    layout.rows = kRows;
    y.assign(kRows * kOut, 0.0F);
    stream->begin(layout, nullptr);
    const Mat x = stream->alloc(kRows, kCols), out = stream->alloc(kRows, kOut);
    stream->embed(x, *w, ids, 1.0F);
    const LinearSpec part{.y = out, .weight = w.get()};
    stream->linear(std::span(&part, 1), x);
    stream->download(y, out);
    KVASIR_TRY(stream->finish());
  }
  return {};
}

Outcome live_once() {
  Outcome out;
  auto device = cuda::open_cuda_device(0);
  REQUIRE(device);
  out.opened_calls = fake_runtime().calls;
  cuda::CudaOptions options;
  options.stream = {.arena_bytes = 4096, .mirror_bytes = 512};
  options.slab_bytes = 0;
  cuda::CudaBackend backend(*std::move(device), options, {"cuda", "emulated", "", 1, 1});
  const auto done = steps(backend, out.y);
  if (!done) out.error = done.error();
  return out;
}

}  // namespace

TEST_CASE("a long step goes through the library: one algorithm per shape, then graphs", "[cuda]") {
  FakeCublasLt& fake = library();
  fake_runtime() = {};
  fake = {.step = planned, .run = on_stream};
  const Outcome fine = live_once();
  REQUIRE_FALSE(fine.error);
  CHECK(fake.choices == 1);
  CHECK(fake.products == kSteps);
  CHECK(fake.made == 0);
  CHECK(fake_runtime().live == 0);
  setenv("KVASIR_CUBLASLT", KVASIR_PLAIN_LIBRARY, 1);  // lacks the functions
  const Outcome without = live_once();
  REQUIRE_FALSE(without.error);
  CHECK(fake.products == kSteps);
  CHECK(relative_error(without.y, fine.y) < 2e-3);
}

TEST_CASE("each call of a long step may fail, also the library's: typed, nothing left, and the process goes on", "[cuda][failures]") {
  FakeCublasLt& fake = library();
  fake_runtime() = {};
  fake = {.step = planned, .run = on_stream};
  const Outcome fine = live_once();
  REQUIRE_FALSE(fine.error);
  const uint64_t calls = fake_runtime().calls;
  std::set<std::string> failed;
  for (const cudaError_t error : {cudaErrorInvalidValue, cudaErrorMemoryAllocation, cudaErrorIllegalAddress}) {
    const bool sticky = error == cudaErrorIllegalAddress;
    for (uint64_t at = fine.opened_calls; at < calls; ++at) {
      fake_runtime() = {.fail_at = at, .error = error, .sticky = sticky};
      const Outcome out = live_once();
      const std::string function = fake_runtime().failed;
      failed.insert(function);
      CAPTURE(error, at, function);
      REQUIRE(fake_runtime().live == 0);
      REQUIRE(fake.made == 0);
      if (!out.error) {  // without a graph, without the library, or only a choice of the device that was made already
        REQUIRE(relative_error(out.y, fine.y) < 2e-3);
      } else {
        REQUIRE(out.error->code == (error == cudaErrorMemoryAllocation ? Code::kTooLarge : Code::kBackend));
        REQUIRE_FALSE(out.error->message.empty());
      }
      if (function == "cublasLtMatmul" && !sticky) REQUIRE((out.error || out.y == fine.y));
      fake_runtime() = {};
      if (at % 7 == 0) REQUIRE(live_once().y == fine.y);
    }
  }
  for (const char* each : {"cublasLtCreate", "cublasLtMatmulDescCreate", "cublasLtMatmulDescSetAttribute", "cublasLtMatrixLayoutCreate", "cublasLtMatmulPreferenceCreate",
                           "cublasLtMatmulPreferenceSetAttribute", "cublasLtMatmulAlgoGetHeuristic", "cublasLtMatmul"}) {
    CAPTURE(each);
    CHECK(failed.contains(each));
  }
}
