#include "backends/cpu/aligned_buffer.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "core/base/bytes.h"

namespace kvasir::cpu {
namespace {

constexpr uint64_t kHugePage = uint64_t{2} << 20;
constexpr uint64_t kPage = 4096;

Failure too_large(uint64_t bytes) {
  return {Code::kTooLarge, "out of memory: cannot reserve " + std::to_string(bytes >> 20) + " MiB"};
}

}  // namespace

Result<AlignedBuffer> AlignedBuffer::create(uint64_t bytes) {
  AlignedBuffer out;
  out.bytes_ = bytes;
  if (bytes == 0) return out;
  const bool big = bytes >= kHugePage;
  const auto padded = align_up(bytes, big ? kPage : 64);
  if (!padded) return too_large(bytes);
  if (big) {
    // Huge pages begin at their own multiples only: more is mapped, and what is around them given back.
    const uint64_t reserved = *padded + kHugePage;
    if (reserved < *padded) return too_large(bytes);
    void* whole = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (whole == MAP_FAILED) return too_large(bytes);
    const uint64_t before = (kHugePage - reinterpret_cast<uintptr_t>(whole) % kHugePage) % kHugePage;
    uint8_t* at = static_cast<uint8_t*>(whole) + before;
    if (before > 0) munmap(whole, before);
    munmap(at + *padded, kHugePage - before);
    // Advice only, and not for the tail, which would waste half a huge page.
    madvise(at, *padded / kHugePage * kHugePage, MADV_HUGEPAGE);
    out.mapped_ = *padded;
    out.data_ = at;
  } else {
    void* at = std::aligned_alloc(64, *padded);
    if (at == nullptr) return too_large(bytes);
    std::memset(at, 0, *padded);
    out.data_ = static_cast<uint8_t*>(at);
  }
  return out;
}

AlignedBuffer::~AlignedBuffer() {
  if (mapped_ != 0) munmap(data_, mapped_);
  else std::free(data_);
}

}  // namespace kvasir::cpu
