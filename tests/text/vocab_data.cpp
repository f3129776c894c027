#include "tests/text/vocab_data.h"

#include <array>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

#include "core/base/bytes.h"
#include "tests/support/data.h"
#include "tests/text/sha256.h"

namespace kvasir::test {
namespace {

enum Type : uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64 };

class Reader {
 public:
  explicit Reader(const std::string& bytes) : in_(std::as_bytes(std::span(bytes.data(), bytes.size()))) {}
  template <class T>
  T take() {
    const auto value = in_.read<T>();
    if (!value) throw std::runtime_error("test GGUF ends early");
    return *value;
  }
  std::string take_string() {
    const auto bytes = in_.read_bytes(take<uint64_t>());
    if (!bytes) throw std::runtime_error("test GGUF ends early");
    return std::string(*bytes);
  }
  double take_number(uint32_t type) {
    switch (type) {
      case kU8:
        return take<uint8_t>();
      case kI8:
        return take<int8_t>();
      case kU16:
        return take<uint16_t>();
      case kI16:
        return take<int16_t>();
      case kU32:
        return take<uint32_t>();
      case kI32:
        return take<int32_t>();
      case kF32:
        return take<float>();
      case kBool:
        return take<uint8_t>();
      case kU64:
        return static_cast<double>(take<uint64_t>());
      case kI64:
        return static_cast<double>(take<int64_t>());
      case kF64:
        return take<double>();
      default:
        throw std::runtime_error("test GGUF: unknown type");
    }
  }

 private:
  ByteReader in_;
};

struct Value {
  std::string text;
  double number = 0;
  std::vector<std::string> texts;
  std::vector<double> numbers;
};

Value take_value(Reader& in, uint32_t type) {
  Value value;
  if (type == kString) {
    value.text = in.take_string();
  } else if (type == kArray) {
    const auto element = in.take<uint32_t>();
    const auto count = in.take<uint64_t>();
    for (uint64_t i = 0; i < count; ++i) {
      if (element == kString) {
        value.texts.push_back(in.take_string());
      } else {
        value.numbers.push_back(in.take_number(element));
      }
    }
  } else {
    value.number = in.take_number(type);
  }
  return value;
}

void assign(VocabularyData& data, const std::string& key, Value value) {
  const auto id = static_cast<int64_t>(value.number);
  const bool flag = value.number != 0;
  if (key == "model") data.model = value.text;
  if (key == "pre") data.pre = value.text;
  if (key == "tokens") data.tokens = std::move(value.texts);
  if (key == "merges") data.merges = std::move(value.texts);
  if (key == "scores") data.scores.assign(value.numbers.begin(), value.numbers.end());
  if (key == "token_type") data.kinds.assign(value.numbers.begin(), value.numbers.end());
  if (key == "bos_token_id") data.bos = id;
  if (key == "eos_token_id") data.eos = id;
  if (key == "unknown_token_id") data.unk = id;
  if (key == "padding_token_id") data.pad = id;
  if (key == "mask_token_id") data.mask = id;
  if (key == "add_bos_token") data.add_bos = flag;
  if (key == "add_eos_token") data.add_eos = flag;
  if (key == "add_space_prefix") data.add_space_prefix = flag;
}

}  // namespace

VocabularyData read_vocabulary(const std::filesystem::path& gguf) {
  const std::string bytes = read_file(gguf);
  Reader in(bytes);
  if (in.take<uint32_t>() != 0x46554747) throw std::runtime_error("not a GGUF file");
  in.take<uint32_t>();
  in.take<uint64_t>();
  VocabularyData data;
  const auto keys = in.take<uint64_t>();
  for (uint64_t i = 0; i < keys; ++i) {
    const std::string key = in.take_string();
    const auto type = in.take<uint32_t>();
    Value value = take_value(in, type);
    constexpr std::string_view kPrefix = "tokenizer.ggml.";
    if (key.starts_with(kPrefix)) assign(data, key.substr(kPrefix.size()), std::move(value));
  }
  return data;
}

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& gguf) {
  auto made = Tokenizer::create(read_vocabulary(gguf));
  if (!made) throw std::runtime_error(gguf.string() + ": " + made.error().message);
  return std::move(*made);
}

VocabularyData read_any_vocabulary(const std::filesystem::path& file) {
  VocabularyData data;
  if (file.extension() == ".gguf") return read_vocabulary(file);
  std::string bytes = file.extension() == ".gz" ? read_gzip(file) : read_file(file);
  (file.extension() == ".model" ? data.sentencepiece_model : data.tokenizer_json) = std::move(bytes);
  const auto config = file.parent_path() / "tokenizer_config.json";
  if (std::filesystem::exists(config)) data.tokenizer_config_json = read_file(config);
  return data;
}

std::vector<TokenCase> read_token_cases(const std::filesystem::path& jsonl) {
  std::vector<TokenCase> cases;
  std::istringstream lines(read_file(jsonl));
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) continue;
    const auto row = nlohmann::json::parse(line);
    TokenCase c;
    c.text = row.at("text").get<std::string>();
    c.ids = row.at("ids").get<std::vector<TokenId>>();
    c.special = row.value("special", false) || row.contains("messages");
    c.add_special = row.value("add_special_tokens", false);
    c.group = row.value("model", "");
    cases.push_back(std::move(c));
  }
  return cases;
}

std::vector<WordCase> read_word_cases(const std::filesystem::path& jsonl) {
  std::vector<WordCase> cases;
  std::istringstream lines(read_file(jsonl));
  for (std::string line; std::getline(lines, line);) {
    const auto row = nlohmann::json::parse(line);
    cases.push_back({row.at("pre"), row.at("text"), row.at("words")});
  }
  return cases;
}

std::string read_gzip(const std::filesystem::path& path) {
  FILE* pipe = popen(("gzip -dc '" + path.string() + "'").c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("cannot run gzip");
  std::string out;
  std::array<char, 65536> buffer{};
  for (size_t count; (count = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) out.append(buffer.data(), count);
  if (pclose(pipe) != 0) throw std::runtime_error("gzip failed on " + path.string());
  return out;
}

std::vector<TokenCase> read_inp_out(const std::filesystem::path& gguf) {
  const std::string separator = "\n__ggml_vocab_test__\n";
  const std::string input = read_file(gguf.string() + ".inp");
  std::istringstream output(read_file(gguf.string() + ".out"));
  std::vector<TokenCase> cases;
  for (size_t at = 0;;) {
    const size_t end = input.find(separator, at);
    if (end == std::string::npos) break;  // what follows the last separator is no case
    TokenCase c;
    c.text = input.substr(at, end - at);
    std::string line;
    if (!std::getline(output, line)) throw std::runtime_error("fewer outputs than inputs");
    std::istringstream ids(line);
    for (TokenId id = 0; ids >> id;) c.ids.push_back(id);
    cases.push_back(std::move(c));
    at = end + separator.size();
  }
  return cases;
}

std::string sha256_of_ids(const std::vector<TokenId>& ids) {
  return sha256_hex({reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(TokenId)});
}

std::string json_string_field(const std::filesystem::path& json, const std::string& field) {
  return nlohmann::json::parse(read_file(json)).at(field).get<std::string>();
}

}  // namespace kvasir::test
