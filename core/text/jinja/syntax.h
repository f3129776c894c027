// The syntax tree of a template. Chains (a + b + c, a ~ b ~ c, x.y[0]|f|g) are flat lists, so the depth of the tree,
// and with it every recursion over it and its destruction, is bounded by the parser's nesting limit. Immutable once
// parsed.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/text/jinja/value.h"

namespace kvasir::jinja {

enum class ExpressionKind : uint8_t {
  kConstant,
  kName,
  kList,
  kTuple,
  kDict,
  kChain,
  kNegate,
  kPlus,
  kNot,
  kAnd,
  kOr,
  kConcat,
  kMath,
  kCompare,
  kConditional
};

enum class Operator : uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn
};

struct Expression {
  Expression(ExpressionKind k, uint32_t l) : kind(k), line(l) {}
  virtual ~Expression() = default;
  Expression(const Expression&) = delete;
  Expression& operator=(const Expression&) = delete;

  ExpressionKind kind;
  uint32_t line;
};
using ExpressionPtr = std::unique_ptr<Expression>;

struct ConstantExpression : Expression {
  ConstantExpression(const Value& v, uint32_t l) : Expression(ExpressionKind::kConstant, l), value(v) {}
  Value value;
};

struct NameExpression : Expression {
  NameExpression(NameId n, uint32_t l) : Expression(ExpressionKind::kName, l), name(n) {}
  NameId name;
};

/// kList, kTuple, kAnd, kOr, kConcat; kNegate, kPlus, kNot with one item; kDict with key, value, key, value, ...;
/// kConditional with condition, then and, if there is one, else.
struct ItemsExpression : Expression {
  using Expression::Expression;
  std::vector<ExpressionPtr> items;
};

/// kMath, kCompare: first op operand op operand ...
struct OperatorExpression : Expression {
  using Expression::Expression;
  ExpressionPtr first;
  std::vector<std::pair<Operator, ExpressionPtr>> rest;
};

struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr star;         ///< *list, or null
  ExpressionPtr double_star;  ///< **dict, or null
};

enum class LinkKind : uint8_t { kAttribute, kItem, kSlice, kCall, kFilter, kTest };

/// One step after the base of a chain.
struct Link {
  LinkKind kind = LinkKind::kAttribute;
  uint32_t line = 0;
  bool negated = false;  ///< `is not`
  std::string name;      ///< attribute, filter, test
  CallArguments arguments;
  ExpressionPtr index;              ///< kItem
  ExpressionPtr start, stop, step;  ///< kSlice, each may be null
};

struct ChainExpression : Expression {
  explicit ChainExpression(uint32_t l) : Expression(ExpressionKind::kChain, l) {}
  ExpressionPtr base;  ///< null in filter blocks: the block's text is the base
  std::vector<Link> links;
};

/// What can be assigned to.
struct Target {
  enum class Kind : uint8_t { kName, kAttribute, kTuple } kind = Kind::kName;
  NameId name = 0;
  std::string attribute;        ///< kAttribute: of the namespace `name`
  std::vector<Target> targets;  ///< kTuple
  uint32_t line = 0;
};

enum class StatementKind : uint8_t {
  kText,
  kPrint,
  kIf,
  kFor,
  kSet,
  kSetBlock,
  kMacro,
  kCallBlock,
  kFilterBlock,
  kWith,
  kScope,
  kBreak,
  kContinue
};

struct Statement {
  Statement(StatementKind k, uint32_t l) : kind(k), line(l) {}
  virtual ~Statement() = default;
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  StatementKind kind;
  uint32_t line;
};
using Body = std::vector<std::unique_ptr<Statement>>;

struct TextStatement : Statement {
  TextStatement(std::string t, uint32_t l) : Statement(StatementKind::kText, l), text(std::move(t)) {}
  std::string text;
};

struct PrintStatement : Statement {
  PrintStatement(ExpressionPtr v, uint32_t l) : Statement(StatementKind::kPrint, l), value(std::move(v)) {}
  ExpressionPtr value;
};

struct IfStatement : Statement {
  explicit IfStatement(uint32_t l) : Statement(StatementKind::kIf, l) {}
  std::vector<std::pair<ExpressionPtr, Body>> branches;
  Body otherwise;
};

struct ForStatement : Statement {
  explicit ForStatement(uint32_t l) : Statement(StatementKind::kFor, l) {}
  Target target;
  ExpressionPtr iterable;
  ExpressionPtr condition;  ///< or null
  bool recursive = false;
  bool makes_closures = false;  ///< a macro or call block inside keeps the scope of its iteration alive
  Body body;
  Body otherwise;
};

struct SetStatement : Statement {
  explicit SetStatement(uint32_t l) : Statement(StatementKind::kSet, l) {}
  Target target;
  ExpressionPtr value;
};

struct SetBlockStatement : Statement {
  explicit SetBlockStatement(uint32_t l) : Statement(StatementKind::kSetBlock, l) {}
  Target target;
  std::unique_ptr<ChainExpression> filters;  ///< or null
  Body body;
};

/// A macro, or the body that a call block hands over as caller().
struct MacroDefinition {
  std::string name;
  std::vector<NameId> parameters;
  std::vector<ExpressionPtr> defaults;  ///< of the last parameters
  bool takes_varargs = false;           ///< its body names `varargs`
  bool takes_kwargs = false;
  bool takes_caller = false;
  Body body;
};

struct MacroStatement : Statement {
  explicit MacroStatement(uint32_t l) : Statement(StatementKind::kMacro, l) {}
  NameId name = 0;
  MacroDefinition definition;
};

struct CallBlockStatement : Statement {
  explicit CallBlockStatement(uint32_t l) : Statement(StatementKind::kCallBlock, l) {}
  MacroDefinition caller;
  std::unique_ptr<ChainExpression> call;  ///< its last link is the call
};

struct FilterBlockStatement : Statement {
  explicit FilterBlockStatement(uint32_t l) : Statement(StatementKind::kFilterBlock, l) {}
  std::unique_ptr<ChainExpression> filters;
  Body body;
};

struct WithStatement : Statement {
  explicit WithStatement(uint32_t l) : Statement(StatementKind::kWith, l) {}
  std::vector<std::pair<Target, ExpressionPtr>> values;
  Body body;
};

/// {% generation %}: the text passes through, variables stay inside.
struct ScopeStatement : Statement {
  explicit ScopeStatement(uint32_t l) : Statement(StatementKind::kScope, l) {}
  Body body;
};

/// {% break %} and {% continue %}.
struct JumpStatement : Statement {
  using Statement::Statement;
};

/// Every name of the template once; scopes compare numbers.
class Names {
 public:
  NameId id(std::string_view name) {
    if (const auto it = ids_.find(name); it != ids_.end()) return it->second;
    const auto id = static_cast<NameId>(names_.size());
    names_.emplace_back(name);
    ids_.emplace(names_.back(), id);
    return id;
  }
  std::optional<NameId> find(std::string_view name) const {
    const auto it = ids_.find(name);
    return it == ids_.end() ? std::nullopt : std::optional(it->second);
  }
  const std::string& name(NameId id) const { return names_[id]; }
  size_t size() const noexcept { return names_.size(); }

 private:
  std::deque<std::string> names_;
  std::map<std::string_view, NameId> ids_;
};

struct Template {
  Heap constants;
  Names names;
  Body body;
};

}  // namespace kvasir::jinja
