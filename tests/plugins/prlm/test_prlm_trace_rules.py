"""Sentences made by rule: what each measure says, that it is true of any items, and that it can be checked."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import pytest
from hypothesis import given, settings, strategies as st
from prlm_bench_plugins.prlm._trace_rules import _MEASURES, NOTHING_SHOWN, TraceRules

from prlm_bench import Document
from prlm_bench.host import PluginHost
from prlm_bench.tasks import Task, TraceRule

TASKS = PluginHost().tasks
SHIPPED = TASKS.names


def items(*texts: str, field: str = "text", **more: str) -> list[Document]:
    return [Document(str(place), text, {**more, field: text}) for place, text in enumerate(texts)]


def rules(*given: Mapping[str, Any], task: str = "lamp_7") -> TraceRules:
    content = TASKS.get(task).model_dump() | {"trace_rules": given}
    return TraceRules(Task.model_validate(content))


def said(rule: Mapping[str, Any], found: Sequence[Document], task: str = "lamp_7") -> list[str]:
    return rules(rule, task=task).statements(found)


MEAN = {"measure": "mean_words", "say": "About {value} words."}
SHARE = {"measure": "share", "pattern": r"#\w", "say": "{quantity} have a hashtag."}
WORDS = {"measure": "frequent_words", "say": "Often: {words}."}
LABEL = {"measure": "label_share", "say": "{quantity} {field}s are {label}."}
NUMBER = {"measure": "mean_number", "say": "The mean is {value}.", "within": 0}


def test_every_measure_of_the_schema_is_implemented() -> None:
    assert set(get_args(TraceRule.model_fields["measure"].annotation)) == set(_MEASURES)


class TestMeasures:
    def test_mean_words(self) -> None:
        found = items("one two three", "one", "one two three four  five")
        assert said(MEAN, found) == ["About 3 words."]
        check = rules(MEAN).check
        assert [check(f"About {n} words.", found) for n in ("2", "3", "3.4", "4")] == [False, True, True, False]
        long = items(" ".join(["word"] * 40))
        assert [check(f"About {n} words.", long) for n in (33, 34, 46, 47)] == [False, True, True, False]
        assert check("About many words.", long) is None

    @pytest.mark.parametrize(
        ("having", "quantity"), [(0, "No"), (1, "Few"), (2, "Few"), (3, "Some"), (4, "Most"), (5, "Most"), (6, "All")]
    )
    def test_share(self, having: int, quantity: str) -> None:
        found = items(*["a #tag"] * having, *["# no tag"] * (6 - having))
        assert said(SHARE, found) == [f"{quantity} have a hashtag."]
        check = rules(SHARE).check
        for word in ("No", "Few", "Some", "Most", "All"):
            assert check(f"{word} have a hashtag.", found) is (word == quantity)
        assert check(f" {quantity.upper()}  HAVE a hashtag.\n", found) is True
        assert check("Many have a hashtag.", found) is None

    def test_a_rule_may_have_words_of_its_own_for_shares(self) -> None:
        rule = {**SHARE, "say": "Hashtags: {quantity}.", "quantities": {"never": 0, "half the time": 0.5, "often": 1}}
        assert said(rule, items("#a", "b")) == ["Hashtags: half the time."]
        assert said(rule, items("#a", "#b", "c")) == ["Hashtags: often."]
        assert rules(rule).check("Hashtags: never.", items("#a", "b")) is False

    def test_frequent_words(self) -> None:
        found = items("Rain, rain, rain over Lisbon", "LISBON again with tea", "rain in a tea house", "house with snow")
        assert said(WORDS, found) == ["Often: house, lisbon."]  # as often as rain, and before it in the alphabet
        assert said({**WORDS, "words": 5}, found) == ["Often: house, lisbon, rain."]
        assert said({**WORDS, "least": 3}, found) == []
        check = rules(WORDS).check
        assert check("Often: rain and Lisbon.", found) is True
        assert check("Often: rain, snow.", found) is False
        assert check("Often: tea.", found) is False  # of three letters
        assert check("Often: , .", found) is None

    def test_label_share(self) -> None:
        found = items("comedy", "Comedy ", "true story", field="tag", description="x")
        assert said(LABEL, found, "lamp_2") == ["Most tags are comedy."]
        check = rules(LABEL, task="lamp_2").check
        assert check("Most tags are comedy.", found) is True
        assert check("Few tags are true story.", found) is True
        assert check("Most tags are true story.", found) is False
        assert check("No tags are dystopia.", found) is True

    def test_mean_number(self) -> None:
        found = items("5", "4", "4", field="score", text="x")
        assert said(NUMBER, found, "lamp_3") == ["The mean is 4."]
        check = rules(NUMBER, task="lamp_3").check
        assert [check(f"The mean is {n}.", found) for n in (3, 4, 4.5, 5)] == [False, True, True, False]
        assert said(NUMBER, items("5", "five", field="score"), "lamp_3") == []
        assert said(NUMBER, items("1e308", "1e308", field="score"), "lamp_3") == []

    def test_without_items(self) -> None:
        made = rules(MEAN, SHARE)
        assert made.statements([]) == [NOTHING_SHOWN] == made.trace([], 3, "x").splitlines()
        assert made.check(NOTHING_SHOWN, []) is True and made.check(NOTHING_SHOWN, items("a")) is False
        assert made.check("No have a hashtag.", []) is False
        assert made.check("This user is a kind one.", items("a")) is None


class TestTraces:
    def test_the_length_and_others_by_lot(self) -> None:
        made = TraceRules(TASKS.get("lamp_7"))
        found = items("Hello @you #tag", "hm.. well", "NO WAY!")
        every = made.statements(found)
        traces = {made.trace(found, 3, f"0 {number}") for number in range(40)}
        assert len(traces) > 20
        for trace in traces:
            length, *others = trace.splitlines()
            assert length == "The tweets have about 2 words."
            assert len({*others}) == 2 and {*others} < {*every} and not any("No " in line for line in others)
        assert made.trace(found, 3, "0 1") == TraceRules(TASKS.get("lamp_7")).trace(found, 3, "0 1")
        assert sorted(made.trace(found, 99, "0 1").splitlines()) == sorted(every)

    def test_an_absence_is_said_only_after_all_else(self) -> None:
        made = rules(SHARE, {**SHARE, "pattern": "!", "say": "{quantity} shout."}, MEAN)
        plain, tagged = items("one word", "two"), items("#one", "two")
        for number in range(20):
            assert made.trace(tagged, 2, f"{number}") == "About 1 words.\nSome have a hashtag."
            assert made.trace(tagged, 3, f"{number}") == "About 1 words.\nSome have a hashtag.\nNo shout."
            assert made.trace(plain, 1, f"{number}") == "About 2 words."
        said = {made.trace(plain, 2, f"{number}") for number in range(20)}
        assert said == {"About 2 words.\nNo have a hashtag.", "About 2 words.\nNo shout."}

    def test_a_word_of_its_own_for_nothing_is_an_absence_too(self) -> None:
        quantities = {"never": 0, "often": 1}
        made = rules({**SHARE, "say": "Hashtags: {quantity}.", "quantities": quantities}, WORDS)
        assert made.trace(items("rain", "rain"), 1, "x") == "Often: rain."

    def test_what_few_others_have_is_preferred(self) -> None:
        made = rules(SHARE, {**SHARE, "pattern": "!", "say": "{quantity} shout."})
        found = items("#a!", "#b!")
        others = [items("#a", "#b")] * 30
        often = [made.among([found, *others]).trace(found, 1, f"{number}") for number in range(200)]
        assert often.count("All shout.") > 190  # surprises of log(32 / 1) and log(32 / 31)
        equal = [made.trace(found, 1, f"{number}") for number in range(200)]
        assert 70 < equal.count("All shout.") < 130
        assert made.among([found, *others]).identity() == made.identity()

    def test_users_differ(self) -> None:
        rng = random.Random(0)
        habits = ["so tired.. #monday", "Look at this!", "@you really? ok", "i dont know lol", "GOOD day, 5 of you :)"]
        users = [items(*rng.choices(rng.sample(habits, 2), k=4)) for _ in range(40)]
        made = TraceRules(TASKS.get("lamp_7")).among(users)
        traces = [made.trace(found, 3, f"0 {number}") for number, found in enumerate(users)]
        assert len(set(traces)) > 35
        for found, trace in zip(users, traces, strict=True):
            assert len(trace.splitlines()) == 3
            assert all(made.check(line, found) is True for line in trace.splitlines())

    def test_the_default_rules_fit_the_kind_of_answer(self) -> None:
        kinds = {
            name: [(rule["measure"], rule["field"]) for rule in TraceRules(TASKS.get(name)).identity()]
            for name in ("lamp_1", "lamp_2", "lamp_3", "lamp_5")
        }
        assert kinds["lamp_2"] == [
            ("label_share", "tag"),
            ("mean_words", "description"),
            ("frequent_words", "description"),
        ]
        assert kinds["lamp_3"][:2] == [("mean_number", "score"), ("label_share", "score")]
        assert {field for _, field in kinds["lamp_1"]} == {field for _, field in kinds["lamp_5"]} == {"title"}

    def test_the_identity_has_what_a_rule_says_and_reads(self) -> None:
        (one,) = rules(SHARE).identity()
        assert (one["measure"], one["field"], one["pattern"], one["say"]) == ("share", "text", r"#\w", SHARE["say"])


#: Texts of words, marks, numbers and anything else.
TEXTS = st.one_of(
    st.lists(st.sampled_from(["tea", "Rain", "#tag", "@you", "NO", "snow!", "why?", "..", "4", "{x}", "and"])).map(
        " ".join
    ),
    st.text(max_size=30),
    st.sampled_from(["1", "2", "4.5", "comedy", "Comedy", "dark comedy"]),
)


@pytest.mark.parametrize("name", SHIPPED)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_what_is_said_of_any_items_is_true(name: str, data: st.DataObject) -> None:
    task = TASKS.get(name)
    fields = st.fixed_dictionaries(dict.fromkeys(task.item_fields, TEXTS))
    found = [Document(str(at), "", each) for at, each in enumerate(data.draw(st.lists(fields, max_size=8)))]
    made = TraceRules(task)
    every = made.statements(found)
    assert every and all(made.check(sentence, found) is True for sentence in every)
    assert all(re.fullmatch(r"\S.*\.", sentence) and len(sentence.splitlines()) == 1 for sentence in every)
    trace = made.among([found, found[:1]]).trace(found, 3, "x").splitlines()
    assert {*trace} <= {*every} and len(trace) == min(3, len(every))
    absent = [sentence.startswith("No ") for sentence in trace]
    assert absent == sorted(absent)


@settings(deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=6), other=st.lists(TEXTS, min_size=1, max_size=6))
def test_what_is_said_of_other_items_is_judged_by_these(texts: list[str], other: list[str]) -> None:
    """A share is true of other items exactly if it is what would be said of them."""
    made = rules(SHARE)
    (sentence,), found = made.statements(items(*texts)), items(*other)
    assert made.check(sentence, found) is (made.statements(found) == [sentence])
