"""Which of several processes this is, when a training is started by `accelerate launch` or torchrun."""

from __future__ import annotations

import os


def is_main() -> bool:
    """True in the one process that writes files."""
    return os.environ.get("RANK", "0") == "0"


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))
