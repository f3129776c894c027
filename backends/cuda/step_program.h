// What one step does on the device, as a list of copies and launches in one block of bytes. Two steps with equal bytes do
// the same to the same addresses (what differs from step to step, lengths and ids, lies in device memory), so the bytes
// are the key under which GraphRunner finds a captured graph. Arguments have no padding and begin as zeros.
#pragma once

#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "backends/cuda/device.h"

namespace kvasir::cuda {

class StepProgram {
 public:
  void clear() noexcept { bytes_.clear(), launches_ = 0; }
  uint32_t launches() const noexcept { return launches_; }
  std::span<const uint8_t> bytes() const noexcept { return bytes_; }

  /// Appends a launch and gives its arguments, all zero, to be filled before the next call of this object.
  template <class Args>
  Args& launch(KernelId kernel, Grid grid, uint32_t threads, uint32_t shared_bytes = 0) {
    static_assert(std::is_trivially_copyable_v<Args> && alignof(Args) <= 8);
    ++launches_;
    return *reinterpret_cast<Args*>(append({Kind::kLaunch, kernel, grid, threads, shared_bytes, round_up(sizeof(Args))}));
  }
  void product(const Product& product) {
    ++launches_;
    std::memcpy(append({Kind::kProduct, KernelId::kCount, {}, 0, 0, sizeof product}), &product, sizeof product);
  }
  void copy_in(void* to, const void* from_host, uint64_t bytes) { add_copy(Kind::kCopyIn, to, from_host, bytes); }
  void copy_out(void* to_host, const void* from, uint64_t bytes) { add_copy(Kind::kCopyOut, to_host, from, bytes); }

  /// Appends everything of another program.
  void append(const StepProgram& other) {
    bytes_.insert(bytes_.end(), other.bytes_.begin(), other.bytes_.end());
    launches_ += other.launches_;
  }

  /// Whether a kernel may begin before the one before it has ended (it waits inside, having fetched weights).
  enum class Overlap : uint8_t { kNone, kKernels };
  /// Sends everything to the device's queue (or into its capture).
  Result<void> enqueue(Device& device, Overlap overlap) const {
    bool after_kernel = false;  // only edges from kernel to kernel may overlap
    for (size_t at = 0; at < bytes_.size();) {
      Header header;
      std::memcpy(&header, bytes_.data() + at, sizeof header);
      const uint8_t* args = bytes_.data() + at + sizeof header;
      if (header.kind == Kind::kLaunch) {
        KVASIR_TRY(device.launch({header.kernel, header.grid, header.threads, header.shared_bytes, after_kernel && overlap == Overlap::kKernels, args}));
      } else if (header.kind == Kind::kProduct) {
        Product product;
        std::memcpy(&product, args, sizeof product);
        KVASIR_TRY(device.product(product));
      } else {
        Copy copy;
        std::memcpy(&copy, args, sizeof copy);
        KVASIR_TRY(header.kind == Kind::kCopyIn ? device.copy_in(copy.to, copy.from, copy.bytes) : device.copy_out(copy.to, copy.from, copy.bytes));
      }
      after_kernel = header.kind == Kind::kLaunch;
      at += sizeof header + header.args_bytes;
    }
    return {};
  }

 private:
  enum class Kind : uint32_t { kLaunch, kProduct, kCopyIn, kCopyOut };
  static_assert(sizeof(Product) == 48);  // no padding
  struct Header {
    Kind kind;
    KernelId kernel;
    Grid grid;
    uint32_t threads, shared_bytes, args_bytes;
  };
  static_assert(sizeof(Header) == 32);
  struct Copy {
    void* to;
    const void* from;
    uint64_t bytes;
  };
  static constexpr uint32_t round_up(size_t bytes) { return static_cast<uint32_t>((bytes + 7) / 8 * 8); }

  uint8_t* append(const Header& header) {
    const size_t at = bytes_.size();
    bytes_.resize(at + sizeof header + header.args_bytes);  // new bytes are zero
    std::memcpy(bytes_.data() + at, &header, sizeof header);
    return bytes_.data() + at + sizeof header;
  }
  void add_copy(Kind kind, void* to, const void* from, uint64_t bytes) {
    const Copy copy{to, from, bytes};
    std::memcpy(append({kind, KernelId::kCount, {}, 0, 0, sizeof copy}), &copy, sizeof copy);
  }

  std::vector<uint8_t> bytes_;
  uint32_t launches_ = 0;
};

}  // namespace kvasir::cuda
