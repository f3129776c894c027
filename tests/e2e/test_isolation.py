"""Two principals on one host: neither can read, time or guess what the other one has (features.md N14)."""
import tempfile
import unittest

from kvasir_e2e import *

TOKEN = "correct-horse-battery-staple"
LORE = "You know a lot about the sea and the ships on it. "


@needs_model
class Isolation(unittest.TestCase):
    """One over HTTP with a token, one over stdio; the same engine, store and cache behind both."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="kvasir-isolation-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.start()

    def start(self):
        self.server = Server("--token", TOKEN, "--ctx", "2048", data=self.folder)
        self.addCleanup(self.server.__exit__)
        self.stdio = Conversation([BIN, "rpc", "--data-dir", self.folder, "--model", model_path(), "--ctx", "2048"])
        self.addCleanup(self.stdio.__exit__)

    def alice(self, method, **params):
        status, _, body = self.server.http("POST", "/rpc", {"jsonrpc": "2.0", "id": 1, "method": method, "params": params},
                                           {"Authorization": f"Bearer {TOKEN}"})
        self.assertEqual(status, 200, body)
        return json.loads(body)

    def bob(self, method, **params):
        return self.stdio.request(method, params, timeout=240)

    def both(self):
        return (self.alice, self.bob)

    def generate(self, who, **params):
        answer = who("generate_text", **{"max_tokens": 2, "temperature": 0, **params})
        self.assertIn("result", answer, answer)
        return answer["result"]

    def test_nobody_hits_what_another_one_cached_and_the_time_does_not_tell(self):
        for first, second in (self.both(), self.both()[::-1]):
            text = ("Listen. " if first == self.alice else "Look. ") + LORE * 16
            cold = self.generate(first, prompt=text)
            warm = self.generate(first, prompt=text)
            self.assertLess(cold["usage"]["cached_tokens"], 64)   # what an own earlier question began with, the template's words
            self.assertGreater(warm["usage"]["cached_tokens"], 128)
            other = self.generate(second, prompt=text)
            self.assertLess(other["usage"]["cached_tokens"], 64)
            unrelated = self.generate(second, prompt="Boats. " + text)
            self.assertGreater(other["timings"]["prefill_ms"], 0.3 * unrelated["timings"]["prefill_ms"])  # a hit takes a tenth
            self.assertEqual(other["text"], cold["text"])

    def test_nor_on_disk(self):
        made = self.alice("create_session", system=LORE * 16)["result"]["session_id"]
        self.generate(self.alice, session_id=made, prompt="Hello")
        self.server.stop()   # its pages are on the disk, or late and dropped
        self.stdio.__exit__()
        self.start()
        mine = self.bob("create_session", system=LORE * 16)["result"]["session_id"]
        self.assertEqual(self.generate(self.bob, session_id=mine, prompt="Hello")["usage"]["cached_tokens"], 0)
        restored = self.alice("restore_session", session_id=made)["result"]
        self.assertGreater(restored["restored_tokens"] + restored["recomputed_tokens"], 128)

    def test_a_foreign_handle_is_an_unknown_one(self):
        theirs = self.alice("create_session", system="The word is heliotrope.", title="secret")["result"]["session_id"]
        self.generate(self.alice, session_id=theirs, prompt="Hello")
        mark = self.alice("checkpoint_session", session_id=theirs, name="mark")["result"]["checkpoint_id"]
        mine = self.bob("create_session", title="mine")["result"]["session_id"]
        unknown = "s_" + "0" * (len(theirs) - 2)
        calls = {"get_session": {"transcript": True}, "fork_session": {}, "fork_session ": {"at": mark}, "rewind_session": {"to": "1"},
                 "checkpoint_session": {"name": "x"}, "restore_session": {"checkpoint_id": mark}, "delete_session": {},
                 "compress_session": {}, "generate_text": {"prompt": "Hi"}, "generate_text ": {"prompt": "Hi", "expected_head": "0" * 64},
                 "count_tokens": {"messages": [{"role": "user", "content": "Hi"}]}, "get_session ": {"search": "heliotrope"}}
        for method, more in calls.items():
            with self.subTest(method):
                answers = [self.bob(method.strip(), session_id=handle, **more) for handle in (theirs, unknown)]
                shapes = [json.dumps(answer["error"]).replace(handle, "HANDLE") for answer, handle in zip(answers, (theirs, unknown))]
                self.assertEqual(shapes[0], shapes[1])
                self.assertNotIn("heliotrope", shapes[0])
        self.assertIn("error", self.bob("fork_session", session_id=mine, at=mark))   # another one's checkpoint in an own session
        self.assertIn("error", self.bob("restore_session", session_id=mine, checkpoint_id=mark))
        self.assertEqual([s["session_id"] for s in self.bob("list_sessions")["result"]["sessions"]], [mine])
        self.assertEqual([s["session_id"] for s in self.alice("list_sessions")["result"]["sessions"]], [theirs])
        self.assertEqual(self.alice("get_session", session_id=theirs)["result"]["turns"], 3)   # and nothing changed

    def test_commands_name_whose_sessions_they_mean(self):
        theirs = self.alice("create_session", title="theirs")["result"]["session_id"]
        mine = self.bob("create_session", title="mine")["result"]["session_id"]
        self.server.stop()
        self.stdio.__exit__()
        command = lambda *words: kvasir("sessions", *words, "--data-dir", self.folder)
        self.assertEqual([s["session_id"] for s in json.loads(command("ls", "--json").stdout)["sessions"]], [mine])
        self.assertEqual(command("show", theirs).returncode, 2)
        owners = json.loads(command("principals", "--json").stdout)["principals"]
        self.assertEqual({owner["principal"]: owner["sessions"] for owner in owners if owner["principal"] == "local"}, {"local": 1})
        other = next(owner["principal"] for owner in owners if owner["principal"] != "local")
        self.assertTrue(other.startswith("token:"))
        self.assertIn(theirs, command("ls", "--principal", other).stdout)
        self.assertIn("theirs", command("show", theirs, "--principal", other).stdout)
        self.assertEqual(command("rm", theirs, "--principal", other).returncode, 0)
        self.assertEqual(json.loads(command("ls", "--json", "--principal", other).stdout)["sessions"], [])


if __name__ == "__main__":
    unittest.main()
