"""Every example runs."""
import glob
import json
import os
import subprocess
import tempfile
import unittest

from kvasir_e2e import *

EXAMPLES = os.path.join(ROOT, "examples")
PROMPT = "Name three primary colours."


class Configurations(unittest.TestCase):
    def test_they_are_json_and_start_what_exists(self):
        names = sorted(glob.glob(EXAMPLES + "/client_configs/*.json"))
        self.assertEqual(len(names), 4)
        for name in names:
            with open(name) as f:
                config = json.load(f)
            entry = (config.get("mcpServers") or config["servers"])["kvasir"]
            if "args" in entry:
                self.assertEqual(kvasir(entry["args"][0], "--help").returncode, 0)
                self.assertTrue(os.path.isabs(entry["command"]))
            else:
                self.assertTrue(entry["url"].endswith("/mcp"))


@needs_model
class Clients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def test_python_stdio_client(self):
        out = run_script(sys.executable, EXAMPLES + "/python_stdio_client/client.py", "--prompt", PROMPT, "--", *with_model("mcp"))
        self.assertIn("Red", out)

    def test_python_sessions_reads_the_file_once(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "notes.txt")
            with open(path, "w") as f:
                f.write("The lighthouse of Skagen was built in 1858 by Niels Sigfred Nebelong. " * 12)
            out = run_script(sys.executable, EXAMPLES + "/python_sessions/ask_file.py", path, "Who built the lighthouse?", "When?",
                             "--", BIN, "rpc", "--private", "--model", model_path(), "--data-dir", folder)
            known = [int(line.split(" of context, ")[1].split()[0]) for line in out.splitlines() if " of context, " in line]
            self.assertEqual(len(known), 2)
            self.assertGreaterEqual(known[1], 192)

    def test_python_stdio_client_reports_a_missing_model(self):
        done = subprocess.run([sys.executable, EXAMPLES + "/python_stdio_client/client.py", "--prompt", PROMPT, "--", BIN, "mcp",
                               "--data-dir", data_dir(), "--model", "/nonexistent.gguf"], capture_output=True, text=True, timeout=60, env=clean_environment())
        self.assertEqual(done.returncode, 1)
        self.assertIn("nonexistent", done.stderr)

    @needs_client("bin/node")
    def test_node_websocket_client(self):
        out = run_script(client_node(), EXAMPLES + "/node_websocket_client/client.mjs", self.server.url.replace("http:", "ws:") + "/ws", PROMPT)
        self.assertIn("Red", out)

    @needs_client("mcp2/bin/python")
    def test_python_websocket_client(self):
        out = run_script(client_python(2), EXAMPLES + "/python_websocket_client/client.py", self.server.url.replace("http:", "ws:") + "/rpc", PROMPT)
        self.assertIn("Red", out)

    def test_curl(self):
        try:
            out = run_script(EXAMPLES + "/curl/generate.sh", self.server.url, PROMPT)
        except FileNotFoundError:
            self.skipTest("curl is not installed")
        whole, _, events = out.partition("\n")
        self.assertIn("Red", json.loads(whole)["result"]["text"])
        self.assertEqual(events_of(events)[-1]["result"]["text"], json.loads(whole)["result"]["text"])

    def test_editor_filter(self):
        env = clean_environment(KVASIR=BIN, KVASIR_MODEL=model_path(), KVASIR_DATA_DIR=data_dir())
        done = subprocess.run([EXAMPLES + "/editor_filter/kvasir-filter", "Answer this question:"], input=PROMPT, capture_output=True,
                              text=True, timeout=120, env=env)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("Red", done.stdout)


if __name__ == "__main__":
    unittest.main()
