"""The cells of `benchmarks/check_coverage.py`: what is simulated in each, and the tables.

A study has three functions: its cells, one replicate of a cell, and the text of its table.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import rivals
from support.made_results import sample, write_result
from support.simulated import RECIPES, SIZES, Random, user_sizes

from prlm_bench.host import PluginHost
from prlm_bench.report.findings import find
from prlm_bench.results import find_results, mean_value
from prlm_bench.stats import Bounds, Floats, Resampled, holm, paired_difference, smallest_detectable, users_needed

USERS = (6, 8, 10, 20, 50, 200, 1000)
ICCS = (0.0, 0.4, 0.8)
#: Resamples of the bootstraps, and splits of a test: fewer than in results, which changes coverage by less than the
#: error of the simulation.
RESAMPLES, FLIPS = 500, 1_000
#: The share of the replicates in which the bootstraps are computed too.
BOOTSTRAPPED = 0.25

Cell = tuple[Any, ...]
#: Sums over replicates by name.
Sums = dict[str, float]


@dataclass(frozen=True)
class Study:
    """One table: its cells, one replicate of a cell, and the text of the table."""

    name: str
    cells: Callable[[], Iterator[Cell]]
    replicate: Callable[[Random, Cell], Sums]
    table: Callable[[Study, Results], str]
    #: What the table says, before it.
    about: str
    #: Replicates of a cell with few users; with 200 half of them, with 1000 a quarter.
    replicates: int = 270


class Results:
    """Means over the replicates of each cell."""

    def __init__(self, cells: dict[str, dict[str, float]]) -> None:
        self.cells = cells

    def mean(self, study: Study, cell: Cell, name: str, of: str = "replicates") -> float:
        """The mean of a sum over replicates, or over another sum."""
        found = self.cells.get(cell_key(study, cell), {})
        return found.get(name, 0.0) / found[of] if found.get(of) else float("nan")

    def counted(self, study: Study) -> str:
        """The fewest and the most replicates of the study's cells."""
        counts = [
            int(found["replicates"]) for cell in study.cells() if (found := self.cells.get(cell_key(study, cell)))
        ]
        return " to ".join(map(str, dict.fromkeys((min(counts), max(counts)))))


def cell_key(study: Study, cell: Cell) -> str:
    return " | ".join(map(str, (study.name, *cell)))


def _holds(ends: Bounds | tuple[float, float], truth: float) -> float:
    low, high = (ends.low, ends.high) if isinstance(ends, Bounds) else ends
    return float(low - 1e-12 <= truth <= high + 1e-12)


# Coverage of single figures

PLAIN = [name for name in RECIPES if not name.startswith("macro-F1")]
LABELS = [name for name in RECIPES if name.startswith("macro-F1")]
KINDS = ("auto", "percentile", "bca")


def interval_cells() -> Iterator[Cell]:
    yield from product(PLAIN, SIZES, ICCS, USERS)


def label_cells() -> Iterator[Cell]:
    yield from product(LABELS, ("equal", "heavy"), (1, 3, 5), (20, 50, 200, 1000))


def one_interval(rng: Random, cell: Cell) -> Sums:
    name, kind, icc, users = cell
    return _intervals(rng, name, user_sizes(rng, users, kind), icc)


def one_label_interval(rng: Random, cell: Cell) -> Sums:
    name, kind, questions, users = cell
    return _intervals(rng, name, user_sizes(rng, users, kind, questions), 0.3)


def _intervals(rng: Random, name: str, sizes: Any, icc: float) -> Sums:
    recipe = RECIPES[name]
    totals = recipe.totals(rng, sizes, icc)[0]
    drawn = Resampled(totals, sizes.astype(np.float64), resamples=RESAMPLES)
    columns = slice(0, totals.shape[1])
    sums: Sums = {}
    for kind in KINDS if rng.random() < BOOTSTRAPPED else KINDS[:1]:
        found = drawn.bounds(columns, recipe.value, recipe.scale, kind)
        if kind == "auto" and recipe.too_rare(totals):
            continue
        sums |= {f"{kind} printed": float(np.isfinite(found.low)), kind: _holds(found, recipe.truth)}
    return sums


def intervals_table(study: Study, results: Results) -> str:
    return "\n".join([_summary(study, results), *(_grid(study, results, name) for name in PLAIN)])


def labels_table(study: Study, results: Results) -> str:
    rows = []
    for name, kind, questions in product(LABELS, ("equal", "heavy"), (1, 3, 5)):
        cells = [(name, kind, questions, users) for users in (20, 50, 200, 1000)]
        rows.append([name, kind, str(questions), *(_triple(study, results, cell) for cell in cells)])
    return _table(["metric", "users' sizes", "questions", *(f"{u} users" for u in (20, 50, 200, 1000))], rows)


