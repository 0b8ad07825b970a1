"""A plugin of each kind that raises at each point of a run: the rest of the run is finished, byte for byte."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

import prlm_bench as pb
from prlm_bench.errors import PrlmBenchError
from prlm_bench.host import PluginFault, PluginHost
from prlm_bench.results import verify
from prlm_bench.running import _execute

Cli = Callable[..., Any]

#: Sound components, which every run has besides the broken one.
GOOD = """
from prlm_bench import Answer, Completion, Prompt, hookimpl

class Plain:
    def prompts(self, examples, rankings, generator):
        return [Prompt(e, r, f"{e.id} {len(r.items)}", shown=len(r.items)) for e, r in zip(examples, rankings)]
    def parse(self, prompt, completion):
        return Answer(completion.text, "whole")

class Model:
    tokenizer = None
    def generate(self, prompts):
        for number, prompt in enumerate(prompts):
            yield number, Completion(f"answer {prompt.text}", finish="stop", tokens=3)

@hookimpl
def prlm_bench_register_reasoners(register):
    register("plain", Plain)

@hookimpl
def prlm_bench_register_generators(register):
    register("model", Model)
"""

#: The broken one. `POINT` says where it raises.
BAD = """
from itertools import count
import numpy as np
from prlm_bench import Answer, Completion, Prompt, Ranking, hookimpl

POINT = "{point}"
CALLS = count(1)

def reach(point):
    if point == POINT:
        raise {error}

def call():
    number = next(CALLS)
    reach("first call" if number == 1 else "tenth call" if number == 10 else "")

class Bad:
    tokenizer = None
    name, higher_is_better, is_mean = "bad@mine", True, True
    def __init__(self):
        reach("factory")
    def fingerprint(self):
        reach("fingerprint")
        return ""
    def rank(self, examples, k=None):
        call()
        return [Ranking(e.profile[:k], (0.0,) * len(e.profile[:k])) for e in examples]
    def prompts(self, examples, rankings, generator):
        call()
        return [Prompt(e, r, e.input, shown=len(r.items)) for e, r in zip(examples, rankings)]
    def parse(self, prompt, completion):
        return Answer(completion.text, "whole")
    def generate(self, prompts):
        call()
        return ((number, Completion("bad")) for number, _ in enumerate(prompts))
    def score(self, samples):
        call()
        return [1.0 for _ in samples]
    def statistics(self, pairs):
        call()
        return np.ones((len(pairs), 2))
    def value(self, totals):
        call()
        return totals[..., 0] / totals[..., 1]
    def log(self, rows):
        call()
    def map(self, work, batches, start):
        start()
        for batch in batches:
            call()
            yield work(batch)
    def train(self, output, progress):
        for _ in range(12):
            call()
        return {{}}

reach("import")

@hookimpl
def prlm_bench_register_{kind}s(register):
    reach("hook")
    register("bad@mine" if "{kind}" == "metric" else "bad", Bad)
"""
POINTS = ["factory", "first call", "tenth call"]
#: Where the components of a run stand in its grid.
SOUND: dict[str, Any] = {"retrievers": ["bm25"], "reasoners": ["plain"], "generators": ["model"], "rewards": ["format"]}
METRICS = {True: "[rouge1@lamp, bad@mine, rougeL@lamp]", False: "[rouge1@lamp, rougeL@lamp]"}


class Runs:
    """Runs of a grid, with the broken plugin and without."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "good.py").write_text(GOOD)

    def host(self, kind: str | None = None, point: str = "", error: str = "ValueError('not here')") -> PluginHost:
        if kind is not None:
            (self.folder / "bad.py").write_text(BAD.format(kind=kind, point=point, error=error))
        return PluginHost([str(self.folder / f"{name}.py") for name in ("good", "bad") if kind or name == "good"])

    def run(self, host: PluginHost, name: str, bad_metric: bool = False, **grid: Any) -> pb.Results:
        task = self.folder / "task.yaml"
        lines = ("extends: mini_lamp_4", "name: own_task", "title: Own", f"metrics: {METRICS[bad_metric]}")
        task.write_text("\n".join(lines) + "\n")
        fields = {**SOUND, "k": [1, 2], "controls": False, "synth_users": 4, **grid}
        return pb.run(task, host=host, results=self.folder / name, **fields)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.setattr(_execute, "BATCH", 1)
    return Runs(tmp_path)


