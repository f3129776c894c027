"""Many `kvasir mcp` and `kvasir rpc` of one user share one host; none of them depends on it or on another to live."""
import glob
import os
import shutil
import signal
import socket
import time
import unittest

from kvasir_e2e import *

LOST = -31003


def wait_until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def processes_with(*words):
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as f:
                arguments = f.read().decode(errors="replace").split("\0")
        except OSError:
            continue
        if all(word in arguments for word in words):
            found.append(int(path.split("/")[2]))
    return found


def resident_mb(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) / 1024


def count(conversation, text="Hello world"):
    return conversation.request("count_tokens", {"text": text})


def endless(conversation):
    """Starts a long generation and waits for its first words; its id."""
    number = next(conversation.ids)
    conversation.send({"id": number, "method": "generate_text",
                       "params": {"prompt": "Count.", "max_tokens": 4000, "ignore_eos": True, "stream": True}})
    conversation.receive()
    return number


@needs_model
class OneHost(unittest.TestCase):
    def test_five_clients_at_the_same_instant_make_one_host_with_one_copy_of_the_weights(self):
        with HostFolder() as folder:
            clients = [folder.talk("mcp") for _ in range(5)]
            try:
                for client in clients:
                    self.assertEqual(client.initialize()["serverInfo"]["name"], "kvasir")
                for client in clients:
                    result = client.tool("generate_text", {"prompt": "Hi", "max_tokens": 4, "temperature": 0})[1]["result"]
                    self.assertFalse(result.get("isError"), result)
                self.assertTrue(wait_until(lambda: processes_with("host", folder.path) == [folder.pid()]))
                for client in clients:
                    self.assertLess(resident_mb(client.process.pid), 60)
            finally:
                for client in clients:
                    self.assertEqual(client.end_input()[0], 0)
                    client.__exit__()

    def test_the_handshake_of_the_first_client_takes_under_a_second_and_no_model(self):
        with HostFolder() as folder, folder.talk("mcp", model="/no/such/model.gguf") as client:
            client.initialize()
            self.assertLess(time.monotonic() - client.started, 5)   # 40 ms on a quiet machine
            self.assertIn("/no/such/model.gguf", client.tool("count_tokens", {"text": "a"})[1]["result"]["content"][0]["text"])

    def test_each_client_keeps_its_own_engine_options_and_its_relative_path(self):
        with HostFolder() as folder:
            relative = os.path.relpath(model_path(), os.getcwd())
            with folder.talk("rpc", "--ctx", "256", model=relative) as small, folder.talk("rpc", "--ctx", "512") as large:
                self.assertEqual(small.request("get_model_info")["result"]["context"], 256)
                self.assertEqual(large.request("get_model_info")["result"]["context"], 512)

    def test_content_length_framing_reaches_through(self):
        with HostFolder() as folder, folder.talk("rpc") as client:
            body = b'{"jsonrpc":"2.0","id":1,\n "method":"count_tokens","params":["Hello world"]}'
            client.send_text(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            self.assertTrue(client.lines.get(timeout=30).startswith(b"Content-Length: "))

    def test_without_store_or_when_private_there_is_no_host(self):
        for flag in ("--no-store", "--private"):
            with HostFolder() as folder, folder.talk("rpc", flag) as client:
                self.assertIn("result", count(client))
                self.assertIsNone(folder.pid())

    def test_serve_is_the_host_of_clients_that_come_later(self):
        with Server() as server, Conversation([BIN, "rpc", "--model", model_path(), "--data-dir", data_dir()]) as client:
            self.assertIn("result", count(client))
            self.assertIn(str(server.process.pid), kvasir("host", "--status", "--data-dir", data_dir()).stdout)


@needs_model
class Deaths(unittest.TestCase):
    def test_a_killed_host_costs_an_error_on_what_was_in_flight_and_nothing_else(self):
        with HostFolder() as folder, folder.talk("rpc") as client, folder.talk("rpc") as other:
            self.assertIn("result", count(other))
            for _ in range(3):
                number = endless(client)
                before = folder.pid()
                os.kill(before, signal.SIGKILL)
                answer = client.answer(number)[1]
                self.assertEqual(answer["error"]["code"], LOST)
                self.assertIn("result", count(client))
                self.assertIn("result", count(other))
                self.assertNotEqual(folder.pid(), before)

    def test_a_legacy_mcp_client_need_not_introduce_itself_again(self):
        with HostFolder() as folder, folder.talk("mcp") as client:
            client.initialize("2025-06-18")
            pid = folder.pid()
            os.kill(pid, signal.SIGKILL)
            self.assertTrue(wait_until(lambda: not os.path.exists(f"/proc/{pid}")))
            answer = client.tool("count_tokens", {"text": "Hello world"})[1]
            self.assertEqual(answer["result"]["structuredContent"]["tokens"], 2)
            self.assertEqual(sum("protocolVersion" in m.get("result", {}) for m in client.seen), 1)

    def test_killed_clients_leave_the_host_to_the_others(self):
        with HostFolder() as folder, folder.talk("rpc") as client:
            self.assertIn("result", count(client))
            pid = folder.pid()
            for _ in range(3):
                with folder.talk("rpc") as victim:
                    endless(victim)
                    victim.process.kill()
                    victim.process.wait()
            self.assertIn("result", count(client))
            self.assertEqual(folder.pid(), pid)

    def test_end_of_input_and_sigterm_end_a_client_in_time_with_success(self):
        with HostFolder() as folder:
            with folder.talk("rpc") as client:
                endless(client)
                code, seconds = client.end_input()
                self.assertEqual(code, 0)
                self.assertLess(seconds, 3)
            with folder.talk("mcp") as client:
                client.initialize()
                client.process.send_signal(signal.SIGTERM)
                self.assertEqual(client.process.wait(5), 0)

    def test_nothing_is_left_running_after_the_idle_time(self):
        with HostFolder(idle_ms=300) as folder:
            with folder.talk("rpc") as client:
                self.assertIn("result", count(client))
                time.sleep(1)
                self.assertIsNotNone(folder.pid(), "a host with a client is not idle")
            self.assertTrue(wait_until(lambda: folder.pid() is None))
            self.assertTrue(wait_until(lambda: not processes_with(folder.path)))
            with folder.talk("rpc") as client:
                self.assertIn("result", count(client))

    def test_a_newer_program_replaces_the_host_under_its_clients(self):
        with HostFolder() as folder, folder.talk("rpc") as old:
            self.assertIn("result", count(old))
            before = folder.pid()
            newer = shutil.copy(BIN, os.path.join(folder.path, "kvasir"))
            os.utime(newer, (time.time() + 60, time.time() + 60))
            with folder.talk("rpc", program=newer) as new:
                self.assertIn("result", count(new))
                self.assertNotEqual(folder.pid(), before)
                self.assertIn("result", count(old))
                self.assertTrue(wait_until(lambda: len(processes_with("host", folder.path)) == 1))

    def test_nonsense_on_the_socket_ends_that_connection_alone(self):
        with HostFolder() as folder, folder.talk("rpc") as client:
            self.assertIn("result", count(client))
            pid = folder.pid()
            for bytes_ in (b"", b"hello\n", b"{}\n", b"[" * 100_000 + b"\n", b"\x16\x03\x01" * 1000 + b"\n", b"Content-Length: 99999999999\r\n\r\n",
                           b'{"kvasir":1,"version":"9","file_time_ns":1,"speaks":"klingon"}\n'):
                with socket.socket(socket.AF_UNIX) as s:
                    s.settimeout(10)
                    s.connect(os.path.join(folder.path, "run/host.sock"))
                    s.sendall(bytes_)
                    s.shutdown(socket.SHUT_WR)
                    while s.recv(4096):
                        pass
            self.assertIn("result", count(client))
            self.assertEqual(folder.pid(), pid)

    def test_a_place_that_is_not_ours_alone_is_refused_loudly_and_the_client_works_alone(self):
        with HostFolder() as folder:
            os.mkdir(os.path.join(folder.path, "run"))
            os.chmod(os.path.join(folder.path, "run"), 0o777)
            with folder.talk("rpc") as client:
                self.assertIn("result", count(client))
                self.assertTrue(any(b"working alone" in line for line in client.stderr), client.stderr)
            os.chmod(os.path.join(folder.path, "run"), 0o700)


if __name__ == "__main__":
    unittest.main()
