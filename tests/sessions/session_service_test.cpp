// Sessions above the store: prompts carry the stored tokens, requests of one session run in order, and what history a
// point in the tree stands for is exact.
#include "sessions/session_service.h"

#include <catch2/catch.hpp>
#include <condition_variable>
#include <deque>
#include <mutex>

#include "sessions/turn_builder.h"

namespace kvasir {
namespace {

/// The io thread of these tests: tasks wait until the test runs them.
class Loop {
 public:
  PostToIo poster() {
    return [this](UniqueFunction<void()> task) {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
      wake_.notify_one();
    };
  }
  void run_one() {
    UniqueFunction<void()> task;
    {
      std::unique_lock lock(mutex_);
      REQUIRE(wake_.wait_for(lock, std::chrono::seconds(20), [this] { return !tasks_.empty(); }));
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<UniqueFunction<void()>> tasks_;
};

struct Fixture {
  Loop loop;
  SessionService service{[] { return open_memory_session_store(); }, loop.poster(), true};

  template <class T, class Call>
  Result<T> wait(Call call) {
    std::optional<Result<T>> out;
    call([&out](Result<T> r) { out.emplace(std::move(r)); });
    while (!out) loop.run_one();
    return std::move(*out);
  }
  std::string create(const std::string& system = "") {
    CreateSession what;
    what.system = system;
    return wait<SessionDetails>([&](Then<SessionDetails> t) { service.create("local", what, std::move(t)); })
        ->session.id;
  }
  Result<TurnTicket> begin(const std::string& id, const std::string& text,
                           std::optional<std::string> head = std::nullopt) {
    TurnRequest r{"local", id, {}, head, ""};
    if (!text.empty()) r.messages.push_back({"user", text, ""});
    return wait<TurnTicket>([&](Then<TurnTicket> t) { service.begin_turn(r, std::move(t)); });
  }
  /// Answers as an engine would that encodes every byte as one token.
  Result<CommittedTurn> answer(TurnTicket ticket, const std::string& text, bool rewritten = false) {
    TurnOutcome out;
    std::string rendered;
    for (const auto& m : ticket.prompt.messages) rendered += "<" + m.role + ">" + m.content;
    if (ticket.prompt.kind == Prompt::Kind::kTokens) rendered = ticket.prompt.history_text;
    out.result.text = out.result.answer_text = text;
    out.result.context_text = rendered;
    for (const char c : rendered + text) out.result.context_tokens.push_back(c);
    out.result.tokens_in_context = text.size();
    out.result.history_rewritten = rewritten;
    return wait<CommittedTurn>(
        [&](Then<CommittedTurn> t) { service.commit_turn(std::move(ticket), std::move(out), std::move(t)); });
  }
  SessionDetails get(const std::string& id) {
    return *wait<SessionDetails>([&](Then<SessionDetails> t) { service.get("local", id, std::move(t)); });
  }
};

TEST_CASE("a second turn carries the first one's tokens as history") {
  Fixture f;
  const auto id = f.create("be brief");
  auto first = f.begin(id, "hi");
  REQUIRE(first);
  CHECK(first->prompt.messages.size() == 2);
  CHECK(first->prompt.history_tokens.empty());
  REQUIRE(f.answer(std::move(*first), "yes"));
  auto second = f.begin(id, "more");
  REQUIRE(second);
  CHECK(second->prompt.history_text == "<system>be brief<user>hiyes");
  CHECK(second->prompt.history_tokens.size() == second->prompt.history_text.size());
  CHECK(second->prompt.messages.size() == 4);
}

TEST_CASE(
    "history that was rendered again replaces the stored context, and rewinding before it brings the old one back") {
  Fixture f;
  const auto id = f.create();
  REQUIRE(f.answer(*f.begin(id, "one"), "two"));
  const auto before = context_tokens(f.get(id).turns);
  REQUIRE(f.answer(*f.begin(id, "three"), "four", true));
  const auto after = f.get(id);
  CHECK(context_text(after.turns) == "<user>one<assistant>two<user>threefour");
  CHECK(context_tokens(std::span(after.turns).first(2)) == before);
}

TEST_CASE("with no prompt the assistant's turn goes on and stays one message") {
  Fixture f;
  const auto id = f.create();
  REQUIRE(f.answer(*f.begin(id, "count"), "1 2"));
  auto more = f.begin(id, "");
  REQUIRE(more);
  CHECK(more->prompt.kind == Prompt::Kind::kTokens);
  REQUIRE(f.answer(std::move(*more), " 3"));
  const auto now = f.get(id);
  CHECK(conversation(now.turns).size() == 2);
  CHECK(conversation(now.turns)[1].content == "1 2 3");
}

TEST_CASE("requests of one session run in order, those of another do not wait") {
  Fixture f;
  const auto id = f.create(), other = f.create();
  auto first = f.begin(id, "a");
  REQUIRE(first);
  bool second_started = false;
  TurnRequest request{"local", id, {{"user", "b", ""}}, std::nullopt, ""};
  f.service.begin_turn(request, [&](Result<TurnTicket> t) {
    second_started = true;
    REQUIRE(t);
    CHECK(t->turns.size() == 2);
    f.service.abandon_turn(*t);
  });
  CHECK(f.begin(other, "x"));
  CHECK_FALSE(second_started);
  REQUIRE(f.answer(std::move(*first), "A"));
  while (!second_started) f.loop.run_one();
}

TEST_CASE("a wrong expected head, a second system and an empty session are refused and free the session again") {
  Fixture f;
  const auto id = f.create();
  CHECK(f.begin(id, "").error().code == Code::kInvalidArgument);
  REQUIRE(f.answer(*f.begin(id, "one"), "two"));
  CHECK(f.begin(id, "x", "0123456789").error().code == Code::kConflict);
  TurnRequest r{"local", id, {{"system", "other", ""}}, std::nullopt, ""};
  CHECK(f.wait<TurnTicket>([&](Then<TurnTicket> t) { f.service.begin_turn(r, std::move(t)); }).error().code ==
        Code::kInvalidArgument);
  CHECK(f.begin(id, "fine", f.get(id).head.substr(0, 16)));
}

TEST_CASE("fork, checkpoint, rewind and restore name points by turn number, id and name") {
  Fixture f;
  const auto id = f.create();
  REQUIRE(f.answer(*f.begin(id, "one"), "two"));
  const auto mark = f.wait<CheckpointedSession>(
      [&](Then<CheckpointedSession> t) { f.service.checkpoint("local", id, "early", std::move(t)); });
  REQUIRE(mark);
  REQUIRE(f.answer(*f.begin(id, "three"), "four"));
  const auto again = f.wait<CheckpointedSession>(
      [&](Then<CheckpointedSession> t) { f.service.checkpoint("local", id, "twice", std::move(t)); });
  REQUIRE(f.answer(*f.begin(id, "five"), "six"));
  REQUIRE(f.wait<CheckpointedSession>(
      [&](Then<CheckpointedSession> t) { f.service.checkpoint("local", id, "twice", std::move(t)); }));
  const auto newest =
      f.wait<ForkedSession>([&](Then<ForkedSession> t) { f.service.fork("local", id, "twice", "", std::move(t)); });
  REQUIRE(newest);
  CHECK(newest->session.head == f.get(id).session.head);  // of two with one name the newer
  REQUIRE(f.wait<RewoundSession>(
      [&](Then<RewoundSession> t) { f.service.rewind("local", id, again->checkpoint.id, std::move(t)); }));
  auto fork =
      f.wait<ForkedSession>([&](Then<ForkedSession> t) { f.service.fork("local", id, "early", "", std::move(t)); });
  REQUIRE(fork);
  CHECK(fork->shared_tokens == std::string("<user>onetwo").size());
  auto back = f.wait<RewoundSession>([&](Then<RewoundSession> t) { f.service.rewind("local", id, "1", std::move(t)); });
  REQUIRE(back);
  CHECK(back->removed_turns == 3);
  auto restored = f.wait<RestoredSession>(
      [&](Then<RestoredSession> t) { f.service.restore("local", id, mark->checkpoint.id, std::move(t)); });
  REQUIRE(restored);
  CHECK(f.get(id).turns.size() == 2);
  CHECK(f.wait<ForkedSession>([&](Then<ForkedSession> t) { f.service.fork("local", id, "99", "", std::move(t)); })
            .error()
            .code == Code::kNotFound);
}

}  // namespace
}  // namespace kvasir
