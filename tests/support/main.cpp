// Catch2's main, plus the bookkeeping of skipped cases: a case that reported a skip and asserted nothing did not pass.
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#include <cstdio>

#include "tests/support/data.h"

namespace {

/// Prints `SKIP-CASE <name>` for a case that only skipped; tests/run.py takes these from the passed ones.
struct SkipListener : Catch::TestEventListenerBase {
  using TestEventListenerBase::TestEventListenerBase;

  void testCaseStarting(const Catch::TestCaseInfo& info) override {
    TestEventListenerBase::testCaseStarting(info);
    skips_before_ = kvasir::test::skips_reported();
  }
  void testCaseEnded(const Catch::TestCaseStats& stats) override {
    TestEventListenerBase::testCaseEnded(stats);
    if (kvasir::test::skips_reported() > skips_before_ && stats.totals.assertions.total() == 0) {
      std::printf("\nSKIP-CASE %s\n", stats.testInfo.name.c_str());
      std::fflush(stdout);
    }
  }

 private:
  unsigned skips_before_ = 0;
};

}  // namespace

CATCH_REGISTER_LISTENER(SkipListener)
