// Whatever arrives, leaves, pauses or runs short of pages: the books stay right, and each sequence gets the tokens that
// it gets alone. Seeds are fixed; a failing one is printed.
#include <catch2/catch.hpp>

#include <random>

#include "tests/scheduler/engine_driver.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

struct Job {
  std::vector<TokenId> prompt;
  uint32_t new_tokens = 0;
  Priority priority = Priority::kNormal;
};

Job random_job(std::mt19937& random) {
  Job job;
  const size_t shared = random() % 3 * 50;  // common prefixes, so that pages are reused
  for (size_t i = 0; i < shared; ++i) job.prompt.push_back(static_cast<TokenId>(i % 200));
  const size_t own = 1 + random() % 120;
  for (size_t i = 0; i < own; ++i) job.prompt.push_back(static_cast<TokenId>(random() % 250));
  job.new_tokens = 1 + random() % 40;
  job.priority = static_cast<Priority>(random() % 3);
  return job;
}

std::vector<TokenId> alone(const FakeModelOptions& options, const Job& job) {
  EngineDriver driver(options, 8, {.max_sequences = 1});
  driver.admit(1, job.prompt, job.new_tokens);
  while (driver.finished.empty()) driver.step({.rows = 96}, {});
  return driver.output[1];
}

/// Now and then some of the right tokens, sometimes with a wrong one among them.
std::vector<TokenId> random_guesses(std::mt19937& random, const std::vector<TokenId>& expected, size_t done) {
  std::vector<TokenId> guesses;
  for (size_t i = random() % 8; i > 0 && done < expected.size(); --i) guesses.push_back(expected[done++]);
  if (!guesses.empty() && random() % 2 == 0) ++guesses[random() % guesses.size()];
  return guesses;
}

void run_randomly(const FakeModelOptions& options, uint32_t seed) {
  INFO("seed " << seed);
  std::mt19937 random(seed);
  ManualClock clock;
  EngineDriver driver(options, 14, {.max_sequences = 5, .min_chunk = 8});
  std::map<SeqId, Job> jobs;
  std::map<SeqId, std::vector<TokenId>> answers;  // of each alone
  driver.guesser = [&](SeqId id, const std::vector<TokenId>& output) {
    return random_guesses(random, answers.at(id), output.size());
  };
  SeqId next = 1;
  const auto some_id = [&] { return SeqId{1 + random() % next}; };
  for (int i = 0; i < 400; ++i) {
    switch (random() % 8) {
      case 0:
      case 1: {
        if (jobs.size() >= 40) break;
        Job job = random_job(random);
        std::optional<TimePoint> deadline;
        if (random() % 5 == 0) deadline = clock.now() + std::chrono::milliseconds(random() % 200);
        driver.admit(next, job.prompt, job.new_tokens, deadline, job.priority);
        answers.emplace(next, alone(options, job));
        jobs.emplace(next++, std::move(job));
        break;
      }
      case 2:
        if (random() % 4 == 0) driver.scheduler().remove(some_id());
        break;
      case 3: driver.scheduler().pause(some_id()); break;
      case 4: driver.scheduler().resume(some_id()); break;
      case 5: clock.advance(std::chrono::milliseconds(random() % 10)); break;
      default: driver.step({.rows = 1 + static_cast<uint32_t>(random() % 96)}, clock.now()); break;
    }
    REQUIRE(driver.scheduler().invariants_hold());
  }
  for (SeqId id = 1; id < next; ++id) driver.scheduler().resume(id);
  for (int i = 0; driver.scheduler().has_work(); ++i) {
    REQUIRE(i < 20'000);
    driver.step({.rows = 1 + static_cast<uint32_t>(random() % 96)}, clock.now());
  }
  REQUIRE(driver.scheduler().invariants_hold());
  size_t complete = 0;
  for (const auto& [id, job] : jobs) {
    const std::vector<TokenId>& expected = answers.at(id);
    const std::vector<TokenId>& got = driver.output[id];
    complete += driver.finished.contains(id) ? 1 : 0;
    REQUIRE(got.size() <= expected.size());
    REQUIRE(std::equal(got.begin(), got.end(), expected.begin()));
    if (driver.finished.contains(id)) REQUIRE(got.size() == expected.size());
  }
  CHECK(complete > jobs.size() / 3);
  CHECK(driver.scheduler().running() == 0);
  CHECK((driver.accepted > 0) == !options.recurrent);  // a state cannot be taken back
}

}  // namespace

TEST_CASE("random commands: books stay right and tokens are those of each sequence alone") {
  for (uint32_t seed = 1; seed <= 12; ++seed) run_randomly({}, seed);
}

TEST_CASE("random commands with windowed layers") {
  for (uint32_t seed = 100; seed <= 108; ++seed) run_randomly({.windows = {0, 70}}, seed);
  for (uint32_t seed = 110; seed <= 113; ++seed) run_randomly({.windows = {48}}, seed);
}

TEST_CASE("random commands with recurrent state") {
  for (uint32_t seed = 200; seed <= 206; ++seed) run_randomly({.windows = {0}, .recurrent = true}, seed);
}
