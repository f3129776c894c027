// Host side of kernels/simt.h: a kernel's threads are fibers of one OS thread, switched at barriers and shuffles. Blocks
// run one after another, so `static` stands for shared memory. A thread that waits for others that never come ends the
// program with a message: barrier divergence is a bug. One block at a time per process; not thread-safe.
#pragma once

#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "backends/reference/dequantise.h"

#define KVASIR_DEVICE inline
#define KVASIR_KERNEL(threads, blocks_per_sm) void
#define KVASIR_ARGS(Type) const Type
#define KVASIR_SHARED static
#define KVASIR_UNROLL
#define KVASIR_NO_UNROLL

namespace kvasir::cuda {
namespace emulation {

struct Index3 {
  uint32_t x = 0, y = 0, z = 0;
};
/// What a running fiber may know of its place.
struct Place {
  uint32_t thread = 0, threads = 0;
  Index3 block, grid;
  uint8_t* shared = nullptr;
};
extern Place place;  ///< of the running fiber

void wait_turn();  ///< lets the others run: for waits in loops
void block_barrier();
void warp_barrier();
/// 32 bits of every lane of this warp after all have given theirs; valid until the next call of this lane.
const uint32_t* exchange(uint32_t value);

struct GridShape {
  Index3 grid;
  uint32_t threads = 0;
  uint32_t shared_bytes = 0;
};
/// Order in which threads get their turn: results must not depend on it.
enum class Order : uint8_t { kForward, kBackward, kShuffled };
/// Runs every block of a kernel. Shared memory is poisoned before each block.
void run_grid(const GridShape& shape, void (*kernel)(const void* args), const void* args, Order order);

}  // namespace emulation

using ::erff, ::expf, ::fabsf, ::floorf, ::fmaf, ::fmaxf, ::fminf, ::log1pf, ::rintf, ::roundf, ::sqrtf, ::tanhf;
using ::cosf, ::exp2f, ::sinf, ::rint, ::ldexpf;

inline uint32_t thread_x() { return emulation::place.thread; }
inline uint32_t threads_x() { return emulation::place.threads; }
inline uint32_t block_x() { return emulation::place.block.x; }
inline uint32_t block_y() { return emulation::place.block.y; }
inline uint32_t block_z() { return emulation::place.block.z; }
inline uint32_t blocks_x() { return emulation::place.grid.x; }
inline void sync_block() { emulation::block_barrier(); }
inline void sync_warp() { emulation::warp_barrier(); }
template <class T>
T shuffle(T v, int lane) {
  static_assert(sizeof(T) == 4);
  return std::bit_cast<T>(emulation::exchange(std::bit_cast<uint32_t>(v))[lane & 31]);
}
template <class T>
T shuffle_xor(T v, int mask) {
  static_assert(sizeof(T) == 4);
  return std::bit_cast<T>(emulation::exchange(std::bit_cast<uint32_t>(v))[(emulation::place.thread ^ static_cast<uint32_t>(mask)) & 31U]);
}
inline uint8_t* dynamic_shared() { return emulation::place.shared; }
inline float as_float(uint32_t bits) { return std::bit_cast<float>(bits); }
inline uint32_t as_bits(float v) { return std::bit_cast<uint32_t>(v); }
inline float half_value(uint16_t bits) {
  // Normal numbers in line: emulated attention spends its time here.
  const uint32_t exponent = bits & 0x7C00U;
  if (exponent == 0 || exponent == 0x7C00U) return half_to_float(bits);
  return std::bit_cast<float>((bits & 0x8000U) << 16U | ((bits & 0x7FFFU) + 0x1C000U) << 13U);
}
inline uint16_t half_bits(float v) { return float_to_half(v); }
inline uint32_t half_pair(float low, float high) { return half_bits(low) | static_cast<uint32_t>(half_bits(high)) << 16U; }
inline float power_of_two(float v) { return exp2f(v); }
inline int dot4(int a, int b, int c) {
  for (int i = 0; i < 4; ++i) c += static_cast<int8_t>(static_cast<uint32_t>(a) >> (8 * i)) * static_cast<int8_t>(static_cast<uint32_t>(b) >> (8 * i));
  return c;
}
inline int round_to_int(float v) { return static_cast<int>(std::nearbyint(v)); }
inline uint32_t fetch_add(uint32_t* at, uint32_t v) {
  const uint32_t before = *at;
  *at += v;
  return before;
}
inline void fence_device() {}
inline void wait_for_previous_kernel() {}
inline void allow_next_kernel() {}

}  // namespace kvasir::cuda
