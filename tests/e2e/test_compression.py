"""compress_session through the protocol: every strategy, its report, its refusals, the way back, and overflow."""
import tempfile
import unittest

from kvasir_e2e import *
from test_sessions import Session

REPORT = {"strategy": str, "tokens_before": int, "tokens_after": int, "ratio": float, "bytes_before": int, "bytes_after": int,
          "ms": float, "dnll": float, "kl_mean": float, "kl_p95": float, "top1_agree": float, "scored_tokens": int, "probes": dict,
          "verdict": str, "applied": bool}
SEA = "The sea is wide and deep, and many animals live in it. "


@needs_model
class Compression(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="kvasir-compress-")
        self.addCleanup(folder.cleanup)
        self.client = Session(folder.name, context=1024)
        self.addCleanup(self.client.__exit__)
        self.session = self.client.ask("create_session", system="Be brief.")["session_id"]

    def say(self, text, **more):
        return self.client.say(self.session, text, **{"max_tokens": 4, **more})

    def compress(self, **how):
        before = self.client.ask("get_session", session_id=self.session)
        report = self.client.ask("compress_session", session_id=self.session, **how)
        for name, kind in REPORT.items():
            self.assertIsInstance(report[name], (int, float) if kind is float else kind, name)
        self.assertEqual(report["tokens_before"], before["tokens"])
        self.assertAlmostEqual(report["ratio"], 1 - report["tokens_after"] / report["tokens_before"], places=6)
        self.assertGreaterEqual(report["kl_p95"], report["kl_mean"] * 0.5)
        self.assertTrue(0 <= report["top1_agree"] <= 1)
        self.assertEqual(set(report["probes"]), {"asked", "passed", "tried"})
        self.assertEqual(report["applied"], "head" in report)
        self.assertEqual(report["applied"], "checkpoint_before" in report)
        after = self.client.ask("get_session", session_id=self.session)
        if not report["applied"]:
            self.assertEqual(after, before)
            return report
        self.assertEqual(after["tokens"], report["tokens_after"])
        self.assertEqual(after["head"], report["head"])
        said = self.say("And now?")
        self.assertFalse("history_rewritten" in said)
        restored = self.client.ask("restore_session", session_id=self.session, checkpoint_id=report["checkpoint_before"])
        self.assertEqual(restored["head"], before["head"])
        self.assertEqual(self.client.ask("get_session", session_id=self.session)["tokens"], before["tokens"])
        return report

    def long_talk(self):
        for text in ("The code of the locker is 48213.", SEA * 22, "Thank you."):
            self.say(text)

    def test_sliding_window(self):
        self.long_talk()
        report = self.compress(strategy="sliding_window", target_ratio=0.5, max_quality_loss=50)
        self.assertTrue(report["applied"])
        self.assertTrue(0.3 < report["ratio"] < 0.7)
        self.assertLess(report["bytes_after"], report["bytes_before"] * 0.7)

    def test_attention_with_focus(self):
        self.long_talk()
        report = self.compress(strategy="attention_based", focus="What is the code of the locker?", target_tokens=160, max_quality_loss=50)
        self.assertTrue(report["applied"])
        self.assertTrue(100 < report["tokens_after"] < 220)

    def test_attention_without_focus_is_compared_with_the_newest_tokens(self):
        self.long_talk()
        report = self.compress(strategy="attention_based")
        self.assertIsInstance(report["dnll_recency"], float)
        if report["dnll"] > report["dnll_recency"]:
            self.assertFalse(report["applied"])   # by default it has to beat the newest tokens alone
            self.assertIn("focus", report["verdict"])

    def test_kv_quantize_removes_nothing_and_costs_next_to_nothing(self):
        self.long_talk()
        report = self.compress(strategy="kv_quantize")
        self.assertTrue(report["applied"], report)
        self.assertEqual(report["ratio"], 0)
        self.assertLess(report["bytes_after"], report["bytes_before"] * 0.8)
        self.assertLess(report["dnll"], 0.05)

    def test_hierarchical_summarises_old_turns_and_keeps_the_originals(self):
        for number in range(6):
            self.say(f"The port of host{number} is {8100 + number}. " + SEA * 5, max_tokens=12)
        report = self.compress(strategy="hierarchical", target_ratio=0.5, max_quality_loss=50)
        self.assertTrue(report["applied"], report)
        self.assertLess(report["tokens_after"], report["tokens_before"] * 0.8)
        self.assertIn("8100", report["summary"])   # the model's words or the index of exact things
        self.client.ask("compress_session", session_id=self.session, strategy="hierarchical", max_quality_loss=50)
        shown = self.client.ask("get_session", session_id=self.session, search="host1 8101", transcript=True)
        self.assertIn("The port of host1 is 8101.", str(shown["found"]))
        self.assertIn("The port of host0 is 8100.", shown["transcript"][1]["content"])   # word for word, as it was said

    def test_what_costs_too_much_is_refused_and_changes_nothing(self):
        self.long_talk()
        self.say("The code of the locker is 48213, again: 48213.")
        for how in ({"strategy": "sliding_window", "target_ratio": 0.7}, {"strategy": "attention_based", "focus": "Why?"}):
            report = self.compress(max_quality_loss=0, **how)
            if report["dnll"] > 0:
                self.assertFalse(report["applied"])
                self.assertIn("refused", report["verdict"])
        report = self.compress(strategy="kv_quantize", dry_run=True)
        self.assertFalse(report["applied"])

    def test_what_makes_no_sense_is_refused_with_the_reason(self):
        text, _ = self.client.refused("compress_session", session_id=self.session)
        self.assertIn("cannot compress", text + "cannot compress" * ("nothing" in text))
        self.long_talk()
        for how, word in (({"strategy": "sliding_window", "focus": "x"}, "focus"), ({"strategy": "magic"}, "strategy"),
                          ({"strategy": "kv_quantize", "target_ratio": 0.5}, "kv_quantize"),
                          ({"target_ratio": 0.5, "target_tokens": 99}, "target"), ({"target_tokens": 10_000}, "would stay")):
            text, code = self.client.refused("compress_session", session_id=self.session, **how)
            self.assertEqual(code, "invalid_argument")
            self.assertIn(word, text)

    def test_again_and_again(self):
        """A compressed session goes on, grows and is compressed again, in every order."""
        self.long_talk()
        for how in ({"strategy": "attention_based", "focus": "What is the code?"}, {"strategy": "kv_quantize"},
                    {"strategy": "sliding_window"}, {"strategy": "attention_based", "focus": "Why?"}):
            report = self.client.ask("compress_session", session_id=self.session, max_quality_loss=50, **how)
            self.assertTrue(report["applied"], report)
            fork = self.client.ask("fork_session", session_id=self.session)["session_id"]
            self.assertEqual(self.say(SEA * 12)["tokens"], self.client.say(fork, SEA * 12, max_tokens=4)["tokens"])


if __name__ == "__main__":
    unittest.main()
