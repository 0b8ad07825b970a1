"""The official submission: what is in the zip, that its bytes are fixed, and what is refused."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.made_results import sample, write_result

from prlm_bench.identity import file_digest
from prlm_bench.results import Summary, read_manifest
from prlm_bench.submission import submission_tasks
from prlm_bench.tasks import TaskRegistry

SUFFIXES = {False: "", True: "_time"}


def ids_of(number: int) -> list[str]:
    return [f"{number}{place:02d}" for place in range(3 + number)]


def write_questions(root: Path, number: int, ids: list[Any], suffix: str = "") -> Path:
    path = root / f"LaMP_{number}{suffix}" / "test" / "test_questions.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{"id": identifier, "input": "x", "profile": []} for identifier in ids]))
    return path


def write_answers(root: Path, number: int, ids: list[str], suffix: str = "", **fields: Any) -> Path:
    samples = [sample(identifier, identifier, f"“answer” {identifier}", None) for identifier in ids]
    task = f"lamp_{number}{suffix}"
    return write_result(root, samples, task=task, **{"split": "test", "metrics": ["accuracy@lamp"], **fields})


@pytest.fixture
def seven(tmp_path: Path) -> Path:
    """Questions and answers of all tasks, user split, the answers in another order than the questions."""
    for number in range(1, 8):
        write_questions(tmp_path / "data", number, ids_of(number))
        write_answers(tmp_path / "results", number, ids_of(number)[::-1])
    return tmp_path


def submit(here: Callable[..., Any], *words: str) -> Any:
    return here("submit", "lamp", "--results", "results", "--data", "data", "--output", "out.zip", *words)


def content(path: Path | io.BytesIO) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        return {name: json.loads(archive.read(name)) for name in archive.namelist()}


def test_the_zip_holds_a_file_of_answers_for_each_task(seven: Path, here: Callable[..., Any]) -> None:
    ended = submit(here)
    assert (ended.status, ended.stderr) == (0, "")
    files = content(seven / "out.zip")
    assert list(files) == [f"LaMP_{number}.json" for number in range(1, 8)]
    for number in range(1, 8):
        golds = [{"id": identifier, "output": f"“answer” {identifier}"} for identifier in ids_of(number)]
        assert files[f"LaMP_{number}.json"] == {"task": f"LaMP_{number}", "golds": golds}
    assert "LaMP_7" in ended.stdout and "bm25 × k=4 × direct × copy" in ended.stdout


def test_a_file_is_replaced_only_when_asked_for(
    seven: Path, here: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (seven / "out.zip").write_bytes(b"mine")
    assert submit(here).mistake == "out.zip exists and was not replaced (--force replaces it)"
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda text, err: text == "no")
    assert "was not replaced" in submit(here).mistake
    assert (seven / "out.zip").read_bytes() == b"mine"
    monkeypatch.setattr("typer.confirm", lambda text, err: text == "out.zip exists. Replace it?")
    assert submit(here).status == 0
    assert content(seven / "out.zip")
    (seven / "out.zip").write_bytes(b"mine")
    monkeypatch.undo()
    monkeypatch.chdir(seven)
    assert submit(here, "--force").status == 0
    assert content(seven / "out.zip")


def test_a_dash_is_standard_output(seven: Path) -> None:
    words = ["submit", "lamp", "--results", "results", "--data", "data", "--output", "-"]
    ended = subprocess.run([sys.executable, "-m", "prlm_bench", *words], cwd=seven, capture_output=True, timeout=120)
    assert ended.returncode == 0
    assert list(content(io.BytesIO(ended.stdout))) == [f"LaMP_{number}.json" for number in range(1, 8)]
    assert b"LaMP_7" in ended.stderr
    assert not (seven / "-").exists()


def test_the_official_evaluation_would_take_it(seven: Path, here: Callable[..., Any]) -> None:
    """The checks of the benchmark's own `evaluate_all`, on golds of the same ids."""
    submit(here)
    golds = {f"LaMP_{number}": set(ids_of(number)) for number in range(1, 8)}
    seen = set()
    for predictions in content(seven / "out.zip").values():
        assert {row["id"] for row in predictions["golds"]} == golds[predictions["task"]]
        seen.add(predictions["task"])
    assert len(seen) == 7


