"""The jackknife over users: standard error, degrees of freedom and pseudo-values of any figure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._users import Floats, Value, estimated_icc, freedom


@dataclass(frozen=True, slots=True)
class Jackknife:
    """The figure with each user left out in turn."""

    value: float
    #: Standard error: the root of the summed squared changes (the cluster-robust estimate CR3, slightly too large).
    error: float
    #: Degrees of freedom, see `stats.freedom`.
    freedom: float
    #: h * value - (h - 1) * value without the user, where h is all questions over those of the user, shape (users,).
    #: For a mean this is the user's own mean. Their mean, weighted by questions, is corrected for bias.
    pseudo: Floats


def jackknife(totals: Floats, value: Value, sizes: Floats) -> Jackknife:
    """Leave out each user in turn (Efron and Tibshirani 1993, chapter 11; Busing, Meijer and van der Leeden 1999 for
    pseudo-values of unequal users).

    Args:
        totals: statistics by user, shape (users, s), of at least two users.
        value: computes the figure from summed statistics.
        sizes: questions of each user, shape (users,).
    """
    whole = totals.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        point = float(value(whole))
        left_out = np.asarray(value(whole - totals), dtype=np.float64)
        changes = point - left_out
        error = float(np.sqrt(np.sum(changes**2)))
        icc = estimated_icc(changes * (sizes.sum() - sizes), sizes)
        times = sizes.sum() / sizes
        pseudo = times * point - (times - 1) * left_out
    return Jackknife(point, error, freedom(sizes, icc), pseudo)
