// The lies that hostile_folder_test tells: what is changed in a good folder, and a part of the error that must follow.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace kvasir::test {

using Files = std::map<std::string, std::string>;

constexpr const char* kShard = "model-00001-of-00003.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

/// `text` with its first `from` replaced.
inline std::string with(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  if (at == std::string::npos) throw std::runtime_error("the good folder does not hold " + std::string(from));
  return text.replace(at, from.size(), to);
}

inline std::string repeat(std::string_view unit, size_t times) {
  std::string out;
  out.reserve(unit.size() * times);
  for (size_t i = 0; i < times; ++i) out += unit;
  return out;
}

/// A safetensors file with this header and the data of `original`.
inline std::string safetensors(const std::string& header, std::string_view data) {
  const auto length = static_cast<uint64_t>(header.size());
  std::string out(sizeof length, '\0');
  std::memcpy(out.data(), &length, sizeof length);
  return out + header + std::string(data);
}
inline uint64_t header_length(const std::string& file) {
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  return length;
}
/// Changes the header of a safetensors file, keeping its data.
inline void change_header(std::string& file, std::string_view from, std::string_view to) {
  const uint64_t length = header_length(file);
  file = safetensors(with(file.substr(8, length), from, to), std::string_view(file).substr(8 + length));
}
inline void set_length(std::string& file, uint64_t length) {
  std::memcpy(file.data(), &length, sizeof length);
}

struct Case {
  const char* name;
  std::function<void(Files&)> harm;
  const char* says;  ///< a part of the message
};

/// config.json with one field of another value.
inline Case config(const char* name, const char* from, const char* to, const char* says) {
  return {name, [=](Files& f) { f["config.json"] = with(f["config.json"], from, to); }, says};
}
inline Case tokenizer(const char* name, std::function<std::string(const std::string&)> make, const char* says) {
  return {name, [make = std::move(make)](Files& f) { f["tokenizer.json"] = make(f["tokenizer.json"]); }, says};
}
inline Case shard(const char* name, std::function<void(std::string&)> harm, const char* says) {
  return {name, [harm = std::move(harm)](Files& f) { harm(f[kShard]); }, says};
}
inline Case header(const char* name, const char* from, const char* to, const char* says) {
  return shard(name, [=](std::string& file) { change_header(file, from, to); }, says);
}
inline Case index_of(const char* name, const char* to, const char* says) {
  return {name, [=](Files& f) { f[kIndex] = with(f[kIndex], kShard, to); }, says};
}

/// A tokenizer.json with this model.
inline std::string tokenizer_of(const std::string& model) {
  return R"({"version": "1.0", "added_tokens": [], "model": )" + model + "}";
}
inline std::string tokenizer_with(const std::string& part) {
  return R"({"added_tokens": [], )" + part +
         R"(, "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2}, "merges": []}})";
}

