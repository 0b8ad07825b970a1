"""A split in two by users: the same halves anywhere, all of a user's questions in one, every field kept."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prlm_bench.data import open_dataset, split_by_user
from prlm_bench.data.lamp._split import first_half
from prlm_bench.errors import DataError
from prlm_bench.files import read_json
from prlm_bench.host import PluginHost

TASK = PluginHost().tasks.get("lamp_4")


def write(folder: Path, questions: list[dict[str, Any]], golds: Any, relevance: Any = None) -> Path:
    place = folder / "dev"
    place.mkdir(parents=True)
    (place / "dev_questions.json").write_text(json.dumps(questions))
    (place / "dev_outputs.json").write_text(json.dumps(golds))
    if relevance is not None:
        (place / "dev_relevance.json").write_text(json.dumps(relevance))
    return folder


def questions_of(users: list[str | None]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    questions, golds = [], []
    for place, user in enumerate(users):
        item = {"id": f"i{place}", "text": "héllo \u2028 <b>", "title": "a title", "date": "2020-01-02", "more": [1.5]}
        text = f"Generate a headline for the following article: words {place}"
        own = {} if user is None else {"user_id": user}
        questions.append({"id": str(place), **own, "input": text, "profile": [item], "kept": {"as": None}})
        golds.append({"id": str(place), "output": f"gold {place}"})
    return questions, golds


def split(folder: Path, *names: str) -> dict[str, dict[str, list[str]]]:
    """User to question ids, by the split that was written."""
    two = (names[0], names[1]) if names else ("train", "test")
    halves = split_by_user(open_dataset(TASK, folder, "dev"), folder / "out", two)
    found: dict[str, dict[str, list[str]]] = {}
    for half in halves:
        written = open_dataset(TASK, folder / "out", half.split)
        assert (half.questions, half.users) == (len(written), written.n_users)
        users: dict[str, list[str]] = {}
        for user, name in zip(written.users, written.ids, strict=True):
            users.setdefault(user, []).append(name)
        found[half.split] = users
    return found


def test_questions_without_users_are_halved_exactly(tmp_path: Path) -> None:
    questions, golds = questions_of([None] * 41)
    found = split(write(tmp_path, questions, {"task": "LaMP_4", "golds": golds}))
    assert sorted(map(len, found.values())) == [20, 21]
    assert not set(found["train"]) & set(found["test"])


def test_all_of_a_users_questions_are_on_one_side(tmp_path: Path) -> None:
    rng = random.Random(0)
    users: list[str | None] = [f"u{rng.randrange(12)}" for _ in range(100)]
    questions, golds = questions_of(users)
    found = split(write(tmp_path, questions, {"task": "LaMP_4", "golds": golds}))
    assert not set(found["train"]) & set(found["test"])
    assert set(found["train"]) | set(found["test"]) == set(users)
    sizes = [sum(map(len, half.values())) for half in found.values()]
    assert sum(sizes) == 100 and abs(sizes[0] - sizes[1]) <= max(users.count(user) for user in users)


def test_the_order_of_the_file_does_not_matter(tmp_path: Path) -> None:
    questions, golds = questions_of([f"u{place // 3}" for place in range(60)])
    first = write(tmp_path / "one", questions, {"task": "LaMP_4", "golds": golds})
    random.Random(1).shuffle(questions)
    random.Random(2).shuffle(golds)
    second = write(tmp_path / "two", questions, {"task": "LaMP_4", "golds": golds})
    assert split(first) == split(second)
    for path in sorted((first / "out").rglob("*.json")):
        assert path.read_bytes() == (second / "out" / path.relative_to(first / "out")).read_bytes()


def test_the_halves_are_known_values() -> None:
    # sha256 of a, b, c, d begins with ca, 3e, 2e, 18.
    assert first_half(["a", "b", "c", "d"]) == {"d", "c"}
    assert first_half(["d", "d", "d", "a", "b", "c"]) == {"d"}
    assert first_half(["a", "a", "a", "b"]) == {"b"}


def test_every_field_is_kept(tmp_path: Path) -> None:
    questions, golds = questions_of(["one", "two", None])
    golds[0]["output"] += " \ud800"  # half of a surrogate pair, which golds may have
    content = {"task": "LaMP_4", "version": 2, "golds": golds}
    folder = write(tmp_path, questions, content, {"0": ["i0"], "2": []})
    split(folder, "a", "b")
    place = folder / "out" / TASK.folder
    written = [read_json(place / name / f"{name}_questions.json") for name in "ab"]
    assert sorted([*written[0], *written[1]], key=lambda row: row["id"]) == questions
    outputs = [read_json(place / name / f"{name}_outputs.json") for name in "ab"]
    assert all((each["task"], each["version"]) == ("LaMP_4", 2) for each in outputs)
    assert sorted([*outputs[0]["golds"], *outputs[1]["golds"]], key=lambda row: row["id"]) == golds
    assert {**read_json(place / "a/a_relevance.json"), **read_json(place / "b/b_relevance.json")} == {
        "0": ["i0"],
        "2": [],
    }


def test_golds_that_are_a_list_stay_one(tmp_path: Path) -> None:
    questions, golds = questions_of([None] * 4)
    split(write(tmp_path, questions, golds))
    assert len(read_json(tmp_path / "out" / TASK.folder / "test/test_outputs.json")) == 2


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    questions, golds = questions_of([None] * 4)
    folder = write(tmp_path, questions, {"task": "LaMP_4", "golds": golds})
    split(folder)
    before = {path: path.read_bytes() for path in (folder / "out").rglob("*.json")}
    with pytest.raises(DataError, match="train already exists"):
        split(folder)
    assert {path: path.read_bytes() for path in (folder / "out").rglob("*.json")} == before


@pytest.mark.parametrize(
    ("users", "names", "said"),
    [
        (["u", "u"], ("train", "test"), "the questions of one user cannot be split"),
        ([None, None], ("x", "x"), "splits cannot be named 'x' and 'x'"),
        ([None, None], ("../x", "y"), "splits cannot be named '../x' and 'y'"),
    ],
)
def test_mistakes(tmp_path: Path, users: list[str | None], names: tuple[str, str], said: str) -> None:
    questions, golds = questions_of(users)
    with pytest.raises(DataError, match=said):
        split(write(tmp_path, questions, {"task": "LaMP_4", "golds": golds}), *names)
    assert not (tmp_path / "out").exists()


def test_malformed_questions_belong_to_no_half(tmp_path: Path) -> None:
    questions, golds = questions_of([None] * 4)
    del questions[1]["profile"]
    folder = write(tmp_path, questions, {"task": "LaMP_4", "golds": golds})
    with pytest.raises(DataError, match=r"1 questions of .* are malformed"):
        split_by_user(open_dataset(TASK, folder, "dev", skip_invalid=True), folder / "out")


def test_the_command_writes_what_other_commands_read(here: Callable[..., Any]) -> None:
    here("data", "synth", "--task", "7", "--dev-users", "9", "-o", "d")
    done = here("data", "split", "--task", "mini_lamp_7", "--data", "d", "-o", "halves", "--json")
    assert done.status == 0, done.stderr
    assert [(row["split"], row["questions"], row["users"]) for row in json.loads(done.stdout)] == [
        ("train", 12, 4),
        ("test", 15, 5),
    ]
    for name in ("train", "test"):
        done = here("data", "validate", "--task", "mini_lamp_7", "--data", "halves", "--split", name)
        assert "0 errors, 0 warnings" in done.stdout, done
    # They are still known to be generated.
    assert here("data", "info", "--task", "lamp_7", "--data", "halves", "--split", "test").status == 2
