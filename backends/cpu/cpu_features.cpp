#include "backends/cpu/cpu_features.h"

#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <set>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace kvasir::cpu {
namespace {

#if defined(__x86_64__)
struct Registers {
  uint32_t a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf) noexcept {
  Registers r;
  if (__get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d) == 0) return {};
  return r;
}

/// XCR0: which register states the OS saves. Only valid when OSXSAVE is set.
uint64_t saved_states() noexcept {
  uint32_t low = 0;
  uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

bool bit(uint32_t word, unsigned index) noexcept { return (word >> index & 1U) != 0; }
#endif

/// CPUs per period of the cgroup's quota; 0: no quota.
double cgroup_quota() {
  std::string quota;
  double period = 0;
  if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2 >> quota >> period) {
    return quota == "max" || period <= 0 ? 0 : std::strtod(quota.c_str(), nullptr) / period;
  }
  double value = 0;
  std::ifstream v1("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream v1_period("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (v1 >> value && v1_period >> period && value > 0 && period > 0) return value / period;
  return 0;
}

/// Siblings share a core: the first sibling's list names it. Unreadable topology counts each CPU as a core.
uint32_t physical_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return 1;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    const std::string path = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list";
    std::string siblings;
    std::ifstream in(path);
    if (!(in >> siblings)) siblings = "cpu" + std::to_string(cpu);
    cores.insert(siblings);
  }
  return static_cast<uint32_t>(std::max<size_t>(cores.size(), 1));
}

}  // namespace

CpuFeatures detect_cpu_features() noexcept {
  CpuFeatures out;
#if defined(__x86_64__)
  const Registers basic = cpuid(1, 0);
  if (!bit(basic.c, 27)) return out;  // OSXSAVE
  const uint64_t saved = saved_states();
  const Registers extended = cpuid(7, 0);
  const Registers extended1 = cpuid(7, 1);
  const bool ymm = (saved & 0x06) == 0x06 && bit(basic.c, 28);
  const bool zmm = ymm && (saved & 0xE0) == 0xE0;
  out.avx2 = ymm && bit(extended.b, 5) && bit(basic.c, 12) && bit(basic.c, 29);
  out.avx_vnni = out.avx2 && bit(extended1.a, 4);
  out.avx512 = out.avx2 && zmm && bit(extended.b, 16) && bit(extended.b, 17) && bit(extended.b, 30) && bit(extended.b, 31);
  out.avx512_vnni = out.avx512 && bit(extended.c, 11);
  out.avx512_bf16 = out.avx512_vnni && bit(extended1.a, 5);
#endif
  return out;
}

uint32_t usable_cores() noexcept {
  const uint32_t cores = physical_cores();
  const double quota = cgroup_quota();
  if (quota <= 0) return cores;
  const auto whole = static_cast<uint32_t>(quota) + (quota > static_cast<uint32_t>(quota) ? 1U : 0U);
  return std::clamp<uint32_t>(whole, 1, cores);
}

}  // namespace kvasir::cpu