inline std::vector<Case> safetensors_cases() {
  return {
      shard(
          "shorter than its length field", [](std::string& f) { f.resize(5); }, "shorter than 8 bytes"),
      shard(
          "empty", [](std::string& f) { f.clear(); }, "shorter than 8 bytes"),
      shard(
          "header of 2^64 - 1 bytes", [](std::string& f) { set_length(f, UINT64_MAX); }, "are allowed"),
      shard(
          "header of 2^63 bytes", [](std::string& f) { set_length(f, uint64_t{1} << 63); }, "are allowed"),
      shard(
          "header beyond the file", [](std::string& f) { set_length(f, f.size() - 7); }, "ends after the file"),
      shard(
          "header of nothing", [](std::string& f) { set_length(f, 0); }, "does not begin with '{'"),
      shard(
          "header that is an array", [](std::string& f) { f = safetensors("[]", ""); }, "does not begin with '{'"),
      shard(
          "header that is cut off", [](std::string& f) { set_length(f, header_length(f) / 2); }, "not JSON"),
      shard(
          "text after the header's end", [](std::string& f) { f = safetensors("{}x", ""); }, "not JSON"),
      shard(
          "a NUL in the header", [](std::string& f) { f = safetensors(std::string("{}\0", 3), ""); }, "NUL"),
      shard(
          "not UTF-8", [](std::string& f) { f = safetensors("{\"\xff\": 1}", ""); }, "not UTF-8"),
      shard(
          "100,000 levels", [](std::string& f) { f = safetensors(repeat("{\"a\":", 100'000), ""); }, "nested deeper"),
      shard(
          "a million values", [](std::string& f) { f = safetensors("{\"a\":[" + repeat("0,", 2'000'000) + "0]}", ""); },
          "JSON values"),
      shard(
          "the same tensor twice",
          [](std::string& f) { f = safetensors(R"({"a": {"dtype": "F32"}, "a": {"dtype": "F32"}})", ""); },
          "duplicate"),
      shard(
          "a tensor that is a number", [](std::string& f) { f = safetensors(R"({"a": 1})", ""); }, "tensor a"),
      shard(
          "metadata that is no text", [](std::string& f) { f = safetensors(R"({"__metadata__": {"a": 1}})", ""); },
          "other than strings"),
      shard(
          "data that ends early", [](std::string& f) { f.resize(f.size() - 1); }, "ends after the file"),
      shard(
          "bytes after the last tensor", [](std::string& f) { f += "tail"; }, "follow the last tensor"),
      shard(
          "an empty tensor that stands for its whole matrix",
          [](std::string& f) {
            f = safetensors(R"({"model.embed_tokens.weight": {"dtype": "BF16", "shape": [], "data_offsets": [0, 2]}})",
                            "ab");
          },
          "token_embd.weight"),
      header("an unknown dtype", "\"BF16\"", "\"Q8_0\"", "Q8_0"),
      header("a dtype that cannot be a weight", "\"BF16\"", "\"I16\"", "I16"),
      header("a dtype of another size", "\"BF16\"", "\"F32\"", "do not fit dtype and shape"),
      header("a dtype that is a number", "\"BF16\"", "16", "dtype"),
      header("a negative dimension", "\"shape\":[", "\"shape\":[-1,", "not an integer"),
      header("a dimension of 2^62", "\"shape\":[", "\"shape\":[4611686018427387904,", "not an integer"),
      header("dimensions whose product overflows", "\"shape\":[",
             "\"shape\":[2147483647,2147483647,2147483647,2147483647,", "overflow"),
      header("a dimension of 1.5", "\"shape\":[", "\"shape\":[1.5,", "not an integer"),
      header("nine dimensions", "\"shape\":[", "\"shape\":[1,1,1,1,1,1,1,1,", "8 dimensions"),
      header("a shape that is text", "\"shape\":[", "\"shape\":\"\",\"x\":[", "shape is not an array"),
      header("three offsets", "\"data_offsets\":[", "\"data_offsets\":[0,", "not a pair"),
      header("a negative offset", "\"data_offsets\":[0,", "\"data_offsets\":[-1,", "two integers in order"),
      header("an offset of 2^64", "\"data_offsets\":[0,", "\"data_offsets\":[18446744073709551616,",
             "two integers in order"),
      header("a tensor in the middle of another", "\"data_offsets\":[0,", "\"data_offsets\":[2,", "do not fit"),
  };
}

inline std::vector<Case> index_cases() {
  return {
      index_of("a shard that is not there", "absent.safetensors", "absent.safetensors is missing"),
      index_of("a path upwards", "../x.safetensors", "not the plain name"),
      index_of("an absolute path", "/etc/x.safetensors", "not the plain name"),
      index_of("a path with backslashes", "..\\\\x.safetensors", "not the plain name"),
      index_of("the folder itself", "..", "not the plain name"),
      index_of("a name with a NUL", "x\\u0000.safetensors", "x"),
      index_of("another file of the folder", "config.json", "not the plain name"),
      index_of("no name", "", "not the plain name"),
      {"an index without a map", [](Files& f) { f[kIndex] = "{}"; }, "weight_map is missing"},
      {"an index that is an array", [](Files& f) { f[kIndex] = "[]"; }, "weight_map is missing"},
      {"an index of nothing", [](Files& f) { f[kIndex] = R"({"weight_map": {}})"; }, "names no file"},
      {"a map of numbers", [](Files& f) { f[kIndex] = R"({"weight_map": {"a": 1}})"; }, "not the plain name"},
      {"an index that nests for ever", [](Files& f) { f[kIndex] = repeat("[", 1'000'000); }, "nested deeper"},
      {"no index and no weights", [](Files& f) { f.erase(kIndex); }, "holds neither"},
      {"a tensor in two shards", [](Files& f) { f["model-00002-of-00003.safetensors"] = f[kShard]; },
       "in another shard too"},
      {"a shard that is another's copy and no more", [](Files& f) { f.erase("model-00003-of-00003.safetensors"); },
       "missing"},
  };
}

inline std::vector<Case> config_cases() {
  return {
      {"empty", [](Files& f) { f["config.json"] = ""; }, "config.json"},
      {"not JSON", [](Files& f) { f["config.json"] = "model_type = llama"; }, "config.json: not JSON"},
      {"an array", [](Files& f) { f["config.json"] = "[]"; }, "model_type is missing"},
      {"nested for ever", [](Files& f) { f["config.json"] = repeat("{\"a\":", 1'000'000); }, "nested deeper"},
      {"a million values", [](Files& f) { f["config.json"] = "[" + repeat("0,", 1'000'000) + "0]"; }, "JSON values"},
      config("an unknown model_type", "\"llama\"", "\"what\"", "these are: llama"),
      config("NaN", "\"rms_norm_eps\": 0.001", "\"rms_norm_eps\": NaN", "not JSON"),
      config("a number beyond double", "\"rms_norm_eps\": 0.001", "\"rms_norm_eps\": 1e999", "config.json"),
      config("a negative epsilon", "\"rms_norm_eps\": 0.001", "\"rms_norm_eps\": -1", "layer_norm_rms_epsilon"),
      config("no width", "\"hidden_size\": 64", "\"hidden_size\": 0", "hidden_size"),
      config("a negative width", "\"hidden_size\": 64", "\"hidden_size\": -64", "hidden_size"),
      config("a width of text", "\"hidden_size\": 64", "\"hidden_size\": \"64\"", "hidden_size"),
      config("a huge width", "\"hidden_size\": 64", "\"hidden_size\": 4000000000", "hidden_size"),
      config("another width than the weights", "\"hidden_size\": 64", "\"hidden_size\": 128", "token_embd.weight"),
      config("no heads", "\"num_attention_heads\": 4", "\"num_attention_heads\": 0", "num_attention_heads"),
      config("too many heads", "\"num_attention_heads\": 4", "\"num_attention_heads\": 4294967295",
             "num_attention_heads"),
      config("no key heads", "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 0", "num_key_value_heads"),
      config("key heads that do not divide", "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3",
             "does not divide"),
      config("no layers", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 0", "num_hidden_layers"),
      config("2^32 - 1 layers", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 4294967295", "num_hidden_layers"),
      config("more layers than weights", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 300", "blk.2."),
      config("a huge head", "\"head_dim\": 16", "\"head_dim\": 4294967294", "head_dim"),
      config("an odd head", "\"head_dim\": 16", "\"head_dim\": 17", "odd"),
      config("no vocabulary", "\"vocab_size\": 320", "\"vocab_size\": 0", "vocab_size"),
      config("another vocabulary", "\"vocab_size\": 320", "\"vocab_size\": 321", "token_embd.weight"),
      config("a huge vocabulary", "\"vocab_size\": 320", "\"vocab_size\": 4294967295", "vocab_size"),
      config("a key twice", "\"vocab_size\": 320", "\"vocab_size\": 320, \"vocab_size\": 320", "duplicate key"),
      config("no context", "\"max_position_embeddings\": 256", "\"max_position_embeddings\": 0", "context_length"),
      config("a rotation base of 0", "\"rope_theta\": 10000.0", "\"rope_theta\": 0", "rope"),
      config("a negative rotation base", "\"rope_theta\": 10000.0", "\"rope_theta\": -5", "rope"),
      config("a rotation of 1e300 heads", "\"rope_theta\": 10000.0", "\"partial_rotary_factor\": 1e300",
             "rotated part"),
      config("a strange scaling", "\"rope_theta\": 10000.0", R"("rope_scaling": {"rope_type": "what", "factor": 2})",
             "what"),
      config("an endless llama3 scaling", "\"rope_theta\": 10000.0",
             R"("rope_scaling": {"rope_type": "llama3", "factor": 0}, "head_dim_": 4294967294)", "factor"),
      config("yarn of a negative context", "\"rope_theta\": 10000.0",
             R"("rope_scaling": {"rope_type": "yarn", "factor": 2, "original_max_position_embeddings": -1e300})",
             "original_max_position_embeddings"),
      config("longrope without factors", "\"rope_theta\": 10000.0", R"("rope_scaling": {"rope_type": "longrope"})",
             "long_factor"),
      config("longrope of too few factors", "\"rope_theta\": 10000.0",
             R"("rope_scaling": {"rope_type": "longrope", "long_factor": [1], "short_factor": [1]})",
             "rope_factors_long"),
      {"a generation_config that is no JSON", [](Files& f) { f["generation_config.json"] = "{"; },
       "generation_config.json"},
  };
}

inline std::vector<Case> tokenizer_cases() {
  const auto from_model = [](std::string model) { return [model](const std::string&) { return tokenizer_of(model); }; };
  const auto from_part = [](std::string part) { return [part](const std::string&) { return tokenizer_with(part); }; };
  return {
      tokenizer(
          "empty", [](const std::string&) { return std::string(); }, "tokenizer.json"),
      tokenizer(
          "cut off", [](const std::string& t) { return t.substr(0, t.size() / 2); }, "tokenizer.json"),
      tokenizer(
          "nested for ever", [](const std::string&) { return repeat("[", 1'000'000); }, "tokenizer.json"),
      tokenizer("a decoder nested for ever", from_part("\"decoder\": " + repeat("{\"a\":", 100'000)), "tokenizer.json"),
      tokenizer("a model without tokens", from_model(R"({"type": "BPE", "vocab": {}, "merges": []})"), "token"),
      tokenizer("a model of an unknown type", from_model(R"({"type": "What", "vocab": {"a": 0}})"), "What"),
      tokenizer("an id of 2^40", from_model(R"({"type": "BPE", "vocab": {"a": 1099511627776}, "merges": []})"),
                "tokenizer.json"),
      tokenizer("an id far away", from_model(R"({"type": "BPE", "vocab": {"a": 999999}, "merges": []})"), "999999"),
      tokenizer("a negative id", from_model(R"({"type": "BPE", "vocab": {"a": -1}, "merges": []})"), "tokenizer.json"),
      tokenizer("an id twice", from_model(R"({"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []})"), "twice"),
      tokenizer("a merge of absent tokens",
                from_model(R"({"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2}, "merges": ["a d"]})"), "merge"),
      tokenizer("a merge longer than any token",
                from_model(R"({"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2}, "merges": [")" +
                           repeat("a", 1'000'000) + " b\"]}"),
                "merge"),
      tokenizer("a merge without a result",
                from_model(R"({"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2}, "merges": ["a b"]})"), "merge"),
      tokenizer("a merge of one", from_model(R"({"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]})"), "merge"),
      tokenizer("a merge of numbers", from_model(R"({"type": "BPE", "vocab": {"a": 0}, "merges": [[1, 2]]})"),
                "tokenizer.json"),
      tokenizer("a token of a megabyte",
                from_model(R"({"type": "BPE", "vocab": {")" + repeat("a", 1'000'000) + "\": 0}, \"merges\": []}"),
                "token"),
      tokenizer("Unigram scores that are no numbers",
                from_model(R"({"type": "Unigram", "unk_id": 0, "vocab": [["a", "x"]]})"), "tokenizer.json"),
      tokenizer(
          "a pattern that backtracks for ever",
          from_part(R"("pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"})"),
          "(a+)+$"),
      tokenizer("a pattern of 100,000 brackets",
                from_part(R"("pre_tokenizer": {"type": "Split", "pattern": {"Regex": ")" + repeat("(", 100'000) +
                          R"("}, "behavior": "Isolated"})"),
                "expression"),
      tokenizer("a normalizer that replaces by a bomb",
                from_part(R"("normalizer": {"type": "Replace", "pattern": {"Regex": "(x+x+)+y"}, "content": ""})"),
                "eplace"),
      tokenizer("a million normalizers",
                from_part(R"("normalizer": {"type": "Sequence", "normalizers": [)" +
                          repeat(R"({"type": "NFC"},)", 300'000) + R"({"type": "NFC"}]})"),
                "tokenizer.json"),
      tokenizer(
          "an added token outside the vocabulary",
          [](const std::string& t) { return with(t, "\"id\": 5", "\"id\": 4000000"); }, "tokenizer.json"),
      {"no tokenizer", [](Files& f) { f.erase("tokenizer.json"); }, "neither tokenizer.json nor tokenizer.model"},
      {"a tokenizer.model of garbage",
       [](Files& f) {
         f.erase("tokenizer.json");
         f["tokenizer.model"] = repeat("\xff", 100);
       },
       "tokenizer.model"},
      {"a tokenizer.model with a piece as long as the file",
       [](Files& f) {
         f.erase("tokenizer.json");
         const std::string piece =
             "\x0a\x80\x80\x80\x04" + repeat("\xE2\x96\x81", (8U << 20) / 3 + 1).substr(0, 8U << 20) + "\x18\x04";
         f["tokenizer.model"] = "\x0a\x87\x80\x80\x04" + piece;
       },
       "token"},
      {"a tokenizer_config that is no JSON", [](Files& f) { f["tokenizer_config.json"] = "{\"a\":"; },
       "tokenizer_config.json"},
  };
}

}  // namespace kvasir::test
