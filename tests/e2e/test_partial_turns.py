"""Long answers whose process, server or client ends in the middle: what there was of them is there, no turn until somebody
goes on with it, and then the tokens are those of an answer that nobody interrupted."""
import signal
import tempfile
import time
import unittest

from kvasir_e2e import *
from test_sessions import Session

GREEDY = {"temperature": 0, "ignore_eos": True}
SEEDED = {"temperature": 0.9, "seed": 5, "ignore_eos": True}
STORY = "Tell me a long story about the sea."
MOST = 160


@needs_model
class InTheMiddle(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="kvasir-partial-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def begin(self, client, session, **how):
        """A long answer, and nobody waits for it; the number of the request."""
        arguments = {"session_id": session, "prompt": STORY, "max_tokens": MOST, "return_tokens": True, **how}
        number = next(client.ids)
        client.send({"id": number, "method": "tools/call",
                     "params": {"name": "generate_text", "arguments": arguments, "_meta": {"progressToken": "t"}}})
        return number

    def wait_for(self, client, session, tokens):
        """Until so many tokens of an answer are kept."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            shown = client.ask("get_session", session_id=session)
            if shown.get("partial", {}).get("tokens", 0) >= tokens:
                return shown
            time.sleep(0.02)
        self.fail("nothing was kept")

    def start(self, *more, **options):
        return Session(self.folder, "--autosave-tokens", "32", *more, **options)

    def whole_answer(self, client, **how):
        """A session with one turn, and what it says to STORY when nothing happens."""
        session = client.ask("create_session")["session_id"]
        client.say(session, "Name a colour.", max_tokens=4)
        return client.say(session, STORY, max_tokens=MOST, **how)

    def goes_on(self, client, session, expected, least, **how):
        """The interrupted answer, looked at and ended; returns how many tokens were kept."""
        left = client.ask("get_session", session_id=session, transcript=True)
        self.assertEqual((left["partial"]["state"], left["turns"]), ("interrupted", 2))
        kept = left["partial"]["tokens"]
        self.assertGreaterEqual(kept, least)
        self.assertTrue(expected["text"].startswith(left["partial"]["content"]))
        self.assertEqual(left["partial"]["prompt"], STORY)
        more = client.say(session, None, max_tokens=MOST - kept, expected_head=left["head"], **how)
        self.assertEqual(more["tokens"], expected["tokens"][kept:])
        self.assertEqual((more["continued_tokens"], more["durable"]), (kept, True))
        self.assertNotIn("history_rewritten", more)
        turns = client.ask("get_session", session_id=session, transcript=True)
        self.assertNotIn("partial", turns)
        self.assertEqual([t.get("interrupted", False) for t in turns["transcript"]], [False, False, False, True, False])
        return kept

    def test_killed(self):
        for how in (GREEDY, SEEDED):
            with self.start() as c:
                expected = self.whole_answer(c, **how)
                session = c.ask("create_session")["session_id"]
                head = c.say(session, "Name a colour.", max_tokens=4)["head"]
                self.begin(c, session, **how)
                shown = self.wait_for(c, session, 64)
                self.assertEqual((shown["partial"]["state"], shown["head"], shown["turns"]), ("running", head, 2))
                c.kill()
            with self.start() as c:
                self.assertEqual(c.ask("get_session", session_id=session)["head"], head)
                self.goes_on(c, session, expected, 64, **how)
            self.assertIn("every session verifies", kvasir("sessions", "verify", "--data-dir", self.folder).stdout)

    def test_killed_at_named_points(self):
        """Before a save is committed the one before it is there, afterwards this one."""
        with self.start() as c:
            expected = self.whole_answer(c, **GREEDY)
        for point, least, below in (("partial.node:3", 32, 64), ("partial.kept:2", 32, 64), ("partial.committed:2", 64, MOST)):
            with self.subTest(point):
                with self.start(env=clean_environment(KVASIR_FAILPOINT=point)) as c:
                    session = c.ask("create_session")["session_id"]
                    c.say(session, "Name a colour.", max_tokens=4)
                    self.begin(c, session, **GREEDY)
                    self.assertEqual(c.process.wait(60), -signal.SIGKILL)
                with self.start() as c:
                    self.assertLess(self.goes_on(c, session, expected, least, **GREEDY), below)

    def test_at_the_orderly_end_of_the_server_everything_is_kept(self):
        with self.start("--autosave-tokens", "0") as c:
            expected = self.whole_answer(c, **GREEDY)
            session = c.ask("create_session")["session_id"]
            c.say(session, "Name a colour.", max_tokens=4)
            self.begin(c, session, **GREEDY)
            while DELTA not in str(c.receive()):
                pass
            self.assertNotIn("partial", c.ask("get_session", session_id=session))
            c.process.send_signal(signal.SIGTERM)
            self.assertEqual(c.process.wait(10), 0)
        with self.start() as c:
            self.goes_on(c, session, expected, 1, **GREEDY)

    def test_a_client_of_a_shared_host_that_dies_leaves_its_answer(self):
        with HostFolder() as folder:
            self.folder = folder.path
            client = lambda: Session(folder.path, "--autosave-tokens", "32", shared=True, env=folder.environment)
            with client() as other, client() as c:
                expected = self.whole_answer(c, **GREEDY)
                session = c.ask("create_session")["session_id"]
                c.say(session, "Name a colour.", max_tokens=4)
                self.begin(c, session, **GREEDY)
                self.wait_for(other, session, 32)
                c.kill()
                deadline = time.monotonic() + 20
                while other.ask("get_session", session_id=session)["partial"]["state"] == "running":
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.02)
                self.goes_on(other, session, expected, 32, **GREEDY)

    def test_another_question_takes_its_place_and_a_client_that_takes_it_back_leaves_nothing(self):
        with self.start() as c:
            session = c.ask("create_session")["session_id"]
            head = c.say(session, "Name a colour.", max_tokens=4)["head"]
            self.begin(c, session, **GREEDY)
            self.wait_for(c, session, 32)
            c.kill()
        self.assertIn("unfinished", kvasir("sessions", "show", session, "--data-dir", self.folder).stdout)
        with self.start() as c:
            answer = c.say(session, "Name another.", max_tokens=4, expected_head=head)
            self.assertGreaterEqual(answer["dropped_tokens"], 32)
            self.assertEqual(c.ask("get_session", session_id=session)["turns"], 4)
            number = self.begin(c, session, **GREEDY)
            self.wait_for(c, session, 32)
            c.send({"method": "notifications/cancelled", "params": {"requestId": number}})
            deadline = time.monotonic() + 20
            while "partial" in c.ask("get_session", session_id=session):
                self.assertLess(time.monotonic(), deadline)
            self.assertEqual(c.ask("get_session", session_id=session)["head"], answer["head"])


if __name__ == "__main__":
    unittest.main()
