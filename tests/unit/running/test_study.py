"""A study is read from YAML, from flags, or from both, and every mistake in it is one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from prlm_bench.cli._run import DEFAULT_CONFIG
from prlm_bench.errors import RunError
from prlm_bench.running import RunConfig, read_run_config, run_file_plugins


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_flags_alone_make_a_study() -> None:
    study = read_run_config(None, {"tasks": ["lamp_4"], "retrievers": ["bm25"], "generators": ["copy"]})
    assert (study.tasks, study.split, study.k, study.reasoners) == (["lamp_4"], "dev", [4], ["direct"])
    assert (study.seeds, study.limit, study.view, study.controls) == ([0], None, "lamp", True)


def test_a_file_holds_every_field(tmp_path: Path) -> None:
    fields: dict[str, Any] = {
        "tasks": ["lamp_4", "lamp_5"],
        "data": "some/where",
        "split": "test",
        "retrievers": ["bm25:k1=1.2", {"name": "bm25", "b": 0.5}],
        "k": [0, 1, 16],
        "reasoners": ["direct:protocol=chat"],
        "generators": ["copy"],
        "methods": ["echo"],
        "rewards": ["format"],
        "metrics": ["rouge1@lamp"],
        "name": "Ours",
        "seeds": [1, 2],
        "limit": 7,
        "view": "prlm",
        "dates": True,
        "controls": False,
        "skip_invalid": True,
        "any_task": True,
        "strict": True,
        "synth_users": 3,
        "max_answer": 5000,
        "results": "out",
        "jobs": 2,
        "plugins": ["mine.py"],
    }
    assert set(fields) == set(RunConfig.model_fields)
    study = read_run_config(written(tmp_path, yaml.safe_dump(fields)), {})
    assert study.model_dump() == fields | {"data": Path("some/where"), "results": Path("out")}


def test_a_file_may_say_it_otherwise(tmp_path: Path) -> None:
    text = (
        "task: lamp_4\nretriever: {name: bm25, k1: 2}\nGenerator: copy\nreasoner: direct\nmethod: echo\nseed: 5\n"
        "reward: format\nskip-invalid: true\nplugin: mine.py\nlenient: false\n"
    )
    study = read_run_config(written(tmp_path, text), {})
    assert (study.tasks, study.retrievers, study.generators) == (["lamp_4"], [{"name": "bm25", "k1": 2}], ["copy"])
    assert (study.reasoners, study.methods, study.seeds, study.rewards) == (["direct"], ["echo"], [5], ["format"])
    assert (study.skip_invalid, study.plugins, study.strict) == (True, ["mine.py"], True)
    assert run_file_plugins(tmp_path / "study.yaml") == ["mine.py"]
    assert not read_run_config(written(tmp_path, "task: lamp_4\nlenient: true\n"), {}).strict


def test_all_mistakes_come_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "tsk: lamp_4\nk: [four]\nlimit: 0\nretreivers: bm25\nsomething: 1\n")
    with pytest.raises(RunError) as caught:
        read_run_config(path, {})
    said = str(caught.value)
    for part in (
        *("tasks: Field required", "k.0: Input should be a valid integer", "limit: Input should be greater"),
        *("tsk: there is no such field, did you mean tasks?", "retreivers: there is no such field, did you mean ret"),
        "something: there is no such field",
    ):
        assert part in said
    assert "\n" not in said
    with pytest.raises(RunError, match="tasks is given twice"):
        read_run_config(written(tmp_path, "tasks: lamp_4\ntask: lamp_5\n"), {})


def test_one_value_counts_as_a_list(tmp_path: Path) -> None:
    text = "tasks: lamp_4\nretrievers: {name: bm25, k1: 2}\nk: 3\nseeds: 5\ngenerators: copy\nmethods: echo\n"
    study = read_run_config(written(tmp_path, text), {})
    assert study.tasks == ["lamp_4"]
    assert study.retrievers == [{"name": "bm25", "k1": 2}]
    assert (study.k, study.seeds, study.generators, study.methods) == ([3], [5], ["copy"], ["echo"])


def test_flags_that_were_given_win(tmp_path: Path) -> None:
    path = written(tmp_path, "tasks: [lamp_4]\nk: [1]\nlimit: 3\ndates: true\ncontrols: false\n")
    flags = {"k": [2, 8], "limit": None, "seeds": [], "dates": False, "controls": None, "split": "test"}
    study = read_run_config(path, flags)
    assert (study.k, study.limit, study.seeds, study.split) == ([2, 8], 3, [0], "test")
    assert (study.dates, study.controls) == (False, False)


def test_the_embedded_study_runs_all_tasks_with_the_tiny_model() -> None:
    study = read_run_config(DEFAULT_CONFIG, {})
    assert study.tasks == [f"mini_lamp_{number}" for number in range(1, 8)]
    assert study.generators == ["tiny", "vote", "nearest"]
    assert study.reasoners == ["direct:protocol=chat"]
    assert study.controls


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tasks: [lamp_4]\nzzz: bm25\n", "zzz: there is no such field (known fields: tasks, data,"),
        ("k: [1]\n", "tasks: Field required"),
        ("tasks: []\n", "tasks: List should have at least 1 item"),
        ("tasks: [lamp_4]\nseeds: []\n", "seeds: List should have at least 1 item"),
        ("tasks: [lamp_4]\nk: [4, -1]\n", "k: k must be 0 or more"),
        ("tasks: [lamp_4]\nk: [four]\n", "k.0: Input should be a valid integer"),
        ("tasks: [lamp_4]\nlimit: 0\n", "limit: Input should be greater than or equal to 1"),
        ("tasks: [lamp_4]\nview: other\n", "view: Input should be 'lamp' or 'prlm'"),
        ("tasks: [lamp_4]\nsynth_users: 1\n", "synth_users: Input should be greater than or equal to 2"),
        ("- lamp_4\n", "a run file must be a mapping (see the guide on run files)"),
        ("", "a run file must be a mapping"),
        ("tasks: [lamp_4\n", "2: cannot be read: while parsing a flow sequence"),
    ],
)
def test_a_mistake_names_file_and_field(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(RunError) as caught:
        read_run_config(path, {})
    assert str(caught.value).removeprefix(f"{path}:").lstrip().startswith(said)
    assert "\n" not in str(caught.value)


def test_a_mistake_in_flags_names_the_command() -> None:
    with pytest.raises(RunError, match=r"^run: k: k must be 0 or more$"):
        read_run_config(None, {"tasks": ["lamp_4"], "k": [-1]})


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "study.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError) as caught:
        read_run_config(path, {})
    assert str(caught.value).startswith(f"{path}: " if content is None else f"{path}:1: ")
    assert ": cannot be read: " in str(caught.value)
    assert "\n" not in str(caught.value)