def samples(results: pb.Results) -> dict[tuple[str, ...], bytes]:
    """The samples of each row by its method, without what a broken metric or reward would add."""
    found: dict[tuple[str, ...], bytes] = {}
    for row in results.rows:
        method = row.manifest.method
        lines = []
        for line in (row.folder / "samples.jsonl").read_bytes().splitlines():
            sample = orjson.loads(line)
            del sample["row"]  # whose fingerprint has all metrics and rewards in it
            sample["rewards"].pop("bad", None)
            sample["metrics"].pop("bad@mine", None)
            lines.append(orjson.dumps(sample))
        parts = (method.retriever.spec, str(method.k), method.reasoner.spec, method.generator.spec)
        found[parts] = b"\n".join(lines)
    return found


@pytest.mark.parametrize("point", [*POINTS, "fingerprint"])
@pytest.mark.parametrize("kind", ["retriever", "reasoner", "generator"])
def test_a_component_costs_its_rows(runs: Runs, kind: str, point: str) -> None:
    unbroken = samples(runs.run(runs.host(), "unbroken"))
    grid: dict[str, Any] = {f"{kind}s": [*SOUND[f"{kind}s"], "bad"]}
    found = runs.run(runs.host(kind, point, "KeyError('not here')"), "broken", **grid)
    assert {parts: lines for parts, lines in samples(found).items() if "bad" not in parts} == unbroken
    assert found.outcome is not None
    assert (len(unbroken), len(found.rows) + len(found.outcome.failed)) == (2, 4)
    assert len(found.outcome.failed) == (2 if kind == "retriever" or point in ("factory", "fingerprint") else 1)
    for folder, reason in found.outcome.failed:
        assert re.fullmatch(
            rf"{kind} bad from \S+bad.py \(bad\): KeyError: 'not here' at \S*bad.py:11", reason.replace("\n", "|")
        ), reason
        assert "bad" in folder.name
        assert "Traceback" in found.outcome.faults[reason].details


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("kind", ["reward", "metric"])
def test_what_scores_costs_its_column(runs: Runs, kind: str, point: str) -> None:
    unbroken = samples(runs.run(runs.host(), "unbroken", k=[1, 2, 3]))
    host = runs.host(kind, point, "KeyError('not here')")
    grid = {"rewards": ["format", "bad"]} if kind == "reward" else {"bad_metric": True}
    found = runs.run(host, "broken", k=[1, 2, 3], **grid)
    assert samples(found) == unbroken
    assert found.outcome is not None
    assert (found.outcome.failed, found.outcome.whole) == ([], False)
    lost = found.outcome.failed_rewards if kind == "reward" else found.outcome.failed_metrics
    name = "bad" if kind == "reward" else "bad@mine"
    (key,) = lost
    assert key == ("own_task", name, "KeyError: 'not here' at bad.py:11")
    (told,) = found.outcome.faults
    assert re.fullmatch(rf"{kind} {name} from \S+bad.py \(bad\): KeyError: 'not here' at \S*bad.py:11", told)
    for row in found.rows:
        failures = row.summary.reward_failures if kind == "reward" else row.summary.metric_failures
        figures = row.summary.rewards if kind == "reward" else row.summary.metrics
        assert (name in figures) == (name not in failures)
        assert set(figures) - {name} == ({"format"} if kind == "reward" else {"rouge1@lamp", "rougeL@lamp"})
    if point == "first call":  # verify makes a metric anew, and this one fails at its first call again
        again = runs.host(kind, point, "KeyError('not here')")
        again.tasks.get(str(runs.folder / "task.yaml"))
        assert verify(found.rows[0].folder, again) == []
    shown = found.render("markdown")
    assert "failed" in shown and "failed: the metric or the reward raised an error" in shown
    assert "failed" in pb.load_results(runs.folder / "broken", host=host).render("terminal")


def test_a_metric_of_the_wrong_length_costs_its_column(runs: Runs) -> None:
    host = runs.host("metric", "never")
    text = (runs.folder / "bad.py").read_text().replace("np.ones((len(pairs), 2))", "np.ones((3, 2))")
    (runs.folder / "bad.py").write_text(text)
    found = runs.run(PluginHost(host.extra), "broken", bad_metric=True)
    assert found.outcome is not None
    ((_, name, why),) = found.outcome.failed_metrics
    assert name == "bad@mine"
    assert re.fullmatch(r"statistics\(\) gave shape \(3, 2\) for 12 pairs; \(12, s\) is needed at bad.py:\d+", why)


