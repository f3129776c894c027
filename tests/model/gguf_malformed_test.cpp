// Hostile and odd GGUF files: each must end as its list says, soon and with a clear error (reliability.md D, G and V).
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "backends/registry.h"
#include "core/model/model.h"
#include "tests/model/temporary_folder.h"
#include "tests/support/data.h"

using namespace kvasir;
using namespace kvasir::test;
namespace fs = std::filesystem;

namespace {

/// Describes, loads, and computes one token; the first error on the way.
Result<void> use(const std::string& path) {
  KVASIR_TRY(describe_model(path));
  const auto backend = make_reference_backend({});
  const auto model = KVASIR_TRY(Model::load(path, *backend, {}));
  const auto pool = KVASIR_TRY(backend->create_kv_pool(model->kv_spec(KvType::kF16, 1, 1, 8)));
  const auto stream = KVASIR_TRY(backend->open_stream({}));
  StepLayout layout;
  layout.rows = 1;
  SequenceRows rows;
  rows.n_rows = 1;
  rows.pages.assign(pool->spec().group_pages.size(), {0});
  layout.sequences.push_back(rows);
  const TokenId token = 1;
  const uint32_t wanted = 0;
  std::vector<float> logits(model->description().vocab_size);
  return model->forward(*stream, *pool, layout, {&token, 1}, {&wanted, 1}, logits);
}

/// The smallest header with the given bytes after it.
std::string gguf(uint64_t tensors, uint64_t keys, std::string_view rest = {}) {
  std::string out = "GGUF";
  const auto number = [&](auto value) { out.append(reinterpret_cast<const char*>(&value), sizeof value); };
  number(uint32_t{3});
  number(tensors);
  number(keys);
  return out + std::string(rest);
}

std::string key(std::string_view name, uint32_t type, std::string_view bytes) {
  std::string out;
  const auto length = static_cast<uint64_t>(name.size());
  out.append(reinterpret_cast<const char*>(&length), sizeof length);
  out.append(name);
  out.append(reinterpret_cast<const char*>(&type), sizeof type);
  return out + std::string(bytes);
}

Error error_of(const TemporaryFolder& folder, const std::string& bytes) {
  const auto path = folder.path() / "x.gguf";
  std::ofstream(path, std::ios::binary) << bytes;
  const auto result = describe_model(path.string());
  REQUIRE_FALSE(result);
  return result.error();
}

bool mentions(const Error& error, std::string_view text) {
  return error.message.find(text) != std::string::npos;
}

}  // namespace

TEST_CASE("every file of the malformed set ends as its list says", "[gguf]") {
  const auto archive = KVASIR_NEEDS(shared_data("gguf-malformed.tar.xz"));
  const auto list = KVASIR_NEEDS(shared_data("gguf-malformed.json"));
  const TemporaryFolder folder;
  const std::string command = "tar -xJf '" + archive.string() + "' -C '" + folder.path().string() + "'";
  REQUIRE(std::system(command.c_str()) == 0);
  const auto rows = nlohmann::json::parse(read_file(list));
  REQUIRE(rows.size() > 100);
  for (const auto& row : rows) {
    const auto file = row["file"].get<std::string>();
    const auto expect = row["expect"].get<std::string>();
    const auto begin = std::chrono::steady_clock::now();
    const auto result = use((folder.path() / file).string());
    const auto took = std::chrono::steady_clock::now() - begin;
    INFO(file << ": " << row["why"].get<std::string>() << "\n  -> " << (result ? "loaded" : result.error().message));
    CHECK(took < std::chrono::seconds(2));
    if (expect == "load") CHECK(result.has_value());
    if (expect == "reject") CHECK_FALSE(result.has_value());
    if (!result) {
      CHECK(result.error().code != Code::kInternal);
      CHECK(mentions(result.error(), ".gguf: "));  // says which file
      CHECK(result.error().message.size() > file.size() + 20);
    }
  }
}

