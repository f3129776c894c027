// Templates and inputs that must be refused: clearly, quickly, and without growing.
#include <catch2/catch.hpp>
#include <chrono>
#include <string>

#include "core/text/chat_template.h"

using kvasir::ChatTemplate;
using kvasir::Code;
using kvasir::Error;
using kvasir::TemplateInput;
using kvasir::TemplateLimits;

namespace {

TemplateInput input() {
  TemplateInput in;
  in.messages_json = R"([{"role": "user", "content": "hi"}])";
  return in;
}

/// The error of parsing or rendering; a message of its own if there is none.
Error failure(const std::string& source, const TemplateInput& in = input(), const TemplateLimits& limits = {}) {
  const auto parsed = ChatTemplate::parse(source, limits);
  if (!parsed) return parsed.error();
  auto rendered = parsed->render(in);
  return rendered ? Error{Code::kInternal, "rendered: " + rendered->text().substr(0, 200)} : rendered.error();
}

bool says(const Error& error, const std::string& text) {
  return error.message.find(text) != std::string::npos;
}

std::string repeated(const std::string& piece, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += piece;
  return out;
}

/// The limit on time out of the way, so that sanitizers and busy machines see the same errors.
TemplateLimits unhurried() {
  TemplateLimits limits;
  limits.max_time = std::chrono::seconds(60);
  return limits;
}

/// Refused as too large, by the limit that `word` names.
void check_limited(const std::string& source, const std::string& word) {
  INFO(source.substr(0, 200));
  TemplateLimits limits = unhurried();
  limits.max_operations = 200'000;  // a tenth of the default: sanitizers are slow
  const auto error = failure(source, input(), limits);
  INFO(error.message);
  CHECK(error.code == Code::kTooLarge);
  CHECK(says(error, word));
}

}  // namespace

TEST_CASE("parse errors name the line and what was expected") {
  const auto [source, words] = GENERATE(table<std::string, std::string>({
      {"a\nb {{ 1 + }}", "line 2: expected an expression, found '}}'"},
      {"{% if x %}\n\nyes", "the template ends inside {% if %} of line 1; expected {% endif %}"},
      {"{% for x %}", "line 1: expected 'in', found '%}'"},
      {"\n\n{% endfor %}", "line 3: unexpected {% endfor %}"},
      {"{% frobnicate %}", "unknown tag 'frobnicate'; expected if, for, set"},
      {"{{ 'abc }}", "the string has no end; expected '"},
      {"{{ (1, 2] }}", "unexpected ']'; expected ')'"},
      {"{{ a", "unexpected end of template; expected }}"},
      {"{# never closed", "the comment that begins with {# has no end; expected #}"},
      {"{% raw %} x", "expected {% endraw %}"},
      {"{{ a $ b }}", "unexpected character '$'"},
      {"{{ a b }}", "expected '}}', found 'b'"},
      {"{% set 5 = 1 %}", "expected the name of a variable, found the number 5"},
      {"{% set true = 1 %}", "cannot assign to 'true'"},
      {"{% set x %}a", "expected {% endset %}"},
      {"{% macro m(a=1, b) %}{% endmacro %}", "'b' needs a default"},
      {"{% macro m(a, a) %}{% endmacro %}", "'a' appears twice"},
      {"{% break %}", "'break' stands outside of a loop"},
      {"{% for x in y %}{% macro m() %}{% continue %}{% endmacro %}{% endfor %}", "outside of a loop"},
      {"{{ 99999999999999999999 }}", "does not fit 64 bits"},
      {"{{ '\\ud800' }}", "invalid \\u escape"},
      {"{{ '\\N{DIGIT ONE}' }}", "not supported"},
      {"{{ x is defined is none is }}", "tests cannot be chained with 'is'; expected 'and'"},
      {"{{ f(a=1, 2) }}", "expected a named argument"},
      {"{% call x %}{% endcall %}", "expected a call"},
      {"{{ {1} }}", "expected ':'"},
      {"{{ x[1 }}", "unexpected '}'; expected ']'"},
  }));
  INFO(source);
  const auto error = failure(source);
  INFO(error.message);
  CHECK(error.code == Code::kInvalidArgument);
  CHECK(says(error, words));
}

TEST_CASE("other files are refused clearly") {
  for (const char* tag : {"include 'x'", "import 'x' as y", "extends 'x'", "from 'x' import y", "block z"}) {
    const auto error = failure(std::string("{% ") + tag + " %}");
    CHECK(error.code == Code::kInvalidArgument);
    CHECK(says(error, "cannot use other files"));
  }
}

