"""Judges retrieval on its own: against known relevance, against other retrievers, and through TREC files."""

from .evaluate import MEASURES, Evaluation, evaluate
from .sources import RetrieverSource, RunSource, Source

__all__ = ["MEASURES", "Evaluation", "RetrieverSource", "RunSource", "Source", "evaluate"]
