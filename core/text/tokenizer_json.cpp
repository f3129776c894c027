#include "core/text/tokenizer_json.h"

#include <algorithm>
#include <utility>

#include "core/text/merge_table.h"
#include "core/text/token_table.h"

namespace kvasir::text {
namespace {

/// Reads the file's members in whatever order they come.
class FileReader {
 public:
  FileReader(std::string_view json, const TokenizerLimits& limits) : in_(json), limits_(limits) {}
  Result<TokenizerFile> read();

 private:
  void read_model();
  void read_vocabulary();
  void read_pieces();
  void read_merges();
  void read_added();
  std::optional<std::string_view> take_text();
  AddedToken take_added();
  Result<void> place_tokens();
  bool take_bool(bool usual);
  void refuse_affix(std::string_view key);
  void refuse(std::string what);

  JsonReader in_;
  const TokenizerLimits& limits_;
  TokenizerFile file_;
  HugeVector<std::pair<int64_t, std::string_view>> placed_;  ///< tokens of the model, as read
  std::string type_;
  std::string scratch_;
  std::string unsupported_;
};

void FileReader::refuse(std::string what) {
  if (unsupported_.empty()) unsupported_ = std::move(what);
}

/// A string that stays where it is: in the JSON text, or among the unescaped ones.
std::optional<std::string_view> FileReader::take_text() {
  const auto view = in_.take_view(scratch_);
  if (!view || view->data() != scratch_.data()) return view;
  return file_.unescaped.emplace_back(std::move(scratch_));
}

/// A missing value counts as null.
bool FileReader::take_bool(bool usual) {
  const JsonNode node = in_.take_tree();
  if (node.kind == JsonNode::Kind::kBool) return node.flag;
  if (node.kind != JsonNode::Kind::kNull) in_.fail("true or false was expected");
  return usual;
}

/// Puts the tokens at their ids. A hole is an empty text; memory stays in proportion to what was read.
Result<void> FileReader::place_tokens() {
  constexpr size_t kMaxHoles = 65'536;
  size_t size = 0;
  for (const auto& [id, token] : placed_) size = std::max(size, static_cast<size_t>(id) + 1);
  for (const AddedToken& token : file_.added) size = std::max(size, static_cast<size_t>(token.id) + 1);
  if (size > 2 * (placed_.size() + file_.added.size()) + kMaxHoles) {
    return Failure{Code::kCorrupt, "tokenizer.json names the id " + std::to_string(size - 1) + " but only " +
                                       std::to_string(placed_.size()) + " tokens; the file is damaged, fetch it again"};
  }
  file_.tokens.resize(size);
  file_.only_added.assign(size, true);
  const auto place = [&](int64_t id, std::string_view token) -> Result<void> {
    std::string& slot = file_.tokens[static_cast<size_t>(id)];
    if (token.empty())
      return Failure{Code::kCorrupt, "tokenizer.json: the token of id " + std::to_string(id) + " is empty"};
    if (!slot.empty() && slot != token) {
      return Failure{Code::kCorrupt, "tokenizer.json: the id " + std::to_string(id) + " is there twice, for " +
                                         quote_token(slot) + " and " + quote_token(token)};
    }
    if (slot.empty()) slot = token;
    return {};
  };
  for (const auto& [id, token] : placed_) {
    KVASIR_TRY(place(id, token));
    file_.only_added[static_cast<size_t>(id)] = false;
  }
  for (const AddedToken& token : file_.added) KVASIR_TRY(place(token.id, token.content));
  return {};
}

/// "vocab": {"token": id, ...}
void FileReader::read_vocabulary() {
  in_.enter_object();
  placed_.reserve(std::min(in_.bytes_left() / 32, limits_.max_tokens));
  while (in_.next_element()) {
    const auto token = take_text();
    if (!token || !in_.take_colon()) return;
    const auto id = in_.take_integer(0, static_cast<int64_t>(limits_.max_tokens) - 1);
    if (id) placed_.emplace_back(*id, *token);
  }
}

/// "vocab": [["piece", score], ...]
void FileReader::read_pieces() {
  in_.enter_array();
  while (in_.next_item()) {
    if (placed_.size() >= limits_.max_tokens) {
      in_.fail("more pieces than max_tokens = " + std::to_string(limits_.max_tokens));
    }
    in_.enter_array();
    const auto piece = in_.next_item() ? take_text() : std::nullopt;
    if (!piece || !in_.next_item()) in_.fail("a piece and its score were expected");
    const auto score = in_.take_number();
    if (in_.next_item()) in_.fail("a piece has more than a score");
    if (!score || !piece) return;
    placed_.emplace_back(static_cast<int64_t>(file_.scores.size()), *piece);
    file_.scores.push_back(*score);
  }
}

/// "merges": ["left right", ...] or [["left", "right"], ...]
void FileReader::read_merges() {
  in_.enter_array();
  file_.merges.reserve(std::min(in_.bytes_left() / sizeof(MergePair), MergeTable::kMaxMerges));
  while (in_.next_item()) {
    if (file_.merges.size() == MergeTable::kMaxMerges) {
      in_.fail("more than " + std::to_string(MergeTable::kMaxMerges) + " merges");
      return;
    }
    if (const auto pair = in_.take_plain_pair()) {
      file_.merges.push_back({pair->first, pair->second});
    } else if (in_.peek() == JsonReader::Kind::kArray) {
      in_.enter_array();
      const auto left = in_.next_item() ? take_text() : std::nullopt;
      const auto right = left && in_.next_item() ? take_text() : std::nullopt;
      if (!right || in_.next_item()) in_.fail("a merge of two tokens was expected");
      if (right) file_.merges.push_back({*left, *right});
    } else if (const auto merge = take_text()) {
      const size_t space = merge->find(' ');
      if (space == std::string_view::npos || merge->find(' ', space + 1) != std::string_view::npos) {
        in_.fail("the merge " + quote_token(*merge) + " is not two tokens with one space between");
        return;
      }
      file_.merges.push_back({merge->substr(0, space), merge->substr(space + 1)});
    }
  }
}

void FileReader::refuse_affix(std::string_view key) {
  const JsonNode node = in_.take_tree();
  if (node.kind == JsonNode::Kind::kString && !node.text.empty()) {
    refuse("tokenizer.json: model." + std::string(key) + " is not supported");
  }
}

void FileReader::read_model() {
  in_.enter_object();
  std::string key;
  while (in_.next_key(key)) {
    if (key == "type") {
      in_.take_string(type_);
    } else if (key == "vocab") {
      if (in_.peek() == JsonReader::Kind::kArray) {
        read_pieces();
      } else {
        read_vocabulary();
      }
    } else if (key == "merges") {
      read_merges();
    } else if (key == "unk_token") {
      file_.unknown = in_.take_tree().text;
    } else if (key == "unk_id") {
      const JsonNode node = in_.take_tree();
      if (node.kind == JsonNode::Kind::kNumber && node.number >= 0 &&
          node.number < static_cast<double>(limits_.max_tokens)) {
        file_.unknown_id = static_cast<int64_t>(node.number);
      }
    } else if (key == "fuse_unk") {
      file_.fuse_unknown = take_bool(false);
    } else if (key == "byte_fallback") {
      file_.byte_fallback = take_bool(false);
    } else if (key == "ignore_merges") {
      file_.ignore_merges = take_bool(false);
    } else if (key == "continuing_subword_prefix" || key == "end_of_word_suffix") {
      refuse_affix(key);
    } else {
      in_.skip();
    }
  }
  const bool pieces = !file_.scores.empty();
  if (type_.empty()) type_ = pieces ? "Unigram" : "BPE";  // files of old versions do not say
  if (type_ == "Unigram" && pieces) {
    file_.model = JsonModel::kUnigram;
  } else if (type_ != "BPE" || pieces) {
    refuse("tokenizer.json: a model of type " + quote_token(type_) + " is not supported; supported are: BPE, Unigram");
  }
}

AddedToken FileReader::take_added() {
  AddedToken token;
  in_.enter_object();
  std::string key;
  while (in_.next_key(key)) {
    if (key == "id") {
      token.id = in_.take_integer(0, static_cast<int64_t>(limits_.max_tokens) - 1).value_or(0);
    } else if (key == "content") {
      in_.take_string(token.content);
    } else if (key == "special") {
      token.special = take_bool(false);
    } else if (key == "lstrip") {
      token.lstrip = take_bool(false);
    } else if (key == "rstrip") {
      token.rstrip = take_bool(false);
    } else if (key == "normalized") {
      token.normalized = take_bool(false);
    } else if (key == "single_word") {
      token.single_word = take_bool(false);
    } else {
      in_.skip();
    }
  }
  return token;
}

void FileReader::read_added() {
  in_.enter_array();
  while (in_.next_item()) {
    if (file_.added.size() >= limits_.max_tokens)
      in_.fail("more added tokens than max_tokens = " + std::to_string(limits_.max_tokens));
    file_.added.push_back(take_added());
  }
}

Result<TokenizerFile> FileReader::read() {
  const auto optional_array = [this](auto read_it) {
    if (in_.peek() == JsonReader::Kind::kNull) {
      in_.skip();
    } else {
      read_it();
    }
  };
  in_.enter_object();
  std::string key;
  bool has_model = false;
  while (in_.next_key(key)) {
    if (key == "model") {
      if (std::exchange(has_model, true)) in_.fail("the key \"model\" is there twice");
      read_model();
    } else if (key == "added_tokens") {
      optional_array([this] { read_added(); });
    } else if (key == "normalizer") {
      file_.normalizer = in_.take_tree();
    } else if (key == "pre_tokenizer") {
      file_.pre_tokenizer = in_.take_tree();
    } else if (key == "post_processor") {
      file_.post_processor = in_.take_tree();
    } else if (key == "decoder") {
      file_.decoder = in_.take_tree();
    } else {
      in_.skip();
    }
  }
  if (auto done = in_.finish(); !done) return Failure{Code::kCorrupt, "tokenizer.json: " + done.error().message};
  if (!unsupported_.empty()) return Failure{Code::kUnsupported, unsupported_};
  if (!has_model || placed_.empty())
    return Failure{Code::kCorrupt, "tokenizer.json has no model with a vocabulary; fetch it again"};
  KVASIR_TRY(place_tokens());
  return std::move(file_);
}

/// "<s>", or {"content": "<s>", ...}
std::string token_content(const JsonNode& node) {
  return node.kind == JsonNode::Kind::kObject ? std::string(node.string("content")) : node.text;
}

}  // namespace

Result<TokenizerFile> read_tokenizer_file(std::string_view json, const TokenizerLimits& limits) {
  return FileReader(json, limits).read();
}

Result<TokenizerConfig> read_tokenizer_config(std::string_view json) {
  TokenizerConfig config;
  JsonReader in(json);
  in.enter_object();
  std::string key;
  const auto boolean = [&](std::optional<bool>& out) {
    const JsonNode node = in.take_tree();
    if (node.kind == JsonNode::Kind::kBool) out = node.flag;
  };
  while (in.next_key(key)) {
    if (key == "bos_token") {
      config.bos = token_content(in.take_tree());
    } else if (key == "eos_token") {
      config.eos = token_content(in.take_tree());
    } else if (key == "unk_token") {
      config.unknown = token_content(in.take_tree());
    } else if (key == "pad_token") {
      config.pad = token_content(in.take_tree());
    } else if (key == "tokenizer_class") {
      config.tokenizer_class = in.take_tree().text;
    } else if (key == "add_bos_token") {
      boolean(config.add_bos);
    } else if (key == "add_eos_token") {
      boolean(config.add_eos);
    } else {
      in.skip();
    }
  }
  if (auto done = in.finish(); !done) return Failure{Code::kCorrupt, "tokenizer_config.json: " + done.error().message};
  return config;
}

}  // namespace kvasir::text
