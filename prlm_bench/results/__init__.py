"""Stored results: their schema, how they are finished and how they are read."""

from ._schema import Estimate, Manifest, MetricSummary, SampleRecord, Summary
from ._store import Stored, Unfinished, load_results, read_manifest, read_samples

__all__ = [
    "Estimate",
    "Manifest",
    "MetricSummary",
    "SampleRecord",
    "Stored",
    "Summary",
    "Unfinished",
    "load_results",
    "read_manifest",
    "read_samples",
]
