"""Random chat templates of our own: what published ones do, in random combinations, over random conversations."""
import random

WORDS = ["user", "assistant", "system", "tool", "content", "hello", "  padded ", "a,b,,c", "Line\nbreak", "\u00c9t\u00e9", "<|im_end|>", "x" * 12, "", "7", "3.5", "None"]


class Templates:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def pick(self, *of):
        return self.r.choice(of)

    def closed(self, *of):
        """One of them, mostly in brackets: x|f.g is a filter named f.g."""
        made = self.r.choice(of)()
        return made if self.r.random() < 0.05 else f"({made})"

    def text(self):
        return repr(self.r.choice(WORDS))

    def number(self):
        return str(self.r.choice([0, 1, 2, 3, 5, -1, -2, 10]))

    def strings(self, depth):
        """An expression that mostly gives a string."""
        if depth <= 0:
            return self.pick(self.text(), self.text(), "messages[0].content", "messages[-1]['role']", "name", "messages[0]['role']", "bos_token")
        s, e = self.strings, self.any
        return self.closed(
            lambda: f"({s(depth - 1)} + {s(depth - 1)})", lambda: f"({s(depth - 1)} ~ {e(depth - 1)})",
            lambda: f"{s(depth - 1)}|{self.pick('upper', 'lower', 'title', 'capitalize', 'trim', 'string', 'reverse')}",
            lambda: f"{s(depth - 1)}|replace({self.text()}, {self.text()})", lambda: f"{s(depth - 1)}|indent({self.number().strip('-')})",
            lambda: f"{s(depth - 1)}|indent(width=2, first={self.pick('true', 'false')}, blank=True)", lambda: f"{s(depth - 1)}|truncate(9, true, '..')",
            lambda: f"{s(depth - 1)}.{self.pick('strip', 'lstrip', 'rstrip', 'upper', 'lower', 'title', 'capitalize', 'swapcase')}()",
            lambda: f"{s(depth - 1)}.replace({self.text()}, {self.text()})", lambda: f"{s(depth - 1)}.strip({self.pick(repr('x'), repr(chr(10)), repr(' a'))})",
            lambda: f"{s(depth - 1)}[{self.slice()}]", lambda: f"{s(depth - 1)}.split({self.pick('', repr(','), repr('a'))})|join({self.text()})",
            lambda: f"{self.lists(depth - 1)}|join({self.text()})", lambda: f"{e(depth - 1)}|tojson", lambda: f"{e(depth - 1)}|tojson(indent={self.pick('1', '2', '4')})",
            lambda: f"{e(depth - 1)}|default({s(depth - 1)})", lambda: f"{e(depth - 1)}|default({s(depth - 1)}, true)", lambda: f"{e(depth - 1)}|string",
            lambda: f"({s(depth - 1)} if {self.condition(depth - 1)} else {s(depth - 1)})", lambda: f"'%s|%5s' % ({e(depth - 1)}, {s(depth - 1)})",
            lambda: f"'{{}}-{{:>6}}'.format({s(depth - 1)}, {s(depth - 1)})", lambda: f"{s(depth - 1)}|center(14)", lambda: "strftime_now('%d %b %Y')",
            lambda: f"({s(depth - 1)} * {self.pick('0', '1', '3')})",
        )

    def lists(self, depth):
        if depth <= 0:
            return self.pick("messages", "items", "[1, 2, 3]", "numbers", "tools", "['b', 'a', 'C']", "[]", "(1, 'x')", "(range(4)|list)", "(range(5, 0, -2)|list)")
        return self.closed(
            lambda: f"messages|map(attribute='{self.pick('role', 'content', 'missing')}')|list", lambda: f"{self.lists(depth - 1)}|list",
            lambda: f"messages|selectattr('role', 'equalto', {self.pick(repr('user'), repr('assistant'))})|list",
            lambda: f"messages|rejectattr('role', '{self.pick('eq', 'ne', 'in')}', {self.pick(repr('user'), repr('assistant'))})|list",
            lambda: f"messages|selectattr('{self.pick('content', 'tool_calls', 'missing')}'{self.pick('', ', ' + repr('defined'), ', ' + repr('none'))})|list",
            lambda: f"numbers|{self.pick('select', 'reject')}('{self.pick('odd', 'even', 'number', 'string')}')|list",
            lambda: f"numbers|select('{self.pick('gt', 'ge', 'lessthan', 'divisibleby')}', 2)|list", lambda: f"{self.lists(depth - 1)}|reverse|list",
            lambda: f"numbers|sort(reverse={self.pick('true', 'false')})", lambda: "words|sort", lambda: "words|sort(case_sensitive=true)|unique|list",
            lambda: f"numbers|unique|list", lambda: f"numbers|batch({self.pick('2', '3')}, 0)|list", lambda: f"numbers|slice(2)|list",
            lambda: f"messages|groupby('role')|map('first')|list", lambda: "messages|groupby('role')", lambda: f"{self.lists(depth - 1)}[{self.slice()}]",
            lambda: f"words|map('{self.pick('upper', 'length', 'trim')}')|list", lambda: "words|map('replace', 'a', 'o')|list",
            lambda: f"({self.lists(depth - 1)} + [{self.any(depth - 1)}])", lambda: "params|items|list", lambda: f"params|dictsort(reverse={self.pick('true', 'false')})",
            lambda: "params|dictsort(false, 'value')", lambda: "params.items()|list", lambda: "params.keys()|list", lambda: "params.values()|list",
            lambda: f"[{self.any(depth - 1)}, {self.any(depth - 1)}]", lambda: f"{self.strings(depth - 1)}|list", lambda: f"{self.strings(depth - 1)}.split()",
            lambda: "messages|sort(attribute='role')|map(attribute='content')|list", lambda: f"zip_missing|default({self.lists(depth - 1)})",
        )

    def slice(self):
        part = lambda: self.pick("", "", "1", "2", "-1", "-3", "0", "9")
        return self.pick(lambda: f"{part()}:{part()}", lambda: f"{part()}:{part()}:{self.pick('', '1', '2', '-1', '-2')}", lambda: "::-1")()

    def numbers(self, depth):
        if depth <= 0:
            return self.pick(self.number(), "numbers[0]", "loop_missing|default(4)", "2.5", "messages|length", "1e3")
        n = self.numbers
        return self.closed(
            lambda: f"({n(depth - 1)} {self.pick('+', '-', '*', '//', '%', '/')} {n(depth - 1)})", lambda: f"{n(depth - 1)}|abs", lambda: f"{n(depth - 1)}|int",
            lambda: f"{n(depth - 1)}|round({self.pick('0', '1')})", lambda: f"{self.strings(depth - 1)}|length", lambda: f"{self.lists(depth - 1)}|count",
            lambda: f"numbers|{self.pick('sum', 'max', 'min', 'first', 'last')}", lambda: f"{self.strings(depth - 1)}|int(9)", lambda: f"{self.strings(depth - 1)}|float",
            lambda: f"-{n(depth - 1)}", lambda: f"{self.strings(depth - 1)}.find({self.text()})", lambda: f"{self.strings(depth - 1)}.count('a')",
            lambda: "messages|map(attribute='content')|map('length')|sum" if self.r.random() < 0.2 else "messages|length", lambda: "[3, 1]|sum(start=10)",
            lambda: f"{self.strings(depth - 1)}|wordcount",
        )

    def condition(self, depth):
        if depth <= 0:
            return self.pick("add_generation_prompt", "enable_thinking", "tools", "missing", "messages[0].role == 'system'", "true", "not missing", "name")
        c, e = self.condition, self.any
        return self.pick(
            lambda: f"({c(depth - 1)} {self.pick('and', 'or')} {c(depth - 1)})", lambda: f"not {c(depth - 1)}",
            lambda: f"{e(depth - 1)} is {self.pick('', 'not ')}{self.pick('defined', 'none', 'string', 'mapping', 'iterable', 'sequence', 'number', 'boolean', 'true', 'undefined', 'integer', 'float')}",
            lambda: f"{e(depth - 1)} {self.pick('==', '!=')} {e(depth - 1)}", lambda: f"{self.numbers(depth - 1)} {self.pick('<', '>', '<=', '>=')} {self.numbers(depth - 1)}",
            lambda: f"{self.text()} {self.pick('in', 'not in')} {self.strings(depth - 1)}", lambda: f"{e(depth - 1)} in {self.lists(depth - 1)}",
            lambda: f"{self.strings(depth - 1)}.{self.pick('startswith', 'endswith')}({self.text()})", lambda: f"{self.numbers(depth - 1)}|int is {self.pick('odd', 'even', 'divisibleby 2', 'divisibleby(3)')}",
            lambda: f"1 < {self.numbers(depth - 1)} <= 7", lambda: f"{self.strings(depth - 1)} is {self.pick('lower', 'upper')}", lambda: f"{self.strings(depth - 1)}.{self.pick('isdigit', 'isalpha', 'isupper', 'isspace')}()",
            lambda: "'content' in messages[0]", lambda: "messages[0].tool_calls is defined and messages[0].tool_calls",
        )()

    def any(self, depth):
        if depth <= 0:
            return self.pick(self.text(), self.number(), "none", "true", "messages[0]", "missing", "params", "name", "2.5", "tools")
        return self.pick(self.strings, self.strings, self.lists, self.numbers, lambda d: f"({self.condition(d)})",
                         lambda d: f"{{'k': {self.any(d - 1)}, 'b': {self.any(d - 1)}}}", lambda d: f"messages[0].get({self.text()}, {self.any(d - 1)})",
                         lambda d: f"params.{self.pick('a', 'zz', 'nested.deep', 'get(' + repr('a') + ')')}")(depth)

    def statement(self, depth):
        blank = lambda: self.pick("\n", " ", "\n  ", "", " text ", "\n\n")
        o, c = self.pick("{%", "{%", "{%-"), self.pick("%}", "%}", "-%}")
        inner = lambda: blank().join(self.statement(depth - 1) for _ in range(self.r.randint(1, 2))) if depth > 0 else "{{ x|default('-') }}"
        return self.pick(
            lambda: f"{self.pick('{{', '{{-')} {self.any(3)} {self.pick('}}', '-}}')}", lambda: f"{{{{ {self.strings(3)} }}}}",
            lambda: f"{o} set x = {self.any(2)} {c}{blank()}{{{{ x }}}}", lambda: f"{o} set x, y = {self.text()}, {self.any(1)} {c}{{{{ y }}}}",
            lambda: f"{o} set x {c}{blank()}{inner()}{blank()}{o} endset {c}{{{{ x|trim }}}}",
            lambda: f"{o} if {self.condition(2)} {c}{blank()}{inner()}{blank()}{o} elif {self.condition(1)} {c}{inner()}{o} else {c}{inner()}{o} endif {c}",
            lambda: f"{o} for m in {self.lists(2)} {c}{blank()}{{{{ loop.{self.pick('index', 'index0', 'revindex', 'first', 'last', 'length', 'previtem', 'nextitem', 'cycle(1, 2)', 'depth')} }}}}:{{{{ m }}}}{blank()}{o} else {c}none{o} endfor {c}",
            lambda: f"{o} for m in messages if m.role != {self.text()} {c}{inner()}{{{{ m['content'] }}}}{o} if loop.index > 1 {c}{o} {self.pick('break', 'continue')} {c}{o} endif {c}|{o} endfor {c}",
            lambda: f"{o} for k, v in params.items() {c}{{{{ k }}}}={{{{ v }}}};{o} endfor {c}",
            lambda: f"{o} set ns = namespace(found=false, n=0, s='') {c}{o} for m in messages {c}{o} set ns.n = ns.n + loop.index {c}{o} set ns.s = ns.s ~ m.role {c}{o} if {self.condition(1)} {c}{o} set ns.found = true {c}{o} endif {c}{o} endfor {c}{{{{ ns.n }}}}{{{{ ns.s }}}}{{{{ ns.found }}}}",
            lambda: f"{o} macro f(a, b={self.text()}, c=none) {c}{blank()}[{{{{ a }}}}/{{{{ b }}}}/{{{{ c }}}}{{{{ caller() if caller is defined else '' }}}}]{o} endmacro {c}{{{{ f({self.any(1)}) }}}}{{{{ f({self.any(1)}, c={self.any(1)}) }}}}{{{{ f(b=1, a=2)|upper }}}}",
            lambda: f"{o} macro g(a) {c}<{{{{ caller(a) }}}}|{{{{ varargs|length }}}}|{{{{ kwargs|length }}}}>{o} endmacro {c}{o} call(z) g({self.any(1)}, 1, k=2) {c}{{{{ z }}}}{blank()}{o} endcall {c}",
            lambda: f"{o} filter {self.pick('upper', 'trim', 'indent(2)', 'replace(' + repr('a') + ', ' + repr('b') + ')')} {c}{blank()}{inner()}{o} endfilter {c}",
            lambda: f"{o} generation {c}{blank()}{inner()}{o} endgeneration {c}", lambda: f"{o} with x = {self.any(1)}, y = 2 {c}{{{{ x }}}}{{{{ y }}}}{o} endwith {c}",
            lambda: f"{{# a comment {blank()} #}}{blank()}", lambda: f"{o} raw {c}{{{{ not }}}}{blank()}{o} endraw {c}",
            lambda: f"{o} for t in tools {c}{{{{ t|tojson }}}}{blank()}{{{{ t.function.name }}}}({o} for p in t.function.parameters.properties {c}{{{{ p }}}}{{{{ ', ' if not loop.last }}}}{o} endfor {c}){o} endfor {c}",
            lambda: f"{o} for m in messages recursive {c}{{{{ m.role }}}}{{{{ loop([]) }}}}{o} endfor {c}",
            lambda: f"{o} if messages[0].role == {self.text()} {c}{{{{ raise_exception({self.text()} ~ '!') }}}}{o} endif {c}",
        )()

    def template(self):
        return "".join(self.statement(2) + self.pick("\n", "", "  \n", "text\n", " ") for _ in range(self.r.randint(1, 3)))

    def conversation(self):
        messages = []
        for _ in range(self.r.randint(1, 4)):
            message = {"role": self.r.choice(["system", "user", "assistant", "tool"]), "content": self.r.choice(WORDS)}
            if self.r.random() < 0.15:
                message["tool_calls"] = [{"type": "function", "function": {"name": "f", "arguments": {"a": 1, "b": "\u00e9<'\"&>"}}}]
            if self.r.random() < 0.1:
                message["content"] = self.r.choice([None, [{"type": "text", "text": "part"}]])
            messages.append(message)
        tool = {"type": "function", "function": {"name": "add", "description": "adds <two> \u00e9", "parameters": {"type": "object",
                "properties": {"x": {"type": "number"}, "y": {"type": "number"}}, "required": ["x"]}}}
        extra = {"enable_thinking": self.r.random() < 0.5, "name": self.r.choice(WORDS), "numbers": [self.r.randint(-3, 9) for _ in range(self.r.randint(1, 6))],
                 "words": ["b", "A", "a ", "B", "abc"], "params": {"b": 2, "a": [1, 2.0, None, True], "C": "x", "nested": {"deep": 1e-7}}, "items": ["q", None, 3]}
        return {"messages": messages, "tools": [tool] if self.r.random() < 0.7 else None, "extra": extra, "add_generation_prompt": self.r.random() < 0.5}
