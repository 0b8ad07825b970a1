"""The study `experiment`: trains the arms of a plan unit by unit, and reports the comparisons that it fixed beforehand.

A report can be made at any time, from the units that are finished; it says what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from prlm_bench.metrics import Metric
from prlm_bench.report import Comparison, compare, on_trainings
from prlm_bench.results import Stored
from prlm_bench.stats import holm

from ._base import StudyConfig, seed_values, study
from ._plan import Plan, Unit
from ._report import StudyReport, draw_intervals
from ._trained import COSTS, mean_cost, p_of_trainings
from ._units import Units

#: Significance level of the corrected tests.
_LEVEL = 0.05


@study("experiment")
def experiment(config: StudyConfig, plan: Plan, runs: Path, minutes: float | None = None) -> StudyReport:
    """Make the units of a plan that are missing, and report what the finished ones say.

    Intervals and tests are over users, and over trainings where an arm has several: two arms are compared on the seeds
    that both have. p-values are corrected by Holm over all comparisons of the plan, also while some are missing.

    Args:
        config: one task; its seeds, split and limit are those of the plan.
        plan: what is trained, tested and compared.
        runs: folder of the trainings.
        minutes: for which units are begun; 0 only reports, None makes all units.

    Raises:
        PrlmBenchError: the plan does not fit the trainer, or finished units were made with other settings.
    """
    units = Units(config, plan, runs)
    failed = units.make(minutes)
    return report(units, failed)


@dataclass(frozen=True)
class _Compared:
    """One arm minus another, on the seeds that both have."""

    found: Comparison
    #: The p-value of the paired t test over the trainings alone.
    p_trainings: float | None
    seeds: int

    @cached_property
    def cells(self) -> list[float | None]:
        """Difference, and its interval's ends."""
        return [self.found.difference.difference, *self.found.difference.ends]


class _Tests:
    """The finished tests of arms, by arm and items."""

    def __init__(self, units: Units) -> None:
        self.metric, self._labels = units.config.metric, units.config.task.labels
        self.found: dict[tuple[str, str], dict[int, Stored]] = {}
        for unit in units.done:
            if unit.tested:
                self.found.setdefault((unit.arm, unit.items), {})[unit.seed] = units.result(unit)

    def minus(self, one: tuple[str, str], other: tuple[str, str]) -> _Compared | None:
        """The first minus the second, both by arm and items; None if no seed has both."""
        sides = [self.found.get(one, {}), self.found.get(other, {})]
        seeds = sorted(sides[0].keys() & sides[1].keys())
        if not seeds:
            return None
        first, second = (tuple(side[seed] for seed in seeds) for side in sides)
        (found,) = compare([first], second, [self.metric], self._labels, correction="none")
        values = (seed_values(side, self.metric.name) for side in (first, second))
        return _Compared(found, p_of_trainings(*values), len(seeds))

    def figures(self, arm: str, items: str) -> list[Any]:
        """Mean, standard deviation between seeds, seeds and parse failures."""
        tests = list(self.found[arm, items].values())
        values = seed_values(tests, self.metric.name)
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
        failures = [test.summary.parse_failures.value or 0.0 for test in tests]
        return [float(np.mean(values)), spread, len(values), float(np.mean(failures))]


def report(units: Units, failed: Mapping[Unit, str]) -> StudyReport:
    """What the finished units say."""
    tests, plan = _Tests(units), units.plan
    metric, first = tests.metric, plan.comparisons[0][0]
    fixed = [tests.minus((one, ""), (other, "")) for one, other in plan.comparisons]
    corrected = holm([1.0 if each is None else each.found.difference.p for each in fixed])
    outcomes = list(zip(plan.comparisons, fixed, corrected, strict=True))
    arms = _arms(tests, [arm for arm in plan.arms if (arm, "") in tests.found], first)
    more = [arms, _items(tests, plan.controls.seeds), _costs(units, [row[0] for row in arms.rows])]
    others = [row for row in arms.rows if row[0] != first]
    return StudyReport(
        "experiment",
        _title(tests, units),
        ["compared", "difference", "low", "high", "p (Holm)", "p of trainings", "trainings"],
        [_row(*outcome) for outcome in outcomes],
        [
            *(_finding(*outcome, metric, len(outcomes)) for outcome in outcomes),
            *_missing(units),
            *(f"Failed: {unit}: {text}." for unit, text in failed.items()),
            *_of_trainings(units),
        ],
        (lambda axes: _draw(axes, others, f"{metric.name}, minus that of {first}")) if others else None,
        [each for each in more if each.rows],
        bool(failed),
    )


