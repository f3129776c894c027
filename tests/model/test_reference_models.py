"""Models of shapes that ../shared/data/tiny-models does not have, made by ../shared/tools/make_reference_models.py and
judged against transformers. `./x test --reference`; without torch and transformers, or without the tool, skipped."""
import contextlib
import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
import reference

TOOL = os.path.join(reference.ROOT, "../shared/tools/make_reference_models.py")
BUILD = os.environ.get("KVASIR_BUILD") or os.path.join(reference.ROOT, "build/release")

# family: changes of its configuration in the tool's table, by the name of the new model.
SHAPES = {
    "llama_head_12_rows_51": ("llama", dict(hidden_size=51, head_dim=12, num_attention_heads=3, num_key_value_heads=3, intermediate_size=70)),
    "llama_one_key_head_of_20": ("llama", dict(hidden_size=60, head_dim=20, num_attention_heads=5, num_key_value_heads=1, intermediate_size=33)),
    "llama_tied": ("llama", dict(hidden_size=72, head_dim=40, num_attention_heads=2, num_key_value_heads=1, intermediate_size=97,
                                 tie_word_embeddings=True)),
    "mistral_short_window": ("mistral", dict(sliding_window=5, head_dim=10, hidden_size=36, num_attention_heads=3, num_key_value_heads=1)),
    "mistral_long_window": ("mistral", dict(sliding_window=200, tie_word_embeddings=True)),
    "qwen2_untied_head_30": ("qwen2", dict(hidden_size=90, num_attention_heads=3, num_key_value_heads=1, intermediate_size=41,
                                           tie_word_embeddings=False)),
    "qwen3_head_96_of_40": ("qwen3", dict(hidden_size=40, head_dim=96, num_attention_heads=7, num_key_value_heads=1, intermediate_size=65)),
    "qwen3_moe_odd": ("qwen3_moe", dict(hidden_size=40, head_dim=20, num_attention_heads=2, num_key_value_heads=1, moe_intermediate_size=24,
                                        num_experts=5, num_experts_per_tok=2)),
    "gemma2_other_windows": ("gemma2", dict(sliding_window=7, head_dim=20, hidden_size=52, intermediate_size=35)),
    "gemma3_one_head": ("gemma3", dict(sliding_window=90, head_dim=18, query_pre_attn_scalar=18, num_attention_heads=1)),
    "gpt2_odd": ("gpt2", dict(n_embd=42, n_head=3)),
    "gpt_neox_head_24_of_72": ("gpt_neox", dict(hidden_size=72, intermediate_size=77)),
    "phi2_odd": ("phi2", dict(hidden_size=60, intermediate_size=101)),
    "stablelm_groups": ("stablelm", dict(hidden_size=96, num_attention_heads=4, num_key_value_heads=1, intermediate_size=45)),
    "cohere_odd": ("cohere", dict(hidden_size=60, num_attention_heads=6, num_key_value_heads=2, intermediate_size=31)),
    "granite_odd": ("granite", dict(hidden_size=42, num_attention_heads=3, num_key_value_heads=1, intermediate_size=29)),
}


def install():
    """torch and transformers into build/reference, once; what cannot be had is skipped by name later."""
    pip = os.path.join(reference.ROOT, "build/reference/bin/pip")
    wanted = os.path.join(reference.ROOT, "tests/support/requirements-models.txt")
    stamp = os.path.join(reference.ROOT, "build/reference/.models")
    if not os.environ.get("KVASIR_TEST_REFERENCE") or not os.path.exists(pip) or os.path.exists(stamp):
        return
    done = subprocess.run([pip, "install", "-q", "--only-binary", ":all:", "-r", wanted], capture_output=True, text=True)
    if done.returncode == 0:
        open(stamp, "w").close()


def load_tool():
    if not os.path.exists(TOOL):
        raise unittest.SkipTest("../shared/tools/make_reference_models.py is not here")
    spec = importlib.util.spec_from_file_location("make_reference_models", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


class OtherShapes(unittest.TestCase):
    def test_every_shape_gives_the_logits_of_transformers(self):
        install()
        for name in ("torch", "transformers", "safetensors"):
            reference.library(name)
        tool = load_tool()
        table = {family["name"]: family for family in tool.FAMILIES}
        families = [{**{k: v for k, v in table[family].items() if k not in ("variants", "gguf_means", "shards")}, "name": name,
                     "config": {**table[family]["config"], **changes}} for name, (family, changes) in SHAPES.items()]
        with tempfile.TemporaryDirectory() as folder:
            said = io.StringIO()
            with mock.patch.object(sys, "argv", ["make_reference_models", "--out", folder, "--only", ",".join(SHAPES)]), \
                    contextlib.redirect_stdout(said):
                failed = tool.main(families)
            self.assertEqual(failed, 0, said.getvalue())
            done = subprocess.run([os.path.join(BUILD, "bin/model_families_test"), "[generated]"], capture_output=True, text=True,
                                  env={**os.environ, "KVASIR_GENERATED_MODELS": folder})
            self.assertEqual(done.returncode, 0, done.stdout[-6000:])


if __name__ == "__main__":
    os.environ.setdefault("KVASIR_TEST_REFERENCE", "1")
    unittest.main()
