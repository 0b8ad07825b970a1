"""Krippendorff's alpha for nominal categories."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from ..results import Estimate
from ..stats import Floats
from ._estimates import clustered


def alpha_statistics(units: Sequence[Sequence[Hashable]]) -> Floats:
    """The statistics of alpha for each unit.

    Args:
        units: the values of each unit, one per annotator.

    Returns:
        Shape (units, 1 + categories): the unit's matching coincidences and its count of each category; zeros for a
        unit with fewer than two values, which has no information about agreement.
    """
    places: dict[Hashable, int] = {}
    for values in units:
        for value in values:
            places.setdefault(value, 1 + len(places))
    rows = np.zeros((len(units), 1 + len(places)))
    for row, values in zip(rows, units, strict=True):
        if len(values) > 1:
            for value in values:
                row[places[value]] += 1
            row[0] = np.sum(row[1:] * (row[1:] - 1)) / (len(values) - 1)
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


def alpha_estimate(units: Mapping[str, Sequence[Hashable]], users: Mapping[str, str]) -> Estimate:
    """Alpha with its 95 % interval, users resampled.

    Args:
        units: values by unit.
        users: the user of each unit.
    """
    statistics = alpha_statistics(list(units.values()))
    return clustered(statistics, [users[unit] for unit in units], alpha_value)
