"""Runs Kvasir and its peers for `./x bench cpu` and returns their figures in tokens per second. One call, one program."""
import dataclasses
import glob
import json
import os
import re
import statistics
import subprocess
import tempfile
import time


class Failed(Exception):
    pass


@dataclasses.dataclass
class Work:
    """What is asked of every program: tokens in, tokens out, after how many, how many at once."""
    model: str
    threads: int
    prompt: int = 0
    gen: int = 0
    depth: int = 0
    batch: int = 1


class Runner:
    """Starts programs, under real-time priority where that is allowed: neighbours then count for little."""

    def __init__(self, fifo, timeout):
        self.prefix, self.timeout = [], timeout
        if fifo and subprocess.run(["chrt", "-f", "5", "true"], capture_output=True).returncode == 0:
            self.prefix = ["chrt", "-f", "5"]

    def output(self, command):
        try:
            done = subprocess.run(self.prefix + command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=self.timeout)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{os.path.basename(command[0])}: no end within {self.timeout} s") from error
        if done.returncode:
            raise Failed(f"{os.path.basename(command[0])}: exit {done.returncode}: {done.stderr.strip()[-300:]}")
        return done.stdout


class Kvasir:
    def __init__(self, runner, binary, options=()):
        self.runner, self.binary, self.options = runner, binary, list(options)

    def bench(self, work):
        return json.loads(self.runner.output(
            [self.binary, "bench", "--model", work.model, "--threads", str(work.threads), "--prompt-tokens", str(work.prompt), "--gen-tokens",
             str(work.gen), "--depth", str(work.depth), "--batch", str(work.batch), "--repeat", "1", "--json"] + self.options))

    def measure(self, work):
        """Figures, and beside them the limits that it measured in the same run."""
        report = self.bench(work)
        figures = {"read_gb_s": report["read_gb_s"], "bytes_per_token": report["decode"]["bytes_per_token"]}
        if work.prompt:
            figures.update(prefill=report["prefill"]["tok_s"][0], prefill_limit=report["prefill"]["limit_tok_s"])
        if work.gen:
            figures.update(decode=report["decode"]["tok_s"][0], decode_limit=report["decode"]["limit_tok_s"], total=report["decode"]["total_tok_s"][0])
        return figures


@dataclasses.dataclass
class Peer:
    """One build of llama.cpp or ik_llama.cpp."""
    runner: Runner
    folder: str         # of its programs
    family: str         # "llama.cpp" or "ik"
    label: str          # family, build and options, unique
    avx2: bool = False
    options: tuple = ()

    def has(self, program):
        return os.access(os.path.join(self.folder, program), os.X_OK)

    def measure(self, work):
        return self._batched(work) if work.batch > 1 else self._bench(work)

    def _bench(self, work):
        base = [os.path.join(self.folder, "llama-bench"), "-m", work.model, "-t", str(work.threads), "-r", "1", "-o", "json", "-fa", "1", *self.options]
        runs = []
        if work.depth:
            runs.append(["-p", "0", "-n", "0", "-gp", f"{work.depth},{work.gen}"] if self.family == "ik" else ["-p", "0", "-n", str(work.gen), "-d", str(work.depth)])
        if work.prompt or (work.gen and not work.depth):
            runs.append(["-p", str(work.prompt), "-n", str(0 if work.depth else work.gen)])
        figures = {}
        for run in runs:
            text = self.runner.output(base + run)
            for row in json.loads(text[text.index("["):]):
                figures["decode" if row["n_gen"] else "prefill"] = row["avg_ts"]
        return figures

    def _batched(self, work):
        cells = (work.depth + work.gen) * work.batch
        text = self.runner.output([os.path.join(self.folder, "llama-batched-bench"), "-m", work.model, "-t", str(work.threads), "-c", str(cells + 512), "-npp",
                                   str(work.depth), "-ntg", str(work.gen), "-npl", str(work.batch), *self.options] + (["-fa"] if self.family == "ik" else []))
        return batched_figures(text)


def batched_figures(text):
    """The last two rates of the only row of llama-batched-bench's table: generated, and in all."""
    rows = [line.strip("| \n").split("|") for line in text.splitlines() if re.match(r"\|\s+\d+ \|", line)]
    if not rows:
        raise Failed("llama-batched-bench: no table")
    return {"decode": float(rows[-1][7]), "total": float(rows[-1][9])}


def find_peers(runner, folder):
    """Every llama-bench under `folder`. ik's is known by its option -rtr (weights repacked at load), tried with and without."""
    peers = []
    for at, folders, names in os.walk(folder):
        folders.sort()
        path = os.path.join(at, "llama-bench")
        if "llama-bench" not in names or not os.access(path, os.X_OK):
            continue
        told = subprocess.run([path, "--help"], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=60)
        family = "ik" if "-rtr" in told.stdout + told.stderr else "llama.cpp"
        build = os.path.relpath(at, folder).removesuffix(os.sep + "bin")
        avx2 = "avx2" in build.lower()
        peers.append(Peer(runner, at, family, f"{family} ({build})", avx2))
        if family == "ik":
            peers.append(Peer(runner, at, family, f"{family} ({build}) -rtr", avx2, ("-rtr", "1")))
    return peers


