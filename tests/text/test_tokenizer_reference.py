"""Random texts must give the ids of the `tokenizers` library, with every tokenizer.json at hand and with small ones of
our own that use each step a file may name. `./x test --reference`; KVASIR_TEST_SEED and KVASIR_TEST_TEXTS change the lot."""
import glob
import gzip
import json
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
import own_tokenizers
import random_texts
import reference

SEED = int(os.environ.get("KVASIR_TEST_SEED", "20260729"))
TEXTS = int(os.environ.get("KVASIR_TEST_TEXTS", "100000"))
SHOWN = 5


def readable(path):
    with (gzip.open(path) if path.endswith(".gz") else open(path, "rb")) as f:
        return f.read().decode()


class Compare(unittest.TestCase):
    def compare(self, path, texts_wanted, seed=SEED):
        source = readable(path)
        theirs = reference.library("tokenizers").Tokenizer.from_str(source)
        tokens = [t["content"] for t in json.loads(source)["added_tokens"]]
        # Thousands of fillers would hide the few that matter.
        texts = random_texts.Texts(seed, tokens[:40] + tokens[-10:]).take(texts_wanted)
        ours = reference.answers([t.encode().hex() for t in texts], "ids", path)
        differing = []
        for begin in range(0, len(texts), 10_000):
            part = texts[begin: begin + 10_000]
            for text, encoding, got in zip(part, theirs.encode_batch(part, add_special_tokens=False), ours[begin:]):
                want = " ".join(map(str, encoding.ids))
                if want != got:
                    differing.append((len(text), f"{json.dumps(text)}\n  tokenizers {want}\n  ours       {got}"))
        shortest = [text for _, text in sorted(differing)[:SHOWN]]
        self.assertFalse(differing, f"{len(differing)} of {len(texts)} texts differ:\n" + "\n".join(shortest))


def shared(relative):
    path = reference.shared_data(relative)
    if path is None:
        raise unittest.SkipTest(f"{relative} is not at hand")
    return path


class FilesAtHand(Compare):
    def test_gemma3(self):
        self.compare(shared("tokenizers/gemma3/tokenizer.json.gz"), TEXTS)

    def test_llama3_2(self):
        self.compare(shared("tokenizers/llama3_2/tokenizer.json.gz"), TEXTS)

    def test_qwen3(self):
        self.compare(shared("tokenizers/qwen3/tokenizer.json.gz"), TEXTS)

    def test_tinystories(self):
        self.compare(shared("tinystories-656k/tokenizer.json"), TEXTS)

    def test_tiny_models(self):
        files = sorted(glob.glob(os.path.join(shared("tiny-models"), "*/tokenizer.json")))
        different = {readable(path): path for path in files}
        self.assertTrue(different)
        for path in different.values():
            with self.subTest(path):
                self.compare(path, TEXTS)


class FilesOfOurOwn(Compare):
    def test_every_step_that_a_file_may_name(self):
        tokenizers = reference.library("tokenizers")
        kinds = own_tokenizers.all_kinds(tokenizers)
        with tempfile.TemporaryDirectory() as folder:
            for number, (name, source) in enumerate(kinds):
                with self.subTest(name):
                    path = os.path.join(folder, "tokenizer.json")
                    with open(path, "w") as f:
                        f.write(source)
                    self.compare(path, max(TEXTS // 20, 1), SEED + number)


if __name__ == "__main__":
    os.environ.setdefault("KVASIR_TEST_REFERENCE", "1")
    unittest.main()
