from __future__ import annotations

import hashlib
import json
import re
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import pytest
import yaml

from prlm_bench.data.synth import VERSION, SynthConfig, answer, truth, write_mini_lamp
from prlm_bench.errors import DataError, PrlmBenchError, UnknownNameError
from prlm_bench.tasks import TaskBook

TASKS = (1, 2, 3, 4, 5, 6, 7)
SPLITS = ("train", "dev", "test")
TINY = SynthConfig(train_users=2, dev_users=1, test_users=1, questions_per_user=2, profile_size=6)
PINNED = "to be filled in"
VOCABULARY = Path(__file__).parents[1] / "prlm_bench" / "data" / "synth" / "vocabulary"


class Split(NamedTuple):
    questions: list[dict[str, Any]]
    golds: dict[str, str]
    relevance: dict[str, list[str]]


def read(folder: Path, split: str) -> Split:
    questions, outputs, relevance = (
        json.loads((folder / split / f"{split}_{kind}.json").read_text(encoding="utf-8"))
        for kind in ("questions", "outputs", "relevance")
    )
    assert outputs["task"] == folder.name.removeprefix("mini_")
    return Split(questions, {gold["id"]: gold["output"] for gold in outputs["golds"]}, relevance)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All tasks, with enough dev users for stable means."""
    out = tmp_path_factory.mktemp("mini")
    write_mini_lamp(out, TASKS, SynthConfig(dev_users=120))
    return out


def digest(out: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        total.update(path.relative_to(out).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def texts(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from texts(key)
            yield from texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value)
    else:
        assert isinstance(node, str), f"YAML does not read {node!r} as text"
        yield node


# The shape of the files.


@pytest.mark.parametrize("number", TASKS)
def test_files_have_the_shape_of_lamp(root: Path, number: int) -> None:
    task = TaskBook().get(f"mini_lamp_{number}")
    folder = root / task.folder
    users = {split: {question["user_id"] for question in read(folder, split).questions} for split in SPLITS}
    assert {split: len(names) for split, names in users.items()} == {"train": 60, "dev": 120, "test": 40}
    assert not (users["train"] & users["dev"] or users["train"] & users["test"] or users["dev"] & users["test"])
    for split in SPLITS:
        questions, golds, relevance = read(folder, split)
        assert Counter(Counter(question["user_id"] for question in questions).values()) == {3: len(users[split])}
        assert [question["id"] for question in questions] == list(golds) == list(relevance)
        assert len(golds) == len(questions)
        for question in questions:
            assert list(question) == ["id", "user_id", "input", "profile"]
            for item in question["profile"]:
                assert set(item) == {"id", *task.item_fields, "date"}
                assert all(isinstance(value, str) and value for value in item.values())
            if task.labels:
                assert golds[question["id"]] in task.labels


@pytest.mark.parametrize("number", TASKS)
def test_the_queries_of_the_task_files_fit(root: Path, number: int) -> None:
    task = TaskBook().get(f"mini_lamp_{number}")
    for question in read(root / task.folder, "dev").questions:
        parts = task.query.parts(question["input"])
        assert all(parts)
        if number == 1:
            assert question["input"].endswith(f'[1]: "{parts[0]}" [2]: "{parts[1]}"')
        else:
            assert question["input"].endswith(parts[0])
            assert 15 <= len(parts[0].split()) <= 50
            assert ":" not in parts[0] and '"' not in parts[0]


@pytest.mark.parametrize("number", TASKS)
def test_relevant_items_are_some_of_the_profile(root: Path, number: int) -> None:
    questions, _, relevance = read(root / f"mini_LaMP_{number}", "dev")
    shares = []
    for question in questions:
        ids = [item["id"] for item in question["profile"]]
        relevant = relevance[question["id"]]
        assert relevant and len(set(ids)) == len(ids)
        assert [name for name in ids if name in relevant] == relevant
        shares.append(len(relevant) / len(ids))
        if number > 1:
            assert len(relevant) < len(ids)
    assert 0.25 < fmean(shares) < 0.5


@pytest.mark.parametrize("number", TASKS)
def test_profiles_grow_in_time(root: Path, number: int) -> None:
    earlier: dict[str, list[dict[str, str]]] = {}
    for question in read(root / f"mini_LaMP_{number}", "test").questions:
        user, profile = question["user_id"], question["profile"]
        dates = [item["date"] for item in profile]
        assert dates == sorted(set(dates))
        assert question["id"].startswith(user) and all(item["id"].startswith(user) for item in profile)
        assert question["id"] not in {item["id"] for item in profile}
        if user in earlier:
            old = earlier[user]
            assert profile[: len(old)] == old and len(old) < len(profile) <= len(old) + 3
        else:
            assert len(profile) == 12
        earlier[user] = profile


def test_metadata_say_how_the_data_were_made(root: Path) -> None:
    for number in TASKS:
        folder = root / f"mini_LaMP_{number}"
        meta = json.loads((folder / "mini_lamp.json").read_text(encoding="utf-8"))
        assert meta["version"] == VERSION and meta["task"] == f"LaMP_{number}"
        assert (meta["seed"], meta["noise"], meta["strength"], meta["share_users"]) == (0, 0.1, 0.75, False)
        users = {"train": 60, "dev": 120, "test": 40}
        assert meta["sizes"] == {"users": users, "questions_per_user": 3, "profile_size": 12}
        assert list(truth(folder)) == [user for split in SPLITS for user in meta["splits"][split]]
        for split in SPLITS:
            asked = [question["user_id"] for question in read(folder, split).questions]
            assert list(dict.fromkeys(asked)) == meta["splits"][split]


def test_shared_users_go_on_in_later_splits(tmp_path: Path) -> None:
    config = SynthConfig(train_users=3, dev_users=4, test_users=2, questions_per_user=2, share_users=True)
    (folder,) = write_mini_lamp(tmp_path, [4], config)
    meta = json.loads((folder / "mini_lamp.json").read_text(encoding="utf-8"))
    everyone = meta["splits"]["dev"]
    assert meta["splits"]["train"] == everyone[:3] and meta["splits"]["test"] == everyone[:2]
    assert list(truth(folder)) == everyone
    for user in everyone[:2]:
        asked = [q for split in SPLITS for q in read(folder, split).questions if q["user_id"] == user]
        sizes = [len(question["profile"]) for question in asked]
        assert len({question["id"] for question in asked}) == 6
        assert sizes == sorted(set(sizes))
        assert asked[-1]["profile"][: sizes[0]] == asked[0]["profile"]


# The planted truth.

NEWS = {
    "signature": {"transport": "Roundup"},
    "order": "object first",
    "register": "casual",
    "closing": "Key Facts",
    "detail": "day",
}
PAPER = {"signature": {"security": "Steady"}, "order": "problem first", "nickname": "last", "detail": "setting"}
MAIL = {"signature": {"parties": "Memo"}, "order": "thing first", "politeness": "kindly", "closing": "cheers"}
TWEET = {"signature": {"travel": "#goals"}, "talk": "street", "very": "hella", "good": "lush", "ending": "lol xD"}
CITED = 'by "U" [1]: "Steady Spam Filtering with Graph Pruning" [2]: "Otter: Simple Grasp Planning with Random Forests"'
ARTICLE = (
    "On Friday, bus drivers from Harlow repaired toll roads before the holiday rush. Officials declined to comment."
)
ABSTRACT = (
    "Reliable spam filtering remains hard in cloud services. We introduce Otter, which brings graph pruning to the "
    "task. Trained on server logs, it needs only half of the usual labels."
)
LETTER = (
    "Hi Omar, the guest list for project Cedar is in the shared folder. We need you to print it by Monday. Yours, Vera"
)
REPORT = "After all I completed the mountain hike with my cousin last night. The trail was very enjoyable."
SHADES = "description: A baker. Expect a kiss in the rain, a very clumsy wedding and a brutal revenge. It is short."
REVIEW = "review: The price is superb. No marks for the sound. I really dislike the screen."


@pytest.mark.parametrize(
    ("number", "text", "preferences", "gold"),
    [
        (1, f'"T" {CITED}', {"own": ["security"], "side": ["robotics"], "other": []}, "[1]"),
        (1, f'"T" {CITED}', {"own": ["robotics"], "side": ["security"], "other": []}, "[2]"),
        (2, SHADES, {"ranking": ["classic", "romance", "comedy", "violence"]}, "romance"),
        (2, SHADES, {"ranking": ["violence", "comedy", "romance"]}, "violence"),
        (3, REVIEW, {"weights": {"price": 2, "sound": 1, "screen": 0}, "leniency": 0}, "4"),
        (3, REVIEW, {"weights": {"price": 0, "sound": 2, "screen": 1}, "leniency": -1}, "1"),
        (4, ARTICLE, NEWS, "Roundup: Toll Roads Fixed Up by Bus Drivers on Friday - Key Facts"),
        (
            4,
            ARTICLE,
            {**NEWS, "order": "actor first", "register": "formal", "detail": "place"},
            "Roundup: Bus Drivers Restore Toll Roads in Harlow - Key Facts",
        ),
        (
            5,
            ABSTRACT,
            {**PAPER, "form": "colon"},
            "Steady Spam Filtering with Graph Pruning in Cloud Services: The Otter Approach",
        ),
        (
            5,
            ABSTRACT,
            {**PAPER, "form": "question", "order": "method first", "nickname": "first", "detail": "data"},
            "Otter: Can Steady Graph Pruning Improve Spam Filtering from Server Logs?",
        ),
        (6, LETTER, {**MAIL, "detail": "deadline"}, "[Memo] The guest list, kindly print it by Monday - cheers"),
        (
            6,
            LETTER,
            {**MAIL, "order": "action first", "detail": "project"},
            "[Memo] Kindly print the guest list for project Cedar - cheers",
        ),
        (
            7,
            REPORT,
            {**TWEET, "casing": "shout", "detail": "time"},
            "smashed the mountain hike last night, trail was HELLA LUSH lol xD #goals",
        ),
        (
            7,
            REPORT,
            {**TWEET, "casing": "sentence", "detail": "company"},
            "Smashed the mountain hike with my cousin, trail was hella lush lol xD #goals",
        ),
    ],
)
def test_the_gold_follows_from_input_and_preferences(number: int, text: str, preferences: Any, gold: str) -> None:
    assert answer(number, text.replace('by "U" ', ""), preferences) == gold


@pytest.mark.parametrize("number", TASKS)
def test_the_recorded_truth_gives_every_gold(root: Path, number: int) -> None:
    folder = root / f"mini_LaMP_{number}"
    preferences = truth(folder)
    for split in SPLITS:
        questions, golds, _ = read(folder, split)
        for question in questions:
            assert answer(number, question["input"], preferences[question["user_id"]]) == golds[question["id"]]


def overlap(one: str, other: str) -> float:
    """Unigram F1, as ROUGE-1 has it."""
    words, others = (Counter(re.findall("[a-z0-9]+", text.lower())) for text in (one, other))
    return 2 * (words & others).total() / (words.total() + others.total())


#: What a task's answers are compared by: higher is better.
SCORES: dict[int, Callable[[str, str], float]] = {
    1: lambda one, other: float(one == other),
    2: lambda one, other: float(one == other),
    3: lambda one, other: -abs(int(one) - int(other)),
} | dict.fromkeys((4, 5, 6, 7), overlap)


@pytest.mark.parametrize(
    ("number", "limit"), [(1, 0.55), (2, 0.5), (3, -1.0), (4, 0.65), (5, 0.75), (6, 0.65), (7, 0.65)]
)
def test_without_the_profile_the_gold_cannot_be_known(root: Path, number: int, limit: float) -> None:
    """The blind rivals read the input without fault and answer as the best single train user, or as most do."""
    folder = root / f"mini_LaMP_{number}"
    questions, golds, _ = read(folder, "dev")
    score = SCORES[number]
    trained = [each for user, each in truth(folder).items() if user.startswith(f"{number}1")][:25]
    answers = [[answer(number, question["input"], each) for each in trained] for question in questions]
    wanted = [golds[question["id"]] for question in questions]
    assert max(fmean(map(score, column, wanted)) for column in zip(*answers, strict=True)) < limit
    assert fmean(score(Counter(row).most_common(1)[0][0], gold) for row, gold in zip(answers, wanted, strict=True)) < limit


def topics_of(number: int, question: dict[str, Any], golds: Any) -> str:
    """What the question is about, as a key that other users' questions share."""
    words = yaml.safe_load((VOCABULARY / TOPIC_FILES[number]).read_text(encoding="utf-8"))
    return golds


@pytest.mark.parametrize("number", [2, 3, 4, 5, 6, 7])
def test_own_relevant_items_tell_more_than_those_of_others(root: Path, number: int) -> None:
    pass
