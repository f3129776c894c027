// Conversations with planted facts, for the recall table of `kvasir bench compress` (compression.md §4.4): sixty turns made
// from a seed, eight facts told by the user one after the other in the first 52. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/engine/messages.h"
#include "sessions/session_types.h"

namespace kvasir {

/// The same numbers for the same seed, everywhere.
struct Numbers {
  uint64_t state;
  uint64_t next() {
    state += 0x9E3779B97F4A7C15U;
    uint64_t x = state;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
    return x ^ (x >> 31);
  }
  uint64_t below(uint64_t limit) { return next() % limit; }
};

struct ChatFact {
  std::string asked;
  std::string lead;   ///< the beginning of the answer, up to what is asked for
  std::string words;  ///< what a client would search the originals for
  std::string truth;
  size_t category = 0;  ///< number, artifact, preference, decision

  std::string said() const;
};
struct ScriptedChat {
  std::vector<ChatFact> facts;        ///< in the order in which they are told
  std::vector<ChatMessage> messages;  ///< ends in an answer
  std::vector<Turn> turns;            ///< the same as a session has them, tokens apart
};
ScriptedChat scripted_chat(uint64_t seed);

}  // namespace kvasir
