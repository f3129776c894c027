#include "mcp/progress.h"

#include <catch2/catch.hpp>

using namespace kvasir;
using namespace kvasir::mcp;
using std::chrono::milliseconds;

namespace {
TimePoint at(int ms) {
  return TimePoint(milliseconds(1'000'000 + ms));
}
}  // namespace

TEST_CASE("the token is echoed with its type and the first progress comes at once") {
  ProgressMeter number(rpc::Json(0), true, 10), text(rpc::Json("0"), true, 10);
  const auto first = number.due(at(0), false);
  REQUIRE(first);
  CHECK((*first)["progressToken"].is_number());
  CHECK((*first)["progress"] == 0);
  CHECK((*text.due(at(0), false))["progressToken"].is_string());
  CHECK_FALSE(number.due(at(0), false));
}

TEST_CASE("progress strictly increases whatever the engine says") {
  ProgressMeter meter(rpc::Json(1), true, 100);
  double last = -1;
  int now = 0;
  const auto take = [&] {
    now += 5000;
    const auto params = meter.due(at(now), false);
    REQUIRE(params);
    const double value = (*params)["progress"].get<double>();
    CHECK(value > last);
    last = value;
  };
  take();
  meter.note(Progress{1, Phase::kQueued, 3, 0});
  take();
  meter.note(Progress{1, Phase::kLoading, 90, 100});
  take();
  meter.note(Progress{1, Phase::kLoading, 10, 100});
  take();
  meter.note(Progress{1, Phase::kPrefill, 64, 128});
  take();
  meter.note(Progress{1, Phase::kPrefill, 32, 128});
  take();
  meter.note(TextDelta{1, "a", 1});
  take();
  meter.note(TextDelta{1, "b", 1});
  take();
  take();
}

TEST_CASE("deltas joined are the text and no two notifications are closer than the pace") {
  ProgressMeter meter(rpc::Json(1), true, 1000);
  std::string text, joined;
  int sent = 0, last_sent = -1000;
  meter.due(at(0), false);
  for (int ms = 1; ms <= 1000; ++ms) {
    meter.note(TextDelta{1, "x" + std::to_string(ms), static_cast<uint64_t>(ms)});
    text += "x" + std::to_string(ms);
    if (const auto params = meter.due(at(ms), false)) {
      joined += (*params)["_meta"][kDeltaKey].get<std::string>();
      CHECK((*params)["message"] == (*params)["_meta"][kDeltaKey]);
      CHECK(ms - last_sent >= 100);
      last_sent = ms;
      ++sent;
    }
  }
  if (const auto params = meter.due(at(1001), true)) joined += (*params)["_meta"][kDeltaKey].get<std::string>();
  CHECK(joined == text);
  CHECK(sent >= 9);
  CHECK(sent <= 11);
  CHECK_FALSE(meter.due(at(1001), true));
}

TEST_CASE("the first words do not wait for the pace") {
  ProgressMeter meter(rpc::Json(1), true, 10);
  meter.due(at(0), false);
  meter.note(TextDelta{1, "a", 1});
  CHECK(meter.due(at(1), false));
  meter.note(TextDelta{1, "b", 2});
  CHECK_FALSE(meter.due(at(2), false));
  CHECK(meter.wait(at(2)) == milliseconds(99));
}

TEST_CASE("silence is broken within five seconds and carries no delta") {
  ProgressMeter meter(rpc::Json(1), true, 10);
  meter.due(at(0), false);
  meter.note(TextDelta{1, "a", 1});
  meter.due(at(10), false);
  CHECK(meter.wait(at(10)) <= milliseconds(5000));
  CHECK_FALSE(meter.due(at(1000), false));
  const auto beat = meter.due(at(5010), false);
  REQUIRE(beat);
  CHECK_FALSE(beat->contains("_meta"));
  CHECK_FALSE(beat->contains("message"));
}

TEST_CASE("total counts the prompt and the budget once both are known") {
  ProgressMeter meter(rpc::Json(1), true, 10);
  CHECK_FALSE(meter.due(at(0), false)->contains("total"));
  meter.note(Progress{1, Phase::kPrefill, 3, 30});
  CHECK((*meter.due(at(200), false))["total"] == 40);
}

TEST_CASE("versions before messages get none") {
  ProgressMeter meter(rpc::Json(1), false, 10);
  CHECK_FALSE(meter.due(at(0), false)->contains("message"));
  meter.note(TextDelta{1, "a", 1});
  const auto params = meter.due(at(200), false);
  CHECK_FALSE(params->contains("message"));
  CHECK((*params)["_meta"][kDeltaKey] == "a");
}
