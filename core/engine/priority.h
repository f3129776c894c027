// Who goes first when not everybody can. Strict: what is lower waits as long as higher work wants its place.
#pragma once

#include <cstdint>

namespace kvasir {

enum class Priority : uint8_t { kLow, kNormal, kHigh };

}  // namespace kvasir
