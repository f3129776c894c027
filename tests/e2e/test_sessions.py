"""Sessions over MCP with the real model: killed, restored, forked, rewound, deleted; nothing lost, nothing else served."""
import json
import os
import signal
import tempfile
import time
import unittest

from kvasir_e2e import *

SECRET = "Zanzibar-7Q9-heliotrope"


class Session(Conversation):
    """`kvasir mcp` on a data folder of its own, alone in its process unless `shared`."""

    def __init__(self, folder, *more, context=1024, shared=False, env=None):
        super().__init__([BIN, "mcp", "--model", model_path(), "--data-dir", folder, "--ctx", str(context), "--threads", "1",
                          *([] if shared else ["--private"]), *more], env=env)
        self.initialize()

    def ask(self, tool, **arguments):
        _, answer = self.tool(tool, arguments)
        result = answer["result"]
        assert not result["isError"], result["content"][0]["text"]
        return result["structuredContent"]

    def refused(self, tool, **arguments):
        _, answer = self.tool(tool, arguments)
        assert answer["result"]["isError"], answer
        return answer["result"]["content"][0]["text"], answer["result"]["_meta"]["dev.kvasir/error"]["code"]

    def say(self, session, text, **more):
        arguments = {"max_tokens": 24, "temperature": 0, "return_tokens": True, **more}
        return self.ask("generate_text", session_id=session, **({"prompt": text} if text else {}), **arguments)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def bytes_of(folder):
    out = b""
    for root, _, files in os.walk(folder):
        for name in files:
            with open(os.path.join(root, name), "rb") as f:
                out += f.read()
    return out


