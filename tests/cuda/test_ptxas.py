"""What nvcc makes of the kernels: no warnings, no register spills, no stack frames in the hot ones.

One architecture in the gate; KVASIR_CUDA_ARCHS="80 86 89 90 100 120" looks at others too."""
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# A stack frame is memory traffic per thread; the repack at load may have one.
MAY_HAVE_STACK = ("repack_kernel",)
# Two blocks of 256 threads must fit beside each other, or the next kernel cannot prefetch while this one runs.
GEMV_REGISTERS = 128


def compile_one(source, arch, folder):
    out = os.path.join(folder, os.path.basename(source) + arch + ".cubin")
    command = ["nvcc", "-std=c++20", "-fmad=false", f"-arch=sm_{arch}", "-cubin", "-I" + ROOT, "-Xptxas", "-v", "-Xcompiler", "-Wall,-Wextra", source, "-o", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    return source, arch, done.returncode, done.stdout + done.stderr


def kernels_of(text):
    """(name, facts) of every entry function that ptxas reports."""
    for part in text.split("Compiling entry function '")[1:]:
        name = part.split("'")[0]
        frame, stores, loads = map(int, re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part).groups())
        yield name, {"stack": frame, "spills": stores + loads, "registers": int(re.search(r"Used (\d+) registers", part).group(1))}


class Ptxas(unittest.TestCase):
    def test_kernels_compile_without_warnings_and_spills(self):
        if shutil.which("nvcc") is None:
            self.skipTest("nvcc is not there")
        archs = os.environ.get("KVASIR_CUDA_ARCHS", "90").split()
        known = subprocess.run(["nvcc", "--list-gpu-code"], capture_output=True, text=True).stdout.split()
        archs = [a for a in archs if "sm_" + a in known]
        sources = sorted(glob.glob(ROOT + "/backends/cuda/kernels/*.cu"))
        self.assertTrue(sources and archs)
        wrong, kernels = [], 0
        with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(2) as pool:
            for source, arch, status, text in pool.map(lambda job: compile_one(*job, folder), [(s, a) for s in sources for a in archs]):
                where = f"{os.path.basename(source)} sm_{arch}"
                if status != 0:
                    wrong.append(f"{where}: {text[-2000:]}")
                    continue
                wrong += [f"{where}: {line}" for line in text.splitlines() if "warning" in line.lower()]
                for name, facts in kernels_of(text):
                    kernels += 1
                    if facts["spills"]:
                        wrong.append(f"{where}: {name} spills {facts['spills']} bytes")
                    if facts["stack"] and not any(k in name for k in MAY_HAVE_STACK):
                        wrong.append(f"{where}: {name} has a stack frame of {facts['stack']} bytes")
                    if "gemv_kernel" in name and facts["registers"] > GEMV_REGISTERS:
                        wrong.append(f"{where}: {name} uses {facts['registers']} registers")
        self.assertEqual(wrong, [])
        self.assertGreater(kernels, 35)


if __name__ == "__main__":
    unittest.main()