def _grid(study: Study, results: Results, name: str) -> str:
    rows = []
    for kind, icc in product(SIZES, ICCS):
        rows.append([kind, str(icc), *(_triple(study, results, (name, kind, icc, users)) for users in USERS)])
    return f"**{name}**\n\n" + _table(["users' sizes", "ICC", *(f"{users} users" for users in USERS)], rows)


def _triple(study: Study, results: Results, cell: Cell) -> str:
    parts = [_percent(results.mean(study, cell, kind, f"{kind} printed")) for kind in KINDS]
    printed = results.mean(study, cell, "auto printed")
    return " / ".join(parts) + _some(printed)


def _some(printed: float) -> str:
    return f" ({_percent(printed)} % printed)" if 0 < printed < 0.995 else ""


def _summary(study: Study, results: Results) -> str:
    """For each metric, how many cells with an interval lie below, in and above 93 to 97 %."""
    rows = []
    for name, kind in product(PLAIN, KINDS):
        cells = [(name, *rest) for rest in product(SIZES, ICCS, USERS)]
        found = np.array([results.mean(study, cell, kind, f"{kind} printed") for cell in cells])
        found = found[np.isfinite(found)]
        counts = [len(found), *(int(np.sum(at)) for at in (found < 0.9, found < 0.93, found > 0.97))]
        rows.append([name, kind, *map(str, counts), _percent(found.min()), _percent(found.mean())])
    titles = ["metric", "interval", "cells printed", "below 90 %", "below 93 %", "above 97 %", "lowest", "mean"]
    return _table(titles, rows)


# The intervals of Bowyer, Aitchison and Ivanova

SHARES = [name for name in PLAIN if name.startswith("accuracy")]
RIVALS = ("auto", "clopper-pearson", "wilson", "beta", "beta-binomial")
FEW = (6, 10, 20, 50, 200)


def rival_cells() -> Iterator[Cell]:
    yield from product(SHARES, SIZES, ICCS, FEW)


def one_rival(rng: Random, cell: Cell) -> Sums:
    name, kind, icc, users = cell
    recipe, sizes = RECIPES[name], user_sizes(rng, users, kind)
    totals = recipe.totals(rng, sizes, icc)[0]
    right, n = map(int, totals.sum(axis=0))
    found = {
        "auto": Resampled(totals, totals[:, 1]).bounds(slice(0, 2), mean_value, "share"),
        "clopper-pearson": rivals.clopper_pearson(right, n),
        "wilson": rivals.wilson(right, n),
        "beta": rivals.beta_posterior(right, n),
        "beta-binomial": rivals.beta_binomial(totals),
    }
    return {name: _holds(ends, recipe.truth) for name, ends in found.items()}


def rivals_table(study: Study, results: Results) -> str:
    rows = []
    for name, kind, icc in product(SHARES, SIZES, ICCS):
        cells = [(name, kind, icc, users) for users in FEW]
        shown = [" / ".join(_percent(results.mean(study, cell, each)) for each in RIVALS) for cell in cells]
        rows.append([name, kind, str(icc), *shown])
    return _table(["metric", "users' sizes", "ICC", *(f"{users} users" for users in FEW)], rows)


# Differences of two methods

#: Latent shifts of the first method: none, and one of .3 standard deviations.
SHIFTS = (0.0, 0.3)


def difference_cells() -> Iterator[Cell]:
    names = ("ROUGE-like", "accuracy 0.7", "accuracy 0.98", "RMSE, normal", "BLEU")
    yield from product(names, SIZES, (0.0, 0.8), SHIFTS, (6, 10, 20, 50, 200))


def one_difference(rng: Random, cell: Cell) -> Sums:
    name, kind, icc, shift, users = cell
    recipe, sizes = RECIPES[name], user_sizes(rng, users, kind)
    first, second = recipe.totals(rng, sizes, icc, 2, shift)
    found = paired_difference(
        [first], [second], recipe.value, sizes.astype(np.float64), corpus=recipe.scale == "corpus", flips=FLIPS
    )
    printed = not found.why
    truth = recipe.true_value(shift) - recipe.true_value(0.0)
    apart = printed and not found.low <= 0 <= found.high
    sums = {
        "printed": float(printed),
        "holds": printed * _holds((found.low, found.high), truth),
        "rejects": float(found.p <= 0.05),
        "disagrees": float(printed and apart != (found.p <= 0.05)),
    }
    if recipe.scale == "share":
        singles = [np.repeat(each[:, 0] / each[:, 1], sizes) for each in (first, second)]
        sums["probit"] = _holds(rivals.paired_probit(*singles), truth)
    return sums


