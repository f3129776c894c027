// Identity of turns and random names, by libsodium. Pure functions; thread-safe after the first call.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "sessions/session_types.h"

namespace kvasir {

inline constexpr size_t kHashBytes = 32;

/// 32 random bytes; the key of one principal's hashes, so that nobody can guess what another stored.
std::string random_salt();
/// `prefix` and 128 random bits in lower-case base32 without padding: "s_…".
std::string random_handle(std::string_view prefix);
/// CHECKPOINT_FORMAT.md, `hash`. `parent_hash` and the result are 32 raw bytes.
std::string turn_hash(std::string_view salt, std::string_view parent_hash, const Turn& turn);
std::string to_hex(std::string_view bytes);
/// Empty for anything but pairs of lower-case hex digits.
std::string from_hex(std::string_view digits);
/// BLAKE2b-256 of the parts, each with its length, keyed.
std::string keyed_hash(std::string_view key, std::initializer_list<std::string_view> parts);

/// The stored form of token ids: int32 little-endian, repeated.
std::string tokens_to_bytes(const std::vector<TokenId>& tokens);
std::vector<TokenId> tokens_from_bytes(std::string_view bytes);

}  // namespace kvasir
