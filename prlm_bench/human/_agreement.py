"""Agreement between annotators: the observed share, Krippendorff's alpha, and the kappas of Fleiss and Cohen.

All are about the annotators that there are, so their intervals are over users alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from ..results import Estimate, as_mean, mean_value
from ..stats import Floats, Value, jackknife, too_few, user_index, user_totals, wilson
from ._estimates import AGREEMENT, plain, unknown, without

#: Why agreement is not defined.
ALONE = "no pair judged twice"
ONE_CHOICE = "only one choice was ever made"
#: Observed agreement from which a chance-corrected one under `_LOW` points to a choice that is nearly always made.
_HIGH, _LOW = 0.8, 0.6
#: A difference of Cohen's and Fleiss' kappa that is worth a remark.
_APART = 0.05


class Gap(NamedTuple):
    """Disagreement of two choices of one pair, and of two choices of any."""

    observed: float
    expected: float


@dataclass(frozen=True)
class Two:
    """Cohen's kappa of two annotators, over the pairs that both judged."""

    first: str
    second: str
    pairs: int
    kappa: Estimate


@dataclass(frozen=True)
class Agreement:
    """How far annotators agree, over the pairs that two or more of them judged."""

    pairs: int
    #: Share of two judgements of a pair that are equal.
    observed: Estimate
    alpha: Estimate
    fleiss: Estimate
    #: Mean over two annotators each, weighted by the pairs that both judged.
    cohen: Estimate
    cohens: list[Two]
    #: Share of judgements with the choice that is made most often.
    commonest: float | None


def agreement(units: Mapping[str, Mapping[str, Hashable]], users: Mapping[str, str]) -> Agreement:
    """All measures of agreement.

    Args:
        units: by pair, the choice of each annotator.
        users: the user of each pair.
    """
    several = {unit: choices for unit, choices in units.items() if len(choices) > 1}
    values = [list(choices.values()) for choices in several.values()]
    owners = [users[unit] for unit in several]
    if not several:
        none = unknown(ALONE)
        return Agreement(0, observed=none, alpha=none, fleiss=none, cohen=none, cohens=[], commonest=None)
    equal = [_equal(each) for each in values]
    counts = Counter(value for each in values for value in each)
    gap = Gap(1 - float(np.mean(equal)), _apart(list(counts.values())))
    names, tables = _tables(list(several.values()))
    each = np.split(tables, len(names), axis=1)
    return Agreement(
        pairs=len(several),
        observed=_estimate(as_mean(equal), owners, mean_value, Gap(gap.observed, 1.0)),
        alpha=_estimate(alpha_statistics(values), owners, alpha_value, gap),
        fleiss=_estimate(fleiss_statistics(values), owners, fleiss_value, gap),
        cohen=_estimate(tables, owners, lambda totals: _cohen_mean(totals, len(names)), gap),
        cohens=[_two(*two, table, owners) for two, table in zip(names, each, strict=True)],
        commonest=max(counts.values()) / counts.total(),
    )


def agreement_notes(found: Agreement) -> list[str]:
    """What to read where the measures disagree."""
    notes = []
    observed, alpha, fleiss, cohen = (e.value for e in (found.observed, found.alpha, found.fleiss, found.cohen))
    if observed is not None and alpha is not None and observed >= _HIGH and alpha < _LOW:
        notes.append(
            f"annotators agree on {100 * observed:.0f} %, but {100 * (found.commonest or 0):.0f} % of all choices are "
            "the same one: alpha and kappas, which correct for chance, say little about so one-sided choices"
        )
    if cohen is not None and fleiss is not None and abs(cohen - fleiss) > _APART:
        notes.append(
            "Cohen's and Fleiss' kappa differ because annotators make the choices at different rates (see 1/0/2): "
            "Cohen's forgives that, Fleiss' and alpha count it as disagreement"
        )
    return notes


def _two(first: str, second: str, table: Floats, owners: Sequence[str]) -> Two:
    shared = np.flatnonzero(table.sum(axis=1)).tolist()
    square = table.sum(axis=0).reshape(-1, round(table.shape[1] ** 0.5))
    gap = Gap(1 - float(np.trace(square) / square.sum()), _apart(square.sum(axis=0) + square.sum(axis=1)))
    return Two(
        first,
        second,
        len(shared),
        _estimate(table[shared], [owners[place] for place in shared], cohen_value, gap),
    )


def _estimate(statistics: Floats, owners: Sequence[str], value: Value, gap: Gap) -> Estimate:
    """An agreement, 1 - observed / expected disagreement, with its 95 % interval over users.

    Wilson's interval of the observed disagreement, with the number of independent observations that would give the
    figure the variance that the jackknife finds, over the expected disagreement. So it holds where nearly all agree.
    """
    totals = user_totals(statistics, owners)
    figure = float(value(totals.sum(axis=0)))
    if not np.isfinite(figure):
        return unknown(ONE_CHOICE)
    if why := too_few(AGREEMENT, len(totals)):
        return without(figure, why)
    sizes = np.bincount(user_index(owners)).astype(np.float64)
    found = jackknife(totals, value, sizes)
    if not np.isfinite(found.error):
        return without(figure, "undefined without some users")
    if 0 < gap.observed < 1 and found.error > 0:
        expected = gap.observed / (1 - figure)
        effective = gap.observed * (1 - gap.observed) / (found.error * expected) ** 2
    else:
        # All agree, or all disagree: users count as one observation each.
        expected, effective = gap.expected, sizes.sum() ** 2 / float(np.sum(sizes**2))
    ends = wilson(gap.observed, max(effective, 1.0), float(student.ppf(0.975, found.freedom)))
    return plain(figure, max(1 - ends.high / expected, -1.0), 1 - ends.low / expected)


