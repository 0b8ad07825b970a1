"""User-clustered inference: the unit of resampling and tests is the user, not the question.

Questions of one user are not independent, so an interval over questions is too narrow. Every figure is a
function of summed per-sample statistics (see `prlm_bench.metrics`), so a resample of users is a weighted sum.
"""

from ._bootstrap import (
    INTERVALS,
    RESAMPLES,
    SEED,
    Floats,
    Interval,
    Value,
    bca_interval,
    bootstrap_totals,
    interval_of,
    percentile_interval,
    user_index,
    user_totals,
    user_values,
)
from ._correction import benjamini_hochberg, holm
from ._paired import Difference, paired_difference, smallest_detectable
from ._permutation import sign_flip_test
from ._variance import Components, variance_components

__all__ = [
    "INTERVALS",
    "RESAMPLES",
    "SEED",
    "Components",
    "Difference",
    "Floats",
    "Interval",
    "Value",
    "bca_interval",
    "benjamini_hochberg",
    "bootstrap_totals",
    "holm",
    "interval_of",
    "paired_difference",
    "percentile_interval",
    "sign_flip_test",
    "smallest_detectable",
    "user_index",
    "user_totals",
    "user_values",
    "variance_components",
]