def _arms(tests: _Tests, arms: Sequence[str], first: str) -> StudyReport:
    """All arms, the best first, with their difference to one of them."""
    minus = {arm: None if arm == first else tests.minus((arm, ""), (first, "")) for arm in arms}
    rows = [[arm, *tests.figures(arm, ""), *_cells(minus[arm])] for arm in arms]
    rows.sort(key=lambda row: -row[1] if tests.metric.higher_is_better else row[1])
    columns = ["arm", "mean", "seed sd", "seeds", "parse failures", f"minus {first}", "low", "high"]
    return StudyReport("experiment-arms", f"all arms; {tests.metric.name}", columns, rows)


def _items(tests: _Tests, seeds: int) -> StudyReport:
    """Arms of the first seeds with other items than those of their method."""
    rows = []
    for arm, items in tests.found:
        if items:
            mean, _, _, failures = tests.figures(arm, items)
            rows.append([arm, items, mean, failures, *_cells(tests.minus((arm, items), (arm, "")))])
    columns = ["arm", "items", "mean", "parse failures", "minus own", "low", "high"]
    of = "the first seed" if seeds == 1 else f"the first {seeds} seeds"
    return StudyReport("experiment-items", f"other items in the prompt, {of}; {tests.metric.name}", columns, rows)


def _costs(units: Units, arms: Sequence[str]) -> StudyReport:
    """Mean costs of trainings, with the stages that an arm builds on."""
    rows: list[list[Any]] = []
    for arm in arms:
        cost = mean_cost([units.record(each)["costs"] for each in units.done if each.arm == arm and not each.items])
        rows += [[arm, *cost]] if any(cell is not None for cell in cost) else []
    return StudyReport("experiment-costs", "what a training cost", ["arm", *COSTS.values()], rows)


def _cells(compared: _Compared | None) -> list[float | None]:
    return [None] * 3 if compared is None else compared.cells


def _row(pair: tuple[str, str], compared: _Compared | None, p: float) -> list[Any]:
    name = f"{pair[0]} - {pair[1]}"
    if compared is None:
        return [name, *[None] * 5, 0]
    return [name, *compared.cells, p, compared.p_trainings, compared.seeds]


def _title(tests: _Tests, units: Units) -> str:
    found = [test.summary for each in tests.found.values() for test in each.values()]
    of = f", {found[0].n} questions of {found[0].n_users} users" if found else ""
    where = f"{units.config.task_name} {units.config.split}{of}"
    return f"{where}; {tests.metric.name}; {len(units.done)} of {len(units.all)} units"


def _finding(pair: tuple[str, str], compared: _Compared | None, p: float, metric: Metric, count: int) -> str:
    one, other = pair
    if compared is None:
        return f"Open: {one} - {other}: no seed has both."
    d = compared.found.difference
    ends = f" [{d.low:+.4f}, {d.high:+.4f}]" if not d.why else f" (no interval: {d.why})"
    alone = "" if compared.p_trainings is None else f", p of trainings {compared.p_trainings:.3g}"
    figures = f"{d.difference:+.4f}{ends} in {metric.name}, p (Holm over {count}) {p:.3g}{alone}"
    on = on_trainings(compared.seeds)
    if p >= _LEVEL:
        return f"{one} is not shown to differ from {other} {on}: {figures}."
    return f"{one} is shown to be {'better' if compared.found.better else 'worse'} than {other} {on}: {figures}."


def _missing(units: Units) -> list[str]:
    """A sentence that says which tests are missing; none where all are there."""
    by_name: dict[str, list[str]] = {}
    for unit in units.missing:
        if not unit.tested:
            continue
        name = f"{unit.arm} with {unit.items}" if unit.items else unit.arm
        by_name.setdefault(name, []).append(str(unit.seed))
    if not by_name:
        return []
    named = [f"{name} (seed{'s' * (len(seeds) > 1)} {', '.join(seeds)})" for name, seeds in by_name.items()]
    return [f"Missing, {len(units.missing)} of {len(units.all)} units: {'; '.join(named)}."]


def _of_trainings(units: Units) -> list[str]:
    """Findings of the trainings, each once; a part's finding is that of the arm too."""
    found = [f"Seed {unit.seed}: {text}." for unit in units.done for text in units.record(unit)["findings"]]
    return list(dict.fromkeys(found))


def _draw(axes: Any, rows: Sequence[Sequence[Any]], what: str) -> None:
    draw_intervals(axes, [row[0] for row in rows], [row[5:8] for row in rows], what)
    axes.axvline(0.0, color="tab:gray", linewidth=1)