def differences_table(study: Study, results: Results) -> str:
    rows = []
    users = (6, 10, 20, 50, 200)
    for name, kind, icc, shift in product(*_axes(study, 4)):
        cells = [(name, kind, icc, shift, each) for each in users]
        texts = []
        for cell in cells:
            held = _percent(results.mean(study, cell, "holds", "printed"))
            probit = f" / {_percent(results.mean(study, cell, 'probit'))}" if name.startswith("accuracy") else ""
            level = f", p {_percent(results.mean(study, cell, 'rejects'))}" if not shift else ""
            texts.append(held + probit + level + _some(results.mean(study, cell, "printed")))
        apart = max(results.mean(study, cell, "disagrees") for cell in cells)
        rows.append([name, kind, str(icc), str(shift), *texts, _percent(apart)])
    titles = ["metric", "users' sizes", "ICC", "shift", *(f"{each} users" for each in users), "p and interval disagree"]
    return _table(titles, rows)


def _axes(study: Study, count: int) -> list[list[Any]]:
    return [list(dict.fromkeys(cell[at] for cell in study.cells())) for at in range(count)]


# Equivalence, power, users needed


def _normal(rng: Random, users: int, shift: float) -> tuple[list[Floats], list[Floats], Floats]:
    """Two methods whose difference by user is normal with standard deviation 1."""
    gaps = np.stack([rng.normal(shift, 1, users), np.ones(users)], axis=1)
    return [gaps], [np.stack([np.zeros(users), np.ones(users)], axis=1)], np.ones(users)


def equivalence_cells() -> Iterator[Cell]:
    yield from product((2, 5, 6, 10, 40, 200), (0.5, 1.0, 3.0))


def one_equivalence(rng: Random, cell: Cell) -> Sums:
    """The true difference is the margin, so each `yes` is an error."""
    users, margin = cell
    first, second, sizes = _normal(rng, users, margin)
    return {"yes": float(paired_difference(first, second, mean_value, sizes, flips=FLIPS).is_within(margin))}


def equivalence_table(study: Study, results: Results) -> str:
    users, margins = _axes(study, 2)
    rows = [
        [str(each), *(_percent(results.mean(study, (each, margin), "yes"), 1) for margin in margins)] for each in users
    ]
    return _table(["users", *(f"margin {margin} sd" for margin in margins)], rows)


def power_cells() -> Iterator[Cell]:
    yield from product((5, 8, 20, 50, 200), (1, 10))


def one_power(rng: Random, cell: Cell) -> Sums:
    """The true difference is the value that `detectable` gives for another sample of as many users."""
    users, comparisons = cell
    pilots = [paired_difference(*_two(rng, users, 0.0), flips=16) for _ in range(8)]
    errors = float(np.sqrt(np.mean([pilot.error**2 for pilot in pilots])))
    size = smallest_detectable(pilots[0], comparisons) / pilots[0].error * errors
    if not np.isfinite(size):
        return {}
    p_values = [
        paired_difference(*_two(rng, users, size if at == 0 else 0.0), flips=FLIPS).p for at in range(comparisons)
    ]
    return {"printed": 1.0, "found": float(holm(p_values)[0] < 0.05), "size": size}


def _two(rng: Random, users: int, shift: float) -> tuple[Any, ...]:
    first, second, sizes = _normal(rng, users, shift)
    return first, second, mean_value, sizes


def power_table(study: Study, results: Results) -> str:
    rows = []
    for users, comparisons in study.cells():
        cell = (users, comparisons)
        size = results.mean(study, cell, "size", "printed")
        power = _percent(results.mean(study, cell, "found", "printed"))
        rows.append([str(users), str(comparisons), "–" if np.isnan(size) else f"{size:.2f} sd", power])
    return _table(["users", "comparisons", "detectable", "found in %"], rows)


def needed_cells() -> Iterator[Cell]:
    yield from product((0.2, 0.5, 1.0), (1, 10))


def one_needed(rng: Random, cell: Cell) -> Sums:
    """As many users as `users_needed` says after a first sample of 40."""
    effect, comparisons = cell
    users = users_needed(paired_difference(*_two(rng, 40, 0.0), flips=16), effect, comparisons)
    assert users is not None
    p_values = [
        paired_difference(*_two(rng, users, effect if at == 0 else 0.0), flips=FLIPS).p for at in range(comparisons)
    ]
    return {"users": float(users), "found": float(holm(p_values)[0] < 0.05)}


