// What compression costs, measured offline (compression.md §4.4): likelihood of what follows, needles, facts of a chat.
// Asks an engine and counts; knows no text of its own but names and numbers. Not for use beside other work: slow.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/engine/messages.h"

namespace kvasir {

/// What is measured. The first two are no compressions: everything, and nothing. The last three are strategy
/// `hierarchical`: the model's summaries, with the index of exact things, and with what a search in the originals finds.
enum class Contender : uint8_t { kFull, kNone, kQuantized, kWindow, kRandom, kAttention, kFocused,
                                kSummary, kIndexed, kSearched };
std::string_view name_of(Contender who);
/// Errors: kInvalidArgument: nobody of this name shortens a context's rows.
Result<Contender> contender_of(std::string_view name);

struct QualityOptions {
  std::string text;              ///< real prose, at least (spans + documents) * 1,300 tokens
  uint32_t prefix_tokens = 1024, next_tokens = 256;
  uint32_t spans = 30;           ///< of the likelihood table
  uint32_t documents = 12;       ///< of the needle table, four needles each
  uint32_t chats = 12;           ///< of the recall table, eight facts each
  std::vector<double> ratios = {0.25, 0.5, 0.75, 0.9};
  uint64_t seed = 1;
  std::optional<Contender> only = {};  ///< nobody else is measured (but what summaries leave, in the recall table)
};

/// One contender at one ratio, over spans.
struct LikelihoodRow {
  Contender who = Contender::kFull;
  double ratio = 0;              ///< share of rows removed, as it really was
  std::vector<double> nll, nll_full, nll_none;  ///< per span, nats per token
  std::vector<double> kl, agree; ///< per span: mean divergence, share of equal likeliest tokens
};
/// One contender at one ratio, over questions.
struct RecallRow {
  Contender who = Contender::kFull;
  double ratio = 0;
  uint64_t asked = 0, right = 0;  ///< of those that the full context answers
  std::vector<std::pair<uint64_t, uint64_t>> by_part;  ///< asked and right per depth or category
};
struct RecallTable {
  uint64_t asked = 0, right_full = 0;
  uint64_t only_quantized = 0;  ///< of those that the full context does not answer: answered at 4 bits
  std::vector<std::string> parts;
  std::vector<RecallRow> rows;
};
struct QualityReport {
  std::vector<LikelihoodRow> likelihood;
  RecallTable needles, chats;
};

/// Whether a text that goes on behind "... is" begins with just this.
bool answers(std::string_view text, std::string_view truth);

using AskEngine = std::function<Result<Event>(CommandBody)>;
using QualityProgress = std::function<void(const std::string& what)>;

/// Errors: kInvalidArgument (the text is too short), and what the engine says.
Result<QualityReport> measure_quality(const AskEngine& engine, const QualityOptions& options, const QualityProgress& progress);

}  // namespace kvasir
