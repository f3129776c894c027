// One compression of a context, as data: which rows of the KV cache stay, and whether they are kept at 4 bits. With the
// tokens before it, an edit says exactly what a compressed context is, so that it can be stored, sent and made again.
// Row i of the shorter context is at slot i, and what comes after follows at slot kept_tokens. Either rows keep their
// positions, and what follows goes on at the next one; or they move together, their keys turned to position i, so that
// there is room again in what the model was trained for. Pure; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/backend.h"

namespace kvasir {

struct ContextEdit {
  uint32_t source_tokens = 0;     ///< rows of the context that it was made of
  uint32_t kept_tokens = 0;       ///< of these, whole pages
  std::vector<std::string> rows;  ///< bitmaps of source_tokens bits, per KV layer or one for all; none: the first ones
  bool aged = false;
  bool in_place = false;          ///< rows keep their positions
  bool operator==(const ContextEdit&) const = default;
};

/// A context that was compressed: its tokens, of which the first edit.source_tokens count. A context of a context begins with the kept tokens of the
/// one before.
struct ContextStage {
  std::vector<TokenId> tokens;
  ContextEdit edit;
};

/// Errors: kInvalidArgument (sizes and counts that do not fit each other). `layers`: 0 if not known.
Result<void> check_edit(const ContextEdit& edit, uint64_t tokens_before, size_t layers);
/// The same for all stages, and that `tokens` go on from the last.
Result<void> check_stages(std::span<const ContextStage> stages, std::span<const TokenId> tokens, size_t layers);
/// Which source rows stay in `layer`, ascending. Requires check_edit().
std::vector<uint32_t> kept_rows(const ContextEdit& edit, size_t layer);
/// The tokens that the shorter context is said to have: those of the first layer's rows.
std::vector<TokenId> kept_tokens(const ContextEdit& edit, std::span<const TokenId> source);
/// How far the positions of what follows the last stage are ahead of its slots.
uint32_t position_shift(std::span<const ContextStage> stages);
/// The positions of the first `slots` keys in `layer` of the context behind `stages`. Requires check_stages().
std::vector<uint32_t> slot_positions(std::span<const ContextStage> stages, size_t layer, uint32_t slots);
/// Sets bit `row`.
void keep_row(std::string& bitmap, uint32_t row);

/// One line of text, and back. Errors: kCorrupt.
std::string to_text(const ContextEdit& edit);
Result<ContextEdit> edit_from_text(std::string_view text);
/// Everything that the KV of the shortened context depends on, as bytes: to be hashed.
std::string stages_identity(std::span<const ContextStage> stages);

}  // namespace kvasir
