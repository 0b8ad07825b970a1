"""Every component of `baselines` and `bm25` keeps its contract."""

from __future__ import annotations

from typing import Any

import pytest

from prlm_bench.host import PluginHost
from prlm_bench.testing import GeneratorContract, ReasonerContract, RetrieverContract, RewardContract

#: A spec, and the mini-LaMP task that it is tried on.
Case = tuple[str, str]
RETRIEVERS: list[Case] = [
    ("none", "mini_lamp_4"),
    ("random", "mini_lamp_4"),
    ("random-own", "mini_lamp_7"),
    ("other-user", "mini_lamp_4"),
    ("other-user:by=bm25", "mini_lamp_4"),
    ("recency", "mini_lamp_4"),
    ("oracle", "mini_lamp_4"),
    ("bm25", "mini_lamp_4"),
    ("bm25:ties=numpy", "mini_lamp_3"),
    ("bm25:k1=0.9,b=0.4,epsilon=0", "mini_lamp_7"),
]
GENERATORS: list[Case] = [
    ("echo", "mini_lamp_4"),
    ("copy", "mini_lamp_4"),
    ("copy", "mini_lamp_3"),
    ("vote", "mini_lamp_2"),
    ("vote", "mini_lamp_3"),
    ("constant", "mini_lamp_2"),
    ("nearest", "mini_lamp_1"),
]
REASONERS: list[Case] = [
    ("direct", "mini_lamp_1"),
    ("direct", "mini_lamp_3"),
    ("direct:protocol=chat", "mini_lamp_4"),
    ("direct:max_length=16,tokenizer=words", "mini_lamp_5"),
]
REWARDS: list[Case] = [
    ("overlap", "mini_lamp_1"),
    ("overlap", "mini_lamp_3"),
    ("overlap", "mini_lamp_4"),
    ("overlap:rouge1@lamp+rouge-l@prlm", "mini_lamp_4"),
    ("format", "mini_lamp_4"),
]


def each(cases: list[Case]) -> Any:
    """A fixture that gives a contract one case after the other."""

    @pytest.fixture(autouse=True, params=cases, ids=[f"{spec} on {task}" for spec, task in cases])
    def chosen(self: Any, request: pytest.FixtureRequest) -> None:
        self.spec, self.task = request.param

    return chosen


class TestRetrievers(RetrieverContract):
    chosen = each(RETRIEVERS)


class TestGenerators(GeneratorContract):
    chosen = each(GENERATORS)


class TestReasoners(ReasonerContract):
    chosen = each(REASONERS)


class TestRewards(RewardContract):
    chosen = each(REWARDS)


def test_no_component_is_left_out(host: PluginHost) -> None:
    tried = {"retriever": RETRIEVERS, "generator": GENERATORS, "reasoner": REASONERS, "reward": REWARDS}
    for kind, cases in tried.items():
        names = {spec.partition(":")[0] for spec, _ in cases}
        for component in host.registry.all(kind):
            if component.origin.plugin in ("baselines", "bm25"):
                assert {component.name, *component.aliases} <= names, component
