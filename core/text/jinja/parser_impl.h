// The parser's state; parser_statements.cpp and parser_expressions.cpp hold its two halves. Private to the parser.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "core/text/jinja/budget.h"
#include "core/text/jinja/lexer.h"
#include "core/text/jinja/syntax.h"

namespace kvasir::jinja {

ExpressionPtr items_expression(ExpressionKind kind, uint32_t line, std::vector<ExpressionPtr> items);

class Parser {
 public:
  Parser(std::vector<Token> tokens, const TemplateLimits& limits) : tokens_(std::move(tokens)), limits_(limits) {}
  Result<Template> run();

 private:
  // Tokens.
  const Token& current() const { return tokens_[position_]; }
  const Token& following() const { return tokens_[std::min(position_ + 1, tokens_.size() - 1)]; }
  uint32_t line() const { return current().line; }
  void advance() {
    if (position_ + 1 < tokens_.size()) ++position_;
  }
  bool at_operator(std::string_view op) const { return current().kind == TokenKind::kOperator && current().text == op; }
  bool at_name(std::string_view name) const { return current().kind == TokenKind::kName && current().text == name; }
  bool skip_operator(std::string_view op);
  bool skip_name(std::string_view name);
  Result<void> expect_operator(std::string_view op);
  Result<void> expect_name(std::string_view name);
  Result<std::string> expect_any_name(const char* what);
  Failure fail(const std::string& message, uint32_t at_line) const;
  Failure expected(const std::string& what) const;
  Result<void> check_depth(const Descent& descent) const {
    return descent.at_most(limits_.max_depth, "the chat template");
  }
  NameId name_id(std::string_view name);

  // Statements.
  Result<Body> body_until(std::initializer_list<std::string_view> ends, std::string_view opener, uint32_t opened_at);
  Result<Body> block(std::initializer_list<std::string_view> ends, std::string_view opener, uint32_t opened_at);
  Result<std::unique_ptr<Statement>> statement();
  Result<std::unique_ptr<Statement>> if_statement();
  Result<std::unique_ptr<Statement>> for_statement();
  Result<std::unique_ptr<Statement>> set_statement();
  Result<std::unique_ptr<Statement>> macro_statement();
  Result<std::unique_ptr<Statement>> call_statement();
  Result<std::unique_ptr<Statement>> filter_statement();
  Result<std::unique_ptr<Statement>> with_statement();
  Result<std::unique_ptr<Statement>> generation_statement();
  Result<std::unique_ptr<Statement>> jump_statement(StatementKind kind);
  Failure unknown_tag() const;
  Result<void> signature(MacroDefinition& definition);
  Result<void> macro_body(MacroDefinition& definition, std::string_view end, uint32_t opened_at);
  Result<Target> target(bool stop_at_in, bool namespaces);
  Result<Target> one_target(bool namespaces);

  // Expressions.
  Result<ExpressionPtr> expression(bool conditional = true);
  /// Comma-separated: one expression, or a tuple.
  Result<ExpressionPtr> expression_list(bool conditional, std::string_view stop_name = {}, bool in_parentheses = false);
  Result<ExpressionPtr> conditional_expression();
  Result<ExpressionPtr> or_expression();
  Result<ExpressionPtr> and_expression();
  Result<ExpressionPtr> not_expression();
  Result<ExpressionPtr> comparison();
  Result<ExpressionPtr> sum();
  Result<ExpressionPtr> concatenation();
  Result<ExpressionPtr> product();
  Result<ExpressionPtr> power();
  Result<ExpressionPtr> unary(bool with_filters);
  Result<ExpressionPtr> primary();
  Result<ExpressionPtr> name_or_constant();
  Result<ExpressionPtr> string_constant();
  Result<ExpressionPtr> number_constant();
  Result<ExpressionPtr> list_literal();
  Result<ExpressionPtr> dict_literal();
  Result<ExpressionPtr> with_postfix(ExpressionPtr base);
  Result<ExpressionPtr> with_filters(ExpressionPtr base);
  Result<void> filters(ChainExpression& chain, bool first_without_pipe);
  Result<Link> attribute_or_item();
  Result<Link> subscript();
  Result<Link> call_link();
  Result<Link> filter_link();
  Result<Link> test_link();
  Result<CallArguments> call_arguments();
  ExpressionPtr constant(const Value& value, uint32_t at_line);

  std::vector<Token> tokens_;
  TemplateLimits limits_;
  size_t position_ = 0;
  uint32_t depth_ = 0;
  uint32_t loops_ = 0;                ///< loops around the current statement within its macro
  uint32_t closures_seen_ = 0;        ///< macros and call blocks so far
  MacroDefinition* macro_ = nullptr;  ///< the innermost one around the current statement
  Template template_;
};

}  // namespace kvasir::jinja
