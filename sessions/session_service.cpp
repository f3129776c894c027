#include "sessions/session_service.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/base/log.h"
#include "sessions/session_points.h"
#include "sessions/turn_builder.h"

namespace kvasir {
namespace {

constexpr std::string_view kSystem = "system";

int64_t now_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

Result<SessionDetails> details(SessionStore& store, const std::string& principal, const std::string& id) {
  SessionDetails out;
  out.session = KVASIR_TRY(store.get(principal, id));
  out.turns = KVASIR_TRY(store.path(principal, out.session.head));
  out.head = head_of(out.turns);
  out.checkpoints = KVASIR_TRY(store.checkpoints(principal, id));
  out.children = KVASIR_TRY(store.children(principal, id));
  out.partial = readable_partial(store, principal, id);
  return out;
}

std::vector<Turn> opening_turns(const CreateSession& what) {
  std::vector<Turn> out;
  if (!what.system.empty()) {
    Turn turn;
    turn.role = kSystem;
    turn.content = what.system;
    out.push_back(std::move(turn));
  }
  for (const auto& message : what.messages) {
    Turn turn;
    turn.role = message.role;
    turn.content = message.content;
    turn.message_json = message.json;
    out.push_back(std::move(turn));
  }
  return out;
}

}  // namespace

SessionService::SessionService(OpenStore open, PostToIo post_to_io, bool durable, std::shared_ptr<KvBlockFiles> blocks)
    : durable_(durable), blocks_(std::move(blocks)), store_(std::move(open), std::move(post_to_io), durable) {}

template <class T, class Work>
void SessionService::run(Work work, Then<T> then) {
  if (closed_) return then(Failure{Code::kUnavailable, "the server is shutting down"});
  used_ = true;
  store_.run(std::move(work), std::move(then));
}

void SessionService::shutdown() {
  if (std::exchange(closed_, true)) return;
  auto busy = std::exchange(busy_, {});
  for (auto& [id, waiting] : busy) {
    for (auto& start : waiting) start();  // each is refused by run()
  }
  store_.stop();
}

void SessionService::create(std::string principal, CreateSession what, Then<SessionDetails> then) {
  run<SessionDetails>(
      [principal = std::move(principal), what = std::move(what)](SessionStore& store) -> Result<SessionDetails> {
        SessionRecord record;
        record.principal = principal;
        record.title = what.title;
        record.ttl_seconds = what.ttl_seconds;
        record.overflow = what.overflow;
        const auto created = KVASIR_TRY(store.create(std::move(record)));
        auto turns = opening_turns(what);
        if (!turns.empty()) {
          AppendTurns append;
          append.principal = principal;
          append.session_id = created.id;
          append.turns = std::move(turns);
          if (auto stored = store.append(append); !stored) {
            (void)store.remove(principal, created.id).has_value();  // half a session is none
            return Failure(std::move(stored).error());
          }
        }
        return details(store, principal, created.id);
      },
      std::move(then));
}

void SessionService::get(std::string principal, std::string session_id, Then<SessionDetails> then) {
  const bool writing = writing_.contains(session_id);
  run<SessionDetails>(
      [principal = std::move(principal), id = std::move(session_id),
       writing, blocks = blocks_](SessionStore& store) -> Result<SessionDetails> {
        auto out = KVASIR_TRY(details(store, principal, id));
        out.writing = writing;
        out.usage = KVASIR_TRY(store.usage(principal));
        if (blocks) out.kv_bytes = blocks->bytes_of(principal);
        return out;
      },
      std::move(then));
}

void SessionService::list(std::string principal, uint32_t limit, std::string cursor, Then<SessionPage> then) {
  run<SessionPage>([principal = std::move(principal), limit,
                    cursor = std::move(cursor)](SessionStore& store) { return store.list(principal, limit, cursor); },
                   std::move(then));
}

void SessionService::fork(std::string principal, std::string session_id, std::string at, std::string title,
                          Then<ForkedSession> then) {
  run<ForkedSession>(
      [principal = std::move(principal), id = std::move(session_id), at = std::move(at),
       title = std::move(title)](SessionStore& store) -> Result<ForkedSession> {
        const auto from = KVASIR_TRY(details(store, principal, id));
        const TurnNode node = KVASIR_TRY(find_point(store, principal, from.session, at));
        ForkedSession out;
        out.session = KVASIR_TRY(store.fork(principal, id, node, title));
        const auto turns = KVASIR_TRY(store.path(principal, node));
        out.head = head_of(turns);
        out.shared_tokens = context_tokens(turns).size();
        return out;
      },
      std::move(then));
}

void SessionService::rewind(std::string principal, std::string session_id, std::string to, Then<RewoundSession> then) {
  auto work = [principal = std::move(principal), id = session_id,
               to = std::move(to)](SessionStore& store) -> Result<RewoundSession> {
    if (to.empty()) return Failure{Code::kInvalidArgument, "to: a turn number, or a checkpoint's id or name"};
    const auto before = KVASIR_TRY(details(store, principal, id));
    const TurnNode node = KVASIR_TRY(find_point(store, principal, before.session, to));
    const bool on_path = node == 0 || std::any_of(before.turns.begin(), before.turns.end(),
                                                  [&](const Turn& t) { return t.node == node; });
    if (!on_path) {
      return Failure{Code::kInvalidArgument,
                     "'" + to + "' does not lie behind this session's head; use restore_session"};
    }
    KVASIR_TRY(store.set_head(principal, id, node));
    const auto turns = KVASIR_TRY(store.path(principal, node));
    return RewoundSession{head_of(turns), static_cast<uint32_t>(before.turns.size() - turns.size())};
  };
  in_order<RewoundSession>(session_id, std::move(work), std::move(then));
}

void SessionService::checkpoint(std::string principal, std::string session_id, std::string name,
                                Then<CheckpointedSession> then) {
  auto work = [principal = std::move(principal), id = session_id,
               name = std::move(name)](SessionStore& store) -> Result<CheckpointedSession> {
    CheckpointedSession out;
    out.checkpoint = KVASIR_TRY(store.checkpoint(principal, id, name));
    for (const auto& turn : KVASIR_TRY(store.path(principal, out.checkpoint.node))) out.total_bytes += stored_bytes(turn);
    return out;
  };
  in_order<CheckpointedSession>(session_id, std::move(work), std::move(then));
}

void SessionService::restore(std::string principal, std::string session_id, std::string checkpoint,
                             Then<RestoredSession> then) {
  auto work = [principal = std::move(principal), id = session_id,
               checkpoint = std::move(checkpoint)](SessionStore& store) -> Result<RestoredSession> {
    const auto session = KVASIR_TRY(details(store, principal, id));
    const TurnNode node = KVASIR_TRY(find_point(store, principal, session.session, checkpoint));
    RestoredSession out;
    out.session = KVASIR_TRY(store.set_head(principal, id, node));
    const auto turns = KVASIR_TRY(store.path(principal, node));
    out.head = head_of(turns);
    out.context = KVASIR_TRY(session_context(turns));
    return out;
  };
  in_order<RestoredSession>(session_id, std::move(work), std::move(then));
}

void SessionService::compress(std::string principal, std::string session_id, CompressedContext context,
                              Then<CompressedSession> then) {
  auto work = [principal = std::move(principal), id = session_id,
               context = std::move(context)](SessionStore& store) -> Result<CompressedSession> {
    const auto session = KVASIR_TRY(store.get(principal, id));
    if (session.head != context.node) return Failure{Code::kConflict, "the session moved on while it was compressed"};
    CompressedSession out;
    out.checkpoint_before = KVASIR_TRY(store.checkpoint(principal, id, "before compression")).id;
    AppendTurns append;
    append.principal = principal;
    append.session_id = id;
    append.parent = context.node;
    append.model = session.model;
    append.fingerprint = session.fingerprint;
    append.turns.push_back(context.edit ? compression_turn(*context.edit, context.strategy)
                                        : compression_turn(context.tokens, context.text, context.strategy));
    out.head = KVASIR_TRY(store.append(append)).back().hash;
    return out;
  };
  in_order<CompressedSession>(session_id, std::move(work), std::move(then));
}

void SessionService::remove(std::string principal, std::string session_id, Then<uint64_t> then) {
  auto work = [principal = std::move(principal), id = session_id,
               blocks = blocks_](SessionStore& store) -> Result<uint64_t> {
    const uint64_t bytes = KVASIR_TRY(store.remove(principal, id));
    return bytes + (blocks ? blocks->forget(id) : 0);
  };
  in_order<uint64_t>(session_id, std::move(work), std::move(then));
}

void SessionService::collect_garbage() {
  if (!used_) return;
  run<uint64_t>(
      [blocks = blocks_](SessionStore& store) -> Result<uint64_t> {
        const uint64_t expired = KVASIR_TRY(store.collect_garbage(now_ms()));
        if (!blocks) return expired;
        for (const auto& owner : blocks->owners()) {
          if (!KVASIR_TRY(store.exists(owner))) blocks->forget(owner);
        }
        blocks->drop_stale_tails();
        return expired;
      },
      [](Result<uint64_t>) {});
}

void SessionService::acquire(const std::string& session_id, UniqueFunction<void()> start) {
  const auto [busy, free] = busy_.try_emplace(session_id);
  if (free) return start();
  busy->second.push_back(std::move(start));
}

template <class T, class Work>
void SessionService::in_order(const std::string& session_id, Work work, Then<T> then) {
  acquire(session_id, [this, session_id, work = std::move(work), then = std::move(then)]() mutable {
    run<T>(std::move(work), [this, session_id, then = std::move(then)](Result<T> result) mutable {
      then(std::move(result));
      release(session_id);
    });
  });
}

void SessionService::begin_turn(TurnRequest request, Then<TurnTicket> then) {
  const std::string id = request.session_id;
  acquire(id, [this, request = std::move(request), then = std::move(then)]() mutable {
    start_turn(std::move(request), std::move(then));
  });
}

void SessionService::start_turn(TurnRequest request, Then<TurnTicket> then) {
  const std::string id = request.session_id;
  run<TurnTicket>(
      [request = std::move(request)](SessionStore& store) mutable { return prepare_turn(store, std::move(request)); },
      [this, id, then = std::move(then)](Result<TurnTicket> ticket) mutable {
        const bool failed = !ticket.has_value();
        if (!failed) writing_.insert(id);
        then(std::move(ticket));
        if (failed) release(id);
      });
}

void SessionService::commit_turn(TurnTicket ticket, TurnOutcome outcome, Then<CommittedTurn> then) {
  const std::string id = ticket.request.session_id;
  run<CommittedTurn>(
      [append = finished_turns(ticket, outcome)](SessionStore& store) -> Result<CommittedTurn> {
        const auto stored = KVASIR_TRY(store.append(append));
        return CommittedTurn{stored.back().hash, stored.back().number};
      },
      [this, id, then = std::move(then)](Result<CommittedTurn> committed) mutable {
        then(std::move(committed));
        release(id);
      });
}

void SessionService::save_partial(TurnTicket& ticket, TurnOutcome outcome, Then<void> then) {
  ticket.partial_saved = true;
  run<void>([append = turns_to_append(ticket, outcome)](SessionStore& store) { return store.save_partial(append); },
            std::move(then));
}

void SessionService::abandon_turn(const TurnTicket& ticket, Leftover leftover) {
  if (ticket.partial_saved && leftover == Leftover::kDrop) {
    run<void>([principal = ticket.request.principal, id = ticket.request.session_id](
                  SessionStore& store) { return store.drop_partial(principal, id); },
              [](Result<void> dropped) {
                if (!dropped) log::warn("partial_not_dropped message=" + dropped.error().message);
              });
  }
  release(ticket.request.session_id);
}

void SessionService::release(const std::string& session_id) {
  writing_.erase(session_id);
  const auto found = busy_.find(session_id);
  if (found == busy_.end()) return;
  if (found->second.empty()) {
    busy_.erase(found);
    return;
  }
  auto next = std::move(found->second.front());
  found->second.pop_front();
  next();
}

}  // namespace kvasir
