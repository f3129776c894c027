#include <algorithm>
#include <array>
#include <set>

#include "core/text/jinja/parser.h"
#include "core/text/jinja/parser_impl.h"
#include "core/text/jinja/unicode.h"

namespace kvasir::jinja {
namespace {

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kText:
      return "text";
    case TokenKind::kBlockBegin:
    case TokenKind::kPrintBegin:
    case TokenKind::kBlockEnd:
    case TokenKind::kPrintEnd:
      return quoted(token.text);
    case TokenKind::kString:
      return "a string";
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return "the number " + std::string(token.text.substr(0, 40));
    case TokenKind::kName:
    case TokenKind::kOperator:
      return quoted(token.text);
    case TokenKind::kEnd:
      return "the end of the template";
  }
  return "something else";
}

}  // namespace

Result<Template> parse_template(std::string_view source, const TemplateLimits& limits) {
  if (source.size() > limits.max_template_bytes) {
    return Failure{Code::kTooLarge, "the chat template has " + std::to_string(source.size()) + " bytes, more than " +
                                        std::to_string(limits.max_template_bytes) + " (template text limit)"};
  }
  if (!is_valid_utf8(source)) return Failure{Code::kInvalidArgument, "the chat template is not valid UTF-8"};
  const std::string normalised = normalise_newlines(source);
  auto tokens = KVASIR_TRY(tokenize_template(normalised));
  return Parser(std::move(tokens), limits).run();
}

Result<Template> Parser::run() {
  template_.body = KVASIR_TRY(body_until({}, "", 1));
  return std::move(template_);
}

bool Parser::skip_operator(std::string_view op) {
  if (!at_operator(op)) return false;
  advance();
  return true;
}

bool Parser::skip_name(std::string_view name) {
  if (!at_name(name)) return false;
  advance();
  return true;
}

Result<void> Parser::expect_operator(std::string_view op) {
  if (!skip_operator(op)) return expected(quoted(op));
  return {};
}

Result<void> Parser::expect_name(std::string_view name) {
  if (!skip_name(name)) return expected(quoted(name));
  return {};
}

Result<std::string> Parser::expect_any_name(const char* what) {
  if (current().kind != TokenKind::kName) return expected(what);
  std::string name(current().text);
  advance();
  return name;
}

Failure Parser::fail(const std::string& message, uint32_t at_line) const {
  return Failure{Code::kInvalidArgument, "chat template, line " + std::to_string(at_line) + ": " + message};
}

Failure Parser::expected(const std::string& what) const {
  return fail("expected " + what + ", found " + describe(current()), line());
}

NameId Parser::name_id(std::string_view name) {
  if (macro_ != nullptr) {
    macro_->takes_varargs = macro_->takes_varargs || name == "varargs";
    macro_->takes_kwargs = macro_->takes_kwargs || name == "kwargs";
    macro_->takes_caller = macro_->takes_caller || name == "caller";
  }
  return template_.names.id(name);
}

Result<Body> Parser::body_until(std::initializer_list<std::string_view> ends, std::string_view opener,
                                uint32_t opened_at) {
  Body body;
  while (true) {
    const uint32_t at = line();
    switch (current().kind) {
      case TokenKind::kText:
        body.push_back(std::make_unique<TextStatement>(std::string(current().text), at));
        advance();
        break;
      case TokenKind::kPrintBegin: {
        advance();
        body.push_back(std::make_unique<PrintStatement>(KVASIR_TRY(expression_list(true)), at));
        if (current().kind != TokenKind::kPrintEnd) return expected("'}}'");
        advance();
        break;
      }
      case TokenKind::kBlockBegin: {
        advance();
        const bool ended =
            current().kind == TokenKind::kName && std::find(ends.begin(), ends.end(), current().text) != ends.end();
        if (ended) return body;
        body.push_back(KVASIR_TRY(statement()));
        if (current().kind != TokenKind::kBlockEnd) return expected("'%}'");
        advance();
        break;
      }
      default: {
        if (ends.size() == 0) return body;
        return fail("the template ends inside {% " + std::string(opener) + " %} of line " + std::to_string(opened_at) +
                        "; expected {% " + std::string(*(ends.end() - 1)) + " %}",
                    at);
      }
    }
  }
}

Result<Body> Parser::block(std::initializer_list<std::string_view> ends, std::string_view opener, uint32_t opened_at) {
  skip_operator(":");
  if (current().kind != TokenKind::kBlockEnd) return expected("'%}'");
  advance();
  return body_until(ends, opener, opened_at);
}

Result<std::unique_ptr<Statement>> Parser::statement() {
  const Descent descent(depth_);
  KVASIR_TRY(check_depth(descent));
  if (current().kind != TokenKind::kName) return expected("a tag name");
  const auto tag = current().text;
  if (tag == "if") return if_statement();
  if (tag == "for") return for_statement();
  if (tag == "set") return set_statement();
  if (tag == "macro") return macro_statement();
  if (tag == "call") return call_statement();
  if (tag == "filter") return filter_statement();
  if (tag == "with") return with_statement();
  if (tag == "generation") return generation_statement();
  if (tag == "break") return jump_statement(StatementKind::kBreak);
  if (tag == "continue") return jump_statement(StatementKind::kContinue);
  return unknown_tag();
}