@needs_model
class Sessions(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="kvasir-sessions-")
        self.addCleanup(self.folder.cleanup)

    def test_killed_and_restored_it_says_what_it_would_have_said(self):
        seeded = {"temperature": 0.9, "seed": 11}
        turns = [("Name three animals.", {}), ("And three plants.", seeded), ("Which of them is the largest?", {}), (None, seeded)]
        with Session(self.folder.name) as c:
            whole = c.ask("create_session", system="Be brief.")["session_id"]
            expected = [c.say(whole, text, **how)["tokens"] for text, how in turns]
            broken = c.ask("create_session", system="Be brief.")["session_id"]
            said = [c.say(broken, text, **how) for text, how in turns[:2]]
            self.assertTrue(all(turn["durable"] for turn in said))
            mark = c.ask("checkpoint_session", session_id=broken, name="half way")
            self.assertTrue(mark["durable"])
            c.kill()
        with Session(self.folder.name) as c:
            restored = c.ask("restore_session", session_id=broken, checkpoint_id=mark["checkpoint_id"])
            self.assertEqual(restored["head"], said[-1]["head"])
            self.assertGreater(restored["restored_tokens"] + restored["recomputed_tokens"], 64)
            self.assertTrue(restored["reason"])
            said += [c.say(broken, text, **how) for text, how in turns[2:]]
            self.assertEqual([turn["tokens"] for turn in said], expected)
            self.assertFalse(any("history_rewritten" in turn for turn in said))

    def test_the_next_turn_computes_only_what_is_new(self):
        with Session(self.folder.name) as c:
            session = c.ask("create_session", system="You know a lot about the sea. " * 12)["session_id"]
            first = c.say(session, "What lives there?")
            second = c.say(session, "What else?")
            known = first["usage"]["prompt_tokens"] + first["usage"]["completion_tokens"]
            self.assertGreaterEqual(second["usage"]["cached_tokens"], known - known % 64 - 64)
            shown = c.ask("get_session", session_id=session, context_map=True)
            self.assertEqual(sum(m["tokens"] for m in shown["context_map"]["messages"]), shown["tokens"])
            self.assertEqual(shown["context"], 1024)
            self.assertIn("first_miss", shown["context_map"])

    def test_fork_and_rewind_go_back_to_the_same_words(self):
        with Session(self.folder.name) as c:
            session = c.ask("create_session")["session_id"]
            c.say(session, "Name a colour.")
            second = c.say(session, "Name another.")
            fork = c.ask("fork_session", session_id=session, at="2")
            self.assertGreater(fork["shared_tokens"], 0)
            self.assertEqual(c.say(fork["session_id"], "Name another.")["tokens"], second["tokens"])
            self.assertEqual(c.ask("rewind_session", session_id=session, to="2")["removed_turns"], 2)
            self.assertEqual(c.say(session, "Name another.")["tokens"], second["tokens"])
            titles = [s["session_id"] for s in c.ask("list_sessions")["sessions"]]
            self.assertEqual(set(titles), {session, fork["session_id"]})

    def test_overflow_is_loud(self):
        with Session(self.folder.name, context=256) as c:
            session = c.ask("create_session")["session_id"]
            text, code = c.refused("generate_text", session_id=session, prompt="word " * 400)
            self.assertEqual(code, "too_large")
            self.assertIn("256", text)
            removed = None
            for number in range(12):
                answer = c.say(session, f"Tell me about the number {number}.", max_tokens=16, overflow="truncate_oldest")
                self.assertLessEqual(answer["usage"]["prompt_tokens"], 256)
                removed = removed or answer.get("truncated")
            self.assertEqual(removed["policy"], "truncate_oldest")
            self.assertGreater(removed["removed_tokens"], 0)
            self.assertGreater(removed["removed_messages"], 0)

    def test_delete_leaves_nothing_on_the_disk(self):
        with Session(self.folder.name) as c:
            session = c.ask("create_session", system=f"The word is {SECRET}.")["session_id"]
            c.say(session, f"Say {SECRET}.", max_tokens=4)
            self.assertIn(SECRET.encode(), bytes_of(self.folder.name))
            self.assertGreater(c.ask("delete_session", session_id=session)["deleted_bytes"], 20)
            self.assertNotIn(SECRET.encode(), bytes_of(self.folder.name))
            self.assertEqual(c.refused("get_session", session_id=session)[1], "not_found")

    def test_after_a_restart_pages_come_from_disk_and_damaged_ones_are_computed_again(self):
        blocks = os.path.join(self.folder.name, "sessions/blocks/all")
        with Session(self.folder.name) as c:
            session = c.ask("create_session", system="You know a lot about the sea. " * 40)["session_id"]
            first = c.say(session, "What lives there?")
            fork = c.ask("fork_session", session_id=session, at="1")["session_id"]
            deadline = time.monotonic() + 20
            while len(os.listdir(blocks)) < first["usage"]["prompt_tokens"] // 64 and time.monotonic() < deadline:
                time.sleep(0.05)
            c.kill()
        with open(os.path.join(self.folder.name, "sessions/blocks/by-session", session)) as f:
            third = f.read().split()[2] + ".kvb"   # in the order of its pages
        with Session(self.folder.name) as c:
            restored = c.ask("restore_session", session_id=session)
            self.assertIn("came from disk", restored["reason"])
            self.assertGreaterEqual(restored["restored_tokens"], 256)
            self.assertLess(restored["recomputed_tokens"], 128)
            again = c.say(fork, "What lives there?")
            self.assertEqual(again["tokens"], first["tokens"])
            c.kill()
        with open(os.path.join(blocks, third), "r+b") as f:
            f.seek(1000)
            f.write(b"damage")
        with Session(self.folder.name) as c:
            restored = c.ask("restore_session", session_id=session)
            self.assertIn("damaged", restored["reason"])
            self.assertGreater(restored["recomputed_tokens"], 128)
            c.ask("rewind_session", session_id=session, to="1")
            self.assertEqual(c.say(session, "What lives there?")["tokens"], first["tokens"])
            deleted = [c.ask("delete_session", session_id=each)["deleted_bytes"] for each in (fork, session)]
            self.assertGreater(sum(deleted), 100_000)   # whoever goes first takes the pages that both used
            self.assertEqual(os.listdir(blocks), [])

    def test_compression_is_measured_refused_and_taken_back(self):
        sea, code = "You know a lot about the sea. ", "7391 4820 5567 1204 9938 2716"
        with Session(self.folder.name) as c:
            session = c.ask("create_session", system=sea * 12)["session_id"]
            for text in (f"Remember: {code}", sea * 20, f"It was {code}"):
                c.say(session, text, max_tokens=2)
            before = c.ask("get_session", session_id=session)
            refused = c.ask("compress_session", session_id=session, target_ratio=0.6, max_quality_loss=0)
            self.assertGreater(refused["dnll"], 0)   # the first mention is gone, so the second is a surprise
            self.assertFalse(refused["applied"])
            self.assertIn("refused", refused["verdict"])
            self.assertEqual(c.ask("get_session", session_id=session)["head"], before["head"])
            report = c.ask("compress_session", session_id=session, target_ratio=0.6, max_quality_loss=50)
            self.assertTrue(report["applied"])
            self.assertLess(report["bytes_after"], report["bytes_before"])
            answer = c.say(session, "And what else?", max_tokens=4)
            self.assertLess(answer["usage"]["prompt_tokens"], before["tokens"])
            self.assertNotIn("history_rewritten", answer)
            c.ask("restore_session", session_id=session, checkpoint_id=report["checkpoint_before"])
            self.assertEqual(c.ask("get_session", session_id=session)["tokens"], before["tokens"])

    def test_compressed_killed_and_restored_it_says_what_it_would_have_said(self):
        sea = "The sea is wide and deep, and many animals live in it. "
        ways = [{"strategy": "sliding_window"}, {"strategy": "kv_quantize"},
                {"strategy": "attention_based", "focus": "What is the code of the locker?"}]
        sessions = []
        with Session(self.folder.name) as c:
            for way in ways:
                session = c.ask("create_session", system="Be brief.")["session_id"]
                for text in ("The code of the locker is 48213.", sea * 22, "Thank you."):
                    c.say(session, text, max_tokens=4)
                before = c.ask("get_session", session_id=session)
                report = c.ask("compress_session", session_id=session, max_quality_loss=50, **way)
                self.assertTrue(report["applied"], report)
                self.assertLess(report["bytes_after"], report["bytes_before"])
                self.assertGreater(report["scored_tokens"], 10)
                self.assertGreater(report["probes"]["tried"], 0)
                after = c.ask("get_session", session_id=session, context_map=True)
                self.assertEqual(after["tokens"], report["tokens_after"])
                self.assertEqual(sum(m["tokens"] for m in after["context_map"]["messages"]), after["tokens"])
                self.assertEqual(report["tokens_before"], before["tokens"])
                fork = c.ask("fork_session", session_id=session)["session_id"]
                expected = [c.say(fork, text, max_tokens=8)["tokens"] for text in ("What is the code?", "And what else?")]
                sessions.append((session, expected, report))
            c.kill()
        with Session(self.folder.name) as c:
            for session, expected, report in sessions:
                back = c.ask("restore_session", session_id=session)
                self.assertEqual(back["restored_tokens"] + back["recomputed_tokens"], report["tokens_after"])
                said = [c.say(session, text, max_tokens=8) for text in ("What is the code?", "And what else?")]
                self.assertEqual([turn["tokens"] for turn in said], expected)
                self.assertFalse(any("history_rewritten" in turn for turn in said))
                c.ask("rewind_session", session_id=session, to=report["checkpoint_before"])
                self.assertEqual(c.ask("get_session", session_id=session)["tokens"], report["tokens_before"])

    def test_overflow_compress_makes_room_and_says_so(self):
        with Session(self.folder.name, context=384) as c:
            session = c.ask("create_session", overflow="compress")["session_id"]
            compressed = []
            for number in range(26):
                answer = c.say(session, f"Tell me about the number {number}.", max_tokens=16)
                self.assertLessEqual(answer["usage"]["prompt_tokens"], 384)
                if "truncated" in answer:
                    compressed.append(answer["truncated"])
            self.assertGreater(len(compressed), 1)  # also what was compressed before
            self.assertEqual(compressed[0]["policy"], "compress")
            self.assertGreater(compressed[0]["removed_tokens"], 0)
            c.ask("restore_session", session_id=session, checkpoint_id=compressed[0]["checkpoint_before"])
            text, code = c.refused("generate_text", prompt="Hi", overflow="compress")
            self.assertIn("session", text)

    def test_no_store_writes_nothing(self):
        with Session(self.folder.name, "--no-store") as c:
            session = c.ask("create_session", system=SECRET)["session_id"]
            self.assertFalse(c.say(session, "Hi", max_tokens=4)["durable"])
        self.assertEqual(os.listdir(self.folder.name), [])

    def test_a_prompt_without_a_session_never_reaches_the_disk(self):
        with Session(self.folder.name) as c:
            c.ask("generate_text", prompt=f"Say {SECRET}", max_tokens=4)
            c.ask("create_session")
            self.assertNotIn(SECRET.encode(), bytes_of(self.folder.name))

    def test_a_second_process_on_the_folder_is_told_so_and_works_without_sessions(self):
        with Session(self.folder.name) as first, Session(self.folder.name) as second:
            first.ask("create_session")
            text, code = second.refused("create_session")
            self.assertEqual(code, "conflict")
            self.assertIn("another kvasir", text)
            self.assertTrue(second.ask("generate_text", prompt="Hi", max_tokens=2)["text"])
            first.kill()
            second.ask("create_session")


