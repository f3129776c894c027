#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

#include "core/engine/engine_environment.h"

namespace kvasir {
namespace {

std::optional<uint64_t> read_number(const std::string& path) {
  std::ifstream in(path);
  uint64_t value = 0;
  if (in >> value) return value;
  return std::nullopt;  // absent, or "max"
}

/// The folder of this process below /sys/fs/cgroup, as the line "0::/..." says.
std::optional<std::string> cgroup_folder() {
  std::ifstream in("/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("0::")) return "/sys/fs/cgroup" + line.substr(3);
  }
  return std::nullopt;
}

std::optional<uint64_t> cgroup_left() {
  const auto folder = cgroup_folder();
  if (!folder) return std::nullopt;
  const auto most = read_number(*folder + "/memory.max");
  const auto used = read_number(*folder + "/memory.current");
  if (!most || !used) return std::nullopt;
  return *most - std::min(*most, *used);
}

}  // namespace

uint64_t available_memory_bytes() {
  uint64_t available = std::numeric_limits<uint64_t>::max() / 2;
  std::ifstream in("/proc/meminfo");
  std::string key;
  uint64_t kibibytes = 0;
  for (std::string unit; in >> key >> kibibytes; std::getline(in, unit)) {
    if (key == "MemAvailable:") available = kibibytes << 10;
  }
  return std::min(available, cgroup_left().value_or(available));
}

uint64_t resident_memory_bytes() {
  std::ifstream in("/proc/self/statm");
  uint64_t total = 0;
  uint64_t resident = 0;
  if (!(in >> total >> resident)) return 0;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace kvasir
