// Positions in strings and lists: characters, slices, the order that sorts.
#include <algorithm>
#include <limits>

#include "core/text/jinja/operators.h"
#include "core/text/jinja/unicode.h"

namespace kvasir::jinja {
namespace {

/// A slice bound, with Python's rules for negative and too large ones.
Result<int64_t> bound(const Value& value, int64_t length, int64_t low, int64_t high, int64_t when_absent) {
  if (value.is_none()) return when_absent;
  int64_t index = value.as_int();
  if (index < 0) index += length;
  return std::clamp(index, low, high);
}

bool is_slice_index(const Value& value) {
  return value.is_none() || value.is_integral();
}

}  // namespace

Result<std::vector<size_t>> sorted_indices(Interpreter& interpreter, const std::vector<Value>& keys, bool reverse) {
  // A merge sort of our own: it stays in bounds for orders that are none (NaN), and a comparison may fail.
  KVASIR_TRY(interpreter.budget().spend_items(2 * keys.size()));
  std::vector<size_t> indices(keys.size());
  for (size_t i = 0; i < indices.size(); ++i) indices[i] = i;
  std::vector<size_t> merged(keys.size());
  for (size_t width = 1; width < keys.size(); width *= 2) {
    for (size_t begin = 0; begin < keys.size(); begin += 2 * width) {
      const size_t middle = std::min(begin + width, keys.size());
      const size_t end = std::min(begin + 2 * width, keys.size());
      size_t left = begin;
      size_t right = middle;
      for (size_t out = begin; out < end; ++out) {
        bool take_right = left == middle;
        if (left < middle && right < end) {
          const Value& a = keys[indices[left]];
          const Value& b = keys[indices[right]];
          const auto comparison = reverse ? KVASIR_TRY(order(interpreter, a, b)) : KVASIR_TRY(order(interpreter, b, a));
          take_right = comparison.value_or(0) < 0;
        }
        merged[out] = indices[take_right ? right++ : left++];
      }
    }
    indices.swap(merged);
  }
  return indices;
}

std::pair<size_t, size_t> character_range(const StringObject& string, size_t from, size_t to) {
  if (string.ascii()) return {from, to};
  const auto bytes = string.text.view();
  size_t offset = 0;
  for (size_t i = 0; i < from; ++i) offset += utf8_length(bytes[offset]);
  size_t end = offset;
  for (size_t i = from; i < to; ++i) end += utf8_length(bytes[end]);
  return {offset, end};
}

Result<Value> character_at(Interpreter& interpreter, const StringObject& string, size_t index) {
  if (!string.ascii()) KVASIR_TRY(interpreter.budget().spend(index / 64));
  const auto [begin, end] = character_range(string, index, index + 1);
  return interpreter.make_string(string.text.slice(begin, end));
}

Result<Value> slice_value(Interpreter& interpreter, const Value& value, const Value& start, const Value& stop,
                          const Value& step_value) {
  if (value.is_undefined()) return Interpreter::error(value.why());
  if (!value.is_string() && !value.is_sequence())
    return Interpreter::error(std::string("a ") + type_name(value) + " has no slices");
  if (!is_slice_index(start) || !is_slice_index(stop) || !is_slice_index(step_value)) {
    return Interpreter::error("the bounds of a slice must be integers or none");
  }
  const auto length = static_cast<int64_t>(*length_of(value));
  const int64_t step =
      step_value.is_none() ? 1 : std::max<int64_t>(step_value.as_int(), -std::numeric_limits<int64_t>::max());
  if (step == 0) return Interpreter::error("a slice's step cannot be 0");
  const int64_t low = step > 0 ? 0 : -1;
  const int64_t high = step > 0 ? length : length - 1;
  int64_t from = KVASIR_TRY(bound(start, length, low, high, step > 0 ? 0 : length - 1));
  const int64_t to = KVASIR_TRY(bound(stop, length, low, high, step > 0 ? length : -1));
  if (value.is_string() && step == 1) {
    const auto end = static_cast<size_t>(std::max(from, to));
    KVASIR_TRY(interpreter.budget().spend(end / 64));
    const auto [begin_byte, end_byte] = character_range(value.string(), static_cast<size_t>(from), end);
    return interpreter.make_string(value.text().slice(begin_byte, end_byte));
  }
  const auto* const items = KVASIR_TRY(interpreter.items_of(value));
  std::vector<Value> picked;
  while (step > 0 ? from < to : from > to) {
    KVASIR_TRY(interpreter.budget().spend(1));
    picked.push_back((*items)[static_cast<size_t>(from)]);
    if (__builtin_add_overflow(from, step, &from)) break;
  }
  if (!value.is_string()) {
    return interpreter.heap().adopt_list(value.kind(),
                                         ListObject{std::move(picked), value.tainted(), ListView::kPlain});
  }
  TextBuilder out(interpreter.budget());
  for (const auto& character : picked) KVASIR_TRY(out.append(character.text()));
  return interpreter.make_string(out.take());
}

}  // namespace kvasir::jinja
