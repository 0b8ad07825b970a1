"""Data of another benchmark are refused by all that open them, unless the user insists; then the results say so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import prlm_bench as pb
from prlm_bench.data import open_dataset, validate
from prlm_bench.data.synth import SynthConfig, write_mini_lamp
from prlm_bench.tasks import TaskRegistry, instructions

TASKS = TaskRegistry()
ITEM = {"id": "i", "title": "a title", "text": "a text", "date": "2020-01-02"}
HEADLINE = instructions()["LaMP_4"] + ": words"
TWEET = instructions()["LaMP_7"] + " without any explanation before or after it: words"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a split: inputs, and the name in the outputs; without outputs where the name is "withheld"."""

    def put(inputs: list[str], name: Any = "withheld", **members: Any) -> Path:
        folder = tmp_path / "set" / "dev"
        folder.mkdir(parents=True, exist_ok=True)
        rows: Any = [{"id": str(n), "input": text, "profile": [ITEM]} for n, text in enumerate(inputs)]
        rows = {**members, "golds": rows} if members else rows
        (folder / "dev_questions.json").write_text(json.dumps(rows))
        golds = [{"id": str(n), "output": "an answer"} for n in range(len(inputs))]
        if name != "withheld":
            (folder / "dev_outputs.json").write_text(json.dumps({"task": name, "golds": golds}))
        return tmp_path / "set"

    return put


CASES = [
    # task, inputs, name in the golds, what the data are instead
    ("lamp_4", [HEADLINE], "LaMP_4", None),
    ("lamp_4", [HEADLINE], "lamp-4", None),
    ("lamp_4_time", [HEADLINE], "LaMP_4", None),
    ("lamp_4_time", [HEADLINE], "LaMP-4 time", None),
    ("lamp_4", ["My own words for an article: x"], "LaMP_4", None),
    ("lamp_7", [TWEET], "LaMP_4", "LaMP_4"),
    ("lamp_7", [HEADLINE], "LaMP_7", "LaMP_4"),
    ("lamp_7", [HEADLINE], "LaMP_70", "LaMP_70"),
    ("lamp_7", [TWEET], 7, "7"),
    ("lamp_7", [TWEET], None, None),
    ("lamp_7", [TWEET], "", None),
    ("lamp_7", [HEADLINE], "", "LaMP_4"),
    ("lamp_7", [TWEET], "withheld", None),
    ("lamp_7", [HEADLINE], "withheld", "LaMP_4"),
    ("lamp_7", ["Anything: x"], "withheld", "unknown"),
    ("lamp_7", [TWEET] * 9 + [HEADLINE], "withheld", None),
    ("lamp_7", [TWEET] * 8 + [HEADLINE] * 2, "withheld", "unknown"),
]


@pytest.mark.parametrize(("task", "inputs", "name", "other"), CASES)
def test_whose_data(write: Callable[..., Path], task: str, inputs: list[str], name: Any, other: str | None) -> None:
    root = write(inputs, name)
    report = validate(TASKS.get(task), root, "dev")
    assert report.ok is (other is None) and report.other_task is (other is not None)
    assert open_dataset(TASKS.get(task), root, "dev", any_task=True).other_task == other
    if other is not None:
        with pytest.raises(pb.DataError) as caught:
            open_dataset(TASKS.get(task), root, "dev", skip_invalid=True)
        assert caught.value.message == f"{report.errors[0].file}: {report.errors[0]}"


def test_the_questions_may_name_their_benchmark_too(write: Callable[..., Path]) -> None:
    """LaMP's script for LaMP_6 writes an object instead of a list."""
    mail = instructions()["LaMP_6"] + ": Shall we meet?"
    root = write([mail], task="LaMP_6")
    dataset = open_dataset(TASKS.get("lamp_6"), root, "dev")
    assert (dataset.example(0).query, dataset.golds) == ("Shall we meet?", [None])
    root = write([mail], "LaMP_6", task="LaMP_4")
    with pytest.raises(pb.DataError, match=r"dev_questions\.json: task: is 'LaMP_4'; 'LaMP_6' was expected"):
        open_dataset(TASKS.get("lamp_6"), root, "dev")


