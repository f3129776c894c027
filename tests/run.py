#!/usr/bin/env python3
"""Runs every test and adds up the cases; the last line is `N passed, N failed[, N skipped]`.

Catch2 binaries (found through ctest) and tests/*/test_*.py (unittest). A line `SKIP what` of a test counts as skipped,
by name; a case that only skipped does not count as passed. Standard library only.
"""
import argparse
import concurrent.futures
import dataclasses
import glob
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as xml

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@dataclasses.dataclass
class Job:
    name: str
    command: list
    timeout: float
    kind: str                      # "catch" or "unittest"
    alone: bool = False
    environment: dict = dataclasses.field(default_factory=dict)
    working_directory: str = ROOT


@dataclasses.dataclass
class Outcome:
    passed: int = 0
    failed: int = 0
    skipped: list = dataclasses.field(default_factory=list)
    failures: list = dataclasses.field(default_factory=list)   # texts for people
    seconds: float = 0.0


def properties_of(test):
    return {p["name"]: p["value"] for p in test.get("properties", [])}


def catch_jobs(build, label, arguments):
    listing = subprocess.run(["ctest", "--show-only=json-v1", "--test-dir", build], capture_output=True, text=True, check=True)
    jobs = []
    for test in json.loads(listing.stdout)["tests"]:
        facts = properties_of(test)
        labels = facts.get("LABELS", [])
        if "soak" in labels and not arguments.soak:
            continue
        # ctest gives no command for a program that is not there: running its name says so as a failure.
        jobs.append(Job(label + test["name"], test.get("command", [test["name"]]), float(facts.get("TIMEOUT", 600)) * arguments.timeout_factor,
                        "command" if "command" in labels else "catch", alone="alone" in labels,
                        environment=dict(pair.split("=", 1) for pair in facts.get("ENVIRONMENT", []))))
    return jobs


def python_jobs(arguments):
    environment = {"KVASIR_BIN": os.path.join(os.path.abspath(arguments.build), "bin/kvasir"),
                   "KVASIR_BUILD": os.path.abspath(arguments.build),
                   "KVASIR_TEST_CLIENTS": os.path.abspath(arguments.clients) if arguments.clients else "",
                   "KVASIR_TEST_SOAK": "1" if arguments.soak else "",
                   "KVASIR_TEST_REFERENCE": "1" if arguments.reference else ""}
    runner = os.path.join(ROOT, "tests/support/run_unittest.py")
    jobs = []
    for path in sorted(glob.glob(os.path.join(ROOT, "tests/*/test_*.py"))):
        name = os.path.relpath(path, os.path.join(ROOT, "tests"))[:-3].replace("/", ".")
        # Python tests start servers that use every core; two at a time would only measure each other.
        jobs.append(Job(name, [sys.executable, runner, path], 1800 * arguments.timeout_factor, "unittest", environment=environment))
    return jobs


def stop_group(process):
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            pass


def run(job):
    """Runs one job in its own process group, with its output in files. Returns (exit status or None, output, report)."""
    with tempfile.TemporaryDirectory(prefix="kvasir-test-") as folder:
        report_path, output_path = os.path.join(folder, "report"), os.path.join(folder, "output")
        command = list(job.command)
        command += {"catch": ["-r", "xml", "-o", report_path], "unittest": [report_path], "command": []}[job.kind]
        with open(output_path, "wb") as output:
            try:
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                           start_new_session=True, cwd=job.working_directory,
                                           env={**os.environ, **job.environment})
            except OSError as error:
                return 127, f"cannot be started (is it built?): {error}", ""
            try:
                status = process.wait(job.timeout)
            except subprocess.TimeoutExpired:
                status = None
            stop_group(process)   # also what a test left behind
        with open(output_path, errors="replace") as f:
            text = f.read()
        report = ""
        if os.path.exists(report_path):
            with open(report_path, errors="replace") as f:
                report = f.read()
        return status, text, report


def expression_texts(node):
    for found in node.iter():
        if found.tag == "Expression" and found.get("success") == "false":
            expanded = (found.findtext("Expanded") or "").strip()
            yield f'    {found.get("filename")}:{found.get("line")}: {(found.findtext("Original") or "").strip()}  ({expanded})'
            yield from (f"      unexpected: {e.text.strip()}" for e in found.iter("Exception") if e.text)
            yield from (f"      {e.tag}: {e.text.strip()}" for e in found.iter("FatalErrorCondition") if e.text)
        elif found.tag in ("Failure", "Exception", "FatalErrorCondition") and found.text:
            yield f"    {found.text.strip()}"


def read_catch(job, status, text, report, outcome):
    try:
        root = xml.fromstring(report)
    except xml.ParseError:
        root = None
    if root is None or status is None or status < 0:
        outcome.failed += 1
        why = "timed out" if status is None else f"ended with status {status} and no report"
        outcome.failures.append(f"{job.name}: {why}\n{tail(text)}")
        if root is None:
            return
    for case in root.iter("TestCase"):
        result = case.find("OverallResult")
        if result is not None and result.get("success") == "true":
            outcome.passed += 1
        else:
            outcome.failed += 1
            lines = list(dict.fromkeys(expression_texts(case)))[:12]
            outcome.failures.append(f'{job.name}: {case.get("name")}\n' + "\n".join(lines))
    if status not in (0, None) and not outcome.failed:
        outcome.failed += 1
        outcome.failures.append(f"{job.name}: ended with status {status}\n{tail(text)}")
    # A case that only skipped was counted as passed above.
    outcome.passed -= sum(line.startswith("SKIP-CASE ") for line in text.splitlines())


