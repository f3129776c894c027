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

#if defined(__SANITIZE_ADDRESS__)
#define KVASIR_LEAK_CHECK 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KVASIR_LEAK_CHECK 1
#endif
#endif
#ifdef KVASIR_LEAK_CHECK
// libomp keeps the team of a caller's thread that has ended (its roots are freed with the library, not with the thread).
// Declared by sanitizer/lsan_interface.h; found by name.
extern "C" __attribute__((visibility("default"))) const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libomp.so\n";
}
#endif
