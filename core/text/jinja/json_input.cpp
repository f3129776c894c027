#include "core/text/jinja/json_input.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string>

namespace kvasir::jinja {
namespace {

constexpr size_t kMaxDepth = 64;
constexpr std::array<std::string_view, 10> kRoles{"system",   "user",    "assistant", "tool",          "developer",
                                                  "function", "ipython", "model",     "tool_response", "environment"};

class Reader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  Reader(Heap& heap, Budget& budget, std::string_view what, bool messages)
      : heap_(heap), budget_(budget), what_(what), messages_(messages) {}

  bool null() override { return add(Value::none(true)); }
  bool boolean(bool v) override { return add(Value::boolean(v, true)); }
  bool number_integer(number_integer_t v) override { return add(Value::integer(v, true)); }
  bool number_unsigned(number_unsigned_t v) override {
    if (v <= static_cast<uint64_t>(INT64_MAX)) return add(Value::integer(static_cast<int64_t>(v), true));
    return add(Value::real(static_cast<double>(v), true));
  }
  bool number_float(number_float_t v, const string_t& /*text*/) override { return add(Value::real(v, true)); }
  bool string(string_t& v) override {
    const bool role = messages_ && open_.size() == 2 && key_at(1) == "role" &&
                      std::find(kRoles.begin(), kRoles.end(), v) != kRoles.end();
    return add(heap_.adopt_string(Text(std::move(v), role)));
  }
  bool binary(binary_t& /*v*/) override { return false; }
  bool start_object(size_t /*elements*/) override { return open(Kind::kDict); }
  bool start_array(size_t /*elements*/) override { return open(Kind::kList); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& v) override {
    open_.back().key = heap_.adopt_string(Text(std::move(v), false));
    return true;
  }
  bool parse_error(size_t position, const std::string& /*token*/, const nlohmann::detail::exception& e) override {
    if (!failed_)
      failed_ = Error{Code::kInvalidArgument,
                      what_ + " is not valid JSON at byte " + std::to_string(position) + ": " + without_tag(e.what())};
    return false;
  }

  Result<Value> finish(bool parsed) {
    if (failed_) return Failure(*failed_);
    if (!parsed || !root_) return Failure{Code::kInvalidArgument, what_ + " is not valid JSON"};
    return *root_;
  }

 private:
  struct Open {
    Kind kind = Kind::kList;
    ListObject list;
    DictObject* dict = nullptr;
    Value key;
  };

  /// nlohmann's messages begin with "[json.exception.parse_error.101] ".
  static std::string without_tag(std::string_view message) {
    const size_t end = message.find("] ");
    return std::string(message.substr(end == std::string_view::npos ? 0 : end + 2));
  }

  std::string_view key_at(size_t depth) const {
    return open_[depth].kind == Kind::kDict ? open_[depth].key.view() : std::string_view();
  }

  bool fail(Error error) {
    failed_ = std::move(error);
    return false;
  }

  bool open(Kind kind) {
    if (open_.size() >= kMaxDepth)
      return fail({Code::kTooLarge, what_ + " is nested more than " + std::to_string(kMaxDepth) + " levels deep"});
    Open& top = open_.emplace_back();
    top.kind = kind;
    top.list.tainted = true;
    if (kind == Kind::kDict) {
      top.dict = &heap_.new_dict();
      top.dict->tainted = true;
    }
    return true;
  }

  bool close() {
    Open top = std::move(open_.back());
    open_.pop_back();
    return add(top.kind == Kind::kDict ? Value(top.dict) : heap_.adopt_list(Kind::kList, std::move(top.list)));
  }

  bool add(const Value& value) {
    // Four values per operation: a long conversation is legitimate, millions of numbers are not.
    if (++values_ % 4 == 0) {
      if (auto paid = budget_.spend(1); !paid) return fail(std::move(paid).error());
    }
    if (open_.empty()) {
      root_ = value;
    } else if (open_.back().kind == Kind::kDict) {
      open_.back().dict->set(open_.back().key, value);
    } else {
      open_.back().list.items.push_back(value);
    }
    return true;
  }

  Heap& heap_;
  Budget& budget_;
  std::string what_;
  bool messages_;
  std::vector<Open> open_;
  std::optional<Value> root_;
  std::optional<Error> failed_;
  uint64_t values_ = 0;
};

Result<Value> read(Heap& heap, Budget& budget, std::string_view text, std::string_view what, bool messages) {
  Reader reader(heap, budget, what, messages);
  // SAX: no document of the library's own, no recursion, no exceptions (errors come to parse_error).
  const bool parsed = nlohmann::json::sax_parse(text.begin(), text.end(), &reader);
  return reader.finish(parsed);
}

}  // namespace

Result<Value> read_json(Heap& heap, Budget& budget, std::string_view text, std::string_view what) {
  return read(heap, budget, text, what, false);
}

Result<Value> read_messages(Heap& heap, Budget& budget, std::string_view text) {
  return read(heap, budget, text, "messages", true);
}

}  // namespace kvasir::jinja
