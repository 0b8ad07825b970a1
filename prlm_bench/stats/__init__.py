"""User-clustered inference: the unit of resampling and tests is the user, not the question.

Questions of one user are not independent, so an interval over questions is too narrow. Every figure is a
function of summed per-sample statistics (see `prlm_bench.metrics`), so a resample of users is a weighted sum.
"""

from ._bootstrap import RESAMPLES, bca_interval, bootstrap_totals, percentile_interval
from ._correction import benjamini_hochberg, holm
from ._flips import TEST_FLIPS, smallest_p
from ._intervals import CONSTANT, FEWEST, INTERVALS, Bounds, Interval, Resampled, scale_of, too_few, wilson
from ._jackknife import jackknife
from ._paired import Basis, Difference, paired_difference, smallest_detectable, users_needed
from ._trainings import Scale, Spread, combined, over_trainings
from ._users import SEED, Floats, Value, freedom, totals_at, user_index, user_totals, user_values
from ._variance import Components, variance_components

__all__ = [
    "CONSTANT",
    "FEWEST",
    "INTERVALS",
    "RESAMPLES",
    "SEED",
    "TEST_FLIPS",
    "Basis",
    "Bounds",
    "Components",
    "Difference",
    "Floats",
    "Interval",
    "Resampled",
    "Scale",
    "Spread",
    "Value",
    "bca_interval",
    "benjamini_hochberg",
    "bootstrap_totals",
    "combined",
    "freedom",
    "holm",
    "jackknife",
    "over_trainings",
    "paired_difference",
    "percentile_interval",
    "scale_of",
    "smallest_detectable",
    "smallest_p",
    "too_few",
    "totals_at",
    "user_index",
    "user_totals",
    "user_values",
    "users_needed",
    "variance_components",
    "wilson",
]
