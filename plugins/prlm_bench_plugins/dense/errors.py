"""What can be wrong with an encoder."""

from __future__ import annotations

from prlm_bench.errors import PrlmBenchError


class ModelError(PrlmBenchError):
    """A model that cannot be found or loaded, or that gives no usable vectors."""
