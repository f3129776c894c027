// Plays every conversation of this folder. With KVASIR_WIRE_FILE set, what the server said is written there, one JSON
// object a line, for test_wire_schemas.py.
#include "tests/transcripts/transcript.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

using namespace kvasir;
using namespace kvasir::test;

namespace {

std::vector<std::filesystem::path> transcripts() {
  std::vector<std::filesystem::path> out;
  for (const auto& entry : std::filesystem::directory_iterator(KVASIR_TRANSCRIPTS))
    if (entry.path().extension() == ".jsonl") out.push_back(entry.path());
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

TEST_CASE("the server says what the transcripts say") {
  const auto paths = transcripts();
  REQUIRE(paths.size() >= 10);
  std::vector<rpc::Json> said;
  for (const auto& path : paths) {
    const Transcript transcript = read_transcript(path);
    INFO(transcript.name << ": " << transcript.reason);
    CHECK(play(transcript, said) == "");
  }
  if (const char* file = std::getenv("KVASIR_WIRE_FILE")) {
    std::ofstream out(file);
    for (const auto& entry : said) out << entry.dump() << "\n";
  }
}

TEST_CASE("the transcript player notices what is wrong") {
  const auto check = [](const char* expected, const char* actual) {
    return mismatch(rpc::Json::parse(expected), rpc::Json::parse(actual)).empty();
  };
  CHECK(check(R"({"a":"<int>"})", R"({"a":1})"));
  CHECK_FALSE(check(R"({"a":"<int>"})", R"({"a":1.0})"));
  CHECK_FALSE(check(R"({"a":1})", R"({"a":1.0})"));
  CHECK_FALSE(check(R"({"a":1})", R"({"a":1,"b":2})"));
  CHECK(check(R"({"a":1,"<more>":true})", R"({"a":1,"b":2})"));
  CHECK_FALSE(check(R"({"a":1,"b":2})", R"({"a":1})"));
  CHECK_FALSE(check(R"([1])", R"([1,2])"));
  CHECK_FALSE(check(R"({"t":"<contains>x"})", R"({"t":"abc"})"));
}
