"""Metrics that are added to finished rows: kept beside them, and shown only as long as they are what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import prlm_bench as pb
from prlm_bench.errors import DataError, UnknownNameError
from prlm_bench.host import PluginHost
from prlm_bench.results import SCORES, find_results, verify

PLUGIN = '''
import numpy as np
from prlm_bench import hookimpl

class Length:
    """Share of answers with as many words as the reference."""
    higher_is_better = True
    is_mean = True
    limits = (0.0, 1.0)
    def statistics(self, pairs):
        same = [float(len(a.split()) == len(g.split())) for a, g in zip(pairs.answers, pairs.golds)]
        return np.stack([same, np.ones(len(same))], axis=1)
    def value(self, totals):
        return totals[..., 0] / totals[..., 1]

class Broken(Length):
    def statistics(self, pairs):
        raise RuntimeError("out of order")

class Corpus(Length):
    is_mean = False

@hookimpl
def prlm_bench_register_metrics(register):
    register("length@mine", Length)
    register("broken@mine", Broken)
    register("corpus@mine", Corpus)
'''
RUN = ("run", "--task", "mini_lamp_7", "--synth-users", "10", "--retriever", "bm25", "--retriever", "random")
GRID = (*RUN, "-k", "1", "--generator", "copy", "--seed", "0", "--seed", "1", "--no-controls", "--results", "r")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    return path


@pytest.fixture
def rows(here: Any, mine: Path) -> Path:
    assert here(*GRID).status == 0
    return mine.parent / "r"


def values(folder: Path) -> list[float]:
    """What the metric gives for each sample, computed from the answers."""
    lines = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    return [float(len(line["answer"].split()) == len(line["gold"].split())) for line in lines]


def test_it_is_kept_beside_the_row_which_stays_what_it_is(rows: Path, mine: Path, here: Any) -> None:
    before = {path: path.read_bytes() for path in rows.rglob("*.json*")}
    ended = here("results", "rescore", "--results", "r", "--plugin", mine, "--metric", "length@mine")
    assert (ended.status, ended.stdout) == (0, "length@mine: 4 rows computed, 0 had it already, 0 left out\n")
    assert {path: path.read_bytes() for path in before} == before
    for row in find_results(rows)[0]:
        found = row.summary.metrics["length@mine"]
        assert found.value == pytest.approx(sum(values(row.folder)) / 30)
        assert found.low is not None and found.value is not None and found.high is not None
        assert 0 <= found.low <= found.value <= found.high <= 1
        assert row.metric_names == [*row.manifest.metric_names, "length@mine"]
        assert [sample.metrics["length@mine"] for sample in row.samples()] == values(row.folder)
        assert verify(row.folder, PluginHost([str(mine)])) == []
    again = here("results", "rescore", "--results", "r", "--plugin", mine, "--metric", "length@mine")
    assert again.stdout == "length@mine: 0 rows computed, 4 had it already, 0 left out\n"
    assert here(*GRID).stderr.endswith("0 rows run, 4 were there already, 0 failed; results in r\n")


def test_tables_pool_it_over_seeds_and_rank_by_it(rows: Path, mine: Path) -> None:
    found = pb.load_results(rows, plugins=[mine])
    assert [table.protocol for table in found.tables()] == ["lamp", "prlm"]
    scored = found.rescore(["length@mine", "corpus@mine"])
    assert (scored.computed, scored.already, scored.left_out, scored.failures) == (4, 0, [], {})
    tables = {table.protocol: table for table in pb.load_results(rows, plugins=[mine]).tables()}
    assert tables["mine"].metrics == ("length@mine", "corpus@mine")
    of_method: dict[str, list[float]] = {}
    for row in found:
        of_method.setdefault(row.manifest.method.retriever.spec, []).extend(values(row.folder))
    for line in tables["mine"].rows:
        mean = sum(of_method[line.retriever]) / len(of_method[line.retriever])
        assert line.seeds == (0, 1)
        assert [each.value for each in line.figures.metrics.values()] == pytest.approx([mean, mean])
    assert tables["mine"].groups.numbers != ()
    (only,) = scored.results.tables(metrics=["rougeL@lamp"])
    assert only.metrics == ("rougeL@lamp",)


def test_the_leaderboard_computes_what_rows_lack_and_keeps_nothing(rows: Path, mine: Path, here: Any) -> None:
    given = ("leaderboard", "--results", "r", "--plugin", mine, "--json")
    (table,) = json.loads(here(*given, "--metric", "length@mine").stdout)["tables"]
    assert table["metrics"] == ["length@mine"]
    assert not [*rows.rglob(SCORES)]
    assert "unknown metric 'length@mine'" in here("leaderboard", "--results", "r", "--metric", "length@mine").mistake
    failed = here(*given, "--metric", "broken@mine")
    assert "FAILED metric broken@mine: RuntimeError: out of order" in failed.stderr


def test_a_run_may_add_one(mine: Path, here: Any) -> None:
    ended = here(*GRID, "--plugin", mine, "--metric", "length@mine", "--json")
    assert ended.status == 0
    assert [table["protocol"] for table in json.loads(ended.stdout)["tables"]] == ["lamp", "mine", "prlm"]
    folders = {row.folder for row in find_results(Path("r"))[0]}
    assert here(*GRID).status == 0
    assert {row.folder for row in find_results(Path("r"))[0]} == folders, "it is no part of what a row is"
    failed = here(*GRID, "--plugin", mine, "--metric", "broken@mine")
    assert failed.status == 1
    assert f"FAILED metric broken@mine from {mine} (mine)" in failed.stderr
    assert "4 rows have no value of it" in failed.stderr
    assert "unknown metric 'nothing@x'" in here(*GRID, "--metric", "nothing@x", "--dry-run").mistake


def test_from_python_and_a_run_file(mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    grid: Any = {
        "tasks": "mini_lamp_7",
        "synth_users": 4,
        "retrievers": "bm25",
        "generators": "copy",
        "controls": False,
    }
    found = pb.run(**grid, metrics="length@mine", plugins=[mine], results="p")
    assert "length@mine" in {row["metric"] for row in found.to_dicts()}
    (row,) = found.samples("bm25").to_arrow().slice(0, 1).to_pylist()
    assert (row["task"], row["split"], row["row"]) == ("mini_lamp_7", "dev", found.rows[0].manifest.fingerprint[:16])
    assert row["length@mine"] in (0.0, 1.0)


def test_figures_of_an_edited_metric_are_not_shown(
    rows: Path, mine: Path, here: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pb.load_results(rows, plugins=[mine]).rescore("length@mine")
    mine.write_text(PLUGIN.replace("==", "<="))
    found = pb.load_results(rows, plugins=[mine])
    assert all("length@mine" not in row.summary.metrics for row in found)
    assert caplog.messages == [
        "prlm-bench: warning: length@mine has changed since it was added to 4 rows; `results rescore` computes it again"
    ]
    host = PluginHost([str(mine)])
    assert verify(found.rows[0].folder, host) == [
        "scores.json: length@mine was computed by other code than that which is installed"
    ]
    scored = found.rescore("length@mine")
    assert scored.computed == 4
    assert verify(found.rows[0].folder, host) == []
    assert "length@mine" in pb.load_results(rows).rows[0].summary.metrics, "shown too where the plugin is not loaded"


@pytest.mark.parametrize("damage", ["edited", "cut", "of other samples", "an edited value"])
def test_damage_costs_the_column_and_a_warning(
    rows: Path, mine: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    pb.load_results(rows, plugins=[mine]).rescore("length@mine")
    first, other = (row.folder / SCORES for row in find_results(rows)[0][:2])
    content = json.loads(first.read_text())
    if damage == "of other samples":
        first.write_bytes(other.read_bytes())
    elif damage == "cut":
        first.write_bytes(first.read_bytes()[:100])
    else:
        metric = content["metrics"][0]
        if damage == "edited":
            metric["summary"]["value"] = 0.99
        else:
            metric["values"][0] = 1 - metric["values"][0]
        first.write_text(json.dumps(content))
    shown = [row for row in find_results(rows)[0] if "length@mine" in row.summary.metrics]
    assert len(shown) == 3
    assert len(caplog.messages) == 1
    assert caplog.messages[0].endswith("`prlm-bench results rescore` makes it again")
    assert verify(first.parent, PluginHost([str(mine)])) != []
    pb.load_results(rows, plugins=[mine]).rescore("length@mine")
    assert verify(first.parent, PluginHost([str(mine)])) == []


def test_a_wrong_figure_with_a_right_digest_is_found_by_verify(rows: Path, mine: Path) -> None:
    pb.load_results(rows, plugins=[mine]).rescore("length@mine")
    (row, *_), _ = find_results(rows)
    content = json.loads((row.folder / SCORES).read_text())
    content["metrics"][0]["summary"]["value"] = 0.5
    from prlm_bench.results import AddedScores

    scores = AddedScores.model_validate(content)
    content["digest"] = scores.own_digest()
    (row.folder / SCORES).write_text(json.dumps(content))
    (problem,) = verify(row.folder, PluginHost([str(mine)]))
    assert problem.startswith("scores.json: length@mine.summary.value is 0.5, recomputed: ")


def test_rows_whose_references_it_cannot_score_are_left_out(rows: Path, mine: Path, here: Any) -> None:
    assert here(*(word.replace("_7", "_3") for word in GRID)).status == 0
    ended = here("results", "rescore", "--results", "r", "--metric", "accuracy@lamp")
    assert (ended.status, ended.stdout) == (0, "accuracy@lamp: 4 rows computed, 0 had it already, 4 left out\n")
    assert ended.stderr.startswith("left out: 4 rows, first: r/mini_lamp_7/dev/")
    shown = here("leaderboard", "--results", "r", "--metric", "accuracy@lamp", "--json")
    assert [table["task"] for table in json.loads(shown.stdout)["tables"]] == ["mini_lamp_3"]
    assert "4 rows lack a metric, first: " in shown.stderr
    failed = here(*GRID, "--metric", "accuracy@lamp")
    assert failed.status == 1
    (line,) = [line for line in failed.stderr.splitlines() if line.startswith("FAILED")]
    assert line.startswith("FAILED metric accuracy@lamp from metrics") and line.endswith("4 rows have no value of it")


def test_rows_without_samples_are_left_out(rows: Path, mine: Path, here: Any) -> None:
    (first, *_), _ = find_results(rows)
    (first.folder / "samples.jsonl").unlink()
    ended = here("results", "rescore", "--results", "r", "--plugin", mine, "--metric", "length@mine")
    assert ended.stdout == "length@mine: 3 rows computed, 0 had it already, 1 left out\n"
    assert "has no samples" in ended.stderr
    with pytest.raises(DataError, match="has no samples"):
        pb.results.rescore(first, PluginHost([str(mine)]), ["length@mine"])
    with pytest.raises(UnknownNameError):
        pb.load_results(rows).rescore("nothing@x")
