#!/usr/bin/env python3
"""What sessions cost and save, as a client sees it: first tokens with and without the cache, fork, checkpoint, saving,
and coming back after kill -9; with --versus the slot files of llama-server on the same machine in the same run.

    ./x bench sessions [--model M.gguf] [--tokens 4096] [--rounds 3] [--versus llama-server] [--json FILE] [--svg FILE]
"""
import argparse
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import programs

WORDS = ("harbour lamp window river copper morning engine garden letter bridge winter market signal paper stone "
         "captain mirror thunder orchard compass").split()


def text_of(words, salt):
    """That many words without long repeats, others for another salt."""
    state, out = salt * 7919 + 1, []
    for _ in range(words):
        state = (state * 1103515245 + 12345) % (1 << 31)
        out.append(WORDS[(state >> 8) % len(WORDS)])
    return " ".join(out)


class Kvasir(programs.LineClient):
    def __init__(self, binary, model, folder, threads):
        command = [binary, "rpc", "--private", "--model", model, "--data-dir", folder, "--threads", str(threads), "--ctx", "8192"]
        super().__init__(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))
        self.generate(prompt="hello", max_tokens=1)  # the load is not what is measured

    def timed(self, method, **params):
        begin = time.perf_counter()
        result = self.call(method, **params)
        return result, (time.perf_counter() - begin) * 1000

    def generate(self, **params):
        return self.call("generate_text", **{"max_tokens": 8, "temperature": 0, "ignore_eos": True, **params})

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def folder_bytes(folder):
    total = 0
    for at, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # a partial file got its name just now
                total += os.path.getsize(os.path.join(at, name))
    return total


def settled_bytes(folder):
    """Bytes once nothing was written for a while, and how long the writing went on (ms)."""
    begin, last, size = time.perf_counter(), time.perf_counter(), folder_bytes(folder)
    while time.perf_counter() - last < 0.5:
        time.sleep(0.005)
        now = folder_bytes(folder)
        if now != size:
            size, last = now, time.perf_counter()
    return size, (last - begin) * 1000


