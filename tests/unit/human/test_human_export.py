"""Exports are blind, balanced, drawn by their seed, and come back from their files as they were."""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from support.human_data import export, gold, three, write_method
from support.made_results import sample, write_result

from prlm_bench._util.cells import guarded, unguarded
from prlm_bench.errors import DataError
from prlm_bench.human._checks import NO_ANSWER, wrong_golds
from prlm_bench.human._files import COLUMNS, read_export, read_key, write_export, write_key
from prlm_bench.human._sampling import draw, open_pairs
from prlm_bench.human._schema import Shown
from prlm_bench.results import find_results, load_folders, read_samples

NASTY = "</script><script>alert(1)</script> \"'`,;\t\u2028\u202e\u0000\r\n=1+1"


def test_what_is_shown_does_not_say_whose_answer_it_is(tmp_path: Path) -> None:
    made = export(three(tmp_path), checks=5)
    words = json.dumps([row.model_dump(exclude={"profile"}) for row in made.shown])
    for method in made.key.methods:
        assert method.fingerprint[:8] not in words and method.name not in words
    for word in ("good", "fair", "poor", "right", "check", '"u'):
        assert word not in words
    numbers = [row.pair.rpartition("-")[2] for row in made.shown]
    assert numbers == [f"{number:02d}" for number in range(1, 66)]
    # The profile shows what all methods have retrieved, whichever two are compared.
    assert all(
        {line.split()[2] for line in row.profile.split("\n\n")} == {"good", "fair", "poor"} for row in made.shown
    )


def test_the_key_says_which_answer_is_whose(tmp_path: Path) -> None:
    results = three(tmp_path)
    made = export(results, checks=4)
    answers = {
        "good": gold,
        "fair": lambda i: gold(i).rpartition(" ")[0] + " x",
        "poor": lambda i: gold(i).partition(" ")[0] + " y z",
    }
    assert [method.name for method in made.key.methods] == [f"{name} × k=4 × direct × copy" for name in answers]
    functions = list(answers.values())
    for row in made.shown:
        place = made.key.pairs[row.pair]
        number = int(place.question[1:])
        assert place.user == f"u{number % 10}"
        assert row.question == f"query of {place.question}"
        if place.right is None:
            assert (row.answer_1, row.answer_2) == (functions[place.first](number), functions[place.second](number))


def test_attention_checks_show_the_gold_beside_another_questions(tmp_path: Path) -> None:
    made = export(three(tmp_path), n=30, checks=6)
    checks = [(row, made.key.pairs[row.pair]) for row in made.shown if made.key.pairs[row.pair].right]
    assert len(checks) == 6
    judged = {place.question for place in made.key.pairs.values() if place.right is None}
    for row, place in checks:
        right, wrong = (row.answer_1, row.answer_2) if place.right == 1 else (row.answer_2, row.answer_1)
        assert right == gold(int(place.question[1:]))
        assert not set(right.split()) & set(wrong.split())
        assert place.question not in judged
    places = [number for number, row in enumerate(made.shown) if made.key.pairs[row.pair].right]
    assert places[0] < 20 and places[-1] > 20  # they do not stand together


def test_users_and_methods_are_drawn_equally_often(tmp_path: Path) -> None:
    made = export(three(tmp_path), n=47)
    places = list(made.key.pairs.values())
    users = Counter(place.user for place in places)
    assert sorted(users.values()) == [4] * 3 + [5] * 7
    methods = Counter(frozenset((place.first, place.second)) for place in places)
    assert sorted(methods.values()) == [15, 16, 16]
    assert len({place.question for place in places}) == 47
    first = sum(place.first < place.second for place in places)
    assert 12 < first < 35


def test_users_with_few_questions_give_what_they_have() -> None:
    users = {"a1": "a", **{f"b{i}": "b" for i in range(5)}, **{f"c{i}": "c" for i in range(9)}}
    drawn = draw({q: [(0, 1)] for q in users}, users, 12, random.Random(0))
    assert Counter(users[question] for question, _, _ in drawn) == {"a": 1, "b": 5, "c": 6}
    assert len(draw({q: [(0, 1)] for q in users}, users, 99, random.Random(0))) == 15


def test_the_seed_decides_everything(tmp_path: Path) -> None:
    results = three(tmp_path)
    first, again, other = (export(results, n=20, seed=seed, checks=2) for seed in (0, 0, 1))
    assert first == again
    assert first.key.export != other.key.export
    assert not set(first.key.pairs) & set(other.key.pairs)


