"""Model files as people bring them: hostile ones end in an error and an exit code, never in a crash; defaults that the
files name are taken."""
import json
import os
import shutil
import struct
import tempfile
import unittest

from kvasir_e2e import *

LLAMA = "tiny-models/llama"
PHI3 = "tiny-models/phi3"


def shard(header, data=b"", length=None):
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return struct.pack("<Q", len(text) if length is None else length) + text + data


HOSTILE = {
    "a header beyond the file": {"model.safetensors": shard({}, length=1 << 40)},
    "an empty safetensors file": {"model.safetensors": b""},
    "overlapping tensors": {"model.safetensors": shard({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                                                         "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}, bytes(12))},
    "100,000 levels": {"model.safetensors": shard(b'{"a":' * 100_000)},
    "a shard outside": {"model.safetensors.index.json": json.dumps({"weight_map": {"a": "../../etc/passwd.safetensors"}}).encode()},
    "four billion layers": {"config.json": ('"num_hidden_layers": 2', '"num_hidden_layers": 4294967295')},
    "a negative width": {"config.json": ('"hidden_size": 64', '"hidden_size": -64')},
    "no heads": {"config.json": ('"num_attention_heads": 4', '"num_attention_heads": 0')},
    "a tokenizer of garbage": {"tokenizer.json": b"\xff" * 1000},
    "a pattern that never ends": {"tokenizer.json": json.dumps(
        {"added_tokens": [], "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"},
         "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2}, "merges": []}}).encode()},
}


@needs_shared(LLAMA)
class HostileFolders(unittest.TestCase):
    def folder(self, root, changes):
        folder = os.path.join(root, "model")
        os.makedirs(folder)
        for name in os.listdir(shared_data(LLAMA)):
            if name.endswith((".json", ".safetensors")):
                shutil.copyfile(os.path.join(shared_data(LLAMA), name), os.path.join(folder, name))
        for name, change in changes.items():
            path = os.path.join(folder, name)
            if isinstance(change, tuple):
                with open(path) as f:
                    text = f.read()
                self.assertIn(change[0], text)
                change = text.replace(*change).encode()
            with open(path, "wb") as f:
                f.write(change)
        return folder

    def test_each_ends_in_an_error_and_an_exit_code(self):
        for name, changes in HOSTILE.items():
            with self.subTest(name), tempfile.TemporaryDirectory() as root:
                folder = self.folder(root, changes)
                for words in (["models", "info", folder], ["run", "--model", folder, "hi"], ["tokenize", "--model", folder, "hi"]):
                    done = kvasir(*words)
                    if words[0] == "tokenize" and "tokenizer.json" not in changes:
                        self.assertGreaterEqual(done.returncode, 0, done.stderr)  # may need only the tokenizer
                        continue
                    self.assertGreater(done.returncode, 0, (words, done.stderr))
                    self.assertEqual(done.stdout, "", words)
                    self.assertIn("kvasir: ", done.stderr)
                    self.assertIn(folder, done.stderr)


class Defaults(unittest.TestCase):
    @needs_shared(PHI3)
    def test_the_engine_takes_the_rope_factors_of_its_context(self):
        with open(shared_data(PHI3 + "/golden.jsonl")) as f:
            golden = {len(row["prompt"]): row for row in map(json.loads, f)}

        def last(length, *options):
            row = golden[length]
            best = row["argmax"][-1]
            words = " ".join(map(str, row["prompt"] + [best]))
            done = kvasir("score", "--model", shared_data(PHI3), "--kv-type", "f32", "--activations", "f32", "--json", "--tokens",
                          *options, words)
            self.assertEqual(done.returncode, 0, done.stderr)
            got = json.loads(done.stdout)["logprobs"][-1]
            got = got["logprob"] if isinstance(got, dict) else got
            return abs(got - (row["logits_last"][best] - row["logsumexp"][-1]))

        self.assertLess(last(33, "--ctx", "64"), 1e-3)
        self.assertLess(last(150), 1e-3)
        self.assertGreater(last(33), 1e-3)  # the long factors, where the context allows more

    @needs_shared(LLAMA)
    def test_the_folder_says_how_to_sample_and_where_to_end(self):
        with tempfile.TemporaryDirectory() as root:
            folder = HostileFolders.folder(self, root, {"generation_config.json": json.dumps(
                {"eos_token_id": list(range(6, 320)), "temperature": 0.25, "top_k": 7, "top_p": 0.5, "repetition_penalty": 1.5}).encode()})
            done = kvasir("rpc", "--model", folder, "--private",
                          stdin=b'{"jsonrpc":"2.0","id":1,"method":"get_model_info"}\n'
                                b'{"jsonrpc":"2.0","id":2,"method":"generate_text","params":{"prompt":"ab","raw":true,"max_tokens":50}}\n')
            replies = {r["id"]: r for r in map(json.loads, done.stdout.splitlines()) if "id" in r}
            sampling = replies[1]["result"]["default_sampling"]
            self.assertEqual([sampling[k] for k in ("temperature", "top_k", "top_p", "repeat_penalty")], [0.25, 7, 0.5, 1.5])
            self.assertEqual(replies[2]["result"]["finish_reason"], "stop")
            self.assertEqual(replies[2]["result"]["text"], "")

    @needs_shared(LLAMA)
    def test_tools_and_the_thinking_switch_reach_the_folders_template(self):
        template = ("{% for t in tools or [] %}{{ t.function.name }} {% endfor %}{{ messages[0].content }}"
                    "{% if enable_thinking is defined %}{{ 'think about it' if enable_thinking else 'no' }}{% endif %}")
        tools = [{"type": "function", "function": {"name": "weather"}}]

        def tokens(replies, number):
            result = replies[number]["result"]
            self.assertNotIn("ignored", result)
            return result["usage"]["prompt_tokens"] if "usage" in result else result["tokens"]

        with tempfile.TemporaryDirectory() as root:
            folder = HostileFolders.folder(self, root, {"chat_template.jinja": template.encode()})
            lines, number = [], 0
            for method, ask in (("generate_text", {"prompt": "ab", "max_tokens": 1}), ("count_tokens", {"messages": [{"role": "user", "content": "ab"}]})):
                for more in ({}, {"tools": tools}, {"enable_thinking": True}, {"tools": tools, "enable_thinking": False}):
                    number += 1
                    lines.append(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": {**ask, **more}}))
            done = kvasir("rpc", "--model", folder, "--private", stdin="\n".join(lines).encode() + b"\n")
            replies = {r["id"]: r for r in map(json.loads, done.stdout.splitlines()) if "id" in r}
            generated, counted = [tokens(replies, i) for i in (1, 2, 3, 4)], [tokens(replies, i) for i in (5, 6, 7, 8)]
            self.assertEqual(generated, counted)
            self.assertEqual(len(set(generated)), 4, generated)


if __name__ == "__main__":
    unittest.main()
