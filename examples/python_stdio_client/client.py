#!/usr/bin/env python3
"""A complete MCP client in one file, standard library only: starts a server, lists its tools, streams one answer.

    client.py --prompt "Why is the sky blue?" -- kvasir mcp
"""
import argparse
import itertools
import json
import queue
import subprocess
import sys
import threading
import time

DELTA = "dev.kvasir/delta"   # where Kvasir puts the new text of a progress notification


class McpError(Exception):
    """The server answered with a JSON-RPC error."""


class McpServer:
    """A server process that speaks MCP on its standard input and output, one JSON object per line."""

    def __init__(self, command, **popen):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **popen)
        self.ids = itertools.count(1)
        self.waiting = {}          # id -> queue of (kind, message): its notifications and then its answer
        self.lock = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            message = json.loads(line)
            if "method" in message:      # a notification; progress carries the token we chose, which is the request's id
                key = message.get("params", {}).get("progressToken")
            else:
                key = message.get("id")
            with self.lock:
                target = self.waiting.get(key)
            if target is not None:
                target.put(message)
        with self.lock:
            for target in self.waiting.values():
                target.put(None)

    def _write(self, message):
        with self.lock:
            self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
            self.process.stdin.flush()

    def notify(self, method, params=None):
        self._write({"method": method, **({"params": params} if params else {})})

    def request(self, method, params=None, on_progress=None, timeout=600):
        number, inbox = next(self.ids), queue.Queue()
        params = dict(params or {})
        if on_progress:
            params["_meta"] = {**params.get("_meta", {}), "progressToken": number}
        with self.lock:
            self.waiting[number] = inbox
        try:
            self._write({"id": number, "method": method, "params": params})
            while True:
                try:
                    message = inbox.get(timeout=timeout)
                except queue.Empty:
                    self.notify("notifications/cancelled", {"requestId": number, "reason": "timeout"})
                    raise
                if message is None:
                    raise McpError("the server ended")
                if "method" in message:
                    on_progress(message["params"])
                elif "error" in message:
                    raise McpError(message["error"]["message"])
                else:
                    return message["result"]
        except KeyboardInterrupt:
            self.notify("notifications/cancelled", {"requestId": number})
            raise
        finally:
            with self.lock:
                del self.waiting[number]

    def initialize(self, name="python-stdio-client"):
        result = self.request("initialize", {"protocolVersion": "2025-11-25", "capabilities": {},
                                             "clientInfo": {"name": name, "version": "1"}})
        self.notify("notifications/initialized")
        return result

    def call_tool(self, name, arguments, on_progress=None):
        result = self.request("tools/call", {"name": name, "arguments": arguments}, on_progress)
        if result.get("isError"):
            raise McpError(result["content"][0]["text"])
        return result

    def close(self):
        """End of input is how a stdio server is told to leave."""
        self.process.stdin.close()
        try:
            return self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--system")
    parser.add_argument("--max-tokens", type=int, default=200)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()

    started = time.monotonic()
    server = McpServer(options.command)
    about = server.initialize()
    handshake_ms = (time.monotonic() - started) * 1000
    shown = []

    def on_progress(params):
        delta = params.get("_meta", {}).get(DELTA, "")
        if delta:
            shown.append(delta)
            sys.stdout.write(delta)
            sys.stdout.flush()
        elif not shown and params.get("message") and sys.stderr.isatty():
            sys.stderr.write(f"\r\033[K{params['message']}\r")
            sys.stderr.flush()

    arguments = {"prompt": options.prompt, "max_tokens": options.max_tokens, "temperature": options.temperature}
    for name in ("system", "seed"):
        if getattr(options, name) is not None:
            arguments[name] = getattr(options, name)
    try:
        result = server.call_tool("generate_text", arguments, on_progress)["structuredContent"]
    except McpError as error:
        server.close()
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        server.close()
        sys.exit(130)
    # The result holds the whole text; what no progress message brought is shown now.
    rest = result["text"][len("".join(shown)):]
    sys.stdout.write(rest + ("" if result["text"].endswith("\n") else "\n"))
    sys.stdout.flush()
    usage, timings = result["usage"], result["timings"]
    print(f"\n[{about['serverInfo']['name']} {about['serverInfo']['version']}, {result['model']}: handshake {handshake_ms:.0f} ms, "
          f"first token {timings['ttft_ms']:.0f} ms, {usage['prompt_tokens']} prompt tokens at {timings['prefill_tok_s']:.0f}/s, "
          f"{usage['completion_tokens']} new at {timings['decode_tok_s']:.0f}/s, ended by {result['finish_reason']}]", file=sys.stderr)
    server.close()


if __name__ == "__main__":
    main()
