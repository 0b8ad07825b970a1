"""A reward that fails costs its own column, by name; values that are no numbers are counted."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from support.one_row import (
    MINE,
    Command,
    Model,
    a_model,
    config,
    files,
)

from prlm_bench import Sample
from prlm_bench.host import PluginHost
from prlm_bench.host._registry import make_component
from prlm_bench.results import find_results, verify
from prlm_bench.running import (
    execute,
    prepare_tasks,
)

__all__ = ["a_model"]


class Judge:
    """A reward that behaves as `mode` says."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.calls: list[int] = []

    def fingerprint(self) -> str:
        return ""

    def score(self, samples: Sequence[Sample]) -> Any:
        self.calls.append(len(samples))
        values: list[Any] = [float(len(sample.answer.text)) for sample in samples]
        shown = [sample.prompt.shown for sample in samples]
        match self.mode:
            case "raises":
                raise ValueError("no\njudge")
            case "raises for k=1":
                if 1 in shown:
                    raise ValueError("too little")
            case "few for k=1":
                return values[:-1] if 1 in shown else values
            case "more":
                return [*values, 9.0]
            case "number":
                return 1.0
            case "mapping":
                return {str(j): value for j, value in enumerate(values)}
            case "text":
                return list(map(str, values))
            case "some":
                values[0], values[1], values[2] = None, float("nan"), float("inf")
            case "none":
                return [None] * len(samples)
            case "generator":
                return (value for value in values)
        return values


class TestRewards:
    """A reward that fails costs its own column, by name; values that are no numbers are counted."""

    def run(self, host: PluginHost, results: Path, mode: str) -> tuple[Any, dict[int, Any], Judge]:
        judge = Judge(mode)
        host.registry.add(make_component("reward", MINE, "judge", lambda: judge))
        outcome = execute(config(k=[1, 4], rewards=["judge", "format"]), host, results)
        assert (len(outcome.finished), outcome.failed) == (2, [])
        return outcome, {stored.manifest.method.k: stored for stored in find_results(results)[0]}, judge

    @pytest.mark.parametrize(
        ("mode", "lost", "why"),
        [
            ("raises", [1, 4], "ValueError: no judge"),
            ("raises for k=1", [1], "ValueError: too little"),
            ("few for k=1", [1], "gave fewer scores than samples"),
            ("more", [1, 4], "gave more scores than samples"),
            ("number", [1, 4], "gave a float, not a sequence of numbers"),
            ("mapping", [1, 4], "gave a dict, not a sequence of numbers"),
            ("text", [1, 4], "gave text, not numbers"),
        ],
    )
    def test_a_failure_costs_its_column_where_it_fails(
        self, host: PluginHost, model: Model, tmp_path: Path, mode: str, lost: list[int], why: str
    ) -> None:
        outcome, stored, _ = self.run(host, tmp_path, mode)
        folders = [stored[k].folder for k in lost]
        (((task, name, said), found),) = outcome.failed_rewards.items()
        assert (task, name, sorted(found)) == ("mini_lamp_4", "judge", sorted(folders))
        assert re.fullmatch(re.escape(why) + r" at test_failing_rewards.py:\d+", said)
        assert [message.partition(":")[0] for message in outcome.faults] == ["reward judge from mine (mine 1)"]
        for k, row in stored.items():
            assert row.summary.reward_failures == ({"judge": said} if k in lost else {})
            assert list(row.summary.rewards) == (["format"] if k in lost else ["judge", "format"])
            assert verify(row.folder, host) == []
            for line in (row.folder / "samples.jsonl").read_bytes().splitlines():
                assert ("judge" in orjson.loads(line)["rewards"]) == (k not in lost)

    @pytest.mark.parametrize(("mode", "n"), [("some", 9), ("none", 0), ("generator", 12)])
    @pytest.mark.filterwarnings("error")
    def test_values_that_are_no_numbers_are_counted(
        self, host: PluginHost, model: Model, tmp_path: Path, mode: str, n: int
    ) -> None:
        outcome, stored, judge = self.run(host, tmp_path, mode)
        assert (outcome.failed_rewards, judge.calls) == ({}, [24])
        first = min(stored.values(), key=lambda row: row.summary.rewards["judge"].n)
        assert (first.summary.n, first.summary.rewards["judge"].n, first.summary.rewards["format"].n) == (12, n, 12)
        assert (first.summary.rewards["judge"].value is None) == (n == 0)
        assert verify(first.folder, host) == []

    def test_a_failure_in_one_batch_costs_the_whole_column_once(
        self, host: PluginHost, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from prlm_bench.running import _execute

        monkeypatch.setattr(_execute, "BATCH", 4)
        judge = Judge("fine")
        host.registry.add(make_component("reward", MINE, "judge", lambda: judge))
        plan = config(rewards=["judge"])
        (made,) = prepare_tasks(plan, host)
        plain = judge.score

        def third(samples: Sequence[Sample]) -> Any:
            if made.ids[5] in {sample.prompt.example.id for sample in samples}:
                raise ValueError("the fifth")
            return plain(samples)

        judge.score = third  # type: ignore[method-assign]
        for results, stops in (("whole", None), ("stopped", made.ids[9])):
            model.fails_at = stops
            (made,) = prepare_tasks(plan, host)
            execute(plan, host, tmp_path / results, tasks=[made])
        assert judge.calls == [4, 4], "it is not called after it has failed"
        model.fails_at = None
        (made,) = prepare_tasks(plan, host)
        folder = made.folder(tmp_path / "stopped", 0)
        execute(plan, host, tmp_path / "stopped", tasks=[made])
        assert files(folder) == files(made.folder(tmp_path / "whole", 0))
        (why,) = json.loads(files(folder)["summary.json"])["reward_failures"].values()
        assert re.fullmatch(r"ValueError: the fifth at test_failing_rewards.py:\d+", why)

    def test_the_command_line_names_it_and_ends_with_status_1(self, here: Command, tmp_path: Path) -> None:
        (tmp_path / "judge.py").write_text(JUDGE)
        words = ("--task", "mini_lamp_7", "--task", "mini_lamp_4", "--synth-users", 4, "--limit", 6, "--retriever")
        words += ("bm25", "-k", 1, "--generator", "copy", "--generator", "echo", "--no-controls", "--reward", "picky")
        ended = here("run", "--plugin", "judge.py", *words, "--results", "r")
        assert ended.status == 1
        assert (
            "FAILED reward picky from judge.py (judge) on mini_lamp_7: ValueError: not for tweets at judge.py:10; "
            "2 rows have no value of it" in ended.stderr
        )
        assert "4 rows run, 0 were there already, 0 failed" in ended.stderr
        assert here("leaderboard", "--results", "r").status == 0


JUDGE = """
from prlm_bench import hookimpl

class Picky:
    def fingerprint(self):
        return ""

    def score(self, samples):
        if samples[0].prompt.example.id.startswith("7"):
            raise ValueError("not for tweets")
        return [1.0 for _ in samples]

@hookimpl
def prlm_bench_register_rewards(register):
    register("picky", Picky)
"""
