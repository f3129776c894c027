#!/usr/bin/env python3
"""The CPU backend against its goals, the machine's limits and, with --versus, its peers: one table.

    ./x bench cpu [--models DIR|FILE...] [--versus DIR] [--rounds 5] [--rows NAME...] [--quick] [--markdown FILE] [--json FILE]

Each round runs every program once, in turn, with a probe of the memory before each kind of work; what is compared comes
from the same round. Goals are judged by medians (goals.py). --versus: the folder that holds builds of llama.cpp and
ik_llama.cpp, any number; of several builds the better one counts, and those with avx2 in their path are compared with
`--backend cpu-avx2`. Depth, batches and the start are measured with the first Q4_K_M model (or the first); the default
model has goals of its own. --quick: one round of small sizes, to see that everything runs; its figures mean nothing.
"""
import argparse
import glob
import json
import os
import sys
import tempfile
import time

import goals
import programs

ROWS = ("prefill", "long", "deep", "batch", "avx2", "gemm", "start", "tokenize")

SMALLEST_PACKED = 256 << 20  # the backend keeps no packed weights of less


def parse():
    parser = argparse.ArgumentParser(prog="./x bench cpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kvasir", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--model", required=True, help=argparse.SUPPRESS)  # the default one, from ./x
    parser.add_argument("--models", nargs="+", default=[], metavar="DIR|FILE")
    parser.add_argument("--versus", metavar="DIR")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--timeout", type=int, default=900, metavar="SECONDS", help="of one program")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--no-fifo", action="store_true", help="no real-time priority, even where it is allowed")
    parser.add_argument("--markdown", metavar="FILE")
    parser.add_argument("--json", metavar="FILE", help="all figures of all rounds")
    args = parser.parse_args()
    if args.quick:
        args.rounds = 1
    if args.rounds < 1 or args.threads < 1:
        parser.error("--rounds and --threads are at least 1")
    return args


def model_files(args):
    files = []
    for given in args.models:
        found = sorted(glob.glob(os.path.join(given, "*.gguf"))) if os.path.isdir(given) else [given]
        files += [os.path.abspath(path) for path in found]
    missing = [path for path in files if not os.path.isfile(path)]
    if missing:
        sys.exit(f"./x bench cpu: no such model: {missing[0]}")
    return files


class Task:
    """One kind of work on one model: `series` maps a program to its figures, a dict per round (empty: it failed)."""

    def __init__(self, kind, model, quantization, work, ours, peers):
        self.kind, self.model, self.quantization, self.work = kind, model, quantization, work
        self.ours, self.peers = ours, list(peers)
        self.series, self.probes = {}, []

    def run_round(self, probe, note):
        self.probes.append(probe())
        done = {}
        for label, program in [*self.ours.items(), *((peer.label, peer) for peer in self.peers)]:
            try:
                done[label] = program.measure(self.work)
            except (programs.Failed, ValueError, KeyError) as error:
                note(f"{self.kind}, {os.path.basename(self.model)}, {label}: {error}")
                done[label] = {}
            self.series.setdefault(label, []).append(done[label])
        if len(self.probes) == 1:
            for family in {peer.family for peer in self.peers}:
                first = {peer.label: done[peer.label] for peer in self.peers if peer.family == family}
                kept = goals.worth_running(first)
                self.peers = [peer for peer in self.peers if peer.family != family or peer.label in kept]
        return ", ".join(f"{label} " + " ".join(goals.number(f[k]) for k in ("prefill", "decode", "total") if k in f) for label, f in done.items())

    def figure(self, label, name):
        return [figures.get(name) for figures in self.series.get(label, [])]

    def peers_with(self, name):
        return {label: self.figure(label, name) for label in self.series if label not in self.ours and goals.known(self.figure(label, name))}

    def row(self, work, figure, label="Kvasir", share=None):
        return goals.Row(work, os.path.basename(self.model).removesuffix(".gguf"), "tok/s", self.figure(label, figure), self.peers_with(figure), share or [])

    def share_of_limit(self, figure, label="Kvasir"):
        return [f[figure] / f[figure + "_limit"] if f.get(figure + "_limit") else None for f in self.series.get(label, [])]

    def share_of_reading(self, label="Kvasir"):
        """Of the bandwidth of the round: the mean of the probe before it and of the one inside Kvasir's own run."""
        return [f["decode"] * f["bytes_per_token"] / 1e9 / ((f["read_gb_s"] + probe) / 2) if "decode" in f else None
                for f, probe in zip(self.series.get(label, []), self.probes)]


