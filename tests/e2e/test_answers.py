"""What the default model says: checkable answers, goldens of two references, the same tokens with any number of threads."""
import json
import unittest

from kvasir_e2e import *

# (question, what a right answer contains; any of the alternatives)
QUESTIONS = [
    ("What is the capital of France? Answer in one sentence.", ["Paris"]),
    ("What is the capital of Japan? Answer in one sentence.", ["Tokyo"]),
    ("What is the capital of Italy? Answer in one sentence.", ["Rome"]),
    ("Which planet do we live on?", ["Earth"]),
    ("What is the chemical formula of water?", ["H2O", "H₂O"]),
    ("Name three primary colours.", ["red", "Red"]),
    ("What colour is the sky on a clear day?", ["blue", "Blue"]),
    ("Which animal barks: a dog or a fish?", ["dog", "Dog"]),
    ("What is the largest ocean on Earth?", ["Pacific"]),
    ("Who wrote the play Romeo and Juliet?", ["Shakespeare"]),
]


def generate(conversation, **arguments):
    answer = conversation.request("generate_text", {"temperature": 0, **arguments}, timeout=300)
    assert "result" in answer, answer
    return answer["result"]


@needs_model
class Answers(unittest.TestCase):
    def test_at_least_eight_of_ten_questions_are_answered_rightly(self):
        with Conversation(with_model("rpc")) as c:
            given = [generate(c, prompt=question, max_tokens=48)["text"] for question, _ in QUESTIONS]
        right = [any(word in text for word in words) for text, (_, words) in zip(given, QUESTIONS)]
        self.assertGreaterEqual(sum(right), 8, [t for t, ok in zip(given, right) if not ok])

    def test_a_seed_repeats_an_answer_and_another_gives_another(self):
        with Conversation(with_model("rpc")) as c:
            def once(seed):
                return generate(c, prompt="Write a line about the sea.", max_tokens=24, temperature=1.0, seed=seed)["text"]
            self.assertEqual(once(1), once(1))
            self.assertGreater(len({once(seed) for seed in range(1, 5)}), 1)
            drawn = generate(c, prompt="Hi", max_tokens=4, temperature=1.0)
            self.assertEqual(generate(c, prompt="Hi", max_tokens=4, temperature=1.0, seed=drawn["seed"])["text"], drawn["text"])


@needs_model
class Template(unittest.TestCase):
    TOOL = {"type": "function", "function": {"name": "get_weather", "description": "Weather of a city", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}

    def test_what_the_template_cannot_use_is_named_and_the_answer_still_comes(self):
        with Conversation(with_model("mcp")) as c:
            c.initialize()
            _, said = c.tool("generate_text", {"prompt": "Hi", "max_tokens": 4, "temperature": 0, "tools": [self.TOOL],
                                            "enable_thinking": False, "chat_template_kwargs": {"effort": "low"}})
            result = said["result"]["structuredContent"]
            # The default model's template knows neither.
            self.assertEqual(result["ignored"], ["tools", "enable_thinking", "effort"])
            self.assertEqual(result["finish_reason"], "length")
            _, said = c.tool("generate_text", {"prompt": "Hi", "max_tokens": 4, "temperature": 0})
            plain = said["result"]["structuredContent"]
            self.assertNotIn("ignored", plain)
            self.assertEqual(plain["text"], result["text"])


@needs_model
@needs_shared("smollm2-135m/golden.jsonl")
class Goldens(unittest.TestCase):
    """Greedy tokens of the float32 reference: equal up to the first step whose margin rounding may cross."""

    def check(self, flags, margin, prompts):
        with open(shared_data("smollm2-135m/golden.jsonl")) as f:
            rows = [json.loads(line) for line in f]
        with Conversation(with_model("rpc", *flags)) as c:
            for row in rows:
                if row["id"] not in prompts:
                    continue
                reference = row["reference"]["greedy"]
                steps = next((i for i, m in enumerate(reference["margins"]) if m < margin), len(reference["ids"]))
                with self.subTest(row["id"], steps=steps):
                    tokens = generate(c, tokens=row["ids"], max_tokens=48, ignore_eos=True, return_tokens=True)["tokens"]
                    self.assertEqual(tokens[:steps], reference["ids"][:steps])

    def test_tight_with_f32(self):
        self.check(["--kv-type", "f32", "--activations", "f32"], 1e-3,
                   {"raw-short", "raw-paragraph", "chat-default-system", "chat-multi-turn", "code-python", "unicode-mix"})

    def test_loose_with_the_defaults(self):
        self.check([], 0.3, {"raw-short", "raw-paragraph", "chat-default-system", "chat-system", "chat-multi-turn", "code-python",
                             "json-array", "unicode-mix", "whitespace"})

    def test_chat_prompts_render_to_the_reference_ids(self):
        with open(shared_data("smollm2-135m/golden.jsonl")) as f:
            rows = [json.loads(line) for line in f]
        with Conversation(with_model("rpc")) as c:
            for row in rows:
                if "messages" not in row or row["n_ids"] > 500:
                    continue
                result = generate(c, messages=row["messages"], max_tokens=1)
                self.assertEqual(result["usage"]["prompt_tokens"], row["n_ids"], row["id"])


@needs_model
class Threads(unittest.TestCase):
    def test_the_number_of_threads_changes_nothing(self):
        results = []
        for threads in ("1", "2", "3"):
            with Conversation(with_model("rpc", "--threads", threads)) as c:
                results.append(generate(c, prompt="Tell me about rivers. " * 12, max_tokens=32, return_tokens=True)["tokens"])
        self.assertEqual(results[0], results[1])
        self.assertEqual(results[0], results[2])


if __name__ == "__main__":
    unittest.main()
