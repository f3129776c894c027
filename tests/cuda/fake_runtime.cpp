#include "tests/cuda/fake_runtime.h"

#include <cuda_runtime_api.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "backends/cuda/emulation/simt_host.h"
#include "backends/cuda/kernels/kernel_ids.h"

namespace kvasir::test {

FakeRuntime& fake_runtime() {
  static FakeRuntime one;
  return one;
}

namespace {

using Work = std::function<void()>;
struct Queue {
  bool capturing = false;
  std::vector<Work> captured;
};
struct Recorded {
  std::vector<Work> work;
};

cudaError_t step(const char* function) {
  FakeRuntime& f = fake_runtime();
  if (f.lost) return static_cast<cudaError_t>(f.error);
  if (f.calls++ != f.fail_at) return cudaSuccess;
  f.failed = function;
  f.lost = f.sticky;
  return static_cast<cudaError_t>(f.error);
}

Queue* queue_of(cudaStream_t stream) { return reinterpret_cast<Queue*>(stream); }

cudaError_t run(cudaStream_t stream, const char* function, Work work) {
  if (const cudaError_t error = step(function); error != cudaSuccess) return error;
  fake_enqueue(stream, std::move(work));
  return cudaSuccess;
}

/// A made thing of any kind.
template <class T, class Handle>
cudaError_t make(Handle* out, const char* function, T* thing) {
  if (const cudaError_t error = step(function); error != cudaSuccess) {
    delete thing;
    return error;
  }
  ++fake_runtime().live;
  *out = reinterpret_cast<Handle>(thing);
  return cudaSuccess;
}
template <class T>
cudaError_t destroy(void* thing) {
  if (thing == nullptr) std::abort();
  delete static_cast<T*>(thing);
  --fake_runtime().live;
  return cudaSuccess;
}

cudaError_t take(void** memory, size_t bytes, const char* function) {
  if (const cudaError_t error = step(function); error != cudaSuccess) return error;
  if (posix_memalign(memory, 256, bytes) != 0) return cudaErrorMemoryAllocation;
  std::memset(*memory, 0xFF, bytes);
  ++fake_runtime().live;
  return cudaSuccess;
}
cudaError_t give(void* memory) {
  std::free(memory);
  --fake_runtime().live;
  return cudaSuccess;
}

/// By function, as the table of the emulator has them.
uint32_t args_bytes(const void* function) {
  static const cuda::KernelTable table = [] {
    cuda::KernelTable all;
    cuda::list_all_kernels(all);
    return all;
  }();
  for (const cuda::KernelEntry& entry : table.entries) {
    if (entry.function == function) return entry.args_bytes;
  }
  std::abort();
}

}  // namespace

int fake_step(const char* function) { return step(function); }

void fake_enqueue(void* stream, std::function<void()> work) {
  auto* queue = static_cast<Queue*>(stream);
  if (queue->capturing) queue->captured.push_back(std::move(work));
  else work();
}

}  // namespace kvasir::test

using namespace kvasir::test;

extern "C" {

cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return step("cudaDriverGetVersion");
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return step("cudaGetDeviceCount");
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::strcpy(properties->name, "fake GPU");
  properties->major = 9;
  properties->multiProcessorCount = 4;
  properties->totalGlobalMem = size_t{2} << 30;
  return step("cudaGetDeviceProperties");
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = 227 << 10;
  return step("cudaDeviceGetAttribute");
}
cudaError_t cudaSetDevice(int) { return step("cudaSetDevice"); }
cudaError_t cudaDeviceReset() {
  ++fake_runtime().resets;
  fake_runtime().lost = false;
  return cudaSuccess;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorName(cudaError_t) { return "cudaErrorPlanned"; }
const char* cudaGetErrorString(cudaError_t) { return "planned failure"; }
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = *total = size_t{2} << 30;
  return step("cudaMemGetInfo");
}

cudaError_t cudaMalloc(void** memory, size_t bytes) { return take(memory, bytes, "cudaMalloc"); }
cudaError_t cudaFree(void* memory) { return give(memory); }
cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned int) { return take(memory, bytes, "cudaHostAlloc"); }
cudaError_t cudaFreeHost(void* memory) { return give(memory); }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned int) { return make(stream, "cudaStreamCreateWithFlags", new Queue); }
cudaError_t cudaStreamDestroy(cudaStream_t stream) { return destroy<Queue>(stream); }
cudaError_t cudaStreamQuery(cudaStream_t) { return step("cudaStreamQuery"); }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return step("cudaStreamSynchronize"); }
cudaError_t cudaEventCreate(cudaEvent_t* event) { return make(event, "cudaEventCreate", new int); }
cudaError_t cudaEventDestroy(cudaEvent_t event) { return destroy<int>(event); }
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return step("cudaEventRecord"); }
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t, cudaEvent_t) {
  *ms = 1.0F;
  return step("cudaEventElapsedTime");
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  return run(stream, "cudaMemcpyAsync", [=] { std::memmove(to, from, bytes); });
}
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  return run(stream, "cudaMemsetAsync", [=] { std::memset(memory, value, bytes); });
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  *attributes = {};
  return step("cudaFuncGetAttributes");
}
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return step("cudaFuncSetAttribute"); }
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function, void** args) {
  std::vector<uint64_t> copy((args_bytes(function) + 7) / 8);
  std::memcpy(copy.data(), args[0], args_bytes(function));
  const kvasir::cuda::emulation::GridShape shape{{config->gridDim.x, config->gridDim.y, config->gridDim.z}, config->blockDim.x, static_cast<uint32_t>(config->dynamicSmemBytes)};
  const auto call = reinterpret_cast<void (*)(const void*)>(const_cast<void*>(function));
  return run(config->stream, "cudaLaunchKernelExC", [shape, call, copy = std::move(copy)] { kvasir::cuda::emulation::run_grid(shape, call, copy.data(), kvasir::cuda::emulation::Order::kForward); });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (const cudaError_t error = step("cudaStreamBeginCapture"); error != cudaSuccess) return error;
  queue_of(stream)->capturing = true;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  queue_of(stream)->capturing = false;  // whatever comes of it
  auto* recorded = new Recorded{std::move(queue_of(stream)->captured)};
  queue_of(stream)->captured.clear();
  return make(graph, "cudaStreamEndCapture", recorded);
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  return make(exec, "cudaGraphInstantiate", new Recorded(*reinterpret_cast<Recorded*>(graph)));
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return destroy<Recorded>(graph); }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) { return destroy<Recorded>(exec); }
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t) {
  if (const cudaError_t error = step("cudaGraphLaunch"); error != cudaSuccess) return error;
  for (const Work& work : reinterpret_cast<Recorded*>(exec)->work) work();
  return cudaSuccess;
}

}  // extern "C"
