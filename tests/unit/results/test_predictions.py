"""Predictions to score as JSON lines and CSV: samples of rows, and what other programs write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import prlm_bench as pb
from prlm_bench.errors import DataError

GOLDS = {"q1": "so happy about this rain", "q2": "not a clue", "q3": "see you"}
ANSWERS = {"q1": "so happy, about the rain", "q2": 'no "clue"\nat all', "q3": "=1+1"}


def scored(path: Path, **options: Any) -> pb.Scores:
    return pb.score(path, GOLDS, task="lamp_7", **options)


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def of(task: str = "lamp_7", row: str = "abc", **more: Any) -> list[dict[str, Any]]:
    return [
        {"task": task, "split": "dev", "row": row, "id": key, "answer": text} | more for key, text in ANSWERS.items()
    ]


def test_all_forms_give_the_same_figures(tmp_path: Path) -> None:
    wanted = pb.score(ANSWERS, GOLDS, task="lamp_7")
    plain = lines(tmp_path / "plain.jsonl", [{"id": key, "output": text} for key, text in ANSWERS.items()])
    table = tmp_path / "table.csv"
    table.write_text('id,prediction\nq3,=1+1\nq1,"so happy, about the rain"\nq2,"no ""clue""\nat all"\n')
    tabs = tmp_path / "table.tsv"
    tabs.write_text('ID\tAnswer\nq1\tso happy, about the rain\nq2\t"no ""clue""\nat all"\nq3\t=1+1\n')
    for path in (plain, table, tabs, lines(tmp_path / "samples.jsonl", of())):
        assert scored(path).metrics == wanted.metrics, path


def test_samples_of_a_row_are_read_with_their_users(here: Any, tmp_path: Path) -> None:
    found = pb.run("mini_lamp_7", synth_users=4, retrievers="bm25", generators="copy", controls=False, results=tmp_path)
    (row,) = found
    golds = {sample.id: sample.gold for sample in row.samples()}
    scores = pb.score(row.folder / "samples.jsonl", golds, task="mini_lamp_7")
    assert scores.n_users == 4
    for name, metric in scores.metrics.items():
        assert metric == row.summary.metrics[name], name
    users = dict.fromkeys(golds, "one")
    assert pb.score(row.folder / "samples.jsonl", golds, task="mini_lamp_7", users=users).n_users == 1


def test_lines_of_other_tasks_are_left_out_and_said(tmp_path: Path) -> None:
    both = lines(tmp_path / "both.jsonl", [*of("lamp_4"), *of("LaMP_7")])
    scores = scored(both)
    assert scores.n == 3
    assert scores.notes == ("lines of lamp_4 left out: 3",)
    other = lines(tmp_path / "other.jsonl", of("lamp_4"))
    with pytest.raises(DataError, match=r"no predictions for lamp_7, but for lamp_4 \(--any-task"):
        scored(other)
    assert scored(other, any_task=True).n == 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"id": "q1", "answer": "a"}\n{"id": "q1", "answer": "b"}\n', ":2: two predictions for question 'q1'"),
        ('{"answer": "a"}\n', ":1: no id"),
        ('{"id": 7, "answer": "a"}\n', ":1: no id"),
        ('{"id": "q1", "text": "a"}\n', ":1: no prediction (needed: one of answer, output, prediction)"),
        ('{"id": "q1", "answer": "a"}\n{"id": ', ":2: not JSON"),
        ('{"id": "q1", "answer": "a"}\n7\n', ":2: not a JSON object"),
        ("", "no predictions for lamp_7"),
        ('{"id": "q1", "answer": "a"}\n', "2 of 3 golds have no prediction"),
        ('{"id": "q1", "answer": null}\n{"id": "q2", "answer": "a"}\n{"id": "q3", "answer": "a"}\n', "is null"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        scored(path)
    assert said in str(caught.value)


def test_several_rows_in_one_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="predictions of 2 rows: lamp_7 dev abc, lamp_7 dev def"):
        scored(lines(tmp_path / "x.jsonl", [*of(), *of(row="def")]))


def test_the_command_line_reads_them(tmp_path: Path, here: Any) -> None:
    golds = tmp_path / "golds.json"
    golds.write_text(json.dumps({"task": "LaMP_7", "golds": [{"id": i, "output": text} for i, text in GOLDS.items()]}))
    path = lines(tmp_path / "samples.jsonl", of(user="ann"))
    ended = here("score", "--task", "lamp_7", "--golds", golds, "--predictions", path)
    assert ended.status == 0
    assert "3 questions, 1 users" in ended.stdout
    table = tmp_path / "x.csv"
    table.write_text("question,answer\nq1,a\n")
    mistake = here("score", "--task", "lamp_7", "--golds", golds, "--predictions", table).mistake
    assert mistake == f"{table}:1: no column 'id' (needed: id)"
