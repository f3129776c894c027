"""The real program on disks that fail: nothing acknowledged is lost, the error says what to do, and it goes on when the disk does."""
import contextlib
import os
import shutil
import subprocess
import tempfile
import time
import unittest

from kvasir_e2e import *
from test_sessions import Session

FAULT = os.path.join(os.path.dirname(BIN), "disk_fault.so")


def sanitized():
    with open(BIN, "rb") as f:
        return b"__asan_init" in f.read()


@needs_model
@unittest.skipUnless(os.path.exists(FAULT), "tests/sessions/disk_fault.cpp is not built")
@unittest.skipIf(os.path.exists(BIN) and sanitized(), "a sanitizer wants to be loaded first")
class FailedSync(unittest.TestCase):
    """decisions.md 29: no acknowledgement, readiness off, exit 75; another process goes on from what was acknowledged."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="kvasir-disk-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.switch = os.path.join(self.folder, "broken")
        self.env = {"LD_PRELOAD": FAULT, "KVASIR_TEST_DISK_FAULT": self.switch}

    def break_disk(self):
        with open(self.switch, "w"):
            pass

    def test_the_answer_says_so_the_process_ends_with_75_and_the_next_one_goes_on(self):
        with Session(self.folder, env=clean_environment(**self.env)) as c:
            session = c.ask("create_session")["session_id"]
            kept = c.say(session, "Name a colour.", max_tokens=4)
            self.assertTrue(kept["durable"])
            self.break_disk()
            lost = c.say(session, "Name another.", max_tokens=4)
            self.assertTrue(lost["text"])   # whoever asked gets the answer, and the truth about it
            self.assertFalse(lost["durable"])
            self.assertIn("I/O", lost["not_stored"])
            self.assertEqual(c.process.wait(20), 75)
        os.unlink(self.switch)
        with Session(self.folder) as c:
            turns = c.ask("get_session", session_id=session, transcript=True)["transcript"]
            self.assertIn(len(turns), (2, 4))   # what was acknowledged, and perhaps what was not
            self.assertEqual(turns[1]["content"], kept["text"])
            self.assertTrue(c.say(session, "And another.", max_tokens=4)["durable"])

    def test_a_server_is_not_ready_while_what_runs_may_end(self):
        with Server(data=self.folder, env=self.env) as server:
            session = server.rpc("create_session", {})["result"]["session_id"]
            self.assertEqual(server.http("GET", "/readyz")[0], 200)
            slow = threading.Thread(target=lambda: results.append(server.rpc("generate_text", {
                "prompt": "Count.", "max_tokens": 150, "ignore_eos": True})))
            results = []
            slow.start()
            time.sleep(0.3)
            self.break_disk()
            answer = server.rpc("generate_text", {"session_id": session, "prompt": "Hi", "max_tokens": 2})["result"]
            self.assertFalse(answer["durable"])
            status, _, body = server.http("GET", "/readyz")
            self.assertEqual(status, 503)
            self.assertIn("session store failed", body)
            self.assertIn("kvasir_session_store_lost 1", server.http("GET", "/metrics")[2])
            refused = server.rpc("create_session", {})["error"]
            self.assertIn("restart", refused["message"])
            slow.join(60)
            self.assertTrue(results[0]["result"]["text"])
            self.assertEqual(server.process.wait(20), 75)

    def test_front_ends_get_another_host(self):
        with HostFolder() as folder:
            env = {**folder.environment, "LD_PRELOAD": FAULT, "KVASIR_TEST_DISK_FAULT": self.switch}
            with Session(folder.path, shared=True, env=env) as c:
                session = c.ask("create_session")["session_id"]
                c.say(session, "Name a colour.", max_tokens=4)
                first = folder.pid()
                self.break_disk()
                self.assertFalse(c.say(session, "Name another.", max_tokens=4)["durable"])
                os.unlink(self.switch)   # the disk is well again; that host must not trust it
                deadline = time.monotonic() + 30
                while time.monotonic() < deadline:
                    _, answer = c.tool("get_session", {"session_id": session})
                    if "result" in answer and folder.pid() != first:
                        break
                    time.sleep(0.05)
                self.assertNotEqual(folder.pid(), first)
                self.assertGreaterEqual(answer["result"]["structuredContent"]["turns"], 2)
                self.assertTrue(c.say(session, "Name another.", max_tokens=4)["durable"])


def may_mount():
    return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


@contextlib.contextmanager
def small_disk(mebibytes):
    """A file system of its own, for real."""
    folder = tempfile.mkdtemp(prefix="kvasir-small-")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "kvasir-test", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        os.rmdir(folder)


@needs_model
@unittest.skipUnless(may_mount(), "only root may mount a small file system")
class RealDisk(unittest.TestCase):
    def test_full_then_with_room_again(self):
        with small_disk(24) as folder, Session(folder) as c:
            session = c.ask("create_session")["session_id"]
            heads = [c.say(session, "Name a colour.", max_tokens=4)["head"]]
            ballast = os.path.join(folder, "ballast")
            with contextlib.suppress(OSError), open(ballast, "wb") as f:
                while True:
                    f.write(b"x" * 4096)
                    f.flush()
            refused = c.say(session, "And a long story: " + "word " * 200, max_tokens=4)
            self.assertFalse(refused["durable"])
            self.assertIn("full", refused["not_stored"])
            self.assertEqual(c.ask("get_session", session_id=session)["head"], heads[-1])
            os.unlink(ballast)
            again = c.say(session, "Name another.", max_tokens=4)
            self.assertTrue(again["durable"])   # the same process
            c.kill()
            with Session(folder) as other:
                self.assertEqual(other.ask("get_session", session_id=session)["head"], again["head"])

    def test_read_only_then_writable_again(self):
        with small_disk(16) as folder, Session(folder) as c:
            session = c.ask("create_session")["session_id"]
            kept = c.say(session, "Name a colour.", max_tokens=4)
            c.end_input()
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
            with Session(folder) as reader:
                text, _ = reader.refused("create_session")
                self.assertIn(folder, text)
                self.assertTrue(reader.ask("generate_text", prompt="Hi", max_tokens=2)["text"])   # without sessions it works
                subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
                self.assertEqual(reader.ask("get_session", session_id=session)["head"], kept["head"])
                self.assertTrue(reader.say(session, "Name another.", max_tokens=4)["durable"])


if __name__ == "__main__":
    unittest.main()
