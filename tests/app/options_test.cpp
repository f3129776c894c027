#include "mcp/app/options.h"

#include <catch2/catch.hpp>
#include <cstdlib>

#include "mcp/app/exit_codes.h"
#include "mcp/app/token_list.h"

using namespace kvasir;
using namespace kvasir::app;

namespace {
const OptionSpec kPort{"port", OptionKind::kWhole, "N", "8080", ""};
const OptionSpec kKvType{"kv-type", OptionKind::kText, "T", "f16", ""};
const OptionSpec kQuiet{"quiet", OptionKind::kSwitch, "", "", ""};
const OptionSpec kStop{"stop", OptionKind::kList, "TEXT", "", ""};
const std::vector<const OptionSpec*> kSpecs{&kPort, &kKvType, &kQuiet, &kStop};
}  // namespace

TEST_CASE("an option is taken from the flag, then the variable, then the file, then the default") {
  Options options;
  REQUIRE_FALSE(Options::resolve(kSpecs, {{"port", {"1"}}}, {{"port", {"2"}}, {"kv-type", {"f32"}}},
                                 {{"port", {"3"}}, {"kv-type", {"q8_0"}}, {"quiet", {"yes"}}}, options));
  CHECK(options.whole("port") == 1);
  CHECK(options.origin("port") == Origin::kFlag);
  CHECK(options.text("kv-type") == "f32");
  CHECK(options.origin("kv-type") == Origin::kEnvironment);
  CHECK(options.enabled("quiet"));
  CHECK(options.origin("quiet") == Origin::kFile);
  CHECK_FALSE(options.has("stop"));

  Options defaults;
  REQUIRE_FALSE(Options::resolve(kSpecs, {}, {}, {}, defaults));
  CHECK(defaults.whole("port") == 8080);
  CHECK(defaults.origin("port") == Origin::kDefault);
  CHECK_FALSE(defaults.enabled("quiet"));
}

TEST_CASE("a bad value is refused and named as the user wrote it") {
  Options options;
  auto bad = Options::resolve(kSpecs, {{"port", {"80x"}}}, {}, {}, options);
  REQUIRE(bad);
  CHECK(bad->from_flag);
  CHECK(bad->error.message == "--port: '80x' is not a whole number");
  bad = Options::resolve(kSpecs, {}, {{"port", {"-1"}}}, {}, options);
  REQUIRE(bad);
  CHECK_FALSE(bad->from_flag);
  CHECK(bad->error.message.find("KVASIR_PORT") == 0);
  bad = Options::resolve(kSpecs, {}, {}, {{"quiet", {"perhaps"}}}, options);
  REQUIRE(bad);
  CHECK(bad->error.message == "config key quiet: 'perhaps' is neither true nor false");
}

TEST_CASE("every option has a variable; an empty one counts as unset and a list is split at commas") {
  setenv("KVASIR_KV_TYPE", "q8_0", 1);
  setenv("KVASIR_PORT", "", 1);
  setenv("KVASIR_STOP", "a,b,,c", 1);
  const RawValues values = read_environment(kSpecs);
  unsetenv("KVASIR_KV_TYPE");
  unsetenv("KVASIR_PORT");
  unsetenv("KVASIR_STOP");
  CHECK(values.at("kv-type") == std::vector<std::string>{"q8_0"});
  CHECK(values.find("port") == values.end());
  CHECK(values.at("stop") == std::vector<std::string>{"a", "b", "", "c"});
}

TEST_CASE("numbers are taken whole or not at all") {
  CHECK(parse_whole("18446744073709551615") == UINT64_MAX);
  for (const char* text : {"", " 1", "1 ", "+1", "-0x1", "0x10", "1.5", "18446744073709551616", "1e3"}) {
    INFO(text);
    CHECK_FALSE(parse_whole(text));
  }
  CHECK(parse_decimal("0.25") == 0.25);
  CHECK(parse_decimal("-1e-2") == -0.01);
  for (const char* text : {"", "nan", "inf", "1,5", "1e999", "0.5x"}) {
    INFO(text);
    CHECK_FALSE(parse_decimal(text));
  }
}

TEST_CASE("token ids are read from the ways in which people write them") {
  CHECK(*parse_token_list("[1, 2,3]\n") == std::vector<TokenId>{1, 2, 3});
  CHECK(*parse_token_list(" 7\t8 ") == std::vector<TokenId>{7, 8});
  CHECK(parse_token_list("")->empty());
  CHECK_FALSE(parse_token_list("1 -2"));
  CHECK_FALSE(parse_token_list("2147483648"));
  CHECK_FALSE(parse_token_list("1 two"));
}

TEST_CASE("exit codes tell refused input from a missing part, a failure and an interrupt") {
  CHECK(exit_code(Code::kInvalidArgument) == 2);
  CHECK(exit_code(Code::kCorrupt) == 2);
  CHECK(exit_code(Code::kUnsupported) == 2);
  CHECK(exit_code(Code::kUnavailable) == 3);
  CHECK(exit_code(Code::kIo) == 1);
  CHECK(exit_code(Code::kConflict) == 75);
  CHECK(exit_code(Code::kCancelled) == 130);
}