def test_equal_answers_are_counted_and_left_out(tmp_path: Path) -> None:
    write_method(tmp_path, "one", lambda i: "same" if i < 20 else "one", n=30)
    write_method(tmp_path, "two", lambda i: " same " if i < 20 else "two", n=30)
    made = export(find_results(tmp_path)[0], n=99)
    assert (made.key.identical, made.key.different, len(made.shown)) == (20, 10, 10)
    assert made.notes == ["only 10 of 99 pairs: no more answers differ"]
    assert open_pairs({"q": ["a", "b", "a "]}).pairs == {"q": [(0, 1), (1, 2)]}


def test_what_cannot_be_exported_is_said(tmp_path: Path) -> None:
    one, two = load_folders([write_method(tmp_path, name, lambda i: "same", n=5) for name in ("one", "two")])
    with pytest.raises(DataError, match="no pairs to judge: all 5 pairs of answers are equal"):
        export([one, two])
    with pytest.raises(DataError, match="two or more different results"):
        export([one, one])
    with pytest.raises(DataError, match="two or more different results"):
        export([one])
    (other,) = load_folders([write_method(tmp_path, "other", gold, n=6)])
    with pytest.raises(DataError, match="answered different questions"):
        export([one, other])
    blind = [
        write_result(tmp_path, [sample("q", "u", name, None)], retriever=name, split="test") for name in ("a", "b")
    ]
    with pytest.raises(DataError, match=r"attention checks need golds.*--attention-checks 0"):
        export(load_folders(blind), checks=1)
    assert len(export(load_folders(blind)).shown) == 1


