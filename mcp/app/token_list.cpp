#include "mcp/app/token_list.h"

#include <limits>

#include "mcp/app/options.h"

namespace kvasir::app {
namespace {
constexpr size_t kMaxTokens = 10'000'000;
constexpr std::string_view kBetween = " \t\r\n,[]";
}  // namespace

Result<std::vector<TokenId>> parse_token_list(std::string_view text) {
  std::vector<TokenId> out;
  while (true) {
    const size_t begin = text.find_first_not_of(kBetween);
    if (begin == std::string_view::npos) return out;
    text.remove_prefix(begin);
    const std::string_view word = text.substr(0, text.find_first_of(kBetween));
    const auto id = parse_whole(word);
    if (!id || *id > static_cast<uint64_t>(std::numeric_limits<TokenId>::max())) {
      return Failure{Code::kInvalidArgument, "'" + std::string(word.substr(0, 32)) + "' is no token id"};
    }
    if (out.size() == kMaxTokens) return Failure{Code::kTooLarge, "more than 10000000 token ids"};
    out.push_back(static_cast<TokenId>(*id));
    text.remove_prefix(word.size());
  }
}

}  // namespace kvasir::app
