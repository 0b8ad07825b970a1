"""Whatever is damaged in a file that is read: it is read, or refused in one line that names it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from support.corpus import make_corpus
from support.damage import LONG, SHORT, damaged, read_or_refuse

from prlm_bench.data import ScoreReader, validate
from prlm_bench.data._download import _read_checksums
from prlm_bench.data.synth._users import truth
from prlm_bench.files import load_json, read_yaml
from prlm_bench.host import PluginHost
from prlm_bench.human import read_export, read_judgements, read_key
from prlm_bench.results import finished_ids, load_folders, read_samples, receive_rows
from prlm_bench.results._predictions import read_predictions
from prlm_bench.results._store import read_row, read_timing
from prlm_bench.retrieval_eval._trec import read_run
from prlm_bench.running import read_run_config
from prlm_bench.tasks import TaskRegistry, load_task

Read = Callable[[Path], Any]


def _validate(root: Path) -> None:
    validate(TaskRegistry().get("mini_lamp_4"), root / "data", "dev").to_dict()


def _score(root: Path) -> None:
    reader = ScoreReader(TaskRegistry().get("mini_lamp_4"), any_task=True)
    dev = root / "data/dev"
    reader.read(dev / "dev_outputs.json", root / "predictions.json", dev / "dev_questions.json")


def _predictions(path: Path) -> None:
    assert read_predictions(path, TaskRegistry().get("mini_lamp_4")) is not None


def _receive(root: Path) -> None:
    receive_rows(root / "rows.zip", root / "received", PluginHost(), data=root / "data")


def _judgements(name: str) -> Read:
    return lambda root: read_judgements([root / name], read_key(root / "key.json"))


#: What reads a file of the corpus.
READERS: dict[str, tuple[str, Read]] = {
    "task": ("task.yaml", lambda root: load_task(root / "task.yaml")),
    "run": ("run.yaml", lambda root: read_run_config(root / "run.yaml", {})),
    "yaml": ("run.yaml", lambda root: read_yaml(root / "run.yaml")),
    "json": ("checksums.json", lambda root: load_json(root / "checksums.json", dict[str, dict[str, str | int]])),
    "questions": ("data/dev/dev_questions.json", _validate),
    "outputs": ("data/dev/dev_outputs.json", _validate),
    "relevance": ("data/dev/dev_relevance.json", _validate),
    "golds to score": ("data/dev/dev_outputs.json", _score),
    "predictions": ("predictions.json", _score),
    "users": ("data/dev/dev_questions.json", _score),
    "traits": ("data/mini_lamp.json", lambda root: truth(root / "data")),
    "checksums": ("checksums.json", _read_checksums),
    "manifest": ("row/manifest.json", lambda root: read_row(root / "row")),
    "summary": ("row/summary.json", lambda root: load_folders([root / "row"])),
    "samples": ("row/samples.jsonl", lambda root: list(read_samples(root / "row"))),
    "added metrics": ("added/scores.json", lambda root: read_row(root / "added")),
    "contribution": ("added/contribution.json", lambda root: read_row(root / "added")),
    "packed rows": ("rows.zip", _receive),
    "predictions, JSON lines": ("predictions.jsonl", lambda root: _predictions(root / "predictions.jsonl")),
    "predictions, CSV": ("predictions.csv", lambda root: _predictions(root / "predictions.csv")),
    "timing": ("row/timing.json", lambda root: read_timing(root / "row")),
    "journal": ("unfinished/journal.jsonl", lambda root: finished_ids(root / "unfinished/journal.jsonl")),
    "key": ("key.json", lambda root: read_key(root / "key.json")),
    "pairs, CSV": ("pairs.csv", lambda root: read_export(root / "pairs.csv")),
    "pairs, JSON": ("pairs.json", lambda root: read_export(root / "pairs.json")),
    "judgements, CSV": ("judged.csv", _judgements("judged.csv")),
    "judgements, JSON": ("judged.json", _judgements("judged.json")),
    "Label Studio": ("studio.json", _judgements("studio.json")),
    "TREC": ("x.run", lambda root: read_run(root / "x.run")),
    "TREC, packed": ("x.run.gz", lambda root: read_run(root / "x.run.gz")),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = make_corpus(tmp_path_factory.mktemp("corpus"))
    yield root
    shutil.rmtree(root)


def _check(root: Path, name: str, data: st.DataObject) -> None:
    place, read = READERS[name]
    path = root / place
    whole = path.read_bytes()
    content = data.draw(damaged(path, whole))
    try:
        path.write_bytes(content)
        # What does not fit together is said of the other file, or of the folder of a row.
        read_or_refuse(path, lambda: read(root), str(path.parent), "predictions.json")
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("name", READERS)
def test_whole_files_are_read(corpus: Path, name: str) -> None:
    READERS[name][1](corpus)


@pytest.mark.parametrize("name", READERS)
@SHORT
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(corpus: Path, name: str, data: st.DataObject) -> None:
    _check(corpus, name, data)


@pytest.mark.nightly
@pytest.mark.parametrize("name", READERS)
@LONG
@given(data=st.data())
def test_ten_thousand_damaged_files_are_read_or_refused(corpus: Path, name: str, data: st.DataObject) -> None:
    _check(corpus, name, data)
