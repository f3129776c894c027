// Sessions as the protocol layer uses them: names checked, requests of one session in order, turns durable before they
// are acknowledged. Sits between the tools (mcp/) and the store; never touches a model: it makes Prompts for the engine
// and stores what comes back. io thread only; every callback comes on the io thread, exactly once.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/base/unique_function.h"
#include "core/engine/messages.h"
#include "sessions/kv_block_files.h"
#include "sessions/session_store.h"
#include "sessions/store_thread.h"
#include "sessions/turn_builder.h"
#include "sessions/turn_ticket.h"

namespace kvasir {

template <class T>
using Then = UniqueFunction<void(Result<T>)>;

struct CreateSession {
  std::string system;
  std::vector<ChatMessage> messages;
  std::string title;
  uint64_t ttl_seconds = 0;
  std::string overflow = "error";
};

enum class Leftover : uint8_t { kKeep, kDrop };

struct CommittedTurn {
  std::string head;  ///< hash of the new last turn
  uint32_t turns = 0;
};

struct SessionDetails {
  SessionRecord session;
  std::string head;
  std::vector<Turn> turns;
  std::vector<CheckpointRecord> checkpoints;
  std::vector<SessionRecord> children;
  std::optional<PartialTurns> partial;  ///< an answer that is being written, or was when its process ended
  bool writing = false;                 ///< it is being written
  StoreUsage usage;                     ///< of the session's principal
  uint64_t kv_bytes = 0;                ///< of its principal, on disk
};
struct ForkedSession {
  SessionRecord session;
  std::string head;
  uint64_t shared_tokens = 0;
};
struct RewoundSession {
  std::string head;
  uint32_t removed_turns = 0;
};
struct RestoredSession {
  SessionRecord session;
  std::string head;
  SessionContext context;  ///< whose KV the engine should have
};
struct CheckpointedSession {
  CheckpointRecord checkpoint;
  uint64_t total_bytes = 0;  ///< text and tokens that the name holds on to
};

/// A context to go on from instead of the session's own: what an edit leaves of it, or other tokens.
struct CompressedContext {
  TurnNode node = 0;  ///< the head it was made of; must still be the head
  std::optional<ContextEdit> edit;
  std::vector<TokenId> tokens;
  std::string text;  ///< the text of the whole conversation that the tokens stand for
  std::string strategy;
};
struct CompressedSession {
  std::string head;
  std::string checkpoint_before;
};

class SessionService {
 public:
  /// `open` runs on the store's thread, at the first call that needs it; without `durable` there is no such thread.
  /// `blocks`: where the engine keeps sessions' KV, or null; deleting a session deletes its blocks.
  SessionService(OpenStore open, PostToIo post_to_io, bool durable, std::shared_ptr<KvBlockFiles> blocks = nullptr);
  /// Refuses what waits and what comes (kUnavailable), finishes what the store was told. Idempotent. Callbacks of what
  /// was finished still come through post_to_io.
  void shutdown();

  /// Called once when the store failed for good: nothing is durable until another process opens it again.
  void on_lost(std::function<void(const std::string& reason)> call) { store_.on_lost(std::move(call)); }
  /// Whether turns reach a disk (false: --no-store); replies say so.
  bool durable() const noexcept { return durable_; }

  void create(std::string principal, CreateSession what, Then<SessionDetails> then);
  void get(std::string principal, std::string session_id, Then<SessionDetails> then);
  void list(std::string principal, uint32_t limit, std::string cursor, Then<SessionPage> then);
  /// `at`: a turn number, a checkpoint's id or name, or "" for the head.
  void fork(std::string principal, std::string session_id, std::string at, std::string title, Then<ForkedSession> then);
  void rewind(std::string principal, std::string session_id, std::string to, Then<RewoundSession> then);
  void checkpoint(std::string principal, std::string session_id, std::string name, Then<CheckpointedSession> then);
  void restore(std::string principal, std::string session_id, std::string checkpoint, Then<RestoredSession> then);
  /// Names the present point, then goes on from the shorter context. Errors: kConflict when the session moved on.
  void compress(std::string principal, std::string session_id, CompressedContext context, Then<CompressedSession> then);
  void remove(std::string principal, std::string session_id, Then<uint64_t> then);
  /// Expired sessions, unreachable turns, blocks of sessions that are no more. Nothing before the store's first use:
  /// another process may be using the folder.
  void collect_garbage();

  /// Waits until the session is free. Errors: kNotFound, kConflict (expected_head), kInvalidArgument (a second system).
  void begin_turn(TurnRequest request, Then<TurnTicket> then);
  void commit_turn(TurnTicket ticket, TurnOutcome outcome, Then<CommittedTurn> then);
  /// Keeps what there is of the answer beside the session, should commit_turn() never come. The next turn without a
  /// prompt goes on with it.
  void save_partial(TurnTicket& ticket, TurnOutcome outcome, Then<void> then);
  /// `leftover`: of what save_partial() kept.
  void abandon_turn(const TurnTicket& ticket, Leftover leftover = Leftover::kDrop);

 private:
  void start_turn(TurnRequest request, Then<TurnTicket> then);
  template <class T, class Work>
  void run(Work work, Then<T> then);
  /// As run(), but after what was begun on this session before.
  template <class T, class Work>
  void in_order(const std::string& session_id, Work work, Then<T> then);
  void acquire(const std::string& session_id, UniqueFunction<void()> start);
  void release(const std::string& session_id);

  bool durable_;
  std::shared_ptr<KvBlockFiles> blocks_;
  bool closed_ = false, used_ = false;
  std::map<std::string, std::deque<UniqueFunction<void()>>> busy_;  // sessions in use, and what waits for them
  std::set<std::string> writing_;                                   // sessions whose next answer is being written
  StoreThread store_;                                               // last: its thread ends before the rest goes
};

}  // namespace kvasir
