// The thin layer between kernel sources and the machine that runs them: nvcc sees CUDA, a host compiler sees the
// emulator (emulation/simt_host.h), which runs every thread of a block as a fiber. Kernels use only these names, so that
// the same source is checked on the CPU. Contraction is off (-fmad=false, -ffp-contract=off): fmaf is written out.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__CUDACC__)
#define KVASIR_DEVICE __device__ __forceinline__
#define KVASIR_KERNEL(threads, blocks_per_sm) __global__ void __launch_bounds__(threads, blocks_per_sm)
#define KVASIR_ARGS(Type) const __grid_constant__ Type
#define KVASIR_SHARED __shared__
#define KVASIR_UNROLL _Pragma("unroll")
#define KVASIR_NO_UNROLL _Pragma("unroll 1")
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define KVASIR_HOPPER 1
#endif

namespace kvasir::cuda {

KVASIR_DEVICE uint32_t thread_x() { return threadIdx.x; }
KVASIR_DEVICE uint32_t threads_x() { return blockDim.x; }
KVASIR_DEVICE uint32_t block_x() { return blockIdx.x; }
KVASIR_DEVICE uint32_t block_y() { return blockIdx.y; }
KVASIR_DEVICE uint32_t block_z() { return blockIdx.z; }
KVASIR_DEVICE uint32_t blocks_x() { return gridDim.x; }
KVASIR_DEVICE void sync_block() { __syncthreads(); }
KVASIR_DEVICE void sync_warp() { __syncwarp(); }
template <class T>
KVASIR_DEVICE T shuffle_xor(T v, int mask) {
  return __shfl_xor_sync(0xFFFFFFFFU, v, mask);
}
template <class T>
KVASIR_DEVICE T shuffle(T v, int lane) {
  return __shfl_sync(0xFFFFFFFFU, v, lane);
}
KVASIR_DEVICE uint8_t* dynamic_shared() {
  extern __shared__ __align__(128) uint8_t kvasir_dynamic_shared[];
  return kvasir_dynamic_shared;
}
KVASIR_DEVICE float as_float(uint32_t bits) { return __uint_as_float(bits); }
KVASIR_DEVICE uint32_t as_bits(float v) { return __float_as_uint(v); }
KVASIR_DEVICE float half_value(uint16_t bits) {
  float f;
  asm("{.reg .b16 t; mov.b16 t,%1; cvt.f32.f16 %0,t;}" : "=f"(f) : "h"(bits));
  return f;
}
KVASIR_DEVICE uint16_t half_bits(float v) {
  uint16_t h;
  asm("{.reg .b16 t; cvt.rn.f16.f32 t,%1; mov.b16 %0,t;}" : "=h"(h) : "f"(v));
  return h;
}
/// Two numbers as one word of halves, the first in the low bits.
KVASIR_DEVICE uint32_t half_pair(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.f16x2.f32 %0,%1,%2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
/// 2^v to two units in the last place; subnormal results are zero.
KVASIR_DEVICE float power_of_two(float v) {
  float p;
  asm("ex2.approx.ftz.f32 %0,%1;" : "=f"(p) : "f"(v));
  return p;
}
KVASIR_DEVICE int dot4(int a, int b, int c) { return __dp4a(a, b, c); }
KVASIR_DEVICE int round_to_int(float v) { return __float2int_rn(v); }
KVASIR_DEVICE uint32_t fetch_add(uint32_t* at, uint32_t v) { return atomicAdd(at, v); }
KVASIR_DEVICE void fence_device() { __threadfence(); }
/// What the step before this kernel wrote may be read after this (no-op unless launched as a programmatic dependent).
KVASIR_DEVICE void wait_for_previous_kernel() {
#if defined(KVASIR_HOPPER)
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
KVASIR_DEVICE void allow_next_kernel() {
#if defined(KVASIR_HOPPER)
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

}  // namespace kvasir::cuda
#else
#include "backends/cuda/emulation/simt_host.h"
#endif

namespace kvasir::cuda {

constexpr uint32_t kWarp = 32;

KVASIR_DEVICE uint32_t lane_id() { return thread_x() % kWarp; }
KVASIR_DEVICE uint32_t warp_id() { return thread_x() / kWarp; }

/// The sum over the warp, in one fixed tree, on every lane.
KVASIR_DEVICE float warp_sum(float v) {
  KVASIR_UNROLL
  for (int mask = 16; mask > 0; mask >>= 1) v += shuffle_xor(v, mask);
  return v;
}
KVASIR_DEVICE float warp_max(float v) {
  KVASIR_UNROLL
  for (int mask = 16; mask > 0; mask >>= 1) v = fmaxf(v, shuffle_xor(v, mask));
  return v;
}
KVASIR_DEVICE int warp_sum_int(int v) {
  KVASIR_UNROLL
  for (int mask = 16; mask > 0; mask >>= 1) v += shuffle_xor(v, mask);
  return v;
}

/// The sum over a block of at most 1024 threads, on every thread; `scratch` holds 32 floats of shared memory.
KVASIR_DEVICE float block_sum(float v, float* scratch) {
  v = warp_sum(v);
  sync_block();  // the scratch of an earlier call may still be read
  if (lane_id() == 0) scratch[warp_id()] = v;
  sync_block();
  float sum = 0.0F;
  for (uint32_t w = 0; w < threads_x() / kWarp; ++w) sum += scratch[w];
  return sum;
}
KVASIR_DEVICE float block_max(float v, float* scratch) {
  v = warp_max(v);
  sync_block();
  if (lane_id() == 0) scratch[warp_id()] = v;
  sync_block();
  float largest = scratch[0];
  for (uint32_t w = 1; w < threads_x() / kWarp; ++w) largest = fmaxf(largest, scratch[w]);
  return largest;
}

/// First statement of every kernel of a step: nothing but weights may be touched before it, by any thread, so that "the
/// kernel before has ended" also holds for all that came before that one.
KVASIR_DEVICE void begin_dependent() {
  wait_for_previous_kernel();
  allow_next_kernel();
}

struct alignas(16) Bytes16 {
  uint32_t x, y, z, w;
};
struct alignas(16) Floats4 {
  float x, y, z, w;
};

/// Two bytes, little end first, from any address.
KVASIR_DEVICE uint32_t word16(const uint8_t* b) { return b[0] | (static_cast<uint32_t>(b[1]) << 8U); }
KVASIR_DEVICE uint32_t word32(const uint8_t* b) { return word16(b) | (word16(b + 2) << 16U); }
KVASIR_DEVICE float half_at(const uint8_t* b) { return half_value(static_cast<uint16_t>(word16(b))); }
KVASIR_DEVICE float bfloat_value(uint32_t bits) { return as_float(bits << 16U); }
/// Round to nearest even; NaN stays NaN.
KVASIR_DEVICE uint16_t bfloat_bits(float v) {
  const uint32_t b = as_bits(v);
  if ((b & 0x7FFFFFFFU) > 0x7F800000U) return static_cast<uint16_t>((b >> 16U) | 64U);
  return static_cast<uint16_t>((b + 0x7FFFU + ((b >> 16U) & 1U)) >> 16U);
}

}  // namespace kvasir::cuda