def test_a_metric_that_works_again_is_computed_without_generating(runs: Runs) -> None:
    host = runs.host("metric", "first call", "ConnectionError('no server')")
    failed = runs.run(host, "results", bad_metric=True, rewards=["format"])
    before = {row.folder: json.loads((row.folder / "summary.json").read_text()) for row in failed.rows}
    assert [len(content["metric_failures"]) for content in before.values()] == [1, 0]
    asked: list[Any] = []
    model = host.registry.get("generator", "model").factory
    plain = model.generate  # type: ignore[attr-defined]
    model.generate = lambda self, prompts: asked.append(prompts) or plain(self, prompts)  # type: ignore[attr-defined]
    again = runs.run(host, "results", bad_metric=True)
    assert asked == []
    assert again.outcome is not None and again.outcome.whole
    assert ([row.folder for row in again.rows if row.summary.metric_failures], len(again.outcome.finished)) == ([], 1)
    for row in again.rows:
        assert (sorted(row.summary.metrics), verify(row.folder, host)) == (
            ["bad@mine", "rouge1@lamp", "rougeL@lamp"],
            [],
        )
        assert row.summary.metrics["rouge1@lamp"].model_dump() == before[row.folder]["metrics"]["rouge1@lamp"]
        assert not (row.folder / "journal.jsonl").exists()
    whole = runs.run(runs.host("metric", "never"), "whole", bad_metric=True)
    assert samples(again) == samples(whole)
    assert [row.summary.metrics for row in again.rows] == [row.summary.metrics for row in whole.rows]
    assert len(runs.run(host, "results", bad_metric=True).outcome.already) == 2  # type: ignore[union-attr]


@pytest.mark.parametrize("point", ["import", "hook"])
@pytest.mark.parametrize(
    "kind",
    ["retriever", "reasoner", "generator", "reward", "metric", "judge", "importer", "trainer", "logger", "engine"],
)
def test_one_that_does_not_load_costs_a_line(runs: Runs, kind: str, point: str) -> None:
    host = runs.host(kind, point, "SystemExit('not here')" if point == "import" else "OSError('not here')")
    (failure,) = host.failures
    assert failure.where == f"{runs.folder / 'bad.py'}:11"
    assert host.registry.get("generator", "model")
    if kind in ("retriever", "reasoner", "generator", "reward"):
        with pytest.raises(PrlmBenchError, match=f"unknown {kind} 'bad'.*failed to load.*not here"):
            grid: dict[str, Any] = {f"{kind}s": ["bad"]}
            runs.run(host, "broken", **grid)


def test_the_rest_runs_where_one_does_not_load(runs: Runs) -> None:
    unbroken = samples(runs.run(runs.host(), "unbroken"))
    assert samples(runs.run(runs.host("retriever", "import"), "broken")) == unbroken


@pytest.mark.parametrize("point", ["first call", "tenth call"])
def test_an_engine_ends_the_run_and_loses_nothing(runs: Runs, point: str) -> None:
    unbroken = samples(runs.run(runs.host(), "unbroken"))
    host = runs.host("engine", point, "KeyError('not here')")
    with pytest.raises(KeyError, match="not here"):
        runs.run(host, "broken", engine="bad")
    journals = list((runs.folder / "broken").rglob("journal.jsonl"))
    asked = {"first call": 0, "tenth call": 9}[point]
    assert [path.read_bytes().count(b"\n") for path in journals] == [asked] * 2
    assert samples(runs.run(runs.host(), "broken")) == unbroken


