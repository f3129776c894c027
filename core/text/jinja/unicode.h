// UTF-8 and the parts of Python's str that depend on Unicode: what is white space, a letter, a digit; upper and lower
// case. Pure functions. All text in the interpreter is valid UTF-8 (checked where it enters); these stay in bounds on
// any bytes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kvasir::jinja {

bool is_valid_utf8(std::string_view bytes) noexcept;
/// Bytes of the code point that begins with `lead` (1 for anything odd).
size_t utf8_length(char lead) noexcept;
/// Decodes the code point at `offset` and moves past it. Requires offset < bytes.size().
char32_t next_code_point(std::string_view bytes, size_t& offset) noexcept;
/// Offset of the code point that ends before `offset`. Requires offset > 0.
size_t previous_offset(std::string_view bytes, size_t offset) noexcept;
void append_utf8(std::string& out, char32_t code_point);
/// In single quotes, for a message; cut to some 80 bytes.
std::string quoted(std::string_view text);
size_t count_code_points(std::string_view bytes) noexcept;

/// As Python's str.isspace for one character.
bool is_space(char32_t c) noexcept;
bool is_alpha(char32_t c) noexcept;
bool is_digit(char32_t c) noexcept;  ///< decimal digits of any script
bool is_upper(char32_t c) noexcept;
bool is_lower(char32_t c) noexcept;

/// Appends the mapping of `c`; upper and title may be more than one character (ß, ligatures).
void append_upper(std::string& out, char32_t c);
void append_lower(std::string& out, char32_t c);
void append_title(std::string& out, char32_t c);

}  // namespace kvasir::jinja
