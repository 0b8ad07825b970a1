"""What a training leaves to be read: a row of figures for each step, and completions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

LOG = "log.jsonl"
COMPLETIONS = "completions.jsonl"
#: Whose completions they are.
TRAIN, HELD_BACK = "train", "held-back"


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The rows of a stage's log, in order; none where there is no log."""
    return _rows(folder / LOG)


def read_completions(folder: Path) -> list[dict[str, Any]]:
    """The completions that a policy's training kept, in order; none where it kept none."""
    return _rows(folder / COMPLETIONS)


def _rows(path: Path) -> list[dict[str, Any]]:
    """A process that was killed may have left a torn last line, which is passed over."""
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    return [orjson.loads(line) for line in lines if line.endswith(b"\n")]
