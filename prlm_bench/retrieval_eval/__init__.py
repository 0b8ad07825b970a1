"""Evaluates retrieval alone: against relevance labels, against other retrievers, and with TREC files."""

from ._evaluate import MEASURES, Evaluation, check_measures, evaluate
from ._sources import RetrieverSource, RunSource, Source

__all__ = ["MEASURES", "Evaluation", "RetrieverSource", "RunSource", "Source", "check_measures", "evaluate"]
