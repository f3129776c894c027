#include "mcp/http_sessions.h"

#include <array>
#include <cstdio>
#include <random>
#include <utility>

namespace kvasir::mcp {
namespace {

/// 128 bits from the operating system, as hex.
std::string random_id() {
  std::random_device device;
  std::string out;
  for (int i = 0; i < 4; ++i) {
    std::array<char, 9> part{};
    std::snprintf(part.data(), part.size(), "%08x", device());
    out += part.data();
  }
  return out;
}

}  // namespace

std::shared_ptr<HttpSession> HttpSessions::make(std::string principal, EngineKey engine, TimePoint now) const {
  return std::make_shared<HttpSession>(
      HttpSession{random_id(), std::move(principal), Connection(std::move(engine)), now, {}});
}

bool HttpSessions::make_room(TimePoint now) {
  expire(now);
  if (sessions_.size() < max_sessions_) return true;
  auto oldest = sessions_.end();
  for (auto it = sessions_.begin(); it != sessions_.end(); ++it)
    if (it->second->in_flight.empty() && (oldest == sessions_.end() || it->second->used < oldest->second->used))
      oldest = it;
  if (oldest == sessions_.end()) return false;
  sessions_.erase(oldest);
  return true;
}

void HttpSessions::add(std::shared_ptr<HttpSession> session) {
  std::string id = session->id;
  sessions_.emplace(std::move(id), std::move(session));
}

std::shared_ptr<HttpSession> HttpSessions::find(std::string_view id, std::string_view principal, TimePoint now) {
  expire(now);
  const auto found = sessions_.find(id);
  if (found == sessions_.end() || found->second->principal != principal) return nullptr;
  found->second->used = now;
  return found->second;
}

void HttpSessions::remove(std::string_view id) {
  const auto found = sessions_.find(id);
  if (found != sessions_.end()) sessions_.erase(found);
}

void HttpSessions::expire(TimePoint now) {
  std::erase_if(sessions_,
                [&](const auto& entry) { return entry.second->in_flight.empty() && now - entry.second->used > ttl_; });
}

}  // namespace kvasir::mcp
