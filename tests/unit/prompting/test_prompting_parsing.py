"""Answers read out of completions: strictly, embedded in other text, cut off, or as they stand."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings, strategies as st

from prlm_bench.prompting import find_answer, read_object, split_reasoning
from prlm_bench.tasks import TaskRegistry

BOOK = TaskRegistry()
TITLES, TAGS, SCORES = BOOK.get("lamp_4"), BOOK.get("lamp_2"), BOOK.get("lamp_3")
settings.register_profile("parsing", deadline=None, max_examples=300)
thorough = settings.get_profile("parsing")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{'title': 'A b'}", "A b"),
        ('{"title": "A b"}', "A b"),
        ("  \n{ 'title' :\t'A b' }\n", "A b"),
        ("{'title': 'it\\'s'}", "it's"),
        ("{'title': \"it's\"}", "it's"),
        ('{"title": "say \\"x\\""}', 'say "x"'),
        ('{"title": "a\\u00e9\\ud83d\\ude00"}', "aé😀"),
        ("{'title': '  A b '}", "A b"),
        ("{'why': 'because', 'title': 'A b'}", "A b"),
        ("{'title': 'A b', 'why': 'because'}", "A b"),
        ("{'title': 4}", "4"),
        ("{'title': 4.5}", "4.5"),
        ("{'title': ''}", ""),
        ("{'title': 'C:\\dir'}", "C:\\dir"),
    ],
)
def test_strict(text: str, value: str) -> None:
    assert read_object(text, "title") == (value, "strict")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The answer is {'title': 'A b'}.", "A b"),
        ('```json\n{"title": "A b"}\n```', "A b"),
        ("```\n{ 'title' : 'A b' }\n```", "A b"),
        ("{'title': 'A'}\n{'title': 'B'}", "B"),
        ("{'title': 'A'}{'title': 'A'}", "A"),
        ("{'title': 'A' no {'title': 'B'}", "B"),
        ("{'title': 'Don't stop'}", "Don't stop"),
        ("{'title': 'The \"best\" 'one''}", "The \"best\" 'one'"),
        ("Title: {'title': 'it\\'s'}!", "it's"),
        ('So: {"title": "a\\nb"} ok', "a\nb"),
        ("{title: A b} ", "A b"),
        ("{'title': A b}", "A b"),
        ("{'score': '4'} and {'title': 'A b'}", "A b"),
        ("x {'why': 'because', 'title': 'A b'} y", "A b"),
        ("x {'title': 'A b', 'why': 'because'} y", "A b"),
    ],
)
def test_embedded(text: str, value: str) -> None:
    assert read_object(text, "title") == (value, "embedded")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{'title': 'A b", "A b"),
        ("{'title': 'A b'", "A b"),
        ('Sure! {"title": "A b', "A b"),
        ("{'title': A b", "A b"),
        ("{'title': 'A b'\n```", "A b"),
        ("{'title': 'don't st", "don't st"),
    ],
)
def test_truncated(text: str, value: str) -> None:
    assert read_object(text, "title") == (value, "truncated")


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "A b", "title: A b", "{'title':", "{'title': '", "{'tit", "{", "}", "{}", "{'score': '4'}"),
        *("'title': 'A'", "{[1]: 2}", "{{}: 1}", "{'title': None}", "{'title': null}", "x {'title': null}"),
        *("{" * 5000, "[" * 20000, "{'title': '...'}"),
    ],
)
def test_nothing_there(text: str) -> None:
    assert read_object(text, "title") == ("", None)
    answer = find_answer(TITLES, text, "title")
    assert (answer.text, answer.parsed) == ("", None)


def test_a_number_too_long_to_be_written_is_no_error() -> None:
    assert find_answer(SCORES, f"{{'score': 0x{'f' * 6000}}}", "score").parsed is None
    assert find_answer(SCORES, f"{{'score': {'9' * 6000}}}", "score").parsed is None


#: What the wording of the question shows in place of a value is no value.
COPIED = ("...", "…")
VALUES = (
    st.text(st.characters(blacklist_categories=["Cs"]), max_size=40).map(str.strip).filter(lambda s: s not in COPIED)
)
AROUND = st.text(alphabet="abc .,:\n", max_size=20)


@given(VALUES)
@thorough
def test_what_is_written_as_an_object_is_read_back(value: str) -> None:
    for text in (
        repr({"title": value}),
        json.dumps({"title": value}),
        json.dumps({"title": value}, ensure_ascii=False),
    ):
        assert read_object(text, "title") == (value, "strict")
        assert read_object(f"\n {text} ", "title") == (value, "strict")


PLAIN = (
    st.text(alphabet="abc XYZ '\"\\\n\té😀.,:;!?-", max_size=30).map(str.strip).filter(lambda s: s not in ("", *COPIED))
)


@given(PLAIN, AROUND, AROUND)
@thorough
def test_objects_are_found_within_other_text(value: str, before: str, after: str) -> None:
    for text in (
        repr({"title": value}),
        json.dumps({"title": value}),
        json.dumps({"title": value}, ensure_ascii=False),
    ):
        found, step = read_object(f"x{before}{text}{after}x", "title")
        assert (found, step) == (value, "embedded")
        assert read_object(f"```json\n{text}\n```", "title") == (value, "embedded")


@given(st.lists(st.sampled_from(["A", "it's", 'say "x"', "naïve", "{b}"]), min_size=2, max_size=5), AROUND)
@thorough
def test_the_last_of_several_counts(values: list[str], between: str) -> None:
    text = between.join(repr({"title": value}) for value in values)
    assert read_object(f"{text} ", "title") == (values[-1], "embedded")


@given(st.text(alphabet="abc XYZ é😀.,:;!?-", min_size=1, max_size=30), st.sampled_from("'\""), st.data())
@thorough
def test_a_cut_off_object_gives_what_there_is(value: str, quote: str, data: st.DataObject) -> None:
    kept = data.draw(st.integers(1, len(value)))
    part = "" if value[:kept].strip() in COPIED else value[:kept].strip()
    found = read_object(f"{{'title': {quote}{value[:kept]}", "title")
    assert found == ((part, "truncated") if part else ("", None))


@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(
            st.sampled_from([*"{}'\":,\\ \n", "title", "a", "</think>", "<think>", "\ud800", "\x00", "None", "0x"]),
            max_size=30,
        ).map("".join),
    )
)
@thorough
def test_anything_is_parsed(text: str) -> None:
    for task, key in ((TITLES, "title"), (TITLES, None), (TAGS, "tag"), (SCORES, "score"), (SCORES, None)):
        answer = find_answer(task, text, key)
        assert isinstance(answer.text, str)
        if answer.parsed is not None:
            assert answer.text == answer.text.strip() != ""
            assert task.output != "label" or answer.text in task.labels


@pytest.mark.parametrize("text", ['{"title": "\\ud800x"}', "see {'title': '\\udc00x'}"])
def test_half_a_surrogate_can_be_stored(text: str) -> None:
    answer = find_answer(TITLES, text, "title")
    assert answer.parsed is not None
    answer.text.encode()


@pytest.mark.parametrize(
    ("text", "reasoning", "rest"),
    [
        ("no thoughts", None, "no thoughts"),
        ("<think>hm</think>A", "hm", "A"),
        ("\n<think>\nhm\n</think>\n\nA", "hm", "\n\nA"),
        ("hm</think>A", "hm", "A"),
        ("<think>a</think>b</think>A", "a</think>b", "A"),
        ("</think>", "", ""),
        ("<think></think>A", "", "A"),
    ],
)
def test_reasoning_ends_with_its_last_mark(text: str, reasoning: str | None, rest: str) -> None:
    assert split_reasoning(text) == (reasoning, rest)


def test_answers_come_after_the_reasoning() -> None:
    answer = find_answer(TITLES, "<think>first {'title': 'draft'}</think>\n{'title': 'final'}", "title")
    assert (answer.text, answer.parsed, answer.reasoning) == ("final", "strict", "first {'title': 'draft'}")
    answer = find_answer(TITLES, "hm</think> A title ")
    assert (answer.text, answer.parsed, answer.reasoning) == ("A title", "whole", "hm")


def test_reasoning_that_never_ends_is_no_answer() -> None:
    answer = find_answer(TITLES, "<think>I should write about")
    assert (answer.text, answer.parsed, answer.reasoning) == ("", None, "I should write about")


def test_what_is_possible() -> None:
    assert find_answer(TAGS, "{'tag': 'dark comedy'}", "tag").parsed == "strict"
    assert find_answer(TAGS, "dark comedy").parsed == "whole"
    assert find_answer(TAGS, "{'tag': 'western'}", "tag").parsed is None
    assert find_answer(TAGS, "western").parsed is None
    assert find_answer(SCORES, " 4 ").text == "4"
    assert find_answer(SCORES, "{'score': 4}", "score").text == "4"
    assert find_answer(SCORES, "3.5").parsed == "whole"
    for text in ("four", "nan", "inf", "-inf", "1e999", ""):
        assert find_answer(SCORES, text).parsed is None, text
    assert find_answer(TITLES, "   ").parsed is None


@pytest.mark.parametrize(
    "piece", ["{'title': '", "{'title': 'a' ", "{'title': \"it's ", "'", '"', "\\", "{", "} ", ", 'title': '"]
)
def test_repetition_takes_no_time(piece: str) -> None:
    """Small models repeat themselves; so many characters must not take minutes."""
    text = "{'title': " + piece * (30_000 // len(piece))
    read_object(text, "title")
    read_object(text + "}", "title")
