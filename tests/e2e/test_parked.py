"""An answer that has to give its place to something urgent, and gets it back, says what it would have said: with every kind of
KV, in a session (its pages go to the disk) and outside of one (to memory), greedy and seeded."""
import tempfile
import unittest

from kvasir_e2e import *
from test_sessions import Session

URGENT = 17
WAYS = ({"temperature": 0}, {"temperature": 0.9, "seed": 11})
SEA = "The sea is wide and deep, and many animals live in it. " * 14


@needs_model
class Parked(unittest.TestCase):
    """The pool holds 16 contexts of 2,048: what is urgent is promised all of them, and takes those of what is not."""

    def interrupted(self, client, arguments):
        """The result of a call that something urgent interrupts after its first text."""
        number = next(client.ids)
        client.send({"id": number, "method": "tools/call",
                     "params": {"name": "generate_text", "_meta": {"progressToken": "t"}, "arguments": {**arguments, "priority": "low"}}})
        while DELTA not in str(client.receive()):
            pass
        urgent = [next(client.ids) for _ in range(URGENT)]
        for one in urgent:   # each is promised a whole context, and gives it back after a moment
            client.send({"id": one, "method": "tools/call", "params": {"name": "generate_text", "arguments": {
                "prompt": f"{one} is a number.", "max_tokens": 1900, "ignore_eos": True, "max_time_ms": 1500, "priority": "high"}}})
        answer = client.answer(number)[1]
        while {m.get("id") for m in client.seen if "result" in m}.isdisjoint(urgent[-1:]):
            client.receive()
        self.assertFalse(answer["result"]["isError"], answer)
        return answer["result"]["structuredContent"]

    def same(self, client, first, second):
        """Two calls that must say the same, of which the second is interrupted."""
        how = {"max_tokens": 100, "ignore_eos": True, "return_tokens": True}
        expected = client.ask("generate_text", **first, **how)
        got = self.interrupted(client, {**second, **how})
        self.assertGreater(got["timings"]["parked"], 0)
        self.assertEqual(expected["timings"]["parked"], 0)
        self.assertEqual(got["tokens"], expected["tokens"])

    def check(self, *options, age=False):
        with tempfile.TemporaryDirectory(prefix="kvasir-parked-") as folder, Session(folder, *options, context=2048) as c:
            session = c.ask("create_session")["session_id"]
            c.say(session, SEA, max_tokens=4)
            if age:
                report = c.ask("compress_session", session_id=session, strategy="kv_quantize", max_quality_loss=50)
                self.assertTrue(report["applied"], report)
            for way in WAYS:
                forks = [c.ask("fork_session", session_id=session)["session_id"] for _ in range(2)]
                self.same(c, *({"session_id": fork, "prompt": "Go on.", **way} for fork in forks))
                if not age:
                    self.same(c, *[{"prompt": SEA + "Go on.", **way}] * 2)

    def test_f32(self):
        self.check("--kv-type", "f32")

    def test_f16(self):
        self.check("--kv-type", "f16")

    def test_q8_0(self):
        self.check("--kv-type", "q8_0")

    def test_aged_to_4_bits(self):
        self.check(age=True)


if __name__ == "__main__":
    unittest.main()
