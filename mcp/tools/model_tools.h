// Tools that only look: count_tokens, score_text, get_model_info; tokenize and detokenize for plain JSON-RPC.
#pragma once

#include "mcp/tools/tool.h"

namespace kvasir::mcp {

Tool count_tokens_tool();
Tool score_text_tool();
Tool get_model_info_tool();
Tool tokenize_tool();
Tool detokenize_tool();

/// The results as JSON, for the command line too.
Json to_json(const CountResult& result);
Json to_json(const ScoreResult& result);
Json to_json(const ModelInfoResult& result);
Json to_json(const TokenizeResult& result);

}  // namespace kvasir::mcp
