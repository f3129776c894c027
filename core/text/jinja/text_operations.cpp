// Text operations that filters and methods share. Each keeps the trust of every byte it copies.
#include <algorithm>
#include <string>

#include "core/text/jinja/library.h"
#include "core/text/jinja/operators.h"
#include "core/text/jinja/printing.h"
#include "core/text/jinja/unicode.h"

namespace kvasir::jinja {
namespace {

/// The characters after which Jinja's title filter begins a new word.
bool separates_words(char32_t c) {
  return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || is_space(c);
}

/// A sigma at the end of a word has its own small form.
bool is_final_sigma(std::string_view text, size_t begin, size_t end) {
  if (begin == 0) return false;
  size_t before = previous_offset(text, begin);
  if (!is_alpha(next_code_point(text, before))) return false;
  return end >= text.size() || !is_alpha(next_code_point(text, end));
}

void append_cased(std::string& out, std::string_view text, size_t begin, size_t end, Case to, bool word_begins) {
  size_t offset = begin;
  const char32_t c = next_code_point(text, offset);
  const auto lower = [&] {
    if (c == 0x3A3 && is_final_sigma(text, begin, end)) {
      append_utf8(out, 0x3C2);
    } else {
      append_lower(out, c);
    }
  };
  switch (to) {
    case Case::kUpper:
      append_upper(out, c);
      break;
    case Case::kLower:
      lower();
      break;
    case Case::kCapitalize:
      word_begins ? append_title(out, c) : lower();
      break;
    case Case::kTitle:
      word_begins ? append_upper(out, c) : lower();
      break;
    case Case::kSwap:
      is_upper(c) ? lower() : append_upper(out, c);
      break;
  }
}

}  // namespace

Result<Value> change_case(Interpreter& interpreter, const Text& text, Case to) {
  const auto bytes = text.view();
  KVASIR_TRY(interpreter.budget().spend_bytes(text.weight()));
  Text out;
  std::string mapped;
  bool word_begins = true;
  for (size_t i = 0; i < bytes.size();) {
    size_t end = i;
    const char32_t c = next_code_point(bytes, end);
    mapped.clear();
    append_cased(mapped, bytes, i, end, to, word_begins);
    out.append(mapped, text.trusted_at(i));
    word_begins = to == Case::kTitle && separates_words(c);
    i = end;
  }
  return interpreter.make_string(std::move(out));
}

Result<Value> strip_text(Interpreter& interpreter, const Text& text, const Text* characters, Side side) {
  const auto bytes = text.view();
  const auto strips = [&](size_t begin, size_t end) {
    if (characters != nullptr)
      return characters->view().find(bytes.substr(begin, end - begin)) != std::string_view::npos;
    size_t offset = begin;
    return is_space(next_code_point(bytes, offset));
  };
  if (characters != nullptr) KVASIR_TRY(interpreter.budget().spend(characters->size() / 16));
  size_t begin = 0;
  size_t end = bytes.size();
  while (side != Side::kRight && begin < end) {
    const size_t next = std::min(begin + utf8_length(bytes[begin]), end);
    if (!strips(begin, next)) break;
    if (characters != nullptr) KVASIR_TRY(interpreter.budget().spend(characters->size() / 64));
    begin = next;
  }
  while (side != Side::kLeft && end > begin) {
    const size_t previous = previous_offset(bytes, end);
    if (!strips(previous, end)) break;
    if (characters != nullptr) KVASIR_TRY(interpreter.budget().spend(characters->size() / 64));
    end = previous;
  }
  return interpreter.make_string(text.slice(begin, end));
}

Result<Value> replace_text(Interpreter& interpreter, const Text& text, const Text& from, const Text& to,
                           int64_t count) {
  const auto bytes = text.view();
  TextBuilder out(interpreter.budget());
  size_t copied = 0;
  size_t search = 0;
  KVASIR_TRY(interpreter.budget().spend(bytes.size() / 64));
  while (count != 0) {
    const size_t found = find_bytes(bytes, from.view(), search);
    if (found == std::string_view::npos) break;
    KVASIR_TRY(interpreter.budget().spend(1));
    KVASIR_TRY(out.append_slice(text, copied, found));
    KVASIR_TRY(out.append(to));
    copied = found + from.size();
    search = copied;
    if (from.empty()) {  // between all characters, and at both ends
      if (found == bytes.size()) break;
      search = found + utf8_length(bytes[found]);
    }
    if (count > 0) --count;
  }
  KVASIR_TRY(out.append_slice(text, copied, bytes.size()));
  return interpreter.make_string(out.take());
}

Result<Value> join_texts(Interpreter& interpreter, const Text& separator, const std::vector<Value>& items) {
  TextBuilder out(interpreter.budget());
  for (size_t i = 0; i < items.size(); ++i) {
    KVASIR_TRY(interpreter.budget().spend(1));
    if (i != 0) KVASIR_TRY(out.append(separator));
    KVASIR_TRY(append_str(interpreter, out, items[i]));
  }
  return interpreter.make_string(out.take());
}

Result<Value> center_text(Interpreter& interpreter, const Text& text, int64_t width) {
  const auto length = static_cast<int64_t>(count_code_points(text.view()));
  const int64_t margin = std::max<int64_t>(width <= length ? 0 : width - length, 0);
  const int64_t left = margin / 2 + (margin & width & 1);  // where CPython puts the odd one
  TextBuilder out(interpreter.budget());
  KVASIR_TRY(out.fill(static_cast<size_t>(left), ' ', true));
  KVASIR_TRY(out.append(text));
  KVASIR_TRY(out.fill(static_cast<size_t>(margin - left), ' ', true));
  return interpreter.make_string(out.take());
}

std::vector<std::pair<size_t, size_t>> line_ranges(std::string_view text) {
  std::vector<std::pair<size_t, size_t>> lines;
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const size_t at = i;
    const char32_t c = next_code_point(text, i);
    const bool ends = (c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (!ends) continue;
    lines.emplace_back(begin, at);
    if (c == '\r' && i < text.size() && text[i] == '\n') ++i;
    begin = i;
  }
  if (begin < text.size()) lines.emplace_back(begin, text.size());
  return lines;
}

}  // namespace kvasir::jinja
