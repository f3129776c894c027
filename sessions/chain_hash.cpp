#include "sessions/chain_hash.h"

#include <sodium.h>

#include <array>
#include <cstring>

namespace kvasir {
namespace {

void ensure_sodium() {
  // sodium_init is idempotent and thread-safe; it fails only without a source of randomness, where nothing may go on.
  if (sodium_init() < 0) __builtin_trap();
}

void update(crypto_generichash_state& state, std::string_view bytes) {
  crypto_generichash_update(&state, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
}
void update_sized(crypto_generichash_state& state, std::string_view bytes) {
  std::array<char, 8> length{};
  const uint64_t size = bytes.size();
  std::memcpy(length.data(), &size, length.size());
  update(state, {length.data(), length.size()});
  update(state, bytes);
}

}  // namespace

std::string random_salt() {
  ensure_sodium();
  std::string salt(kHashBytes, '\0');
  randombytes_buf(salt.data(), salt.size());
  return salt;
}

std::string random_handle(std::string_view prefix) {
  ensure_sodium();
  constexpr std::string_view kAlphabet = "abcdefghijklmnopqrstuvwxyz234567";
  constexpr size_t kDigits = 26;  // 130 bits
  std::string out(prefix);
  for (size_t i = 0; i < kDigits; ++i) out += kAlphabet[randombytes_uniform(32)];
  return out;
}

std::string turn_hash(std::string_view salt, std::string_view parent_hash, const Turn& turn) {
  ensure_sodium();
  crypto_generichash_state state;
  crypto_generichash_init(&state, reinterpret_cast<const unsigned char*>(salt.data()), salt.size(), kHashBytes);
  update(state, parent_hash.empty() ? std::string(kHashBytes, '\0') : std::string(parent_hash));
  for (const auto& part : {turn.role, turn.content, turn.message_json, tokens_to_bytes(turn.tokens), turn.rendered}) {
    update_sized(state, part);
  }
  const char whole = turn.whole ? 1 : 0;
  update(state, {&whole, 1});
  std::string out(kHashBytes, '\0');
  crypto_generichash_final(&state, reinterpret_cast<unsigned char*>(out.data()), out.size());
  return out;
}

std::string to_hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out += kDigits[static_cast<unsigned char>(c) >> 4];
    out += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

std::string from_hex(std::string_view digits) {
  if (digits.size() % 2 != 0) return {};
  std::string out;
  for (size_t i = 0; i < digits.size(); i += 2) {
    int byte = 0;
    for (const char c : digits.substr(i, 2)) {
      const int digit = c >= '0' && c <= '9' ? c - '0' : (c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1);
      if (digit < 0) return {};
      byte = byte * 16 + digit;
    }
    out += static_cast<char>(byte);
  }
  return out;
}

std::string keyed_hash(std::string_view key, std::initializer_list<std::string_view> parts) {
  ensure_sodium();
  crypto_generichash_state state;
  crypto_generichash_init(&state, reinterpret_cast<const unsigned char*>(key.data()), key.size(), kHashBytes);
  for (const auto part : parts) update_sized(state, part);
  std::string out(kHashBytes, '\0');
  crypto_generichash_final(&state, reinterpret_cast<unsigned char*>(out.data()), out.size());
  return out;
}

std::string tokens_to_bytes(const std::vector<TokenId>& tokens) {
  std::string out(tokens.size() * sizeof(TokenId), '\0');
  if (!tokens.empty()) std::memcpy(out.data(), tokens.data(), out.size());
  return out;
}

std::vector<TokenId> tokens_from_bytes(std::string_view bytes) {
  std::vector<TokenId> out(bytes.size() / sizeof(TokenId));
  if (!out.empty()) std::memcpy(out.data(), bytes.data(), out.size() * sizeof(TokenId));
  return out;
}

}  // namespace kvasir
