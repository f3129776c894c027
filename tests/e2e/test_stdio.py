"""kvasir mcp and kvasir rpc as raw conversations: both eras, streaming, cancellation, bad input, the end of everything."""
import json
import os
import signal
import subprocess
import time
import unittest

from kvasir_e2e import *

LONG = {"prompt": "Count from one to one thousand in words.", "max_tokens": 2000, "temperature": 0, "ignore_eos": True}


class Life(unittest.TestCase):
    def test_no_input_ends_at_once_with_success(self):
        for command in ("mcp", "rpc"):
            begin = time.monotonic()
            done = kvasir(command, "--data-dir", data_dir())
            self.assertEqual((done.returncode, done.stdout), (0, ""))
            self.assertLess(time.monotonic() - begin, 1.0)

    def test_a_file_is_input_too(self):
        path = data_dir() + "/input.jsonl"
        with open(path, "w") as f:
            f.write('{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        with open(path) as f:
            done = subprocess.run([BIN, "mcp", "--data-dir", data_dir()], stdin=f, capture_output=True, timeout=20)
        self.assertEqual(json.loads(done.stdout)["id"], 1)
        self.assertEqual(done.returncode, 0)

    def test_handshake_needs_no_model_and_under_200_ms(self):
        best = 9.0
        for _ in range(3):
            with Conversation([BIN, "mcp", "--data-dir", data_dir(), "--model", "/nonexistent/model.gguf"]) as c:
                c.initialize()
                best = min(best, time.monotonic() - c.started)
                self.assertTrue(c.request("tools/list")["result"]["tools"])
        self.assertLess(best, 0.2)

    def test_a_model_that_is_not_there_is_a_tool_error_that_says_what_to_do(self):
        with Conversation([BIN, "mcp", "--data-dir", data_dir()]) as c:
            c.initialize()
            _, answer = c.tool("generate_text", {"prompt": "Hi"})
            self.assertTrue(answer["result"]["isError"])
            self.assertIn("./x run", answer["result"]["content"][0]["text"])

    @needs_model
    def test_end_of_input_and_signals_during_a_generation(self):
        for name, how, code in (("EOF", None, 0), ("SIGTERM", signal.SIGTERM, 0), ("SIGINT", signal.SIGINT, 130)):
            with self.subTest(name), Conversation() as c:
                c.initialize()
                c.send({"id": 99, "method": "tools/call", "params": {"name": "generate_text", "arguments": LONG, "_meta": {"progressToken": 1}}})
                while DELTA not in c.receive().get("params", {}).get("_meta", {}):
                    pass
                begin = time.monotonic()
                if how is None:
                    c.process.stdin.close()
                else:
                    c.process.send_signal(how)
                self.assertEqual(c.process.wait(5), code)
                self.assertLess(time.monotonic() - begin, 2.0)

    @needs_model
    def test_end_of_input_while_the_model_loads(self):
        with Conversation() as c:
            c.initialize()
            c.send({"id": 99, "method": "tools/call", "params": {"name": "generate_text", "arguments": LONG}})
            code, seconds = c.end_input()
            self.assertEqual(code, 0)
            self.assertLess(seconds, 2.0)

    def test_a_client_that_closes_its_reading_end_does_no_harm(self):
        reading, writing = os.pipe()
        process = subprocess.Popen([BIN, "mcp", "--data-dir", data_dir()], stdin=subprocess.PIPE, stdout=writing, stderr=subprocess.PIPE)
        os.close(writing)
        os.close(reading)
        try:
            _, words = process.communicate(b'{"jsonrpc":"2.0","id":5,"method":"ping"}\n' * 3, timeout=10)
        finally:
            process.kill()
        self.assertIn(process.returncode, (0, 1), words)


class Legacy(unittest.TestCase):
    def test_every_version_is_negotiated(self):
        for asked, given in (("2025-11-25", "2025-11-25"), ("2025-06-18", "2025-06-18"), ("2025-03-26", "2025-03-26"),
                             ("2024-11-05", "2024-11-05"), ("1999-01-01", "2025-11-25")):
            with Conversation([BIN, "mcp", "--data-dir", data_dir()]) as c:
                self.assertEqual(c.initialize(asked)["protocolVersion"], given)

    def test_tools_are_listed_with_flat_schemas(self):
        with Conversation([BIN, "mcp", "--data-dir", data_dir()]) as c:
            c.initialize()
            tools = {t["name"]: t for t in c.request("tools/list")["result"]["tools"]}
            self.assertLessEqual({"generate_text", "count_tokens", "get_model_info", "score_text"}, set(tools))
            for tool in tools.values():
                self.assertRegex(tool["name"], r"^[a-zA-Z0-9_]{1,40}$")
                self.assertTrue(tool["description"])
                self.assertEqual(tool["inputSchema"]["type"], "object")
                text = json.dumps(tool)
                for word in ('"oneOf"', '"anyOf"', '"allOf"', '"$ref"', '"$schema"', '"additionalProperties"'):
                    self.assertNotIn(word, text)

    def test_bad_calls_get_clear_errors_and_the_conversation_goes_on(self):
        with Conversation([BIN, "mcp", "--data-dir", data_dir()]) as c:
            c.initialize()
            c.send_text("this is not JSON\n\n\r\n")
            broken = c.receive()
            self.assertEqual(broken["error"]["code"], -32700)
            self.assertNotIn("id", broken)
            self.assertEqual(c.request("no/such/method")["error"]["code"], -32601)
            self.assertEqual(c.request("tools/call", {"name": "no_such_tool", "arguments": {}})["error"]["code"], -32602)
            for arguments in ({"promt": "x"}, {"prompt": 5}, {"prompt": "x", "max_tokens": -1}, {"prompt": "x", "messages": []}, {}):
                answer = c.request("tools/call", {"name": "generate_text", "arguments": arguments})
                self.assertTrue(answer["result"]["isError"], arguments)
                self.assertTrue(answer["result"]["content"][0]["text"])
            self.assertEqual(c.request("ping")["result"], {})

    def test_unknown_requests_before_the_handshake_are_answered(self):
        with Conversation([BIN, "mcp", "--data-dir", data_dir()]) as c:
            self.assertIn("error", c.request("vendor/unknown"))
            self.assertTrue(c.initialize())

    @needs_model
    def test_progress_streams_the_text_and_the_result_repeats_it(self):
        with Conversation() as c:
            c.initialize()
            for token in (7, "a-token"):
                progress, answer = c.tool("generate_text", {"prompt": "Name three primary colours.", "max_tokens": 60, "temperature": 0}, token)
                result = answer["result"]
                self.assertFalse(result.get("isError"))
                structured = result["structuredContent"]
                self.assertEqual(result["content"][0]["text"], structured["text"])
                self.assertTrue(progress)
                self.assertTrue(all(p["params"]["progressToken"] == token for p in progress))
                numbers = [p["params"]["progress"] for p in progress]
                self.assertEqual(numbers, sorted(set(numbers)), "progress must increase strictly")
                self.assertEqual(deltas_of(progress), structured["text"])
                self.assertEqual(structured["usage"]["completion_tokens"] > 0, True)

    @needs_model
    def test_cancel_is_silent_and_frees_the_engine(self):
        with Conversation() as c:
            c.initialize()
            c.send({"id": 50, "method": "tools/call", "params": {"name": "generate_text", "arguments": LONG, "_meta": {"progressToken": 1}}})
            while DELTA not in c.receive().get("params", {}).get("_meta", {}):
                pass
            c.send({"method": "notifications/cancelled", "params": {"requestId": 50, "reason": "enough"}})
            c.send({"method": "notifications/cancelled", "params": {"requestId": 12345}})
            time.sleep(0.3)
            _, answer = c.tool("count_tokens", {"text": "hello"})
            self.assertFalse(answer["result"].get("isError"))
            after = len(c.seen)
            time.sleep(0.3)
            self.assertEqual([m for m in c.seen[after:]], [])
            self.assertFalse([m for m in c.seen if m.get("id") == 50])


class Modern(unittest.TestCase):
    def test_discover_then_list_without_any_handshake(self):
        with Conversation([BIN, "mcp", "--data-dir", data_dir()]) as c:
            found = c.request("server/discover", {"_meta": MODERN})["result"]
            self.assertIn("2026-07-28", found["supportedVersions"])
            tools = c.request("tools/list", {"_meta": MODERN})["result"]
            self.assertTrue(tools["tools"])

    def test_an_unsupported_version_is_named(self):
        with Conversation([BIN, "mcp", "--data-dir", data_dir()]) as c:
            meta = {**MODERN, "io.modelcontextprotocol/protocolVersion": "2099-01-01"}
            error = c.request("tools/list", {"_meta": meta})["error"]
            self.assertEqual(error["code"], -32022)
            self.assertIn("2026-07-28", json.dumps(error["data"]))

    @needs_model
    def test_a_call_streams_and_answers(self):
        with Conversation() as c:
            progress, answer = c.tool("generate_text", {"prompt": "Say hello.", "max_tokens": 20, "temperature": 0}, token="t", modern=True)
            self.assertEqual(deltas_of(progress), answer["result"]["structuredContent"]["text"])


class PlainRpc(unittest.TestCase):
    def rpc(self):
        return Conversation([BIN, "rpc", "--data-dir", data_dir()])

    def test_specified_errors_ids_and_batches(self):
        with self.rpc() as c:
            def exchange(text):
                c.send_text(text + "\n")
                return c.receive()
            self.assertEqual(exchange('{"jsonrpc":"2.0","method":"f')["error"]["code"], -32700)
            self.assertEqual(exchange('{"jsonrpc":"2.0","method":1,"params":"x"}')["error"]["code"], -32600)
            self.assertEqual(exchange("[]")["error"]["code"], -32600)
            self.assertEqual([e["error"]["code"] for e in exchange("[1,2]")], [-32600, -32600])
            self.assertEqual(exchange('{"jsonrpc":"2.0","id":null,"method":"nope"}')["id"], None)
            for text in ("0", '""', '"1"', "9007199254740993", "-5", "1.5"):
                c.send_text('{"jsonrpc":"2.0","id":%s,"method":"nope"}\n' % text)
                line = c.lines.get(timeout=20).decode()
                self.assertRegex(line.replace(" ", ""), r'"id":%s[,}]' % text.replace(".", r"\."))
            self.assertEqual(exchange('{"id":1,"method":"nope"}')["error"]["code"], -32600)
            self.assertEqual(exchange('{"jsonrpc":"2.0","id":1,"method":"generate_text","params":[1,2,3,4,5,6,7,8,9,10]}')["error"]["code"], -32602)
            c.send_text('{"jsonrpc":"2.0","method":"nope"}\n[{"jsonrpc":"2.0","method":"nope"}]\n')   # no answer to either
            mixed = exchange('[{"jsonrpc":"2.0","id":1,"method":"nope"},{"jsonrpc":"2.0","method":"nope"},{"jsonrpc":"2.0","id":2,"method":"nope"}]')
            self.assertEqual(sorted(m["id"] for m in mixed), [1, 2])

    @needs_model
    def test_content_length_framing_is_recognised(self):
        process = subprocess.Popen(with_model("rpc"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        body = b'{"jsonrpc":"2.0","id":1,"method":"count_tokens","params":["Hello world"]}'
        out, _ = process.communicate(b"Content-Length: %d\r\n\r\n%s" % (len(body), body), timeout=60)
        head, _, rest = out.partition(b"\r\n\r\n")
        self.assertEqual(int(head.split(b":")[1].split(b"\r")[0]), len(rest))
        self.assertEqual(json.loads(rest)["id"], 1)

    @needs_model
    def test_methods_answer_stream_and_cancel(self):
        with Conversation(with_model("rpc")) as c:
            self.assertEqual(c.request("count_tokens", {"text": "Hello world"})["result"]["tokens"], 2)
            tokens = c.request("tokenize", {"text": "Hello world"})["result"]["tokens"]
            self.assertEqual(c.request("detokenize", {"tokens": tokens})["result"]["text"], "Hello world")
            c.send({"id": "s", "method": "generate_text", "params": {"prompt": "Say hello.", "max_tokens": 16, "temperature": 0, "stream": True}})
            before, answer = c.answer("s")
            self.assertEqual("".join(m["params"]["text"] for m in before if m.get("method") == "generate_text/delta"), answer["result"]["text"])
            c.send({"id": "long", "method": "generate_text", "params": {**LONG, "stream": True}})
            c.receive()
            c.send({"method": "$/cancelRequest", "params": {"id": "long"}})
            self.assertEqual(c.answer("long")[1]["result"]["finish_reason"], "cancelled")


if __name__ == "__main__":
    unittest.main()
