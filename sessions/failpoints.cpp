#include "sessions/failpoints.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <memory>

namespace kvasir {

const std::vector<std::string_view>& failpoint_names() {
  static const std::vector<std::string_view> names = {
      "open.begin",           "open.locked",     "open.file_made",   "open.opened",        "open.schema",
      "create.begin",         "create.inserted", "create.committed", "append.begin",       "append.checked",
      "append.dropped",       "append.node",     "append.nodes",     "append.head",        "append.reply",
      "append.committed",     "partial.begin",   "partial.node",     "partial.kept",       "partial.committed",
      "adopt.begin",          "adopt.head",      "adopt.committed",  "head.begin",         "head.updated",
      "head.committed",       "checkpoint.begin", "checkpoint.inserted", "checkpoint.committed", "remove.begin",
      "remove.row",           "remove.unreachable", "remove.committed", "remove.truncated",  "collect.begin",
      "collect.deleted",      "collect.committed", "collect.truncated",
  };
  return names;
}

std::function<void(const char*)> arm_failpoint(std::string_view spec) {
  if (spec.empty()) return {};
  const size_t colon = spec.find(':');
  const std::string name(spec.substr(0, colon));
  int times = 1;
  if (colon != std::string_view::npos) std::from_chars(spec.data() + colon + 1, spec.data() + spec.size(), times);
  const auto left = std::make_shared<std::atomic<int>>(times);
  return [name, left](const char* point) {
    if (name != point || left->fetch_sub(1) != 1) return;
    ::kill(::getpid(), SIGKILL);
  };
}

}  // namespace kvasir
