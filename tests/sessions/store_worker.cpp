// The program that crash tests kill: a session service on a folder, told what to do line by line on stdin, saying
// `ok ...` on stdout only for what was acknowledged. KVASIR_FAILPOINT ends it at a named point.
//
//   create NAME · turn SESSION KEY TEXT · part SESSION KEY TEXT (its answer is only begun) · goon SESSION · fork SESSION TURN · rewind SESSION TURN · mark SESSION NAME · remove SESSION
//   collect · dump (every session: id, turns as role:content:tokens) · verify · points (names of all failpoints)
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <mutex>
#include <sstream>
#include <string>

#include "sessions/failpoints.h"
#include "sessions/session_service.h"

using namespace kvasir;

namespace {

/// What the worker's io thread does between lines: waits for the store's answer.
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
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return !tasks_.empty(); });
    auto task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<UniqueFunction<void()>> tasks_;
};

void say(const std::string& line) {
  const std::string text = line + "\n";
  if (::write(STDOUT_FILENO, text.data(), text.size()) < 0) std::_Exit(1);
}

class Worker {
 public:
  Worker(const std::string& folder, const StoreOptions& options)
      : service_([=] { return open_session_store(folder, options); }, loop_.poster(), true) {}

  void obey(const std::string& line) {
    std::istringstream in(line);
    std::string verb, id, key, text;
    in >> verb >> id >> key;
    std::getline(in >> std::ws, text);
    if (verb == "create") {
      CreateSession what;
      what.title = id;
      report(wait<SessionDetails>([&](auto then) { service_.create("local", what, std::move(then)); }),
             [](const auto& made) { return made.session.id; });
    } else if (verb == "turn") {
      turn(id, key, text);
    } else if (verb == "part") {
      part(id, text);
    } else if (verb == "goon") {
      go_on(id);
    } else if (verb == "fork") {
      report(wait<ForkedSession>([&](auto then) { service_.fork("local", id, key, "", std::move(then)); }),
             [](const auto& made) { return made.session.id; });
    } else if (verb == "rewind") {
      report(wait<RewoundSession>([&](auto then) { service_.rewind("local", id, key, std::move(then)); }),
             [](const auto& done) { return done.head; });
    } else if (verb == "mark") {
      report(wait<CheckpointedSession>([&](auto then) { service_.checkpoint("local", id, key, std::move(then)); }),
             [](const auto& made) { return made.checkpoint.id; });
    } else if (verb == "remove") {
      report(wait<uint64_t>([&](auto then) { service_.remove("local", id, std::move(then)); }),
             [](uint64_t) { return std::string(); });
    } else if (verb == "collect") {
      service_.collect_garbage();
      report(wait<SessionPage>([&](auto then) { service_.list("local", 1, "", std::move(then)); }),
             [](const auto&) { return std::string(); });
    } else if (verb == "dump") {
      dump();
    }
  }

 private:
  template <class T, class Call>
  Result<T> wait(Call call) {
    std::optional<Result<T>> out;
    call(Then<T>([&out](Result<T> r) { out.emplace(std::move(r)); }));
    while (!out) loop_.run_one();
    return std::move(*out);
  }
  template <class T, class Show>
  void report(const Result<T>& result, Show show) {
    say(result ? "ok " + show(*result)
               : std::string("error ") + code_name(result.error().code) + " " + result.error().message);
  }

  /// One question and the answer "re: TEXT", every byte a token.
  void turn(const std::string& id, const std::string& key, const std::string& text) {
    TurnRequest request{"local", id, {{"user", text, ""}}, std::nullopt, key};
    auto ticket = wait<TurnTicket>([&](auto then) { service_.begin_turn(request, std::move(then)); });
    if (!ticket) return refuse(ticket.error());
    if (ticket->replayed) {
      service_.abandon_turn(*ticket);
      return say("ok " + ticket->replayed->head);
    }
    TurnOutcome out = answered(*ticket, text, "re: " + text);
    report(wait<CommittedTurn>(
               [&](auto then) { service_.commit_turn(std::move(*ticket), std::move(out), std::move(then)); }),
           [](const auto& done) { return done.head; });
  }

