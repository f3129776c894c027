#include "core/engine/outbox.h"

#include <catch2/catch.hpp>

using namespace kvasir;

TEST_CASE("deltas of one generation join while nobody polls, and come before its result") {
  Outbox outbox;
  for (uint64_t i = 1; i <= 1000; ++i) {
    outbox.post(TextDelta{.id = 1, .text = "x", .tokens_so_far = i});
    outbox.post(TextDelta{.id = 2, .text = "y", .tokens_so_far = i});
  }
  GenerateResult result;
  result.id = 1;
  outbox.post(result);
  const auto first = outbox.poll();
  REQUIRE(first);
  CHECK(std::get<TextDelta>(*first).text == std::string(1000, 'x'));
  CHECK(std::get<TextDelta>(*first).tokens_so_far == 1000);
  CHECK(std::get<TextDelta>(*outbox.poll()).id == 2);
  CHECK(outbox.unpolled_finals() == 1);
  CHECK(std::holds_alternative<GenerateResult>(*outbox.poll()));
  CHECK_FALSE(outbox.poll());
  CHECK(outbox.unpolled_finals() == 0);
}

TEST_CASE("only the newest progress stays") {
  Outbox outbox;
  for (uint64_t i = 0; i < 10; ++i) outbox.post(Progress{.id = 1, .phase = Phase::kPrefill, .done = i, .total = 9});
  CHECK(std::get<Progress>(*outbox.poll()).done == 9);
  CHECK_FALSE(outbox.poll());
  outbox.post(Progress{.id = 1, .done = 1});
  CHECK(std::get<Progress>(*outbox.poll()).done == 1);
}

TEST_CASE("a delta after a polled one starts anew") {
  Outbox outbox;
  outbox.post(TextDelta{.id = 1, .text = "a"});
  CHECK(std::get<TextDelta>(*outbox.poll()).text == "a");
  outbox.post(TextDelta{.id = 1, .text = "b"});
  CHECK(std::get<TextDelta>(*outbox.poll()).text == "b");
}

TEST_CASE("the front is woken once until it has seen the box empty") {
  Outbox outbox;
  int wakes = 0;
  outbox.set_wake([&] { ++wakes; });
  outbox.post(Ready{.id = 1});
  outbox.post(Ready{.id = 2});
  CHECK(wakes == 1);
  outbox.poll();
  outbox.post(Ready{.id = 3});
  CHECK(wakes == 1);  // the front is still polling
  while (outbox.poll()) {
  }
  outbox.post(Ready{.id = 4});
  CHECK(wakes == 2);
  outbox.close();
  outbox.post(Ready{.id = 5});
  CHECK(wakes == 2);
  CHECK(event_id(*outbox.poll()) == 4);
  CHECK_FALSE(outbox.poll());
}

TEST_CASE("only the newest report of an answer stays, and comes before its end") {
  Outbox outbox;
  for (uint64_t i = 1; i <= 5; ++i) {
    PartialResult partial{.id = 1, .so_far = {}};
    partial.so_far.tokens_in_context = i;
    outbox.post(partial);
    outbox.post(PartialResult{.id = 2, .so_far = {}});
  }
  outbox.post(Ready{.id = 1});
  CHECK(outbox.unpolled_finals() == 1);
  CHECK(std::get<PartialResult>(*outbox.poll()).so_far.tokens_in_context == 5);
  CHECK(std::get<PartialResult>(*outbox.poll()).id == 2);
  CHECK(std::holds_alternative<Ready>(*outbox.poll()));
  CHECK_FALSE(outbox.poll());
}