Failure Parser::unknown_tag() const {
  const std::string tag(current().text.substr(0, 40));
  constexpr std::array<std::string_view, 5> kOtherFiles{"include", "import", "extends", "from", "block"};
  if (std::find(kOtherFiles.begin(), kOtherFiles.end(), tag) != kOtherFiles.end()) {
    return fail("{% " + tag + " %} is not supported: a chat template is one text and cannot use other files", line());
  }
  if (tag.starts_with("end") || tag == "else" || tag == "elif") {
    return fail("unexpected {% " + tag + " %}: no block is open that it could belong to", line());
  }
  return fail(
      "unknown tag '" + tag + "'; expected if, for, set, macro, call, filter, with, generation, break, continue or raw",
      line());
}

Result<std::unique_ptr<Statement>> Parser::if_statement() {
  auto node = std::make_unique<IfStatement>(line());
  advance();
  while (true) {
    auto condition = KVASIR_TRY(expression_list(false));
    auto body = KVASIR_TRY(block({"elif", "else", "endif"}, "if", node->line));
    node->branches.emplace_back(std::move(condition), std::move(body));
    if (skip_name("elif")) continue;
    if (skip_name("else")) node->otherwise = KVASIR_TRY(block({"endif"}, "if", node->line));
    advance();
    return Result<std::unique_ptr<Statement>>(std::move(node));
  }
}

Result<std::unique_ptr<Statement>> Parser::for_statement() {
  auto node = std::make_unique<ForStatement>(line());
  advance();
  node->target = KVASIR_TRY(target(true, false));
  KVASIR_TRY(expect_name("in"));
  node->iterable = KVASIR_TRY(expression_list(false, "recursive"));
  if (skip_name("if")) node->condition = KVASIR_TRY(expression());
  node->recursive = skip_name("recursive");
  const uint32_t closures_before = closures_seen_;
  ++loops_;
  auto body = block({"else", "endfor"}, "for", node->line);
  --loops_;
  node->body = KVASIR_TRY(std::move(body));
  node->makes_closures = closures_seen_ != closures_before;
  if (skip_name("else")) node->otherwise = KVASIR_TRY(block({"endfor"}, "for", node->line));
  advance();
  return Result<std::unique_ptr<Statement>>(std::move(node));
}

Result<std::unique_ptr<Statement>> Parser::set_statement() {
  const uint32_t at = line();
  advance();
  auto assigned = KVASIR_TRY(target(false, true));
  if (skip_operator("=")) {
    auto node = std::make_unique<SetStatement>(at);
    node->target = std::move(assigned);
    node->value = KVASIR_TRY(expression_list(true));
    return Result<std::unique_ptr<Statement>>(std::move(node));
  }
  auto node = std::make_unique<SetBlockStatement>(at);
  node->target = std::move(assigned);
  if (at_operator("|")) {
    node->filters = std::make_unique<ChainExpression>(at);
    KVASIR_TRY(filters(*node->filters, false));
  }
  if (current().kind != TokenKind::kBlockEnd) return expected("'=' or '%}' after the target of set");
  node->body = KVASIR_TRY(block({"endset"}, "set", at));
  advance();
  return Result<std::unique_ptr<Statement>>(std::move(node));
}

Result<void> Parser::signature(MacroDefinition& definition) {
  KVASIR_TRY(expect_operator("("));
  std::set<NameId> seen;
  while (!at_operator(")")) {
    if (!definition.parameters.empty()) KVASIR_TRY(expect_operator(","));
    const uint32_t at = line();
    const auto name = KVASIR_TRY(expect_any_name("a parameter name"));
    const auto id = template_.names.id(name);
    if (!seen.insert(id).second) {
      return fail("the parameter '" + name + "' appears twice", at);
    }
    definition.parameters.push_back(id);
    if (skip_operator("=")) {
      definition.defaults.push_back(KVASIR_TRY(expression()));
    } else if (!definition.defaults.empty()) {
      return fail("the parameter '" + name + "' needs a default, because one before it has one", at);
    }
  }
  return expect_operator(")");
}

Result<void> Parser::macro_body(MacroDefinition& definition, std::string_view end, uint32_t opened_at) {
  ++closures_seen_;
  MacroDefinition* const outer = std::exchange(macro_, &definition);
  const uint32_t outer_loops = std::exchange(loops_, 0U);
  auto body = block({end}, end.substr(3), opened_at);
  macro_ = outer;
  loops_ = outer_loops;
  if (outer != nullptr) {  // Jinja looks for these three names through nested macros too
    outer->takes_varargs = outer->takes_varargs || definition.takes_varargs;
    outer->takes_kwargs = outer->takes_kwargs || definition.takes_kwargs;
    outer->takes_caller = outer->takes_caller || definition.takes_caller;
  }
  definition.body = KVASIR_TRY(std::move(body));
  advance();
  return {};
}

