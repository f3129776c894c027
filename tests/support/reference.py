"""The other libraries that `./x test --reference` compares with: installed into build/reference, never part of the gate."""
import glob
import importlib
import os
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def library(name):
    """The module, or the test is skipped by name."""
    if not os.environ.get("KVASIR_TEST_REFERENCE"):
        raise unittest.SkipTest(f"compares with {name}: only with --reference")
    for folder in glob.glob(os.path.join(ROOT, "build/reference/lib/python3*/site-packages")):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise unittest.SkipTest(f"{name} is not installed ({error})")


def answers(lines, *arguments):
    """What tests/text/text_answers gives for each line."""
    build = os.environ.get("KVASIR_BUILD") or os.path.join(ROOT, "build/release")
    done = subprocess.run([os.path.join(build, "bin/text_answers"), *arguments], input="".join(line + "\n" for line in lines).encode(),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise AssertionError(f"text_answers {' '.join(arguments)}: {done.stderr.decode(errors='replace').strip()}")
    got = done.stdout.decode().split("\n")[:-1]
    if len(got) != len(lines):
        raise AssertionError(f"text_answers gave {len(got)} lines for {len(lines)}")
    return got


def shared_data(relative):
    """A path below ../shared/data (or $KVASIR_SHARED_DATA); None if that is not there."""
    base = os.environ.get("KVASIR_SHARED_DATA") or os.path.join(os.path.dirname(ROOT), "shared/data")
    path = os.path.join(base, relative)
    return path if os.path.exists(path) else None