def test_one_gold_for_all_makes_no_attention_check(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_result(tmp_path, [sample(f"q{i}", "u", name, "Gold ") for i in range(4)], retriever=name)
    made = export(find_results(tmp_path)[0], n=4, checks=3)
    assert made.notes[0] == "only 0 of 3 attention checks: no more golds differ"


def test_numbers_are_checked_against_the_farthest(tmp_path: Path) -> None:
    for name in ("a", "b"):
        samples = [sample(f"q{i}", f"u{i}", name, str(1 + i % 5)) for i in range(10)]
        write_result(tmp_path, samples, retriever=name, task="lamp_3", metrics=["mae@lamp"])
    made = export(find_results(tmp_path)[0], n=1, checks=9)
    for row in made.shown:
        right = made.key.pairs[row.pair].right
        if right:
            gold, wrong = (row.answer_1, row.answer_2) if right == 1 else (row.answer_2, row.answer_1)
            assert abs(int(gold) - int(wrong)) == max(int(gold) - 1, 5 - int(gold))


def test_a_label_is_not_checked_against_another_label() -> None:
    golds: dict[str, str | None] = {f"q{i}": label for i, label in enumerate(("[1]", "[2]", "[1]", None))}
    found = list(wrong_golds(golds, list(golds), 9, random.Random(0), ("[1]", "[2]")))
    assert found == [("q0", "[1]", NO_ANSWER), ("q1", "[2]", NO_ANSWER), ("q2", "[1]", NO_ANSWER)]


def test_only_ratings_that_another_is_far_from_make_a_check() -> None:
    golds: dict[str, str | None] = {f"q{i}": str(i) for i in range(1, 6)}
    found = list(wrong_golds(golds, list(golds), 9, random.Random(0), ("1", "2", "3", "4", "5")))
    assert [(right, wrong) for _, right, wrong in found] == [("1", "5"), ("2", "5"), ("4", "1"), ("5", "1")]


@pytest.mark.parametrize("form", ["csv", "label-studio"])
def test_files_bring_back_what_was_written(tmp_path: Path, form: str) -> None:
    texts = [NASTY, "", "plain", "=2+2", "'=2", "'quoted'", "-1", "@a", "+", "x" * 200_000, "é\u00a0日本 \u200f"]
    shown = [
        Shown(pair=f"ab-{i}", task=text, question=text, profile=text, answer_1=text, answer_2=text)
        for i, text in enumerate(texts)
    ]
    path = tmp_path / "out.file"
    written = write_export(shown, path, form)
    assert read_export(path) == shown
    assert [file.name for file in written] == ["out.file", "out.config.xml"][: 1 + (form != "csv")]


def test_the_csv_file_has_columns_to_fill_in_and_no_formulas(tmp_path: Path) -> None:
    shown = [Shown(pair="ab-1", task="=t", question="+q", profile="-p", answer_1="@a", answer_2="\tb")]
    write_export(shown, tmp_path / "out.csv", "csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [list(COLUMNS), ["ab-1", "'=t", "'+q", "'-p", "'@a", "'\tb", "", ""]]


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_guarding_is_undone(text: str) -> None:
    assert unguarded(guarded(text)) == text
    assert guarded(text)[:1] not in ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def test_label_studio_gets_its_configuration(tmp_path: Path) -> None:
    write_export(export(three(tmp_path / "r"), n=3).shown, tmp_path / "tasks.json", "label-studio")
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    configuration = (tmp_path / "tasks.config.xml").read_text()
    assert [set(task) for task in tasks] == [{"data"}] * 3
    for name in Shown.model_fields:
        assert (f'value="${name}"' in configuration) == (name != "pair")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("pair,task\n1,2\n", "x.csv:1: no column 'question'"),
        ("", "x.csv:1: no column 'pair'"),
        ('pair,task,question,profile,answer_1,answer_2\n"a', "x.csv:2: not CSV"),
        ("pair,task,question,profile,answer_1,answer_2\n", "x.csv: no pairs"),
        ("[1]", "x.csv:1: not a JSON object"),
        ('[{"data": {"pair": "a"}}]', "x.csv:1: task: Field required"),
        ("[{", "x.csv:1: not JSON: Expecting property name"),
        ("[]", "x.csv: no pairs"),
        (b"\xff", "x.csv:1: cannot be read: not UTF-8"),
    ],
)
def test_a_file_that_is_no_export_is_one_line(
    tmp_path: Path, here: Callable[..., Any], content: str | bytes, message: str
) -> None:
    (tmp_path / "x.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert here("human", "page", "x.csv", "--output", "x.html").mistake.startswith(message)
    assert not (tmp_path / "x.html").exists()


def test_keys_are_read_as_they_were_written(tmp_path: Path) -> None:
    key = export(three(tmp_path / "r"), n=5, checks=1).key
    write_key(key, tmp_path / "key.json")
    assert read_key(tmp_path / "key.json") == key
    (tmp_path / "no.json").write_text("{}")
    with pytest.raises(DataError, match=r"no\.json: export: Field required"):
        read_key(tmp_path / "no.json")


def test_the_command_writes_the_export_and_keeps_the_key_apart(tmp_path: Path, here: Callable[..., Any]) -> None:
    three(tmp_path / "results")
    words = ("human", "export", "good", "fair", "poor", "--results", "results", "--n", "10")
    ended = here(*words, "--output", "pairs.csv", "--attention-checks", "2")
    assert (ended.status, ended.stdout) == (0, "pairs.csv\n")
    assert ended.stderr == "the key is in pairs.key.json: do not give it to the annotators\n"
    assert len(read_export(tmp_path / "pairs.csv")) == 12
    assert read_export(tmp_path / "pairs.csv")[0].task == "Personalized news headline generation"
    again = here(*words, "--output", "pairs.json", "--key", "elsewhere.json", "--attention-checks", "2")
    assert again.stdout == "pairs.json\npairs.config.xml\n"
    assert read_key(tmp_path / "elsewhere.json") == read_key(tmp_path / "pairs.key.json")
    assert read_export(tmp_path / "pairs.json") == read_export(tmp_path / "pairs.csv")
    assert "unknown format 'xml'" in here(*words, "--output", "p", "--format", "xml").mistake
    assert "unknown result 'nobody'" in here("human", "export", "good", "nobody", *words[5:], "--output", "p").mistake


def test_items_of_another_user_are_never_shown_as_the_users_own(tmp_path: Path, here: Callable[..., Any]) -> None:
    run = ("run", "--task", "mini_lamp_4", "--synth-users", "3", "--generator", "copy", "--results", "results")
    assert here(*run, "--retriever", "other-user", "--retriever", "recency", "--no-controls").status == 0
    made = ("human", "export", "other-user", "recency", "--results", "results", "--n", "5", "--output")
    assert here(*made, "pairs.csv").status == 0
    assert here(*made, "foreign.csv", "--profile-from", "other-user").status == 0
    (folder,) = (tmp_path / "results" / "mini_lamp_4" / "dev").glob("recency*")
    own = {sample.id: {item.text for item in sample.items} for sample in read_samples(folder)}
    for name, is_own in (("pairs", True), ("foreign", False)):
        key = read_key(tmp_path / f"{name}.key.json")
        for row in read_export(tmp_path / f"{name}.csv"):
            items = set(row.profile.split("\n\n"))
            assert (items <= own[key.pairs[row.pair].question]) == is_own
