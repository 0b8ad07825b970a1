"""Where the time of a run goes: stages that the core and components mark, added up by row.

Marking a stage costs nothing worth mentioning where no profile is recorded, as in every run without `--profile`.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar, cast

__all__ = ["Profile", "recording", "settle", "timed", "timed_each"]

_OFF: AbstractContextManager[None] = nullcontext()
_active: Profile | None = None
_END = object()

T = TypeVar("T")


class Profile:
    """Seconds by row and stage. Each second counts once: for the innermost stage that was open.

    Only the thread that records it is measured, since the time of other threads overlaps with it.
    """

    def __init__(self) -> None:
        #: Seconds from the start to the end of recording.
        self.wall = 0.0
        self._seconds: dict[str, dict[str, float]] = {}
        #: Seconds by stage that belong to no row yet.
        self._open: defaultdict[str, float] = defaultdict(float)
        self._stages: list[str] = []
        self._mark = 0.0
        self._thread = 0

    @property
    def rows(self) -> dict[str, dict[str, float]]:
        """Seconds by stage of each row; under the name "" those that belong to no single row."""
        return {row: dict(stages) for row, stages in self._seconds.items()}

    @property
    def stages(self) -> dict[str, float]:
        """Seconds by stage over all rows, longest first; `other` is what no stage covers."""
        total: defaultdict[str, float] = defaultdict(float)
        for stages in self._seconds.values():
            for stage, seconds in stages.items():
                total[stage] += seconds
        total["other"] += max(0.0, self.wall - sum(total.values()))
        return dict(sorted(total.items(), key=lambda item: -item[1]))

    def add(self, rows: Mapping[str, Mapping[str, float]]) -> None:
        """Add the `rows` of another profile, as of a worker process."""
        for row, stages in rows.items():
            self._add(stages, [row])

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: seconds and share of each stage, in total and by row."""
        rows = [{"row": row, **_shares(stages)} for row, stages in self._seconds.items() if row]
        return {"wall_seconds": round(self.wall, 6), **_shares(self.stages), "rows": rows}

    def __repr__(self) -> str:
        stages = self.stages
        whole, width = sum(stages.values()), max(map(len, stages))
        lines = [f"where the time went: {self.wall:.2f} s"]
        for stage, seconds in stages.items():
            share = 100 * seconds / whole if whole else 0.0
            lines.append(f"{stage:{width}}  {seconds:9.2f} s  {share:5.1f} %")
        return "\n".join(lines)

    def take(self) -> dict[str, dict[str, float]]:
        """What `rows` holds; it starts again from nothing."""
        self.settle([])
        taken, self._seconds = self.rows, {}
        return taken

    def settle(self, rows: Sequence[str]) -> None:
        """Count what was measured and belongs to no row yet for these rows, in equal parts."""
        self._add(self._open, rows or [""])
        self._open = defaultdict(float)

    def _add(self, stages: Mapping[str, float], rows: Sequence[str]) -> None:
        for row in rows:
            mine = self._seconds.setdefault(row, {}) if stages else {}
            for stage, seconds in stages.items():
                mine[stage] = mine.get(stage, 0.0) + seconds / len(rows)

    def _charge(self) -> None:
        now = time.perf_counter()
        if self._stages:
            self._open[self._stages[-1]] += now - self._mark
        self._mark = now

    @contextmanager
    def _timed(self, stage: str, rows: Sequence[str] | None) -> Iterator[None]:
        self._charge()
        self._stages.append(stage)
        outer = self._open
        if rows is not None:
            self._open = defaultdict(float)
        try:
            yield
        finally:
            self._charge()
            self._stages.pop()
            if rows is not None:
                self.settle(rows)
                self._open = outer


@contextmanager
def recording(profile: Profile | None) -> Iterator[None]:
    """Record what `timed` marks in this thread until the context ends; another profile sees nothing meanwhile.

    Args:
        profile: receives the seconds; None records nothing.
    """
    global _active
    if profile is None:
        yield
        return
    before, _active = _active, profile
    profile._thread = threading.get_ident()
    began = time.perf_counter()
    try:
        yield
    finally:
        _active = before
        profile.wall += time.perf_counter() - began
        profile.settle([])


def timed(stage: str, rows: Sequence[str] | None = None) -> AbstractContextManager[None]:
    """Mark a stage of the work, where a profile is recorded in this thread.

    Args:
        stage: its name. Generators mark `loading`, `tokenizing`, `device` (the model computes) and `waiting` (for a
            server); what they leave unmarked counts as `generation`.
        rows: for the pipeline: the rows that this and the stages inside it are done for; by default the row whose
            answer comes next.
    """
    profile = _active
    if profile is None or profile._thread != threading.get_ident():
        return _OFF
    return profile._timed(stage, rows)


def settle(row: str) -> None:
    """Count what was measured and belongs to no row yet for this row."""
    if _active is not None and _active._thread == threading.get_ident():
        _active.settle([row])


def timed_each(stage: str, items: Iterable[T], rows: Sequence[str] | None = None) -> Iterator[T]:
    """Items; getting the next one is a stage, see `timed`."""
    remaining = iter(items)
    while True:
        with timed(stage, rows):
            found = next(remaining, _END)
        if found is _END:
            return
        yield cast(T, found)


def _shares(stages: Mapping[str, float]) -> dict[str, Any]:
    whole = sum(stages.values())
    return {
        "seconds": round(whole, 6),
        "stages": {
            stage: {"seconds": round(s, 6), "share": round(s / whole, 4) if whole else 0.0}
            for stage, s in sorted(stages.items(), key=lambda item: -item[1])
        },
    }
