// kvasir install: plugs the server into a client, with absolute paths: clients start it with a bare environment and
// from any folder (protocol.md §12).
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "mcp/app/commands/commands.h"
#include "mcp/app/engine_options.h"
#include "mcp/app/input.h"
#include "mcp/app/model_choice.h"
#include "rpc/message.h"
#include "rpc/parse.h"

namespace kvasir::app {
namespace {

using rpc::Json;

const OptionSpec kClient{"client", OptionKind::kText, "NAME", "", "claude-desktop, claude-code, vscode, cursor, codex"};
const OptionSpec kWrite{"write", OptionKind::kSwitch, "", "",
                        "write it into the client's file (a copy of the old one is kept)"};

constexpr size_t kMaxConfigBytes = 4u << 20;

/// How one client wants to be told.
struct Client {
  std::string_view name;
  std::string_view file;  ///< below the home folder, or below the working folder if it starts with "./"
  std::string_view key;   ///< of the table of servers; empty: not a JSON file
  bool typed = false;     ///< entries carry "type": "stdio"
};
constexpr Client kClients[] = {{"claude-desktop", ".config/Claude/claude_desktop_config.json", "mcpServers"},
                               {"cursor", ".cursor/mcp.json", "mcpServers"},
                               {"vscode", "./.vscode/mcp.json", "servers", true},
                               {"claude-code", "", ""},
                               {"codex", ".codex/config.toml", ""}};

Result<const Client*> find_client(const std::string& name) {
  std::string known;
  for (const Client& client : kClients) {
    if (client.name == name) return &client;
    known += (known.empty() ? "" : ", ") + std::string(client.name);
  }
  return Failure{Code::kInvalidArgument,
                 "--client: " + (name.empty() ? "which one?" : "'" + name + "' is unknown;") + " known: " + known};
}

std::string quoted_for_shell(const std::string& word) {
  if (!word.empty() && word.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:") ==
                           std::string::npos)
    return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

/// An existing configuration with our entry put in; everything else in it stays.
Result<Json> merged(const std::string& path, const Client& client, const Json& entry) {
  Json root = Json::object();
  std::error_code ec;
  if (std::filesystem::exists(path, ec)) {
    rpc::Limits limits;
    limits.max_message_bytes = kMaxConfigBytes;
    const std::string text = KVASIR_TRY(read_text_file(path, kMaxConfigBytes));
    auto parsed = rpc::parse_json(text, limits);
    if (!parsed || !parsed->is_object()) {
      return Failure{Code::kInvalidArgument,
                     path + " is not plain JSON; put the entry in by hand (leave out --write to see it)"};
    }
    root = std::move(*parsed);
  }
  Json& servers = root[std::string(client.key)];
  if (!servers.is_object() && !servers.is_null())
    return Failure{Code::kInvalidArgument, path + ": " + std::string(client.key) + " is no object"};
  servers["kvasir"] = entry;
  return root;
}

Result<void> write_with_backup(const std::string& path, const std::string& text) {
  namespace fs = std::filesystem;
  std::error_code ec;
  fs::create_directories(fs::path(path).parent_path(), ec);
  if (fs::exists(path, ec)) fs::copy_file(path, path + ".before-kvasir", fs::copy_options::overwrite_existing, ec);
  if (ec) return Failure{Code::kIo, "cannot keep a copy of " + path + ": " + ec.message()};
  const std::string partial = path + ".kvasir-tmp";
  {
    std::ofstream out(partial, std::ios::trunc | std::ios::binary);
    out << text;
    if (!out.flush()) return Failure{Code::kIo, "cannot write " + partial};
  }
  fs::rename(partial, path, ec);
  if (ec) return Failure{Code::kIo, "cannot write " + path + ": " + ec.message()};
  return {};
}

Result<std::vector<std::string>> server_command(const Context& context) {
  std::vector<std::string> command{context.paths.program, "mcp", "--data-dir", context.paths.data_dir};
  if (context.options.has("model")) {
    command.insert(command.end(),
                   {"--model", KVASIR_TRY(resolve_model(context.options.text("model"), context.paths.models_dir))});
  }
  return command;
}

Result<void> run(Context& context) {
  const Client& client = *KVASIR_TRY(find_client(context.options.text("client")));
  const auto command = KVASIR_TRY(server_command(context));
  Json entry = Json::object();
  if (client.typed) entry["type"] = "stdio";
  entry["command"] = command.front();
  entry["args"] = std::vector<std::string>(command.begin() + 1, command.end());
  Console& console = *context.console;
  if (client.key.empty()) {
    if (context.options.enabled("write"))
      return Failure{Code::kUnsupported,
                     "--write: " + std::string(client.name) + " is told by typing the printed line"};
    std::string line =
        client.name == "codex" ? "codex mcp add kvasir --" : "claude mcp add --transport stdio kvasir --";
    for (const std::string& word : command) line += " " + quoted_for_shell(word);
    console.line(line);
    return {};
  }
  const std::string path = client.file.starts_with("./")
                               ? std::filesystem::absolute(client.file).lexically_normal().string()
                               : KVASIR_TRY(home_dir()) + "/" + std::string(client.file);
  if (!context.options.enabled("write")) {
    console.line(Json{{std::string(client.key), {{"kvasir", entry}}}}.dump(2));
    console.note("belongs in " + path + " (with --write it is put there)");
    return {};
  }
  const Json root = KVASIR_TRY(merged(path, client, entry));
  KVASIR_TRY(write_with_backup(path, root.dump(2) + "\n"));
  console.line("written to " + path + "; start " + std::string(client.name) + " anew");
  return {};
}

}  // namespace

Command install_command() {
  return {{"install",
           "plug the server into a client",
           {&kClient, &kWrite, &kModel},
           "",
           false,
           false,
           "  kvasir install --client claude-desktop --write\n  kvasir install --client vscode\n  kvasir install "
           "--client claude-code --model my.gguf"},
          run};
}

}  // namespace kvasir::app