def needed_table(study: Study, results: Results) -> str:
    rows = [
        [
            f"{effect} sd",
            str(comparisons),
            f"{results.mean(study, (effect, comparisons), 'users'):.0f}",
            _percent(results.mean(study, (effect, comparisons), "found")),
        ]
        for effect, comparisons in study.cells()
    ]
    return _table(["true difference", "comparisons", "users needed (mean)", "found in %"], rows)


# Users and trainings


def training_cells() -> Iterator[Cell]:
    yield from product((40, 200, 1000), ((3, 3), (3, 1), (5, 5), (10, 10)), (0.0, 0.03))


def one_training(rng: Random, cell: Cell) -> Sums:
    """The same recipe on both sides; each training moves all users by a normal value of the given deviation."""
    users, counts, deviation = cell
    sizes = user_sizes(rng, users, "equal")
    own = rng.normal(0.5, 0.15, users)

    def trained() -> Floats:
        """Each user also has a part of its own in a training, and its questions have noise."""
        means = own + deviation * rng.normal() + deviation * rng.normal(size=users)
        return np.stack([sizes * means + np.sqrt(sizes) * rng.normal(0, 0.15, users), sizes], axis=1)

    sides = [[trained() for _ in range(count)] for count in counts]
    found = paired_difference(*sides, mean_value, sizes.astype(np.float64), flips=FLIPS)
    one = paired_difference(sides[0][:1], sides[1][:1], mean_value, sizes.astype(np.float64), flips=FLIPS)
    return {
        "different": float(found.p <= 0.05),
        "holds": _holds((found.low, found.high), 0.0),
        "one": float(one.p <= 0.05),
    }


def trainings_table(study: Study, results: Results) -> str:
    rows = []
    for cell in study.cells():
        users, counts, deviation = cell
        shown = [_percent(results.mean(study, cell, name), 1) for name in ("different", "holds", "one")]
        rows.append([str(users), f"{counts[0]} and {counts[1]}", str(deviation), *shown])
    return _table(
        ["users", "trainings", "seed sd", "“different” in %", "interval holds 0", "of one training each"], rows
    )


# Findings

#: Gains over random own items; 0 is the null grid.
GAINS = (0.0, 0.05, 0.2)


def findings_cells() -> Iterator[Cell]:
    yield from product((5, 10, 40, 200), GAINS)


def one_findings(rng: Random, cell: Cell) -> Sums:
    """A grid of 12 rows, their random counterpart and one control; what the 24 checks say."""
    users, gain = cell
    hard = rng.normal(0, 0.15, users)
    with tempfile.TemporaryDirectory() as folder:
        names = [*(f"method-{at}" for at in range(12)), "random", "none"]
        for name in names:
            method = name.startswith("method")
            kinds = {} if method else {"control": True}
            text = _answers(rng, hard, gain if method else 0.0)
            extra = {"k": 0, "generator": "echo"} if name == "none" else {"generator": "tiny"}
            write_result(Path(folder), text, retriever=name, dist="prlm-bench", **kinds, **extra)
        found = find(find_results(Path(folder))[0], _HOST.registry)
    sums: Sums = {}
    for check, status in product(("retrieval", "controls"), ("found", "passed", "open")):
        sums[f"{check} {status}"] = sum(each.check == check and each.status == status for each in found) / 12
    return sums


_HOST = PluginHost()


def _answers(rng: Random, hard: Floats, gain: float) -> list[dict[str, Any]]:
    """5 questions a user; of the 4 words of a gold each is right with a probability of about .5."""
    rows = []
    for user, question in product(range(len(hard)), range(5)):
        right = rng.binomial(4, np.clip(0.5 + hard[user] + gain, 0, 1))
        gold = [f"u{user}q{question}w{at}" for at in range(4)]
        answer = [word if at < right else "wrong" + str(rng.integers(10**9)) for at, word in enumerate(gold)]
        rows.append(sample(f"q{user}-{question}", f"u{user}", " ".join(answer), " ".join(gold)))
    return rows


def findings_table(study: Study, results: Results) -> str:
    rows = []
    for cell in study.cells():
        for check in ("retrieval", "controls"):
            shown = [_percent(results.mean(study, cell, f"{check} {each}"), 1) for each in ("found", "passed", "open")]
            rows.append([str(cell[0]), str(cell[1]), check, *shown])
    return _table(["users", "true gain", "check", "“no gain” found", "gain shown", "not enough users"], rows)


# Tables


def _percent(share: float, digits: int = 0) -> str:
    return "–" if np.isnan(share) else f"{100 * share:.{digits}f}"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