def gemm_gops(runner, binary, backend, types):
    """{type: GOP/s of one thread} of the GEMM alone, by bench_kernels: 256 rows by 5632 x 2048."""
    text = runner.output([binary, backend, "1", "gemm", *types])
    return {match[1]: float(match[2]) for match in re.finditer(r"^\s*(\w+)\s+5632x2048\s+([\d.]+) GOP/s", text, re.M)}


class LineClient:
    """Asks a started `kvasir mcp` or `rpc` over its pipes, one request at a time."""

    def __init__(self, process):
        self.process, self.ids = process, 0

    def call(self, method, **params):
        self.ids += 1
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": self.ids, "method": method, "params": params}) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            reply = json.loads(line)
            if reply.get("id") == self.ids:
                if "error" in reply:
                    raise Failed(f"{method}: {reply['error']['message']}")
                return reply["result"]
        raise Failed(f"{method}: the server ended")


class Served(LineClient):
    """`kvasir mcp` or `rpc` as a client sees it, from before its process is there. `cache`: its cache folder; none: nothing packed is kept."""

    def __init__(self, runner, binary, command, model, folder, threads, cache=None):
        options = ["--packed-weights", "auto" if cache else "off"]
        environment = {**os.environ, **({"XDG_CACHE_HOME": cache} if cache else {})}
        self.begin = time.perf_counter()
        super().__init__(subprocess.Popen(runner.prefix + [binary, command, "--private", "--model", model, "--data-dir", folder, "--threads", str(threads), "--ctx", "2048"] + options,
                                        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def seconds(self):
        return time.perf_counter() - self.begin

    def peak_rss(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmHWM:\s*(\d+) kB", status.read())[1]) * 1024


def handshake_ms(runner, binary, model, threads):
    with tempfile.TemporaryDirectory(prefix="kvasir-bench-", ignore_cleanup_errors=True) as folder, Served(runner, binary, "mcp", model, folder, threads) as server:
        server.call("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo={"name": "bench", "version": "1"})
        return server.seconds() * 1000


def prompt_of(server, tokens):
    """Text of as many tokens as asked or one more."""
    text = "the"
    while server.call("count_tokens", text=text)["tokens"] < tokens:
        text += " river"
    return text


def start_figures(runner, binary, model, threads, prompt, cache=None):
    """From starting the process to the first token of `prompt`, and the memory it took at most (of KV only what this prompt touches)."""
    with tempfile.TemporaryDirectory(prefix="kvasir-bench-", ignore_cleanup_errors=True) as folder, Served(runner, binary, "rpc", model, folder, threads, cache) as server:
        server.call("generate_text", prompt=prompt, raw=True, max_tokens=1, temperature=0, ignore_eos=True)
        seconds = server.seconds()
        return {"first_token_s": seconds, "rss": server.peak_rss(), "rss_share": server.peak_rss() / os.path.getsize(model)}


def keep_packed(runner, binary, model, threads, cache, patience=120):
    """Runs until packed weights are in the cache folder: written behind the load. False: they never came (a small model)."""
    found = lambda: glob.glob(os.path.join(cache, "kvasir", "weights", "*.packed"))
    with tempfile.TemporaryDirectory(prefix="kvasir-bench-", ignore_cleanup_errors=True) as folder, Served(runner, binary, "rpc", model, folder, threads, cache) as server:
        server.call("generate_text", prompt="a", raw=True, max_tokens=1)
        deadline = time.monotonic() + patience
        while not found() and time.monotonic() < deadline:
            time.sleep(0.5)
    return bool(found())


def tokenizing_share(runner, binary, model, threads, tokens):
    """Time to tokenize a prompt of so many tokens over the time of the request of 16 more: both as a client sees them."""
    with tempfile.TemporaryDirectory(prefix="kvasir-bench-", ignore_cleanup_errors=True) as folder, Served(runner, binary, "rpc", model, folder, threads) as server:
        prompt = prompt_of(server, tokens)

        def timed(method, **params):
            begin = time.perf_counter()
            server.call(method, **params)
            return time.perf_counter() - begin

        server.call("generate_text", prompt="a", raw=True, max_tokens=1)  # the load is not what is measured
        request = timed("generate_text", prompt=prompt, raw=True, max_tokens=16, temperature=0, ignore_eos=True)
        nothing = statistics.median(timed("count_tokens", text="a") for _ in range(9))
        counting = statistics.median(timed("count_tokens", text=f"{i} {prompt}") for i in range(9))
        return max(0.0, counting - nothing) / request


def reading_seconds(model):
    """Reading the file once, from the page cache where it is there."""
    block = bytearray(1 << 20)
    with open(model, "rb", buffering=0) as file:
        begin = time.perf_counter()
        while file.readinto(block):
            pass
        return time.perf_counter() - begin
