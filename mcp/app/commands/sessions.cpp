// kvasir sessions ...: the stored conversations of this user, without a server. The store has one user at a time: while
// a server has it open, these commands say so (exit 75) and the tools of the same names do the work.
#include <functional>
#include <map>

#include "mcp/app/commands/commands.h"
#include "mcp/app/engine_options.h"
#include "mcp/app/input.h"
#include "mcp/app/session_file.h"
#include "mcp/app/store_options.h"
#include "mcp/tools/session_json.h"
#include "rpc/message.h"
#include "sessions/kv_block_files.h"
#include "sessions/session_points.h"
#include "sessions/session_store.h"
#include "sessions/turn_builder.h"

namespace kvasir::app {
namespace {

using mcp::checkpoints_json;
using mcp::context_map_json;
using mcp::partial_json;
using mcp::session_json;
using mcp::transcript_json;
using rpc::Json;

const OptionSpec kPrincipal{"principal", OptionKind::kText, "NAME", "local",
                           "whose sessions, as `kvasir sessions principals` names them (a token's start with token:)"};
const OptionSpec kAt{"at", OptionKind::kText, "POINT", "", "turn number, or a checkpoint's id or name (default: now)"};
const OptionSpec kTitle{"title", OptionKind::kText, "TEXT", "", "name of the new session"};

/// Whoever may read the data folder may read everybody's sessions; one principal's at a time.
struct Store {
  std::unique_ptr<SessionStore> store;
  std::string principal;
  SessionStore* operator->() const { return store.get(); }
};

Result<Store> open_store(const Context& context) {
  return Store{KVASIR_TRY(open_session_store(context.paths.data_dir + "/sessions")), context.options.text("principal")};
}

Result<std::vector<SessionRecord>> all_sessions(const Store& store) {
  std::vector<SessionRecord> out;
  std::string cursor;
  do {
    auto page = KVASIR_TRY(store->list(store.principal, SessionLimits{}.max_page_rows, cursor));
    for (auto& session : page.sessions) out.push_back(std::move(session));
    cursor = page.next_cursor.value_or("");
  } while (!cursor.empty());
  return out;
}

/// The id as given, or the only one that begins so.
Result<SessionRecord> find_session(const Store& store, const std::string& id) {
  if (auto exact = store->get(store.principal, id)) return exact;
  std::vector<SessionRecord> matches;
  for (auto& session : KVASIR_TRY(all_sessions(store))) {
    if (session.id.starts_with(id)) matches.push_back(std::move(session));
  }
  if (matches.size() == 1) return std::move(matches.front());
  return Failure{Code::kNotFound, matches.empty() ? "no session '" + id + "'; kvasir sessions ls shows them"
                                                  : "'" + id + "' begins several sessions' ids; give more of it"};
}

void print(Context& context, const Json& json, const std::string& text) {
  context.console->line(context.options.enabled("json") ? rpc::dump(json) : text);
}

/// The KV that a server kept of sessions.
Result<std::unique_ptr<KvBlockFiles>> open_blocks(const Context& context) {
  return KvBlockFiles::open(context.paths.data_dir + "/sessions/blocks");
}

/// What is stored of one principal, and what may be.
struct Stored {
  uint64_t bytes = 0, max_bytes = 0, kv_bytes = 0, kv_max_bytes = 0;
};
Result<Stored> stored_of(const Context& context, const Store& store) {
  const StoreSettings quotas = KVASIR_TRY(quota_settings(context.options));
  const auto blocks = KVASIR_TRY(open_blocks(context));
  blocks->flush();  // it knows whose its pages are
  return Stored{KVASIR_TRY(store->usage(store.principal)).bytes, quotas.sessions.max_bytes_per_principal,
                blocks->bytes_of(store.principal), quotas.blocks.max_bytes_per_principal};
}

std::string of_quota(const char* what, uint64_t bytes, uint64_t most) {
  constexpr unsigned kMegabyte = 20;
  return std::string(what) + ": " + std::to_string(bytes) + " bytes of at most " + std::to_string(most >> kMegabyte) + " MB";
}

Result<void> ls(Context& context) {
  const auto store = KVASIR_TRY(open_store(context));
  const Stored stored = KVASIR_TRY(stored_of(context, store));
  Json list = Json::array();
  for (const auto& session : KVASIR_TRY(all_sessions(store))) {
    Json entry = session_json(session);
    const auto turns = store->path(store.principal, session.head);
    if (turns) {
      entry["turns"] = turns->size();
      entry["tokens"] = context_tokens(*turns).size();
    } else {
      entry["broken"] = turns.error().message;
    }
    list.push_back(std::move(entry));
  }
  if (context.options.enabled("json"))
    return context.console->line(rpc::dump(Json{{"sessions", std::move(list)},
                                                {"storage",
                                                 {{"conversation_bytes", stored.bytes},
                                                  {"conversation_max_bytes", stored.max_bytes},
                                                  {"kv_bytes", stored.kv_bytes},
                                                  {"kv_max_bytes", stored.kv_max_bytes}}}})),
           Result<void>();
  if (list.empty()) context.console->note("no sessions");
  for (const auto& e : list) {
    const std::string size = e.contains("broken") ? "BROKEN: " + e["broken"].get<std::string>()
                                                  : std::to_string(e["turns"].get<uint64_t>()) + " turns, " +
                                                        std::to_string(e["tokens"].get<uint64_t>()) + " tokens";
    context.console->line(e["session_id"].get<std::string>() + "  " + e["updated_at"].get<std::string>() + "  " + size +
                          "  " + e["title"].get<std::string>());
  }
  context.console->note(of_quota("conversations", stored.bytes, stored.max_bytes) + "; " +
                        of_quota("KV on disk", stored.kv_bytes, stored.kv_max_bytes));
  return {};
}

Result<void> principals(Context& context) {
  const auto store = KVASIR_TRY(open_session_store(context.paths.data_dir + "/sessions"));
  Json list = Json::array();
  std::string text;
  for (const auto& record : KVASIR_TRY(store->principals())) {
    list.push_back({{"principal", record.principal}, {"sessions", record.sessions}, {"bytes", record.bytes}});
    text += (text.empty() ? "" : "\n") + record.principal + "  " + std::to_string(record.sessions) + " sessions, " +
            std::to_string(record.bytes) + " bytes";
  }
  print(context, Json{{"principals", std::move(list)}}, text);
  return {};
}

Result<void> show(Context& context) {
  const auto store = KVASIR_TRY(open_store(context));
  const auto session = KVASIR_TRY(find_session(store, context.arguments.front()));
  const auto turns = KVASIR_TRY(store->path(store.principal, session.head));
  const auto checkpoints = KVASIR_TRY(store->checkpoints(store.principal, session.id));
  Json json = session_json(session);
  json["head"] = turns.empty() ? std::string() : turns.back().hash;
  json["transcript"] = transcript_json(turns);
  json["checkpoints"] = checkpoints_json(checkpoints);
  json["context_map"] = context_map_json(turns, 0);
  const auto partial = KVASIR_TRY(store->partial(store.principal, session.id));
  if (partial) json["partial"] = partial_json(*partial, false);
  if (context.options.enabled("json")) return context.console->line(rpc::dump(json)), Result<void>();
  context.console->line(session.id + "  " + session.title);
  for (const auto& turn : turns) {
    context.console->line("--- " + std::to_string(turn.number) + " " + turn.role + " (" +
                          std::to_string(turn.tokens.size()) + " tokens" +
                          (turn.whole ? ", replaces the earlier ones" : "") + ")");
    context.console->line(turn.content);
  }
  if (partial) {
    context.console->line("--- unfinished: an answer of " + std::to_string(partial->turns.back().tokens.size()) +
                          " tokens was interrupted; it is no turn, and goes on when nothing else is asked");
    context.console->line(partial->turns.back().content);
  }
  for (const auto& c : checkpoints) {
    context.console->line("checkpoint " + c.id + " at turn " + std::to_string(c.turn) + "  " + c.name);
  }
  return {};
}

Result<void> tree(Context& context) {
  const auto store = KVASIR_TRY(open_store(context));
  const auto sessions = KVASIR_TRY(all_sessions(store));
  std::map<std::string, std::vector<const SessionRecord*>> children;
  std::map<std::string, bool> known;
  for (const auto& session : sessions) known[session.id] = true;
  for (const auto& session : sessions)
    children[known.contains(session.parent_id) ? session.parent_id : ""].push_back(&session);
  const std::function<Json(const std::string&, const std::string&)> walk = [&](const std::string& id,
                                                                               const std::string& indent) {
    Json list = Json::array();
    for (const SessionRecord* child : children[id]) {
      if (!context.options.enabled("json")) {
        context.console->line(
            indent + child->id +
            (child->parent_id.empty() ? "" : "  (from turn " + std::to_string(child->parent_turn) + ")") + "  " +
            child->title);
      }
      Json entry{{"session_id", child->id}, {"title", child->title}, {"turn", child->parent_turn}};
      entry["forks"] = walk(child->id, indent + "  ");
      list.push_back(std::move(entry));
    }
    return list;
  };
  const Json all = walk("", "");
  if (context.options.enabled("json")) context.console->line(rpc::dump(Json{{"sessions", all}}));
  return {};
}

Result<void> fork(Context& context) {
  const auto store = KVASIR_TRY(open_store(context));
  const auto session = KVASIR_TRY(find_session(store, context.arguments.front()));
  const TurnNode node = KVASIR_TRY(find_point(*store.store, store.principal, session, context.options.text("at")));
  const auto made = KVASIR_TRY(store->fork(store.principal, session.id, node, context.options.text("title")));
  print(context, session_json(made), made.id);
  return {};
}

Result<void> rewind(Context& context) {
  const std::string to = context.options.text("at");
  if (to.empty()) return Failure{Code::kInvalidArgument, "--at POINT says how far back"};
  const auto store = KVASIR_TRY(open_store(context));
  const auto session = KVASIR_TRY(find_session(store, context.arguments.front()));
  const TurnNode node = KVASIR_TRY(find_point(*store.store, store.principal, session, to));
  KVASIR_TRY(store->set_head(store.principal, session.id, node));
  const size_t turns = KVASIR_TRY(store->path(store.principal, node)).size();
  print(context, Json{{"session_id", session.id}, {"turns", turns}},
        session.id + " has " + std::to_string(turns) + " turns now");
  return {};
}

Result<void> export_session(Context& context) {
  const auto store = KVASIR_TRY(open_store(context));
  const auto session = KVASIR_TRY(find_session(store, context.arguments.front()));
  const auto turns = KVASIR_TRY(store->path(store.principal, session.head));
  context.console->line(rpc::dump(session_to_json(session, turns)));
  return {};
}

Result<void> import_session(Context& context) {
  const std::string text = KVASIR_TRY(read_stdin());
  auto imported = KVASIR_TRY(session_from_json(Json::parse(text, nullptr, false)));
  const auto store = KVASIR_TRY(open_store(context));
  imported.session.principal = store.principal;
  const auto made = KVASIR_TRY(store->create(imported.session));
  if (!imported.turns.empty()) {
    AppendTurns append;
    append.principal = store.principal;
    append.session_id = made.id;
    append.turns = std::move(imported.turns);
    append.model = imported.session.model;
    append.fingerprint = imported.session.fingerprint;
    if (auto stored = store->append(append); !stored) {
      (void)store->remove(store.principal, made.id).has_value();  // half a session is none
      return Failure(stored.error());
    }
  }
  print(context, session_json(made), made.id);
  return {};
}

Result<void> verify(Context& context) {
  const auto store = KVASIR_TRY(open_store(context));
  const auto findings = KVASIR_TRY(store->verify());
  std::string text;
  for (const auto& finding : findings) text += finding + "\n";
  print(context, Json{{"findings", findings}},
        text + (findings.empty() ? "every session verifies" : "the others verify"));
  if (!findings.empty()) return Failure{Code::kCorrupt, std::to_string(findings.size()) + " findings"};
  return {};
}

Result<void> gc(Context& context) {
  const auto store = KVASIR_TRY(open_store(context));
  const auto blocks = KVASIR_TRY(open_blocks(context));
  const uint64_t gone = KVASIR_TRY(store->collect_garbage(now_ms()));
  for (const auto& owner : blocks->owners()) {
    if (!KVASIR_TRY(store->exists(owner))) blocks->forget(owner);
  }
  const uint64_t tails = blocks->drop_stale_tails();
  print(context, Json{{"expired_sessions", gone}, {"stale_bytes", tails}},
        std::to_string(gone) + " expired sessions deleted, " + std::to_string(tails) + " bytes of replaced pages");
  return {};
}

Result<void> rm(Context& context) {
  const auto store = KVASIR_TRY(open_store(context));
  const auto blocks = KVASIR_TRY(open_blocks(context));
  uint64_t bytes = 0;
  for (const auto& id : context.arguments) {
    const auto session = KVASIR_TRY(find_session(store, id));
    bytes += KVASIR_TRY(store->remove(store.principal, session.id)) + blocks->forget(session.id);
  }
  print(context, Json{{"deleted_bytes", bytes}}, std::to_string(bytes) + " bytes deleted");
  return {};
}

Command command(std::string_view name, std::string_view summary, std::vector<const OptionSpec*> options,
                std::string_view positional, bool many, std::string_view examples, Result<void> (*run)(Context&)) {
  options.push_back(&kJson);
  return {{name, summary, std::move(options), positional, !positional.empty(), many, examples}, run};
}

}  // namespace

std::vector<Command> sessions_commands() {
  std::vector<const OptionSpec*> ls_options = quota_options();
  ls_options.insert(ls_options.begin(), &kPrincipal);
  return {
      command("sessions ls", "the stored conversations", ls_options, "", false, "  kvasir sessions ls", ls),
      command("sessions principals", "whoever has sessions here", {}, "", false, "  kvasir sessions principals", principals),
      command("sessions show", "one conversation, turn by turn", {&kPrincipal}, "SESSION", false, "  kvasir sessions show s_abc",
              show),
      command("sessions tree", "which session was forked from which", {&kPrincipal}, "", false, "  kvasir sessions tree", tree),
      command("sessions fork", "branches a conversation", {&kAt, &kTitle, &kPrincipal}, "SESSION", false,
              "  kvasir sessions fork s_abc --at 4", fork),
      command("sessions rewind", "takes back turns", {&kAt, &kPrincipal}, "SESSION", false, "  kvasir sessions rewind s_abc --at 2",
              rewind),
      command("sessions export", "writes a session as JSON to stdout", {&kPrincipal}, "SESSION", false,
              "  kvasir sessions export s_abc > talk.json", export_session),
      command("sessions import", "makes a session of exported JSON from stdin", {&kPrincipal}, "", false,
              "  kvasir sessions import < talk.json", import_session),
      command("sessions verify", "checks the store and every session's chain of hashes", {}, "", false,
              "  kvasir sessions verify", verify),
      command("sessions gc", "deletes what has expired and what nothing names any more", {}, "", false,
              "  kvasir sessions gc", gc),
      command("sessions rm", "deletes sessions, from the disk too", {&kPrincipal}, "SESSION", true, "  kvasir sessions rm s_abc",
              rm),
  };
}

}  // namespace kvasir::app