@pytest.mark.parametrize(
    ("gives", "said"),
    [
        ("return None", "gave None in place of an iterator"),
        ("return [1, 2]", "gave an int in place of what the work gave"),
        ("return []", "gave results of 0 batches for 12"),
        ("raise SystemExit(0)", "it called sys.exit(0)"),
    ],
)
def test_an_engine_that_gives_something_else(runs: Runs, gives: str, said: str) -> None:
    host = runs.host("engine", "never")
    text = (runs.folder / "bad.py").read_text()
    (runs.folder / "bad.py").write_text(
        text.replace("        start()\n", f"        {gives}\n", 1).replace("yield work", "work")
    )
    with pytest.raises((PrlmBenchError, RuntimeError)) as caught:
        runs.run(PluginHost(host.extra), "broken", engine="bad")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("gives", "said"),
    [("return None", "gave None in place of a manifest"), ("return {{1}: 2}", "TypeError: unhashable type: 'set'")],
)
def test_a_trainer_that_gives_something_else(runs: Runs, here: Cli, gives: str, said: str) -> None:
    runs.host("trainer", "never")
    text = (runs.folder / "bad.py").read_text()
    (runs.folder / "bad.py").write_text(text.replace("return {}", gives))
    ended = here("train", "bad", "--output", "out", "--plugin", "bad.py")
    assert (ended.status, f"plugin bad.py (bad): {said} at bad.py:" in ended.stderr) == (1, True), ended.stderr


@pytest.mark.parametrize("point", ["first call"])
def test_a_logger_loses_no_row(runs: Runs, point: str) -> None:
    unbroken = samples(runs.run(runs.host(), "unbroken"))
    found = runs.run(runs.host("logger", point), "broken", loggers="bad")
    assert samples(found) == unbroken
    assert found.outcome is not None
    ((told, why),) = found.outcome.failed_loggers
    assert re.match(r"logger bad from \S+bad.py \(bad\)", told)
    assert re.match(r"ValueError: not here at \S*bad.py:11", why)


@pytest.mark.parametrize("point", POINTS)
def test_a_trainer_is_named_in_one_line(runs: Runs, here: Cli, point: str) -> None:
    runs.host("trainer", point, "KeyError('not here')")
    ended = here("train", "bad", "--output", "out", "--plugin", "bad.py")
    assert ended.status == 1
    (line,) = ended.stderr.splitlines()
    assert re.fullmatch(
        r"prlm-bench: (plugin bad.py \(bad\)|trainer bad from bad.py \(bad\)): KeyError: 'not here' at bad.py:11 "
        r"\(--debug shows the traceback\)",
        line,
    )


def test_score_keeps_the_other_columns(runs: Runs, here: Cli) -> None:
    runs.host("metric", "first call")
    content = {"task": "LaMP_4", "golds": [{"id": str(n), "output": f"title {n}"} for n in range(3)]}
    (runs.folder / "golds.json").write_text(json.dumps(content))
    words = ("--task", "mini_lamp_4", "--golds", "golds.json", "--predictions", "golds.json", "--plugin", "bad.py")
    ended = here("score", *words, "--metric", "rouge1@lamp", "--metric", "bad@mine")
    assert ended.status == 1
    assert [line.split()[:2] for line in ended.stdout.splitlines() if "@" in line] == [
        ["rouge1@lamp", "1.0000"],
        ["bad@mine", "failed"],
    ]
    assert ended.stderr == "FAILED metric bad@mine from bad.py (bad): ValueError: not here at bad.py:11\n"
    shown = json.loads(here("score", *words, "--metric", "bad@mine", "--json").stdout)
    assert (shown["metrics"], shown["failures"]) == ({}, {"bad@mine": "ValueError: not here at bad.py:11"})
    host, golds = runs.host("metric", "first call"), {"1": "a title"}
    found = pb.score(golds, golds, task="mini_lamp_4", metrics=["bad@mine"], host=host)
    assert "failed: ValueError: not here" in repr(found)


def test_a_session_keeps_the_other_columns(runs: Runs) -> None:
    with pb.Session("mini_lamp_4", synth_users=4, host=runs.host("metric", "first call")) as session:
        answers = session.generate(session.prompts("bm25", k=1, reasoner="plain"), "model")
        found = session.score(answers, ["bad@mine", "rouge1@lamp"])
    assert list(found.metrics) == ["rouge1@lamp"]
    assert str(found.failures["bad@mine"]).startswith("ValueError: not here at ")


