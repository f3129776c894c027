"""Crashes: a store is killed at every named point and at random moments, also while it recovers; this driver keeps its own
record of what was acknowledged and compares every turn and token afterwards. 1,000 cycles with KVASIR_TEST_SOAK."""
import contextlib
import os
import random
import signal
import subprocess
import tempfile
import threading
import time
import unittest

BUILD = os.environ.get("KVASIR_BUILD") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../build/release")
WORKER = os.path.join(BUILD, "bin/store_worker")
SOAK = bool(os.environ.get("KVASIR_TEST_SOAK"))
RANDOM_CYCLES = 1000 if SOAK else 30


def begun(text, said):
    """The turns that an answer of which so much was said would be."""
    return [("user", text), ("assistant", said)]


class Oracle:
    """What must be there: acknowledged operations; and what may be there: the one that was under way at the end."""

    def __init__(self, folder, seed):
        self.folder, self.random, self.number = folder, random.Random(seed), 0
        self.sessions = {}      # id -> list of turns (role, content)
        self.partials = {}      # id -> the turns of an answer that was begun
        self.uncertain = None   # (kind, id, turns after it) of the operation that was not acknowledged

    def choose(self):
        """The next operation as (line, kind, session)."""
        self.number += 1
        ids = sorted(self.sessions)
        kind = self.random.choices(["create", "turn", "part", "goon", "fork", "rewind", "mark", "remove", "collect"],
                                   [1, 12, 3, 1.5, 1, 1, 1, 0.5, 0.5])[0]
        if not ids or (kind == "create" and len(ids) < 6):
            return f"create n{self.number}", "create", None
        session = self.random.choice(ids)
        if kind in ("fork", "rewind"):
            at = self.random.randint(0, len(self.sessions[session]))
            return f"{kind} {session} {at}", kind, (session, at)
        if kind == "mark":
            return f"mark {session} m{self.number}", kind, session
        if kind == "remove" and len(ids) > 2:
            return f"remove {session}", kind, session
        if kind == "collect":
            return "collect", kind, None
        text = f"text{self.number}" + "x" * self.random.choice([0, 10, 3000])
        if kind == "part":
            return f"part {session} - {text}", kind, (session, text)
        if kind == "goon" and self.partials:
            session = self.random.choice(sorted(self.partials))
            return f"goon {session}", kind, session
        return f"turn {session} k{self.number} {text}", "turn", (session, text)

    def after(self, kind, what):
        """Sessions if the operation happened; for create and fork the new turns."""
        if kind == "turn":
            session, text = what
            return session, self.sessions[session] + [("user", text), ("assistant", "re: " + text)]
        if kind == "goon":
            return what, self.sessions[what] + self.partials[what]
        if kind == "rewind":
            return what[0], self.sessions[what[0]][:what[1]]
        if kind == "fork":
            return None, self.sessions[what[0]][:what[1]]
        return None, []

    def acknowledged(self, kind, what, answer):
        target, turns = self.after(kind, what)
        if kind == "part":
            self.partials[what[0]] = begun(what[1], "begun, no more")
        elif kind in ("turn", "rewind", "goon"):
            if turns != self.sessions[target] or kind != "rewind":
                self.partials.pop(target, None)
            self.sessions[target] = turns
        elif kind in ("create", "fork"):
            self.sessions[answer] = turns
        elif kind == "remove":
            del self.sessions[what]
            self.partials.pop(what, None)

    def compare_partials(self, sessions, found):
        """Of an answer that was begun the last save is there, or one that was under way, until it is a turn."""
        kind, what = self.uncertain or (None, None)
        target = what if kind in ("goon", "remove") else what[0] if kind in ("turn", "part", "rewind") else None
        for session in set(self.partials) | set(found):
            expected = [self.partials.get(session)]
            if session == target and kind == "part":
                expected += [begun(what[1], said) for said in ("be", "begun", "begun, no more")]
            elif session == target and sessions.get(session) != self.sessions[session]:
                expected = [None]
            assert found.get(session) in expected, (session, found.get(session), expected, self.uncertain)
        self.partials = found

    def compare(self, found, partials):
        """Every acknowledged turn and token is there; beside it at most the operation that was under way."""
        kind, what = self.uncertain or (None, None)
        target, turns = self.after(kind, what) if kind else (None, [])
        for session, expected in self.sessions.items():
            if kind == "remove" and what == session and session not in found:
                continue
            assert session in found, f"acknowledged session {session} is lost (under way: {kind})"
            if found[session] != expected:
                assert session == target and found[session] == turns, f"{session}: {found[session]} is not {expected} (under way: {kind})"
        unknown = set(found) - set(self.sessions)
        assert len(unknown) <= (1 if kind in ("create", "fork") else 0), (unknown, kind)
        for session in unknown:
            assert found[session] == turns, (found[session], turns)
        self.compare_partials(found, partials)
        self.sessions = found
        self.uncertain = None


