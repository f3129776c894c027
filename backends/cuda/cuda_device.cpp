#include "backends/cuda/cuda_device.h"

#include <cuda_runtime_api.h>

#include <array>
#include <chrono>

#include "backends/cuda/cublaslt.h"

namespace kvasir::cuda {
namespace {

constexpr uint32_t kLeastCapability = 80;  ///< kernels use what sm_80 has
constexpr uint64_t kLeastMemory = uint64_t{1} << 30;

/// Errors after which the context is lost: every later call would give the same one.
bool is_sticky(cudaError_t error) noexcept {
  switch (error) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContextIsDestroyed:
    case cudaErrorUnknown: return true;
    default: return false;
  }
}

std::string words(cudaError_t error) { return std::string(cudaGetErrorName(error)) + ": " + cudaGetErrorString(error); }
std::string version_text(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

/// The current device belongs to the thread: models are loaded by another one than runs them, and one thread may run
/// several GPUs.
cudaError_t take_up_device(int index) noexcept {
  thread_local int current = -1;
  if (current == index) return cudaSuccess;
  const cudaError_t error = cudaSetDevice(index);
  current = error == cudaSuccess ? index : -1;
  return error;
}

struct CudaGraph final : Graph {
  cudaGraphExec_t exec = nullptr;
  ~CudaGraph() override {
    if (exec != nullptr) cudaGraphExecDestroy(exec);
  }
};

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(int index) : index_(index) { list_all_kernels(kernels_); }
  ~CudaDevice() override {
    take_up();
    library_.reset();
    for (cudaEvent_t event : events_) {
      if (event != nullptr) cudaEventDestroy(event);
    }
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
    if (lost_) cudaDeviceReset();  // the next engine of this process gets a new context
  }

  Result<void> open() {
    KVASIR_TRY(check(take_up_device(index_), "cudaSetDevice"));
    KVASIR_TRY(check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate"));
    for (cudaEvent_t& event : events_) KVASIR_TRY(check(cudaEventCreate(&event), "cudaEventCreate"));
    KVASIR_TRY(read_facts());
    return prepare_kernels();
  }

  const DeviceFacts& facts() const noexcept override { return facts_; }
  bool lost() const noexcept override { return lost_; }
  Result<MemoryState> memory() override {
    take_up();
    size_t free = 0, total = 0;
    KVASIR_TRY(check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo"));
    return MemoryState{free, total};
  }

  Result<void*> allocate(uint64_t bytes) override {
    take_up();
    void* memory = nullptr;
    KVASIR_TRY(check(cudaMalloc(&memory, bytes == 0 ? 1 : bytes), "cudaMalloc"));
    return memory;
  }
  void release(void* memory) noexcept override { cudaFree(memory); }
  Result<void*> allocate_pinned(uint64_t bytes) override {
    take_up();
    void* memory = nullptr;
    KVASIR_TRY(check(cudaHostAlloc(&memory, bytes == 0 ? 1 : bytes, cudaHostAllocDefault), "cudaHostAlloc"));
    return memory;
  }
  void release_pinned(void* memory) noexcept override { cudaFreeHost(memory); }

  Result<void> copy_in(void* to, const void* from, uint64_t bytes) override { return copy(to, from, bytes, cudaMemcpyHostToDevice); }
  Result<void> copy_out(void* to, const void* from, uint64_t bytes) override { return copy(to, from, bytes, cudaMemcpyDeviceToHost); }
  Result<void> copy_within(void* to, const void* from, uint64_t bytes) override { return copy(to, from, bytes, cudaMemcpyDeviceToDevice); }
  Result<void> clear(void* memory, uint64_t bytes) override {
    take_up();
    return check(cudaMemsetAsync(memory, 0, bytes, stream_), "cudaMemsetAsync");
  }

  Result<void> launch(const Launch& launch) override {
    take_up();
    const KernelEntry& kernel = kernels_[launch.kernel];
    cudaLaunchConfig_t config{};
    config.gridDim = {launch.grid.x, launch.grid.y, launch.grid.z};
    config.blockDim = {launch.threads, 1, 1};
    config.dynamicSmemBytes = launch.shared_bytes;
    config.stream = stream_;
    cudaLaunchAttribute attribute{};
    if (launch.dependent && facts_.capability >= 90) {
      attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
      attribute.val.programmaticStreamSerializationAllowed = 1;
      config.attrs = &attribute;
      config.numAttrs = 1;
    }
    void* args[] = {const_cast<void*>(launch.args)};
    return check(cudaLaunchKernelExC(&config, kernel.function, args), kernel.name);
  }

  Result<void> synchronize() override {
    // A short step ends sooner than a sleeping thread wakes; a long one must not keep a core busy.
    take_up();
    const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(300);
    cudaError_t state = cudaStreamQuery(stream_);
    while (state == cudaErrorNotReady && std::chrono::steady_clock::now() < until) state = cudaStreamQuery(stream_);
    if (state == cudaErrorNotReady) state = cudaStreamSynchronize(stream_);
    return check(state, "waiting for the GPU");
  }

  bool has_products() noexcept override {
    if (!looked_for_library_ && !lost_) {
      looked_for_library_ = true;
      take_up();
      auto library = CublasLt::open(*this);
      if (library) library_ = *std::move(library);
    }
    return library_ != nullptr;
  }
  Result<void> product(const Product& product) override {
    if (lost_) return Failure{Code::kBackend, "the GPU was lost: " + lost_because_};
    take_up();
    return library_->multiply(product, stream_);
  }

  Result<void> begin_capture() override {
    take_up();
    return check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  }
  Result<std::unique_ptr<Graph>> end_capture() override {
    cudaGraph_t graph = nullptr;
    KVASIR_TRY(check(cudaStreamEndCapture(stream_, &graph), "cudaStreamEndCapture"));
    auto out = std::make_unique<CudaGraph>();
    const cudaError_t made = cudaGraphInstantiate(&out->exec, graph, 0);
    cudaGraphDestroy(graph);
    KVASIR_TRY(check(made, "cudaGraphInstantiate"));
    return std::unique_ptr<Graph>(std::move(out));
  }
  Result<void> replay(Graph& graph) override {
    take_up();
    return check(cudaGraphLaunch(static_cast<CudaGraph&>(graph).exec, stream_), "cudaGraphLaunch");
  }

  Result<void> note_time(uint32_t place) override {
    take_up();
    return check(cudaEventRecord(events_[place % events_.size()], stream_), "cudaEventRecord");
  }
  Result<double> milliseconds(uint32_t from, uint32_t to) override {
    float out = 0;
    KVASIR_TRY(check(cudaEventElapsedTime(&out, events_[from % events_.size()], events_[to % events_.size()]), "cudaEventElapsedTime"));
    return static_cast<double>(out);
  }

 private:
  Result<void> check(cudaError_t error, const char* what) {
    if (lost_) return Failure{Code::kBackend, "the GPU was lost: " + lost_because_};
    if (error == cudaSuccess) return {};
    cudaGetLastError();  // what is not sticky is forgotten
    const std::string text = std::string(what) + ": " + words(error);
    if (error == cudaErrorMemoryAllocation) return Failure{Code::kTooLarge, "out of GPU memory (" + text + ")"};
    if (is_sticky(error)) {
      lost_ = true;
      lost_because_ = text;
    }
    return Failure{Code::kBackend, text};
  }

  /// A failure shows in the call that follows.
  void take_up() const noexcept { (void)take_up_device(index_); }

  Result<void> copy(void* to, const void* from, uint64_t bytes, cudaMemcpyKind kind) {
    if (bytes == 0) return {};
    take_up();
    return check(cudaMemcpyAsync(to, from, bytes, kind, stream_), "cudaMemcpyAsync");
  }

  Result<int> attribute(cudaDeviceAttr which) {
    int value = 0;
    KVASIR_TRY(check(cudaDeviceGetAttribute(&value, which, index_), "cudaDeviceGetAttribute"));
    return value;
  }

  Result<void> read_facts() {
    cudaDeviceProp properties{};
    KVASIR_TRY(check(cudaGetDeviceProperties(&properties, index_), "cudaGetDeviceProperties"));
    facts_.name = properties.name;
    facts_.capability = static_cast<uint32_t>(properties.major * 10 + properties.minor);
    facts_.multiprocessors = static_cast<uint32_t>(properties.multiProcessorCount);
    facts_.memory_bytes = properties.totalGlobalMem;
    facts_.shared_bytes = static_cast<uint32_t>(KVASIR_TRY(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin)));
    facts_.pageable_access = KVASIR_TRY(attribute(cudaDevAttrPageableMemoryAccess)) != 0;
    int driver = 0;
    KVASIR_TRY(check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion"));
    facts_.driver_version = static_cast<uint32_t>(driver);
    return {};
  }

  /// Loads every kernel now (loading inside a capture is an error) and gives all the same split of shared memory and cache
  /// (another one would make the chip drain between two kernels).
  Result<void> prepare_kernels() {
    for (const KernelEntry& kernel : kernels_.entries) {
      if (kernel.function == nullptr) return Failure{Code::kInternal, "a kernel is missing from this build"};
      cudaFuncAttributes attributes{};
      const cudaError_t error = cudaFuncGetAttributes(&attributes, kernel.function);
      if (error == cudaErrorNoKernelImageForDevice || error == cudaErrorInvalidDeviceFunction) {
        cudaGetLastError();
        return Failure{Code::kUnavailable, "this plugin holds no code for sm_" + std::to_string(facts_.capability) + " (" + facts_.name + "); build it with ./x build --cuda"};
      }
      KVASIR_TRY(check(error, kernel.name));
      const int dynamic = static_cast<int>(facts_.shared_bytes) - static_cast<int>(attributes.sharedSizeBytes);
      KVASIR_TRY(check(cudaFuncSetAttribute(kernel.function, cudaFuncAttributeMaxDynamicSharedMemorySize, dynamic), kernel.name));
      KVASIR_TRY(check(cudaFuncSetAttribute(kernel.function, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared), kernel.name));
    }
    return {};
  }

  int index_;
  DeviceFacts facts_;
  KernelTable kernels_;
  cudaStream_t stream_ = nullptr;
  std::array<cudaEvent_t, 8> events_{};
  std::unique_ptr<CublasLt> library_;
  bool looked_for_library_ = false;
  bool lost_ = false;
  std::string lost_because_;
};

}  // namespace

DeviceProbe probe_device(int index) noexcept {
  int driver = 0, count = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) return {false, "no NVIDIA driver: libcuda.so.1 is not there", 0};
  const cudaError_t counted = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (counted == cudaErrorInsufficientDriver) {
    return {false, "the NVIDIA driver is too old: it knows CUDA " + version_text(driver) + ", this build needs " + version_text(CUDART_VERSION), 0};
  }
  if (counted == cudaErrorNoDevice || (counted == cudaSuccess && count == 0)) {
    return {false, "the NVIDIA driver (CUDA " + version_text(driver) + ") shows no GPU; is it hidden by CUDA_VISIBLE_DEVICES?", 0};
  }
  if (counted != cudaSuccess) return {false, "the NVIDIA driver fails: " + words(counted), 0};
  if (index >= count) return {false, "GPU " + std::to_string(index) + " was asked for, there are " + std::to_string(count), 0};
  cudaDeviceProp properties{};
  const cudaError_t read = cudaGetDeviceProperties(&properties, index);
  cudaGetLastError();
  if (read != cudaSuccess) return {false, "the GPU cannot be read: " + words(read), 0};
  const std::string name = properties.name;
  const auto capability = static_cast<uint32_t>(properties.major * 10 + properties.minor);
  if (capability < kLeastCapability) {
    return {false, name + " has compute capability " + std::to_string(properties.major) + "." + std::to_string(properties.minor) + ", 8.0 is needed", 0};
  }
  if (properties.totalGlobalMem < kLeastMemory) return {false, name + " has only " + std::to_string(properties.totalGlobalMem >> 20U) + " MiB of memory", 0};
  return {true, name + ", sm_" + std::to_string(capability) + ", " + std::to_string(properties.totalGlobalMem >> 30U) + " GiB, driver for CUDA " + version_text(driver) +
                    (count > 1 ? "; " + std::to_string(count) + " GPUs" : ""),
          static_cast<uint32_t>(count)};
}

Result<std::unique_ptr<Device>> open_cuda_device(int index) {
  const DeviceProbe probe = probe_device(index);
  if (!probe.usable) return Failure{Code::kUnavailable, probe.reason};
  auto device = std::make_unique<CudaDevice>(index);
  KVASIR_TRY(device->open());
  return std::unique_ptr<Device>(std::move(device));
}

}  // namespace kvasir::cuda
