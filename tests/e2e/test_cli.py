"""The commands as people and scripts use them: results on stdout, words on stderr, exit codes that mean something."""
import json
import os
import subprocess
import tarfile
import tempfile
import time
import unittest

from kvasir_e2e import *


class Words(unittest.TestCase):
    def test_version_and_help(self):
        self.assertRegex(kvasir("version").stdout, r"^kvasir \d+\.\d+\.\d+\n$")
        self.assertEqual(json.loads(kvasir("version", "--json").stdout)["name"], "kvasir")
        self.assertEqual(kvasir("--version").stdout, kvasir("version").stdout)
        overview = kvasir("--help").stdout
        for command in ("mcp", "rpc", "serve", "run", "bench", "score", "tokenize", "template", "models", "doctor", "install",
                        "config", "completion", "version"):
            self.assertRegex(overview, rf"(?m)^  {command}\b")
            self.assertEqual(kvasir(command, "--help").returncode, 0)

    def test_misuse_is_refused_with_code_2_and_nothing_on_stdout(self):
        for words in (["frobnicate"], ["run", "--no-such-flag"], ["serve", "--port", "x"], ["serve", "--port", "70000"],
                      ["run", "--kv-type", "f8", "hi"], ["install", "--client", "nobody"], ["completion", "cmd"],
                      ["--log-level", "loud", "version"]):
            done = kvasir(*words)
            self.assertEqual((done.returncode, done.stdout), (2, ""), words)
            self.assertTrue(done.stderr.startswith("kvasir: "), done.stderr)

    def test_configuration_errors_have_their_own_code(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "config.toml")
            for text in ("threads = = 2", "thraeds = 2", "threads = 'many'"):
                with open(path, "w") as f:
                    f.write(text)
                done = kvasir("--config", path, "config", "show")
                self.assertEqual(done.returncode, 78, done.stderr)
        self.assertEqual(kvasir("config", "show", env={"KVASIR_THREADS": "many"}).returncode, 78)

    def test_flag_beats_variable_beats_file(self):
        with tempfile.TemporaryDirectory() as folder:
            config = os.path.join(folder, "kvasir/config.toml")
            os.makedirs(os.path.dirname(config))
            with open(config, "w") as f:
                f.write('data_dir = "/from/file"\nthreads = 3\n')
            env = {"XDG_CONFIG_HOME": folder}
            shown = json.loads(kvasir("config", "show", "--json", env=env).stdout)
            self.assertEqual(shown["data_dir"], {"value": "/from/file", "origin": "file"})
            self.assertEqual(shown["threads"], {"value": "3", "origin": "file"})
            env["KVASIR_DATA_DIR"] = "/from/variable"
            self.assertEqual(kvasir("config", "show", "data_dir", env=env).stdout, "/from/variable\n")
            self.assertEqual(kvasir("--data-dir", "/from/flag", "config", "show", "models_dir", env=env).stdout, "/from/flag/models\n")

    def test_a_secret_is_not_shown(self):
        self.assertNotIn("hush", kvasir("config", "show", env={"KVASIR_TOKEN": "hush"}).stdout)

    def test_works_without_a_home_or_a_terminal(self):
        done = subprocess.run([BIN, "config", "show", "data_dir"], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0)
        self.assertTrue(done.stdout.startswith("/"))

    def test_completion_scripts(self):
        bash = kvasir("completion", "bash").stdout
        subprocess.run(["bash", "-n"], input=bash, text=True, check=True)
        probe = bash + '\nCOMP_WORDS=(kvasir models in); COMP_CWORD=2; _kvasir; echo "${COMPREPLY[*]}"\n' \
                       'COMP_WORDS=(kvasir serve --po); COMP_CWORD=2; _kvasir; echo "${COMPREPLY[*]}"'
        self.assertEqual(subprocess.run(["bash", "-c", probe], capture_output=True, text=True).stdout.split(), ["info", "--port"])
        self.assertIn("complete -c kvasir", kvasir("completion", "fish").stdout)
        self.assertIn("bashcompinit", kvasir("completion", "zsh").stdout)

    def test_install_prints_and_merges_absolute_paths(self):
        with tempfile.TemporaryDirectory() as home:
            env = {"HOME": home}
            printed = json.loads(kvasir("install", "--client", "cursor", env=env).stdout)["mcpServers"]["kvasir"]
            self.assertTrue(os.path.isabs(printed["command"]))
            self.assertEqual(os.listdir(home), [])
            path = os.path.join(home, ".cursor/mcp.json")
            os.makedirs(os.path.dirname(path))
            with open(path, "w") as f:
                f.write('{"mcpServers": {"other": {"command": "x"}}, "kept": 1}')
            self.assertEqual(kvasir("install", "--client", "cursor", "--write", env=env).returncode, 0)
            with open(path) as f:
                merged = json.load(f)
            self.assertEqual(merged["mcpServers"]["other"], {"command": "x"})
            self.assertEqual(merged["mcpServers"]["kvasir"], printed)
            self.assertEqual(merged["kept"], 1)
            with open(path, "w") as f:
                f.write("// not JSON\n{}")
            self.assertEqual(kvasir("install", "--client", "cursor", "--write", env=env).returncode, 2)
            with open(path) as f:
                self.assertEqual(f.read(), "// not JSON\n{}")
            self.assertIn("claude mcp add", kvasir("install", "--client", "claude-code", env=env).stdout)
            done = subprocess.run([printed["command"], *printed["args"]], stdin=subprocess.DEVNULL, capture_output=True, timeout=10,
                                  env={"HOME": home, "PATH": "/usr/bin:/bin", "KVASIR_HOST_IDLE_MS": "1000"})
            self.assertEqual((done.returncode, done.stdout), (0, b""))

    def test_what_the_machine_lacks_is_code_3(self):
        with tempfile.TemporaryDirectory() as empty:
            for words in (["run", "hi"], ["tokenize", "hi"], ["doctor"], ["run", "--model", "no-such-model", "hi"]):
                done = kvasir("--data-dir", empty, *words)
                self.assertEqual(done.returncode, 3, (words, done.stderr))
            self.assertIn("./x run", kvasir("--data-dir", empty, "run", "hi").stderr)

    def test_a_full_disk_and_a_closed_stdout_are_failures(self):
        with open("/dev/full", "wb") as full:
            self.assertEqual(subprocess.run([BIN, "version"], stdout=full, stderr=subprocess.DEVNULL).returncode, 1)
        done = subprocess.run(["bash", "-c", f"'{BIN}' version >&-"], capture_output=True)
        self.assertIn(done.returncode, (0, 1))


