// Which rows stay, and edits as text: what is read back is what was written, what does not fit is refused.
#include <catch2/catch.hpp>

#include <numeric>

#include "core/engine/context_edit.h"
#include "core/engine/kv_pages.h"
#include "core/engine/row_selection.h"

using namespace kvasir;

namespace {

RowChoice choice(KeepRule rule) {
  return {.rule = rule, .source_tokens = 200, .kept_tokens = 64, .pinned = 4, .recent = 20, .seed = 1};
}

}  // namespace

TEST_CASE("every rule keeps as many rows as asked, the pinned and the newest among them") {
  std::vector<std::vector<float>> masses(3, std::vector<float>(400, 0.0F));
  masses[1][100] = 3;    // first head
  masses[1][200 + 90] = 2;  // second head
  for (const KeepRule rule : {KeepRule::kAttention, KeepRule::kWindow, KeepRule::kRandom}) {
    const auto edit = choose_rows(choice(rule), masses);
    REQUIRE(edit);
    CHECK(check_edit(*edit, 200, 3));
    CHECK(edit->rows.size() == (rule == KeepRule::kAttention ? 3 : 1));
    for (size_t layer = 0; layer < 3; ++layer) {
      const auto rows = kept_rows(*edit, layer);
      CHECK(rows.size() == 64);
      CHECK(std::is_sorted(rows.begin(), rows.end()));
      CHECK(std::equal(rows.begin(), rows.begin() + 4, std::vector<uint32_t>{0, 1, 2, 3}.begin()));
      CHECK(rows[44] == 180);
    }
  }
  const auto rows = kept_rows(*choose_rows(choice(KeepRule::kAttention), masses), 1);
  for (const uint32_t row : {88U, 89U, 90U, 91U, 92U, 98U, 99U, 100U, 101U, 102U}) {
    CHECK(std::count(rows.begin(), rows.end(), row) == 1);  // a token stays with its neighbours
  }
  const auto window = kept_rows(*choose_rows(choice(KeepRule::kWindow), {}), 0);
  CHECK(window[4] == 140);
  RowChoice other = choice(KeepRule::kRandom);
  other.seed = 2;
  CHECK(kept_rows(*choose_rows(other, {}), 0) != kept_rows(*choose_rows(choice(KeepRule::kRandom), {}), 0));
}

TEST_CASE("an edit survives its text, and broken text is refused") {
  for (const KeepRule rule : {KeepRule::kWindow, KeepRule::kRandom}) {
    auto edit = choose_rows(choice(rule), {});
    REQUIRE(edit);
    edit->aged = rule == KeepRule::kRandom;
    edit->in_place = rule == KeepRule::kWindow;
    const std::string text = to_text(*edit);
    const auto read = edit_from_text(text);
    REQUIRE(read);
    CHECK(*read == *edit);
    for (size_t i = 0; i < text.size(); ++i) {
      const auto cut = edit_from_text(text.substr(0, i));
      CHECK((!cut || cut->rows.empty()));  // "edit1 200 64 0" alone keeps the first rows
      std::string broken = text;
      broken[i] = 'x';
      CHECK_FALSE(edit_from_text(broken));
    }
    CHECK_FALSE(edit_from_text(text + " 00"));
  }
  const ContextEdit all{.source_tokens = 128, .kept_tokens = 128, .rows = {}, .aged = true};
  CHECK(*edit_from_text(to_text(all)) == all);
}

TEST_CASE("stages must go on from each other") {
  std::vector<TokenId> tokens(200);
  std::iota(tokens.begin(), tokens.end(), 0);
  const auto edit = choose_rows(choice(KeepRule::kWindow), {});
  const std::vector<ContextStage> stages = {{tokens, *edit}};
  auto next = kept_tokens(*edit, tokens);
  next.push_back(7);
  CHECK(check_stages(stages, next, 1));
  CHECK(stages_identity(stages) != stages_identity({}));
  next[10] = 199;
  CHECK_FALSE(check_stages(stages, next, 1));
  CHECK_FALSE(check_stages(stages, std::span(next).first(60), 1));
}