class Bench:
    def __init__(self, args):
        self.args, self.notes = args, []
        self.runner = programs.Runner(not args.no_fifo, args.timeout)
        self.peers = programs.find_peers(self.runner, args.versus) if args.versus else []
        self.kvasir = programs.Kvasir(self.runner, args.kvasir)
        self.tiny = programs.Work(args.model, args.threads)  # loads the default model, measures the limits only
        first = self.kvasir.bench(self.tiny)
        self.backend, self.peaks = first["backend"], first["peaks"]
        self.files = model_files(args)
        self.quantization = {path: self.kvasir.bench(programs.Work(path, args.threads))["quantization"].split()[0] for path in [args.model, *self.files]}
        by_type = [path for path in self.files if self.quantization[path].startswith("Q4_K")]
        self.main = (by_type or self.files or [args.model])[0]
        self.tasks, self.singles = self.plan(), {}
        self.cache, self.packed = tempfile.TemporaryDirectory(prefix="kvasir-bench-", ignore_cleanup_errors=True), None

    def note(self, line):
        print("    " + line, file=sys.stderr)
        self.notes.append(line)

    def probe(self):
        return self.kvasir.bench(self.tiny)["read_gb_s"]

    def plan(self):
        quick, rows, threads = self.args.quick, self.args.rows, self.args.threads
        # Decoding goes on for seconds: after a rest memory may be read faster for one (backends/cpu/measured.md).
        prompt, gen, deep = (64, 8, 256) if quick else (512, 320, 4096)
        native = [peer for peer in self.peers if not peer.avx2]
        plain = [peer for peer in native if peer.has("llama-batched-bench")]
        ours = {"Kvasir": self.kvasir}
        tasks = []
        add = lambda kind, model, ours, peers, **work: tasks.append(
            Task(kind, model, self.quantization[model], programs.Work(model, threads, **work), ours, peers))
        if "prefill" in rows:
            for model in [self.args.model, *self.files]:
                add("short", model, ours, native, prompt=prompt, gen=gen)
        if "avx2" in rows:
            avx2 = {"Kvasir": programs.Kvasir(self.runner, self.args.kvasir, ["--backend", "cpu-avx2"])}
            for model in [self.args.model, *self.files]:
                add("avx2", model, avx2, [peer for peer in self.peers if peer.avx2], prompt=prompt, gen=gen)
        if "long" in rows:
            add("long", self.main, ours, native, prompt=deep)
        if "deep" in rows:
            both = {**ours, "Kvasir q8_0": programs.Kvasir(self.runner, self.args.kvasir, ["--kv-type", "q8_0"])}
            add("deep", self.main, both, native, gen=gen // 4, depth=deep)
        if "batch" in rows:
            for sequences in (8, 16):
                add("batch", self.main, ours, plain, gen=8 if quick else 48, depth=64, batch=sequences)
        return tasks

    def single_round(self):
        """What is measured without peers: the start, tokenizing, the GEMM alone."""
        args, model = self.args, self.main
        take = lambda name, value: self.singles.setdefault(name, []).append(value)
        if "start" in args.rows:
            take("handshake", programs.handshake_ms(self.runner, args.kvasir, model, args.threads))
            with programs.Served(self.runner, args.kvasir, "rpc", model, os.path.dirname(model), args.threads) as server:
                prompt = programs.prompt_of(server, 16)
            take("read", programs.reading_seconds(model))
            take("start", programs.start_figures(self.runner, args.kvasir, model, args.threads, prompt))
            if self.packed is None:
                self.packed = os.path.getsize(model) >= SMALLEST_PACKED and programs.keep_packed(self.runner, args.kvasir, model, args.threads, self.cache.name)
            if self.packed:
                take("packed", programs.start_figures(self.runner, args.kvasir, model, args.threads, prompt, self.cache.name))
        if "tokenize" in args.rows:
            take("tokenize", programs.tokenizing_share(self.runner, args.kvasir, model, args.threads, 128 if args.quick else 512))
        kernels = os.path.join(os.path.dirname(args.kvasir), "bench_kernels")
        if "gemm" in args.rows and os.access(kernels, os.X_OK):
            take("gemm", programs.gemm_gops(self.runner, kernels, self.backend, ["Q4_K", "Q4_0", "Q8_0", "Q6_K"]))

    def run(self):
        for number in range(self.args.rounds):
            for task in self.tasks:
                begin = time.perf_counter()
                told = task.run_round(self.probe, self.note)
                print(f"round {number + 1}, {task.kind}, {os.path.basename(task.model)}: {told}; read {task.probes[-1]:.1f} GB/s ({time.perf_counter() - begin:.0f} s)",
                      file=sys.stderr)
            try:
                self.single_round()
            except (programs.Failed, OSError, ValueError) as error:
                self.note(str(error))
            self.write()

    def rows(self):
        deep, prompt, gen = (("256", "64", "8") if self.args.quick else ("4096", "512", "320"))
        for task in self.tasks:
            default = task.model == self.args.model
            if task.kind in ("short", "avx2"):
                avx2, what = task.kind == "avx2", ", cpu-avx2" if task.kind == "avx2" else ""
                row = task.row(f"prefill {prompt}{what}", "prefill", share=task.share_of_limit("prefill"))
                goals.judge_prefill(row, task.quantization, avx2, default)
                yield row
                row = task.row(f"decode {gen}{what}", "decode", share=task.share_of_reading())
                goals.judge_decode(row, task.quantization, avx2, default)
                yield row
            elif task.kind == "long":
                row = task.row(f"prefill {deep}", "prefill", share=task.share_of_limit("prefill"))
                goals.judge_prefill(row, task.quantization, long=True)
                yield row
            elif task.kind == "deep":
                f16 = task.row(f"decode at depth {deep}, f16 KV", "decode", share=task.share_of_limit("decode"))
                q8 = task.row(f"decode at depth {deep}, q8_0 KV", "decode", "Kvasir q8_0", task.share_of_limit("decode", "Kvasir q8_0"))
                goals.judge_deep(f16)
                goals.judge_deep(q8, f16)
                yield from (f16, q8)
            elif task.kind == "batch":
                row = task.row(f"{task.work.batch} sequences, {task.work.depth} in, {task.work.gen} out, all tokens", "total", share=task.share_of_limit("decode"))
                goals.judge_batch(row, task.work.batch)
                yield row
        yield from self.single_rows()

    def single_rows(self):
        name, singles = os.path.basename(self.main).removesuffix(".gguf"), self.singles
        row = lambda work, unit, values: goals.Row(work, name, unit, values)
        for kind in sorted({kind for round_ in singles.get("gemm", []) for kind in round_}):
            values = [round_.get(kind) for round_ in singles["gemm"]]
            line = goals.Row(f"GEMM alone, {kind}, one thread", "256 x 2048 x 5632", "GOP/s", values,
                             share=[v / (self.peaks["int8_gops"] / self.args.threads) for v in goals.known(values)])
            goals.judge_share(line, "of the vpdpbusd peak", 0.6)
            yield line
        if "start" in singles:
            line = row("handshake", "ms", singles["handshake"])
            goals.judge_below(line, "ms", 50)
            yield line
            line = row("process to first token of 16, nothing packed", "s", [s["first_token_s"] for s in singles["start"]])
            goals.judge_start(line, min(singles["read"]))
            yield line
            if "packed" in singles:
                line = row("process to first token of 16, weights packed before", "s", [s["first_token_s"] for s in singles["packed"]])
                goals.judge_below(line, "s", 0.5)
                yield line
            line = row("peak memory over the file, hardly any KV", "x", [s["rss_share"] for s in singles["start"] + singles.get("packed", [])])
            goals.judge_below(line, "x the file", 1.15)
            yield line
        if "tokenize" in singles:
            line = row("tokenizing, part of a request", "%", [100 * share for share in singles["tokenize"]])
            goals.judge_below(line, "%", 1)
            yield line

    def facts(self):
        args, probes = self.args, [p for task in self.tasks for p in task.probes]
        lines = [f"{self.backend}, {args.threads} threads; {len(self.tasks[0].probes) if self.tasks else args.rounds} of {args.rounds} rounds"
                 + ("; real-time priority" if self.runner.prefix else "; no real-time priority: neighbours count"),
                 "measured peaks: 8-bit products {int8_gops:.0f}, f32 {f32_gops:.0f}, bf16 {bf16_gops:.0f} GOP/s".format(**self.peaks)]
        if probes:
            lines.append(f"reading {goals.median(probes):.1f} GB/s in the median of the probes ({min(probes):.1f} to {max(probes):.1f})")
        if args.quick:
            lines.insert(0, "QUICK: sizes too small to mean anything")
        return lines + ["limit of prefill: the products of the weights at the peaks; of decode: reading the weights once (at depth and in batches KV and products too)",
                        "goals: ratios of the same round, medians; of several builds of a peer the best one; held by tests instead: barriers, allocations"]

    def write(self):
        rows = list(self.rows())
        text = goals.markdown(rows, self.facts(), self.notes)
        if self.args.markdown:
            with open(self.args.markdown, "w") as file:
                file.write(text)
        if self.args.json:
            raw = {"facts": self.facts(), "peaks": self.peaks, "notes": self.notes, "singles": self.singles, "tasks": [
                {"kind": t.kind, "model": t.model, "quantization": t.quantization, "work": vars(t.work), "probes": t.probes, "series": t.series} for t in self.tasks],
                "rows": [{"work": r.work, "model": r.model, "ours": r.ours, "peers": r.peers, "share": r.share, "verdict": r.verdict,
                          "checks": [{**vars(c), "reached": c.reached} for c in r.checks]} for r in rows]}
            with open(self.args.json, "w") as file:
                json.dump(raw, file, indent=1)
        return text


def main():
    args = parse()
    bench = Bench(args)
    bench.run()
    print(bench.write(), end="")


if __name__ == "__main__":
    main()
