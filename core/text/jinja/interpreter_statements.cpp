#include <algorithm>

#include "core/text/jinja/interpreter.h"
#include "core/text/jinja/printing.h"

namespace kvasir::jinja {
namespace {

/// C++ recursion of the evaluator: a macro call nests several nodes, so this is a multiple of the limit on depth.
constexpr uint32_t kFramesPerDepth = 8;

}  // namespace

Interpreter::Interpreter(const Template& source, const TemplateLimits& limits)
    : template_(source), budget_(limits), input_(source.names.size()), top_(source.names.size()) {
  loop_name_ = source.names.find("loop");
  caller_name_ = source.names.find("caller");
  varargs_name_ = source.names.find("varargs");
  kwargs_name_ = source.names.find("kwargs");
}

void Interpreter::define(std::string_view name, const Value& value) {
  if (const auto id = template_.names.find(name)) input_[*id] = value;  // a name the template never says needs no value
}

Failure Interpreter::raised(std::string message) {
  raised_ = true;
  return error(std::move(message));
}

Result<Text> Interpreter::render() {
  TextBuilder out(budget_);
  out_ = &out;
  auto done = run(template_.body, nullptr);
  out_ = nullptr;
  if (!done) {
    Error failed = std::move(done).error();
    if (!raised_) failed.message = "chat template, line " + std::to_string(line_) + ": " + failed.message;
    return Failure(std::move(failed));
  }
  return out.take();
}

Result<void> Interpreter::check_frames(const Descent& descent) const {
  return descent.at_most(budget_.limits().max_depth * kFramesPerDepth, "the running chat template");
}

Result<Interpreter::Flow> Interpreter::run(const Body& body, Scope* scope) {
  for (const auto& statement : body) {
    const Flow flow = KVASIR_TRY(run_statement(*statement, scope));
    if (flow != Flow::kNormal) return flow;
  }
  return Flow::kNormal;
}

Result<Interpreter::Flow> Interpreter::run_statement(const Statement& statement, Scope* scope) {
  const Descent descent(frames_);
  KVASIR_TRY(check_frames(descent));
  KVASIR_TRY(budget_.spend(1));
  line_ = statement.line;
  switch (statement.kind) {
    case StatementKind::kText:
      KVASIR_TRY(out_->append(static_cast<const TextStatement&>(statement).text, true));
      break;
    case StatementKind::kPrint:
      KVASIR_TRY(print(static_cast<const PrintStatement&>(statement), scope));
      break;
    case StatementKind::kIf:
      return run_if(static_cast<const IfStatement&>(statement), scope);
    case StatementKind::kFor: {
      const auto& loop = static_cast<const ForStatement&>(statement);
      return run_for(loop, KVASIR_TRY(evaluate(*loop.iterable, scope)), scope, 0);
    }
    case StatementKind::kSet: {
      const auto& set = static_cast<const SetStatement&>(statement);
      const Value value = KVASIR_TRY(evaluate(*set.value, scope));
      KVASIR_TRY(assign(set.target, value, scope));
      break;
    }
    case StatementKind::kSetBlock:
      KVASIR_TRY(run_set_block(static_cast<const SetBlockStatement&>(statement), scope));
      break;
    case StatementKind::kMacro: {
      const auto& macro = static_cast<const MacroStatement&>(statement);
      KVASIR_TRY(set_variable(macro.name, heap_.macro(&macro.definition, scope), scope));
      break;
    }
    case StatementKind::kCallBlock:
      KVASIR_TRY(run_call_block(static_cast<const CallBlockStatement&>(statement), scope));
      break;
    case StatementKind::kFilterBlock:
      KVASIR_TRY(run_filter_block(static_cast<const FilterBlockStatement&>(statement), scope));
      break;
    case StatementKind::kWith:
      return run_with(static_cast<const WithStatement&>(statement), scope);
    case StatementKind::kScope:
      return run(static_cast<const ScopeStatement&>(statement).body, &heap_.new_scope(scope));
    case StatementKind::kBreak:
      return Flow::kBreak;
    case StatementKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNormal;
}

Result<void> Interpreter::print(const PrintStatement& statement, Scope* scope) {
  const Value value = KVASIR_TRY(evaluate(*statement.value, scope));
  return append_str(*this, *out_, value);
}

Result<Interpreter::Flow> Interpreter::run_if(const IfStatement& statement, Scope* scope) {
  for (const auto& [condition, body] : statement.branches) {
    if (truthy(KVASIR_TRY(evaluate(*condition, scope)))) return run(body, scope);
  }
  return run(statement.otherwise, scope);
}

Result<bool> Interpreter::loop_has(LoopObject& loop, size_t index) {
  const auto& condition = loop.statement->condition;
  if (!condition) return index < loop.source->size();
  while (loop.accepted.size() <= index && loop.source_position < loop.source->size()) {
    const Value& candidate = (*loop.source)[loop.source_position++];
    Scope& scope = heap_.new_scope(loop.scope);
    KVASIR_TRY(budget_.spend(2));
    KVASIR_TRY(assign(loop.statement->target, candidate, &scope));
    if (truthy(KVASIR_TRY(evaluate(*condition, &scope)))) loop.accepted.push_back(candidate);
  }
  return index < loop.accepted.size();
}

const Value& Interpreter::loop_item(const LoopObject& loop, size_t index) {
  return loop.statement->condition ? loop.accepted[index] : (*loop.source)[index];
}

Result<Interpreter::Flow> Interpreter::run_for(const ForStatement& statement, const Value& iterable, Scope* scope,
                                               uint32_t depth0) {
  LoopObject& loop = heap_.new_loop();
  loop.statement = &statement;
  loop.scope = scope;
  loop.source = KVASIR_TRY(items_of(iterable));
  loop.depth0 = depth0;
  Scope* inner = &heap_.new_scope(scope);
  for (size_t i = 0; KVASIR_TRY(loop_has(loop, i)); ++i) {
    KVASIR_TRY(budget_.spend(1));
    if (i != 0) {
      if (statement.makes_closures) {
        inner = &heap_.new_scope(scope);
      } else {
        inner->variables.clear();
      }
    }
    loop.index0 = i;
    KVASIR_TRY(assign(statement.target, loop_item(loop, i), inner));
    if (loop_name_) inner->set(*loop_name_, Value(&loop));
    if (KVASIR_TRY(run(statement.body, inner)) == Flow::kBreak) return Flow::kNormal;
  }
  if (loop.index0 == 0 && !KVASIR_TRY(loop_has(loop, 0))) return run(statement.otherwise, &heap_.new_scope(scope));
  return Flow::kNormal;
}

Result<Text> Interpreter::capture(const Body& body, Scope* scope) {
  TextBuilder inner(budget_);
  TextBuilder* const outer = std::exchange(out_, &inner);
  auto done = run(body, scope);
  out_ = outer;
  KVASIR_TRY(std::move(done));
  return inner.take();
}

Result<void> Interpreter::run_set_block(const SetBlockStatement& statement, Scope* scope) {
  Text text = KVASIR_TRY(capture(statement.body, &heap_.new_scope(scope)));
  Value value = KVASIR_TRY(make_string(std::move(text)));
  if (statement.filters) value = KVASIR_TRY(follow(statement.filters->links, value, scope));
  return assign(statement.target, value, scope);
}

Result<void> Interpreter::run_filter_block(const FilterBlockStatement& statement, Scope* scope) {
  Text text = KVASIR_TRY(capture(statement.body, &heap_.new_scope(scope)));
  const Value value = KVASIR_TRY(make_string(std::move(text)));
  const Value result = KVASIR_TRY(follow(statement.filters->links, value, scope));
  return append_str(*this, *out_, result);
}

Result<void> Interpreter::run_call_block(const CallBlockStatement& statement, Scope* scope) {
  const auto& chain = *statement.call;
  const std::vector<Link>& links = chain.links;
  Value callee = KVASIR_TRY(evaluate(*chain.base, scope));
  for (size_t i = 0; i + 1 < links.size(); ++i) callee = KVASIR_TRY(follow_one(links[i], callee, scope));
  Arguments arguments = KVASIR_TRY(evaluate_arguments(links.back().arguments, scope));
  arguments.named.emplace_back("caller", heap_.macro(&statement.caller, scope));
  const Value result = KVASIR_TRY(call(callee, arguments));
  return append_str(*this, *out_, result);
}

Result<Interpreter::Flow> Interpreter::run_with(const WithStatement& statement, Scope* scope) {
  Scope& inner = heap_.new_scope(scope);
  for (const auto& [target, value] : statement.values) {
    const Value evaluated = KVASIR_TRY(evaluate(*value, scope));
    KVASIR_TRY(assign(target, evaluated, &inner));
  }
  return run(statement.body, &inner);
}

Result<void> Interpreter::set_variable(NameId name, const Value& value, Scope* scope) {
  if (scope == nullptr) {
    top_[name] = value;
    return {};
  }
  KVASIR_TRY(budget_.spend(scope->variables.size() / 16));
  scope->set(name, value);
  return {};
}

Result<void> Interpreter::assign(const Target& target, const Value& value, Scope* scope) {
  switch (target.kind) {
    case Target::Kind::kName:
      return set_variable(target.name, value, scope);
    case Target::Kind::kAttribute: {
      const Value object = KVASIR_TRY(lookup(target.name, scope));
      if (!object.is(Kind::kNamespace)) {
        return error("cannot set '" + target.attribute + "': '" + template_.names.name(target.name) +
                     "' is not a namespace, but " + type_name(object));
      }
      KVASIR_TRY(budget_.spend_items(2));
      object.name_space().attributes.insert_or_assign(target.attribute, value);
      return {};
    }
    case Target::Kind::kTuple:
      break;
  }
  const auto* const items = KVASIR_TRY(items_of(value));
  if (items->size() != target.targets.size()) {
    return error("cannot unpack " + std::to_string(items->size()) + " values into " +
                 std::to_string(target.targets.size()) + " names");
  }
  for (size_t i = 0; i < items->size(); ++i) KVASIR_TRY(assign(target.targets[i], (*items)[i], scope));
  return {};
}

Result<Value> Interpreter::call_macro(const MacroObject& macro, const Arguments& arguments) {
  const Descent descent(calls_);
  KVASIR_TRY(descent.at_most(budget_.limits().max_depth, "a macro call"));
  KVASIR_TRY(budget_.spend(2));
  Scope& scope = heap_.new_scope(macro.scope);
  KVASIR_TRY(bind_macro(macro, arguments, scope));
  return make_string(KVASIR_TRY(capture(macro.definition->body, &scope)));
}

Result<void> Interpreter::bind_macro(const MacroObject& macro, const Arguments& arguments, Scope& scope) {
  const MacroDefinition& definition = *macro.definition;
  const auto& parameters = definition.parameters;
  const std::string who = "macro '" + definition.name + "'";
  std::vector<std::optional<Value>> values(parameters.size());
  const size_t n_positional = std::min(parameters.size(), arguments.positional.size());
  for (size_t i = 0; i < n_positional; ++i) values[i] = arguments.positional[i];

  std::optional<Value> caller;
  DictObject* extra = nullptr;
  for (const auto& [name, value] : arguments.named) {
    KVASIR_TRY(budget_.spend(1 + parameters.size() / 16));
    const auto id = template_.names.find(name);
    const auto it = id ? std::find(parameters.begin(), parameters.end(), *id) : parameters.end();
    if (it != parameters.end()) {
      auto& slot = values[static_cast<size_t>(it - parameters.begin())];
      if (slot) return error(who + " got two values for '" + std::string(name) + "'");
      slot = value;
    } else if (definition.takes_caller && name == "caller") {
      caller = value;
    } else if (definition.takes_kwargs) {
      if (extra == nullptr) extra = &heap_.new_dict();
      extra->set(KVASIR_TRY(make_string(std::string(name), true)), value);
    } else {
      return error(who + " has no parameter '" + std::string(name.substr(0, 80)) + "'");
    }
  }
  if (arguments.positional.size() > parameters.size() && !definition.takes_varargs) {
    return error(who + " takes at most " + std::to_string(parameters.size()) + " arguments");
  }
  const size_t first_default = parameters.size() - definition.defaults.size();
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (!values[i] && i >= first_default)
      values[i] = KVASIR_TRY(evaluate(*definition.defaults[i - first_default], &scope));
    if (!values[i])
      values[i] = heap_.undefined("parameter '" + template_.names.name(parameters[i]) + "' was not provided");
    KVASIR_TRY(set_variable(parameters[i], *values[i], &scope));
  }
  if (definition.takes_caller && caller_name_ &&
      std::find(parameters.begin(), parameters.end(), *caller_name_) == parameters.end()) {
    scope.set(*caller_name_, caller ? *caller : heap_.undefined("no caller is defined"));
  }
  if (definition.takes_varargs && varargs_name_) {
    std::vector<Value> rest(arguments.positional.begin() + static_cast<ptrdiff_t>(n_positional),
                            arguments.positional.end());
    scope.set(*varargs_name_, KVASIR_TRY(make_tuple(std::move(rest))));
  }
  if (definition.takes_kwargs && kwargs_name_)
    scope.set(*kwargs_name_, Value(extra == nullptr ? &heap_.new_dict() : extra));
  return {};
}

Result<Value> Interpreter::call_loop(LoopObject& loop, const Arguments& arguments) {
  if (!loop.statement->recursive) return error("loop(...) needs a loop that is marked 'recursive'");
  if (arguments.positional.size() != 1 || !arguments.named.empty()) return error("loop(...) takes one argument");
  const Descent descent(calls_);
  KVASIR_TRY(descent.at_most(budget_.limits().max_depth, "a recursive loop"));
  TextBuilder inner(budget_);
  TextBuilder* const outer = std::exchange(out_, &inner);
  auto done = run_for(*loop.statement, arguments.positional[0], loop.scope, loop.depth0 + 1);
  out_ = outer;
  KVASIR_TRY(std::move(done));
  return make_string(inner.take());
}

}  // namespace kvasir::jinja