def test_compare_names_the_metric(runs: Runs, here: Cli) -> None:
    pb.run(
        "mini_lamp_4",
        retrievers=["bm25", "recency"],
        k=1,
        generators="copy",
        synth_users=4,
        results=runs.folder / "results",
    )
    runs.host("metric", "first call")
    words = ("--results", "results", "--plugin", "bad.py", "--plugin", "good.py", "--metric", "bad@mine")
    ended = here("compare", "bm25+copy", "recency+copy", *words)
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.stderr == (
        "prlm-bench: metric bad@mine from bad.py (bad): ValueError: not here at bad.py:11 "
        "(--debug shows the traceback)\n"
    )


def test_a_session_names_who_gave_something_else(runs: Runs) -> None:
    runs.host("retriever", "factory", "KeyError('not here')")
    host = PluginHost([str(runs.folder / name) for name in ("good.py", "bad.py")])
    with pb.Session("mini_lamp_4", synth_users=4, host=host) as session:
        with pytest.raises(PluginFault, match=r"retriever bad from \S+bad.py \(bad\): KeyError: 'not here' at "):
            session.rank("bad")
        plain = session.component("reasoner", "plain")
        plain.prompts = lambda examples, rankings, generator: ["text"] * len(examples)
        with pytest.raises(PrlmBenchError, match="gave a str in place of a Prompt"):
            session.prompts("bm25", reasoner="plain")


def test_the_options_debug_and_log_file(runs: Runs, here: Cli) -> None:
    runs.host("retriever", "first call", "KeyError('not here')")
    words = ("--task", "mini_lamp_4", "--retriever", "bad", "--limit", "3")
    plain = here("rank", *words, "--plugin", "bad.py")
    line = "prlm-bench: plugin bad.py (bad): KeyError: 'not here' at bad.py:11 (--debug shows the traceback)"
    assert plain.status == 1
    assert (plain.stderr.splitlines()[-1], "Traceback" in plain.stderr) == (line, False)
    for options in (
        ("--debug", "rank", *words, "--plugin", "bad.py"),
        ("rank", *words, "--plugin", "bad.py", "--debug"),
    ):
        shown = here(*options)
        assert shown.status == 1
        assert 'bad.py", line 11, in reach' in shown.stderr
        assert shown.stderr.splitlines()[-1] == line
    kept = here("rank", *words, "--plugin", "bad.py", "--log-file=log.txt")
    assert (kept.stderr.splitlines()[-1], "Traceback" in kept.stderr) == (line, False)
    here("--log-file", "log.txt", "rank", *words, "--plugin", "bad.py")
    text = (runs.folder / "log.txt").read_text()
    assert text.count('bad.py", line 11, in reach') == 2
    assert "prlm-bench rank --task mini_lamp_4" in text
    assert here("rank", *words, "--log-file").mistake == "--log-file needs a file (write --log-file FILE)"
    assert "No such file or directory" in here("rank", *words, "--log-file", "nowhere/log.txt").mistake


@pytest.mark.parametrize(
    "error", ["FileNotFoundError(2, 'No such file', 'x.json')", "SystemExit(0)", "RecursionError()"]
)
def test_any_error_of_a_plugin_is_named(runs: Runs, here: Cli, error: str) -> None:
    runs.host("retriever", "first call", error)
    ended = here("rank", "--task", "mini_lamp_4", "--retriever", "bad", "--limit", "3", "--plugin", "bad.py")
    assert ended.status == 1
    assert ended.stderr.splitlines()[-1].startswith("prlm-bench: plugin bad.py (bad): ")
    assert " at bad.py:11 " in ended.stderr.splitlines()[-1]


def test_debug_shows_the_tracebacks_of_failed_rows(runs: Runs, here: Cli) -> None:
    runs.host("reward", "first call")
    words: tuple[str, ...] = (
        "run",
        "--task",
        "mini_lamp_4",
        "--retriever",
        "bm25",
        "-k",
        "1",
        "--generator",
        "copy",
        "--no-controls",
    )
    words += ("--synth-users", "4", "--reward", "bad", "--plugin", "bad.py", "--results", "r")
    plain, shown = here(*words), here(*words, "--debug", "--results", "again")
    assert plain.status == shown.status == 1
    for ended in (plain, shown):
        assert (
            "FAILED reward bad from bad.py (bad) on mini_lamp_4: ValueError: not here at bad.py:11; 1 row has"
            in ended.stderr
        )
    assert ("Traceback" in plain.stderr, 'bad.py", line 11, in reach' in shown.stderr) == (False, True)
