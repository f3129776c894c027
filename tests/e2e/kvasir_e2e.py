"""What the end-to-end tests share: the binary, the default model, stdio conversations, a running server. Standard library only."""
import contextlib
import functools
import http.client
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("KVASIR_BIN", os.path.join(ROOT, "build/release/bin/kvasir"))
CLIENTS = os.environ.get("KVASIR_TEST_CLIENTS") or os.path.join(ROOT, "build/clients")
MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
DELTA = "dev.kvasir/delta"
MODERN = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientInfo": {"name": "e2e", "version": "1"},
          "io.modelcontextprotocol/clientCapabilities": {}}


def model_path():
    if os.environ.get("KVASIR_TEST_MODEL"):
        return os.environ["KVASIR_TEST_MODEL"]
    data = os.environ.get("KVASIR_DATA_DIR") or os.path.join(
        os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"), "kvasir")
    return os.path.join(data, "models", MODEL_FILE)


def shared_data(relative):
    return os.path.join(os.environ.get("KVASIR_SHARED_DATA") or os.path.join(ROOT, "../shared/data"), relative)


needs_model = unittest.skipUnless(os.path.exists(model_path()), "the default model was not fetched")


def needs_shared(relative):
    return unittest.skipUnless(os.path.exists(shared_data(relative)), f"../shared/data/{relative} is not here")


def needs_client(*relative):
    return unittest.skipUnless(os.path.exists(os.path.join(CLIENTS, *relative)),
                               f"the test client {os.path.join(*relative)} could not be installed")


@functools.cache
def data_dir():
    """An empty data folder, so that tests neither see nor change the user's."""
    folder = tempfile.TemporaryDirectory(prefix="kvasir-e2e-")
    data_dir.keep = folder
    return folder.name


def clean_environment(**more):
    """No KVASIR_ variable of the caller gets in. A host that a test starts by the way soon ends by itself."""
    return {**{k: v for k, v in os.environ.items() if not k.startswith("KVASIR_")}, "KVASIR_HOST_IDLE_MS": "5000", **more}


def kvasir(*arguments, stdin=b"", timeout=120, env=None, **popen):
    """Runs one command to its end; .stdout and .stderr are text."""
    done = subprocess.run([BIN, *arguments], input=stdin, capture_output=True, timeout=timeout,
                          env=clean_environment(**(env or {})), **popen)
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode(errors="replace")
    return done


def with_model(command, *more):
    """One process: nothing of a test goes on after it. test_host.py and the SDK clients share a host."""
    private = ["--private"] if command in ("mcp", "rpc") else []
    return [BIN, command, "--model", model_path(), "--data-dir", data_dir(), *private, *more]


class HostFolder:
    """A data folder of its own for front ends that share a host, which ends with this object."""

    def __init__(self, idle_ms=60_000):
        self.folder = tempfile.TemporaryDirectory(prefix="kvasir-host-")
        self.path = self.folder.name
        self.environment = clean_environment(KVASIR_HOST_IDLE_MS=str(idle_ms))

    def command(self, name, *more, program=BIN, model=None):
        return [program, name, "--model", model or model_path(), "--data-dir", self.path, *more]

    def talk(self, name, *more, **options):
        return Conversation(self.command(name, *more, **options), env=self.environment)

    def pid(self):
        """Of the host, or None."""
        words = kvasir("host", "--status", "--data-dir", self.path).stdout.split()
        return int(words[-1]) if words[0] == "running," else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        stopped = kvasir("host", "--stop", "--data-dir", self.path)
        self.folder.cleanup()
        assert stopped.returncode == 0, stopped.stderr


class Conversation:
    """A process that speaks JSON lines; every line that it writes must be one JSON object."""

    def __init__(self, command=None, env=None):
        self.started = time.monotonic()
        self.process = subprocess.Popen(command or with_model("mcp"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, env=env or clean_environment())
        self.lines, self.stderr, self.seen = queue.Queue(), [], []
        self.ids = itertools.count(1)
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=lambda: self.stderr.extend(self.process.stderr), daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.close()

    def send_text(self, text):
        self.process.stdin.write(text if isinstance(text, bytes) else text.encode())
        self.process.stdin.flush()

    def send(self, message):
        self.send_text(json.dumps({"jsonrpc": "2.0", **message}) + "\n")

    def receive(self, timeout=60):
        """The next message; None at the end of output."""
        line = self.lines.get(timeout=timeout)
        if line is None:
            return None
        message = json.loads(line)
        assert isinstance(message, (dict, list)) and line.endswith(b"\n"), line
        self.seen.append(message)
        return message

    def answer(self, number, timeout=60):
        """Notifications of the conversation until the answer to `number`, and that answer."""
        before = []
        while True:
            message = self.receive(timeout)
            assert message is not None, f"the process ended: {b''.join(self.stderr).decode(errors='replace')}"
            if isinstance(message, dict) and message.get("id") == number and "method" not in message:
                return before, message
            before.append(message)

    def request(self, method, params=None, timeout=60, **members):
        number = next(self.ids)
        self.send({"id": number, "method": method, **({"params": params} if params is not None else {}), **members})
        return self.answer(number, timeout)[1]

    def initialize(self, version="2025-11-25"):
        result = self.request("initialize", {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "e2e", "version": "1"}})
        self.send({"method": "notifications/initialized"})
        return result["result"]

    def tool(self, name, arguments, token=None, modern=False):
        """(deltas, answer) of one tools/call."""
        number = next(self.ids)
        meta = dict(MODERN) if modern else {}
        if token is not None:
            meta["progressToken"] = token
        self.send({"id": number, "method": "tools/call", "params": {"name": name, "arguments": arguments, **({"_meta": meta} if meta else {})}})
        before, answer = self.answer(number)
        return [m for m in before if m.get("method") == "notifications/progress"], answer

    def end_input(self, timeout=5):
        """Closes stdin; (exit code, seconds until the exit)."""
        begin = time.monotonic()
        self.process.stdin.close()
        return self.process.wait(timeout), time.monotonic() - begin


def deltas_of(progress):
    return "".join(p["params"].get("_meta", {}).get(DELTA, "") for p in progress)


class Server:
    """`kvasir serve` on a free port."""

    def __init__(self, *arguments, model=True, data=None, env=None):
        self.folder = tempfile.TemporaryDirectory(prefix="kvasir-serve-")
        ready = os.path.join(self.folder.name, "ready")
        command = [BIN, "serve", "--port", "0", "--ready-file", ready, "--data-dir", data or data_dir()]
        command += ["--model", model_path()] if model else []
        self.log = open(os.path.join(self.folder.name, "stderr"), "wb")
        self.process = subprocess.Popen([*command, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log,
                                        env=clean_environment(**(env or {})))
        deadline = time.monotonic() + 20
        while not os.path.exists(ready):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the server did not start: {self.stderr()}")
            time.sleep(0.01)
        with open(ready) as f:
            self.line = f.read().strip()
        self.url = self.line.split()[-1]
        self.host, self.port = self.url.split("//")[1].rsplit(":", 1)
        self.port = int(self.port)

    def stderr(self):
        with open(self.log.name, errors="replace") as f:
            return f.read()

    def stop(self, number=signal.SIGTERM, timeout=5):
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.process.stdout.close()
        self.log.close()
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.folder.cleanup()

    def http(self, method, path, body=None, headers=None, timeout=120):
        """(status, headers, body text) of one request."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            if isinstance(body, (dict, list)):
                body = json.dumps(body)
            connection.request(method, path, body, {"Content-Type": "application/json",
                                                    "Accept": "application/json, text/event-stream", **(headers or {})})
            response = connection.getresponse()
            return response.status, dict((k.lower(), v) for k, v in response.getheaders()), response.read().decode()
        finally:
            connection.close()

    def rpc(self, method, params, **members):
        status, _, body = self.http("POST", "/rpc", {"jsonrpc": "2.0", "id": 1, "method": method, "params": params, **members})
        assert status == 200, (status, body)
        return json.loads(body)


def events_of(body):
    """The JSON messages of a text/event-stream."""
    return [json.loads(line[5:]) for line in body.splitlines() if line.startswith("data:") and line[5:].strip()]


def client_python(version):
    return os.path.join(CLIENTS, f"mcp{version}", "bin/python")


def client_node():
    return os.path.join(CLIENTS, "bin/node")


def run_script(*command, timeout=180, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, env=clean_environment(), **more)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


__all__ = [name for name in dir() if not name.startswith("_")] + ["sys"]
