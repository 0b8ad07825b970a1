"""Failure signatures are found where they were planted, and nowhere else."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.made_results import sample, write_result

from prlm_bench.host import PluginHost
from prlm_bench.report.findings import Finding, find, to_lines
from prlm_bench.report.findings._rewards import _correlation, _sums
from prlm_bench.results import find_results

USERS, EACH = 20, 4


def rows(right: Any, wrong: str = "other", users: int = USERS) -> list[dict[str, Any]]:
    """20 users with 4 questions each; `right(user, question)` says which answers are the gold."""
    made = []
    for u, q in product(range(users), range(EACH)):
        gold = f"gold {u} {q}"
        made.append(sample(f"q{u}-{q}", f"u{u}", gold if right(u, q) else wrong.format(u=u, q=q), gold))
    return made


def write(root: Path, samples: list[dict[str, Any]], retriever: str, **changes: Any) -> None:
    control = retriever in ("random", "other-user", "none")
    changes = {"generator": "tiny", "control": control, **changes}
    write_result(root, samples, retriever=retriever, dist="prlm-bench", **changes)


def found(root: Path, host: PluginHost, check: str) -> list[Finding]:
    return [finding for finding in find(find_results(root)[0], host.registry) if finding.check == check]


def test_retrieval_that_beats_random_items_passes_and_one_that_does_not_is_found(
    tmp_path: Path, host: PluginHost
) -> None:
    write(tmp_path, rows(lambda u, q: q < 3), "bm25")
    write(tmp_path, rows(lambda u, q: (u + q) % 2 == 0), "recency")
    write(tmp_path, rows(lambda u, q: (u + q) % 2 == 1), "random")
    by_name = {finding.method.partition(" ")[0]: finding for finding in found(tmp_path, host, "retrieval")}
    assert {name: finding.status for name, finding in by_name.items()} == {"bm25": "passed", "recency": "found"}
    figure = by_name["bm25"].figure
    assert figure is not None and figure.value == pytest.approx(0.5 * 0.25 + 0.5 * 0.25)
    assert (figure.low, figure.why) == (None, "all users alike")
    assert "in rouge1@lamp" in by_name["recency"].what
    assert by_name["recency"].text == "+0.0000 (all users alike)"


def test_so_few_users_show_neither(tmp_path: Path, host: PluginHost) -> None:
    """Of a gain of .05 with five users nothing can be said, and not that there is none."""
    rng = np.random.default_rng(0)
    for retriever, share in (("bm25", 0.55), ("random", 0.5)):
        write(tmp_path / "few", rows(lambda u, q, s=share: rng.random() < s, users=5), retriever)
        write(tmp_path / "some", rows(lambda u, q, s=share: rng.random() < s, users=30), retriever)
    (few,), (some,) = (found(tmp_path / name, host, "retrieval") for name in ("few", "some"))
    assert (few.status, few.needed) == ("open", None)
    assert few.text.endswith("(5 users)")
    assert some.status == "open" and some.needed is not None and some.needed > 300
    assert some.text.endswith(f"about {some.needed} users would show a gain of 0.02")
    assert to_lines([few])[:2] == [
        "Findings: 0 of 1 checks, 1 open",
        f"not enough users: {few.heading}",
    ]


def test_equal_methods_are_shown_to_be_equal_with_enough_users(tmp_path: Path, host: PluginHost) -> None:
    rng = np.random.default_rng(1)
    base = [bool(rng.random() < 0.5) for _ in range(400 * EACH)]
    for retriever in ("bm25", "random"):
        flipped = [each != (rng.random() < 0.02) for each in base]
        write(tmp_path, rows(lambda u, q, f=flipped: f[u * EACH + q], users=400), retriever)
    (finding,) = found(tmp_path, host, "retrieval")
    assert finding.status == "found"
    assert finding.figure is not None and finding.figure.high is not None and finding.figure.high < 0.02


def test_for_errors_a_smaller_value_is_a_gain(tmp_path: Path, host: PluginHost) -> None:
    def rated(off: int) -> list[dict[str, Any]]:
        return [sample(f"q{u}", f"u{u}", str(3 + (off if u else 0)), "3") for u in range(USERS)]

    for retriever, off in (("bm25", 1), ("random", 2)):
        write(tmp_path, rated(off), retriever, task="lamp_3", metrics=("mae@lamp",))
    (finding,) = found(tmp_path, host, "retrieval")
    assert finding.status == "passed"
    assert finding.figure is not None and finding.figure.value == pytest.approx(19 / 20)
    (finding,) = found(tmp_path, host, "controls")
    assert (finding.status, finding.text[:13]) == ("passed", "0.9500, gain ")


@pytest.mark.parametrize("lacks", [{"k": 2}, {"generator": "vote"}])
def test_only_a_row_that_differs_in_nothing_but_the_retriever_is_beside(
    tmp_path: Path, host: PluginHost, lacks: dict[str, Any]
) -> None:
    write(tmp_path, rows(lambda u, q: True), "bm25")
    write(tmp_path, rows(lambda u, q: False), "random", **lacks)
    (finding,) = found(tmp_path, host, "retrieval")
    assert finding.status == "unchecked"
    assert "no other row has random own items" in finding.text


def test_seeds_of_a_method_are_taken_together(tmp_path: Path, host: PluginHost) -> None:
    for seed in range(2):
        write(tmp_path, rows(lambda u, q, seed=seed: q < 2 + seed), "bm25", seed=seed)
        write(tmp_path, rows(lambda u, q, seed=seed: q < seed), "random", seed=seed)
        write(tmp_path, rows(lambda u, q, seed=seed: q < 3), "other-user", seed=seed)
    (retrieval,) = found(tmp_path, host, "retrieval")
    assert len(retrieval.fingerprints) == 2
    assert retrieval.method == "bm25 × k=4 × direct × tiny, seeds 0, 1"
    assert retrieval.figure is not None and retrieval.figure.value == pytest.approx(0.5)
    swapped, _ = found(tmp_path, host, "answers")
    assert swapped.figure is not None and swapped.figure.value == pytest.approx((0.75 + 1) / 2)
    (control,) = found(tmp_path, host, "controls")
    assert control.text.startswith("0.6250, gain -0.1250")
    assert all(" on these 2 trainings" in each.text for each in (retrieval, swapped, control) if "[" in each.text)
    assert "on these 2 trainings" in control.text


def test_trainings_count_beside_a_row_of_one_seed(tmp_path: Path, host: PluginHost) -> None:
    """Three trainings that differ more than the users do show no gain over the one run of the control."""
    rng = np.random.default_rng(4)
    for seed, share in enumerate((0.2, 0.55, 0.9)):
        write(tmp_path, rows(lambda u, q, s=share: rng.random() < s, users=60), "bm25", seed=seed)
    write(tmp_path, rows(lambda u, q: rng.random() < 0.4, users=60), "random", seed=0)
    (finding,) = found(tmp_path, host, "retrieval")
    assert finding.status == "open" and finding.text.partition(";")[0].endswith("] on these 3 trainings")
    assert finding.figure is not None and finding.figure.low is not None
    assert finding.figure.high is not None and finding.figure.high - finding.figure.low > 0.5


def test_answers_that_stay_the_same_with_another_users_items_are_found(tmp_path: Path, host: PluginHost) -> None:
    write(tmp_path, rows(lambda u, q: True, users=60), "bm25")
    write(tmp_path, rows(lambda u, q: (u, q) != (0, 0), users=60), "other-user")
    write(tmp_path, rows(lambda u, q: q < 2, users=60), "random")
    swapped, single = found(tmp_path, host, "answers")
    assert (swapped.status, single.status) == ("found", "passed")
    assert swapped.figure is not None and swapped.figure.value == pytest.approx(239 / 240)
    assert swapped.figure.low is not None and 0.9 < swapped.figure.low < 0.98
    assert "; with random own items 50.0 %" in swapped.text
    assert single.figure is not None and single.figure.value == pytest.approx(1 / 240)


def test_answers_that_follow_the_items_are_not_found(tmp_path: Path, host: PluginHost) -> None:
    write(tmp_path, rows(lambda u, q: True), "bm25")
    write(tmp_path, rows(lambda u, q: False, wrong="strange {u} {q}"), "other-user")
    assert [finding.status for finding in found(tmp_path, host, "answers")] == ["passed", "passed"]


def test_one_answer_for_all_is_found_unless_the_golds_are_so_too(tmp_path: Path, host: PluginHost) -> None:
    same = [sample(f"q{u}", f"u{u}", "Yes ", "yes") for u in range(100)]
    write(tmp_path / "golds", same, "none", k=0, control=False)
    (finding,) = found(tmp_path / "golds", host, "answers")
    assert finding.status == "passed"
    mixed = [{**record, "gold": "yes" if u % 2 else "no"} for u, record in enumerate(same)]
    write(tmp_path / "mixed", mixed, "none", k=0, control=False)
    (finding,) = found(tmp_path / "mixed", host, "answers")
    assert finding.status == "found"
    assert finding.text.startswith("100.0 % [9") and finding.text.endswith(", 100.0], 'yes'")
    assert "of the most common gold 50.0 %" in finding.what


def rewarded(samples: list[dict[str, Any]], reward: Any) -> list[dict[str, Any]]:
    return [{**record, "rewards": {"r": reward(at, record)}} for at, record in enumerate(samples)]


def test_a_reward_that_scores_all_alike_is_found(tmp_path: Path, host: PluginHost) -> None:
    write(tmp_path, rewarded(rows(lambda u, q: q > 1), lambda at, record: 1.0), "bm25")
    (finding,) = found(tmp_path, host, "rewards")
    assert (finding.status, finding.method) == ("found", "reward r")
    assert finding.text.startswith("100.0 % [") and finding.text.endswith(" of 80 answers score 1")


def test_a_reward_must_follow_the_metric(tmp_path: Path, host: PluginHost) -> None:
    rng = np.random.default_rng(1)
    right = rows(lambda u, q: q > 1)

    def good(at: int, record: dict[str, Any]) -> float:
        return float(record["answer"] == record["gold"]) + float(rng.normal())

    write(tmp_path / "good", rewarded(right, good), "bm25")
    write(tmp_path / "noise", rewarded(right, lambda at, record: float(rng.normal())), "bm25")
    write(tmp_path / "length", rewarded(right, lambda at, record: -good(at, record)), "bm25")
    statuses = {name: found(tmp_path / name, host, "rewards")[0].status for name in ("good", "noise", "length")}
    assert statuses == {"good": "passed", "noise": "found", "length": "found"}


def test_what_is_hard_for_all_rows_counts_for_nothing(tmp_path: Path, host: PluginHost) -> None:
    """The reward knows which questions are easy, and prefers the worse of two answers to a question."""
    for retriever, right in (("bm25", lambda u, q: q > 0), ("recency", lambda u, q: q > 1)):
        rewards = rewarded(rows(right), lambda at, r, name=retriever: float(10 * (at % EACH)) - (name == "bm25"))
        write(tmp_path, rewards, retriever)
    (finding,) = found(tmp_path, host, "rewards")
    assert finding.status == "found"
    assert finding.figure is not None and finding.figure.value is not None and finding.figure.value < -0.1
    assert "within questions (over 2 results)" in finding.text


def test_correlations_from_sums_are_those_of_numpy() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(1, 50)), rng.normal(size=(1, 50))
    assert float(_correlation(_sums(x, y).sum(axis=0))) == pytest.approx(np.corrcoef(x[0], y[0])[0, 1])
    many, other = rng.normal(size=(3, 50)), rng.normal(size=(3, 50))
    expected = np.corrcoef((many - many.mean(axis=0)).ravel(), (other - other.mean(axis=0)).ravel())[0, 1]
    assert float(_correlation(_sums(many, other).sum(axis=0))) == pytest.approx(expected)
    assert np.isnan(_correlation(_sums(np.full((1, 50), 0.1), y).sum(axis=0)))


def test_a_method_below_a_control_is_found(tmp_path: Path, host: PluginHost) -> None:
    write(tmp_path, rows(lambda u, q: q == 0), "bm25")
    write(tmp_path, rows(lambda u, q: q < 3), "oracle")
    write(tmp_path, rows(lambda u, q: q < 2), "none", generator="echo", k=0)
    below, above = sorted(found(tmp_path, host, "controls"), key=lambda finding: finding.method)
    assert (below.status, above.status) == ("found", "passed")
    assert below.figure is not None and below.figure.value == pytest.approx(-0.25)
    assert "none × k=0 × direct × echo" in below.what


def test_a_control_that_is_told_the_relevant_items_is_no_bar(tmp_path: Path, host: PluginHost) -> None:
    write(tmp_path, rows(lambda u, q: q == 0), "bm25")
    write(tmp_path, rows(lambda u, q: True), "oracle", generator="copy", control=True)
    (finding,) = found(tmp_path, host, "controls")
    assert (finding.status, finding.text) == ("unchecked", "no control row answered the same questions")


def test_withheld_golds_are_said_to_be_the_reason(tmp_path: Path, host: PluginHost) -> None:
    for retriever in ("bm25", "random", "other-user"):
        write(tmp_path, [sample(f"q{u}", f"u{u}", retriever, None) for u in range(100)], retriever)
    by_check = {finding.check: finding for finding in find(find_results(tmp_path)[0], host.registry)}
    assert by_check["retrieval"].text == "the golds are withheld, so answers have no score"
    assert by_check["controls"].status == "unchecked"
    assert by_check["answers"].status == "found"  # one answer for all needs no golds
    assert any(line.startswith("not checked: ") for line in to_lines(list(by_check.values())))


RUN = ("--task", "mini_lamp_2", "--synth-users", "12", "--results", "r")


def test_a_run_ends_in_findings_which_can_be_asked_for_again(here: Any) -> None:
    words = ("run", *RUN, "--retriever", "bm25", "--generator", "vote", "--reward", "format")
    done = here(*words)
    assert done.status == 0
    findings = done.stdout[done.stdout.index("Findings: ") :].rstrip().splitlines()
    assert any(line.startswith("  reward format") for line in findings)
    assert here("results", "findings", "--results", "r").stdout.rstrip().splitlines() == findings
    as_json = json.loads(here(*words, "--json").stdout)
    assert set(as_json) == {"tables", "findings"}
    assert json.loads(here("results", "findings", "--results", "r", "--json").stdout) == as_json["findings"]
    checks = {"retrieval", "answers", "rewards", "controls", "completions"}
    assert {finding["check"] for finding in as_json["findings"]} == checks
    listed = here("results", "findings", "--results", "r", "--passed").stdout
    assert "not enough users: mini_lamp_2 dev, retrieval no better than random own items" in listed
    assert "not found: mini_lamp_2 dev, answers could not be read from the completions" in listed


def test_without_controls_it_says_what_could_not_be_checked(here: Any) -> None:
    done = here("run", *RUN, "--retriever", "bm25", "--generator", "vote", "--no-controls")
    assert "3 not possible" in done.stdout
    assert "not checked: mini_lamp_2 dev, retrieval compared with random own items" in done.stdout


def test_nothing_to_check_is_said(here: Any, tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    assert here("results", "findings", "--results", "r").stdout == "Nothing to check: no finished results.\n"


def test_unreadable_and_cut_answers_are_shown_with_what_to_try(here: Any, tmp_path: Path) -> None:
    plugin = tmp_path / "rambling.py"
    plugin.write_text(
        "from prlm_bench import Completion, hookimpl\n\n"
        "class Rambling:\n"
        "    tokenizer = None\n"
        "    def generate(self, prompts):\n"
        "        for place, _ in enumerate(prompts):\n"
        "            yield place, Completion('Well,\\n\\x1b[31m ' + 'so ' * 40, finish='length')\n\n"
        "@hookimpl\n"
        "def prlm_bench_register_generators(register):\n"
        "    register('rambling', Rambling)\n"
    )
    words = ("run", "--plugin", plugin, *RUN, "--retriever", "none", "--generator", "rambling", "--no-controls")
    shown = " ".join(here(*words, "--reasoner", "direct:protocol=chat").stdout.split())
    quoted = "first: 'Well, \\x1b[31m so so so"
    assert f"{quoted}" in shown and "\x1b[31m" not in shown
    tips = "direct:protocol=plain, constrain=object of a local model, another value of chat="
    assert f"…'; try a larger max_new_tokens, {tips}; `prlm-bench prompts --generator` shows" in shown
    assert "…'; try a larger max_new_tokens, or texts that end an answer" in shown
    plain = " ".join(here(*words, "--reasoner", "direct:protocol=plain").stdout.split())
    assert "…'; try a larger max_new_tokens, another value of chat=; `prlm-bench" in plain
