#include "mcp/app/command_line.h"

#include <catch2/catch.hpp>

using namespace kvasir::app;

namespace {

const OptionSpec kLog{"log-level", OptionKind::kText, "LEVEL", "", "how much to say"};
const OptionSpec kPort{"port", OptionKind::kWhole, "N", "8080", "where"};
const OptionSpec kStop{"stop", OptionKind::kList, "TEXT", "", "ends"};
const OptionSpec kRaw{"raw", OptionKind::kSwitch, "", "", "as it is"};
const std::vector<CommandSpec> kCommands{
    {"serve", "serves", {&kPort}, "", false, false, "  kvasir serve"},
    {"run", "runs", {&kStop, &kRaw}, "PROMPT", false, true, ""},
    {"models info", "one file", {}, "FILE", false, false, ""},
    {"models ls", "all files", {}, "", false, false, ""},
    {"completion", "script", {}, "SHELL", true, false, ""},
};

auto parse(std::vector<std::string> words) {
  return parse_command_line(words, kCommands, {&kLog}, "9.9");
}

CommandLine parsed(std::vector<std::string> words) {
  auto result = parse(std::move(words));
  if (const auto* misuse = std::get_if<Misuse>(&result)) FAIL(misuse->message);
  REQUIRE(std::holds_alternative<CommandLine>(result));
  return std::get<CommandLine>(result);
}

std::string refused(std::vector<std::string> words) {
  auto result = parse(std::move(words));
  REQUIRE(std::holds_alternative<Misuse>(result));
  return std::get<Misuse>(result).message;
}

}  // namespace

TEST_CASE("common options are understood before and after the command") {
  for (const auto& words : {std::vector<std::string>{"--log-level", "debug", "serve", "--port", "1"},
                            std::vector<std::string>{"serve", "--port=1", "--log-level=debug"}}) {
    const CommandLine line = parsed(words);
    CHECK(line.command->name == "serve");
    CHECK(line.flags.at("log-level") == std::vector<std::string>{"debug"});
    CHECK(line.flags.at("port") == std::vector<std::string>{"1"});
  }
}

TEST_CASE("lists keep all values, other options the last, and what was not given is absent") {
  const CommandLine line = parsed({"run", "--stop", "a", "--raw", "--stop", "b", "hello", "world"});
  CHECK(line.flags.at("stop") == std::vector<std::string>{"a", "b"});
  CHECK(line.flags.at("raw") == std::vector<std::string>{"true"});
  CHECK(line.arguments == std::vector<std::string>{"hello", "world"});
  CHECK(line.flags.count("log-level") == 0);
  CHECK(parsed({"serve", "--port", "1", "--port", "2"}).flags.at("port") == std::vector<std::string>{"2"});
}

TEST_CASE("after -- a word that looks like a flag is text") {
  CHECK(parsed({"run", "--", "--stop", "it"}).arguments == std::vector<std::string>{"--stop", "it"});
}

TEST_CASE("commands of two words are told apart") {
  CHECK(parsed({"models", "info", "a.gguf"}).command->name == "models info");
  CHECK(parsed({"models", "info", "a.gguf"}).arguments == std::vector<std::string>{"a.gguf"});
  CHECK(parsed({"models", "ls"}).command->name == "models ls");
  CHECK(refused({"models"}).find("subcommand") != std::string::npos);
}

TEST_CASE("a misuse names what was wrong and what was probably meant") {
  CHECK(refused({"serv"}).find("did you mean 'serve'") != std::string::npos);
  CHECK(refused({"serve", "--prot", "1"}).find("did you mean --port") != std::string::npos);
  CHECK(refused({"zzzzz"}).find("did you mean") == std::string::npos);
  CHECK_FALSE(refused({"completion"}).empty());
  CHECK_FALSE(refused({"serve", "--port"}).empty());
  CHECK_FALSE(refused({"serve", "surplus"}).empty());
}

TEST_CASE("help and version are answers, not errors") {
  const auto help = parse({"--help"});
  REQUIRE(std::holds_alternative<HelpText>(help));
  CHECK(std::get<HelpText>(help).text.find("serve") != std::string::npos);
  const auto command_help = parse({"serve", "--help"});
  REQUIRE(std::holds_alternative<HelpText>(command_help));
  CHECK(std::get<HelpText>(command_help).text.find("--port") != std::string::npos);
  CHECK(std::get<HelpText>(command_help).text.find("Examples:") != std::string::npos);
  const auto version = parse({"--version"});
  REQUIRE(std::holds_alternative<HelpText>(version));
  CHECK(std::get<HelpText>(version).text == "kvasir 9.9\n");
  CHECK(std::holds_alternative<HelpText>(parse({})));
}

TEST_CASE("the nearest word is found, and none where all are far") {
  CHECK(nearest("modell", {"model", "serve", "mode"}) == "model");
  CHECK(nearest("x", {"serve"}).empty());
}