TEST_CASE("raise_exception reaches the user in the template's own words") {
  const auto error =
      failure("\n{% if true %}{{ raise_exception('Roles must alternate: ' ~ messages[0].role) }}{% endif %}");
  CHECK(error.code == Code::kInvalidArgument);
  CHECK(error.message == "Roles must alternate: user");
}

TEST_CASE("rendering errors name the line and the reason") {
  const auto [source, words] = GENERATE(table<std::string, std::string>({
      {"\n{{ missing.name }}", "line 2: 'missing' is undefined"},
      {"{{ missing + 1 }}", "'missing' is undefined"},
      {"{{ missing() }}", "'missing' is undefined"},
      {"{{ missing > 1 }}", "'missing' is undefined"},
      {"{{ messages[0].a.b }}", "'dict object' has no attribute 'a'"},
      {"{{ messages[5].role }}", "list object has no element 5"},
      {"{{ 1 / 0 }}", "division by zero"},
      {"{{ 1 // 0 }}{{ 1 % 0 }}", "division by zero"},
      {"{{ 1 % 0.0 }}", "division by zero"},
      {"{{ 0 ** -1 }}", "negative power"},
      {"{{ 'a' + 1 }}", "cannot use '+' between str and int"},
      {"{{ 1 < 'a' }}", "between int and str"},
      {"{{ none.x.y }}", "has no attribute 'x'"},
      {"{{ 'a'|nope }}", "there is no filter 'nope'"},
      {"{{ 'a' is nope }}", "there is no test 'nope'"},
      {"{{ 'a'.nope() }}", "has no attribute 'nope'"},
      {"{% for x in 5 %}{% endfor %}", "a int cannot be iterated"},
      {"{% for x in none %}{% endfor %}", "a None cannot be iterated"},
      {"{% for a, b in [[1]] %}{% endfor %}", "cannot unpack 1 values into 2 names"},
      {"{% set x.y = 1 %}", "is not a namespace"},
      {"{{ messages.append(1) }}", "'append' is refused"},
      {"{% set _ = messages[0].update({}) %}", "'update' is refused"},
      {"{{ 9223372036854775807 + 1 }}", "does not fit 64 bits"},
      {"{{ 2 ** 64 }}", "does not fit 64 bits"},
      {"{{ range(1, 2, 0) }}", "step cannot be 0"},
      {"{{ [1][::0] }}", "step cannot be 0"},
      {"{{ {[]: 1} }}", "cannot be a key"},
      {"{{ [1, 'a']|sort }}", "between"},
      {"{{ missing|tojson }}", "'missing' is undefined"},
      {"{{ range|tojson }}", "cannot be written as JSON"},
      {"{{ '%d' % 'x' }}", "needs a number"},
      {"{{ '%s %s' % 'x' }}", "too few values"},
      {"{{ '{} {}'.format(1) }}", "there is no argument 1"},
      {"{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "macro 'm' takes at most 1 arguments"},
      {"{% macro m(a) %}{% endmacro %}{{ m(b=2) }}", "macro 'm' has no parameter 'b'"},
      {"{{ 'a'|replace('a') }}", "replace needs the argument 'new'"},
      {"{{ 'a'|upper(1) }}", "at most 0 arguments"},
      {"{{ 5() }}", "a int cannot be called"},
      {"{{ [1, 2](0) }}", "a list cannot be called"},
      {"{{ ''.__class__.__mro__ }}", "has no attribute '__class__'"},
      {"{{ messages.__init__.__globals__ }}", "has no attribute '__init__'"},
      {"{{ 'a'.join([1]) }}", "must be a str"},
      {"{{ loop.index }}", "'loop' is undefined"},
      {"{% for x in [1] %}{{ loop([2]) }}{% endfor %}", "'recursive'"},
  }));
  INFO(source);
  const auto error = failure(source);
  INFO(error.message);
  CHECK(error.code == Code::kInvalidArgument);
  CHECK(says(error, words));
  CHECK(says(error, "chat template, line "));
}

TEST_CASE("V13: loops and texts that would never end are stopped by name") {
  check_limited("{% for i in range(1000000000) %}x{% endfor %}", "range limit");
  check_limited("{{ 'a' * 10**9 }}", "output limit");
  check_limited("{% for i in range(10000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}", "operations limit");
  check_limited("{{ [0] * 10**9 }}", "operations limit");
  check_limited("{{ [0] * 9223372036854775807 }}", "operations limit");
  check_limited("{{ 'ab' * 9223372036854775807 }}", "output limit");
  check_limited("{% set ns = namespace(s='x') %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
                "limit");
  check_limited("{% set ns = namespace(l=[1]) %}{% for i in range(64) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
                "limit");
  check_limited(
      "{% set ns = namespace(l=[]) %}{% for i in range(10000) %}{% set ns.l = ns.l + ['x' * 1000000] %}{% endfor %}",
      "limit");
  check_limited("{% set s = 'a' * 8000000 %}{% for i in range(10000) %}{{ s|upper|length }}{% endfor %}", "limit");
  check_limited(
      "{% set s = 'a' * 4000000 %}{% set t = s[1:] + 'b' %}{% for i in range(10000) %}{{ t in s + s }}{% endfor %}",
      "limit");
  check_limited("{% set l = range(10000) %}{% for i in l %}{{ (l|map('string')|join)|length }}{% endfor %}", "limit");
  check_limited("{{ '%1000000000d' % 1 }}", "limit");
  check_limited("{{ '{:>99999999}'.format(1) }}", "limit");
  check_limited("{{ 'x'|center(10**12) }}", "limit");
  check_limited("{{ 'x'.ljust(10**12) }}", "limit");
  check_limited("{{ 'a\nb'|indent(10**12) }}", "limit");
  check_limited("{{ [1]|tojson(indent=10**12) }}", "limit");
  check_limited("{{ [1]|batch(10**12, 0)|list }}", "limit");
  check_limited("{{ [1]|slice(10**12)|list }}", "limit");
  check_limited("{{ ('a' * 100000)|replace('a', 'b' * 100000) }}", "limit");
  check_limited("{{ ('a' * 100000)|list|join('b' * 100000) }}", "limit");
}

TEST_CASE("V14: recursion and nesting end with an error, not with the stack") {
  check_limited("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested");
  check_limited("{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}", "nested");
  check_limited("{% macro m() %}{{ caller is defined }}{% call m() %}{% endcall %}{% endmacro %}{{ m() }}", "nested");
  check_limited("{% for x in [[]] recursive %}{{ loop([[]]) }}{% endfor %}", "nested");
  check_limited("{{ " + repeated("(", 100000) + "1" + repeated(")", 100000) + " }}", "nested");
  check_limited("{{ " + repeated("[", 100000) + repeated("]", 100000) + " }}", "nested");
  check_limited("{{ " + repeated("{1:", 100000) + "1" + repeated("}", 100000) + " }}", "nested");
  check_limited("{{ " + repeated("not ", 100000) + "1 }}", "nested");
  check_limited("{{ " + repeated("-", 100000) + "1 }}", "nested");
  check_limited("{{ " + repeated("1 if 1 else ", 50000) + "1 }}", "nested");
  check_limited("{{ " + repeated("f(", 100000) + repeated(")", 100000) + " }}", "nested");
  check_limited("{{ x" + repeated("[x", 100000) + repeated("]", 100000) + " }}", "nested");
  check_limited("{{ 1" + repeated(" is eq x(1", 60000) + repeated(")", 60000) + " }}", "nested");
  check_limited(repeated("{% if 1 %}", 40000) + repeated("{% endif %}", 40000), "nested");
  check_limited(repeated("{% for x in y %}", 20000) + repeated("{% endfor %}", 20000), "nested");
  check_limited("{% for " + repeated("(", 100000) + "x" + repeated(")", 100000) + " in y %}{% endfor %}", "nested");
  check_limited("{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
                "nested");
  check_limited(
      "{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x|tojson }}",
      "nested");
  check_limited(
      "{% set a = namespace(x=[]) %}{% set b = namespace(x=[]) %}{% for i in range(9999) %}{% set a.x = [a.x] %}{% set "
      "b.x = [b.x] %}{% endfor %}"
      "{{ a.x == b.x }}",
      "nested");
  check_limited("{% set ns = namespace() %}{% set ns.self = ns %}{{ ns }}", "nested");
  check_limited(
      "{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ "
      "ns.x|map(*(['map'] * 9999))|list }}",
      "nested");
  // Long but flat is fine.
  CHECK(says(failure("{{ 0" + repeated(" + 1", 1000) + " }}"), "rendered: 1000"));
  CHECK(says(failure("{{ ''" + repeated(" ~ 'a'", 150) + " }}"), "rendered: " + repeated("a", 150)));
  CHECK(says(failure("{{ 'a'" + repeated("|trim", 500) + " }}"), "rendered: a"));
  CHECK(says(failure("{{ 1" + repeated(" and 1", 500) + " }}"), "rendered: 1"));
  CHECK(says(failure("{% if 0 %}" + repeated("{% elif 0 %}", 500) + "{% else %}e{% endif %}"), "rendered: e"));
}

TEST_CASE("V14: the deepest nesting that is allowed works") {
  CHECK(says(failure("{{ " + repeated("(", 60) + "1" + repeated(")", 60) + " }}"), "rendered: 1"));
  CHECK(says(failure(repeated("{% if 1 %}", 60) + "x" + repeated("{% endif %}", 60)), "rendered: x"));
  CHECK(says(failure("{% macro m(n) %}{% if n > 0 %}{{ m(n - 1) }}{% else %}end{% endif %}{% endmacro %}{{ m(60) }}"),
             "rendered: end"));
}

TEST_CASE("V15: output and text of the template are limited") {
  check_limited("{% set s = 'a' * 1000000 %}{% for i in range(100) %}{{ s }}{% endfor %}", "output limit");
  check_limited(std::string((1u << 20) + 1, 'x'), "template text limit");
  const auto parsed = ChatTemplate::parse(std::string(1u << 20, 'x'), unhurried());
  REQUIRE(parsed);
  CHECK(parsed->render(input())->text().size() == 1u << 20);
}

TEST_CASE("limits are the caller's") {
  TemplateLimits limits;
  limits.max_output_bytes = 10;
  CHECK(failure("0123456789a", input(), limits).code == Code::kTooLarge);
  CHECK(says(failure("0123456789", input(), limits), "rendered"));
  limits = {};
  limits.max_operations = 50;
  CHECK(says(failure("{% for i in range(40) %}{{ i }}{% endfor %}", input(), limits), "operations limit"));
  limits = {};
  limits.max_range = 3;
  CHECK(says(failure("{{ range(4) }}", input(), limits), "range limit"));
  CHECK(says(failure("{{ range(3)|list }}", input(), limits), "[0, 1, 2]"));
  limits = {};
  limits.max_time = std::chrono::milliseconds(0);
  CHECK(says(failure("x", input(), limits), "time limit"));
  limits = {};
  limits.max_time = std::chrono::milliseconds(20);
  limits.max_operations = 1'000'000'000;
  CHECK(says(failure("{% for i in range(10000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}", input(), limits),
             "20 ms (template time limit)"));
}

TEST_CASE("inputs that are not what they should be are refused by name") {
  const auto with = [](const std::string& messages, const std::string& tools = "", const std::string& extra = "") {
    TemplateInput in;
    in.messages_json = messages;
    in.tools_json = tools;
    in.extra_json = extra;
    return failure("x", in);
  };
  CHECK(says(with("[{"), "messages is not valid JSON at byte"));
  CHECK(says(with(""), "messages is not valid JSON"));
  CHECK(says(with("{}"), "messages must be a JSON array"));
  CHECK(says(with("[] []"), "messages is not valid JSON"));
  CHECK(says(with("[\"\xff\"]"), "messages is not valid JSON"));
  CHECK(says(with("[1e999]"), "messages is not valid JSON"));
  CHECK(says(with("[]", "5"), "tools must be a JSON array"));
  CHECK(says(with("[]", "", "[]"), "extra must be a JSON object"));
  for (const char* name : {"messages", "tools", "bos_token", "eos_token", "add_generation_prompt"}) {
    CHECK(says(with("[]", "", std::string("{\"") + name + "\": 1}"), "extra cannot set"));
  }
  CHECK(with(repeated("[", 65) + repeated("]", 65)).code == Code::kTooLarge);
  CHECK(says(with(repeated("[", 64) + repeated("]", 64)), "rendered: x"));
  CHECK(with(repeated("[", 1000000)).code == Code::kTooLarge);
  CHECK(failure("\xff").code == Code::kInvalidArgument);
}

TEST_CASE("large but honest inputs render in time") {
  std::string messages = "[";
  for (int i = 0; i < 2000; ++i) {
    messages += std::string(i == 0 ? "" : ",") + R"({"role": ")" + (i % 2 == 0 ? "user" : "assistant") +
                R"(", "content": ")" + std::string(200, 'y') + "\"}";
  }
  TemplateInput in = input();
  in.messages_json = messages + "]";
  const auto parsed = ChatTemplate::parse(
      "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] | trim + '<|im_end|>' + '\\n' }}{% "
      "endfor %}",
      unhurried());
  REQUIRE(parsed);
  const auto rendered = parsed->render(in);
  if (!rendered) FAIL(rendered.error().message);
  CHECK(rendered->text().size() > 400'000);
  // Many keys in one object stay fast: no quadratic lookups.
  std::string object = "[{\"k\": 0";
  for (int i = 0; i < 50000; ++i) object += ",\"key" + std::to_string(i) + "\": 1";
  in.messages_json = object + "}]";
  CHECK(ChatTemplate::parse("{{ messages[0].key49999 }}", unhurried())->render(in)->text() == "1");
}
