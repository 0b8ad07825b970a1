"""Plans of experiments: what is trained and tested, and the comparisons that are fixed beforehand; as YAML data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from prlm_bench.errors import RunError, UnknownNameError

from .._training import Settings, load

_FOLDER = Path(__file__).parent / "plans"
_HINT = "see docs/guides/experiments.md"

#: What a prompt shows instead of the user's own items.
Items = Literal["another user's items", "random own items", "no items"]


class Controls(Settings):
    """Further tests of trained arms, with other items than those that their method shows."""

    #: The arms.
    arms: list[str] = Field(default=[])
    #: Of how many of the first seeds.
    seeds: int = Field(default=1, ge=0)
    items: list[Items] = Field(default=[])
    #: Numbers of own items, besides that of the method.
    k: list[int] = Field(default=[])


class Budget(Settings):
    """The same plan at other sizes. What is not given stays as in the plan."""

    #: Further changes of the recipe.
    changes: list[str] = Field(default=[])
    split: str | None = None
    limit: int | None = Field(default=None, ge=1)
    seeds: list[int] | None = Field(default=None, min_length=1)
    secondary_seeds: list[int] | None = Field(default=None, min_length=1)
    controls: Controls | None = None


class Plan(Settings):
    """An experiment: arms, seeds, tests and comparisons."""

    #: With an option `arms`, and `recipe` and `changes` where the plan has them.
    trainer: str = "prlm.ablation"
    recipe: str | None = None
    #: Changes of the recipe.
    changes: list[str] = Field(default=[])
    task: str
    #: Split that arms are tested on.
    split: str = "test"
    #: Number of test questions, the first of the split; None for all.
    limit: int | None = Field(default=None, ge=1)
    #: Arms by name, trained with all seeds, and those trained with `secondary_seeds`, which are described only.
    primary: list[str] = Field(min_length=1)
    secondary: list[str] = Field(default=[])
    seeds: list[int] = Field(min_length=1)
    secondary_seeds: list[int] = Field(default=[0], min_length=1)
    #: Pairs of arms. All of them are tested, and no others; p-values are corrected by Holm over all.
    comparisons: list[tuple[str, str]] = Field(min_length=1)
    controls: Controls = Controls()
    #: By name.
    budgets: dict[str, Budget] = Field(default={})

    @model_validator(mode="after")
    def _check_names(self) -> Plan:
        arms = [*self.primary, *self.secondary]
        repeated = [arm for arm in arms if arms.count(arm) > 1]
        if repeated:
            raise ValueError(f"arm {repeated[0]} is named twice")
        for arm in (arm for pair in self.comparisons for arm in pair):
            if arm not in self.primary:
                raise ValueError(f"comparisons: {arm} is none of the primary arms {', '.join(self.primary)}")
        for arm in self.controls.arms:
            if arm not in arms:
                raise ValueError(f"controls: {arm} is none of the arms {', '.join(arms)}")
        for seeds in (self.seeds, self.secondary_seeds):
            if len(set(seeds)) < len(seeds):
                raise ValueError("a seed is named twice")
        return self

    @property
    def arms(self) -> list[str]:
        """All arms, primary ones first."""
        return [*self.primary, *self.secondary]

    def seeds_of(self, arm: str) -> list[int]:
        """The seeds that an arm is trained with."""
        return self.seeds if arm in self.primary else self.secondary_seeds

    def with_budget(self, name: str | None) -> Plan:
        """The plan at the sizes of a budget.

        Raises:
            RunError: the plan has budgets, and none is given.
            UnknownNameError: it has none of that name.
        """
        if name is None and not self.budgets:
            return self
        if name is None:
            raise RunError("the plan has budgets", f"give --budget {', '.join(self.budgets)}")
        if name not in self.budgets:
            raise UnknownNameError("budget", name, self.budgets, "" if self.budgets else "the plan has no budgets")
        given = {key: value for key, value in self.budgets[name] if value is not None}
        return Plan.model_validate({**dict(self), **given, "changes": [*self.changes, *given["changes"]]})


def plan_names() -> list[str]:
    """Names of the plans that ship."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def read_plan(name: str, budget: str | None = None, changes: Sequence[str] = ()) -> Plan:
    """A plan by name or path.

    Args:
        name: one that ships, or the path of a YAML file.
        budget: one of the plan's.
        changes: further changes of the recipe, after those of the budget.

    Raises:
        RunError: no such plan or budget, or a wrong field; one line that names it.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else _FOLDER / f"{name}.yaml"
    if path.parent == _FOLDER and not path.is_file():
        raise UnknownNameError("plan", name, plan_names())
    plan = load(Plan, path, hint=_HINT, kind="plan").with_budget(budget)
    return plan.model_copy(update={"changes": [*plan.changes, *changes]})


@dataclass(frozen=True)
class Unit:
    """What is trained and tested in one go: an arm of one seed, or one test of it with other items."""

    arm: str
    seed: int
    #: What its prompts show instead of the method's own items: a control, or `k=N`; empty for the arm itself.
    items: str = ""
    #: False for what is only trained, such as a point of a grid.
    tested: bool = True

    @property
    def name(self) -> str:
        """The name of its folder."""
        return re.sub(r"[^\w.+=-]+", "_", "-".join(filter(None, (str(self.seed), self.arm, self.items))))

    @property
    def kind(self) -> str:
        """Units of one kind take about as long."""
        return f"{self.arm} {self.items}"

    def __str__(self) -> str:
        return f"{self.arm}{', ' * bool(self.items)}{self.items}, seed {self.seed}"

    def changed(self, method: dict[str, Any]) -> dict[str, Any]:
        """The method that is tested."""
        if self.items == "another user's items":
            return {**method, "retriever": {"name": "other-user", "by": method["retriever"]}}
        if self.items == "random own items":
            return {**method, "retriever": "random"}
        if self.items == "no items":
            return {**method, "retriever": "none", "k": 0}
        return {**method, "k": int(self.items.removeprefix("k="))} if self.items else method


def units_of(plan: Plan, parts: Callable[[str, bool], Sequence[str]]) -> Iterator[Unit]:
    """The units of a plan in their order: seed by seed, primary arms first; tests follow the training.

    Args:
        plan: the plan.
        parts: what is trained before an arm as units of their own, given whether it is the plan's first seed.
    """
    begun: set[tuple[str, int]] = set()
    for arms, seeds in ((plan.primary, plan.seeds), (plan.secondary, plan.secondary_seeds)):
        for seed in seeds:
            for arm in arms:
                for part in parts(arm, seed == plan.seeds[0]):
                    if (part, seed) not in begun and part not in plan.arms:
                        begun.add((part, seed))
                        yield Unit(part, seed, tested=False)
                yield Unit(arm, seed)
                if arm in plan.controls.arms and seed in plan.seeds[: plan.controls.seeds]:
                    others = [*plan.controls.items, *(f"k={k}" for k in plan.controls.k)]
                    yield from (Unit(arm, seed, items) for items in others)
