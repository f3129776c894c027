"""The judgement of `./x bench cpu`: ratios, better builds, verdicts. Runs no program."""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import goals  # noqa: E402
import programs  # noqa: E402


def row(ours, peers=None, share=()):
    return goals.Row("work", "model", "tok/s", ours, peers or {}, list(share))


class Figures(unittest.TestCase):
    def test_a_ratio_compares_only_what_is_of_the_same_round(self):
        # The machine halves its speed in the second round: the ratio does not see it, the medians' ratio would.
        self.assertEqual(goals.ratio([100, 50, 100], [50, 25, 50]), 2)
        self.assertEqual(goals.ratio([100, 50, 90], [50, 50, None]), 1.5)

    def test_rounds_that_failed_are_left_out_and_nothing_measured_is_no_ratio(self):
        self.assertEqual(goals.median([None, 3, None]), 3)
        self.assertIsNone(goals.ratio([None, 4], [2, None]))
        self.assertIsNone(goals.ratio([1], [0]))

    def test_the_better_build_is_the_one_with_the_highest_median_not_the_highest_figure(self):
        self.assertEqual(goals.better({"a": [10, 10, 99], "b": [11, 11, 11], "c": [None, None, None]}), "b")
        self.assertIsNone(goals.better({"c": [None]}))

    def test_a_build_goes_on_if_it_is_near_the_best_in_any_figure(self):
        first = {"gcc": {"prefill": 100, "decode": 50}, "clang": {"prefill": 60, "decode": 49}, "rtr": {"prefill": 50, "decode": 30}, "broken": {}}
        self.assertEqual(goals.worth_running(first), {"gcc", "clang"})
        self.assertEqual(goals.worth_running({"broken": {}}), set())


class Verdicts(unittest.TestCase):
    def test_one_missed_check_is_a_missed_goal(self):
        line = row([100], {"ik (a)": [60]}, [0.95])
        goals.judge_decode(line, "Q4_0")
        self.assertEqual(line.verdict, "reached")
        line = row([100], {"ik (a)": [60]}, [0.85])
        goals.judge_decode(line, "Q8_0")  # 90 % are asked of it, 80 % of 4 to 6 bits
        self.assertEqual(line.verdict, "missed")

    def test_without_its_peer_a_row_is_not_judged_as_reached(self):
        line = row([100])
        goals.judge_prefill(line, "Q4_K_M")
        self.assertEqual(line.verdict, "not judged")
        self.assertEqual(row([100]).verdict, "not judged")

    def test_prefill_is_held_against_the_better_peer(self):
        line = row([150, 150], {"llama.cpp (gcc)": [50, 50], "ik (gcc)": [90, 90], "ik (clang)": [101, 101]})
        goals.judge_prefill(line, "Q4_0")
        self.assertEqual(line.verdict, "missed")
        self.assertAlmostEqual(line.checks[0].value, 150 / 101)

    def test_float_weights_have_goals_of_their_own(self):
        peers = {"llama.cpp (gcc)": [50], "ik (gcc)": [60], "ik (gcc) -rtr": [95]}
        line = row([94], peers, [0.8])
        goals.judge_prefill(line, "F16")  # ik's bf16 is no goal for exact F16
        self.assertEqual(line.verdict, "reached")
        line = row([94], peers, [0.8])
        goals.judge_prefill(line, "BF16")
        self.assertEqual([check.reached for check in line.checks], [True, False])

    def test_the_default_model_decodes_by_ratio_or_by_bandwidth_whichever_is_less(self):
        for ours, share, verdict in ((160, 0.5, "reached"), (120, 0.9, "reached"), (120, 0.5, "missed")):
            line = row([ours], {"ik (gcc)": [100]}, [share])
            goals.judge_decode(line, "Q4_1", default_model=True)
            self.assertEqual(line.verdict, verdict)

    def test_depth_needs_both_peers_and_q8_0_its_own_f16(self):
        peers = {"llama.cpp (gcc)": [20], "ik (gcc)": [30]}
        f16, q8 = row([45], peers), row([44], peers)
        goals.judge_deep(f16)
        goals.judge_deep(q8, f16)
        self.assertEqual((f16.verdict, q8.verdict), ("reached", "missed"))

    def test_a_goal_below_is_reached_from_below(self):
        line = row([49, 51, 40])
        goals.judge_below(line, "ms", 50)
        self.assertEqual(line.verdict, "reached")
        line = row([0.9])
        goals.judge_start(line, 0.2)
        self.assertEqual(line.verdict, "missed")

    def test_the_table_says_figure_share_goal_and_verdict(self):
        line = row([288, 300], {"ik (gcc)": [180, 180]}, [0.61, 0.63])
        goals.judge_prefill(line, "Q4_0")
        text = goals.markdown([line], ["a fact"], ["a note"])
        self.assertIn("| work | model | 294 (300) tok/s | 62 % | ik (gcc) 180 | x better peer 1.63 [≥ 1.50] | reached |", text)
        self.assertIn("1 reached, 0 missed, 0 not judged.", text)


class Peers(unittest.TestCase):
    TABLE = ("|    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |      T s |    S t/s |\n"
             "|-------|--------|------|--------|----------|----------|----------|----------|----------|----------|\n"
             "|    64 |     48 |    8 |    896 |    4.000 |   128.00 |    6.000 |    64.00 |   10.000 |    89.60 |\n")

    def test_the_total_of_a_batched_run_is_its_last_column(self):
        self.assertEqual(programs.batched_figures(self.TABLE), {"decode": 64.0, "total": 89.6})
        with self.assertRaises(programs.Failed):
            programs.batched_figures("no table")

    def test_builds_are_found_in_any_folder_and_told_apart_by_their_options(self):
        with tempfile.TemporaryDirectory() as folder:
            for build, options in (("llama/build/bin", "-fa"), ("x/build-clang-avx2/bin", "-rtr, --run-time-repack")):
                os.makedirs(os.path.join(folder, build))
                path = os.path.join(folder, build, "llama-bench")
                with open(path, "w") as file:
                    file.write(f"#!/bin/sh\necho ' {options}'\n")
                os.chmod(path, 0o755)
            found = programs.find_peers(programs.Runner(False, 10), folder)
        self.assertEqual([(peer.label, peer.avx2) for peer in found],
                         [("llama.cpp (llama/build)", False), ("ik (x/build-clang-avx2)", True), ("ik (x/build-clang-avx2) -rtr", True)])


if __name__ == "__main__":
    unittest.main()
