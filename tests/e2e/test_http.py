"""kvasir serve: MCP over HTTP in both eras, plain JSON-RPC, health, and who is let in."""
import json
import signal
import socket
import time
import unittest

from kvasir_e2e import *

LEGACY_INIT = {"jsonrpc": "2.0", "id": 1, "method": "initialize",
               "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "e2e", "version": "1"}}}


def modern(method, number=1, name=None, **params):
    """(body, headers) of a 2026-07-28 request."""
    headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method}
    if name:
        headers["Mcp-Name"] = name
        params["name"] = name
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": {**params, "_meta": {**MODERN, **params.get("_meta", {})}}}, headers


def message_of(reply):
    status, headers, body = reply
    return events_of(body)[-1] if "event-stream" in headers.get("content-type", "") else json.loads(body)


class Doors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(model=False)

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def test_says_where_it_listens_and_leaves_on_sigterm(self):
        with Server(model=False) as server:
            self.assertRegex(server.line, r"^listening on http://127\.0\.0\.1:\d+$")
            self.assertIn(server.line, server.stderr())
            self.assertEqual(server.stop(), 0)
            self.assertEqual(server.process.returncode, 0)

    def test_a_taken_port_is_an_error_that_names_it(self):
        done = kvasir("serve", "--port", str(self.server.port), "--data-dir", data_dir())
        self.assertEqual(done.returncode, 1)
        self.assertIn(str(self.server.port), done.stderr)

    def test_off_loopback_a_token_is_required(self):
        done = kvasir("serve", "--host", "0.0.0.0", "--port", "0", "--data-dir", data_dir())
        self.assertEqual(done.returncode, 2)
        self.assertIn("token", done.stderr)

    def test_with_a_token_only_its_bearer_is_answered(self):
        with Server("--token", "s3cret", model=False) as server:
            self.assertEqual(server.http("POST", "/mcp", LEGACY_INIT)[0], 401)
            self.assertEqual(server.http("POST", "/mcp", LEGACY_INIT, {"Authorization": "Bearer wrong"})[0], 401)
            self.assertEqual(server.http("POST", "/mcp", LEGACY_INIT, {"Authorization": "Bearer s3cret"})[0], 200)

    def test_foreign_pages_and_names_are_refused(self):
        for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Origin": "null"},
                        {"Origin": "http://localhost.evil.example"}):
            self.assertEqual(self.server.http("POST", "/mcp", LEGACY_INIT, headers)[0], 403, headers)
        self.assertEqual(self.server.http("POST", "/mcp", LEGACY_INIT, {"Origin": "http://localhost:3000"})[0], 200)

    def test_health_and_metrics(self):
        self.assertEqual(self.server.http("GET", "/livez")[0], 200)
        self.assertIn(self.server.http("GET", "/readyz")[0], (200, 503))
        self.assertIn("kvasir_", self.server.http("GET", "/metrics")[2])
        self.assertEqual(self.server.http("GET", "/no/such/path")[0], 404)

    def test_broken_http_is_refused_and_the_server_lives(self):
        for raw in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/3.7\r\n\r\n", b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
                    b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"):
            with socket.create_connection((self.server.host, self.server.port), timeout=10) as s:
                s.sendall(raw)
                s.shutdown(socket.SHUT_WR)
                answer = s.recv(4096)
                self.assertTrue(answer == b"" or b" 4" in answer[:16] or b" 505" in answer[:16], answer)
        self.assertEqual(self.server.http("GET", "/livez")[0], 200)

    def test_plain_json_rpc_by_post(self):
        for body, code in (('{"jsonrpc":"2.0","method":"f', -32700), ("[]", -32600), ('{"jsonrpc":"2.0","id":1,"method":"nope"}', -32601)):
            status, _, text = self.server.http("POST", "/rpc", body)
            self.assertEqual((status, json.loads(text)["error"]["code"]), (200, code))
        status, _, text = self.server.http("POST", "/rpc", '[{"jsonrpc":"2.0","method":"nope"}]')
        self.assertEqual((status, text), (204, ""))
        self.assertEqual(self.server.http("GET", "/rpc")[0], 405)

    def test_mcp_of_both_eras(self):
        status, headers, body = self.server.http("POST", "/mcp", LEGACY_INIT)
        self.assertEqual(status, 200)
        session = headers["mcp-session-id"]
        listed = message_of(self.server.http("POST", "/mcp", {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
                                             {"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-11-25"}))
        self.assertIn("generate_text", [t["name"] for t in listed["result"]["tools"]])
        self.assertEqual(self.server.http("POST", "/mcp", {"jsonrpc": "2.0", "id": 3, "method": "ping"}, {"Mcp-Session-Id": "not-one"})[0], 404)
        body, headers = modern("tools/list")
        self.assertTrue(message_of(self.server.http("POST", "/mcp", body, headers))["result"]["tools"])
        status, _, text = self.server.http("POST", "/mcp", body, {**headers, "Mcp-Method": "tools/call"})
        self.assertEqual((status, json.loads(text)["error"]["code"]), (400, -32020))


@needs_model
class Generation(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def test_a_modern_call_streams_events(self):
        body, headers = modern("tools/call", name="generate_text", arguments={"prompt": "Say hello.", "max_tokens": 16, "temperature": 0})
        body["params"]["_meta"]["progressToken"] = "p"
        status, answer_headers, text = self.server.http("POST", "/mcp", body, headers)
        self.assertEqual(status, 200)
        self.assertIn("text/event-stream", answer_headers["content-type"])
        messages = events_of(text)
        self.assertEqual(deltas_of([m for m in messages if m.get("method") == "notifications/progress"]),
                         messages[-1]["result"]["structuredContent"]["text"])

    def test_rpc_streams_as_events(self):
        status, headers, text = self.server.http("POST", "/rpc", {"jsonrpc": "2.0", "id": 4, "method": "generate_text", "params": {
            "prompt": "Say hello.", "max_tokens": 16, "temperature": 0, "stream": True}})
        self.assertIn("text/event-stream", headers["content-type"])
        messages = events_of(text)
        self.assertEqual("".join(m["params"]["text"] for m in messages[:-1]), messages[-1]["result"]["text"])

    def test_a_client_that_goes_away_is_forgotten_and_others_are_served(self):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "generate_text",
                           "params": {"prompt": "Count.", "max_tokens": 4000, "ignore_eos": True, "stream": True}}).encode()
        for _ in range(5):
            with socket.create_connection((self.server.host, self.server.port), timeout=30) as s:
                s.sendall(b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream, application/json\r\n"
                          b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                s.recv(256)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        begin = time.monotonic()
        answer = self.server.rpc("generate_text", {"prompt": "Hi", "max_tokens": 4, "temperature": 0})
        self.assertIn("result", answer)
        self.assertLess(time.monotonic() - begin, 10)

    def test_sigterm_during_a_generation_ends_in_time(self):
        with Server() as server:
            body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "generate_text",
                               "params": {"prompt": "Count.", "max_tokens": 4000, "ignore_eos": True, "stream": True}}).encode()
            with socket.create_connection((server.host, server.port), timeout=30) as s:
                s.sendall(b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                          b"Accept: text/event-stream, application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                s.recv(256)
                begin = time.monotonic()
                self.assertEqual(server.stop(signal.SIGTERM), 0)
                self.assertLess(time.monotonic() - begin, 3)


if __name__ == "__main__":
    unittest.main()
