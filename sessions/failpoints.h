// Named points of the store's and the service's work at which a test may end the process. They are always compiled in
// and do nothing unless the variable KVASIR_FAILPOINT names one: "append.committed" ends it there, "append.committed:3"
// the third time. Thread-safe.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace kvasir {

/// Every point, in the order of the code. A name that is not in here is a bug: reaching it ends the process too.
const std::vector<std::string_view>& failpoint_names();
/// What StoreOptions::reach should be: kills this process with SIGKILL at the point that `spec` names; empty for an
/// empty spec. An unknown name never fires.
std::function<void(const char*)> arm_failpoint(std::string_view spec);

}  // namespace kvasir