def test_a_task_of_ones_own_has_its_own_name(write: Callable[..., Path], tmp_path: Path) -> None:
    root = write(["Shorten this article: x"], "News")
    (tmp_path / "own.yaml").write_text("extends: lamp_4\nname: own\nbenchmark: News\n")
    own = TASKS.get(str(tmp_path / "own.yaml"))
    assert (own.aliases, own.instruction) == ((), None)
    assert open_dataset(own, root, "dev").other_task is None
    with pytest.raises(pb.DataError, match="is 'LaMP_4'; 'News' was expected"):
        open_dataset(own, write([HEADLINE], "LaMP_4"), "dev")
    (tmp_path / "wide.yaml").write_text("extends: lamp_4\nname: wide\naliases: [News]\n")
    assert open_dataset(TASKS.get(str(tmp_path / "wide.yaml")), root, "dev").other_task is None


def test_generated_data_are_no_benchmark(tmp_path: Path) -> None:
    (folder,) = write_mini_lamp(tmp_path, [4], SynthConfig.of(2))
    assert open_dataset(TASKS.get("mini_lamp_4"), folder, "dev").other_task is None
    with pytest.raises(pb.DataError, match=r"mini_lamp.json: the data are mini-LaMP's"):
        open_dataset(TASKS.get("lamp_4_time"), folder, "dev")
    assert open_dataset(TASKS.get("lamp_4_time"), folder, "dev", any_task=True).other_task == "mini-LaMP"


WORDS = "--task lamp_7 --data set"
COMMANDS = {
    f"run {WORDS} --generator echo --retriever none --no-controls --results r": True,
    f"run {WORDS} --generator echo --retriever none --no-controls --results r --dry-run": True,
    f"rank {WORDS} --retriever bm25": True,
    f"prompts {WORDS} --retriever bm25": True,
    f"data info {WORDS}": True,
    f"data import {WORDS}": True,
    f"data validate {WORDS}": False,
    f"retrieval eval {WORDS} --retriever bm25": True,
    f"retrieval export-run {WORDS} --retriever bm25": True,
    f"study controls {WORDS}": True,
    f"lm-eval export {WORDS} --generator echo --output frozen": True,
    "score --task lamp_7 --golds set/dev/dev_outputs.json --predictions set/dev/dev_outputs.json": True,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_one_rule_for_all_commands(write: Callable[..., Path], here: Callable[..., Any], command: str) -> None:
    write([HEADLINE] * 3, "LaMP_4")
    ended = here(*command.split())
    assert ended.status == 2
    assert "dev_outputs.json: task: is 'LaMP_4'; 'LaMP_7' was expected" in ended.stderr + ended.stdout
    assert "--any-task" in ended.stderr
    assert here(*command.split(), "--any-task").status == 0


def test_the_row_says_it(write: Callable[..., Path], here: Callable[..., Any], tmp_path: Path) -> None:
    write([HEADLINE] * 3, "LaMP_4")
    run = ("run", *WORDS.split(), "--generator", "echo", "--retriever", "none", "--no-controls", "--results", "r")
    shown = here(*run, "--any-task")
    assert "of another benchmark (LaMP_4)" in shown.stdout and "Reported by others" not in shown.stdout
    (manifest,) = [json.loads(path.read_text()) for path in tmp_path.rglob("manifest.json")]
    assert (manifest["benchmark"], manifest["data"]["other_task"]) == ("LaMP_7", "LaMP_4")
    assert "--any-task" in manifest["command"]
    # Insisting on what is right anyway changes nothing.
    write([TWEET] * 3, "LaMP_7")
    assert here(*run, "--any-task").status == 0
    assert "1 were there already" in here(*run).stderr
