#include "core/engine/reasoning_format.h"

#include <algorithm>

namespace kvasir {
namespace {

using Kind = ReasoningFormat::Kind;

const std::vector<ReasoningFormat>& tag_formats() {
  static const std::vector<ReasoningFormat> formats{
      {Kind::kTags, "<think>", "</think>"},
      {Kind::kTags, "[THINK]", "[/THINK]"},
      {Kind::kTags, "<seed:think>", "</seed:think>"},
      {Kind::kTags, "<|START_THINKING|>", "<|END_THINKING|>"},
      {Kind::kTags, "<|channel>", "<channel|>", "thought\n", {"<|tool_call>"}},  // Gemma 4
  };
  return formats;
}

bool is_harmony(const auto& knows) {
  return std::ranges::all_of(std::vector{"<|start|>", "<|channel|>", "<|message|>"}, knows);
}

/// Whether all bytes from `begin` on are the template's, `text` being all of it up to `end`.
bool trusted(const TrustedText& rendered, size_t begin, size_t end) {
  return std::ranges::none_of(rendered.runs(),
                              [&](const TrustRun& r) { return !r.trusted && r.begin < end && r.end > begin; });
}

}  // namespace

const std::vector<std::string>& harmony_markers() {
  static const std::vector<std::string> markers{"<|start|>", "<|channel|>", "<|constrain|>", "<|message|>",
                                                "<|end|>",   "<|return|>",  "<|call|>"};
  return markers;
}

std::optional<ReasoningFormat> find_reasoning_format(const Tokenizer& tokenizer, const ChatTemplate* chat_template) {
  const auto is_token = [&](std::string_view word) { return tokenizer.find(word).has_value(); };
  const auto is_said = [&](std::string_view word) { return chat_template != nullptr && chat_template->mentions(word); };
  if (is_harmony(is_token)) return ReasoningFormat{Kind::kHarmony, {}, {}};
  for (const auto& format : tag_formats()) {
    if (is_token(format.open) && is_token(format.close)) return format;
  }
  if (is_harmony(is_said)) return ReasoningFormat{Kind::kHarmony, {}, {}};
  for (const auto& format : tag_formats()) {
    if (is_said(format.close)) return format;
  }
  return std::nullopt;
}

std::string opened_by_prompt(const TrustedText& rendered, const ReasoningFormat& format) {
  std::string_view text = rendered.text();
  if (format.kind == Kind::kHarmony) {
    const size_t begin = text.rfind(harmony_markers().front());
    if (begin == std::string_view::npos || !trusted(rendered, begin, text.size())) return {};
    return std::string(text.substr(begin));
  }
  text = text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
  std::string_view opened = text;
  const std::string_view label(format.label.data(), format.label.find_last_not_of('\n') + 1);
  if (!label.empty() && opened.ends_with(label)) opened.remove_suffix(label.size());
  if (!opened.ends_with(format.open)) return {};
  const size_t begin = opened.size() - format.open.size();
  return trusted(rendered, begin, text.size()) ? std::string(rendered.text().substr(begin)) : std::string();
}

std::string end_of_thought(const ReasoningFormat& format) {
  if (format.kind == Kind::kTags) return format.close;
  return "<|end|><|start|>assistant<|channel|>final<|message|>";
}

}  // namespace kvasir
