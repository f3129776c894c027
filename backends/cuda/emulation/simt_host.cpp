#include "backends/cuda/emulation/simt_host.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#define KVASIR_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KVASIR_ASAN 1
#endif
#endif
#if defined(KVASIR_ASAN)
#include <sanitizer/common_interface_defs.h>
#endif

namespace kvasir::cuda::emulation {

Place place;

namespace {

constexpr size_t kStackBytes = 128 << 10;
constexpr uint32_t kMaxThreads = 1024;
constexpr uint32_t kMaxShared = 228 << 10;

#if defined(__x86_64__)
struct Context {
  void* stack_pointer = nullptr;
};
extern "C" void kvasir_fiber_switch(void** save, void* load);
// Saves what the calling convention lets a callee keep, changes stacks, and returns on the other one.
asm(R"(
.text
.globl kvasir_fiber_switch
.hidden kvasir_fiber_switch
.type kvasir_fiber_switch,@function
kvasir_fiber_switch:
  endbr64
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size kvasir_fiber_switch,.-kvasir_fiber_switch
)");
void switch_context(Context& from, Context& to) { kvasir_fiber_switch(&from.stack_pointer, to.stack_pointer); }
void make_context(Context& context, uint8_t* stack, void (*entry)()) {
  auto* top = reinterpret_cast<void**>(stack + kStackBytes);
  *--top = nullptr;  // the entry never returns; keeps its frame aligned
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  context.stack_pointer = top;
}
#else
struct Context {
  ucontext_t context;
};
void switch_context(Context& from, Context& to) { swapcontext(&from.context, &to.context); }
void make_context(Context& context, uint8_t* stack, void (*entry)()) {
  getcontext(&context.context);
  context.context.uc_stack.ss_sp = stack;
  context.context.uc_stack.ss_size = kStackBytes;
  context.context.uc_link = nullptr;
  makecontext(&context.context, entry, 0);
}
#endif

struct Barrier {
  uint32_t arrived = 0, generation = 0;
};
struct Fiber {
  Context context;
  uint32_t next = 0, previous = 0;  // ring of those still running
};

/// The one block that runs now.
struct Machine {
  std::vector<Fiber> fibers{kMaxThreads};
  uint8_t* stacks = nullptr;
  std::unique_ptr<uint8_t[]> shared{new uint8_t[kMaxShared + 128]};
  Context main;
  const void* main_stack = nullptr;
  size_t main_stack_bytes = 0;
  void (*kernel)(const void*) = nullptr;
  const void* args = nullptr;
  uint32_t running = 0;   // fibers left
  uint32_t idle_turns = 0;  // turns since anybody got further
  Barrier block;
  Barrier warps[kMaxThreads / 32];
  uint32_t lanes[2][kMaxThreads];
  uint32_t turn_of_lane[kMaxThreads];
};

Machine& machine() {
  static Machine one;  // emulates one device; the process has one of it
  return one;
}

void enter(uint32_t index, bool last_of_from) {
  Machine& m = machine();
#if defined(KVASIR_ASAN)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(last_of_from ? nullptr : &fake, m.stacks + index * kStackBytes, kStackBytes);
#else
  (void)last_of_from;
#endif
  const uint32_t from = place.thread;
  place.thread = index;
  switch_context(m.fibers[from].context, m.fibers[index].context);
#if defined(KVASIR_ASAN)
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void yield() {
  Machine& m = machine();
  if (++m.idle_turns > 4 * m.running + 4) {
    std::fprintf(stderr, "emulated kernel: thread %u of block (%u, %u, %u) waits for threads that never come\n", place.thread,
                 place.block.x, place.block.y, place.block.z);
    std::abort();
  }
  if (m.fibers[place.thread].next != place.thread) enter(m.fibers[place.thread].next, false);
}

void wait_at(Barrier& barrier, uint32_t members) {
  Machine& m = machine();
  const uint32_t generation = barrier.generation;
  if (++barrier.arrived == members) {
    barrier.arrived = 0;
    ++barrier.generation;
    m.idle_turns = 0;
    return;
  }
  m.idle_turns = 0;
  do yield();
  while (barrier.generation == generation);
}

void fiber_main() {
  Machine& m = machine();
#if defined(KVASIR_ASAN)
  const void* stack = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(nullptr, &stack, &bytes);
  if (m.main_stack == nullptr) {
    m.main_stack = stack;
    m.main_stack_bytes = bytes;
  }
#endif
  m.kernel(m.args);
  Fiber& me = m.fibers[place.thread];
  m.fibers[me.previous].next = me.next;
  m.fibers[me.next].previous = me.previous;
  m.idle_turns = 0;
  if (--m.running > 0) {
    enter(me.next, true);
  } else {
#if defined(KVASIR_ASAN)
    __sanitizer_start_switch_fiber(nullptr, m.main_stack, m.main_stack_bytes);
#endif
    switch_context(me.context, m.main);
  }
  std::abort();  // a finished fiber is never entered again
}

/// Links the ring in the wanted order; the first to run is returned.
uint32_t link(uint32_t threads, Order order) {
  Machine& m = machine();
  std::vector<uint32_t> turn(threads);
  for (uint32_t i = 0; i < threads; ++i) turn[i] = order == Order::kBackward ? threads - 1 - i : i;
  if (order == Order::kShuffled) {
    uint32_t state = 12345 + place.block.x;
    for (uint32_t i = threads - 1; i > 0; --i) {
      state = state * 1664525 + 1013904223;
      std::swap(turn[i], turn[(state >> 8U) % (i + 1)]);
    }
  }
  for (uint32_t i = 0; i < threads; ++i) {
    m.fibers[turn[i]].next = turn[(i + 1) % threads];
    m.fibers[turn[i]].previous = turn[(i + threads - 1) % threads];
  }
  return turn[0];
}

void run_block(const GridShape& shape, Order order) {
  Machine& m = machine();
  m.running = shape.threads;
  m.idle_turns = 0;
  m.block = {};
  for (Barrier& warp : m.warps) warp = {};
  std::memset(m.turn_of_lane, 0, sizeof m.turn_of_lane);
  auto* shared = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(m.shared.get()) + 127) / 128 * 128);
  std::memset(shared, 0xFF, shape.shared_bytes);  // NaN
  place.shared = shared;
  place.threads = shape.threads;
  for (uint32_t i = 0; i < shape.threads; ++i) make_context(m.fibers[i].context, m.stacks + i * kStackBytes, fiber_main);
  const uint32_t first = link(shape.threads, order);
  place.thread = first;
#if defined(KVASIR_ASAN)
  void* fake = nullptr;
  m.main_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake, m.stacks + first * kStackBytes, kStackBytes);
#endif
  switch_context(m.main, m.fibers[first].context);
#if defined(KVASIR_ASAN)
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

}  // namespace

