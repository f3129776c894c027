// The thin interface to a machine with a GPU: memory, one in-order queue, graphs, launches, events. cuda_device.h is the
// real one, emulation/emulated_device.h runs the same kernels on the CPU, and tests wrap either in one that fails at will.
// Engine thread only. Errors: kTooLarge (out of memory), kBackend (anything else); after a sticky one lost() is true and
// every later call fails with the reason of the first.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backends/cuda/kernels/kernel_ids.h"
#include "core/base/result.h"

namespace kvasir::cuda {

struct DeviceFacts {
  std::string name;               ///< "NVIDIA H200"
  uint32_t capability = 0;        ///< 90 for sm_90
  uint32_t multiprocessors = 0;
  uint64_t memory_bytes = 0;
  uint32_t shared_bytes = 0;      ///< of one block, after opting in
  uint32_t driver_version = 0;    ///< 13000 for CUDA 13.0
  bool pageable_access = false;   ///< reads of ordinary host memory from kernels work (HMM)
};

struct MemoryState {
  uint64_t free_bytes = 0, total_bytes = 0;
};

struct Grid {
  uint32_t x = 1, y = 1, z = 1;
};

struct Launch {
  KernelId kernel = KernelId::kCount;
  Grid grid;
  uint32_t threads = 0;
  uint32_t shared_bytes = 0;  ///< dynamic
  bool dependent = false;     ///< may begin before the kernel before it has ended (programmatic dependent launch)
  const void* args = nullptr;
};

/// y[columns, rows] = x[columns, k] w[rows, k]^T with sums in f32: the large products of prompts, by a library.
struct Product {
  const void* w;  ///< 16-bit floats, row-major
  const void* x;
  float* y;
  uint64_t y_stride;  ///< floats
  uint32_t rows, columns, k;
  uint32_t bf16;      ///< else f16
};

/// A captured sequence, ready to run again.
class Graph {
 public:
  virtual ~Graph() = default;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceFacts& facts() const noexcept = 0;
  virtual bool lost() const noexcept = 0;
  virtual Result<MemoryState> memory() = 0;

  virtual Result<void*> allocate(uint64_t bytes) = 0;         ///< device memory, 256-byte aligned, not cleared
  virtual void release(void* memory) noexcept = 0;
  virtual Result<void*> allocate_pinned(uint64_t bytes) = 0;  ///< host memory that copies may use without staging
  virtual void release_pinned(void* memory) noexcept = 0;

  // The queue. Host memory must live, unchanged, until synchronize().
  virtual Result<void> copy_in(void* to, const void* from_host, uint64_t bytes) = 0;
  virtual Result<void> copy_out(void* to_host, const void* from, uint64_t bytes) = 0;
  virtual Result<void> copy_within(void* to, const void* from, uint64_t bytes) = 0;
  virtual Result<void> clear(void* memory, uint64_t bytes) = 0;
  virtual Result<void> launch(const Launch& launch) = 0;
  virtual Result<void> synchronize() = 0;
  /// Whether product() works here; the first call may open a library. Never inside a capture.
  virtual bool has_products() noexcept = 0;
  /// Queued like a launch. A shape's algorithm is chosen when it is first seen, which must not be inside a capture.
  virtual Result<void> product(const Product& product) = 0;

  // Between these two, the queue's calls are recorded instead of run.
  virtual Result<void> begin_capture() = 0;
  virtual Result<std::unique_ptr<Graph>> end_capture() = 0;
  virtual Result<void> replay(Graph& graph) = 0;

  /// Notes this place of the queue; milliseconds between two noted places (0 to 7), after synchronize().
  virtual Result<void> note_time(uint32_t place) = 0;
  virtual Result<double> milliseconds(uint32_t from, uint32_t to) = 0;
};

/// Owned device or pinned memory.
class DeviceBuffer {
 public:
  enum class Kind : uint8_t { kDevice, kPinned };
  DeviceBuffer() = default;
  DeviceBuffer(DeviceBuffer&& other) noexcept { swap(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    DeviceBuffer moved(std::move(other));
    swap(moved);
    return *this;
  }
  ~DeviceBuffer() {
    if (data_ == nullptr) return;
    if (kind_ == Kind::kDevice) device_->release(data_);
    else device_->release_pinned(data_);
  }
  static Result<DeviceBuffer> create(Device& device, Kind kind, uint64_t bytes) {
    DeviceBuffer out;
    out.data_ = static_cast<uint8_t*>(KVASIR_TRY(kind == Kind::kDevice ? device.allocate(bytes) : device.allocate_pinned(bytes)));
    out.device_ = &device;
    out.kind_ = kind;
    out.bytes_ = bytes;
    return out;
  }
  uint8_t* data() const noexcept { return data_; }
  uint64_t bytes() const noexcept { return bytes_; }

 private:
  void swap(DeviceBuffer& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(kind_, other.kind_);
  }
  Device* device_ = nullptr;
  uint8_t* data_ = nullptr;
  uint64_t bytes_ = 0;
  Kind kind_ = Kind::kDevice;
};

}  // namespace kvasir::cuda
