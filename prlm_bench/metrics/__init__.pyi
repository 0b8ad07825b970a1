from ._builtin import prlm_bench_register_metrics as prlm_bench_register_metrics
from ._metric import (
    KnowsRareValues as KnowsRareValues,
    Limited as Limited,
    MeanMetric as MeanMetric,
    Metric as Metric,
    Pairs as Pairs,
)
