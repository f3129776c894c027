// Commands and events as bytes: what a process boundary between front and engine will carry (decisions.md 5). Little
// endian, no alignment, one format version. Decoding is for bytes from outside: every length is checked against what
// remains before anything is allocated, enums and flags against their range, and nothing may be left over. Pure.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/engine/engine.h"
#include "core/engine/messages.h"

namespace kvasir {

inline constexpr uint8_t kMessageFormat = 3;
/// No single message is larger: prompts are limited far below by the transports.
inline constexpr size_t kMaxMessageBytes = 256u << 20;

std::string encode(const Command& command);
std::string encode(const Event& event);
/// Errors: kCorrupt with the byte offset; kUnsupported for another format version; kTooLarge.
Result<Command> decode_command(std::string_view bytes);
Result<Event> decode_event(std::string_view bytes);

/// An engine whose every message goes through bytes and back: the test lane that keeps the messages serialisable.
/// A message that does not survive is a bug: it aborts with the reason.
std::unique_ptr<Engine> make_codec_engine(std::unique_ptr<Engine> inner);

}  // namespace kvasir
