"""What `prlm-bench doctor` checks: this installation, and what there is to run models with."""

from ._check import Check
from ._installation import diagnose

__all__ = ["Check", "diagnose"]
