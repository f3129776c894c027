// The pass over untrusted JSON before any value is built: RFC 8259 to the letter, with limits, in constant memory apart
// from the keys of open objects. Never recurses. Thread-safe (pure).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "rpc/limits.h"

namespace kvasir::rpc {

/// What the scan saw besides validity.
struct ScanFacts {
  /// Text of the "id" of a message as it stands in the input: of the root object (element 0), or of an object in the
  /// root array. Numbers keep their digits here, which a double would round.
  struct RawId {
    uint32_t element = 0;
    std::string_view text;
  };
  std::vector<RawId> ids;
  bool has_duplicate_keys = false;
};

enum class DuplicateKeys : uint8_t { kRefuse, kAllow };

/// Errors as parse_json() in rpc/parse.h. Numbers are checked for form, not for range. `facts` borrows from `text`.
Result<void> scan_json(std::string_view text, const Limits& limits, DuplicateKeys duplicates, ScanFacts& facts);

}  // namespace kvasir::rpc