class Worker:
    def __init__(self, folder, failpoint=""):
        self.process = subprocess.Popen([WORKER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env={**os.environ, "KVASIR_FAILPOINT": failpoint})

    def ask(self, line):
        """The answer, or None if the worker died first."""
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            return None
        answer = self.process.stdout.readline().decode()
        return answer[:-1] if answer.endswith("\n") else None

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)

    def close(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(20)


def found_in(folder):
    """Every session of the store and every answer that was begun, as the oracle has them; tokens are checked on the way: every byte is one."""
    worker, out, partials = Worker(folder), {}, {}
    worker.process.stdin.write(b"dump\n")
    worker.process.stdin.flush()
    for line in worker.process.stdout:
        line = line.decode().rstrip("\n")
        if line == "ok":
            break
        head, *turns = line.split("|")
        kind, session = head.split()
        said = {"session": out, "partial": partials}[kind].setdefault(session, [])
        for role, rest in (turn.split(":", 1) for turn in turns):
            content, tokens = rest[:len(rest) // 2], rest[len(rest) // 2 + 1:]
            assert content == tokens, (content[:80], tokens[:80])
            said.append((role, content))
    assert worker.close() == 0
    return out, partials


def work(oracle, worker, most=400):
    """Operations until the worker dies or `most` are done."""
    for _ in range(most):
        line, kind, what = oracle.choose()
        answer = worker.ask(line)
        if answer is None:
            oracle.uncertain = (kind, what)
            return
        assert answer.startswith("ok"), (line, answer)
        oracle.acknowledged(kind, what, answer[3:])


@unittest.skipUnless(os.path.exists(WORKER), "store_worker is not built")
class Crash(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="kvasir-crash-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def recovered(self, oracle):
        oracle.compare(*found_in(self.folder))
        checked = subprocess.run([WORKER, self.folder, "verify"], capture_output=True, text=True, timeout=60)
        self.assertEqual((checked.returncode, checked.stdout), (0, ""))

    def test_killed_at_every_named_point(self):
        points = subprocess.run([WORKER, "points"], capture_output=True, text=True, check=True).stdout.split()
        self.assertGreaterEqual(len(points), 20)
        oracle = Oracle(self.folder, 1)
        for number, point in enumerate(points):
            with self.subTest(point):
                times = 1 if point.startswith(("open", "remove", "collect")) else 1 + number % 3
                worker = Worker(self.folder, f"{point}:{times}")
                work(oracle, worker)
                self.assertEqual(worker.close(), -signal.SIGKILL, "the point was never reached")
                self.recovered(oracle)

    def test_killed_at_random_moments_and_during_recovery(self):
        seed = random.randrange(1 << 32)
        print(f"seed {seed}")
        oracle, moments = Oracle(self.folder, seed), random.Random(seed + 1)
        for cycle in range(RANDOM_CYCLES):
            if cycle % 50 == 49:  # a store that grows for ever is compared for ever
                self.setUp()
                oracle = Oracle(self.folder, seed + cycle)
            worker = Worker(self.folder)
            timer = threading.Timer(moments.uniform(0.005, 0.25), worker.kill)
            timer.start()
            work(oracle, worker, 100_000)
            timer.join()
            worker.close()
            if cycle % 3 == 0:  # die again while the store is opened
                again = Worker(self.folder, moments.choice(["open.locked", "open.opened", "open.schema"]))
                self.assertIsNone(again.ask("collect"))
                again.close()
            self.recovered(oracle)

    def test_an_idempotent_repeat_after_a_crash_is_done_once(self):
        worker = Worker(self.folder)
        session = worker.ask("create s")[3:]
        worker.close()
        worker = Worker(self.folder, "append.committed")
        self.assertIsNone(worker.ask(f"turn {session} key hello"))
        worker.close()
        worker = Worker(self.folder)
        self.assertTrue(worker.ask(f"turn {session} key hello").startswith("ok "))
        worker.close()
        self.assertEqual(found_in(self.folder)[0][session], [("user", "hello"), ("assistant", "re: hello")])

    def test_two_processes_on_one_folder(self):
        first, second = Worker(self.folder), Worker(self.folder)
        session = first.ask("create s")[3:]
        self.assertTrue(second.ask("create t").startswith("error conflict"))
        first.kill()
        first.close()
        self.assertTrue(second.ask(f"turn {session} k text").startswith("ok "))
        self.assertEqual(second.close(), 0)


if __name__ == "__main__":
    unittest.main()
