"""Random templates must render as Python's Jinja2 does with the settings of transformers: the same text, or an error
where that has one. `./x test --reference`; KVASIR_TEST_SEED and KVASIR_TEST_TEMPLATES change the lot."""
import datetime
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
import random_templates
import reference

SEED = int(os.environ.get("KVASIR_TEST_SEED", "20260729"))
TEMPLATES = int(os.environ.get("KVASIR_TEST_TEMPLATES", "1500"))
NOW = 1721952000


def environment(jinja2):
    import jinja2.ext
    import jinja2.nodes
    import jinja2.sandbox

    class Generation(jinja2.ext.Extension):
        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_pass"), [], [], body).set_lineno(line)

        @staticmethod
        def _pass(caller):
            return caller()

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    made = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = lambda form: datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).strftime(form)
    return made


def theirs(jinja, jinja2, request):
    values = {"messages": request["messages"], "add_generation_prompt": request["add_generation_prompt"], "bos_token": "<s>",
              "eos_token": "</s>", "documents": None, "tools": request.get("tools"), **request["extra"]}
    try:
        return {"text": jinja.from_string(request["template"]).render(**values)}
    except jinja2.exceptions.TemplateError as error:
        return {"error": str(error), "raised": type(error) is jinja2.exceptions.TemplateError}
    except Exception as error:   # Python's own: a type, a value, an index
        return {"error": f"{type(error).__name__}: {error}"}


class Compare(unittest.TestCase):
    def test_random_templates(self):
        jinja2 = reference.library("jinja2")
        jinja = environment(jinja2)
        source = random_templates.Templates(SEED)
        requests = []
        for _ in range(TEMPLATES):
            request = {"template": source.template(), "now": NOW, **source.conversation()}
            if request["tools"] is None:
                del request["tools"]
            requests.append(request)
        ours = [json.loads(line) for line in reference.answers([json.dumps(r) for r in requests], "render")]
        differing, rendered = [], 0
        for request, got in zip(requests, ours):
            want = theirs(jinja, jinja2, request)
            rendered += "text" in want
            same = want.get("text") == got.get("text") and ("error" in want) == ("error" in got)
            if want.get("raised"):   # the template's own words reach the user
                same = want["error"] in got.get("error", "")
            if not same:
                differing.append((len(request["template"]), f"{request['template']}\n  jinja2 {json.dumps(want)[:600]}\n  ours   {json.dumps(got)[:600]}"))
        self.assertGreater(rendered, TEMPLATES // 3)
        self.assertFalse(differing, f"{len(differing)} of {len(requests)} differ:\n" + "\n\n".join(t for _, t in sorted(differing)[:20]))


if __name__ == "__main__":
    os.environ.setdefault("KVASIR_TEST_REFERENCE", "1")
    unittest.main()
