// Renders one template once: evaluates the syntax tree over the input's values within a budget. Made per rendering,
// used by one thread. Errors: kInvalidArgument with the template's line (or raise_exception's own text), kTooLarge.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/text/jinja/budget.h"
#include "core/text/jinja/builder.h"
#include "core/text/jinja/syntax.h"
#include "core/text/jinja/value.h"

namespace kvasir::jinja {

class Interpreter {
 public:
  Interpreter(const Template& source, const TemplateLimits& limits);

  /// A variable of the input. Later calls replace earlier ones.
  void define(std::string_view name, const Value& value);
  void set_now(int64_t unix_seconds) { now_ = unix_seconds; }
  int64_t now() const noexcept { return now_; }
  Result<Text> render();

  Budget& budget() noexcept { return budget_; }
  Heap& heap() noexcept { return heap_; }

  // What filters, tests and methods need.
  Result<Value> call(const Value& callee, const Arguments& arguments);
  Result<Value> apply_filter(std::string_view name, const Value& value, const Arguments& arguments);
  Result<bool> apply_test(std::string_view name, const Value& value, const Arguments& arguments);
  Result<Value> attribute(const Value& object, std::string_view name);
  Result<Value> item(const Value& object, const Value& key);
  /// The items that a for loop would see. Errors for what cannot be iterated.
  Result<const std::vector<Value>*> items_of(const Value& value);
  Result<Value> make_string(Text text) { return heap_.string(budget_, std::move(text)); }
  Result<Value> make_string(std::string bytes, bool trusted) {
    return heap_.string(budget_, Text(std::move(bytes), trusted));
  }
  Result<Value> make_list(std::vector<Value> items, bool tainted = false) {
    return heap_.list(budget_, std::move(items), tainted);
  }
  Result<Value> make_tuple(std::vector<Value> items, bool tainted = false) {
    return heap_.tuple(budget_, std::move(items), tainted);
  }
  /// An error about the template or its input; the line is added outside.
  static Failure error(std::string message) { return Failure{Code::kInvalidArgument, std::move(message)}; }
  /// raise_exception: the text stands alone.
  Failure raised(std::string message);
  /// Whether the loop has an item at `index`; evaluates its condition as far as needed.
  Result<bool> loop_has(LoopObject& loop, size_t index);
  static const Value& loop_item(const LoopObject& loop, size_t index);
  uint32_t& value_depth() noexcept { return value_depth_; }
  /// How deep values may be nested where printing or comparing follows them.
  uint32_t max_value_depth() const noexcept { return budget_.limits().max_depth * 2; }

 private:
  enum class Flow : uint8_t { kNormal, kBreak, kContinue };

  // Statements (interpreter_statements.cpp).
  Result<Flow> run(const Body& body, Scope* scope);
  Result<Flow> run_statement(const Statement& statement, Scope* scope);
  Result<void> print(const PrintStatement& statement, Scope* scope);
  Result<Flow> run_if(const IfStatement& statement, Scope* scope);
  Result<Flow> run_for(const ForStatement& statement, const Value& iterable, Scope* scope, uint32_t depth0);
  Result<void> run_set_block(const SetBlockStatement& statement, Scope* scope);
  Result<void> run_call_block(const CallBlockStatement& statement, Scope* scope);
  Result<void> run_filter_block(const FilterBlockStatement& statement, Scope* scope);
  Result<Flow> run_with(const WithStatement& statement, Scope* scope);
  Result<Text> capture(const Body& body, Scope* scope);
  Result<void> assign(const Target& target, const Value& value, Scope* scope);
  Result<void> set_variable(NameId name, const Value& value, Scope* scope);
  Result<Value> call_macro(const MacroObject& macro, const Arguments& arguments);
  Result<void> bind_macro(const MacroObject& macro, const Arguments& arguments, Scope& scope);
  Result<Value> call_loop(LoopObject& loop, const Arguments& arguments);

  // Expressions (interpreter_expressions.cpp).
  Result<Value> evaluate(const Expression& expression, Scope* scope);
  Result<Value> lookup(NameId name, Scope* scope);
  Result<Value> evaluate_items(const ItemsExpression& expression, Scope* scope);
  Result<Value> evaluate_dict(const ItemsExpression& expression, Scope* scope);
  Result<Value> evaluate_logic(const ItemsExpression& expression, Scope* scope);
  Result<Value> evaluate_concat(const ItemsExpression& expression, Scope* scope);
  Result<Value> evaluate_math(const OperatorExpression& expression, Scope* scope);
  Result<Value> evaluate_comparison(const OperatorExpression& expression, Scope* scope);
  Result<Value> evaluate_conditional(const ItemsExpression& expression, Scope* scope);
  Result<Value> follow(const std::vector<Link>& links, Value value, Scope* scope);
  Result<Value> follow_one(const Link& link, const Value& value, Scope* scope);
  Result<Value> slice(const Link& link, const Value& value, Scope* scope);
  Result<Arguments> evaluate_arguments(const CallArguments& arguments, Scope* scope);
  Result<void> spread_arguments(const CallArguments& source, Arguments& arguments, Scope* scope);
  Result<void> check_frames(const Descent& descent) const;

  const Template& template_;
  Budget budget_;
  Heap heap_;
  std::vector<std::optional<Value>> input_;  ///< by NameId
  std::vector<std::optional<Value>> top_;    ///< variables set outside of any block, by NameId
  TextBuilder* out_ = nullptr;
  uint32_t line_ = 0;
  uint32_t frames_ = 0;
  uint32_t calls_ = 0;
  uint32_t value_depth_ = 0;
  bool raised_ = false;
  int64_t now_ = 0;
  std::optional<NameId> loop_name_, caller_name_, varargs_name_, kwargs_name_;
};

}  // namespace kvasir::jinja
