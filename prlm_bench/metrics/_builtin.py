"""The metrics that ship, by name."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from prlm_bench.host import Register, hookimpl

if TYPE_CHECKING:
    from ._metric import Metric

_METRICS = {
    "rouge1@lamp": ("rouge_n_lamp", "ROUGE_1"),
    "rouge2@lamp": ("rouge_n_lamp", "ROUGE_2"),
    "rougeL@lamp": ("rouge_l_lamp", "ROUGE_L"),
    "bleu@lamp": ("bleu_lamp", "BLEU"),
    "accuracy@lamp": ("accuracy", "ACCURACY"),
    "f1@lamp": ("f1", "F1"),
    "mae@lamp": ("mae", "MAE"),
    "rmse@lamp": ("rmse", "RMSE"),
    "rouge-1@prlm": ("rouge_n_prlm", "ROUGE_1"),
    "rouge-2@prlm": ("rouge_n_prlm", "ROUGE_2"),
    "rouge-l@prlm": ("rouge_l_prlm", "ROUGE_L"),
    "bleu-4@prlm": ("bleu4_prlm", "BLEU_4"),
}
#: Optional modules that a metric needs, each with the pip requirement that brings it.
_JIEBA = {"jieba": "prlm-bench[prlm-metrics]"}
_REQUIRES = {"rouge-1@prlm": _JIEBA, "rouge-2@prlm": _JIEBA, "rouge-l@prlm": _JIEBA}


@hookimpl
def prlm_bench_register_metrics(register: Register) -> None:
    """Register the metrics of both protocols; modules are imported on first use."""
    for name, (module, value) in _METRICS.items():
        register(name, partial(_load, module, value), requires=_REQUIRES.get(name))


def _load(module: str, value: str) -> Metric:
    metric: Metric = getattr(import_module(f"{__package__}._{module}"), value)
    return metric
