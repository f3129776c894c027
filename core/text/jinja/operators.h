// Python's operators on values: comparison, arithmetic, containment, indexing with slices. All spend from the
// interpreter's budget. Errors: kInvalidArgument (types that do not fit, division by zero, 64-bit overflow), kTooLarge.
#pragma once

#include <optional>

#include "core/text/jinja/interpreter.h"
#include "core/text/jinja/syntax.h"

namespace kvasir::jinja {

Result<bool> equal(Interpreter& interpreter, const Value& a, const Value& b);
/// Negative, zero, positive; nothing if a NaN is involved. Errors for types without order.
Result<std::optional<int>> order(Interpreter& interpreter, const Value& a, const Value& b);
Result<bool> compare(Interpreter& interpreter, Operator op, const Value& a, const Value& b);
/// `item in container`.
Result<bool> contains(Interpreter& interpreter, const Value& container, const Value& item);
Result<Value> arithmetic(Interpreter& interpreter, Operator op, const Value& a, const Value& b);
Result<Value> negate(const Value& value);

/// The value of `key` in a dict, or null; any key type.
Result<const Value*> find_key(Interpreter& interpreter, const DictObject& dict, const Value& key);
Result<void> set_key(Interpreter& interpreter, DictObject& dict, const Value& key, const Value& value);

/// The order that sorts `keys`, stably; `reverse` keeps equal ones in place too. The first comparison that fails ends
/// it.
Result<std::vector<size_t>> sorted_indices(Interpreter& interpreter, const std::vector<Value>& keys, bool reverse);

/// Byte offsets [begin, end) of the characters [from, to) of a string. Requires from <= to <= length.
std::pair<size_t, size_t> character_range(const StringObject& string, size_t from, size_t to);
/// Character `index` of a string, which must exist.
Result<Value> character_at(Interpreter& interpreter, const StringObject& string, size_t index);
/// value[start:stop:step].
Result<Value> slice_value(Interpreter& interpreter, const Value& value, const Value& start, const Value& stop,
                          const Value& step);

/// First offset of `needle` in `haystack` from `from`, in linear time whatever they are; npos if absent.
size_t find_bytes(std::string_view haystack, std::string_view needle, size_t from = 0);

}  // namespace kvasir::jinja
