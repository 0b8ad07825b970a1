"""How fast a run generates at the moment, in the words of its progress line."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from ..interfaces import Activity

#: Seconds over which tokens are counted.
_OVER = 20.0


class Throughput:
    """Tokens a second, rows in flight and the share of the device in use.

    Args:
        activity: what the generators are doing now.
        clock: seconds.
    """

    def __init__(self, activity: Callable[[], Activity], clock: Callable[[], float] = time.monotonic) -> None:
        self._activity, self._clock = activity, clock
        self._began = clock()
        #: When tokens were generated, and how many.
        self._counts: deque[tuple[float, int]] = deque()

    def add(self, tokens: int) -> None:
        """Count tokens that were just generated."""
        if tokens:
            now = self._clock()
            self._counts.append((now, tokens))
            while self._counts[0][0] < now - _OVER:
                self._counts.popleft()

    def __call__(self) -> str:
        """Such as `1240 tok/s, 128 rows, 93% busy`; only what is known."""
        now = self._clock()
        tokens = sum(count for when, count in list(self._counts) if when >= now - _OVER)
        rate = tokens / max(min(_OVER, now - self._began), 1e-3)
        found = self._activity()
        words = [f"{rate:.0f} tok/s"] if tokens else []
        words += [f"{found.rows} rows"] if found.rows else []
        words += [f"{100 * found.busy:.0f}% busy"] if found.busy is not None else []
        return ", ".join(words)