void wait_turn() { yield(); }

void block_barrier() { wait_at(machine().block, place.threads); }

void warp_barrier() {
  const uint32_t warp = place.thread / 32;
  const uint32_t left = place.threads - warp * 32;
  wait_at(machine().warps[warp], left < 32 ? left : 32);
}

const uint32_t* exchange(uint32_t value) {
  Machine& m = machine();
  uint32_t* lanes = m.lanes[m.turn_of_lane[place.thread]++ % 2];
  lanes[place.thread] = value;
  warp_barrier();
  return lanes + place.thread / 32 * 32;
}

void run_grid(const GridShape& shape, void (*kernel)(const void* args), const void* args, Order order) {
  Machine& m = machine();
  if (m.stacks == nullptr) {
    void* memory = mmap(nullptr, kStackBytes * kMaxThreads, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    m.stacks = static_cast<uint8_t*>(memory);
  }
  if (shape.threads == 0 || shape.threads > kMaxThreads || shape.shared_bytes > kMaxShared) std::abort();
  m.kernel = kernel;
  m.args = args;
  place.grid = shape.grid;
  for (uint32_t z = 0; z < shape.grid.z; ++z) {
    for (uint32_t y = 0; y < shape.grid.y; ++y) {
      for (uint32_t x = 0; x < shape.grid.x; ++x) {
        place.block = {x, y, z};
        run_block(shape, order);
      }
    }
  }
}

}  // namespace kvasir::cuda::emulation