def words_for(server, tokens, salt):
    """Text of just under so many tokens."""
    count = lambda n: server.call("count_tokens", text=text_of(n, salt))["tokens"]
    words = max(1, int(tokens * 1000 / count(1000)))
    while count(words) > tokens:
        words -= max(1, words // 200)
    return text_of(words, salt)


def measure_session(args, round_number, note):
    with tempfile.TemporaryDirectory(prefix="kvasir-bench-", ignore_cleanup_errors=True) as folder:
        server = Kvasir(args.kvasir, args.model, folder, args.threads)
        empty = folder_bytes(folder)
        system = words_for(server, args.tokens - 80, round_number)
        session = server.call("create_session", system=system)["session_id"]
        first = server.generate(session_id=session, prompt="Which words stand there?")
        note("context, tokens", first["usage"]["prompt_tokens"])
        note("first turn, to its first token, ms", first["timings"]["ttft_ms"])
        written, behind = settled_bytes(folder)
        note("saved, MB", (written - empty) / 1e6)
        note("saved behind the answer within, ms", behind)
        following = server.generate(session_id=session, prompt="And now?")
        note("next turn, to its first token, ms", following["timings"]["ttft_ms"])
        note("next turn, new tokens", following["usage"]["prompt_tokens"] - following["usage"]["cached_tokens"])
        settled_bytes(folder)
        before = server.call("get_model_info")["memory"]["kv_free_pages"]
        forks = [server.timed("fork_session", session_id=session) for _ in range(20)]
        note("fork, as a client sees it, ms", statistics.median(ms for _, ms in forks))
        note("fork, new KV pages", before - server.call("get_model_info")["memory"]["kv_free_pages"])
        server.call("checkpoint_session", session_id=session, name="a")
        again, ms = server.timed("checkpoint_session", session_id=session, name="b")
        note("checkpoint of an unchanged session, ms", ms)
        note("checkpoint of an unchanged session, new bytes", again["new_bytes"])
        settled_bytes(folder)
        server.kill()
        server = Kvasir(args.kvasir, args.model, folder, args.threads)
        back, ms = server.timed("restore_session", session_id=session, checkpoint_id=again["checkpoint_id"])
        note("after kill -9: restored tokens", back["restored_tokens"])
        note("after kill -9: recomputed tokens", back["recomputed_tokens"])
        on = server.generate(session_id=session, prompt="And then?")
        note("after kill -9: restore and next turn to its first token, ms", ms + on["timings"]["ttft_ms"])
        server.kill()


def measure_shared(args, round_number, note):
    """The same 512 tokens before different questions."""
    with tempfile.TemporaryDirectory(prefix="kvasir-bench-", ignore_cleanup_errors=True) as folder:
        server = Kvasir(args.kvasir, args.model, folder, args.threads)
        system = words_for(server, 512, 100 + round_number)
        ask = lambda question: server.generate(system=system, prompt=question)
        cold = ask("What is this about?")
        warm = ask("How many words has the text that you were given?")
        new = warm["usage"]["prompt_tokens"] - warm["usage"]["cached_tokens"]
        rate, step = cold["timings"]["prefill_tok_s"], 1000 / warm["timings"]["decode_tok_s"]
        note("512 shared tokens: first request to its first token, ms", cold["timings"]["ttft_ms"])
        note("512 shared tokens: next request to its first token, ms", warm["timings"]["ttft_ms"])
        note("512 shared tokens: new tokens of the next request", new)
        note("512 shared tokens: goal (new tokens at the prefill rate, one decode step, 10 ms), ms", new * 1000 / rate + step + 10)
        server.kill()


class LlamaServer:
    def __init__(self, binary, model, slots, threads):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            [binary, "-m", model, "-t", str(threads), "-tb", str(threads), "-fa", "on", "-np", "1", "-c", "8192", "--port", str(self.port),
             "--slot-save-path", slots], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            try:
                self.post("/completion", prompt=[1, 2], n_predict=1)
                return
            except OSError:
                if self.process.poll() is not None:
                    sys.exit("llama-server ended")
                time.sleep(0.1)

    def post(self, path, **body):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
        begin = time.perf_counter()
        with urllib.request.urlopen(request, timeout=600) as reply:
            return json.load(reply), (time.perf_counter() - begin) * 1000

    def kill(self):
        self.process.kill()
        self.process.wait()


def measure_llama(args, round_number, note):
    """The nearest thing there: slot files. Its first token is a request of one token, minus nothing."""
    with tempfile.TemporaryDirectory(prefix="kvasir-bench-", ignore_cleanup_errors=True) as slots:
        server = LlamaServer(args.versus, args.model, slots + "/", args.threads)
        prompt = [3 + (i * 7919 + round_number) % 900 for i in range(args.tokens)]
        note("llama-server: first request to its first token, ms", server.post("/completion", prompt=prompt, n_predict=1, cache_prompt=True)[1])
        note("llama-server: slot save, ms", server.post("/slots/0?action=save", filename="a.bin")[1])
        server.kill()
        server = LlamaServer(args.versus, args.model, slots + "/", args.threads)
        restore = server.post("/slots/0?action=restore", filename="a.bin")[1]
        after = server.post("/completion", prompt=prompt + [5] * 14, n_predict=1, cache_prompt=True)[1]
        note("llama-server, killed: slot restore and next request to its first token, ms", restore + after)
        server.kill()


def draw(medians, path):
    """Bars of the first tokens, in milliseconds."""
    bars = [(name, value) for name, value in medians.items() if name.endswith("first token, ms")]
    top = max(value for _, value in bars)
    rows = [f'<text x="8" y="{24 + 34 * i}">{name[:-4]}</text><rect x="8" y="{29 + 34 * i}" width="{max(1, 600 * value / top):.0f}" height="9" '
            f'fill="#47a"/><text x="{16 + 600 * value / top:.0f}" y="{38 + 34 * i}">{value:.0f} ms</text>' for i, (name, value) in enumerate(bars)]
    with open(path, "w") as f:
        f.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{34 * len(bars) + 20}" font-family="sans-serif" font-size="12">'
                + "".join(rows) + "</svg>\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kvasir", default=os.environ.get("KVASIR_BIN"), required="KVASIR_BIN" not in os.environ)
    parser.add_argument("--model", required=True)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--versus", metavar="LLAMA_SERVER")
    parser.add_argument("--json")
    parser.add_argument("--svg")
    args = parser.parse_args()
    figures = {}
    note = lambda name, value: figures.setdefault(name, []).append(value)
    for number in range(args.rounds):
        measure_session(args, number, note)
        measure_shared(args, number, note)
        if args.versus:
            measure_llama(args, number, note)
    medians = {name: statistics.median(values) for name, values in figures.items()}
    print(f"{os.path.basename(args.model)}, {args.threads} threads, medians of {args.rounds} rounds (each value)")
    for name, value in medians.items():
        print(f"{value:12.1f}  {name}  ({', '.join(f'{v:.1f}' for v in figures[name])})")
    if args.json:
        with open(args.json, "w") as f:
            json.dump(figures, f, indent=1)
    if args.svg:
        draw(medians, args.svg)


if __name__ == "__main__":
    try:
        main()
    except programs.Failed as error:
        sys.exit(f"./x bench sessions: {error}")