Result<std::unique_ptr<Statement>> Parser::macro_statement() {
  auto node = std::make_unique<MacroStatement>(line());
  advance();
  node->definition.name = KVASIR_TRY(expect_any_name("the name of the macro"));
  node->name = template_.names.id(node->definition.name);
  KVASIR_TRY(signature(node->definition));
  KVASIR_TRY(macro_body(node->definition, "endmacro", node->line));
  return Result<std::unique_ptr<Statement>>(std::move(node));
}

Result<std::unique_ptr<Statement>> Parser::call_statement() {
  auto node = std::make_unique<CallBlockStatement>(line());
  advance();
  node->caller.name = "caller";
  if (at_operator("(")) KVASIR_TRY(signature(node->caller));
  const uint32_t at = line();
  auto call = KVASIR_TRY(expression());
  if (call->kind == ExpressionKind::kChain) {
    node->call.reset(static_cast<ChainExpression*>(call.release()));
  }
  if (!node->call || node->call->links.back().kind != LinkKind::kCall) {
    return fail("expected a call after 'call', such as {% call card(1) %}", at);
  }
  KVASIR_TRY(macro_body(node->caller, "endcall", node->line));
  return Result<std::unique_ptr<Statement>>(std::move(node));
}

Result<std::unique_ptr<Statement>> Parser::filter_statement() {
  auto node = std::make_unique<FilterBlockStatement>(line());
  advance();
  node->filters = std::make_unique<ChainExpression>(node->line);
  KVASIR_TRY(filters(*node->filters, true));
  node->body = KVASIR_TRY(block({"endfilter"}, "filter", node->line));
  advance();
  return Result<std::unique_ptr<Statement>>(std::move(node));
}

Result<std::unique_ptr<Statement>> Parser::with_statement() {
  auto node = std::make_unique<WithStatement>(line());
  advance();
  while (current().kind != TokenKind::kBlockEnd) {
    if (!node->values.empty()) KVASIR_TRY(expect_operator(","));
    auto assigned = KVASIR_TRY(one_target(false));
    KVASIR_TRY(expect_operator("="));
    node->values.emplace_back(std::move(assigned), KVASIR_TRY(expression()));
  }
  node->body = KVASIR_TRY(block({"endwith"}, "with", node->line));
  advance();
  return Result<std::unique_ptr<Statement>>(std::move(node));
}

Result<std::unique_ptr<Statement>> Parser::generation_statement() {
  auto node = std::make_unique<ScopeStatement>(line());
  advance();
  const uint32_t outer_loops = std::exchange(loops_, 0U);  // a jump out of it is an error in Hugging Face's too
  auto body = block({"endgeneration"}, "generation", node->line);
  loops_ = outer_loops;
  node->body = KVASIR_TRY(std::move(body));
  advance();
  return Result<std::unique_ptr<Statement>>(std::move(node));
}

Result<std::unique_ptr<Statement>> Parser::jump_statement(StatementKind kind) {
  if (loops_ == 0) return fail(quoted(current().text) + " stands outside of a loop", line());
  auto node = std::make_unique<JumpStatement>(kind, line());
  advance();
  return Result<std::unique_ptr<Statement>>(std::move(node));
}

Result<Target> Parser::target(bool stop_at_in, bool namespaces) {
  const uint32_t at = line();
  std::vector<Target> targets;
  bool is_tuple = false;
  while (true) {
    const bool ended =
        current().kind == TokenKind::kBlockEnd || at_operator("=") || at_operator(")") || (stop_at_in && at_name("in"));
    if (ended && !targets.empty()) break;
    targets.push_back(KVASIR_TRY(one_target(namespaces)));
    if (!skip_operator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple) return std::move(targets.front());
  Target tuple;
  tuple.kind = Target::Kind::kTuple;
  tuple.targets = std::move(targets);
  tuple.line = at;
  return tuple;
}

Result<Target> Parser::one_target(bool namespaces) {
  const Descent descent(depth_);
  KVASIR_TRY(check_depth(descent));
  if (skip_operator("(")) {
    auto inner = KVASIR_TRY(target(false, namespaces));
    KVASIR_TRY(expect_operator(")"));
    return inner;
  }
  Target result;
  result.line = line();
  constexpr std::array<std::string_view, 6> kConstants{"true", "false", "none", "True", "False", "None"};
  if (std::find(kConstants.begin(), kConstants.end(), current().text) != kConstants.end()) {
    return fail("cannot assign to '" + std::string(current().text) + "'", line());
  }
  result.name = name_id(KVASIR_TRY(expect_any_name("the name of a variable")));
  if (namespaces && skip_operator(".")) {
    result.kind = Target::Kind::kAttribute;
    result.attribute = KVASIR_TRY(expect_any_name("the name of an attribute"));
  }
  return result;
}

}  // namespace kvasir::jinja