  /// A question whose answer grows by a word each time it is saved, and never ends.
  void part(const std::string& id, const std::string& text) {
    TurnRequest request{"local", id, {{"user", text, ""}}, std::nullopt, ""};
    auto ticket = wait<TurnTicket>([&](auto then) { service_.begin_turn(request, std::move(then)); });
    if (!ticket) return refuse(ticket.error());
    Result<void> saved;
    for (const char* said : {"be", "begun", "begun, no more"}) {
      saved = wait<void>([&](auto then) { service_.save_partial(*ticket, answered(*ticket, text, said), std::move(then)); });
    }
    service_.abandon_turn(*ticket, Leftover::kKeep);
    saved ? say("ok") : refuse(saved.error());
  }

  /// Nothing else is asked: what was begun becomes a turn.
  void go_on(const std::string& id) {
    TurnRequest request{"local", id, {}, std::nullopt, ""};
    auto ticket = wait<TurnTicket>([&](auto then) { service_.begin_turn(request, std::move(then)); });
    if (!ticket) return refuse(ticket.error());
    const bool continued = ticket->continued_tokens > 0;
    service_.abandon_turn(*ticket);
    say(continued ? "ok" : "error nothing was begun");
  }

  static TurnOutcome answered(const TurnTicket& ticket, const std::string& text, const std::string& answer) {
    TurnOutcome out;
    out.fingerprint = "worker";
    out.reply_json = "{}";
    out.result.text = out.result.answer_text = answer;
    out.result.context_tokens = ticket.prompt.history_tokens;
    out.result.context_text = ticket.prompt.history_text + text;
    for (const char c : text + answer) out.result.context_tokens.push_back(static_cast<unsigned char>(c));
    out.result.tokens_in_context = answer.size();
    return out;
  }
  static void refuse(const Error& error) {
    say(std::string("error ") + code_name(error.code) + " " + error.message);
  }

  void dump() {
    std::string cursor;
    do {
      const auto page = wait<SessionPage>([&](auto then) { service_.list("local", 200, cursor, std::move(then)); });
      if (!page) return say("error " + page.error().message);
      for (const auto& session : page->sessions) {
        const auto all = wait<SessionDetails>([&](auto then) { service_.get("local", session.id, std::move(then)); });
        if (!all) return say("error " + all.error().message);
        say("session " + session.id + shown(all->turns));
        if (all->partial) say("partial " + session.id + shown(all->partial->turns));
      }
      cursor = page->next_cursor.value_or("");
    } while (!cursor.empty());
    say("ok");
  }

  static std::string shown(const std::vector<Turn>& turns) {
    std::string line;
    for (const auto& t : turns) {
      line += "|" + t.role + ":" + t.content + ":";
      for (const TokenId id : t.tokens) line += static_cast<char>(id);
    }
    return line;
  }

  Loop loop_;
  SessionService service_;
};

int verify(const std::string& folder) {
  auto store = open_session_store(folder);
  if (!store) return std::fprintf(stderr, "%s\n", store.error().message.c_str()), 1;
  const auto findings = (*store)->verify();
  if (!findings) return std::fprintf(stderr, "%s\n", findings.error().message.c_str()), 1;
  for (const auto& finding : *findings) say(finding);
  return findings->empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "points") {
    for (const auto& name : failpoint_names()) say(std::string(name));
    return 0;
  }
  if (argc == 3 && std::string(argv[2]) == "verify") return verify(argv[1]);
  if (argc != 2) return std::fprintf(stderr, "usage: store_worker FOLDER [verify] | points\n"), 2;
  StoreOptions options;
  if (const char* point = std::getenv("KVASIR_FAILPOINT"); point != nullptr) options.reach = arm_failpoint(point);
  Worker worker(argv[1], options);
  std::string line;
  while (std::getline(std::cin, line)) worker.obey(line);
  return 0;
}
