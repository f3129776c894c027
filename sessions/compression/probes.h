// Questions whose answer is known: sentences of the conversation that end in something exact (a number, a path, a name
// with digits), to be completed by the model. And the exact things of a text, as an index. Pure; linear in the text.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sessions/session_types.h"

namespace kvasir {

/// Numbers of three digits and more, paths, identifiers, addresses: in the order they first appear, each once.
std::vector<std::string> anchors_of(std::string_view text);

struct KnownAnswer {
  std::string question;
  std::string answer;
};
/// At most `most`, spread over the turns before the newest `spared` ones.
std::vector<KnownAnswer> make_probes(std::span<const Turn> path, size_t spared, size_t most);

}  // namespace kvasir
