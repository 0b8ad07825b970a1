"""A study becomes cells: each method once, controls beside it, and what cannot run is said to be left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prlm_bench.data import Dataset, open_split
from prlm_bench.errors import PluginError, RunError, SpecError, UnknownNameError
from prlm_bench.host import NEEDS, Method, Origin, PluginHost
from prlm_bench.host._registry import make_component
from prlm_bench.running import RunConfig
from prlm_bench.running._components import lacks
from prlm_bench.running._plan import Plan, check_names, check_requested, plan_cells

Row = tuple[str, int, str, str]
MINE = Origin("mine", "mine", "1", "mine.py")


def planned(host: PluginHost, dataset: Dataset, **fields: Any) -> Plan:
    fields = {"controls": False} | fields
    return plan_cells(RunConfig(tasks=[dataset.task.name], **fields), host, dataset)


def rows(plan: Plan) -> list[Row]:
    return [(str(c.retriever), c.k, str(c.reasoner), str(c.generator)) for c in plan.cells]


def brief(plan: Plan) -> list[tuple[str, int, str]]:
    return [(retriever, k, generator) for retriever, k, _, generator in rows(plan)]


@pytest.fixture
def headlines(host: PluginHost) -> Dataset:
    """Free text, with users, dates, relevance and a training split."""
    return open_split(host.tasks.get("mini_lamp_4"), "dev", synth_users=4)


@pytest.fixture
def bare(host: PluginHost, tmp_path: Path) -> Dataset:
    """One question of one user, without dates, relevance, golds or training split."""
    folder = tmp_path / "bare" / "dev"
    folder.mkdir(parents=True)
    item = {"id": "i", "title": "a title", "text": "a text"}
    question = {"id": "q", "input": "Generate a headline for the following article: words", "profile": [item]}
    (folder / "dev_questions.json").write_text(json.dumps([question]))
    return open_split(host.tasks.get("lamp_4"), "dev", tmp_path / "bare")


def test_a_grid_is_the_product_of_its_parts(host: PluginHost, headlines: Dataset) -> None:
    plan = planned(host, headlines, retrievers=["bm25", "recency"], k=[1, 4], generators=["copy"], seeds=[0, 1])
    expected = [(retriever, k, "copy") for retriever in ("bm25", "recency") for k in (1, 4)]
    assert brief(plan) == expected + expected
    assert [cell.seed for cell in plan.cells] == [0] * 4 + [1] * 4
    assert plan.skipped == []


def test_the_same_method_is_planned_once(host: PluginHost, headlines: Dataset) -> None:
    same = ["bm25", "bm25:k1=1.5", {"name": "bm25", "b": 0.75}]
    plan = planned(host, headlines, retrievers=same, k=[4, 4], generators=["copy", "copy"])
    assert brief(plan) == [("bm25", 4, "copy")]


def test_options_make_another_method(host: PluginHost, headlines: Dataset) -> None:
    plan = planned(host, headlines, retrievers=["bm25", "bm25:b=0.5,k1=1.2"], generators=["copy"])
    assert brief(plan) == [("bm25", 4, "copy"), ("bm25:k1=1.2,b=0.5", 4, "copy")]


def test_none_shows_no_items(host: PluginHost, headlines: Dataset) -> None:
    host.registry.add(make_component("generator", MINE, "model", lambda: None))
    plan = planned(host, headlines, retrievers=["none", "bm25"], k=[1, 4], generators=["model"])
    assert brief(plan) == [("none", 0, "model"), ("bm25", 1, "model"), ("bm25", 4, "model")]


def test_k_0_is_no_retrieval(host: PluginHost, headlines: Dataset) -> None:
    host.registry.add(make_component("generator", MINE, "model", lambda: None))
    plan = planned(host, headlines, retrievers=["bm25", "recency"], k=[0], generators=["model"])
    assert brief(plan) == [("none", 0, "model")]


def test_a_generator_that_ignores_items_is_planned_once(host: PluginHost, headlines: Dataset) -> None:
    plan = planned(host, headlines, retrievers=["none", "bm25", "random"], k=[1, 4], generators=["echo"])
    assert brief(plan) == [("none", 0, "echo")]
    assert plan.cells[0].is_control


def test_a_generator_that_ignores_the_reasoner_is_planned_once(host: PluginHost, headlines: Dataset) -> None:
    asked = {"retrievers": ["bm25"], "k": [1], "reasoners": ["direct:protocol=chat", "direct"], "controls": True}
    host.registry.add(make_component("generator", MINE, "model", lambda: None))
    plan = planned(host, headlines, generators=["model"], **asked)
    by_generator: dict[str, list[str]] = {}
    for cell in plan.cells:
        if (str(cell.retriever), cell.k) in (("bm25", 1), ("none", 0)):
            by_generator.setdefault(str(cell.generator), []).append(str(cell.reasoner))
    assert by_generator["copy"] == by_generator["echo"] == ["direct:protocol=chat"]
    assert by_generator["model"] == ["direct:protocol=chat", "direct"] * 2


def test_controls_are_added(host: PluginHost, headlines: Dataset) -> None:
    host.registry.add(make_component("generator", MINE, "model", lambda: None))
    plan = planned(host, headlines, retrievers=["bm25"], k=[1, 4], generators=["model"], controls=True)
    assert brief(plan)[:2] == [("bm25", 1, "model"), ("bm25", 4, "model")]
    assert sorted(brief(plan)[2:]) == [
        ("bm25", 1, "copy"),
        ("none", 0, "echo"),
        ("none", 0, "model"),
        ("other-user", 1, "copy"),
        ("other-user", 4, "model"),
        ("random", 1, "copy"),
        ("random", 4, "model"),
    ]
    assert [cell.is_control for cell in plan.cells] == [False, False, *[True] * 7]


def test_label_tasks_have_the_constant_control(host: PluginHost) -> None:
    labels = open_split(host.tasks.get("mini_lamp_2"), "dev", synth_users=4)
    plan = planned(host, labels, retrievers=["bm25"], generators=["vote"], controls=True)
    assert ("none", 0, "constant") in brief(plan)
    assert plan.skipped == []


def test_controls_that_cannot_run_are_no_news(host: PluginHost, bare: Dataset) -> None:
    plan = planned(host, bare, retrievers=["bm25"], generators=["copy"], controls=True)
    assert sorted(brief(plan)) == [("bm25", 1, "copy"), ("bm25", 4, "copy"), ("none", 0, "echo"), ("random", 1, "copy")]
    assert plan.skipped == []


@pytest.mark.parametrize(
    ("need", "bare_lacks", "headlines_lack"),
    [
        ("date", True, False),
        ("relevance", True, False),
        ("answer-field", False, False),
        ("labels", True, True),
        ("candidates", True, True),
        ("train", True, False),
        ("users", True, False),
        ("items", False, False),
        ("generator", False, False),
    ],
)
def test_needs_of_a_component(
    bare: Dataset, headlines: Dataset, need: str, bare_lacks: bool, headlines_lack: bool
) -> None:
    assert need in NEEDS
    assert lacks(need, bare) is bare_lacks
    assert lacks(need, headlines) is headlines_lack


def test_papers_have_candidates_and_no_answer_field(host: PluginHost) -> None:
    papers = open_split(host.tasks.get("mini_lamp_1"), "dev", synth_users=4)
    assert [need for need in NEEDS if lacks(need, papers)] == ["answer-field"]


def test_what_cannot_run_is_left_out_with_the_reason(host: PluginHost, bare: Dataset) -> None:
    plan = planned(host, bare, retrievers=["recency", "bm25", "none"], generators=["copy", "vote"])
    assert brief(plan) == [("bm25", 4, "copy")]
    assert [(s.what, s.why) for s in plan.skipped] == [
        ("retriever recency", f"needs {NEEDS['date']}"),
        ("generator vote", f"needs {NEEDS['labels']}"),
        ("generator copy with none", f"needs {NEEDS['items']}"),
    ]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"retrievers": ["recency"], "generators": ["copy"]}, "retriever recency cannot run on lamp_4: it needs dates"),
        ({"retrievers": ["oracle"], "generators": ["copy"]}, "retriever oracle cannot run on lamp_4: it needs rec"),
        (
            {"retrievers": ["bm25"], "generators": ["copy", "vote"], "strict": True},
            "generator vote cannot run on lamp_4: it needs",
        ),
        (
            {"retrievers": ["recency", "oracle"], "generators": ["copy"]},
            "retriever recency cannot run on lamp_4: it needs dates on every profile item; retriever oracle cannot run "
            "on lamp_4: it needs recorded relevant items (lamp_4_time has them)",
        ),
        ({"retrievers": ["none"], "generators": ["copy"]}, "generator copy cannot run on lamp_4: it needs retr"),
        ({"methods": ["stranger-copy"]}, "nothing to run: retriever other-user needs at least two users"),
        ({"retrievers": ["bm25"]}, "nothing to run (give --retriever and --generator, --method, or a run file)"),
    ],
)  # fmt: skip
def test_what_was_asked_for_and_can_run_nowhere_is_an_error(
    host: PluginHost, bare: Dataset, fields: dict[str, Any], said: str
) -> None:
    study = RunConfig(tasks=["lamp_4"], controls=False, **fields)
    with pytest.raises(RunError) as caught:
        check_requested(study, [plan_cells(study, host, bare)], host)
    assert str(caught.value).startswith(said)


def test_it_is_enough_to_run_on_one_of_the_tasks(host: PluginHost, bare: Dataset, headlines: Dataset) -> None:
    study = RunConfig(
        tasks=["lamp_4", "mini_lamp_4"], retrievers=["recency", "bm25"], generators=["copy"], controls=False
    )
    check_requested(study, [plan_cells(study, host, dataset) for dataset in (bare, headlines)], host)
    with pytest.raises(RunError, match="recency cannot run on lamp_4"):
        strict = study.model_copy(update={"strict": True})
        check_requested(strict, [plan_cells(strict, host, bare)], host)


def test_what_does_not_fit_is_left_out(host: PluginHost, bare: Dataset) -> None:
    study = RunConfig(tasks=["lamp_4"], retrievers=["recency", "bm25"], generators=["copy"], controls=False)
    plan = plan_cells(study, host, bare)
    check_requested(study, [plan], host)
    assert [cell.parts["retriever"] for cell in plan.cells] == ["bm25"]
    assert [(s.what, s.hint) for s in plan.skipped] == [("retriever recency", "lamp_4_time has them")]


def test_all_wrong_names_come_at_once(host: PluginHost) -> None:
    names = {"retrievers": ["bm52", "bm25:k3=1"], "generators": ["cppy"], "methods": ["ecko"], "rewards": ["overlp"]}
    with pytest.raises(RunError) as caught:
        check_names(RunConfig(tasks=["lmap_4"], **names), host)
    said = str(caught.value)
    for name in ("task 'lmap_4'", "'bm52'", "no option 'k3'", "'cppy'", "'ecko'", "'overlp'"):
        assert name in said
    assert "\n" not in said


def test_a_method_is_a_preset(host: PluginHost, headlines: Dataset) -> None:
    plan = planned(host, headlines, methods=["random-copy", "echo"], k=[7])
    assert rows(plan) == [("random", 1, "direct", "copy"), ("none", 0, "direct", "echo")]


def test_a_method_takes_parts_and_fills_placeholders(host: PluginHost, headlines: Dataset) -> None:
    preset = Method("mine", "bm25:k1={saturation}", "direct:protocol={protocol}", "copy", None, MINE)
    host._methods["mine"] = [preset]
    plan = planned(host, headlines, methods=["mine:saturation=1.25,protocol=chat"], k=[2, 3])
    assert rows(plan) == [("bm25:k1=1.25", k, "direct:protocol=chat", "copy") for k in (2, 3)]
    given = {"name": "mine", "saturation": 2, "protocol": "lamp", "k": 5, "generator": "echo", "retriever": "recency"}
    with pytest.raises(SpecError, match="method 'mine' has no option 'saturation'"):
        planned(host, headlines, methods=[given])
    del given["retriever"], given["generator"]
    assert rows(planned(host, headlines, methods=[given])) == [("bm25:k1=2.0", 5, "direct", "copy")]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("mine", "method 'mine' needs the option 'saturation' (mine:saturation=...)"),
        ("mine:saturation=1,depth=2", "method 'mine' has no option 'depth' (known: generator, k, name, reasoner"),
        ("mine:saturation=1,k=many", "method 'mine': k='many' is not a number of items"),
        ("mine:saturation=1,k=-1", "method 'mine': k='-1' is not a number of items"),
        ("mine:saturation=much", "retriever 'bm25': k1='much': Input should be a valid number"),
    ],
)  # fmt: skip
def test_mistakes_in_a_method(host: PluginHost, headlines: Dataset, spec: str, said: str) -> None:
    host._methods["mine"] = [Method("mine", "bm25:k1={saturation}", "direct", "copy", None, MINE)]
    with pytest.raises(SpecError) as caught:
        planned(host, headlines, methods=[spec])
    assert str(caught.value).startswith(said)


def test_an_unknown_method_has_close_matches(host: PluginHost, headlines: Dataset) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown method 'random-cpy' \(did you mean random-copy"):
        planned(host, headlines, methods=["random-cpy"])


def test_two_components_of_one_name_are_two_methods(host: PluginHost, headlines: Dataset) -> None:
    for dist in ("one", "two"):
        host.registry.add(make_component("retriever", Origin(dist, dist, "1", ""), "twin", lambda: None))
    plan = planned(host, headlines, retrievers=["one/twin", "two/twin"], generators=["copy"])
    assert [cell.retriever.component.qualified for cell in plan.cells] == ["one/twin", "two/twin"]
    with pytest.raises(PluginError, match=r"by one \(one 1\) and two \(two 1\) \(write one/twin or two/twin"):
        planned(host, headlines, retrievers=["twin"], generators=["copy"])


def test_a_row_can_have_a_name(host: PluginHost, headlines: Dataset) -> None:
    plan = planned(host, headlines, retrievers=["bm25"], generators=["copy"], name="Ours", seeds=[0, 1])
    assert {(cell.label, cell.method) for cell in plan.cells} == {("Ours", "bm25 × k=4 × direct × copy")}
    methods = ["random-copy:name=Chance", {"name": "random-copy", "k": 2, "called": "Two"}]
    plan = planned(host, headlines, methods=methods)
    assert [(cell.label, cell.k) for cell in plan.cells] == [("Chance", 1), ("Two", 2)]
    controls = RunConfig(tasks=["mini_lamp_4"], retrievers=["bm25"], generators=["copy"], name="Ours")
    found = plan_cells(controls, host, headlines).cells
    assert [cell.label for cell in found] == ["Ours"] + [""] * (len(found) - 1)
    with pytest.raises(RunError, match="2 methods are called 'Ours'"):
        planned(host, headlines, retrievers=["bm25", "random"], generators=["copy"], name="Ours")
