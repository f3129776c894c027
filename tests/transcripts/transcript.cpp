#include "tests/transcripts/transcript.h"

#include <map>
#include <memory>
#include <stdexcept>
#include <utility>

#include "mcp/era.h"
#include "mcp/host.h"
#include "tests/support/data.h"
#include "tests/support/fake_engine.h"
#include "tests/support/memory_server.h"

namespace kvasir::test {

using rpc::Json;

Transcript read_transcript(const std::filesystem::path& path) {
  Transcript out;
  out.name = path.stem().string();
  const std::string text = read_file(path);
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    if (!line.empty()) out.lines.push_back(Json::parse(line));
  }
  if (out.lines.empty() || !out.lines.front().contains("reason"))
    throw std::runtime_error(out.name + ": no reason on top");
  out.reason = out.lines.front()["reason"].get<std::string>();
  out.protocol = out.lines.front().value("protocol", "mcp");
  return out;
}

namespace {

bool placeholder_matches(const std::string& pattern, const Json& actual) {
  if (pattern == "<any>") return true;
  if (pattern == "<string>") return actual.is_string();
  if (pattern == "<int>") return actual.is_number_integer();
  if (pattern == "<number>") return actual.is_number();
  if (pattern == "<object>") return actual.is_object();
  if (pattern == "<array>") return actual.is_array();
  const std::string contains = "<contains>";
  if (pattern.starts_with(contains))
    return actual.is_string() && actual.get<std::string>().find(pattern.substr(contains.size())) != std::string::npos;
  return actual.is_string() && actual.get<std::string>() == pattern;
}

std::string object_mismatch(const Json& expected, const Json& actual, const std::string& path) {
  for (const auto& [key, value] : expected.items()) {
    if (key == "<more>") continue;
    if (!actual.contains(key)) return "at " + path + ": no " + key + " in " + actual.dump();
    if (auto wrong = mismatch(value, actual[key], path + "." + key); !wrong.empty()) return wrong;
  }
  if (expected.contains("<more>")) return "";
  for (const auto& [key, value] : actual.items())
    if (!expected.contains(key)) return "at " + path + ": unexpected " + key + ": " + value.dump();
  return "";
}

}  // namespace

std::string mismatch(const Json& expected, const Json& actual, const std::string& path) {
  const std::string what = "at " + path + ": expected " + expected.dump() + ", got " + actual.dump();
  if (expected.is_string()) return placeholder_matches(expected.get<std::string>(), actual) ? "" : what;
  if (expected.is_object()) return actual.is_object() ? object_mismatch(expected, actual, path) : what;
  if (expected.is_array()) {
    if (!actual.is_array() || actual.size() != expected.size()) return what;
    for (size_t i = 0; i < expected.size(); ++i)
      if (auto wrong = mismatch(expected[i], actual[i], path + "[" + std::to_string(i) + "]"); !wrong.empty())
        return wrong;
    return "";
  }
  // Types count: 1 is not 1.0, as ids and tokens are echoed.
  return expected.dump() == actual.dump() ? "" : what;
}

namespace {

class Player {
 public:
  explicit Player(const Transcript& transcript) : transcript_(transcript) {}

  std::string play(std::vector<Json>& said) {
    for (size_t i = 1; i < transcript_.lines.size(); ++i) {
      auto wrong = step(transcript_.lines[i]);
      record(said);
      if (!wrong.empty()) return transcript_.name + " line " + std::to_string(i + 1) + ": " + wrong;
    }
    if (connection_ && !connection_->sent.empty())
      return transcript_.name + ": at the end the server had also said " + connection_->sent.front();
    return "";
  }

 private:
  void open() {
    if (host_) return;
    auto engine = std::make_unique<FakeEngine>([this](auto delay, auto task) { server_.after(delay, std::move(task)); },
                                               options_);
    mcp::HostOptions host_options;
    host_options.clock = &server_.clock();
    host_options.default_engine.model = "fake";
    host_options.resolve_model = [](const std::string& name) -> Result<std::string> {
      if (name == "fake") return std::string("/models/fake.gguf");
      return Failure(Code::kNotFound, "no model named " + name);
    };
    host_ = std::make_unique<mcp::Host>(std::move(engine), host_options);
    host_->attach(server_);
    connection_ = server_.connect(transcript_.protocol == "mcp" ? host_->mcp_service() : host_->json_rpc_service());
  }