def test_the_bytes_do_not_depend_on_the_time(
    seven: Path, here: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(here)
    first = (seven / "out.zip").read_bytes()
    monkeypatch.setattr(time, "time", lambda: 1e9)
    old = os.umask(0o077)
    try:
        submit(here)
    finally:
        os.umask(old)
    assert (seven / "out.zip").read_bytes() == first


def test_the_time_split_has_its_own_tasks(tmp_path: Path, here: Callable[..., Any]) -> None:
    for number in range(1, 8):
        write_questions(tmp_path / "data", number, ids_of(number), "_time")
        write_answers(tmp_path / "results", number, ids_of(number), "_time")
    assert "no finished result on the test split of lamp_1, lamp_2" in submit(here).mistake
    assert submit(here, "--time").status == 0
    assert [each["task"] for each in content(tmp_path / "out.zip").values()] == [f"LaMP_{n}" for n in range(1, 8)]


def test_the_tasks_are_the_seven_of_the_benchmark() -> None:
    for split, suffix in SUFFIXES.items():
        tasks = submission_tasks(TaskRegistry(), split)
        assert [task.name for task in tasks] == [f"lamp_{number}{suffix}" for number in range(1, 8)]
        assert [task.benchmark for task in tasks] == [f"LaMP_{number}" for number in range(1, 8)]


def test_a_missing_task_is_refused_or_partial(seven: Path, here: Callable[..., Any]) -> None:
    for path in (seven / "results").iterdir():
        if '"lamp_6"' in (path / "manifest.json").read_text():
            (path / "summary.json").unlink()
    mistake = submit(here).mistake
    assert mistake.startswith("no finished result on the test split of lamp_6 (--partial")
    assert not (seven / "out.zip").exists()
    ended = submit(here, "--partial")
    assert ended.stderr == "partial, without lamp_6: the server rejects a submission that lacks a task\n"
    assert len(content(seven / "out.zip")) == 6


def test_nothing_at_all_is_refused_even_partial(seven: Path, here: Callable[..., Any]) -> None:
    assert "no finished result" in submit(here, "--partial", "--time").mistake


def test_other_splits_do_not_count(tmp_path: Path, here: Callable[..., Any]) -> None:
    write_answers(tmp_path / "results", 1, ids_of(1), split="dev")
    assert "no finished result on the test split of lamp_1" in submit(here, "--partial").mistake


def test_answers_to_data_of_another_benchmark_are_refused(seven: Path, here: Callable[..., Any]) -> None:
    (path,) = [p for p in (seven / "results").rglob("manifest.json") if '"lamp_4"' in p.read_text()]
    path.write_text(path.read_text().replace('"other_task": null', '"other_task": "LaMP_7"'))
    summary = Summary.model_validate_json(path.with_name("summary.json").read_bytes())
    whole = summary.model_copy(update={"digest": summary.digest_with(read_manifest(path.parent))})
    path.with_name("summary.json").write_text(whole.model_dump_json())
    assert "the answers are to data of another benchmark (LaMP_7)" in submit(here).mistake


def test_several_results_need_a_method(seven: Path, here: Callable[..., Any]) -> None:
    write_answers(seven / "results", 4, ids_of(4), retriever="recency")
    mistake = submit(here).mistake
    assert mistake.startswith("lamp_4 has 2 results (--method names one of: ")
    assert "recency × k=4 × direct × copy" in mistake
    assert submit(here, "--method", "bm25+copy").status == 0
    assert "unknown result 'recency'" in submit(here, "--method", "recency").mistake


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (
            ["101", "102", "103", "999", "998"],
            "2 of 5 questions in data/LaMP_1/test/test_questions.json have no answer",
        ),
        (["100", "101", "102"], "1 of 4 answers have no question in data/LaMP_1/test/test_questions.json"),
        (["100", "100", "101"], "data/LaMP_1/test/test_questions.json: question '100' occurs twice"),
        ([None, "101"], "data/LaMP_1/test/test_questions.json: question 0 has no id"),
    ],
)
def test_ids_that_are_not_those_of_the_questions_are_one_line(
    seven: Path, here: Callable[..., Any], ids: list[Any], message: str
) -> None:
    write_questions(seven / "data", 1, ids)
    mistake = submit(here).mistake
    assert message.format("data/LaMP_1/test/test_questions.json") in mistake
    assert not (seven / "out.zip").exists()


def test_an_answer_that_is_there_twice_is_one_line(seven: Path, here: Callable[..., Any]) -> None:
    (folder,) = [f for f in (seven / "results").iterdir() if '"lamp_1"' in (f / "manifest.json").read_text()]
    lines = (folder / "samples.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "samples.jsonl").write_bytes(b"".join([*lines, lines[0]]))
    summary = json.loads((folder / "summary.json").read_bytes())
    summary |= {"samples_sha256": file_digest(folder / "samples.jsonl"), "digest": ""}
    (folder / "summary.json").write_text(json.dumps(summary))
    assert "question '103' has two answers" in submit(here).mistake


def test_no_questions_are_one_line(seven: Path, here: Callable[..., Any]) -> None:
    (seven / "data" / "LaMP_3" / "test" / "test_questions.json").unlink()
    assert "no data for task lamp_3" in submit(here).mistake
    (seven / "data" / "LaMP_2" / "test" / "test_questions.json").write_text("[{")
    assert "data/LaMP_2/test/test_questions.json" in submit(here).mistake
