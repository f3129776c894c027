#include "rpc/parse.h"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <utility>

#include "rpc/json_scan.h"

namespace kvasir::rpc {
namespace {

constexpr int64_t kMaxExactInteger = int64_t{1} << 53;

/// Builds the value from text that scan_json() accepted. Members are appended without the linear look-up that
/// nlohmann's ordered objects do per key: 300,000 keys would take minutes.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(bool last_duplicate_counts) : last_duplicate_counts_(last_duplicate_counts) {}
  Json take() { return std::move(root_); }

  bool null() override { return put(nullptr); }
  bool boolean(bool v) override { return put(v); }
  bool number_integer(number_integer_t v) override { return put(v); }
  bool number_unsigned(number_unsigned_t v) override { return put(v); }
  bool number_float(number_float_t v, const string_t&) override { return put(v); }
  bool string(string_t& v) override { return put(std::move(v)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override { return open(Json::value_t::object); }
  bool key(string_t& name) override {
    auto& members = *open_.back()->get_ptr<Json::object_t*>();
    slot_ = &members.emplace_back(std::move(name), Json()).second;
    return true;
  }
  bool end_object() override {
    if (last_duplicate_counts_) drop_earlier_duplicates(*open_.back()->get_ptr<Json::object_t*>());
    open_.pop_back();
    return true;
  }
  bool start_array(size_t) override { return open(Json::value_t::array); }
  bool end_array() override {
    open_.pop_back();
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

 private:
  template <class T>
  Json& place(T&& value) {
    if (open_.empty()) return root_ = Json(std::forward<T>(value));
    if (open_.back()->is_array()) return open_.back()->get_ptr<Json::array_t*>()->emplace_back(std::forward<T>(value));
    return *slot_ = Json(std::forward<T>(value));
  }
  template <class T>
  bool put(T&& value) {
    place(std::forward<T>(value));
    return true;
  }
  bool open(Json::value_t kind) {
    open_.push_back(&place(kind));
    return true;
  }
  static void drop_earlier_duplicates(Json::object_t& members) {
    std::unordered_map<std::string_view, size_t> last;
    for (size_t i = 0; i < members.size(); ++i) last[members.data()[i].first] = i;
    if (last.size() == members.size()) return;
    Json::object_t kept;
    for (size_t i = 0; i < members.size(); ++i) {
      auto& [name, value] = members.data()[i];
      if (last[name] == i) kept.emplace_back(std::string(name), std::move(value));
    }
    members = std::move(kept);
  }

  bool last_duplicate_counts_;
  Json root_;
  Json* slot_ = nullptr;       // where the value of the last key goes
  std::vector<Json*> open_;    // containers not yet closed; only the innermost grows, so the pointers stay valid
};

Result<Json> parse_with_facts(std::string_view text, const Limits& limits, DuplicateKeys duplicates, ScanFacts& facts) {
  KVASIR_TRY(scan_json(text, limits, duplicates, facts));
  Builder builder(facts.has_duplicate_keys);
  bool built = false;
  try {
    built = Json::sax_parse(text.data(), text.data() + text.size(), &builder);
  } catch (const Json::exception&) {
    built = false;
  }
  // The scan settled the form, so only a number beyond the range of a double can fail here.
  if (!built) return Failure{Code::kInvalidArgument, "not JSON: a number out of range at byte 0 or later"};
  return builder.take();
}

BadMessage invalid(MessageId id, std::string_view why) {
  return {std::move(id), {kInvalidRequest, "Invalid Request: " + std::string(why), std::nullopt}};
}

BadMessage unparsable(const Error& error) {
  constexpr std::string_view kPrefix = "not JSON: ";
  if (error.code != Code::kInvalidArgument) return invalid({}, error.message);
  std::string_view detail = error.message;
  if (detail.starts_with(kPrefix)) detail.remove_prefix(kPrefix.size());
  return {{}, {kParseError, "Parse error", Json(detail)}};
}

/// The id of a message, or why it is none.
Result<MessageId> checked_id(const Json& message, std::string_view raw, const Limits& limits, bool mcp) {
  const auto found = message.find("id");
  if (found == message.end()) return MessageId{};
  const Json& id = *found;
  if (raw.size() > limits.max_id_bytes + 2) {  // the two quotes
    return Failure{Code::kTooLarge, "id longer than " + std::to_string(limits.max_id_bytes) + " bytes (max_id_bytes)"};
  }
  if (id.is_string()) return MessageId{MessageId::Kind::kString, dump(id)};
  if (id.is_null() && !mcp) return MessageId{MessageId::Kind::kNull, "null"};
  if (id.is_number() && !mcp) return MessageId{MessageId::Kind::kNumber, std::string(raw)};
  const bool exact = id.is_number_unsigned() ? id.get<uint64_t>() <= static_cast<uint64_t>(kMaxExactInteger)
                                             : id.is_number_integer() && id.get<int64_t>() >= -kMaxExactInteger;
  if (exact) return MessageId{MessageId::Kind::kNumber, std::string(raw)};
  return Failure{Code::kInvalidArgument, mcp ? "id must be a string or an integer within 2^53" : "id must be a string, a number or null"};
}

class MessageReader {
 public:
  MessageReader(const Limits& limits, const Service::Rules& rules, ParsedText& out) : limits_(limits), rules_(rules), out_(out) {}

  void read(Json& message, std::string_view raw_id) {
    if (!message.is_object()) return add(invalid({}, "a message must be an object"));
    auto id = checked_id(message, raw_id, limits_, rules_.mcp_ids);
    if (!id) return add(invalid({}, id.error().message));
    const auto version = message.find("jsonrpc");
    if (version == message.end() || *version != "2.0") return add(invalid(std::move(*id), "jsonrpc must be \"2.0\""));
    const auto method = message.find("method");
    if (method == message.end()) {
      if (message.contains("result") || message.contains("error")) return add(IncomingResponse{});
      return add(invalid(std::move(*id), "method is missing"));
    }
    if (!method->is_string()) return add(invalid(std::move(*id), "method must be a string"));
    Request request{std::move(*id), std::move(*method->get_ptr<std::string*>()), std::nullopt};
    const auto params = message.find("params");
    if (params != message.end()) {
      if (!params->is_object() && (!params->is_array() || rules_.mcp_ids)) return bad_params(std::move(request));
      request.params = std::move(*params);
    }
    add(std::move(request));
  }

 private:
  template <class T>
  void add(T&& message) { out_.messages.emplace_back(std::forward<T>(message)); }

  void bad_params(Request request) {
    if (!request.id.present() && !rules_.mcp_ids) return;  // a notification: nothing may answer it
    add(invalid(std::move(request.id), rules_.mcp_ids ? "params must be an object" : "params must be an object or an array"));
  }

  const Limits& limits_;
  const Service::Rules& rules_;
  ParsedText& out_;
};

}  // namespace

Result<Json> parse_json(std::string_view text, const Limits& limits, bool allow_duplicate_keys) {
  ScanFacts facts;
  return parse_with_facts(text, limits, allow_duplicate_keys ? DuplicateKeys::kAllow : DuplicateKeys::kRefuse, facts);
}

ParsedText parse_text(std::string_view text, const Limits& limits, const Service::Rules& rules,
                      const std::function<bool(const Json&)>& accepts_batch) {
  ParsedText out;
  ScanFacts facts;
  auto parsed = parse_with_facts(text, limits, DuplicateKeys::kRefuse, facts);
  if (!parsed) {
    out.messages.emplace_back(unparsable(parsed.error()));
    return out;
  }
  MessageReader reader(limits, rules, out);
  if (!parsed->is_array()) {
    reader.read(*parsed, facts.ids.empty() ? std::string_view() : facts.ids.front().text);
    return out;
  }
  out.is_batch = true;
  const auto refuse = [&out](std::string_view why) {
    out.batch_refused = true;
    out.messages.emplace_back(invalid({}, why));
  };
  if (parsed->empty()) {
    refuse("an empty batch");
  } else if (parsed->size() > limits.max_batch) {
    refuse("more than " + std::to_string(limits.max_batch) + " messages in a batch (max_batch)");
  } else if (!accepts_batch(*parsed)) {
    refuse("batches are not accepted here");
  } else {
    auto raw = facts.ids.begin();
    for (uint32_t i = 0; i < parsed->size(); ++i) {
      const bool has_id = raw != facts.ids.end() && raw->element == i;
      reader.read((*parsed)[i], has_id ? raw->text : std::string_view());
      if (has_id) ++raw;
    }
  }
  return out;
}

}  // namespace kvasir::rpc