  void configure(const Json& settings) {
    if (host_) throw std::runtime_error("engine settings come before the first send");
    const auto ms = [&](const char* name, std::chrono::milliseconds& value) {
      if (settings.contains(name)) value = std::chrono::milliseconds(settings[name].get<int>());
    };
    ms("token_ms", options_.token_time);
    ms("load_ms", options_.load_time);
    ms("prefill_ms", options_.prefill_time);
    options_.max_pending = settings.value("max_pending", options_.max_pending);
    options_.max_running = settings.value("max_running", options_.max_running);
  }

  std::string step(const Json& line) {
    if (line.contains("engine")) return configure(line["engine"]), "";
    open();
    if (line.contains("send")) return send(line["send"].dump()), note(line["send"]), "";
    if (line.contains("send_text")) return send(line["send_text"].get<std::string>()), "";
    if (line.contains("advance_ms"))
      return server_.advance(std::chrono::milliseconds(line["advance_ms"].get<int>())), "";
    if (line.contains("disconnect")) return connection_->disconnect(), server_.settle(), "";
    if (line.contains("expect_none"))
      return connection_->sent.empty() ? "" : "the server said " + connection_->sent.front();
    if (!line.contains("expect")) return "unknown line " + line.dump();
    if (connection_->sent.empty()) return "the server said nothing, expected " + line["expect"].dump();
    const std::string text = std::move(connection_->sent.front());
    connection_->sent.pop_front();
    heard_.push_back(text);
    return mismatch(line["expect"], Json::parse(text));
  }

  void send(const std::string& text) {
    connection_->receive(text);
    server_.settle();
  }

  /// Remembers which method an id belongs to and which version speaks, for the schema check.
  void note(const Json& message) {
    if (!message.is_object() || !message.contains("method")) return;
    const std::string method = message["method"];
    std::string version = legacy_version_;
    if (message.contains("params") && message["params"].is_object()) {
      const Json& params = message["params"];
      if (params.contains("_meta") && params["_meta"].is_object() &&
          params["_meta"].contains("io.modelcontextprotocol/protocolVersion") &&
          (method != "initialize" || params["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"))
        version = "2026-07-28";
      if (method == "initialize" && version != "2026-07-28" && params.contains("protocolVersion") &&
          params["protocolVersion"].is_string())
        version = legacy_version_ = mcp::is_legacy_version(params["protocolVersion"].get<std::string>())
                                        ? params["protocolVersion"].get<std::string>()
                                        : "2025-11-25";
      if (params.contains("_meta") && params["_meta"].is_object() && params["_meta"].contains("progressToken"))
        versions_[params["_meta"]["progressToken"].dump()] = version;
    }
    if (!message.contains("id")) return;
    std::string tool;
    if (method == "tools/call" && message.contains("params")) tool = message["params"].value("name", "");
    requests_[message["id"].dump()] = {method, version, tool};
  }

  void record(std::vector<Json>& said) {
    for (const auto& text : std::exchange(heard_, {})) {
      const Json message = Json::parse(text);
      if (!message.is_object() || transcript_.protocol != "mcp") continue;
      Json entry{{"transcript", transcript_.name},
                 {"message", message},
                 {"version", legacy_version_},
                 {"method", ""},
                 {"tool", ""}};
      if (message.contains("id") && requests_.contains(message["id"].dump())) {
        const Asked& asked = requests_[message["id"].dump()];
        entry["method"] = asked.method;
        entry["version"] = asked.version;
        entry["tool"] = asked.tool;
      } else if (message.contains("params") && message["params"].contains("progressToken")) {
        entry["version"] = versions_[message["params"]["progressToken"].dump()];
      } else if (message.value("method", "") == "notifications/subscriptions/acknowledged") {
        entry["version"] = "2026-07-28";
      }
      said.push_back(std::move(entry));
    }
  }

  const Transcript& transcript_;
  FakeEngineOptions options_;
  MemoryServer server_;
  std::unique_ptr<mcp::Host> host_;
  std::unique_ptr<MemoryConnection> connection_;
  std::string legacy_version_ = "2025-11-25";
  struct Asked {
    std::string method, version, tool;
  };
  std::map<std::string, Asked> requests_;  // by the id's JSON text
  std::map<std::string, std::string> versions_;
  std::vector<std::string> heard_;
};

}  // namespace

std::string play(const Transcript& transcript, std::vector<Json>& said) {
  return Player(transcript).play(said);
}

}  // namespace kvasir::test
