#include "core/text/spaced_tokenizer.h"

#include "core/text/unicode.h"

namespace kvasir::text {
namespace {

/// Spaces trimmed at both ends and runs of them collapsed.
std::string collapse_spaces(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != ' ' || (!out.empty() && out.back() != ' ')) out.push_back(c);
  }
  if (out.ends_with(' ')) out.pop_back();
  return out;
}

std::string with_space(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 1);
  return std::move(out.append(1, ' ').append(text));
}

}  // namespace

Result<std::string_view> SpacedTokenizer::prepare(const Segment& segment, std::string& buffer) const {
  std::string_view text = KVASIR_TRY(normalise(normalizer_, segment, buffer));
  if (rules_.remove_extra_whitespaces) {
    buffer = collapse_spaces(text);
    text = buffer;
  }
  if (rules_.metaspace || rules_.prefix == PrefixSpace::kNever || !segment.prefix_space || text.empty()) return text;
  buffer = with_space(text);
  return std::string_view(buffer);
}

void SpacedTokenizer::encode_piece(const Segment& piece, Workspace& work, Encoded& out) const {
  if (!rules_.split_at_white_space) {
    encode_prefixed(piece, work, out);
    return;
  }
  const std::string_view text = piece.text;
  const char* const end = text.data() + text.size();
  const uint8_t* const table = CharTable::shared().basic_plane();
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    Unit unit = unit_at(text.data() + at, end, table);
    while (!unit.in(kWhiteSpace)) {
      at += unit.bytes;
      if (at == text.size()) break;
      unit = unit_at(text.data() + at, end, table);
    }
    if (at > begin) {
      encode_prefixed({text.substr(begin, at - begin), piece.first && begin == 0, piece.prefix_space || begin != 0},
                      work, out);
    }
    if (at < text.size()) at += unit.bytes;
  }
}

void SpacedTokenizer::encode_prefixed(const Segment& piece, Workspace& work, Encoded& out) const {
  const bool wanted =
      rules_.metaspace && piece.prefix_space &&
      (rules_.prefix == PrefixSpace::kEverySegment || (rules_.prefix == PrefixSpace::kFirstSegment && piece.first));
  work.last_unknown = false;
  if (!wanted || piece.text.starts_with(' ') || piece.text.starts_with(kSpaceMarker)) {
    encode_run(piece.text, work, out);
    return;
  }
  work.prefixed = with_space(piece.text);
  encode_run(work.prefixed, work, out);
}

}  // namespace kvasir::text
