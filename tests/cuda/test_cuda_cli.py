"""--backend cuda on a machine without a GPU: refused with the reason and exit status 3, never another backend."""
import json
import os
import subprocess
import tempfile
import unittest

KVASIR = os.environ.get("KVASIR_BIN", "build/release/bin/kvasir")


class WithoutGpu(unittest.TestCase):
    def setUp(self):
        if not os.path.exists(KVASIR):
            self.skipTest("the release binary is not built")
        self.folder = tempfile.TemporaryDirectory(prefix="kvasir-cuda-")
        self.addCleanup(self.folder.cleanup)
        self.probe = next(p for p in self.doctor()["backends"]["probes"] if p["name"] == "cuda")
        if self.probe["usable"]:
            self.skipTest("this machine has a GPU")

    def run_kvasir(self, *arguments, **environment):
        return subprocess.run([KVASIR, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120,
                              env={**os.environ, "KVASIR_DATA_DIR": self.folder.name, **environment})

    def doctor(self, **environment):
        return json.loads(self.run_kvasir("doctor", "--json", **environment).stdout)

    def test_doctor_says_why(self):
        self.assertTrue(self.probe["reason"])
        self.assertRegex(self.probe["reason"], "plugin not installed|driver|GPU")

    def test_doctor_with_the_backend_forced_exits_3_with_the_reason(self):
        done = self.run_kvasir("doctor", "--backend", "cuda")
        self.assertEqual(done.returncode, 3)
        self.assertIn(self.probe["reason"], done.stdout + done.stderr)

    def test_a_run_with_the_backend_forced_exits_3_with_the_reason(self):
        model = os.path.join(self.folder.name, "none.gguf")
        with open(model, "wb") as f:
            f.write(b"GGUF")
        done = self.run_kvasir("run", "--backend", "cuda", "--model", model, "hello")
        self.assertEqual(done.returncode, 3, done.stderr)

    def test_a_folder_without_the_plugin_is_named(self):
        probe = next(p for p in self.doctor(KVASIR_BACKEND_DIR=self.folder.name)["backends"]["probes"] if p["name"] == "cuda")
        self.assertFalse(probe["usable"])
        self.assertIn(self.folder.name, probe["reason"])


if __name__ == "__main__":
    unittest.main()
