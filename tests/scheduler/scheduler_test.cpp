#include "core/engine/scheduler.h"

#include <catch2/catch.hpp>

#include <map>

using namespace kvasir;

namespace {

constexpr TimePoint kStart{};

KvPagesConfig pages(uint32_t count) { return {.groups = {{.pages = count}}}; }

SeqRequest request(SeqId id, uint32_t prompt, uint32_t new_tokens) {
  SeqRequest out;
  out.id = id;
  for (uint32_t i = 0; i < prompt; ++i) out.tokens.push_back(static_cast<TokenId>(id * 10'000 + i));
  out.max_tokens = prompt + new_tokens;
  return out;
}

std::map<SeqId, uint32_t> rows_of(const StepPlan& plan) {
  std::map<SeqId, uint32_t> out;
  for (const PlannedRows& part : plan.parts) out[part.id] = part.count;
  return out;
}

/// Plans, applies and gives a token to whoever awaits one.
StepPlan step(Scheduler& scheduler, uint32_t rows, TimePoint now = kStart) {
  const StepPlan plan = scheduler.plan({.rows = rows}, now);
  scheduler.apply(plan);
  for (const PlannedRows& part : plan.parts) {
    if (scheduler.awaits_token(part.id)) scheduler.append(part.id, 1);
  }
  REQUIRE(scheduler.invariants_hold());
  return plan;
}

}  // namespace

TEST_CASE("a long prompt delays neither decodes nor short prompts") {
  Scheduler scheduler(pages(100));
  REQUIRE(scheduler.admit(request(1, 4, 50)));
  step(scheduler, 64);  // prefilled, decoding from now on
  REQUIRE(scheduler.admit(request(2, 3000, 10)));
  REQUIRE(scheduler.admit(request(3, 20, 10)));
  const auto first = rows_of(step(scheduler, 64));
  CHECK(first.at(1) == 1);
  CHECK(first.at(3) == 20);      // all of it, at once
  CHECK(first.at(2) == 64 - 21);  // the rest is for the long one
  for (int i = 0; i < 5; ++i) {
    const auto rows = rows_of(step(scheduler, 64));
    CHECK(rows.at(1) == 1);
    CHECK(rows.at(3) == 1);
    CHECK(rows.at(2) == 62);
  }
}

TEST_CASE("prefills share the rows evenly and take turns when there are too few") {
  Scheduler scheduler(pages(200));
  for (SeqId id = 1; id <= 4; ++id) REQUIRE(scheduler.admit(request(id, 1000, 1)));
  const auto even = rows_of(step(scheduler, 128));
  for (SeqId id = 1; id <= 4; ++id) CHECK(even.at(id) == 32);
  std::map<SeqId, uint32_t> total;
  for (int i = 0; i < 8; ++i) {
    for (const auto& [id, count] : rows_of(step(scheduler, 20))) total[id] += count;
  }
  for (SeqId id = 1; id <= 4; ++id) CHECK(total[id] == 8 * 20 / 4);
}

TEST_CASE("decodes take turns when the budget is smaller than their number") {
  Scheduler scheduler(pages(100));
  for (SeqId id = 1; id <= 7; ++id) REQUIRE(scheduler.admit(request(id, 1, 100)));
  step(scheduler, 64);
  std::map<SeqId, uint32_t> total;
  for (int i = 0; i < 7; ++i) {
    for (const auto& [id, count] : rows_of(step(scheduler, 3))) total[id] += count;
  }
  for (SeqId id = 1; id <= 7; ++id) CHECK(total[id] == 3);
}

TEST_CASE("only the last row of a prompt wants logits, and every decode row does") {
  Scheduler scheduler(pages(100));
  REQUIRE(scheduler.admit(request(1, 100, 3)));
  CHECK(step(scheduler, 60).logit_rows == 0);
  const StepPlan last = step(scheduler, 60);
  CHECK(last.logit_rows == 1);
  CHECK(last.parts[0].logits_from == 39);
  CHECK(step(scheduler, 60).logit_rows == 1);
}

TEST_CASE("scoring rows are limited per step and scoring ends when all are computed") {
  Scheduler scheduler(pages(100));
  SeqRequest score = request(1, 100, 0);
  score.generates = false;
  score.logits_from = 30;
  REQUIRE(scheduler.admit(std::move(score)));
  uint32_t logits = 0;
  uint32_t steps = 0;
  while (scheduler.phase(1) != SeqPhase::kComplete) {
    const StepPlan plan = scheduler.plan({.rows = 64, .score_rows = 16}, kStart);
    REQUIRE(plan.logit_rows <= 16);
    logits += plan.logit_rows;
    scheduler.apply(plan);
    REQUIRE(++steps < 20);
  }
  CHECK(logits == 70);
  CHECK_FALSE(scheduler.has_work());
}

TEST_CASE("a request waits for its pages, first come first served") {
  Scheduler scheduler(pages(10));
  REQUIRE(scheduler.admit(request(1, 10, 500)));  // 8 pages
  REQUIRE(scheduler.admit(request(2, 10, 300)));  // 5 pages
  REQUIRE(scheduler.admit(request(3, 10, 10)));   // 1 page, but behind 2
  step(scheduler, 64);
  CHECK(scheduler.phase(2) == SeqPhase::kWaiting);
  CHECK(scheduler.phase(3) == SeqPhase::kWaiting);
  CHECK(scheduler.requests_ahead(3) == 1);
  scheduler.remove(1);
  step(scheduler, 64);
  CHECK(scheduler.phase(2) == SeqPhase::kDecode);
  CHECK(scheduler.phase(3) == SeqPhase::kDecode);
}

TEST_CASE("what can never fit is refused at once, and so is an id in use") {
  Scheduler scheduler(pages(4));
  const auto refused = scheduler.admit(request(1, 200, 57));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::kTooLarge);
  REQUIRE(scheduler.admit(request(1, 200, 56)));
  CHECK_FALSE(scheduler.admit(request(1, 1, 1)));
  CHECK_FALSE(scheduler.admit(request(2, 0, 1)));
}

TEST_CASE("a cancel frees the pages in every state") {
  Scheduler scheduler(pages(8), {.max_sequences = 2});
  REQUIRE(scheduler.admit(request(1, 100, 20)));
  REQUIRE(scheduler.admit(request(2, 1, 20)));
  REQUIRE(scheduler.admit(request(3, 1, 20)));
  step(scheduler, 32);
  REQUIRE(scheduler.phase(1) == SeqPhase::kPrefill);
  REQUIRE(scheduler.phase(2) == SeqPhase::kDecode);
  REQUIRE(scheduler.phase(3) == SeqPhase::kWaiting);
  SECTION("waiting") { scheduler.remove(3); }
  SECTION("prefill") { scheduler.remove(1); }
  SECTION("decode") { scheduler.remove(2); }
  SECTION("paused") {
    scheduler.pause(1);
    scheduler.remove(1);
  }
  SECTION("between plan and apply") {
    const StepPlan plan = scheduler.plan({.rows = 32}, kStart);
    scheduler.remove(1);
    scheduler.remove(2);
    scheduler.apply(plan);
  }
  SECTION("unknown") { scheduler.remove(99); }
  REQUIRE(scheduler.invariants_hold());
  for (SeqId id = 1; id <= 3; ++id) scheduler.remove(id);
  REQUIRE(scheduler.invariants_hold());
  CHECK(scheduler.kv().available(0) == 8);
  CHECK_FALSE(scheduler.has_work());
}

TEST_CASE("a paused sequence keeps its KV and is not computed") {
  Scheduler scheduler(pages(20));
  REQUIRE(scheduler.admit(request(1, 10, 20)));
  REQUIRE(scheduler.admit(request(2, 10, 20)));
  step(scheduler, 64);
  scheduler.pause(1);
  for (int i = 0; i < 3; ++i) CHECK_FALSE(rows_of(step(scheduler, 64)).contains(1));
  const uint32_t computed = scheduler.computed_tokens(1);
  scheduler.resume(1);
  CHECK(rows_of(step(scheduler, 64)).at(1) == 1);
  CHECK(scheduler.computed_tokens(1) == computed + 1);
}

TEST_CASE("a paused sequence gives its pages to one that waits, and computes again after resume") {
  Scheduler scheduler(pages(4));
  REQUIRE(scheduler.admit(request(1, 100, 90)));  // 3 pages
  step(scheduler, 128);
  step(scheduler, 128);
  scheduler.pause(1);
  REQUIRE(scheduler.admit(request(2, 10, 150)));  // 3 pages
  step(scheduler, 128);
  CHECK(scheduler.phase(2) == SeqPhase::kDecode);
  CHECK(scheduler.phase(1) == SeqPhase::kWaiting);
  scheduler.resume(1);
  step(scheduler, 128);
  CHECK(scheduler.phase(1) == SeqPhase::kWaiting);
  scheduler.remove(2);
  uint32_t recomputed = 0;
  while (scheduler.phase(1) != SeqPhase::kDecode) recomputed += rows_of(step(scheduler, 128)).at(1);
  CHECK(recomputed + 64 >= 101);  // its first full page may have survived in the index
  CHECK(scheduler.tokens(1).size() >= 102);
}

TEST_CASE("a sequence that is not paused never loses its pages") {
  Scheduler scheduler(pages(4));
  REQUIRE(scheduler.admit(request(1, 100, 90)));
  step(scheduler, 128);
  REQUIRE(scheduler.admit(request(2, 10, 150)));
  for (int i = 0; i < 10; ++i) CHECK(rows_of(step(scheduler, 128)).at(1) == 1);
}

TEST_CASE("a deadline ends a sequence in any state and is reported once") {
  ManualClock clock;
  Scheduler scheduler(pages(8), {.max_sequences = 1});
  for (SeqId id = 1; id <= 2; ++id) {
    SeqRequest with_deadline = request(id, 10, 50);
    with_deadline.deadline = clock.now() + std::chrono::milliseconds(10 * id);
    REQUIRE(scheduler.admit(std::move(with_deadline)));
  }
  CHECK(scheduler.next_deadline() == clock.now() + std::chrono::milliseconds(10));
  CHECK(step(scheduler, 64, clock.now()).expired.empty());
  scheduler.pause(1);
  clock.advance(std::chrono::milliseconds(10));
  CHECK(step(scheduler, 64, clock.now()).expired == std::vector<SeqId>{1});
  CHECK_FALSE(scheduler.contains(1));
  CHECK(scheduler.phase(2) == SeqPhase::kDecode);
  clock.advance(std::chrono::milliseconds(10));
  CHECK(step(scheduler, 64, clock.now()).expired == std::vector<SeqId>{2});
  CHECK_FALSE(scheduler.has_work());
  CHECK_FALSE(scheduler.next_deadline());
}

namespace {

SeqRequest with_priority(SeqRequest request, Priority priority) {
  request.priority = priority;
  return request;
}

}  // namespace

TEST_CASE("who waits takes the place of what matters less, the latest of it first") {
  Scheduler scheduler(pages(100), {.max_sequences = 2});
  REQUIRE(scheduler.admit(with_priority(request(1, 10, 50), Priority::kLow)));
  REQUIRE(scheduler.admit(with_priority(request(2, 10, 50), Priority::kLow)));
  step(scheduler, 64);
  REQUIRE(scheduler.admit(request(3, 10, 2)));
  std::vector<SeqId> parked;
  const StepPlan plan = scheduler.plan({.rows = 64}, kStart, {.admitted = {}, .parked = [&](SeqId id) {
                                         CHECK(scheduler.pages(id).open);
                                         parked.push_back(id);
                                       }});
  scheduler.apply(plan);
  CHECK(parked == std::vector<SeqId>{2});
  CHECK(rows_of(plan).contains(1));
  CHECK(rows_of(plan).contains(3));
  CHECK(scheduler.phase(2) == SeqPhase::kWaiting);
  CHECK(scheduler.requests_ahead(2) == 0);
  scheduler.remove(3);
  for (int i = 0; i < 3 && scheduler.phase(2) == SeqPhase::kWaiting; ++i) step(scheduler, 64);
  CHECK(scheduler.phase(2) != SeqPhase::kWaiting);
}

TEST_CASE("equals never take each other's place") {
  Scheduler scheduler(pages(100), {.max_sequences = 1});
  REQUIRE(scheduler.admit(request(1, 10, 50)));
  step(scheduler, 64);
  REQUIRE(scheduler.admit(request(2, 10, 50)));
  CHECK(rows_of(step(scheduler, 64)).contains(1));
  CHECK(scheduler.phase(2) == SeqPhase::kWaiting);
  REQUIRE(scheduler.admit(with_priority(request(3, 10, 50), Priority::kLow)));
  CHECK(scheduler.requests_ahead(2) == 0);
  CHECK(scheduler.requests_ahead(3) == 1);
}

TEST_CASE("the prompt that matters more is computed first") {
  Scheduler scheduler(pages(100));
  REQUIRE(scheduler.admit(with_priority(request(1, 300, 5), Priority::kLow)));
  REQUIRE(scheduler.admit(with_priority(request(2, 100, 5), Priority::kHigh)));
  const auto rows = rows_of(step(scheduler, 64));
  CHECK(rows.at(2) == 64);
  CHECK_FALSE(rows.contains(1));
}