TEST_CASE("paths that are no regular file are refused at once and say what they are", "[gguf]") {
  const TemporaryFolder folder;
  const auto refused = [](const std::string& path) {
    const auto result = describe_model(path);
    REQUIRE_FALSE(result);
    return result.error();
  };
  CHECK(mentions(refused(folder.path().string()), "a directory"));
  CHECK(mentions(refused("/dev/zero"), "a device"));
  const auto pipe = (folder.path() / "pipe").string();
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(mentions(refused(pipe), "a pipe"));
  CHECK(refused((folder.path() / "absent.gguf").string()).code == Code::kNotFound);
  const auto sparse = folder.path() / "sparse.gguf";
  std::ofstream(sparse, std::ios::binary).close();
  REQUIRE(::truncate(sparse.c_str(), off_t{1} << 40) == 0);
  CHECK(refused(sparse.string()).code == Code::kUnsupported);
  if (::geteuid() != 0) {
    const auto secret = folder.path() / "secret.gguf";
    std::ofstream(secret) << "GGUF";
    fs::permissions(secret, fs::perms::none);
    CHECK(refused(secret.string()).code == Code::kIo);
  }
}

TEST_CASE("lengths and counts are checked against the file before anything is allocated", "[gguf]") {
  const TemporaryFolder folder;
  const std::string huge(8, '\xff');
  CHECK(error_of(folder, gguf(UINT64_MAX, 0)).code == Code::kTooLarge);
  CHECK(error_of(folder, gguf(0, 500'000'000)).code == Code::kTooLarge);
  CHECK(mentions(error_of(folder, gguf(0, 1, huge)), "metadata key"));
  CHECK(mentions(error_of(folder, gguf(0, 1, key("a", 8, huge))), "past the end"));
  CHECK(mentions(error_of(folder, gguf(0, 1, key("a", 9, std::string("\x0a\0\0\0", 4) + huge))), "past the end"));
  CHECK(mentions(error_of(folder, gguf(0, 1, key("a", 9, std::string("\x09\0\0\0\x01\0\0\0\0\0\0\0", 12)))),
                 "not allowed"));
  CHECK(mentions(error_of(folder, gguf(0, 1, key("a", 13, "12345678"))), "type 13"));
  CHECK(mentions(error_of(folder, gguf(0, 1, key(std::string("a\0b", 3), 0, "1"))), "no text"));
  CHECK(mentions(error_of(folder, gguf(0, 1, key("\xff", 0, "1"))), "no text"));
  CHECK(mentions(error_of(folder, gguf(0, 2, key("a", 0, "1") + key("a", 0, "1"))), "twice"));
  CHECK(mentions(error_of(folder, gguf(0, 1, key("a", 7, "\x02"))), "bool"));
  CHECK(mentions(error_of(folder, gguf(0, 1, key("general.alignment", 5, std::string("\x20\0\0\0", 4)))), "u32"));
}

TEST_CASE("an unsupported architecture is refused by name, with the list of those that work", "[gguf]") {
  const TemporaryFolder folder;
  const std::string name("\x04\0\0\0\0\0\0\0what", 12);
  const Error error = error_of(folder, gguf(0, 1, key("general.architecture", 8, name)));
  CHECK(error.code == Code::kUnsupported);
  CHECK(mentions(error, "\"what\""));
  CHECK(mentions(error, "llama"));
}

TEST_CASE("65,536 useless keys cost linear time", "[gguf]") {
  const TemporaryFolder folder;
  std::string keys;
  for (int i = 0; i < 65'536; ++i) keys += key("useless.key." + std::to_string(i) + std::string(220, 'x'), 0, "1");
  const std::clock_t begin = std::clock();  // of this process: neighbours do not count
  const Error error = error_of(folder, gguf(0, 65'536, keys));
  CHECK(mentions(error, "general.architecture"));
  CHECK(std::clock() - begin < 20 * CLOCKS_PER_SEC);  // 0.1 s, under sanitizers 3 s; a scan per key: minutes
}
