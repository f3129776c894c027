// A recorded conversation (tests/transcripts/*.jsonl) and how to play it. One JSON object per line:
//   {"reason": "...", "protocol": "mcp" | "jsonrpc"}   first line: why this conversation is kept
//   {"engine": {"token_ms": 10, "load_ms": 0, ...}}    how the fake engine behaves, before the first send
//   {"send": {...}} or {"send_text": "raw bytes"}      the client says
//   {"advance_ms": 500}                                time passes
//   {"disconnect": true}                               the client goes
//   {"expect": {...}}                                  the next message of the server
//   {"expect_none": true}                              the server has said nothing more
// In expectations the strings <any>, <string>, <int>, <number>, <object>, <array> match by type, "<contains>x" a string
// with x in it, and an object with "<more>": true may have further members.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "rpc/json.h"

namespace kvasir::test {

struct Transcript {
  std::string name, reason, protocol;
  std::vector<rpc::Json> lines;  ///< without the first
};

Transcript read_transcript(const std::filesystem::path& path);
/// Why `actual` is not as expected ("at result.content[0]: ..."), or nothing.
std::string mismatch(const rpc::Json& expected, const rpc::Json& actual, const std::string& path = "message");
/// Plays it; returns what went wrong with the line's number, or nothing. What the server said is added to `said`
/// together with the method and version it belongs to, for the schema check.
std::string play(const Transcript& transcript, std::vector<rpc::Json>& said);

}  // namespace kvasir::test