@needs_model
class SharedHost(unittest.TestCase):
    def test_clients_of_one_host_share_sessions_and_a_killed_host_loses_none(self):
        with HostFolder() as folder:
            both = [Session(folder.path, shared=True, env=folder.environment) for _ in range(2)]
            with both[0] as first, both[1] as second:
                session = first.ask("create_session", system="Be brief.")["session_id"]
                said = first.say(session, "Name a river.")
                self.assertEqual(second.ask("get_session", session_id=session)["head"], said["head"])
                third = second.say(session, "And a mountain.", expected_head=said["head"][:16])
                self.assertEqual(first.refused("generate_text", session_id=session, prompt="x", expected_head=said["head"])[1], "conflict")
                fork = first.ask("fork_session", session_id=session, at="3")["session_id"]
                os.kill(folder.pid(), signal.SIGKILL)
                deadline = time.monotonic() + 30
                while time.monotonic() < deadline:   # what was in flight when it died may be answered with an error
                    _, answer = second.tool("get_session", {"session_id": session})
                    if "result" in answer:
                        break
                self.assertEqual(answer["result"]["structuredContent"]["head"], third["head"])
                self.assertEqual(first.say(fork, "And a mountain.")["tokens"], third["tokens"])


@needs_model
class Commands(unittest.TestCase):
    """`kvasir sessions ...` on the store that a server left."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="kvasir-sessions-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        with Session(self.folder) as c:
            self.session = c.ask("create_session", system="Be brief.", title="first talk")["session_id"]
            self.said = [c.say(self.session, text, max_tokens=8) for text in ("Name a tree.", "Name another.")]
            c.ask("checkpoint_session", session_id=self.session, name="end")
            c.end_input()

    def run_command(self, *arguments, stdin=b"", code=0):
        done = kvasir("sessions", *arguments, "--data-dir", self.folder, stdin=stdin)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout

    def json(self, *arguments, **more):
        return json.loads(self.run_command(*arguments, "--json", **more))

    def test_look(self):
        self.assertIn("first talk", self.run_command("ls"))
        listed = self.json("ls", "--quota-conversation-mb", "7")
        self.assertEqual(listed["sessions"][0]["turns"], 5)
        self.assertEqual(listed["storage"]["conversation_max_bytes"], 7 << 20)
        self.assertGreater(listed["storage"]["conversation_bytes"], 100)
        self.assertGreater(listed["storage"]["kv_bytes"], 1000)
        self.assertEqual(self.json("principals")["principals"][0]["bytes"], listed["storage"]["conversation_bytes"])
        self.run_command("ls", "--quota-kv-mb", "0", code=2)
        shown = self.json("show", self.session)
        self.assertEqual(shown["head"], self.said[-1]["head"])
        self.assertEqual(shown["transcript"][1]["content"], "Name a tree.")
        self.assertEqual(shown["checkpoints"][0]["name"], "end")
        self.assertIn("Name another.", self.run_command("show", self.session[:10]))
        self.assertIn("every session verifies", self.run_command("verify"))
        self.run_command("show", "s_nothing", code=2)

    def test_fork_rewind_and_tree(self):
        fork = self.json("fork", self.session, "--at", "3", "--title", "branch")["session_id"]
        self.assertEqual(self.json("tree")["sessions"][0]["forks"][0]["session_id"], fork)
        self.assertIn("  " + fork, self.run_command("tree"))
        self.assertEqual(self.json("rewind", self.session, "--at", "1")["turns"], 1)
        self.run_command("rewind", self.session, code=2)

    def test_exported_and_imported_it_goes_on_the_same(self):
        document = self.run_command("export", self.session)
        copy = self.json("import", stdin=document.encode())["session_id"]
        self.assertNotEqual(copy, self.session)
        with Session(self.folder) as c:
            both = [c.say(s, "Which one is taller?") for s in (self.session, copy)]
            self.assertEqual(both[0]["tokens"], both[1]["tokens"])
            self.assertFalse(any("history_rewritten" in answer for answer in both))
        for bad in ("", "{}", "[]", '{"format":"kvasir-session","version":1}', document.replace('"user"', '"robot"', 1),
                    document.replace('"version":1', '"version":2')):
            self.run_command("import", stdin=bad.encode(), code=2)
        self.assertEqual(len(self.json("ls")["sessions"]), 2)

    def test_delete_and_collect(self):
        self.assertGreater(self.json("rm", self.session)["deleted_bytes"], 20)
        self.assertEqual(self.json("ls")["sessions"], [])
        self.assertEqual(self.json("gc")["expired_sessions"], 0)
        self.assertNotIn(b"Name a tree", bytes_of(self.folder))

    def test_while_a_server_has_the_store_open(self):
        with Session(self.folder) as c:
            c.ask("get_session", session_id=self.session)
            done = kvasir("sessions", "ls", "--data-dir", self.folder)
            self.assertEqual(done.returncode, 75)
            self.assertIn("another kvasir", done.stderr)


if __name__ == "__main__":
    unittest.main()
