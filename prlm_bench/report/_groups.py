"""Groups the rows of a table: which ones are not shown to differ from the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel
from scipy.stats import norm

from .._util.json_text import load_json_lines
from ..results import SAMPLES, SeedGroup, as_mean, have_same_samples, mean_value
from ..stats import Difference, Floats, holm, paired_difference, smallest_p, user_totals

LEVEL = 0.05
#: Random splits of a test, and of one with many users; smaller p-values come from the t distribution.
_FLIPS, _FEWER, _MANY = 2_000, 400, 1_000


class _Scored(BaseModel):
    """What a line of samples says of metrics; reading all of it would take several times as long."""

    user: str
    metrics: dict[str, float | None]


@dataclass(frozen=True)
class Groups:
    """The groups of a ranking."""

    #: A number for each row, counted from 1; empty if there are no groups.
    numbers: tuple[int, ...] = ()
    #: Why there are no groups; empty if there are.
    why: str = ""
    #: How much too good the first of the first group is expected to be by chance alone, in the unit of the metric: the
    #: mean of the largest of so many equal values. None with one row in the group.
    luck: float | None = None


@dataclass(frozen=True)
class Trainings:
    """Statistics (value, 1) of the ranking metric by user, shape (users, 2), of each training of a row."""

    totals: Sequence[Floats]


def read_trainings(group: SeedGroup, metrics: Sequence[str]) -> dict[str, Trainings]:
    """Read a row's samples once for several metrics; metrics that not all samples have are left out."""
    if not all(result.has_samples for result in group):
        return {}
    found: dict[str, list[Floats]] = {name: [] for name in metrics}
    for result in group[:1] if have_same_samples(group) else group:
        values: dict[str, list[float | None]] = {name: [] for name in metrics}
        users = []
        for sample in load_json_lines(result.folder / SAMPLES, _Scored):
            users.append(sample.user)
            for name, column in values.items():
                column.append(sample.metrics.get(name))
        values |= {name: result.added[name].values for name in values if name in result.added}
        for name, column in values.items():
            known = [value for value in column if value is not None]
            if len(known) == len(users) and name in found:
                found[name].append(user_totals(as_mean(known), users))
            else:
                found.pop(name, None)
    return {name: Trainings(totals) for name, totals in found.items()}


def tied_groups(rows: Sequence[Trainings | None]) -> Groups:
    """The groups of a ranking, best first.

    The first group is the best row and all rows that do not differ from it at 5 % in a paired test, with Holm's
    correction over these comparisons; the next group begins with the best remaining row.

    Args:
        rows: the statistics of each row, the users in the same order; None if single samples have no value.
    """
    known = [row for row in rows if row is not None]
    if len(rows) < 2:
        return Groups()
    if len(known) < len(rows):
        return Groups(why="groups need the samples of all rows, and a ranking metric that single samples have")
    users = len(known[0].totals[0])
    if any(len(totals) != users for row in known for totals in row.totals):
        return Groups(why="no groups: the rows have different users")
    if smallest_p(users) > LEVEL / (len(rows) - 1):
        few = f"{users} user{'s' * (users != 1)}"
        return Groups(why=f"no groups: {few} cannot separate {len(rows)} rows at 5 %")
    return _grouped(known)


def _grouped(rows: Sequence[Trainings]) -> Groups:
    numbers = [0] * len(rows)
    luck: float | None = None
    left = list(range(len(rows)))
    number = 0
    while left:
        number += 1
        best, others = left[0], left[1:]
        found = {other: _difference(rows[best], rows[other]) for other in others}
        p_values = holm([each.p for each in found.values()])
        tied = [other for other, p in zip(others, p_values, strict=True) if p >= LEVEL]
        for row in (best, *tied):
            numbers[row] = number
        if number == 1 and tied:
            luck = _luck([found[other] for other in tied])
        left = [row for row in others if row not in tied]
    return Groups(tuple(numbers), luck=luck)


def _difference(first: Trainings, second: Trainings) -> Difference:
    sizes = first.totals[0][:, 1]
    flips = _FLIPS if len(sizes) <= _MANY else _FEWER
    return paired_difference(first.totals, second.totals, mean_value, sizes, flips=flips)


def _luck(found: Sequence[Difference]) -> float | None:
    """Blom's approximation of the mean of the largest of m normal values, times a row's own standard error."""
    errors = [each.error for each in found if np.isfinite(each.error)]
    if not errors:
        return None
    m = len(found) + 1
    return float(norm.ppf((m - 0.375) / (m + 0.25)) * np.median(errors) / np.sqrt(2))


def group_name(number: int) -> str:
    """A, B, ..., Z, AA, AB, ... for 1, 2, ..., 26, 27, 28, ..."""
    letters = ""
    while number > 0:
        number, place = divmod(number - 1, 26)
        letters = chr(ord("A") + place) + letters
    return letters