class Files(unittest.TestCase):
    def test_a_file_that_is_no_model_is_refused_with_code_2(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "bad.gguf")
            for content in (b"", b"GG", b"GGUF", b"not a model at all" * 100, b"GGUF" + b"\xff" * 4096):
                with open(path, "wb") as f:
                    f.write(content)
                done = kvasir("models", "info", path)
                self.assertEqual((done.returncode, done.stdout), (2, ""), content[:8])
                self.assertGreater(len(done.stderr), 20)
            self.assertEqual(kvasir("models", "info", folder + "/none.gguf").returncode, 2)
            self.assertEqual(kvasir("models", "info", "/dev/zero", timeout=10).returncode, 2)
            fifo = os.path.join(folder, "fifo.gguf")
            os.mkfifo(fifo)
            self.assertEqual(kvasir("models", "info", fifo, timeout=10).returncode, 2)

    @needs_shared("gguf-malformed.tar.xz")
    def test_every_malformed_file_ends_as_its_list_says(self):
        with open(shared_data("gguf-malformed.json")) as f:
            expected = json.load(f)
        wrong = []
        with tempfile.TemporaryDirectory() as folder, tarfile.open(shared_data("gguf-malformed.tar.xz")) as archive:
            archive.extractall(folder, filter="data") if hasattr(tarfile, "data_filter") else archive.extractall(folder)
            found = {os.path.relpath(os.path.join(at, name), folder): os.path.join(at, name)
                     for at, _, names in os.walk(folder) for name in names}
            for case in expected:
                path = next(p for name, p in found.items() if name.endswith(case["file"]))
                begin = time.monotonic()
                done = kvasir("models", "info", path, "--json", timeout=20)
                seconds = time.monotonic() - begin
                allowed = {"load": (0,), "reject": (2,), "either": (0, 2)}[case["expect"]]
                if done.returncode not in allowed or seconds > 2 or (done.returncode and len(done.stderr) < 20):
                    wrong.append(f"{case['file']} ({case['why']}): exit {done.returncode} in {seconds:.1f} s, {done.stderr.strip()[:200]}")
        self.assertEqual(wrong, [])


