"""Every kind of damage is reported, with the question and what is wrong; import leaves out just those."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from prlm_bench.data import Report, open_dataset, validate
from prlm_bench.data.lamp._check import Checker
from prlm_bench.data.lamp._outputs import Golds
from prlm_bench.data.lamp._problems import SURROGATE
from prlm_bench.data.store._write import Row
from prlm_bench.errors import DataError
from prlm_bench.tasks import TaskRegistry

TASK = TaskRegistry().get("lamp_4")
INPUT = "Generate a headline for the following article: words"
ITEM = {"id": "i", "text": "t", "title": "h", "date": "2020-01-02"}
GOOD = {"id": "good", "input": INPUT, "profile": [ITEM]}
MISSING = object()
INEXACT = "is a number that is not finite, or too large to be read exactly: write it as a string"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRLM_BENCH_CACHE", str(tmp_path / "cache"))


def put(tmp_path: Path, name: str, content: Any) -> Path:
    folder = tmp_path / "set" / "dev"
    folder.mkdir(parents=True, exist_ok=True)
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    (folder / f"dev_{name}.json").write_bytes(data)
    return tmp_path / "set"


def found(report: Report) -> list[tuple[str, str | None, str]]:
    return [(problem.severity, problem.field, problem.message) for problem in report.problems]


def changed(**fields: Any) -> dict[str, Any]:
    question = {"id": "q", "input": INPUT, "profile": [ITEM], **fields}
    return {name: value for name, value in question.items() if value is not MISSING}


def changed_item(**fields: Any) -> dict[str, Any]:
    item = {**ITEM, **fields}
    return changed(profile=[{name: value for name, value in item.items() if value is not MISSING}])


ERRORS = [
    (5, None, "is a number, not an object"),
    (None, None, "is null, not an object"),
    ([], None, "is a list, not an object"),
    (changed(id=MISSING), "id", "is missing"),
    (changed(id=7), "id", "is a number, not a string"),
    (changed(id=None), "id", "is null, not a string"),
    (changed(id="good"), "id", "repeats the id of an earlier question"),
    (changed(input=MISSING), "input", "is missing"),
    (changed(input=[INPUT]), "input", "is a list, not a string"),
    (changed(input="Generate something"), "input", "the input has no 'article:'"),
    (changed(input=INPUT + "\ud800"), "input", SURROGATE),
    (changed(user_id=3), "user_id", "is a number, not a string"),
    (changed(profile=MISSING), "profile", "is missing"),
    (changed(profile={}), "profile", "is an object, not a list"),
    (changed(profile="words"), "profile", "is a string, not a list"),
    (changed(profile=[ITEM, "i"]), "profile[1]", "is a string, not an object"),
    (changed_item(id=MISSING), "profile[0].id", "is missing"),
    (changed_item(id=True), "profile[0].id", "is a boolean, not a string"),
    (changed_item(title=MISSING), "profile[0].title", "is missing"),
    (changed_item(text=3.5), "profile[0].text", "is a number, not a string"),
    (changed_item(text="\udfff"), "profile[0].text", SURROGATE),
    (changed_item(date=2020), "profile[0].date", "is a number, not a string"),
]


@pytest.mark.parametrize(("question", "field", "message"), ERRORS)
def test_a_malformed_question(tmp_path: Path, question: Any, field: str | None, message: str) -> None:
    root = put(tmp_path, "questions", [GOOD, question])
    report = validate(TASK, root, "dev")
    assert found(report) == [("error", field, message)]
    problem = report.problems[0]
    assert (problem.index, report.n_questions, report.n_invalid, report.ok) == (1, 2, 1, False)
    assert problem.id == (
        question.get("id") if isinstance(question, dict) and type(question.get("id")) is str else None
    )
    with pytest.raises(DataError, match="1 of 2 questions is malformed") as caught:
        open_dataset(TASK, root, "dev")
    assert str(problem) in caught.value.message
    dataset = open_dataset(TASK, root, "dev", skip_invalid=True)
    assert (dataset.ids, dataset.n_invalid) == (["good"], 1)


def test_what_recurs_in_a_profile_is_said_once(tmp_path: Path) -> None:
    bad = [{"id": str(place), "text": "t"} for place in range(5)]
    report = validate(TASK, put(tmp_path, "questions", [changed(profile=[ITEM, *bad])]), "dev")
    assert found(report) == [("error", "profile[1].title", "is missing (and in 4 more items)")]


def test_all_errors_of_a_question_are_reported(tmp_path: Path) -> None:
    question = {"id": 1, "profile": [{"id": 2, "text": None}]}
    report = validate(TASK, put(tmp_path, "questions", [question]), "dev")
    assert [field for _, field, _ in found(report)] == [
        "id",
        "input",
        "profile[0].id",
        "profile[0].text",
        "profile[0].title",
    ]
    assert report.n_invalid == 1


WARNINGS = [
    (changed(profile=[]), "profile", "is empty: a user without history"),
    (changed(profile=[ITEM, {**ITEM, "text": "x"}]), "profile[1].id", "repeats the id of an earlier item"),
    (changed_item(date="last May"), "profile[0].date", "is not of the form YYYY-MM-DD"),
    (changed_item(date="2020-13-01"), "profile[0].date", "is not of the form YYYY-MM-DD"),
    (changed(input="Generate a headline for the following article:  "), "input", "the query is empty"),
]


@pytest.mark.parametrize(("question", "field", "message"), WARNINGS)
def test_an_odd_question_is_usable(tmp_path: Path, question: Any, field: str, message: str) -> None:
    root = put(tmp_path, "questions", [GOOD, question])
    report = validate(TASK, root, "dev")
    assert found(report) == [("warning", field, message)]
    assert report.ok and report.n_invalid == 0
    assert len(open_dataset(TASK, root, "dev")) == 2


def test_null_dates_users_and_times_of_day_are_fine(tmp_path: Path) -> None:
    items = [{**ITEM, "date": None}, {**ITEM, "id": "j", "date": "2020-01-02 10:11"}]
    root = put(tmp_path, "questions", [changed(profile=items, user_id=None)])
    assert validate(TASK, root, "dev").problems == []


GOLD_CASES = [
    ([], [("error", "gold", "no gold")]),
    ([{"id": "good", "output": 5}], []),
    ([{"id": "good", "output": True}], [("error", "gold", "the gold's output is a boolean, not a string")]),
    ([{"id": "good", "output": None}], [("error", "gold", "the gold's output is null, not a string")]),
    ([{"id": "good", "output": float("nan")}], [("error", "gold", "the gold's output " + INEXACT)]),
    ([{"id": "good", "output": 10**30}], [("error", "gold", "the gold's output " + INEXACT)]),
    ([{"id": "good"}], [("error", "gold", "the gold's output is missing")]),
    ([{"id": "good", "output": "\ud800"}], []),
    ([{"id": 7}, {"id": "good", "output": "a"}], [("error", "golds[0]", "its id is a number, not a string")]),
    ([{"id": "good", "output": "a"}, {"id": "good", "output": "b"}], [("error", "gold", "two golds that differ")]),
    ([{"id": "good", "output": "5"}] * 2, [("warning", "golds[1]", "repeats an earlier gold")]),
    ([{"id": "good", "output": "a"}, {"id": "x", "output": "b"}], [("warning", "gold", "no question has this id")]),
    ([{"id": "good", "output": "a"}, {"output": "b"}], [("error", "golds[1]", "its id is missing")]),
    ([{"id": "good", "output": "a"}, 3], [("error", "golds[1]", "is a number, not an object")]),
    ([{"id": "good", "output": ""}], []),
]  # fmt: skip


@pytest.mark.parametrize(("golds", "expected"), GOLD_CASES)
def test_golds(tmp_path: Path, golds: Any, expected: list[Any]) -> None:
    put(tmp_path, "questions", [GOOD])
    root = put(tmp_path, "outputs", {"task": "LaMP_4", "golds": golds})
    report = validate(TASK, root, "dev")
    assert found(report) == expected
    malformed = any(field == "gold" and severity == "error" for severity, field, _ in expected)
    assert report.n_invalid == malformed
    assert len(open_dataset(TASK, root, "dev", skip_invalid=True)) == 1 - malformed
    if not report.ok:
        with pytest.raises(DataError) as caught:
            open_dataset(TASK, root, "dev")
        assert str(report.errors[0]) in caught.value.message


def test_golds_of_another_task(tmp_path: Path) -> None:
    put(tmp_path, "questions", [GOOD])
    root = put(tmp_path, "outputs", {"task": "LaMP_5", "golds": [{"id": "good", "output": "x"}]})
    report = validate(TASK, root, "dev")
    assert found(report) == [("error", "task", "is 'LaMP_5'; 'LaMP_4' was expected")]
    assert report.other_task and not report.n_invalid
    with pytest.raises(DataError) as caught:
        open_dataset(TASK, root, "dev", skip_invalid=True)
    assert caught.value.message == f"{report.problems[0].file}: {report.problems[0]}"
    assert "--any-task" in caught.value.hint
    assert found(validate(TASK, root, "dev", any_task=True)) == [
        ("warning", "task", "is 'LaMP_5'; 'LaMP_4' was expected")
    ]
    assert open_dataset(TASK, root, "dev", any_task=True).other_task == "LaMP_5"
    put(tmp_path, "outputs", {"golds": [{"id": "good", "output": "x"}]})
    assert found(validate(TASK, root, "dev")) == [("warning", "task", "missing; 'LaMP_4' was expected")]


BROKEN_GOLDS = [
    (b"5", "it is a number"),
    (b'{"task": "LaMP_4"}', "an object without a list `golds`"),
    (b'{"task": "LaMP_4", "golds": [{"id": "good"', "cut off at byte 42"),
    (b'{"task": "LaMP_4", "golds": [}]}', "not valid JSON at byte 29"),
    (b'{"task": "LaMP_4\xe9"}', "not UTF-8: byte 0xe9 at byte 16"),
    (b"", "the file is empty"),
    ('{"task": "LaMP_4"}'.encode("utf-16"), "UTF-16"),
]


@pytest.mark.parametrize(("data", "message"), BROKEN_GOLDS)
def test_broken_golds_are_fatal(tmp_path: Path, data: bytes, message: str) -> None:
    put(tmp_path, "questions", [GOOD])
    root = put(tmp_path, "outputs", data)
    report = validate(TASK, root, "dev")
    assert report.fatal and message in report.problems[0].message
    assert report.n_questions == 1
    with pytest.raises(DataError, match=r"dev_outputs\.json"):
        open_dataset(TASK, root, "dev", skip_invalid=True)


def test_a_byte_order_mark_in_every_file_is_accepted(tmp_path: Path) -> None:
    bom = b"\xef\xbb\xbf"
    put(tmp_path, "questions", bom + json.dumps([GOOD]).encode())
    put(tmp_path, "relevance", bom + b'{"good": ["i"]}')
    golds = {"task": "LaMP_4", "golds": [{"id": "good", "output": "x"}]}
    root = put(tmp_path, "outputs", bom + json.dumps(golds).encode())
    assert validate(TASK, root, "dev").problems == []
    assert open_dataset(TASK, root, "dev").example(0).relevant == {"i"}


RELEVANCE_CASES = [
    ({"good": "i"}, ("error", "relevance", "is a string, not a list of item ids")),
    ({"good": ["i", 3]}, ("error", "relevance", "an item id is a number, not a string")),
    ({"good": ["i", "x", "y"]}, ("warning", "relevance", "2 ids are not in the profile, 'x' first")),
    ({"x": []}, ("warning", "relevance", "no question has this id")),
]


@pytest.mark.parametrize(("content", "expected"), RELEVANCE_CASES)
def test_relevance(tmp_path: Path, content: Any, expected: tuple[str, str, str]) -> None:
    put(tmp_path, "questions", [GOOD])
    root = put(tmp_path, "relevance", content)
    assert found(validate(TASK, root, "dev")) == [expected]
    assert len(open_dataset(TASK, root, "dev", skip_invalid=True)) == (expected[0] == "warning")


def test_relevance_that_is_no_object_is_fatal(tmp_path: Path) -> None:
    put(tmp_path, "questions", [GOOD])
    root = put(tmp_path, "relevance", [])
    assert validate(TASK, root, "dev").fatal
    with pytest.raises(DataError, match="it is a list"):
        open_dataset(TASK, root, "dev", skip_invalid=True)


def test_structural_errors_keep_what_was_found_before(tmp_path: Path) -> None:
    data = json.dumps([GOOD, changed(id=4)]).encode()[:-1] + b', {"id": "cut'
    report = validate(TASK, put(tmp_path, "questions", data), "dev")
    assert report.fatal and report.n_questions == 2
    assert [problem.severity for problem in report.problems] == ["error", "error"]
    assert f"cut off at byte {len(data)}, after questions[1] (id 4)" in report.problems[1].message


def test_users_for_some_questions_only(tmp_path: Path) -> None:
    root = put(tmp_path, "questions", [GOOD, changed(user_id="u")])
    ((severity, field, message),) = found(validate(TASK, root, "dev"))
    assert (severity, field) == ("warning", "user_id")
    assert message.startswith("given for 1 of 2 sound questions")
    dataset = open_dataset(TASK, root, "dev")
    assert dataset.users == ["good", "u"] and "users" not in dataset.has


def test_an_empty_list_is_a_warning(tmp_path: Path) -> None:
    report = validate(TASK, put(tmp_path, "questions", []), "dev")
    assert [problem.severity for problem in report.warnings] == ["warning"]


def test_a_report_is_json(tmp_path: Path) -> None:
    report = validate(TASK, put(tmp_path, "questions", [changed(id="110", input="x")]), "dev")
    content = json.loads(json.dumps(report.to_dict()))
    assert content["problems"][0]["index"] == 0
    assert str(report.problems[0]) == "questions[0] (id '110') input: the input has no 'article:'"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(0, 1)
    | st.sampled_from(["good", "a article: b", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "text", "title"]), inner),
    max_leaves=6,
)
ODD_ITEM = st.dictionaries(st.sampled_from(["id", "text", "title", "date"]), st.text(max_size=2) | JSON, max_size=4)
FULL_ITEM = st.builds(lambda more: {**ITEM, **more}, ODD_ITEM)
ODD_QUESTION = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["good", "bad", "ugly"]) | JSON,
        "input": st.just(INPUT) | JSON,
        "profile": st.lists(FULL_ITEM | st.just(ITEM), max_size=3) | JSON,
        "user_id": st.just("u") | JSON,
    },
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ODD_QUESTION | JSON, max_size=4), st.booleans())
def test_the_fast_path_accepts_just_what_has_no_errors(questions: list[Any], withheld: bool) -> None:
    golds = None if withheld else Golds("", {"good": "x", "bad": "y"}, {"bad": "two golds that differ"})
    checkers = [Checker(TASK, Path("f.json"), golds, None) for _ in range(2)]
    for index, question in enumerate(questions):
        row = checkers[0].examine(index, question)
        errors = [p for p in checkers[1].problems(index, question) if p.severity == "error"]
        assert isinstance(row, Row) == (not errors)
        detailed = list(checkers[0]._errors(index, question, repeated=False))
        assert bool(errors) >= bool(detailed)
        if isinstance(row, Row):
            assert not detailed
            assert row.items == [(i["id"], i["text"], i["title"], i.get("date")) for i in question["profile"]]
        else:
            assert row == errors and row