def read_unittest(job, status, text, report, outcome):
    try:
        facts = json.loads(report)
    except ValueError:
        outcome.failed += 1
        outcome.failures.append(f"{job.name}: {'timed out' if status is None else f'ended with status {status}'}\n{tail(text)}")
        return
    outcome.passed += facts["passed"]
    outcome.failed += len(facts["failures"])
    outcome.skipped += [f"{job.name}: {s}" for s in facts["skipped"]]
    outcome.failures += [f"{job.name}: {f}" for f in facts["failures"]]
    if status != 0 and not facts["failures"]:
        outcome.failed += 1
        outcome.failures.append(f"{job.name}: ended with status {status}\n{tail(text)}")


def read_command(job, status, text, report, outcome):
    """A program without a report: its status is its one case."""
    outcome.passed, outcome.failed = (1, 0) if status == 0 else (0, 1)
    if status != 0:
        outcome.failures.append(f"{job.name}: {'timed out' if status is None else f'ended with status {status}'}\n{tail(text)}")


def tail(text, lines=40):
    return "\n".join("    " + line for line in text.splitlines()[-lines:])


def shortened(text, columns=1000):
    """Failure texts for people: an expanded comparison of two vectors may be megabytes long."""
    return "\n".join(line if len(line) <= columns else f"{line[:columns]}... ({len(line)} characters)" for line in text.splitlines())


READERS = {"catch": read_catch, "unittest": read_unittest, "command": read_command}


def execute(job):
    started = time.monotonic()
    status, text, report = run(job)
    outcome = Outcome()
    outcome.skipped += [f"{job.name}: {line[5:].strip()}" for line in text.splitlines() if line.startswith("SKIP ")]
    READERS[job.kind](job, status, text, report, outcome)
    outcome.failures = [shortened(text) for text in outcome.failures]
    outcome.seconds = time.monotonic() - started
    return job, outcome


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", help="build folder with the C++ tests and bin/kvasir")
    parser.add_argument("--unit-build", action="append", default=[], help="a further build: only its C++ tests")
    parser.add_argument("--clients", default="", help="folder of the installed client libraries")
    parser.add_argument("--filter", action="append", default=[], help="only tests whose name contains this")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--timeout-factor", type=float, default=1.0)
    parser.add_argument("--soak", action="store_true", help="the long tests too")
    parser.add_argument("--reference", action="store_true", help="also compare with the naive backend on whole models, and with other libraries")
    parser.add_argument("--families", action="store_true", help="only the model families, writing tests/families.md anew")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    if arguments.reference:
        os.environ["KVASIR_TEST_REFERENCE"] = "1"
    if arguments.soak:
        os.environ["KVASIR_TEST_SOAK"] = "1"
    if arguments.families:
        os.environ["KVASIR_FAMILIES_MD"] = os.path.join(ROOT, "tests/families.md")
        arguments.filter.append("model_families_test")

    jobs = []
    if arguments.build:
        jobs += catch_jobs(arguments.build, "", arguments) + python_jobs(arguments)
    for build in arguments.unit_build:
        jobs += catch_jobs(build, os.path.basename(os.path.normpath(build)) + ":", arguments)
    jobs = [j for j in jobs if not arguments.filter or any(f in j.name for f in arguments.filter)]
    if arguments.list:
        print("\n".join(j.name for j in jobs))
        return 0

    total, lock = Outcome(), threading.Lock()
    started = time.monotonic()

    def note(job, outcome):
        with lock:
            total.passed += outcome.passed
            total.failed += outcome.failed
            total.skipped += outcome.skipped
            total.failures += outcome.failures
            word = "FAIL" if outcome.failed else "ok"
            skipped = f", {len(outcome.skipped)} skipped" if outcome.skipped else ""
            print(f"{word:4} {job.name}: {outcome.passed} passed, {outcome.failed} failed{skipped} ({outcome.seconds:.1f} s)", flush=True)
            for text in outcome.failures:
                print("  " + text.replace("\n", "\n  "), flush=True)

    with concurrent.futures.ThreadPoolExecutor(max(1, arguments.jobs)) as pool:
        # End-to-end first: they are the longest, and the short ones fill the gaps.
        order = sorted((j for j in jobs if not j.alone), key=lambda j: not j.name.startswith("e2e"))
        for future in concurrent.futures.as_completed([pool.submit(execute, j) for j in order]):
            note(*future.result())
    for job in (j for j in jobs if j.alone):
        note(*execute(job))

    if total.skipped:
        print("\nskipped:")
        for what in sorted(set(total.skipped)):
            times = total.skipped.count(what)
            print(f"  {what}" + (f" ({times} times)" if times > 1 else ""))
    if total.failures:
        print("\nfailed:")
        for text in total.failures:
            print("  " + text.splitlines()[0])
    print(f"\n{time.monotonic() - started:.0f} s")
    if not total.passed and not total.failed:
        print("no test ran")
    print(f"{total.passed} passed, {total.failed} failed" + (f", {len(total.skipped)} skipped" if total.skipped else ""))
    return 0 if total.passed and not total.failed else 1


if __name__ == "__main__":
    sys.exit(main())
