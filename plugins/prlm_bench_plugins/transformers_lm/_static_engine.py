"""The static engine: rows that decode together and are refilled one by one, in buckets that a GPU replays.

A bucket is a number of rows with room for a length of tokens. On a GPU its step (see `_slots`) is captured once in a
CUDA graph; after that, eight steps of hundreds of rows are eight calls. Every few steps the engine looks which rows
have ended, takes their answers, and reads waiting prompts into them, so that none idles until the longest answer ends.

What an answer is does not depend on any of this: each row attends to itself alone, and what it draws depends on its
prompt, seed and place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from .._hf import free_memory, is_out_of_memory
from ._buckets import Bucket, BucketPool, Limits, bucket_length
from ._cache import no_memory
from ._decoding import Decoding
from ._engine import Output, Request, request_numbers
from ._loading import LoadedModel
from ._sampling import draw, draw_unordered
from ._slots import Choose, Writer

_log = logging.getLogger(__name__)
#: Rows of a bucket at most, unless a caller says otherwise.
MOST_ROWS = {"cuda": 512, "cpu": 64}
#: Steps between two looks at which rows have ended.
_STEPS = 8
#: Rows are refilled once one of so many is empty: reading prompts is not captured, and dear for a few.
_REFILL_SHARE = 8
#: Requests that wait, for each row: among them prompts of like lengths are found.
_LOOKAHEAD = 4


@dataclass
class _Flight:
    """What one call of `StaticEngine.answers` has under way."""

    source: Iterator[Request]
    #: The longest first.
    waiting: list[Request] = field(default_factory=list)
    bucket: Bucket | None = None
    #: The request in each row, and the steps that it has had.
    rows: dict[int, tuple[Request, int]] = field(default_factory=dict)

    def wait(self, requests: Sequence[Request]) -> None:
        """Have more requests wait."""
        self.waiting = sorted([*self.waiting, *requests], key=lambda request: -len(request.ids))


class StaticEngine:
    """Answers requests by buckets, which it keeps.

    Args:
        loaded: a model that the static engine takes (see `_static_check`).
        decoding: how to write; without beams.
        limits: of the buckets.
        bf16: compute in bfloat16 where autocast does.
        numbers: random numbers of requests, shape (requests, most new tokens); by default from their texts and the
            seed, as in the ordinary engine.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        decoding: Decoding,
        limits: Limits,
        *,
        bf16: bool = False,
        numbers: Callable[[Sequence[Request]], Any] | None = None,
    ) -> None:
        self._decoding, self._limits, self._end_ids = decoding, limits, loaded.end_ids
        writer = Writer(loaded.model, chooser(decoding, ordered=numbers is None), bf16)
        drawing = decoding.temperature > 0
        self.pool = BucketPool(writer, decoding.max_new_tokens, loaded.end_ids, limits, is_drawing=drawing)
        self._numbers = numbers or (lambda requests: request_numbers(requests, decoding))
        #: Rows that are writing at the moment.
        self.active = 0

    def answers(self, requests: Iterator[Request]) -> Iterator[Output]:
        """Answer requests, which are drawn as there is room; answers come as they are finished.

        Raises:
            PrlmBenchError: there is not enough memory for a single prompt.
        """
        self.pool.drop_moved()
        flight = _Flight(requests)
        try:
            while self._draw(flight) or flight.rows:
                outputs = self._collect(flight)
                try:
                    self._refill(flight)
                    self._advance(flight)
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise
                    self._narrow(flight)
                # The device writes on while the caller looks at these.
                yield from outputs
        finally:
            self._leave_bucket(flight)
            self.active = 0

    def _draw(self, flight: _Flight) -> bool:
        """Draw requests up to the lookahead; whether any waits."""
        drawn = list(islice(flight.source, max(0, _LOOKAHEAD * self._limits.rows - len(flight.waiting))))
        if drawn:
            flight.wait(drawn)
        return bool(flight.waiting)

    def _collect(self, flight: _Flight) -> list[Output]:
        """What has ended; its rows are then empty."""
        found = flight.bucket.ended() if flight.bucket is not None and flight.rows else {}
        outputs = []
        for row, ids in found.items():
            if row in flight.rows:
                request, _ = flight.rows.pop(row)
                outputs.append(Output(request.index, ids, bool(ids) and ids[-1] in self._end_ids))
        self.active = len(flight.rows)
        return outputs

    def _refill(self, flight: _Flight) -> None:
        """Read waiting prompts into empty rows, once there are enough of these."""
        if not flight.waiting:
            self._drop_ended(flight)
            return
        if not flight.rows:
            self._leave_bucket(flight)
            flight.bucket = self.pool.take(self._need(flight.waiting[0]), len(flight.waiting))
        bucket = flight.bucket
        assert bucket is not None
        empty = [row for row in range(bucket.rows) if row not in flight.rows]
        # Where all that waits is short, the bucket is left once its rows have ended.
        is_too_long = 2 * bucket_length(self._need(flight.waiting[0])) <= bucket.length
        if is_too_long or len(empty) < max(1, bucket.rows // _REFILL_SHARE):
            return
        fitting = (request for request in flight.waiting if self._need(request) <= bucket.length)
        refilled = dict(zip(empty, fitting, strict=False))
        if refilled:
            requests = [*refilled.values()]
            numbers = self._numbers(requests) if self._decoding.temperature > 0 else None
            bucket.read({row: request.ids for row, request in refilled.items()}, numbers, self._limits.chunk)
            taken = set(map(id, requests))
            flight.waiting = [request for request in flight.waiting if id(request) not in taken]
            flight.rows |= {row: (request, 0) for row, request in refilled.items()}

    def _advance(self, flight: _Flight) -> None:
        if flight.bucket is None or not flight.rows:
            return
        steps = min(_STEPS, max(self._decoding.max_new_tokens - done for _, done in flight.rows.values()))
        flight.bucket.advance(steps)
        flight.rows = {row: (request, done + steps) for row, (request, done) in flight.rows.items()}
        self.active = len(flight.rows)

    def _drop_ended(self, flight: _Flight) -> None:
        """Go on with fewer rows where nothing waits and the step is not captured."""
        bucket = flight.bucket
        if bucket is None or bucket.is_captured or not flight.rows or 4 * len(flight.rows) > 3 * bucket.rows:
            return
        kept = sorted(flight.rows)
        flight.bucket = bucket.select(kept)
        flight.rows = {place: flight.rows[row] for place, row in enumerate(kept)}

    def _leave_bucket(self, flight: _Flight) -> None:
        """Give back the bucket of a flight, if it has one."""
        if flight.bucket is not None:
            if flight.rows:  # the caller wants no more
                flight.bucket.clear()
            self.pool.keep(flight.bucket)
            flight.bucket = None

    def _narrow(self, flight: _Flight) -> None:
        """Go back to what was not finished, with half the rows, after memory ran out."""
        rows = len(flight.rows) or min(len(flight.waiting), self.pool.most_rows)
        flight.wait([request for request, _ in flight.rows.values()])
        flight.bucket, flight.rows, self.active = None, {}, 0
        self.pool.release()
        free_memory()
        if rows <= 1:
            raise no_memory(len(flight.waiting[0].ids)) from None
        self.pool.most_rows = rows // 2
        _log.warning("not enough memory for %d rows: going on with %d", rows, rows // 2)

    def _need(self, request: Request) -> int:
        return len(request.ids) + self._decoding.max_new_tokens


def chooser(decoding: Decoding, *, ordered: bool = True) -> Choose:
    """How a token is taken by its scores.

    Args:
        decoding: the most likely one without a temperature.
        ordered: draw as the ordinary engine does, from the tokens in the order of their probability; otherwise in the
            order of their ids, which is as random and faster.
    """
    if decoding.temperature == 0:
        return lambda scores, _: scores.argmax(-1, keepdim=True)
    if ordered:
        return partial(draw, temperature=decoding.temperature, top_p=decoding.top_p)
    return partial(draw_unordered, temperature=decoding.temperature)
