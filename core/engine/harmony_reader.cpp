#include "core/engine/harmony_reader.h"

#include <algorithm>

namespace kvasir {
namespace {

constexpr size_t kLongestHeader = 512;  // longer ones are no headers, whatever their tokens
constexpr std::string_view kRecipient = "to=";

std::string_view trimmed_left(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
}

const std::string& name(HarmonyMarker marker) {
  return harmony_markers()[static_cast<size_t>(marker)];
}

bool all_are_tokens(const Tokenizer& tokenizer) {
  return std::ranges::all_of(harmony_markers(), [&](const auto& word) { return tokenizer.find(word).has_value(); });
}

/// The word behind <|channel|>.
std::string_view channel_of(std::string_view header) {
  const size_t at = header.find(name(HarmonyMarker::kChannel));
  if (at == std::string_view::npos) return {};
  const std::string_view rest = trimmed_left(header.substr(at + name(HarmonyMarker::kChannel).size()));
  return rest.substr(0, rest.find_first_of(" \t\r\n<"));
}

}  // namespace

HarmonyReader::HarmonyReader(const Tokenizer& tokenizer, std::string_view opened, bool controls)
    : scanner_(tokenizer, harmony_markers(), {.spelled = !all_are_tokens(tokenizer), .controls = controls}) {
  std::vector<Said> said_by_prompt;
  scanner_.push_text(opened, items_);
  items_.push_back({std::nullopt, scanner_.take_held()});
  take(said_by_prompt);
  given_ = header_.size();
  role_follows_ = false;
  left_out_ = false;
}

bool HarmonyReader::in_thought() const noexcept {
  return state_ == State::kBody && voice_ == Voice::kThought;
}

void HarmonyReader::push(TokenId token, std::vector<Said>& out) {
  scanner_.push(token, items_);
  take(out);
}

void HarmonyReader::take(std::vector<Said>& out) {
  for (const auto& item : items_) {
    if (item.marker) {
      on_marker(static_cast<HarmonyMarker>(*item.marker), out);
    } else if (!item.bytes.empty()) {
      on_text(item.bytes, out);
    }
  }
  items_.clear();
}

void HarmonyReader::finish(std::vector<Said>& out) {
  if (const std::string held = scanner_.take_held(); !held.empty()) on_text(held, out);
  // A header that breaks off says nothing; what only might have become one is text.
  if (state_ == State::kHeader && !role_follows_ && header_.find("<|", given_) == std::string::npos) {
    out.push_back({Voice::kAnswer, header_.substr(given_)});
  }
  header_.clear();
  given_ = 0;
}

void HarmonyReader::on_marker(HarmonyMarker marker, std::vector<Said>& out) {
  left_out_ = true;
  switch (marker) {
    case HarmonyMarker::kStart:
      return begin_header();
    case HarmonyMarker::kChannel:
      // A message that forgot its end, or its start.
      if (state_ != State::kHeader) begin_header();
      header_ += name(marker);
      return;
    case HarmonyMarker::kConstrain:
      if (state_ == State::kHeader) header_ += name(marker);
      return;
    case HarmonyMarker::kMessage:
      if (state_ != State::kBody) begin_body(out);
      return;
    case HarmonyMarker::kEnd:
    case HarmonyMarker::kReturn:
    case HarmonyMarker::kCall:
      if (in_thought()) out.push_back({Voice::kAnswer, {}});
      state_ = State::kBetween;
      header_.clear();
      given_ = 0;
      return;
  }
}

void HarmonyReader::on_text(const std::string& bytes, std::vector<Said>& out) {
  if (state_ == State::kBody) {
    out.push_back({voice_, bytes});
    return;
  }
  if (state_ == State::kBetween) {
    if (trimmed_left(bytes).empty()) return;
    begin_body(out);
    out.push_back({voice_, bytes});
    return;
  }
  header_ += bytes;
  if (may_be_header()) return;
  // A model that was made to answer plainly.
  const std::string text = header_.substr(given_);
  header_.clear();
  begin_body(out);
  out.push_back({voice_, text});
}

void HarmonyReader::begin_header() {
  state_ = State::kHeader;
  header_.clear();
  given_ = 0;
  role_follows_ = true;
}

bool HarmonyReader::may_be_header() const {
  if (header_.size() > given_ + kLongestHeader) return false;
  if (role_follows_ || header_.find("<|", given_) != std::string::npos) return true;
  const std::string_view rest = trimmed_left(std::string_view(header_).substr(given_));
  return rest.starts_with(kRecipient) || kRecipient.starts_with(rest);
}

void HarmonyReader::begin_body(std::vector<Said>& out) {
  const bool to_tool = header_.find(kRecipient) != std::string::npos;
  voice_ = channel_of(header_) == "analysis" && !to_tool ? Voice::kThought : Voice::kAnswer;
  if (voice_ == Voice::kAnswer) out.push_back({Voice::kNextMessage, {}});
  std::string said;
  if (to_tool) {
    std::string_view header = trimmed_left(header_);
    if (header.starts_with("assistant")) header = trimmed_left(header.substr(9));
    said = std::string(header) + name(HarmonyMarker::kMessage);
  }
  out.push_back({voice_, std::move(said)});
  state_ = State::kBody;
  header_.clear();
  given_ = 0;
  role_follows_ = false;
}

}  // namespace kvasir
