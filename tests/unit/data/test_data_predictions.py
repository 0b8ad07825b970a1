"""What `score` reads, and that it, `data validate` and a run refuse the same golds in the same words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import prlm_bench as pb
from prlm_bench._util.json_text import StructureError
from prlm_bench.data import validate
from prlm_bench.files import parse_json
from prlm_bench.tasks import TaskRegistry, instructions

TASKS = TaskRegistry()
BOM = b"\xef\xbb\xbf"
GOLDS = [("1", "a b c"), ("2", "d e f"), ("3", "g h i")]
PREDICTIONS = [("1", "a b c"), ("2", "d x f"), ("3", "y")]


def outputs(pairs: Any, task: Any = "LaMP_7") -> bytes:
    return json.dumps({"task": task, "golds": [{"id": name, "output": text} for name, text in pairs]}).encode()


@pytest.fixture
def score(tmp_path: Path) -> Callable[..., Any]:
    def run(golds: bytes, predictions: bytes, task: str = "lamp_7", **options: Any) -> Any:
        for name, content in (("golds", golds), ("predictions", predictions)):
            (tmp_path / f"{name}.json").write_bytes(content)
        return pb.score(tmp_path / "predictions.json", tmp_path / "golds.json", task=task, **options)

    return run


def test_a_byte_order_mark_is_no_content(score: Callable[..., Any]) -> None:
    for golds, predictions in ((b"", BOM), (BOM, b""), (BOM, BOM)):
        found = score(golds + outputs(GOLDS), predictions + outputs(PREDICTIONS))
        assert found["rouge1@lamp"].value == pytest.approx(0.5556, abs=5e-5)


def test_what_lamps_evaluation_reads(score: Callable[..., Any]) -> None:
    half = outputs([("1", "a b c \ud83d"), *GOLDS[1:]])
    assert score(half, outputs([("1", "a b c \udc00"), *GOLDS[1:]]))["rouge1@lamp"].value == 1
    numbers = outputs([("1", 5), ("2", 1.5)], "LaMP_3")
    found = score(numbers, outputs([("1", 4), ("2", "2")], "LaMP_3"), "lamp_3")
    assert found["mae@lamp"].value == 0.75


@pytest.mark.parametrize("name", [None, "", "absent"])
def test_files_that_name_no_task_are_read_and_said(score: Callable[..., Any], name: Any) -> None:
    unnamed = outputs(GOLDS, name)
    if name == "absent":
        unnamed = json.dumps(json.loads(unnamed)["golds"]).encode()
    golds, predictions = score(unnamed, unnamed).notes
    assert golds.endswith("golds.json names no task; 'LaMP_7' was expected")
    assert predictions.endswith("predictions.json names no task; 'LaMP_7' was expected")
    for pair in ((outputs(GOLDS, "LaMP_4"), unnamed), (unnamed, outputs(GOLDS, "LaMP_4"))):
        with pytest.raises(pb.DataError, match="task: is 'LaMP_4'; 'LaMP_7' was expected"):
            score(*pair)
        assert any("is of another benchmark: LaMP_4" in note for note in score(*pair, any_task=True).notes)


@pytest.mark.parametrize("value", [None, True, [], {}, float("nan"), float("inf"), 10**20])
def test_no_output(score: Callable[..., Any], value: Any) -> None:
    with pytest.raises(pb.DataError, match=r"predictions.json: id '2' golds\[1\]: its output is "):
        score(outputs(GOLDS), outputs([("1", "x"), ("2", value), ("3", "z")]))
    with pytest.raises(pb.DataError, match=r"1 of 3 golds is malformed, first id '2' golds\[1\]: the gold's"):
        score(outputs([("1", "x"), ("2", value), ("3", "z")]), outputs(PREDICTIONS))


BAD_GOLDS = [
    ("lamp_2", "Sci-Fi", "the gold 'Sci-Fi' is not in the task's label list (labels: 'sci-fi', "),
    ("lamp_2", "", "the gold '' is not in the task's label list"),
    ("lamp_3", "four", "the gold 'four' is not a number"),
    ("lamp_3", "nan", "the gold 'nan' is not a number"),
    ("lamp_4", None, "the gold's output is null, not a string"),
]
FIELDS = {"id": "i", "text": "t", "title": "h", "description": "d", "tag": "comedy", "score": "4"}
MARKERS = {"lamp_2": "description:", "lamp_3": "review:", "lamp_4": "article:"}


@pytest.mark.parametrize(("task", "gold", "message"), BAD_GOLDS)
def test_golds_are_refused_alike(
    score: Callable[..., Any], here: Callable[..., Any], tmp_path: Path, task: str, gold: Any, message: str
) -> None:
    found = TASKS.get(task)
    good = {"lamp_2": "comedy", "lamp_3": "4", "lamp_4": "x"}[task]
    folder = tmp_path / "set" / "dev"
    folder.mkdir(parents=True)
    text = f"{instructions()[found.benchmark]} {MARKERS[task]} words"
    questions = [{"id": name, "input": text, "profile": [FIELDS]} for name in "ab"]
    (folder / "dev_questions.json").write_text(json.dumps(questions))
    golds = outputs([("a", good), ("b", gold)], found.benchmark)
    (folder / "dev_outputs.json").write_bytes(golds)

    (problem,) = validate(found, tmp_path / "set", "dev").problems
    assert str(problem).startswith(f"questions[1] (id 'b') gold: {message}")
    run = ("run", "--task", task, "--data", "set", "--retriever", "bm25", "--generator", "copy", "--results", "r")
    assert f"1 of 2 questions is malformed, first {problem}" in here(*run).mistake
    assert not (tmp_path / "r").exists()
    ended = here(*run, "--skip-invalid", "--json")
    assert ended.status == 0 and json.loads(ended.stdout)["tables"][0]["n"] == 1

    with pytest.raises(pb.DataError) as caught:
        score(golds, outputs([("a", "x"), ("b", "y")], found.benchmark), task)
    assert f"1 of 2 golds is malformed, first id 'b' golds[1]: {problem.message}" in str(caught.value)
    left = score(golds, outputs([("a", good), ("b", "y")], found.benchmark), task, skip_invalid=True)
    assert left.n == 1 and left.notes[0].startswith("malformed golds left out: 1, first id 'b' golds[1]: ")


def test_a_metric_that_does_not_fit_the_task_is_refused_before_generating(
    here: Callable[..., Any], tmp_path: Path
) -> None:
    for metric, message in {
        "accuracy@lamp": "accuracy and F1 need a label list",
        "mae@lamp": "is not a number",
    }.items():
        labels = "labels: ['1', '2']\n" if metric == "mae@lamp" else ""
        (tmp_path / "own.yaml").write_text(f"extends: mini_lamp_4\nname: own\n{labels}metrics: [{metric}]\n")
        line = here(
            "run", "--task", "own.yaml", "--synth-users", 2, "--retriever", "none", "--generator", "echo"
        ).mistake
        assert line.startswith("own dev, question '") and f"{metric}: " in line and message in line


@pytest.mark.parametrize(
    ("users", "n_users", "note"),
    [
        (["u", "u", "v"], 2, None),
        ([None, None, None], 3, "3 of 3 questions name no user and count as users of their own"),
        (["u", None, ""], 3, "2 of 3 questions name no user and count as users of their own"),
    ],
)
def test_users(score: Callable[..., Any], tmp_path: Path, users: list[Any], n_users: int, note: str | None) -> None:
    text = instructions()["LaMP_7"] + ": x"
    questions = [{"id": name, "input": text, "user_id": user} for (name, _), user in zip(GOLDS, users, strict=True)]
    (tmp_path / "questions.json").write_bytes(BOM + json.dumps(questions).encode())
    for given in (tmp_path / "questions.json", {name: user for (name, _), user in zip(GOLDS, users, strict=True)}):
        found = score(outputs(GOLDS), outputs(PREDICTIONS), users=given)
        assert (found.n_users, found.notes) == (n_users, (note,) if note else ())


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"id": "1", "input": "x", "user_id": 7}, r"questions\[0\] \(id '1'\) user_id: is a number, not a string"),
        ({"id": 1, "input": "x"}, r"questions\[0\] id: is a number, not a string"),
        ({"id": "1"}, r"questions\[0\] \(id '1'\) input: is missing"),
        (5, r"questions\[0\]: is a number, not an object"),
    ],
)
def test_malformed_questions_beside_a_score(
    score: Callable[..., Any], tmp_path: Path, question: Any, message: str
) -> None:
    (tmp_path / "questions.json").write_text(json.dumps([question]))
    with pytest.raises(pb.DataError, match=message):
        score(outputs(GOLDS), outputs(GOLDS), users=tmp_path / "questions.json")


def test_questions_of_another_task_beside_a_score(score: Callable[..., Any], tmp_path: Path) -> None:
    questions = [{"id": name, "input": instructions()["LaMP_4"] + ": x", "user_id": "u"} for name, _ in GOLDS]
    (tmp_path / "questions.json").write_text(json.dumps(questions))
    with pytest.raises(pb.DataError, match="with the instruction of LaMP_4"):
        score(outputs(GOLDS), outputs(GOLDS), users=tmp_path / "questions.json")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (BOM, "the file is empty"),
        ('{"a": 1}'.encode("utf-16"), "UTF-16, not UTF-8"),
        (b'{"a": "\xe9"}', "not UTF-8: byte 0xe9 at byte 7"),
        (100_000 * b"[", "nested too deeply"),
        (b"1" * 5000, "not readable as JSON"),
        (b'{"a": 1', "cut off at byte 7"),
        (BOM + b'{"a" 1}', "not valid JSON at byte 8"),
    ],
)
def test_no_json(data: bytes, message: str) -> None:
    with pytest.raises(StructureError, match=message):
        parse_json("file", data)


@pytest.mark.parametrize("data", [b'{"a": 1, "a": 2}', b'["\\ud800"]', b"[1, 1e400, -Infinity]", BOM + b"[]"])
def test_json_as_the_standard_library_reads_it(data: bytes) -> None:
    assert parse_json("file", data) == json.loads(data)
