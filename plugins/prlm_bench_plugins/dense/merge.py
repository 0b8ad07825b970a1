"""Puts many small segments together, so that a cache filled in small steps opens as fast as any."""

from __future__ import annotations

import contextlib
import fcntl
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .rows import rows_of
from .segment import BrokenSegmentError, Floats, Segment, write_segment

#: So many segments of about one size are a crowd. A row is rewritten at most once for each power of 8 in size.
CROWD = 16


def merge_crowd(folder: Path, suffix: str, identity: bytes) -> bool:
    """Merge one crowd, if there is one and no other process is at it.

    Returns:
        True if the files of the folder have changed.
    """
    if not _crowd(folder, suffix):
        return False
    with contextlib.suppress(OSError), _alone(folder) as alone:
        crowd = _crowd(folder, suffix) if alone else []
        if crowd:
            _merge(crowd, suffix, identity)
            return True
    return False


def _crowd(folder: Path, suffix: str) -> list[Path]:
    """The smallest segments that are a crowd, oldest first; empty where there is none."""
    tiers: dict[int, list[Path]] = {}
    for path in sorted(folder.glob(f"*{suffix}")):
        with contextlib.suppress(FileNotFoundError):
            tiers.setdefault(path.stat().st_size.bit_length() // 3, []).append(path)
    return next((tiers[tier] for tier in sorted(tiers) if len(tiers[tier]) >= CROWD), [])


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    with (folder / "merge.lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _merge(paths: list[Path], suffix: str, identity: bytes) -> None:
    segments = []
    for path in paths:
        with contextlib.suppress(BrokenSegmentError):
            segments.append(Segment(path, identity))
    sound = [_sound_rows(segment) for segment in segments]
    if any(rows.size for rows in sound):
        numbers = np.repeat(np.arange(len(segments)), [rows.size for rows in sound])
        rows = np.concatenate(sound)
        names = np.concatenate([segment.digests[own] for segment, own in zip(segments, sound, strict=True)])
        # The first of each digest, in the order in which they stand.
        firsts = np.sort(np.unique(names, axis=0, return_index=True)[1])
        matrices = [segment.vectors for segment in segments]

        def read(first: int, last: int) -> Floats:
            part = firsts[first:last]
            return rows_of(matrices, numbers[part], rows[part]).read()

        # The age of the oldest, so that what counts as the older of two vectors does not change.
        stamp = paths[0].name.partition("-")[0]
        target = paths[0].with_name(f"{stamp}-merged-{secrets.token_hex(4)}{suffix}")
        write_segment(target, identity, names[firsts], matrices[0].shape[1], read)
    for path in paths:
        path.unlink(missing_ok=True)


def _sound_rows(segment: Segment) -> NDArray[np.int64]:
    rows = np.ones(len(segment.digests), bool)
    for first, last in segment.damaged(np.arange(len(rows))):
        rows[first:last] = False
    return np.flatnonzero(rows)
