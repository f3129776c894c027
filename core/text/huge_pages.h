// Memory of big tables that are looked up all over: on pages of 2 MiB where the system has them, so that a look-up does
// not also miss in the TLB, and filling them costs few page faults. Any thread.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>
#include <vector>

namespace kvasir::text {

inline constexpr size_t kHugePage = size_t{2} << 20;

template <class T>
struct HugePageAllocator {
  using value_type = T;

  HugePageAllocator() = default;
  template <class U>
  HugePageAllocator(const HugePageAllocator<U>&) noexcept {}  // NOLINT: as allocators convert

  static std::align_val_t alignment(size_t bytes) noexcept {
    return std::align_val_t{bytes >= kHugePage ? kHugePage : alignof(T)};
  }
  T* allocate(size_t count) {
    const size_t bytes = count * sizeof(T);
    void* const memory = ::operator new(bytes, alignment(bytes));
    // Only advice: a system without huge pages says no, and nothing is lost.
    if (bytes >= kHugePage) madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, size_t count) noexcept { ::operator delete(memory, alignment(count * sizeof(T))); }
  bool operator==(const HugePageAllocator&) const noexcept = default;
};

template <class T>
using HugeVector = std::vector<T, HugePageAllocator<T>>;

}  // namespace kvasir::text
