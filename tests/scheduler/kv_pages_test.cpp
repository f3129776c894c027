#include "core/engine/kv_pages.h"

#include <catch2/catch.hpp>

#include <numeric>

using namespace kvasir;

namespace {

std::vector<TokenId> numbers(size_t count, TokenId from = 0) {
  std::vector<TokenId> out(count);
  std::iota(out.begin(), out.end(), from);
  return out;
}

/// Computes tokens [table.length, tokens.size()) in steps of `step`.
void compute(KvPages& kv, PageTable& table, const std::vector<TokenId>& tokens, uint32_t step = 64) {
  std::vector<PageCopy> copies;
  while (table.length < tokens.size()) {
    const uint32_t count = std::min<uint32_t>(step, static_cast<uint32_t>(tokens.size()) - table.length);
    kv.extend(table, count, copies);
    kv.commit(table, count, tokens);
  }
}

bool consistent(const KvPages& kv, std::vector<const PageTable*> live) { return kv.consistent(live); }

}  // namespace

TEST_CASE("a sequence is refused while its worst case is not free, and nothing changes") {
  KvPages kv({.groups = {{.pages = 4}}});
  PageTable a, b;
  const auto tokens = numbers(10);
  REQUIRE(kv.open(a, tokens, 3 * 64));
  CHECK(kv.available(0) == 1);
  CHECK_FALSE(kv.open(b, numbers(10, 500), 65));
  CHECK_FALSE(b.open);
  CHECK(consistent(kv, {&a}));
  kv.close(a);
  CHECK(kv.open(b, numbers(10, 500), 65));
  CHECK_FALSE(kv.can_ever_hold(4 * 64 + 1));
  kv.close(b);
  CHECK(kv.available(0) == 4);
}

TEST_CASE("full pages of one sequence serve the next with the same prefix, never its last token") {
  KvPages kv({.groups = {{.pages = 10}}});
  PageTable a, b, c;
  const auto tokens = numbers(64 * 3);
  REQUIRE(kv.open(a, tokens, 200));
  CHECK(a.reused == 0);
  compute(kv, a, tokens);
  REQUIRE(kv.open(b, tokens, 200));
  CHECK(b.reused == 128);  // the third page holds the last token
  CHECK(b.pages[0][0] == a.pages[0][0]);
  auto longer = tokens;
  longer.push_back(7);
  kv.close(a);
  REQUIRE(kv.open(c, longer, 200));
  CHECK(c.reused == 192);
  CHECK(consistent(kv, {&b, &c}));
  auto other = longer;
  other[70] = -1;
  PageTable d;
  REQUIRE(kv.open(d, other, 200));
  CHECK(d.reused == 64);
  for (PageTable* table : {&b, &c, &d}) kv.close(*table);
  CHECK(kv.available(0) == 10);
}

TEST_CASE("another chain root shares nothing") {
  KvPages kv({.groups = {{.pages = 10}}});
  PageTable a, b;
  const auto tokens = numbers(130);
  a.root = chain_root("one principal");
  b.root = chain_root("another");
  REQUIRE(kv.open(a, tokens, 130));
  compute(kv, a, tokens);
  REQUIRE(kv.open(b, tokens, 130));
  CHECK(b.reused == 0);
  compute(kv, b, tokens);
  CHECK(consistent(kv, {&a, &b}));
  kv.close(a);
  kv.close(b);
}

TEST_CASE("two that computed the same page at once keep one copy of it") {
  KvPages kv({.groups = {{.pages = 8}}});
  PageTable a, b;
  const auto tokens = numbers(65);
  REQUIRE(kv.open(a, tokens, 128));
  REQUIRE(kv.open(b, tokens, 128));
  compute(kv, a, tokens);
  compute(kv, b, tokens);
  CHECK(a.pages[0][0] == b.pages[0][0]);
  CHECK(a.pages[0][1] != b.pages[0][1]);
  CHECK(kv.index().size() == 1);
  CHECK(consistent(kv, {&a, &b}));
  kv.close(a);
  kv.close(b);
}

TEST_CASE("idle pages go when room is needed, least recently used first, ends before beginnings") {
  KvPages kv({.groups = {{.pages = 6}}});
  PageTable a, b, c;
  const auto old_tokens = numbers(64 * 3 + 1);
  const auto new_tokens = numbers(64 * 2 + 1, 1000);
  REQUIRE(kv.open(a, old_tokens, 64 * 3 + 1));
  compute(kv, a, old_tokens);
  kv.close(a);
  REQUIRE(kv.open(b, new_tokens, 64 * 2 + 1));
  compute(kv, b, new_tokens);
  kv.close(b);
  CHECK(kv.index().size() == 5);
  const auto third = numbers(64 * 3, 5000);
  REQUIRE(kv.open(c, third, 64 * 3));
  compute(kv, c, third);  // takes the one free page and two idle ones
  CHECK(consistent(kv, {&c}));
  kv.close(c);
  REQUIRE(kv.open(a, old_tokens, 64 * 3 + 1));
  CHECK(a.reused == 64);
  kv.close(a);
  REQUIRE(kv.open(b, new_tokens, 64 * 2 + 1));
  CHECK(b.reused == 128);
  kv.close(b);
}

