"""Answers are read strictly where that is possible, else by the first tolerant step that fits, and never invented."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

import numpy as np
import orjson
import pytest
from hypothesis import assume, example, given, strategies as st
from support.paths import REPOSITORY

from prlm_bench.host import PluginHost
from prlm_bench.metrics import Pairs
from prlm_bench.prompting import find_answer, read_object, split_reasoning
from prlm_bench.prompting._parsing import STEPS
from prlm_bench.records import Answer
from prlm_bench.tasks import TaskRegistry

BOOK = TaskRegistry()
MANUAL = REPOSITORY / "docs" / "guides" / "reasoners.md"
TITLES, TAGS, PAPERS, SCORES = (BOOK.get(name) for name in ("lamp_4", "lamp_2", "lamp_1", "lamp_3"))

#: Any value that a model might write, quotes of all kinds inside it, and none of the signs that end an object.
LETTERS = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="{}\\")
VALUES = (
    st.text(LETTERS, min_size=1, max_size=40)
    .map(lambda text: " ".join(text.split()))
    .filter(lambda text: bool(text) and text not in ("...", "…") and "title" not in text.lower())
)
#: The same without quotes at either end and without what looks like the end of a value.
PLAIN = VALUES.filter(
    lambda text: not set(text) & set('"“”„‟«»:,`') and text.strip("'‘’‚‛ ") == text and "</think>" not in text
)
AROUND = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="{}'\""), max_size=30).filter(
    lambda text: "think>" not in text and "title" not in text.lower()
)


@given(value=VALUES)
def test_whole_objects_are_strict(value: str) -> None:
    for text in (json.dumps({"title": value}), repr({"title": value}), f" \n{json.dumps({'x': 1, 'title': value})}\t"):
        assert read_object(text, "title") == (value, "strict")


@given(value=PLAIN, before=AROUND, after=AROUND)
@example("It's a dog's life", "Sure! ", "")
@example("x", "```json\n", "\n```")
@example("'tis", "", " Done.")
def test_objects_among_other_text(value: str, before: str, after: str) -> None:
    text = f"{before}{{ 'title' : '{value}' }}{after}"
    found, step = read_object(text, "title")
    assert (found, step in ("strict", "embedded")) == (value, True)


@given(value=VALUES, before=AROUND.filter(lambda text: bool(text.strip())))
def test_escapes_are_undone_in_objects_among_other_text(value: str, before: str) -> None:
    assume("'" not in value)
    assert read_object(f"{before}{json.dumps({'title': value})}.", "title") == (value, "embedded")


@given(values=st.lists(PLAIN, min_size=1, max_size=4), between=AROUND)
def test_the_last_object_wins(values: list[str], between: str) -> None:
    text = between.join(f"{{'title': '{value}'}}" for value in values) + " ."
    assert read_object(text, "title") == (values[-1], "embedded")


@given(value=PLAIN)
def test_typographic_quotes(value: str) -> None:
    for first, last in ("“”", "„“", "«»", "‘’"):
        assert read_object(f"{{{first}title{last}: {first}{value}{last}}}", "title") == (value, "typographic")


@given(value=PLAIN)
def test_keys_in_other_case(value: str) -> None:
    for key in ("Title", "TITLE"):
        assert read_object(json.dumps({key: value}, ensure_ascii=False), "title") == (value, "key-case")


@given(value=PLAIN.filter(lambda text: "'" not in text))
def test_quotes_that_do_not_match(value: str) -> None:
    for text in (f"{{'title': \"{value}'}}", f"{{'title': '{value}}}", f"{{'title': {value}'}}"):
        assert read_object(text, "title") == (value, "mismatched")


@given(value=PLAIN.filter(lambda text: "'" not in text), data=st.data())
def test_truncated_ends(value: str, data: st.DataObject) -> None:
    whole = f"{{'title': '{value}'}}"
    cut = whole[: data.draw(st.integers(len("{'title': '"), len(whole) - 1))]
    found, step = read_object(cut, "title")
    kept = cut[len("{'title': '") :].removesuffix("'").strip()
    assert (found, step) == ((kept, "truncated") if kept not in ("", "...", "…") else ("", None))


@given(text=st.text(st.characters(exclude_categories=("Cs",), exclude_characters="{,"), max_size=80))
def test_there_is_no_object_without_a_brace(text: str) -> None:
    assert read_object(text, "title") == ("", None)


FRAGMENTS = st.sampled_from([
    "{", "}", "'", '"', "title", "'title'", ":", " ", ",", "\\", "\\ud83d", "{'title': '", "'}", "<think>",
    "</think>", "```", "\n", "…", "“", "”", "comedy", "[1]", "3", "\x00", "{{1}}", "{'title': {", "é", "\ud83d",
])  # fmt: skip


@given(text=st.lists(FRAGMENTS, max_size=25).map("".join) | st.text(max_size=60))
@example("{{'title': 'x'}}")
@example('{"title": "\\ud83d"}')
def test_anything_can_be_read(text: str) -> None:
    for task in (TITLES, TAGS, PAPERS, SCORES):
        for key in ("title", None):
            for thinks in (False, True):
                answer = find_answer(task, text, key, thinks=thinks)
                assert (answer.parsed is None) == (answer.text == "")
                assert answer.parsed is None or answer.parsed in STEPS
                assert answer.text == answer.text.strip()
                if "\ud83d" not in text:
                    orjson.dumps(answer.text)


@pytest.mark.parametrize(
    "text",
    [
        "{'title':" * 20_000,
        ", 'title':'" * 20_000,
        ", 'title':" * 20_000,
        "{'title': '" + "a'" * 50_000,
        "{'title': '" + "' , " * 50_000,
        "{'title': 'x', " + "'a' , " * 50_000,
        "{'title': x" + " " * 50_000,
        "{'title': 'x" + " " * 50_000 + "y",
        "{" * 50_000,
        "{'title': " + "[" * 50_000 + "}",
    ],
)
def test_long_nonsense_takes_little_time(text: str) -> None:
    start = time.perf_counter()
    read_object(text, "title")
    assert time.perf_counter() - start < 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{'title': 'It's a dog's life'}", ("It's a dog's life", "embedded")),
        ('```json\n{"title": "say \\"yes\\""}\n```', ('say "yes"', "embedded")),
        ("{“title”: “it’s”}", ("it’s", "typographic")),
        ("{title: Plain words}", ("Plain words", "embedded")),
        ("so {'x': 'y', 'title': 'z', 'w': 'v'}", ("z", "embedded")),
        ("{'title': 'Use {x} now'} ok", ("Use {x} now", "embedded")),
        ("{'title': 'abc}, then {'title': 'def'}", ("def", "embedded")),
        ("{'title': 'good'} Answer with {'title': '...'}", ("good", "embedded")),
        ("{'title': 'good'} {'title': ''}", ("good", "embedded")),
        ("{'title': 'whole'} {'title': 'cut o", ("whole", "embedded")),
        ("{'Title': “x”} done", ("x", "typographic")),
        ("{'title': '...'}", ("", None)),
        ("{'title': ''}", ("", "strict")),
        ("{'title': [1]}", ("[1]", "embedded")),
        ("{'title': null} or {\"title\": None}", ("", None)),
        ("{'headline': 'x'}", ("", None)),
        ("{'title':", ("", None)),
        ('{"title": "\\ud83d"}', ("\ufffd", "strict")),
        ("{{'title': 'x'}}", ("x", "embedded")),
        ("{'title': 'x'\n```", ("x", "truncated")),
    ],
)
def test_objects_one_by_one(text: str, expected: tuple[str, str | None]) -> None:
    assert read_object(text, "title") == expected


@given(reasoning=AROUND, value=PLAIN)
def test_reasoning_is_split_off(reasoning: str, value: str) -> None:
    """What is said before `</think>` is no answer, even where it looks like one."""
    draft = reasoning + " {'title': 'a draft'}"
    for text in (f"<think>{draft}</think>", f"\n<think>\n{draft}\n</think>", f"{draft}\n</think>"):
        for thinks in (False, True):
            answer = find_answer(TITLES, f"{text}\n{{'title': \"{value}\"}}", "title", thinks=thinks)
            assert answer == Answer(value, "strict", draft.strip())
    assert split_reasoning(f"<think>{draft}</think>rest") == (draft.strip(), "rest")
    assert split_reasoning("no such thing") == (None, "no such thing")


THOUGHT = "they like short titles"


@pytest.mark.parametrize(
    ("text", "thinks", "expected"),
    [
        # Never closed: all of it is reasoning, and only a whole object in it is an answer.
        (f"<think>{THOUGHT}", False, Answer("", None, THOUGHT)),
        (f"<think>{THOUGHT} {{'title': 'x'}}", False, Answer("x", "unclosed", f"{THOUGHT} {{'title': 'x'}}")),
        (f"<think>{THOUGHT} {{'title': 'x", True, Answer("", None, f"{THOUGHT} {{'title': 'x")),
        (f"{THOUGHT}", True, Answer("", None, THOUGHT)),
        (f"{THOUGHT} {{'title': 'x'}}", True, Answer("x", "unclosed", f"{THOUGHT} {{'title': 'x'}}")),
        # Without the tag it is an answer with words around it, unless reasoning was due.
        (f"{THOUGHT} {{'title': 'x'}}", False, Answer("x", "embedded")),
        # An answer at once, without any reasoning, is one.
        ("{'title': 'x'}", True, Answer("x", "strict")),
        ("```json\n{'title': 'x'}\n```", True, Answer("x", "embedded")),
        ("{'title': 'x", True, Answer("x", "truncated")),
        # Closed, and then nothing, or twice.
        (f"{THOUGHT} {{'title': 'x'}}</think>", True, Answer("", None, f"{THOUGHT} {{'title': 'x'}}")),
        (f"{THOUGHT}</think>more</think>{{'title': 'x'}}", True, Answer("x", "strict", f"{THOUGHT}</think>more")),
    ],
)
def test_reasoning_that_does_not_end(text: str, thinks: bool, expected: Answer) -> None:
    assert find_answer(TITLES, text, "title", thinks=thinks) == expected


def test_the_whole_completion_as_the_answer() -> None:
    assert find_answer(TITLES, " A title\n") == Answer("A title", "whole")
    assert find_answer(TITLES, "<think>a</think> A title") == Answer("A title", "whole", "a")
    assert find_answer(TITLES, "<think>a and b") == Answer("", None, "a and b")
    assert find_answer(TITLES, " \n") == Answer("", None)
    assert find_answer(TITLES, "...") == Answer("...", "whole")


@pytest.mark.parametrize("label", TAGS.labels)
@pytest.mark.parametrize("dress", [str.title, str.upper, "{}.".format, '"{}"'.format, " **{}**!".format])
def test_labels_with_stray_punctuation_say_so(label: str, dress: Callable[[str], str]) -> None:
    assert find_answer(TAGS, json.dumps({"tag": label}), "tag") == Answer(label, "strict")
    answer = find_answer(TAGS, json.dumps({"tag": dress(label)}), "tag")
    assert answer == Answer(label, "label")
    # The `lamp` protocol compares what was written.
    assert find_answer(TAGS, dress(label)) == Answer("", None)
    assert find_answer(TAGS, f" {label}\n") == Answer(label, "whole")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("sci fi", Answer("sci-fi", "label")),
        ("Thought Provoking", Answer("thought-provoking", "label")),
        ("comedy, action", Answer("", None)),
        ("dark", Answer("", None)),
        ("...", Answer("", None)),
        ("!", Answer("", None)),
    ],
)
def test_what_is_no_label_is_no_answer(value: str, expected: Answer) -> None:
    assert find_answer(TAGS, json.dumps({"tag": value}), "tag") == expected


def test_numbers_and_candidates() -> None:
    assert find_answer(SCORES, "{'score': 4}", "score") == Answer("4", "strict")
    assert find_answer(SCORES, "{'score': '4.5'}", "score") == Answer("4.5", "strict")
    assert find_answer(SCORES, "{'score': '(4)'}", "score") == Answer("4", "label")
    for text in ("four", "4 stars", "nan", "inf", "-infinity", "True"):
        assert find_answer(SCORES, json.dumps({"score": text}), "score") == Answer("", None)
        assert find_answer(SCORES, text) == Answer("", None)
    assert find_answer(PAPERS, "{'reference': '[2]'}", "reference") == Answer("[2]", "strict")
    assert find_answer(PAPERS, "{'reference': 2}", "reference") == Answer("[2]", "label")


def test_an_answer_that_could_not_be_read_is_scored_as_the_worst(host: PluginHost) -> None:
    """An empty answer: nothing shared with the gold, no label, and the farthest number."""
    unread = find_answer(TITLES, "no object", "title").text
    assert unread == ""
    for task, golds in ((TITLES, ["a title", "another one"]), (TAGS, ["comedy", "action"]), (SCORES, ["2", "5"])):
        for name in task.metrics:
            metric = host.registry.get("metric", name).factory()
            pairs = Pairs([unread] * 2, golds, task.labels)
            value = float(metric.value(metric.statistics(pairs).sum(axis=0)))
            worst = {"mae@lamp": 3.5, "rmse@lamp": float(np.sqrt((3**2 + 4**2) / 2))}.get(name, 0.0)
            assert value == pytest.approx(worst), name


def test_the_manual_has_the_steps_in_their_order() -> None:
    _, _, table = MANUAL.read_text(encoding="utf-8").partition("| step |")
    assert re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE) == ["given", *STEPS]