def _apart(counts: Sequence[float] | Floats) -> float:
    """The chance that two of so many choices of each kind differ."""
    shares = np.asarray(counts, dtype=np.float64) / np.sum(counts)
    return 1 - float(np.sum(shares**2))


def _equal(values: Sequence[Hashable]) -> float:
    n = len(values)
    return sum(count * (count - 1) for count in Counter(values).values()) / (n * (n - 1))


def _places(units: Sequence[Sequence[Hashable]]) -> dict[Hashable, int]:
    return {value: place for place, value in enumerate(dict.fromkeys(value for values in units for value in values))}


def alpha_statistics(units: Sequence[Sequence[Hashable]]) -> Floats:
    """The statistics of alpha for each unit.

    Args:
        units: the values of each unit, one per annotator.

    Returns:
        Shape (units, 1 + categories): the unit's matching coincidences and its count of each category; zeros for a
        unit with fewer than two values, which has no information about agreement.
    """
    places = _places(units)
    rows = np.zeros((len(units), 1 + len(places)))
    for row, values in zip(rows, units, strict=True):
        if len(values) > 1:
            for value in values:
                row[1 + places[value]] += 1
            row[0] = len(values) * _equal(values)
    return rows


def alpha_value(totals: Floats) -> Floats:
    """Alpha of summed statistics; nan if undefined: no unit with two values, or only one category.

    Krippendorff, Content Analysis (2004), section 11.3: 1 - observed / expected disagreement, which for nominal
    categories is 1 - (n - 1) (n - sum of o_cc) / (n^2 - sum of n_c^2), with n pairable values, n_c of them of
    category c, and o_cc matching coincidences.
    """
    counts = totals[..., 1:]
    n = counts.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(1 - (n - 1) * (n - totals[..., 0]) / (n**2 - np.sum(counts**2, axis=-1)))


def krippendorff_alpha(units: Sequence[Sequence[Hashable]]) -> float:
    """Alpha of the values of units: 1 for full agreement, about 0 for chance, nan if undefined."""
    return float(alpha_value(alpha_statistics(units).sum(axis=0)))


def fleiss_statistics(units: Sequence[Sequence[Hashable]]) -> Floats:
    """The statistics of Fleiss' kappa for each unit with two or more values.

    Returns:
        Shape (units, 2 + categories): the share of equal values among two of the unit, 1, and the share of each
        category.
    """
    places = _places(units)
    rows = np.zeros((len(units), 2 + len(places)))
    for row, values in zip(rows, units, strict=True):
        row[:2] = _equal(values), 1
        for value in values:
            row[2 + places[value]] += 1 / len(values)
    return rows


def fleiss_value(totals: Floats) -> Floats:
    """Fleiss' kappa (1971) of summed statistics; nan if there is only one category.

    Units with different numbers of values weigh alike (Gwet, Handbook of Inter-Rater Reliability, 4th ed., 2014).
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        means = totals / totals[..., 1:2]
    return _corrected(means[..., 0], np.sum(means[..., 2:] ** 2, axis=-1))


def cohen_value(totals: Floats) -> Floats:
    """Cohen's kappa (1960) of tables of counts, shape (..., categories²), first annotator by second."""
    size = round(totals.shape[-1] ** 0.5)
    table = totals.reshape(*totals.shape[:-1], size, size)
    with np.errstate(invalid="ignore", divide="ignore"):
        table = table / table.sum(axis=(-2, -1), keepdims=True)
    chance = np.sum(table.sum(axis=-1) * table.sum(axis=-2), axis=-1)
    return _corrected(np.trace(table, axis1=-2, axis2=-1), chance)


def _cohen_mean(totals: Floats, pairs: int) -> Floats:
    """The mean kappa of all two annotators (Light 1971), weighted by their units; undefined kappas are left out."""
    tables = totals.reshape(*totals.shape[:-1], pairs, -1)
    kappas = cohen_value(tables)
    weights = np.where(np.isfinite(kappas), tables.sum(axis=-1), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sum(weights * np.nan_to_num(kappas), axis=-1) / weights.sum(axis=-1))


def _tables(units: Sequence[Mapping[str, Hashable]]) -> tuple[list[tuple[str, str]], Floats]:
    """The annotators of each table, and the tables of each unit, shape (units, tables * categories²)."""
    places = _places([list(choices.values()) for choices in units])
    pairs = sorted({two for choices in units for two in combinations(sorted(choices), 2)})
    number = {two: place for place, two in enumerate(pairs)}
    rows = np.zeros((len(units), len(pairs), len(places), len(places)))
    for row, choices in zip(rows, units, strict=True):
        for two in combinations(sorted(choices), 2):
            row[number[two], places[choices[two[0]]], places[choices[two[1]]]] += 1
    return pairs, rows.reshape(len(units), -1)


def _corrected(observed: Floats, chance: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(chance < 1 - 1e-12, (observed - chance) / (1 - chance), np.nan))
