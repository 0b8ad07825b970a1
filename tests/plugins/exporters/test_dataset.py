"""A results folder as a dataset folder: what `datasets` loads is what the rows hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from prlm_bench_plugins.exporters import write_dataset
from support.made_results import sample, write_result

import prlm_bench as pb
from prlm_bench.errors import DataError
from prlm_bench.results import SAMPLES

SECRET = "the cat sat <b>on</b> | the mat"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    root = tmp_path / "r"
    for task, metrics in (("lamp_4", ["rouge1@lamp", "rouge-1@prlm"]), ("lamp_5", ["rouge1@lamp"])):
        for name, answer in (("a", SECRET), ("b|*x*", "no")):
            items = [{"id": "i1", "score": None, "text": "an item"}]
            rows = [sample(f"q{n}", f"u{n}", answer, SECRET, items=items, rewards={}) for n in range(12)]
            write_result(root, rows, task=task, retriever=name, metrics=metrics)
    return root


def test_datasets_loads_what_the_rows_hold(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    found = pb.load_results(results)
    assert write_dataset(found, tmp_path / "out", texts=True) == 48
    load = {"cache_dir": str(tmp_path / "cache")}
    figures = datasets.load_dataset(str(tmp_path / "out"), "figures", split="rows", **load)
    assert figures.to_list() == found.to_dicts()
    assert datasets.load_dataset(str(tmp_path / "out"), split="rows", **load).num_rows == len(figures), "the default"
    samples = datasets.load_dataset(str(tmp_path / "out"), "lamp_4", split="dev", **load)
    rows = {row.manifest.fingerprint: row for row in found.filter(task="lamp_4")}
    assert set(samples["row"]) == rows.keys()
    for line, (of, kept) in zip(samples, ((row, each) for row in rows.values() for each in row.samples()), strict=True):
        assert (line["row"], line["id"], line["user"]) == (of.manifest.fingerprint, kept.id, kept.user)
        assert (line["answer"], line["gold"], line["items"]) == (kept.answer, kept.gold, ["an item"])
        assert {name: line[name] for name in kept.metrics} == kept.metrics


def test_texts_are_left_out_unless_they_are_asked_for(results: Path, tmp_path: Path, here: Any) -> None:
    ended = here("export", "huggingface", "--results", results, "-o", "out", "--task", "lamp_4", "--name", "My rows")
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "2 rows and 24 samples in out; read out/README.md, then upload it with:",
        "hf upload USER/NAME out --repo-type dataset",
    ]
    out = tmp_path / "out"
    table = pyarrow.parquet.read_table(out / "samples/lamp_4/dev.parquet")
    assert not {"answer", "gold", "prompt", "completion", "items", "query", "reasoning"} & {*table.column_names}
    assert "cat sat" not in "".join(str(row) for row in table.to_pylist())
    assert not [*out.rglob(SAMPLES)]
    card = (out / "README.md").read_text()
    assert "cat sat" not in card
    assert card.startswith("---\npretty_name: My rows\n")
    assert "| b\\|*x* |" in card


def test_its_rows_are_a_results_folder(results: Path, tmp_path: Path, here: Any) -> None:
    write_dataset(pb.load_results(results), tmp_path / "out")
    stored = pb.load_results(results).to_dicts()
    again = pb.load_results(tmp_path / "out" / "rows").to_dicts()
    assert sorted(map(json.dumps, again)) == sorted(map(json.dumps, stored))


def test_rows_without_samples_have_figures_alone(results: Path, tmp_path: Path) -> None:
    for path in results.rglob(SAMPLES):
        path.unlink()
    assert write_dataset(pb.load_results(results), tmp_path / "out") == 0
    assert not (tmp_path / "out" / "samples").exists()
    assert "Samples by task and split: none." in (tmp_path / "out" / "README.md").read_text()


def test_what_is_there_is_not_overwritten(results: Path, tmp_path: Path, here: Any) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    given = ("export", "huggingface", "--results", results, "-o", "out")
    assert here(*given).mistake == "out exists and is not an empty folder (remove it, or choose another)"
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no finished rows"):
        write_dataset(pb.load_results(tmp_path / "empty"), tmp_path / "new")
    assert not (tmp_path / "new").exists()
