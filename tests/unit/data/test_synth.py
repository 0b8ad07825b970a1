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
from support.paths import REPOSITORY

from prlm_bench.data.synth import VERSION, SynthConfig, answer, truth, write_mini_lamp
from prlm_bench.errors import DataError, PrlmBenchError, UnknownNameError
from prlm_bench.tasks import TaskRegistry

TASKS = (1, 2, 3, 4, 5, 6, 7)
SPLITS = ("train", "dev", "test")
SIZES: dict[str, Any] = {"train_users": 2, "dev_users": 1, "test_users": 1, "questions_per_user": 2, "profile_size": 6}
TINY = SynthConfig(**SIZES)
PINNED = "68bf66d5fc497c223ae027317dd406210b8d82ef0d53d529d8123060b2fd4ce7"
VOCABULARY = REPOSITORY / "prlm_bench" / "data" / "synth" / "vocabulary"


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
    task = TaskRegistry().get(f"mini_lamp_{number}")
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
    task = TaskRegistry().get(f"mini_lamp_{number}")
    for question in read(root / task.folder, "dev").questions:
        parts = task.query.parts(question["input"])
        assert all(parts)
        if number == 1:
            assert question["input"].endswith(f'[1]: "{parts[0]}" [2]: "{parts[1]}"')
        else:
            assert question["input"].endswith(parts[0])
            assert (20 if number == 4 else 12) <= len(parts[0].split()) <= 55
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
CITED = '[1]: "Steady Spam Filtering with Graph Pruning" [2]: "Otter: Simple Grasp Planning with Random Forests"'
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
    assert answer(number, text, preferences) == gold


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
    """The blind rivals read inputs without fault and answer as the best single user of train, or as most users do."""
    folder = root / f"mini_LaMP_{number}"
    score = SCORES[number]
    styles = [each for user, each in truth(folder).items() if user.startswith(f"{number}1")][:25]
    train, dev = (read(folder, split) for split in ("train", "dev"))

    def quality(style: Any, split: Split) -> float:
        return fmean(score(answer(number, q["input"], style), split.golds[q["id"]]) for q in split.questions)

    assert quality(max(styles, key=lambda style: quality(style, train)), dev) < limit
    votes = ((Counter(answer(number, q["input"], each) for each in styles), q["id"]) for q in dev.questions)
    assert fmean(score(vote.most_common(1)[0][0], dev.golds[name]) for vote, name in votes) < limit


VOCABULARIES = dict(enumerate(("papers", "films", "reviews", "news", "papers", "mails", "tweets"), 1))
SOURCES = dict(enumerate(("abstract", "description", "text", "text", "abstract", "text", "text"), 1))


def phrases(number: int) -> dict[str, list[str]]:
    """By topic (or tag, or aspect) the phrases that only texts about it contain."""
    words = yaml.safe_load((VOCABULARY / f"{VOCABULARIES[number]}.yaml").read_text(encoding="utf-8"))
    if number == 2:
        return dict(words["hints"])
    if number == 3:
        return {aspect: [aspect] for aspect in words["aspects"]}
    if number == 7:
        return {topic: [scene.split("/")[1] for scene in scenes] for topic, scenes in words["topics"].items()}
    field = {1: "problems", 4: "objects", 5: "problems", 6: "things"}[number]
    return {topic: entry[field] for topic, entry in words["topics"].items()}


def about(topics: dict[str, list[str]], text: str) -> frozenset[str]:
    return frozenset(topic for topic, known in topics.items() if any(phrase in text.lower() for phrase in known))


@pytest.mark.parametrize("number", TASKS)
def test_relevant_is_what_shares_the_topic(root: Path, number: int) -> None:
    task, topics = TaskRegistry().get(f"mini_lamp_{number}"), phrases(number)
    questions, _, relevance = read(root / task.folder, "dev")
    for question in questions:
        asked = about(topics, " ".join(task.query.parts(question["input"])))
        shared = {item["id"]: asked & about(topics, item[SOURCES[number]]) for item in question["profile"]}
        enough = 2 if number in (2, 3) else 1
        assert [name for name, same in shared.items() if len(same) >= enough] == relevance[question["id"]]


