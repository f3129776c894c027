// What follows a value in an expression: attributes, items, calls, filters, tests.
#include <utility>

#include "core/text/jinja/parser_impl.h"

namespace kvasir::jinja {
namespace {

/// Adds links to `base`, which becomes a chain if it is not one yet.
ChainExpression& as_chain(ExpressionPtr& base) {
  if (base->kind != ExpressionKind::kChain) {
    auto chain = std::make_unique<ChainExpression>(base->line);
    chain->base = std::move(base);
    base = std::move(chain);
  }
  return static_cast<ChainExpression&>(*base);
}

}  // namespace

Result<ExpressionPtr> Parser::with_postfix(ExpressionPtr base) {
  while (true) {
    if (at_operator(".") || at_operator("[")) {
      as_chain(base).links.push_back(KVASIR_TRY(attribute_or_item()));
    } else if (at_operator("(")) {
      as_chain(base).links.push_back(KVASIR_TRY(call_link()));
    } else {
      return base;
    }
  }
}

Result<ExpressionPtr> Parser::with_filters(ExpressionPtr base) {
  while (true) {
    if (skip_operator("|")) {
      as_chain(base).links.push_back(KVASIR_TRY(filter_link()));
    } else if (at_name("is")) {
      as_chain(base).links.push_back(KVASIR_TRY(test_link()));
    } else if (at_operator("(")) {
      as_chain(base).links.push_back(KVASIR_TRY(call_link()));
    } else {
      return base;
    }
  }
}

Result<void> Parser::filters(ChainExpression& chain, bool first_without_pipe) {
  if (first_without_pipe) chain.links.push_back(KVASIR_TRY(filter_link()));
  while (skip_operator("|")) chain.links.push_back(KVASIR_TRY(filter_link()));
  return {};
}

Result<Link> Parser::attribute_or_item() {
  Link link;
  link.line = line();
  if (!skip_operator(".")) return subscript();
  if (current().kind == TokenKind::kInteger) {
    link.kind = LinkKind::kItem;
    link.index = KVASIR_TRY(number_constant());
    return link;
  }
  link.name = KVASIR_TRY(expect_any_name("a name or a number after '.'"));
  return link;
}

Result<Link> Parser::subscript() {
  Link link;
  link.line = line();
  advance();
  link.kind = LinkKind::kSlice;
  if (!at_operator(":")) {
    auto first = KVASIR_TRY(expression());
    if (!at_operator(":")) {
      link.kind = LinkKind::kItem;
      link.index = std::move(first);
      if (at_operator(",")) {  // x[1, 2] looks up the tuple (1, 2)
        std::vector<ExpressionPtr> items;
        items.push_back(std::move(link.index));
        while (skip_operator(",")) {
          if (at_operator("]")) break;
          items.push_back(KVASIR_TRY(expression()));
        }
        link.index = items_expression(ExpressionKind::kTuple, link.line, std::move(items));
      }
      KVASIR_TRY(expect_operator("]"));
      return link;
    }
    link.start = std::move(first);
  }
  advance();  // the first colon
  if (!at_operator(":") && !at_operator("]")) link.stop = KVASIR_TRY(expression());
  if (skip_operator(":") && !at_operator("]")) link.step = KVASIR_TRY(expression());
  KVASIR_TRY(expect_operator("]"));
  return link;
}

Result<Link> Parser::call_link() {
  Link link;
  link.kind = LinkKind::kCall;
  link.line = line();
  link.arguments = KVASIR_TRY(call_arguments());
  return link;
}

Result<Link> Parser::filter_link() {
  Link link;
  link.kind = LinkKind::kFilter;
  link.line = line();
  link.name = KVASIR_TRY(expect_any_name("the name of a filter"));
  while (skip_operator(".")) link.name += "." + KVASIR_TRY(expect_any_name("the name of a filter"));  // as in Jinja2
  if (at_operator("(")) link.arguments = KVASIR_TRY(call_arguments());
  return link;
}

Result<Link> Parser::test_link() {
  Link link;
  link.kind = LinkKind::kTest;
  link.line = line();
  advance();
  link.negated = skip_name("not");
  link.name = KVASIR_TRY(expect_any_name("the name of a test after 'is'"));
  if (at_operator("(")) {
    link.arguments = KVASIR_TRY(call_arguments());
    return link;
  }
  const auto kind = current().kind;
  const bool value_kind = kind == TokenKind::kName || kind == TokenKind::kString || kind == TokenKind::kInteger ||
                          kind == TokenKind::kFloat || at_operator("[") || at_operator("{");
  if (!value_kind || at_name("else") || at_name("or") || at_name("and")) return link;
  if (at_name("is")) return fail("tests cannot be chained with 'is'; expected 'and'", line());
  const Descent descent(depth_);
  KVASIR_TRY(check_depth(descent));
  auto argument = KVASIR_TRY(primary());
  link.arguments.positional.push_back(KVASIR_TRY(with_postfix(std::move(argument))));
  return link;
}

Result<CallArguments> Parser::call_arguments() {
  CallArguments arguments;
  KVASIR_TRY(expect_operator("("));
  bool first = true;
  while (!at_operator(")")) {
    if (!first) {
      KVASIR_TRY(expect_operator(","));
      if (at_operator(")")) break;
    }
    first = false;
    const bool named =
        current().kind == TokenKind::kName && following().kind == TokenKind::kOperator && following().text == "=";
    if (arguments.double_star) return expected("')' after a ** argument");
    if (skip_operator("**")) {
      arguments.double_star = KVASIR_TRY(expression());
    } else if (skip_operator("*")) {
      if (arguments.star) return expected("only one * argument");
      arguments.star = KVASIR_TRY(expression());
    } else if (named) {
      std::string name(current().text);
      advance();
      advance();
      arguments.named.emplace_back(std::move(name), KVASIR_TRY(expression()));
    } else {
      if (arguments.star || !arguments.named.empty()) return expected("a named argument, because one came before");
      arguments.positional.push_back(KVASIR_TRY(expression()));
    }
  }
  KVASIR_TRY(expect_operator(")"));
  return arguments;
}

}  // namespace kvasir::jinja
