"""Runs one unittest file and writes its counts as JSON: run_unittest.py FILE REPORT."""
import importlib.util
import json
import os
import signal
import sys
import unittest

SECONDS_PER_TEST = 600   # one that hangs fails; the others of its file still run


class Result(unittest.TextTestResult):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.succeeded = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.succeeded += 1

    def startTest(self, test):
        super().startTest(test)
        print(f"# {test.id()}", flush=True)
        signal.alarm(SECONDS_PER_TEST)

    def stopTest(self, test):
        signal.alarm(0)
        super().stopTest(test)


def too_long(*_):
    raise TimeoutError(f"the test took over {SECONDS_PER_TEST} s")


def main(path, report):
    signal.signal(signal.SIGALRM, too_long)
    sys.path.insert(0, os.path.dirname(path))
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    spec = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(path))[0], path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    result = unittest.TextTestRunner(resultclass=Result, verbosity=0).run(unittest.defaultTestLoader.loadTestsFromModule(module))
    failures = [f"{test.id()}\n{text}" for test, text in result.failures + result.errors]
    failures += [f"{test.id()}: passed though a failure was expected" for test in result.unexpectedSuccesses]
    with open(report, "w") as f:
        json.dump({"passed": result.succeeded + len(result.expectedFailures), "failures": failures,
                   "skipped": [f"{test.id()}: {reason}" for test, reason in result.skipped]}, f)
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
