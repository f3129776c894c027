#include "mcp/tools/session_tools.h"

#include <optional>
#include <utility>

#include "mcp/tools/generation_tools.h"
#include "mcp/tools/session_json.h"
#include "sessions/turn_builder.h"

namespace kvasir::mcp {
namespace {

struct CreateArgs {
  std::string system, title;
  std::vector<ChatMessage> messages;
  uint64_t ttl_seconds = 0;
  std::string overflow = "error";
};
struct GetArgs {
  std::string session_id;
  bool transcript = false, context_map = false, checkpoints = false;
  std::optional<std::string> search;
};
struct ListArgs {
  uint32_t limit = 50;
  std::string cursor;
};
struct PointArgs {
  std::string session_id, point, title;
};

constexpr FieldRules kSessionId{.max_bytes = 128, .min_bytes = 1, .required = true, .positional = true};
constexpr double kLongestTtl = 315'360'000;  // ten years

/// Both halves of most session tools: ask the service, turn what it says into a step.
template <class T, class Make>
Then<T> make_step(Then<SessionStep> then, Make make) {
  return [then = std::move(then), make = std::move(make)](Result<T> got) mutable {
    if (!got) return then(Failure(std::move(got).error()));
    then(make(std::move(*got)));
  };
}

template <class Args, class Work>
Tool session_tool(const char* name, const char* title, const char* description, FieldTable<Args> fields, Work work) {
  Tool tool;
  tool.name = name;
  tool.title = title;
  tool.description = description;
  tool.input_schema = fields.schema();
  tool.parse = [fields = std::move(fields), work](const Json& params) -> Result<ToolRequest> {
    auto args = KVASIR_TRY(fields.parse(params));
    ToolRequest request;
    request.session = [args = std::move(args), work](SessionService& sessions, const std::string& principal,
                                                     Then<SessionStep> then) {
      work(sessions, principal, args, std::move(then));
    };
    return request;
  };
  tool.result = [](const Event&) -> Result<Json> {
    return Failure(Code::kInternal, "a session tool's answer does not come from the engine");
  };
  return tool;
}

Tool create_session_tool() {
  auto fields =
      FieldTable<CreateArgs>()
          .add("system", &CreateArgs::system, "System message.", {.positional = true})
          .add("messages", &CreateArgs::messages, "A conversation to begin with.", {.max_items = 10'000})
          .add("title", &CreateArgs::title, "Name for lists.", {.max_bytes = 256})
          .add("ttl_seconds", &CreateArgs::ttl_seconds, "Delete it so long after its last use. Default: never.",
               {.minimum = 0, .maximum = kLongestTtl})
          .add("overflow", &CreateArgs::overflow,
               "When it outgrows the context: error (default), truncate_oldest, sliding_window or compress.", {.max_bytes = 64});
  Tool tool = session_tool(
      "create_session", "Create a session",
      "Begin a stored conversation. Pass the session_id to generate_text to talk; it survives restarts.",
      std::move(fields),
      [](SessionService& sessions, const std::string& principal, const CreateArgs& args, Then<SessionStep> then) {
        if (auto policy = overflow_policy(args.overflow); !policy) return then(Failure(policy.error()));
        if (!args.system.empty() && !args.messages.empty() && args.messages.front().role == "system") {
          return then(Failure(Code::kInvalidArgument, "system is given twice: as an argument and as messages[0]"));
        }
        sessions.create(principal, {args.system, args.messages, args.title, args.ttl_seconds, args.overflow},
                        make_step<SessionDetails>(std::move(then), [](SessionDetails made) {
                          SessionStep step;
                          step.result = Json{{"session_id", made.session.id}, {"head", made.head}, {"tokens", 0}};
                          if (made.turns.empty()) return step;
                          CountTokens count;
                          count.prompt.messages = conversation(made.turns);
                          step.ask = std::move(count);
                          step.merge = [](Json& result, const Event& event) {
                            if (const auto* counted = std::get_if<CountResult>(&event)) {
                              result["tokens"] = counted->tokens;
                            } else if (const auto* failed = std::get_if<Failed>(&event)) {
                              result["tokens_unknown"] = failed->message;
                            }
                          };
                          return step;
                        }));
      });
  tool.output_schema = output_schema({
      {"session_id", "string", "Handle of the conversation"},
      {"head", "string", "Its last turn; empty before the first"},
      {"tokens", "integer", "Tokens of what it begins with"},
      {"tokens_unknown", "string", "Why they could not be counted", false},
  });
  return tool;
}

SessionStep details_step(const GetArgs& args, SessionDetails details) {
  SessionStep step;
  SessionContext context;
  if (auto read = session_context(details.turns)) context = std::move(*read);
  step.result = session_json(details.session);
  step.result["head"] = details.head;
  step.result["turns"] = details.turns.size();
  step.result["tokens"] = context.tokens.size();
  step.result["storage"] = storage_json(details);
  if (details.partial) step.result["partial"] = partial_json(*details.partial, details.writing);
  if (args.transcript) step.result["transcript"] = transcript_json(details.turns);
  if (args.search) step.result["found"] = found_json(details.turns, *args.search);
  if (args.checkpoints) step.result["checkpoints"] = checkpoints_json(details.checkpoints);
  Json children = Json::array();
  for (const auto& child : details.children) {
    children.push_back(Json{{"session_id", child.id}, {"title", child.title}, {"turn", child.parent_turn}});
  }
  if (!children.empty()) step.result["forks"] = std::move(children);
  ProbeCache probe;
  probe.tokens = std::move(context.tokens);
  probe.stages = std::move(context.stages);
  step.ask = std::move(probe);
  step.merge = [map = args.context_map, turns = std::move(details.turns)](Json& result, const Event& event) {
    const auto* cache = std::get_if<CacheResult>(&event);
    result["context"] = cache != nullptr ? cache->context : 0;
    if (map) result["context_map"] = context_map_json(turns, cache != nullptr ? cache->cached_tokens : 0);
    bound_result(result, {"context_map", "transcript"}, kMaxResultBytes);
  };
  return step;
}

Tool get_session_tool() {
  auto fields = FieldTable<GetArgs>()
                    .add("session_id", &GetArgs::session_id, "From create_session.", kSessionId)
                    .add("transcript", &GetArgs::transcript, "Also the messages.")
                    .add("context_map", &GetArgs::context_map, "Also the tokens of each message, and which are cached.")
                    .add("checkpoints", &GetArgs::checkpoints, "Also its named points.")
                    .add("search", &GetArgs::search, "Also the turns with all of these words.",
                         {.max_bytes = 1024, .min_bytes = 1});
  Tool tool = session_tool(
      "get_session", "Look at a session",
      "Head, size and, on request, messages, checkpoints and context map of a session.", std::move(fields),
      [](SessionService& sessions, const std::string& principal, const GetArgs& args, Then<SessionStep> then) {
        sessions.get(principal, args.session_id,
                     make_step<SessionDetails>(std::move(then), [args](SessionDetails details) {
                       return details_step(args, std::move(details));
                     }));
      });
  tool.hints = {.read_only = true, .destructive = false, .idempotent = true};
  tool.output_schema = output_schema({
      {"session_id", "string", "The session"},
      {"title", "string", "Its name"},
      {"head", "string", "Its last turn"},
      {"turns", "integer", "Number of turns"},
      {"tokens", "integer", "Tokens of its context"},
      {"context", "integer", "Tokens that fit; 0 while no model is loaded"},
      {"created_at", "string", "When"},
      {"updated_at", "string", "When it last changed"},
      {"overflow", "string", "What happens when it outgrows the context"},
      {"ttl_seconds", "integer", "Deleted so long after its last use", false},
      {"model", "string", "The model that answered last", false},
      {"storage", "object", "Bytes stored and allowed", false},
      {"parent", "object", "Where it was forked: session_id, turn", false},
      {"forks", "[object]", "Sessions forked from it", false},
      {"transcript", "[object]", "turn, role, content, interrupted", false},
      {"partial", "object", "An unfinished answer, no turn yet", false},
      {"context_map", "object", "messages [turn, role, tokens, cached_tokens], cached_tokens, first_miss", false},
      {"checkpoints", "[object]", "checkpoint_id, name, turn, created_at", false},
      {"found", "[object]", "turn, role, excerpt", false},
      {"cut", "boolean", "Left out what is too long", false},
  });
  return tool;
}

Tool list_sessions_tool() {
  auto fields =
      FieldTable<ListArgs>()
          .add("limit", &ListArgs::limit, "At most so many.", {.minimum = 1, .maximum = 200, .positional = true})
          .add("cursor", &ListArgs::cursor, "next_cursor of the page before.", {.max_bytes = 64});
  Tool tool = session_tool(
      "list_sessions", "List sessions", "Your stored conversations, last used first.", std::move(fields),
      [](SessionService& sessions, const std::string& principal, const ListArgs& args, Then<SessionStep> then) {
        sessions.list(principal, args.limit, args.cursor, make_step<SessionPage>(std::move(then), [](SessionPage page) {
                        SessionStep step;
                        step.result = Json{{"sessions", Json::array()}};
                        for (const auto& session : page.sessions)
                          step.result["sessions"].push_back(session_json(session));
                        if (page.next_cursor) step.result["next_cursor"] = *page.next_cursor;
                        return step;
                      }));
      });
  tool.hints = {.read_only = true, .destructive = false, .idempotent = true};
  tool.output_schema = output_schema({
      {"sessions", "[object]", "session_id, title, created_at, updated_at, model, parent"},
      {"next_cursor", "string", "Give it as cursor for the next page", false},
  });
  return tool;
}

Tool fork_session_tool() {
  auto fields = FieldTable<PointArgs>()
                    .add("session_id", &PointArgs::session_id, "The session to branch from.", kSessionId)
                    .add("at", &PointArgs::point, "A turn number, or a checkpoint's id or name. Default: now.",
                         {.max_bytes = 128, .positional = true})
                    .add("title", &PointArgs::title, "Name of the fork.", {.max_bytes = 256});
  Tool tool = session_tool(
      "fork_session", "Fork a session",
      "Branch a conversation at any turn; both go on apart, nothing is copied or computed.", std::move(fields),
      [](SessionService& sessions, const std::string& principal, const PointArgs& args, Then<SessionStep> then) {
        sessions.fork(
            principal, args.session_id, args.point, args.title,
            make_step<ForkedSession>(std::move(then), [](ForkedSession fork) {
              SessionStep step;
              step.result =
                  Json{{"session_id", fork.session.id}, {"head", fork.head}, {"shared_tokens", fork.shared_tokens}};
              return step;
            }));
      });
  tool.output_schema = output_schema({
      {"session_id", "string", "The fork"},
      {"head", "string", "Its last turn"},
      {"shared_tokens", "integer", "Tokens of context that both have"},
  });
  return tool;
}

Tool rewind_session_tool() {
  auto fields = FieldTable<PointArgs>()
                    .add("session_id", &PointArgs::session_id, "The session.", kSessionId)
                    .add("to", &PointArgs::point, "Turn number (0: the beginning), or a checkpoint's id or name.",
                         {.max_bytes = 128, .min_bytes = 1, .required = true, .positional = true});
  Tool tool = session_tool(
      "rewind_session", "Rewind a session", "Take back turns: the session goes on from an earlier one.",
      std::move(fields),
      [](SessionService& sessions, const std::string& principal, const PointArgs& args, Then<SessionStep> then) {
        sessions.rewind(principal, args.session_id, args.point,
                        make_step<RewoundSession>(std::move(then), [](RewoundSession done) {
                          SessionStep step;
                          step.result = Json{{"head", done.head}, {"removed_turns", done.removed_turns}};
                          return step;
                        }));
      });
  tool.hints = {.read_only = false, .destructive = true, .idempotent = true};
  tool.output_schema = output_schema({
      {"head", "string", "The last turn now"},
      {"removed_turns", "integer", "Turns that lie behind it no more"},
  });
  return tool;
}

Tool checkpoint_session_tool() {
  auto fields = FieldTable<PointArgs>()
                    .add("session_id", &PointArgs::session_id, "The session.", kSessionId)
                    .add("name", &PointArgs::title, "Name of the point.", {.max_bytes = 128, .positional = true});
  Tool tool = session_tool(
      "checkpoint_session", "Name a point",
      "Give the session's present point a name to restore, fork or rewind to later.", std::move(fields),
      [](SessionService& sessions, const std::string& principal, const PointArgs& args, Then<SessionStep> then) {
        sessions.checkpoint(
            principal, args.session_id, args.title,
            make_step<CheckpointedSession>(std::move(then), [durable = sessions.durable()](CheckpointedSession made) {
              SessionStep step;
              // The turns are in the store already: a checkpoint is a name for them.
              step.result = Json{{"checkpoint_id", made.checkpoint.id},
                                 {"durable", durable},
                                 {"new_bytes", 0},
                                 {"total_bytes", made.total_bytes}};
              return step;
            }));
      });
  tool.output_schema = output_schema({
      {"checkpoint_id", "string", "The point"},
      {"durable", "boolean", "Whether it is on the disk"},
      {"new_bytes", "integer", "Written for it"},
      {"total_bytes", "integer", "Text and tokens that it holds on to"},
  });
  return tool;
}

std::string restore_reason(const GenerateResult& r) {
  const uint64_t memory = r.usage.cached_tokens - r.loaded_tokens;
  std::string out;
  if (memory > 0) out += std::to_string(memory) + " tokens were in memory, ";
  if (r.loaded_tokens > 0) out += std::to_string(r.loaded_tokens) + " came from disk, ";
  if (out.empty()) out = "no KV of this context was at hand, ";
  out += "the rest was computed from the stored token ids";
  return r.cache_note.empty() ? out : out + " (" + r.cache_note + ")";
}

/// The engine computes (or finds) the KV of what was restored, so that the next turn starts at once.
SessionStep restored_step(RestoredSession restored) {
  SessionStep step;
  const uint64_t all = restored.context.tokens.size();
  step.result = Json{{"head", restored.head},
                     {"restored_tokens", 0},
                     {"recomputed_tokens", 0},
                     {"reason", "the session is empty: there is nothing to compute"}};
  if (all == 0) return step;
  Generate warm;
  warm.prompt = session_prompt({}, {});
  warm.prompt.tokens = warm.prompt.history_tokens = std::move(restored.context.tokens);
  warm.prompt.history_stages = std::move(restored.context.stages);
  warm.prompt.history_model = restored.session.fingerprint;
  warm.max_tokens = 0;
  warm.cache_owner = restored.session.id;
  step.ask = std::move(warm);
  step.merge = [all](Json& result, const Event& event) {
    if (const auto* failed = std::get_if<Failed>(&event)) {
      result["reason"] = "the conversation is restored, its " + std::to_string(all) +
                         " tokens are computed with the next turn: " + failed->message;
      return;
    }
    const auto* done = std::get_if<GenerateResult>(&event);
    if (done == nullptr || done->usage.prompt_tokens == 0 || done->finish_reason == FinishReason::kCancelled ||
        done->finish_reason == FinishReason::kTimeLimit) {
      result["reason"] = "the conversation is restored; computing was stopped, the next turn does it";
      return;
    }
    const uint64_t cached = done->usage.cached_tokens;
    result["restored_tokens"] = cached;
    result["recomputed_tokens"] = done->usage.prompt_tokens - cached;
    result["reason"] = restore_reason(*done);
  };
  return step;
}

Tool restore_session_tool() {
  auto fields = FieldTable<PointArgs>()
                    .add("session_id", &PointArgs::session_id, "The session.", kSessionId)
                    .add("checkpoint_id", &PointArgs::point,
                         "Id or name of a checkpoint, or a turn number. Default: where the session is.",
                         {.max_bytes = 128, .positional = true});
  Tool tool = session_tool(
      "restore_session", "Restore a session",
      "Put a session back to a checkpoint (also after a restart) and make it ready to go on.", std::move(fields),
      [](SessionService& sessions, const std::string& principal, const PointArgs& args, Then<SessionStep> then) {
        sessions.restore(principal, args.session_id, args.point,
                         make_step<RestoredSession>(std::move(then), restored_step));
      });
  tool.hints = {.read_only = false, .destructive = true, .idempotent = true};
  tool.output_schema = output_schema({
      {"head", "string", "The last turn now"},
      {"restored_tokens", "integer", "Tokens whose KV was at hand"},
      {"recomputed_tokens", "integer", "Tokens that were computed again"},
      {"reason", "string", "Why so many"},
  });
  return tool;
}

Tool delete_session_tool() {
  auto fields = FieldTable<PointArgs>().add("session_id", &PointArgs::session_id, "The session.", kSessionId);
  Tool tool = session_tool(
      "delete_session", "Delete a session",
      "Delete a conversation and everything that only it needs, from the disk too.", std::move(fields),
      [](SessionService& sessions, const std::string& principal, const PointArgs& args, Then<SessionStep> then) {
        sessions.remove(principal, args.session_id, make_step<uint64_t>(std::move(then), [](uint64_t bytes) {
                          SessionStep step;
                          step.result = Json{{"deleted_bytes", bytes}};
                          return step;
                        }));
      });
  tool.hints = {.read_only = false, .destructive = true, .idempotent = false};
  tool.output_schema = output_schema({{"deleted_bytes", "integer", "Text and tokens that are gone"}});
  return tool;
}

}  // namespace

std::vector<Tool> session_tools() {
  std::vector<Tool> out;
  out.push_back(create_session_tool());
  out.push_back(get_session_tool());
  out.push_back(list_sessions_tool());
  out.push_back(fork_session_tool());
  out.push_back(rewind_session_tool());
  out.push_back(checkpoint_session_tool());
  out.push_back(restore_session_tool());
  out.push_back(delete_session_tool());
  return out;
}

void add_session_facts(Json& result, const TurnTicket& ticket, bool durable) {
  result["session_id"] = ticket.session.id;
  result["head"] = ticket.turns.empty() ? std::string() : ticket.turns.back().hash;
  result["durable"] = durable;
  if (ticket.continued_tokens > 0) result["continued_tokens"] = ticket.continued_tokens;
}

}  // namespace kvasir::mcp