@pytest.mark.parametrize("number", TASKS[1:])
def test_own_relevant_items_tell_more_than_those_of_others(root: Path, number: int) -> None:
    task, topics, score = TaskRegistry().get(f"mini_lamp_{number}"), phrases(number), SCORES[number]
    assert task.answer_field is not None
    questions, golds, relevance = read(root / task.folder, "dev")
    items = {item["id"]: item for question in questions for item in question["profile"]}
    subjects = {name: about(topics, item[SOURCES[number]]) for name, item in items.items()}
    own, others = [], []
    for question in questions:
        gold, relevant = golds[question["id"]], relevance[question["id"]]
        subject = frozenset.intersection(*(subjects[name] for name in relevant))
        own.append(fmean(score(items[name][task.answer_field], gold) for name in relevant))
        foreign = (name for name in items if subject <= subjects[name] and not name.startswith(question["user_id"]))
        others += [score(items[name][task.answer_field], gold) for name in foreign]
    assert len(others) > 500
    assert fmean(own) > fmean(others) + (0.15 if number != 3 else 0.25)


@pytest.mark.parametrize(("number", "strength"), [(4, 0.75), (5, 0.75), (6, 0.75), (4, 0.6), (4, 1.0)])
def test_the_aggregated_trait_shows_with_the_set_strength(tmp_path: Path, number: int, strength: float) -> None:
    shown = true_items(tmp_path, number, SynthConfig(train_users=100, noise=0, strength=strength))
    assert fmean(shown) == pytest.approx(strength, abs=0 if strength == 1 else 0.03)


def test_noise_is_the_share_of_traits_drawn_at_random(tmp_path: Path) -> None:
    """Four traits of 12, 2, 3 and 6 options; a random draw may hit the user's own."""
    shown = true_items(tmp_path, 4, SynthConfig(train_users=100, noise=0.3, strength=1))
    expected = (1 - 0.3 * 11 / 12) * (1 - 0.3 / 2) * (1 - 0.3 * 2 / 3) * (1 - 0.3 * 5 / 6)
    assert fmean(shown) == pytest.approx(expected, abs=0.04)


def true_items(out: Path, number: int, config: SynthConfig) -> list[bool]:
    """For each item of the train users, whether it is titled in all as its author's golds are."""
    (folder,) = write_mini_lamp(out, [number], config)
    preferences = truth(folder)
    items = {
        item["id"]: (item, preferences[question["user_id"]])
        for question in read(folder, "train").questions
        for item in question["profile"]
    }
    return [answer(number, item[SOURCES[number]], each) == item["title"] for item, each in items.values()]


def test_a_few_own_papers_may_mislead_but_their_count_tells_the_citation(root: Path) -> None:
    task, topics = TaskRegistry().get("mini_lamp_1"), phrases(1)
    questions, golds, _ = read(root / task.folder, "dev")
    right = []
    for question in questions:
        counts = Counter(topic for item in question["profile"] for topic in about(topics, item["abstract"]))
        first, second = (counts[topic] for part in task.query.parts(question["input"]) for topic in about(topics, part))
        right.append(0.5 if first == second else float(golds[question["id"]] == ("[1]" if first > second else "[2]")))
    assert 0.85 < fmean(right) < 1


# The vocabulary.


def test_the_vocabulary_is_all_text() -> None:
    for path in VOCABULARY.glob("*.yaml"):
        assert all(texts(yaml.safe_load(path.read_text(encoding="utf-8"))))


def test_small_models_can_learn_the_words(root: Path) -> None:
    types: set[str] = set()
    for number in TASKS:
        task = TaskRegistry().get(f"mini_lamp_{number}")
        for question in read(root / task.folder, "dev").questions:
            shown = [question["input"], *(item[field] for item in question["profile"] for field in task.item_fields)]
            types.update(re.findall("[a-z0-9]+", " ".join(shown).lower()))
    assert 1000 <= len(types) <= 1500


def test_groups_of_tags_share_one_tag_at_most() -> None:
    words = yaml.safe_load((VOCABULARY / "films.yaml").read_text(encoding="utf-8"))
    groups = [frozenset(group) for group in words["groups"]]
    assert all(len(one & other) < 2 for one in groups for other in groups if one is not other)
    assert frozenset.union(*groups) == set(words["hints"]) == set(TaskRegistry().get("lamp_2").labels)
    assert list(words["hints"]) == list(TaskRegistry().get("lamp_2").labels)


# Determinism, streaming and mistakes.


