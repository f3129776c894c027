// JSON text to values, every one of them the user's: strings untrusted, scalars and containers tainted. Bounded depth;
// duplicate keys: the last wins, as in Python. Errors: kInvalidArgument (not JSON), kTooLarge (depth, number of
// values).
#pragma once

#include <string_view>

#include "core/base/result.h"
#include "core/text/jinja/value.h"

namespace kvasir::jinja {

/// `what` names the text in errors.
Result<Value> read_json(Heap& heap, Budget& budget, std::string_view text, std::string_view what);

/// The `messages` array. Its messages' `role` counts as trusted where it is one of the well-known role words: several
/// templates write control tokens around it ('<|' + role + '|>'), and these words carry nothing of the user's.
Result<Value> read_messages(Heap& heap, Budget& budget, std::string_view text);

}  // namespace kvasir::jinja