TEST_CASE("rows that stay where they were remember it until they move together") {
  std::vector<ContextStage> stages;
  const auto add = [&](RowChoice rows, bool in_place) {
    auto edit = choose_rows(rows, {});
    REQUIRE(edit);
    edit->in_place = in_place;
    std::vector<TokenId> tokens(rows.source_tokens, 1);
    stages.push_back({tokens, *edit});
  };
  CHECK(position_shift(stages) == 0);
  CHECK(slot_positions(stages, 0, 3) == std::vector<uint32_t>{0, 1, 2});
  add({.source_tokens = 200, .kept_tokens = 64, .pinned = 4}, true);  // 0 to 3, 140 to 199
  CHECK(position_shift(stages) == 136);
  const auto once = slot_positions(stages, 0, 66);
  CHECK(once[3] == 3);
  CHECK(once[4] == 140);
  CHECK(once[63] == 199);
  CHECK(once[64] == 200);  // what follows goes on at the next position
  add({.source_tokens = 128, .kept_tokens = 64, .pinned = 4}, true);  // of the 128: the 64 above, and positions 200 to 263
  CHECK(position_shift(stages) == 136 + 64);
  const auto twice = slot_positions(stages, 0, 65);
  CHECK(twice[3] == 3);
  CHECK(twice[4] == 204);
  CHECK(twice[64] == 264);
  add({.rule = KeepRule::kAll, .source_tokens = 64, .kept_tokens = 64}, true);  // aged where they are
  CHECK(position_shift(stages) == 200);
  CHECK(slot_positions(stages, 0, 65) == twice);
  add({.source_tokens = 128, .kept_tokens = 64, .pinned = 4}, false);
  CHECK(position_shift(stages) == 0);
  CHECK(slot_positions(stages, 0, 65).back() == 64);
}

TEST_CASE("a base is one piece: shared, idle, gone when room is needed") {
  KvPages pages({.groups = {{.pages = 10, .window = 0}}, .state_slots = 0});
  const ChainHash root{1, 2};
  const auto entries = pages.add_base(root, 7 * kPageTokens, 3, nullptr);
  REQUIRE(entries);
  CHECK(entries->size() == 7);
  CHECK(pool_page((*entries)[6]) == pool_page((*entries)[0]) + 2);
  CHECK(pages.available(0) == 10);  // idle
  CHECK_FALSE(pages.add_base(root, kPageTokens, 1, nullptr));
  std::vector<TokenId> tokens(8 * kPageTokens, 5);
  PageTable a, b;
  a.root = b.root = root;
  a.base_tokens = b.base_tokens = 7 * kPageTokens;
  REQUIRE(pages.open(a, tokens, 9 * kPageTokens));
  CHECK(a.length == 7 * kPageTokens);
  REQUIRE(pages.open(b, tokens, 8 * kPageTokens));
  CHECK(pages.available(0) == 10 - 3 - 2 - 1);
  std::vector<PageCopy> copies;
  pages.extend(a, kPageTokens, copies);
  pages.commit(a, kPageTokens, tokens);
  const std::vector<const PageTable*> live = {&a, &b};
  CHECK(pages.consistent(live));
  CHECK(pages.cached_tokens(root, tokens, 7 * kPageTokens) == 8 * kPageTokens);
  pages.close(a);
  pages.close(b);
  CHECK(pages.consistent({}));
  CHECK(pages.available(0) == 10);
  PageTable big;
  big.root = {9, 9};
  REQUIRE(pages.open(big, std::vector<TokenId>(640, 1), 640));
  pages.extend(big, 640, copies);
  CHECK_FALSE(pages.has_base(root));
  REQUIRE_FALSE(pages.open(a, tokens, 8 * kPageTokens));
  const std::vector<const PageTable*> last = {&big};
  CHECK(pages.consistent(last));
  pages.close(big);
}