@needs_model
class Model(unittest.TestCase):
    def run_model(self, command, *more, stdin=b"", **kwargs):
        return kvasir(command, "--model", model_path(), "--data-dir", data_dir(), *more, stdin=stdin, **kwargs)

    def test_run_answers_on_stdout_alone(self):
        words = ["--temperature", "0", "--max-tokens", "32"]
        plain = self.run_model("run", *words, "Name three primary colours.")
        self.assertEqual(plain.returncode, 0, plain.stderr)
        self.assertIn("Red", plain.stdout)
        result = json.loads(self.run_model("run", *words, "--json", "Name three primary colours.").stdout)
        self.assertEqual(plain.stdout.rstrip("\n"), result["text"].rstrip("\n"))
        piped = self.run_model("run", *words, stdin=b"Name three primary colours.")
        self.assertEqual(piped.stdout, plain.stdout)

    def test_run_refuses_what_the_tool_refuses(self):
        done = self.run_model("run", "--temperature", "-1", "hi")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("temperature", done.stderr)
        self.assertEqual(self.run_model("run", "--backend", "no-such-backend", "hi").returncode, 2)

    def test_tokens_go_there_and_back(self):
        text = "Hello world!\nüñî 123  tabs\t"
        tokens = json.loads(self.run_model("tokenize", "--json", stdin=text.encode()).stdout)["tokens"]
        self.assertEqual(self.run_model("detokenize", stdin=" ".join(map(str, tokens)).encode()).stdout, text)
        self.assertEqual(json.loads(self.run_model("tokenize", "--json", "<|im_end|>").stdout)["tokens"] == [2], False)
        self.assertEqual(json.loads(self.run_model("tokenize", "--json", "--special", "<|im_end|>").stdout)["tokens"], [2])

    def test_score_and_template_and_info(self):
        scored = json.loads(self.run_model("score", "--json", "--top", "3", "--prompt", "The capital of France is", " Paris.").stdout)
        self.assertEqual(len(scored["tokens"]), len(scored["logprobs"]))
        self.assertAlmostEqual(scored["nll"], -sum(scored["logprobs"]), places=3)
        likely = json.loads(self.run_model("score", "--json", "--prompt", "The capital of France is", " carrot.").stdout)
        self.assertLess(scored["nll"], likely["nll"])
        request = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "add_generation_prompt": True}).encode()
        rendered = self.run_model("template", stdin=request).stdout
        self.assertTrue(rendered.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"), rendered)
        info = json.loads(kvasir("models", "info", model_path(), "--json").stdout)
        self.assertEqual((info["architecture"], info["parameters"], info["layers"]), ("llama", 134515008, 30))
        doctor = json.loads(self.run_model("doctor", "--json").stdout)
        self.assertTrue(doctor["model"]["usable"])
        self.assertTrue(all(p["reason"] for p in doctor["backends"]["probes"]))

    def test_bench_prints_the_agreed_object(self):
        out = json.loads(self.run_model("bench", "--json", "--prompt-tokens", "32", "--gen-tokens", "8", "--repeat", "2").stdout)
        self.assertEqual(out["prefill"]["tokens"], 32)
        self.assertEqual((out["decode"]["tokens"], out["decode"]["batch"], len(out["decode"]["tok_s"])), (8, 1, 2))
        for key in ("model", "threads", "backend", "load_ms", "peak_rss_bytes", "read_gb_s"):
            self.assertIn(key, out)

    def test_the_model_in_the_models_folder_is_found_by_name_and_by_default(self):
        with tempfile.TemporaryDirectory() as folder:
            os.makedirs(folder + "/models")
            os.symlink(model_path(), f"{folder}/models/{MODEL_FILE}")
            words = ["--data-dir", folder, "tokenize", "Hello"]
            self.assertEqual(kvasir(*words).stdout, kvasir(*words, "--model", MODEL_FILE[:-5]).stdout)
            self.assertIn("(default)", kvasir("--data-dir", folder, "models", "ls").stdout)


if __name__ == "__main__":
    unittest.main()
