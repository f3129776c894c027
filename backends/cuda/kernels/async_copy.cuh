// Copies from device memory into shared memory that run while the warp works on. sm_90 and later: one bulk copy per
// record, announced by an mbarrier. Before: 16-byte asynchronous copies by all lanes, one group per slot. A ring belongs
// to one warp; a slot is filled again only after sync_warp() behind its last read. For tiles that a whole block shares and
// that lie otherwise in shared memory: single pieces of 16 bytes, there after wait_pieces() of every thread and a barrier.
#pragma once

#include "backends/cuda/kernels/simt.h"

#if !defined(__CUDACC__)
#include <vector>
#endif

namespace kvasir::cuda {

#if defined(__CUDACC__)
KVASIR_DEVICE uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

/// Both sides are aligned to 16.
KVASIR_DEVICE void copy_piece(uint8_t* to, const uint8_t* from) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0],[%1],16;" ::"r"(shared_address(to)), "l"(from) : "memory");
}
/// All pieces that this thread has begun.
KVASIR_DEVICE void wait_pieces() { asm volatile("cp.async.wait_all;" ::: "memory"); }

template <uint32_t DEPTH>
struct Ring {
  uint64_t* barriers;  // [DEPTH], this warp's
  uint64_t policy;

  KVASIR_DEVICE void open(uint64_t* mine) {
    barriers = mine;
    policy = 0;
#if defined(KVASIR_HOPPER)
    asm volatile("createpolicy.fractional.L2::evict_first.b64 %0,1.0;" : "=l"(policy));
    if (lane_id() < DEPTH) asm volatile("mbarrier.init.shared::cta.b64 [%0],1;" ::"r"(shared_address(barriers + lane_id())));
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    __syncwarp();
#endif
  }
  /// `bytes` is a multiple of 16; both sides are aligned to 16.
  KVASIR_DEVICE void fill(uint32_t slot, uint8_t* to, const uint8_t* from, uint32_t bytes) {
#if defined(KVASIR_HOPPER)
    if (lane_id() != 0) return;
    const uint32_t barrier = shared_address(barriers + slot);
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _,[%0],%1;" ::"r"(barrier), "r"(bytes) : "memory");
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0],[%1],%2,[%3],%4;" ::"r"(shared_address(to)),
                 "l"(from), "r"(bytes), "r"(barrier), "l"(policy)
                 : "memory");
#else
    (void)slot;
    for (uint32_t at = lane_id() * 16; at < bytes; at += kWarp * 16) {
      asm volatile("cp.async.cg.shared.global.L2::256B [%0],[%1],16;" ::"r"(shared_address(to + at)), "l"(from + at));
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
  }
  /// Where there is nothing to fill: groups are counted, so an empty one takes its place.
  KVASIR_DEVICE void skip() {
#if !defined(KVASIR_HOPPER)
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
  }
  KVASIR_DEVICE void wait(uint32_t slot, uint32_t phase) {
#if defined(KVASIR_HOPPER)
    const uint32_t barrier = shared_address(barriers + slot);
    uint32_t done;
    do {
      asm volatile("{.reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p,[%1],%2; selp.u32 %0,1,0,p;}" : "=r"(done) : "r"(barrier), "r"(phase) : "memory");
    } while (done == 0);
#else
    (void)slot, (void)phase;
    asm volatile("cp.async.wait_group %0;" ::"n"(DEPTH - 1) : "memory");
    __syncwarp();
#endif
  }
};
#else
struct PendingPiece {
  uint8_t* to;
  const uint8_t* from;
};
inline std::vector<PendingPiece> pending_pieces[1024];  // per thread of the block that runs
/// Copied as late as can be: who reads before the wait finds what was there.
inline void copy_piece(uint8_t* to, const uint8_t* from) {
  if (reinterpret_cast<uintptr_t>(to) % 16 != 0 || reinterpret_cast<uintptr_t>(from) % 16 != 0) std::abort();
  pending_pieces[thread_x()].push_back({to, from});
}
inline void wait_pieces() {
  for (const PendingPiece& p : pending_pieces[thread_x()]) std::memcpy(p.to, p.from, 16);
  pending_pieces[thread_x()].clear();
}

/// A copy arrives when it is started; `barriers` count arrivals.
template <uint32_t DEPTH>
struct Ring {
  uint64_t* barriers = nullptr;
  void open(uint64_t* mine) {
    barriers = mine;
    if (lane_id() < DEPTH) barriers[lane_id()] = 0;
    sync_warp();
  }
  void fill(uint32_t slot, uint8_t* to, const uint8_t* from, uint32_t bytes) {
    if (lane_id() != 0) return;
    if (bytes % 16 != 0 || reinterpret_cast<uintptr_t>(to) % 16 != 0 || reinterpret_cast<uintptr_t>(from) % 16 != 0) std::abort();
    std::memcpy(to, from, bytes);
    ++barriers[slot];
  }
  void skip() {}
  void wait(uint32_t slot, uint32_t phase) {
    while (barriers[slot] % 2 == phase) emulation::wait_turn();
  }
};
#endif

}  // namespace kvasir::cuda
