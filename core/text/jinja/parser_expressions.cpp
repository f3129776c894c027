#include <algorithm>
#include <array>
#include <optional>

#include "core/text/jinja/literals.h"
#include "core/text/jinja/parser_impl.h"

namespace kvasir::jinja {
namespace {

std::optional<Operator> comparison_operator(std::string_view op) {
  if (op == "==") return Operator::kEqual;
  if (op == "!=") return Operator::kNotEqual;
  if (op == "<") return Operator::kLess;
  if (op == "<=") return Operator::kLessEqual;
  if (op == ">") return Operator::kGreater;
  if (op == ">=") return Operator::kGreaterEqual;
  return std::nullopt;
}

ExpressionPtr one_item(ExpressionKind kind, uint32_t line, ExpressionPtr item) {
  std::vector<ExpressionPtr> items;
  items.push_back(std::move(item));
  return items_expression(kind, line, std::move(items));
}

}  // namespace

ExpressionPtr items_expression(ExpressionKind kind, uint32_t line, std::vector<ExpressionPtr> items) {
  auto node = std::make_unique<ItemsExpression>(kind, line);
  node->items = std::move(items);
  return node;
}

ExpressionPtr Parser::constant(const Value& value, uint32_t at_line) {
  return std::make_unique<ConstantExpression>(value, at_line);
}

Result<ExpressionPtr> Parser::expression(bool conditional) {
  const Descent descent(depth_);
  KVASIR_TRY(check_depth(descent));
  return conditional ? conditional_expression() : or_expression();
}

Result<ExpressionPtr> Parser::expression_list(bool conditional, std::string_view stop_name, bool in_parentheses) {
  const uint32_t at = line();
  std::vector<ExpressionPtr> items;
  bool is_tuple = false;
  while (true) {
    const bool ended = current().kind == TokenKind::kPrintEnd || current().kind == TokenKind::kBlockEnd ||
                       at_operator(")") || (!stop_name.empty() && at_name(stop_name));
    if (ended) break;
    items.push_back(KVASIR_TRY(expression(conditional)));
    if (!skip_operator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !items.empty()) return std::move(items.front());
  if (items.empty() && !in_parentheses) return expected("an expression");
  return items_expression(ExpressionKind::kTuple, at, std::move(items));
}

Result<ExpressionPtr> Parser::conditional_expression() {
  const uint32_t at = line();
  auto value = KVASIR_TRY(or_expression());
  uint32_t wraps = 0;
  while (skip_name("if")) {
    if (++wraps > limits_.max_depth) return fail("too many conditions in one expression", at);
    std::vector<ExpressionPtr> items;
    items.push_back(KVASIR_TRY(or_expression()));
    items.push_back(std::move(value));
    if (skip_name("else")) {
      const Descent descent(depth_);
      KVASIR_TRY(check_depth(descent));
      items.push_back(KVASIR_TRY(conditional_expression()));
    }
    value = items_expression(ExpressionKind::kConditional, at, std::move(items));
  }
  return value;
}

Result<ExpressionPtr> Parser::or_expression() {
  const uint32_t at = line();
  auto first = KVASIR_TRY(and_expression());
  if (!at_name("or")) return first;
  std::vector<ExpressionPtr> items;
  items.push_back(std::move(first));
  while (skip_name("or")) items.push_back(KVASIR_TRY(and_expression()));
  return items_expression(ExpressionKind::kOr, at, std::move(items));
}

Result<ExpressionPtr> Parser::and_expression() {
  const uint32_t at = line();
  auto first = KVASIR_TRY(not_expression());
  if (!at_name("and")) return first;
  std::vector<ExpressionPtr> items;
  items.push_back(std::move(first));
  while (skip_name("and")) items.push_back(KVASIR_TRY(not_expression()));
  return items_expression(ExpressionKind::kAnd, at, std::move(items));
}

Result<ExpressionPtr> Parser::not_expression() {
  const uint32_t at = line();
  if (!skip_name("not")) return comparison();
  const Descent descent(depth_);
  KVASIR_TRY(check_depth(descent));
  return one_item(ExpressionKind::kNot, at, KVASIR_TRY(not_expression()));
}

Result<ExpressionPtr> Parser::comparison() {
  auto node = std::make_unique<OperatorExpression>(ExpressionKind::kCompare, line());
  node->first = KVASIR_TRY(sum());
  while (true) {
    if (current().kind == TokenKind::kOperator) {
      const auto op = comparison_operator(current().text);
      if (!op) break;
      advance();
      node->rest.emplace_back(*op, KVASIR_TRY(sum()));
    } else if (skip_name("in")) {
      node->rest.emplace_back(Operator::kIn, KVASIR_TRY(sum()));
    } else if (at_name("not") && following().kind == TokenKind::kName && following().text == "in") {
      advance();
      advance();
      node->rest.emplace_back(Operator::kNotIn, KVASIR_TRY(sum()));
    } else {
      break;
    }
  }
  if (node->rest.empty()) return std::move(node->first);
  return Result<ExpressionPtr>(std::move(node));
}

Result<ExpressionPtr> Parser::sum() {
  auto node = std::make_unique<OperatorExpression>(ExpressionKind::kMath, line());
  node->first = KVASIR_TRY(concatenation());
  while (at_operator("+") || at_operator("-")) {
    const auto op = at_operator("+") ? Operator::kAdd : Operator::kSubtract;
    advance();
    node->rest.emplace_back(op, KVASIR_TRY(concatenation()));
  }
  if (node->rest.empty()) return std::move(node->first);
  return Result<ExpressionPtr>(std::move(node));
}

Result<ExpressionPtr> Parser::concatenation() {
  const uint32_t at = line();
  auto first = KVASIR_TRY(product());
  if (!at_operator("~")) return first;
  std::vector<ExpressionPtr> items;
  items.push_back(std::move(first));
  while (skip_operator("~")) items.push_back(KVASIR_TRY(product()));
  return items_expression(ExpressionKind::kConcat, at, std::move(items));
}

Result<ExpressionPtr> Parser::product() {
  auto node = std::make_unique<OperatorExpression>(ExpressionKind::kMath, line());
  node->first = KVASIR_TRY(power());
  while (true) {
    std::optional<Operator> op;
    if (at_operator("*")) op = Operator::kMultiply;
    if (at_operator("/")) op = Operator::kDivide;
    if (at_operator("//")) op = Operator::kFloorDivide;
    if (at_operator("%")) op = Operator::kModulo;
    if (!op) break;
    advance();
    node->rest.emplace_back(*op, KVASIR_TRY(power()));
  }
  if (node->rest.empty()) return std::move(node->first);
  return Result<ExpressionPtr>(std::move(node));
}

Result<ExpressionPtr> Parser::power() {
  auto node = std::make_unique<OperatorExpression>(ExpressionKind::kMath, line());
  node->first = KVASIR_TRY(unary(true));
  while (skip_operator("**")) node->rest.emplace_back(Operator::kPower, KVASIR_TRY(unary(true)));
  if (node->rest.empty()) return std::move(node->first);
  return Result<ExpressionPtr>(std::move(node));
}

Result<ExpressionPtr> Parser::unary(bool filters_too) {
  const uint32_t at = line();
  ExpressionPtr node;
  if (at_operator("-") || at_operator("+")) {
    const Descent descent(depth_);
    KVASIR_TRY(check_depth(descent));
    const auto kind = at_operator("-") ? ExpressionKind::kNegate : ExpressionKind::kPlus;
    advance();
    node = one_item(kind, at, KVASIR_TRY(unary(false)));
  } else {
    node = KVASIR_TRY(primary());
  }
  node = KVASIR_TRY(with_postfix(std::move(node)));
  if (filters_too) node = KVASIR_TRY(with_filters(std::move(node)));
  return node;
}

Result<ExpressionPtr> Parser::primary() {
  switch (current().kind) {
    case TokenKind::kName:
      return name_or_constant();
    case TokenKind::kString:
      return string_constant();
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return number_constant();
    case TokenKind::kOperator:
      if (at_operator("[")) return list_literal();
      if (at_operator("{")) return dict_literal();
      if (skip_operator("(")) {
        auto inner = KVASIR_TRY(expression_list(true, {}, true));
        KVASIR_TRY(expect_operator(")"));
        return inner;
      }
      break;
    default:
      break;
  }
  return expected("an expression");
}

Result<ExpressionPtr> Parser::name_or_constant() {
  const uint32_t at = line();
  const auto name = current().text;
  advance();
  if (name == "true" || name == "True") return constant(Value::boolean(true), at);
  if (name == "false" || name == "False") return constant(Value::boolean(false), at);
  if (name == "none" || name == "None") return constant(Value::none(), at);
  return Result<ExpressionPtr>(std::make_unique<NameExpression>(name_id(name), at));
}

Result<ExpressionPtr> Parser::string_constant() {
  const uint32_t at = line();
  std::string text;
  while (current().kind == TokenKind::kString) {  // neighbours join, as in Python
    auto piece = unescape_string(current().text);
    if (!piece) return fail(piece.error().message, line());
    text += *piece;
    advance();
  }
  return constant(template_.constants.adopt_string(Text(std::move(text), true)), at);
}

Result<ExpressionPtr> Parser::number_constant() {
  const uint32_t at = line();
  const Token token = current();
  advance();
  if (token.kind == TokenKind::kFloat) return constant(Value::real(parse_float_literal(token.text)), at);
  const auto value = parse_integer_literal(token.text);
  if (!value) return fail("the integer " + std::string(token.text.substr(0, 40)) + " does not fit 64 bits", at);
  return constant(Value::integer(*value), at);
}

Result<ExpressionPtr> Parser::list_literal() {
  const uint32_t at = line();
  advance();
  std::vector<ExpressionPtr> items;
  while (!at_operator("]")) {
    if (!items.empty()) KVASIR_TRY(expect_operator(","));
    if (at_operator("]")) break;
    items.push_back(KVASIR_TRY(expression()));
  }
  advance();
  return items_expression(ExpressionKind::kList, at, std::move(items));
}

Result<ExpressionPtr> Parser::dict_literal() {
  const uint32_t at = line();
  advance();
  std::vector<ExpressionPtr> items;
  while (!at_operator("}")) {
    if (!items.empty()) KVASIR_TRY(expect_operator(","));
    if (at_operator("}")) break;
    items.push_back(KVASIR_TRY(expression()));
    KVASIR_TRY(expect_operator(":"));
    items.push_back(KVASIR_TRY(expression()));
  }
  advance();
  return items_expression(ExpressionKind::kDict, at, std::move(items));
}

}  // namespace kvasir::jinja
