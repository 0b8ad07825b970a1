"""Rows as runs of experiment trackers, and what is sent of them."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from prlm_bench_plugins.exporters._trackers import tracked

import prlm_bench as pb

RUN = ("run", "--task", "mini_lamp_7", "--synth-users", "10", "--retriever", "bm25", "--generator", "copy")
GRID = (*RUN, "-k", "1", "--seed", "0", "--seed", "1", "--no-controls", "--results", "r")


def figures(results: Path) -> dict[str, dict[str, Any]]:
    """The values of metrics by row, from the summaries."""
    return {
        row.manifest.fingerprint[:16]: {name: metric.value for name, metric in row.summary.metrics.items()}
        for row in pb.load_results(results)
    }


def test_a_row_is_one_run_with_all_its_figures(here: Any, tmp_path: Path) -> None:
    assert here(*GRID).status == 0
    found = pb.load_results(tmp_path / "r")
    rows = list(tracked(found.to_dicts()))
    assert len(rows) == len({row.id for row in rows}) == 2
    for row in rows:
        metrics = figures(tmp_path / "r")[row.id]
        assert {name: row.figures[name] for name in metrics} == metrics
        assert row.figures["rouge1@lamp/low"] <= row.figures["rouge1@lamp"] <= row.figures["rouge1@lamp/high"]
        assert row.figures["parse_failures"] == 0.0
        assert None not in row.figures.values()
        assert row.config["retriever"] == "bm25"
    assert [row.name for row in rows] == ["bm25 direct copy k=1 seed=0", "bm25 direct copy k=1 seed=1"]
    assert {row.group for row in rows} == {"mini_lamp_7 dev"}


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_tracker_that_is_not_installed_is_an_error_before_anything_runs(
    name: str, here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "prlm_bench.host._component.find_spec", lambda module: None if module == name else find_spec(module)
    )
    assert f"pip install 'prlm-bench[{name}]'" in here(*GRID, "--log", name).mistake
    assert not (tmp_path / "r").exists()


def records(data: bytes) -> Iterator[bytes]:
    """The records of LevelDB's log format: blocks of 32 KiB, whose pieces have a checksum, a size and a kind."""
    place, begun = 7, b""
    while place + 7 <= len(data):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        size, where = struct.unpack_from("<HB", data, place + 4)
        begun += data[place + 7 : place + 7 + size]
        if where in (1, 4):  # whole, or the last piece
            yield begun
            begun = b""
        place += 7 + size


def sent(folder: Path) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Config and figures of each offline run, by its id."""
    from wandb.proto import wandb_internal_pb2

    found = {}
    for path in folder.glob("wandb/offline-run-*/*.wandb"):
        config, figures = dict[str, Any](), dict[str, Any]()
        for data in records(path.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            assert record.run.host in ("", "-"), "the machine's name is not sent"
            config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            for item in record.history.item:
                figures[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
        found[path.stem.removeprefix("run-")] = (config, figures)
    return found


def test_wandb_offline(cli: Any, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    ended = cli(*GRID, "--json", "--log", f"wandb:project=mine,mode=offline,dir={tmp_path}", WANDB_SILENT="false")
    assert ended.status == 0, ended.stderr
    assert json.loads(ended.stdout)["tables"], "nothing of the tracker is on standard output"
    runs = sent(tmp_path)
    wanted = figures(tmp_path / "r")
    assert runs.keys() == wanted.keys()
    for identifier, (config, summary) in runs.items():
        assert config["fingerprint"].startswith(identifier)
        assert (config["task"], config["k"], config["generator"]) == ("mini_lamp_7", 1, "copy")
        assert {name: summary[name] for name in wanted[identifier]} == pytest.approx(wanted[identifier])
    assert not [*tmp_path.glob("wandb/offline-run-*/files/*")], "nothing about the machine or its packages"


def test_trackio_in_its_local_database(cli: Any, tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    ended = cli(*GRID, "--json", "--log", "trackio:project=mine", TRACKIO_DIR=str(tmp_path / "tracked"))
    assert ended.status == 0, ended.stderr
    assert json.loads(ended.stdout)["tables"]
    with sqlite3.connect(tmp_path / "tracked" / "mine.db") as database:
        rows = database.execute("select run_name, metrics from metrics").fetchall()
    wanted = figures(tmp_path / "r")
    found = {name.rpartition(" ")[2]: json.loads(metrics) for name, metrics in rows}
    assert found.keys() == wanted.keys()
    for identifier, metrics in wanted.items():
        assert {name: found[identifier][name] for name in metrics} == pytest.approx(metrics)


def test_a_tracker_that_fails_costs_a_line(here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")

    def refuse(**_: Any) -> None:
        raise wandb.errors.UsageError("no API key")

    monkeypatch.setattr(wandb, "init", refuse)
    ended = here(*GRID, "--log", "wandb")
    assert ended.status == 1
    assert "FAILED logger wandb from exporters" in ended.stderr
    assert "UsageError: no API key" in ended.stderr
    assert len(figures(tmp_path / "r")) == 2
