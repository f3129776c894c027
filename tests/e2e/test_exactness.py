"""The tokens of an uninterrupted run, whatever came between: a kill, a fork, a rewind, a deadline, and with every kind of KV
(a more urgent request: test_parked.py)."""
import tempfile
import unittest

from kvasir_e2e import *
from test_sessions import Session

SEEDED = {"temperature": 0.9, "seed": 11}
GREEDY = {"temperature": 0}
TALK = (("The sea is wide and deep, and many animals live in it. " * 18 + "Name three of them.", SEEDED), ("And three plants.", GREEDY),
        ("Which is the largest?", SEEDED))


@needs_model
class EveryKvType(unittest.TestCase):
    def check(self, *options, age=False):
        with tempfile.TemporaryDirectory(prefix="kvasir-exact-") as folder:
            with Session(folder, *options) as c:
                whole, broken = (c.ask("create_session", system="Be brief.")["session_id"] for _ in range(2))
                expected = []
                for session in (whole, broken):
                    first = c.say(session, TALK[0][0], max_tokens=8, **TALK[0][1])
                    if age:
                        report = c.ask("compress_session", session_id=session, strategy="kv_quantize", max_quality_loss=50)
                        self.assertTrue(report["applied"], report)
                    if session == whole:
                        expected = [first["tokens"]] + [c.say(whole, text, max_tokens=8, **how)["tokens"] for text, how in TALK[1:]]
                self.assertEqual(first["tokens"], expected[0])
                fork = c.ask("fork_session", session_id=broken)["session_id"]
                self.assertEqual([c.say(fork, text, max_tokens=8, **how)["tokens"] for text, how in TALK[1:]], expected[1:])
                mark = c.ask("checkpoint_session", session_id=broken)["checkpoint_id"]
                c.say(broken, "Something else.", max_tokens=4)
                c.ask("rewind_session", session_id=broken, to=mark)
                self.assertEqual(c.say(broken, TALK[1][0], max_tokens=8, **TALK[1][1])["tokens"], expected[1])
                c.kill()
            with Session(folder, *options) as c:
                self.assertEqual(c.say(broken, TALK[2][0], max_tokens=8, **TALK[2][1])["tokens"], expected[2])
                c.ask("rewind_session", session_id=fork, to=str(4 if age else 3))
                self.assertEqual(c.say(fork, TALK[1][0], max_tokens=8, **TALK[1][1])["tokens"], expected[1])

    def test_f32(self):
        self.check("--kv-type", "f32")

    def test_f16(self):
        self.check("--kv-type", "f16")

    def test_q8_0(self):
        self.check("--kv-type", "q8_0")

    def test_aged(self):
        self.check(age=True)


@needs_model
class Interrupted(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="kvasir-exact-")
        self.addCleanup(folder.cleanup)
        self.client = Session(folder.name)
        self.addCleanup(self.client.__exit__)

    def test_a_deadline_gives_what_there_is_and_a_session_to_go_on_with(self):
        """features.md N13."""
        for how in (GREEDY, SEEDED):
            whole, cut = (self.client.ask("create_session")["session_id"] for _ in range(2))
            expected = self.client.say(whole, "Tell me a story.", max_tokens=64, ignore_eos=True, **how)["tokens"]
            said, stops = [], []
            while len(said) < len(expected):
                answer = self.client.say(cut, None if said else "Tell me a story.", max_tokens=64 - len(said), ignore_eos=True,
                                         max_time_ms=400, **how)
                stops.append(answer["finish_reason"])
                self.assertEqual(len(answer["tokens"]), answer["usage"]["completion_tokens"])
                self.assertEqual(answer["session_id"], cut)
                said += answer["tokens"]
                if not answer["tokens"]:
                    self.assertIn("not_stored", answer)   # nothing was said yet: the session is as it was
            self.assertEqual(said, expected)
            self.assertTrue(set(stops) <= {"time_limit", "length"}, stops)
        text, _ = self.client.refused("generate_text", session_id=cut, prompt="x", max_time_ms=0)
        self.assertIn("max_time_ms", text)

    def test_a_deadline_before_the_first_token_is_no_error(self):
        session = self.client.ask("create_session")["session_id"]
        answer = self.client.say(session, "word " * 700, max_time_ms=1)
        self.assertEqual((answer["finish_reason"], answer.get("tokens", [])), ("time_limit", []))
        self.assertEqual(self.client.ask("get_session", session_id=session)["turns"], 0)


if __name__ == "__main__":
    unittest.main()