TEST_CASE("a fork shares every page and copies the partial one when either side writes") {
  KvPages kv({.groups = {{.pages = 6}}});
  PageTable a, b;
  auto tokens = numbers(100);
  REQUIRE(kv.open(a, tokens, 128));
  compute(kv, a, tokens);
  REQUIRE(kv.fork(a, b, 128));
  CHECK(b.pages == a.pages);
  CHECK(consistent(kv, {&a, &b}));
  std::vector<PageCopy> copies;
  SECTION("the parent writes first") {
    kv.extend(a, 1, copies);
    REQUIRE(copies.size() == 1);
    CHECK(copies[0].from == b.pages[0][1]);
    CHECK(copies[0].to == a.pages[0][1]);
    kv.extend(b, 1, copies);
    CHECK(copies.size() == 1);  // the last holder writes in place
  }
  SECTION("the child writes first") {
    kv.extend(b, 1, copies);
    CHECK(copies.size() == 1);
    kv.extend(a, 1, copies);
    CHECK(copies.size() == 1);
  }
  SECTION("the parent goes") {
    kv.close(a);
    kv.extend(b, 1, copies);
    CHECK(copies.empty());
    CHECK(consistent(kv, {&b}));
  }
  if (a.open) CHECK(consistent(kv, {&a, &b}));
  kv.close(a);
  kv.close(b);
  CHECK(kv.available(0) == 6);
}

TEST_CASE("a windowed group frees what no later row looks at") {
  KvPages kv({.groups = {{.pages = 20}, {.pages = 5, .window = 100}}, .max_step_rows = 64});
  PageTable a;
  const auto tokens = numbers(1000);
  REQUIRE(kv.open(a, tokens, 1000));
  std::vector<PageCopy> copies;
  while (a.length < tokens.size()) {
    const uint32_t count = std::min(37U, 1000 - a.length);
    kv.extend(a, count, copies);
    const uint32_t first_needed = a.length < 99 ? 0 : a.length - 99;
    for (uint32_t slot = first_needed; slot < a.length + count; ++slot) REQUIRE(a.pages[1][slot / 64] != kNoPage);
    uint32_t held = 0;
    for (const PageId page : a.pages[1]) held += page != kNoPage;
    REQUIRE(held <= 4);
    kv.commit(a, count, tokens);
    REQUIRE(consistent(kv, {&a}));
  }
  kv.close(a);
  CHECK(kv.index().size() == 0);  // no reuse where part of the cache is gone
  CHECK(kv.available(1) == 5);
}

TEST_CASE("a fork with a window can always go on, on both sides") {
  KvPages kv({.groups = {{.pages = 20}, {.pages = 8, .window = 100}}, .max_step_rows = 64});
  PageTable a, b;
  const auto tokens = numbers(600);
  REQUIRE(kv.open(a, tokens, 600));
  std::vector<PageCopy> copies;
  kv.extend(a, 60, copies);
  kv.commit(a, 60, tokens);
  kv.extend(a, 50, copies);
  kv.commit(a, 50, tokens);
  REQUIRE(kv.fork(a, b, 600));
  for (PageTable* table : {&a, &b}) {
    while (table->length + 40 < 600) {
      kv.extend(*table, 40, copies);
      kv.commit(*table, 40, tokens);
      REQUIRE(consistent(kv, {&a, &b}));
    }
  }
  kv.close(a);
  kv.close(b);
  CHECK(kv.available(1) == 8);
}

TEST_CASE("recurrent state slots are handed out one per sequence") {
  KvPages kv({.groups = {{.pages = 10}}, .state_slots = 2});
  PageTable a, b, c;
  REQUIRE(kv.open(a, numbers(5), 5));
  REQUIRE(kv.open(b, numbers(5), 5));
  CHECK(a.state_slot != b.state_slot);
  CHECK_FALSE(kv.open(c, numbers(5), 5));
  kv.close(a);
  CHECK(kv.open(c, numbers(5), 5));
  CHECK(consistent(kv, {&b, &c}));
  kv.close(b);
  kv.close(c);
}