def test_bytes_depend_on_the_arguments_alone(tmp_path: Path) -> None:
    config = SynthConfig(train_users=40, dev_users=3, test_users=2)
    write_mini_lamp(tmp_path, TASKS, config)
    assert digest(tmp_path) == PINNED, "the output changed: raise VERSION and pin the new hash"
    write_mini_lamp(tmp_path, TASKS, config)
    assert digest(tmp_path) == PINNED


def test_every_argument_counts_but_not_how_a_number_is_written(tmp_path: Path) -> None:
    changes = ({}, {"strength": 1}, {"strength": 1.0}, {"seed": 1}, {"noise": 0.2}, {"share_users": True})
    digests = []
    for index, change in enumerate(changes):
        write_mini_lamp(tmp_path / str(index), [4], SynthConfig(**{**SIZES, **change}))
        digests.append(digest(tmp_path / str(index)))
    assert digests[1] == digests[2]
    assert len(set(digests)) == len(changes) - 1


def test_more_users_leave_the_others_as_they_are(tmp_path: Path) -> None:
    few, many = (
        write_mini_lamp(tmp_path / name, [7], SynthConfig(train_users=users))[0]
        for name, users in (("few", 2), ("many", 5))
    )
    assert read(many, "train").questions[:6] == read(few, "train").questions
    assert truth(few).items() <= truth(many).items()


def test_progress_counts_users(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    folders = write_mini_lamp(tmp_path, [3, 1, 3], TINY, progress=lambda *step: seen.append(step))
    assert folders == [tmp_path / "mini_LaMP_3", tmp_path / "mini_LaMP_1"]
    assert seen == [(folder.name, done, 4) for folder in folders for done in (1, 2, 3, 4)]


def test_an_interrupted_write_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    (folder,) = write_mini_lamp(tmp_path, [4], TINY)
    before = (folder / "dev" / "dev_questions.json").read_bytes()

    def stop(_: str, done: int, __: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_mini_lamp(tmp_path, [4], SynthConfig(**{**SIZES, "seed": 5}), progress=stop)
    assert not (folder / "mini_lamp.json").exists()
    assert (folder / "dev" / "dev_questions.json").read_bytes() == before
    assert not [path for path in folder.rglob("*") if path.name.endswith(".tmp")]


def test_memory_does_not_grow_with_the_users(tmp_path: Path) -> None:
    def peak(users: int) -> int:
        tracemalloc.start()
        write_mini_lamp(tmp_path, [7], SynthConfig(train_users=users, questions_per_user=1, profile_size=6))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)
    assert peak(2000) < peak(100) + 200_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1.5}, "seed is 1.5"),
        ({"seed": True}, "seed is True"),
        ({"dev_users": 0}, "dev_users is 0"),
        ({"questions_per_user": 1001}, "questions_per_user is 1001"),
        ({"profile_size": 2}, "profile_size is 2"),
        ({"profile_size": "12"}, "profile_size is '12'"),
        ({"noise": -0.1}, "noise is -0.1"),
        ({"noise": float("nan")}, "noise is nan"),
        ({"strength": 0.5}, "strength is 0.5"),
        ({"strength": None}, "strength is None"),
    ],
)
def test_sizes_and_shares_are_checked(change: dict[str, Any], message: str) -> None:
    with pytest.raises(PrlmBenchError, match=re.escape(message)) as caught:
        SynthConfig(**change)
    assert caught.value.hint and "\n" not in str(caught.value)


def test_mistakes_get_one_line(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown mini-LaMP task '8'"):
        write_mini_lamp(tmp_path / "none", [4, 8])
    assert not (tmp_path / "none").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(PrlmBenchError, match="cannot be written"):
        write_mini_lamp(tmp_path / "file", [4], TINY)
    with pytest.raises(DataError, match="cannot be read"):
        truth(tmp_path / "nowhere")
    for content in ("", "{}", "[]", '{"users": 3}', '{"users": {'):
        (tmp_path / "mini_lamp.json").write_text(content)
        with pytest.raises(DataError):
            truth(tmp_path)


@pytest.mark.parametrize("number", TASKS)
def test_foreign_texts_are_refused(root: Path, number: int) -> None:
    preferences = next(iter(truth(root / f"mini_LaMP_{number}").values()))
    with pytest.raises(DataError):
        answer(number, "Something else, nothing to do with it.", preferences)
