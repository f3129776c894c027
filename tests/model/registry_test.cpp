// Choosing a backend: by name, automatically, and never silently another one.
#include "backends/registry.h"

#include <catch2/catch.hpp>

using namespace kvasir;

TEST_CASE("an unknown backend is refused with the known names", "[registry]") {
  const auto result = BackendRegistry::create().open("gpu", {});
  REQUIRE_FALSE(result);
  CHECK(result.error().code == Code::kInvalidArgument);
  for (const char* name : {"auto", "cpu", "cuda", "reference"})
    CHECK_THAT(result.error().message, Catch::Contains(name));
}

TEST_CASE("a backend that cannot run here is an error with its reason, never another backend", "[registry]") {
  const auto registry = BackendRegistry::create();
  for (const Probe& probe : registry.probes()) {
    CHECK_FALSE(probe.reason.empty());
    const auto opened = registry.open(probe.name, {});
    CAPTURE(probe.name);
    CHECK(opened.has_value() == probe.usable);
    if (opened) {
      CHECK((*opened)->info().name == probe.name);
    } else {
      CHECK(opened.error().code == Code::kUnavailable);
      CHECK_THAT(opened.error().message, Catch::Contains(probe.reason));
    }
  }
}

TEST_CASE("the automatic choice is the best usable backend and never the reference", "[registry]") {
  const auto registry = BackendRegistry::create();
  int best = 0;
  for (const Probe& probe : registry.probes()) {
    if (probe.usable && probe.name != "reference") best = std::max(best, probe.score);
  }
  const auto chosen = registry.select("auto");
  REQUIRE(chosen);
  CHECK(chosen->name != "reference");
  CHECK(chosen->score == best);
}
