"""A session goes on where its model file has another name, its server another port, or its model another chat template: with
its KV where that is still right, else computed again, and the reply says which."""
import os
import shutil
import tempfile
import time
import unittest

from kvasir_e2e import *
from test_sessions import Session

SEA = "You know a lot about the sea. " * 30
HOW = {"max_tokens": 12, "temperature": 0, "return_tokens": True}


def wait_for_pages(folder, pages):
    """Until they are written behind."""
    blocks = os.path.join(folder, "sessions/blocks/all")
    deadline = time.monotonic() + 20
    while len([name for name in os.listdir(blocks) if name.endswith(".kvb")]) < pages:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@needs_model
class Elsewhere(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="kvasir-elsewhere-")
        self.addCleanup(folder.cleanup)
        self.data = os.path.join(folder.name, "data")
        self.here, self.there = (os.path.join(folder.name, name) for name in ("here.gguf", "elsewhere/renamed.gguf"))
        os.makedirs(os.path.dirname(self.there))
        shutil.copyfile(model_path(), self.here)

    def server(self, model):
        return Server("--model", model, "--ctx", "1024", "--threads", "1", model=False, data=self.data)

    def call(self, server, tool, **arguments):
        answer = server.rpc(tool, arguments)
        self.assertIn("result", answer, answer)
        return answer["result"]

    def test_the_model_file_moved_and_the_port_is_another(self):
        with self.server(self.here) as first:
            session = self.call(first, "create_session", system=SEA)["session_id"]
            said = self.call(first, "generate_text", session_id=session, prompt="What lives there?", **HOW)
            fork = self.call(first, "fork_session", session_id=session)["session_id"]
            expected = self.call(first, "generate_text", session_id=fork, prompt="What else?", **HOW)["tokens"]
            wait_for_pages(self.data, said["usage"]["prompt_tokens"] // 64)
            before = self.call(first, "get_model_info")
            port = first.port
            first.stop(signal.SIGKILL)
        os.rename(self.here, self.there)
        with self.server(self.there) as second:
            restored = self.call(second, "restore_session", session_id=session)
            self.assertEqual(restored["head"], said["head"])
            self.assertIn("came from disk", restored["reason"])
            self.assertGreaterEqual(restored["restored_tokens"], said["usage"]["prompt_tokens"] // 64 * 64)
            answer = self.call(second, "generate_text", session_id=session, prompt="What else?", **HOW)
            self.assertEqual(answer["tokens"], expected)
            self.assertNotIn("history_rewritten", answer)
            after = self.call(second, "get_model_info")
            self.assertEqual(after["fingerprint"], before["fingerprint"])
            self.assertNotEqual((after["file"], second.port), (before["file"], port))

    def other_template(self):
        """The model with other words in its chat template, of the same length."""
        with open(self.here, "rb") as f:
            model = bytearray(f.read())
        at = model.index(b"a helpful AI assistant named SmolLM", model.index(b"tokenizer.chat_template"))
        model[at:at + 9] = b"an unkind"
        with open(self.there, "wb") as f:
            f.write(model)

    def test_another_chat_template_keeps_the_conversation_and_computes_it_again(self):
        with Session(self.data, "--model", self.here) as c:
            session = c.ask("create_session")["session_id"]
            for text in (SEA, "What lives there?"):
                said = c.say(session, text, max_tokens=12)
            before = c.ask("get_session", session_id=session, transcript=True)
            wait_for_pages(self.data, said["usage"]["prompt_tokens"] // 64)
            c.end_input()
        self.other_template()
        with Session(self.data, "--model", self.there) as c:
            restored = c.ask("restore_session", session_id=session)
            self.assertEqual((restored["head"], restored["restored_tokens"]), (before["head"], 0))
            self.assertIn("another model", restored["reason"])
            shown = c.ask("get_session", session_id=session, transcript=True)
            self.assertEqual(shown["transcript"], before["transcript"])
            text, code = c.refused("generate_text", session_id=session, max_tokens=4)   # the answer cannot just go on
            self.assertEqual(code, "invalid_argument")
            self.assertIn("another model", text)
            other = c.say(session, "What else?", max_tokens=12)
            self.assertIn("another model", other["history_rewritten"])
            self.assertEqual(other["usage"]["cached_tokens"], 0)
            fresh = c.ask("create_session", messages=[{k: t[k] for k in ("role", "content")} for t in before["transcript"]])["session_id"]
            self.assertEqual(c.say(fresh, "What else?", max_tokens=12)["tokens"], other["tokens"])   # never garbage
            again = c.say(session, "And what else?", max_tokens=12)
            self.assertNotIn("history_rewritten", again)
        with Session(self.data, "--model", self.here) as c:   # and back
            c.ask("rewind_session", session_id=session, to="4")
            self.assertEqual(c.ask("get_session", session_id=session)["head"], before["head"])
            self.assertTrue(c.say(session, "What else?", max_tokens=4)["durable"])


@needs_model
class SlidingWindow(unittest.TestCase):
    def test_it_says_what_was_removed_keeps_the_beginning_and_goes_on_after_a_restart(self):
        with tempfile.TemporaryDirectory(prefix="kvasir-window-") as folder:
            removed = []
            with Session(folder, context=256) as c:
                session = c.ask("create_session", system="You are a parrot.", overflow="sliding_window")["session_id"]
                for number in range(10):
                    answer = c.say(session, f"Tell me about the number {number} and the sea.", max_tokens=24, ignore_eos=True)
                    self.assertLessEqual(answer["usage"]["prompt_tokens"], 256)
                    self.assertEqual(answer["usage"]["completion_tokens"], 24)
                    if "truncated" in answer:
                        removed.append(answer["truncated"])
                        self.assertIn("longer than the context", answer["history_rewritten"])
                    else:
                        self.assertNotIn("history_rewritten", answer)
                self.assertGreater(len(removed), 1)      # it slid more than once, and not with every turn
                self.assertLess(len(removed), 9)
                for one in removed:
                    self.assertEqual(one["policy"], "sliding_window")
                    self.assertGreater(one["removed_tokens"], 0)
                shown = c.ask("get_session", session_id=session, transcript=True)
                self.assertEqual(shown["turns"], 21)     # the conversation itself is whole
                self.assertEqual(shown["transcript"][0]["content"], "You are a parrot.")
                self.assertLess(shown["tokens"], 256)
                fork = c.ask("fork_session", session_id=session)["session_id"]
                expected = c.say(fork, "And the last one?", max_tokens=8)
                c.kill()
            with Session(folder, context=256) as c:
                self.assertEqual(c.say(session, "And the last one?", max_tokens=8)["tokens"], expected["tokens"])

    def test_a_prompt_without_a_session_says_it_too(self):
        with tempfile.TemporaryDirectory(prefix="kvasir-window-") as folder, Session(folder, context=256) as c:
            answer = c.ask("generate_text", prompt="word " * 500, overflow="sliding_window", max_tokens=8)
            self.assertEqual(answer["truncated"]["policy"], "sliding_window")
            self.assertGreater(answer["truncated"]["removed_tokens"], 200)
            self.assertLessEqual(answer["usage"]["prompt_tokens"], 256)


if __name__ == "__main__":
    unittest.main()
