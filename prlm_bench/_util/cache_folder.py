"""The folder for everything that can be recomputed."""

from __future__ import annotations

import os
from pathlib import Path

from .files import expanded


def cache_root() -> Path:
    """The cache folder: PRLM_BENCH_CACHE, else `prlm-bench` below XDG_CACHE_HOME, else `~/.cache/prlm-bench`.

    The folder may not exist yet.

    Raises:
        PrlmBenchError: the home folder is not known.
    """
    own = os.environ.get("PRLM_BENCH_CACHE")
    if own:
        return expanded(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    # The XDG specification says to ignore relative paths.
    base = Path(shared) if shared and Path(shared).is_absolute() else expanded("~/.cache")
    return base / "prlm-bench"
