"""Judges retrieval on its own: against known relevance, against other retrievers, and through TREC files."""

from ._evaluate import MEASURES, Evaluation, check_measures, evaluate
from ._sources import RetrieverSource, RunSource, Source

__all__ = ["MEASURES", "Evaluation", "RetrieverSource", "RunSource", "Source", "check_measures", "evaluate"]
