"""Fills batches by a token budget, longest prompts first, and halves what memory does not suffice for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from prlm_bench.errors import PrlmBenchError

from .batch import Batch, Decoding, Row, Written
from .loading import Loaded, free_memory, is_out_of_memory


def write_all(loaded: Loaded, rows: Sequence[Row], decoding: Decoding, budget: int) -> Iterator[Written]:
    """Answer all rows; answers come as they are finished.

    Args:
        loaded: the model.
        rows: the prompts.
        decoding: how to write.
        budget: tokens of a batch at most, padding and new tokens included; one row is always tried.

    Raises:
        PrlmBenchError: memory does not suffice for a single prompt.
    """
    # The longest first: where memory runs out, it does so at once.
    waiting = deque(sorted(rows, key=lambda row: -len(row.ids)))
    while waiting:
        batch = Batch(loaded, _take(waiting, decoding, budget), decoding)
        while batch.rows:
            written = _advance(batch)
            if written is None:
                break
            yield from written
        left = batch.rows
        del batch
        if left:
            free_memory()
            if len(left) == 1:
                hint = "a smaller dtype, max_new_tokens or max_length of the reasoner, or another device"
                raise PrlmBenchError(f"not enough memory for a prompt of {len(left[0].ids)} tokens", hint)
            budget = len(left) // 2 * _cost(left[0], decoding)
            waiting.extendleft(reversed(left))


def _advance(batch: Batch) -> list[Written] | None:
    """What a batch has finished; None where memory ran out."""
    try:
        return batch.advance()
    except Exception as error:
        if is_out_of_memory(error):
            return None
        raise


def _take(waiting: deque[Row], decoding: Decoding, budget: int) -> list[Row]:
    rows = [waiting.popleft()]
    most = budget // _cost(rows[0], decoding)
    while waiting and len(rows) < most:
        rows.append(waiting.popleft())
    return rows


def _cost(longest: Row, decoding: Decoding) -> int:
    """Tokens that a row takes in a batch with this longest row."""
    return (len(longest.ids) + decoding.most) * decoding.beams
