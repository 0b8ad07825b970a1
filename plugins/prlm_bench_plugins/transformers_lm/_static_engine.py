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

import torch

from prlm_bench.errors import PrlmBenchError

from .._hf import free_memory, is_out_of_memory, one_line
from ._decoding import Decoding
from ._engine import PREFILL_CHUNK, Output, Request, draw, draw_unordered, row_numbers
from ._loading import LoadedModel
from ._slots import Choose, Slots, Writer, read, step

_log = logging.getLogger(__name__)
#: Rows of a bucket at most, unless a caller says otherwise.
MOST_ROWS = {"cuda": 512, "cpu": 64}
#: Steps between two looks at which rows have ended.
_STEPS = 8
#: Rows are refilled once this share of them has ended: reading prompts is not captured, and dear for a few.
_REFILL_SHARE = 8
#: Requests that wait, for each row: among them prompts of like lengths are found.
_LOOKAHEAD = 4
#: Tokens of a prompt that a GPU reads at a time.
_CHUNK = 256
#: The share of a GPU's free memory that buckets may take, and bytes that reading prompts may.
_MEMORY_SHARE, _READING_BYTES = 0.8, 2 << 30


@dataclass(frozen=True)
class Limits:
    """What buckets may take.

    Args:
        rows: of a bucket at most.
        tokens: of all buckets together, rows times length; None leaves it to the memory of the GPU.
        chunk: tokens of a prompt that are read at a time; None for what suits the device.
        share: of a GPU's free memory.
    """

    rows: int
    tokens: int | None = None
    chunk: int | None = None
    share: float = _MEMORY_SHARE


class Bucket:
    """Rows with room for a length of tokens, and their step; captured in a CUDA graph on a GPU.

    Args:
        writer: of the model.
        rows: their number.
        length: tokens of a row at most.
        most: tokens of an answer at most.
        end_ids: tokens that end an answer.

    Raises:
        RuntimeError: memory ran out.
    """

    def __init__(self, writer: Writer, rows: int, length: int, most: int, end_ids: Sequence[int]) -> None:
        self.rows, self.length = rows, length
        #: Whether it holds the last rows of a larger one.
        self.is_rest = False
        self._writer = writer
        with writer.computing():
            self.slots = Slots.empty(writer, rows, length, most, end_ids)
            self._graph = self._capture() if writer.model.device.type == "cuda" else None

    def read(self, prompts: dict[int, list[int]], numbers: Any, chunk: int | None = None) -> None:
        """Put prompts into rows; see `_slots.read`."""
        config, on_cpu = self._writer.model.config, self._writer.model.device.type == "cpu"
        bytes_each = 6 * config.intermediate_size * self._writer.dtype.itemsize
        together = min(max(_READING_BYTES // bytes_each, 2048), 65536) if not on_cpu else 4096
        with self._writer.computing():
            read(self._writer, self.slots, prompts, numbers, chunk or (PREFILL_CHUNK if on_cpu else _CHUNK), together)

    def advance(self, steps: int) -> None:
        """Write tokens in all rows that have not ended; on a GPU this returns before they are written."""
        for _ in range(steps):
            if self._graph is not None:
                self._graph.replay()
            else:
                with self._writer.computing():
                    step(self._writer, self.slots)

    def ended(self) -> dict[int, list[int]]:
        """The answers of rows that have ended, empty rows included."""
        ended, count = torch.stack([self.slots.ended.long(), self.slots.count]).tolist()
        rows = [row for row, over in enumerate(ended) if over]
        if not rows:
            return {}
        answers = self.slots.answers[torch.tensor(rows, device=self.slots.answers.device)].tolist()
        return {row: answer[: count[row]] for row, answer in zip(rows, answers, strict=True)}

    def clear(self) -> None:
        """Empty all rows."""
        with torch.inference_mode():
            self.slots.ended.fill_(True)

    def narrowed(self, rows: Sequence[int]) -> Bucket:
        """Another bucket with some of the rows, for steps that are not captured."""
        other = object.__new__(Bucket)
        other.rows, other.length, other.is_rest = len(rows), self.length, True
        other._writer, other._graph = self._writer, None
        with torch.inference_mode():
            other.slots = self.slots.select(rows)
        return other

    @property
    def is_captured(self) -> bool:
        """Whether a graph is replayed."""
        return self._graph is not None

    def _capture(self) -> Any:
        """The step as a graph; all rows are empty, so that the steps that warm up change nothing."""
        with torch.cuda.device(self._writer.model.device):
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(2):
                    step(self._writer, self.slots)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                step(self._writer, self.slots)
        return graph


@dataclass
class _Flight:
    """What one call of `StaticEngine.answers` has under way."""

    source: Iterator[Request]
    #: The longest first.
    waiting: list[Request] = field(default_factory=list)
    bucket: Bucket | None = None
    #: The request in each row, and the steps that it has had.
    rows: dict[int, tuple[Request, int]] = field(default_factory=dict)


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
        self._loaded, self._decoding, self._limits = loaded, decoding, limits
        self._writer = Writer(loaded.model, chooser(decoding, ordered=numbers is None), bf16)
        self._numbers = numbers or self._keyed_numbers
        self._most_rows = limits.rows
        #: The one used last comes last.
        self._buckets: dict[tuple[int, int], Bucket] = {}
        self._weights: tuple[int, ...] = ()
        #: Rows that are writing at the moment.
        self.active = 0

    def answers(self, requests: Iterator[Request]) -> Iterator[Output]:
        """Answer requests, which are drawn as there is room; answers come as they are finished.

        Raises:
            PrlmBenchError: there is not enough memory for a single prompt.
        """
        self._drop_moved()
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
            self._land(flight)

    def _draw(self, flight: _Flight) -> bool:
        """Draw requests up to the lookahead; whether any waits."""
        room = _LOOKAHEAD * self._limits.rows - len(flight.waiting)
        drawn = list(islice(flight.source, room))
        if drawn:
            flight.waiting = sorted([*flight.waiting, *drawn], key=lambda request: -len(request.ids))
        return bool(flight.waiting)

    def _collect(self, flight: _Flight) -> list[Output]:
        """What has ended; its rows are then empty."""
        found = flight.bucket.ended() if flight.bucket is not None and flight.rows else {}
        outputs = []
        for row, ids in found.items():
            if row in flight.rows:
                request, _ = flight.rows.pop(row)
                outputs.append(Output(request.index, ids, bool(ids) and ids[-1] in self._loaded.end_ids))
        self.active = len(flight.rows)
        return outputs

    def _refill(self, flight: _Flight) -> None:
        """Read waiting prompts into empty rows, once there are enough of these."""
        if not flight.waiting:
            self._leave_ended(flight)
            return
        if not flight.rows:
            self._choose_bucket(flight)
        bucket = flight.bucket
        assert bucket is not None
        empty = [row for row in range(bucket.rows) if row not in flight.rows]
        if len(empty) < max(1, bucket.rows // _REFILL_SHARE) or 2 * bucket_length(self._need(flight.waiting[0])) <= bucket.length:
            return
        fitting = [request for request in flight.waiting if self._need(request) <= bucket.length]
        chosen = dict(zip(empty, fitting, strict=False))
        if not chosen:
            return
        numbers = self._numbers([*chosen.values()]) if self._decoding.temperature > 0 else None
        bucket.read({row: request.ids for row, request in chosen.items()}, numbers, self._limits.chunk)
        taken = {id(request) for request in chosen.values()}
        flight.waiting = [request for request in flight.waiting if id(request) not in taken]
        flight.rows |= {row: (request, 0) for row, request in chosen.items()}

    def _advance(self, flight: _Flight) -> None:
        if flight.bucket is None or not flight.rows:
            return
        left = max(self._decoding.max_new_tokens - done for _, done in flight.rows.values())
        steps = min(_STEPS, left)
        flight.bucket.advance(steps)
        flight.rows = {row: (request, done + steps) for row, (request, done) in flight.rows.items()}
        self.active = len(flight.rows)

    def _leave_ended(self, flight: _Flight) -> None:
        """Go on with fewer rows where nothing waits; a captured step has as many rows as it had."""
        bucket = flight.bucket
        if bucket is None or bucket.is_captured or not flight.rows or 4 * len(flight.rows) > 3 * bucket.rows:
            return
        self._keep(bucket)
        kept = sorted(flight.rows)
        flight.bucket = bucket.narrowed(kept)
        flight.rows = {place: flight.rows[row] for place, row in enumerate(kept)}

    def _choose_bucket(self, flight: _Flight) -> None:
        """The bucket for what waits: as long as the longest prompt needs, with a row for each if there is room."""
        if flight.bucket is not None:
            self._keep(flight.bucket)
            flight.bucket = None
        length = bucket_length(self._need(flight.waiting[0]))
        rows = 1
        most = min(self._most_rows, self._room(length), len(flight.waiting))
        while rows < most:
            rows *= 2
        rows = max(1, min(rows, self._most_rows, self._room(length)))
        found = self._buckets.pop((rows, length), None)
        if found is None:
            self._make_room(rows * length)
            found = Bucket(self._writer, rows, length, self._decoding.max_new_tokens, self._loaded.end_ids)
        flight.bucket = found

    def _room(self, length: int) -> int:
        """Rows of this length that there is memory for."""
        if self._limits.tokens is not None or self._loaded.model.device.type != "cuda":
            return max(1, (self._limits.tokens or 1 << 14) // length)
        model = self._loaded.model
        free = torch.cuda.mem_get_info(model.device)[0]
        free += torch.cuda.memory_reserved(model.device) - torch.cuda.memory_allocated(model.device)
        free += sum(self._bytes(*key) for key in self._buckets)
        # Scores as they are, as floats, and where tokens are drawn as doubles, sorted, and summed.
        return max(1, int(free * self._limits.share) // self._bytes(1, length))

    def _bytes(self, rows: int, length: int) -> int:
        """Memory of a bucket, with what its step computes on the way."""
        config, size = self._loaded.model.config, self._writer.dtype.itemsize
        head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        token = 2 * config.num_hidden_layers * config.num_key_value_heads * head * size
        vocabulary = config.vocab_size * (2 * size + (48 if self._decoding.temperature > 0 else 4))
        return rows * (length * token + vocabulary)

    def _make_room(self, tokens: int) -> None:
        """Give up the buckets that were not used for longest, until this many more tokens are allowed."""
        allowed = self._limits.tokens
        while self._buckets and (
            allowed is None or tokens + sum(rows * length for rows, length in self._buckets) > allowed
        ):
            if allowed is None and self._fits(tokens):
                return
            del self._buckets[next(iter(self._buckets))]
            free_memory()

    def _fits(self, tokens: int) -> bool:
        """Whether a GPU has free memory for a bucket of this many tokens."""
        free = torch.cuda.mem_get_info(self._loaded.model.device)[0]
        return self._bytes(1, tokens) < free * self._limits.share

    def _keep(self, bucket: Bucket) -> None:
        if not bucket.is_rest:
            self._buckets[bucket.rows, bucket.length] = bucket

    def _narrow(self, flight: _Flight) -> None:
        """Go back to what was not finished, with half the rows, after memory ran out."""
        rows = len(flight.rows) or min(len(flight.waiting), self._most_rows)
        unfinished = [request for request, _ in flight.rows.values()]
        flight.waiting = sorted([*unfinished, *flight.waiting], key=lambda request: -len(request.ids))
        flight.bucket, flight.rows = None, {}
        self._buckets.clear()
        free_memory()
        if rows <= 1:
            hint = "a smaller dtype, max_new_tokens or max_length of the reasoner, or another device"
            raise PrlmBenchError(f"not enough memory for a prompt of {len(flight.waiting[0].ids)} tokens", hint) from None
        self._most_rows = max(1, rows // 2)
        _log.warning("not enough memory for %d rows: going on with %d", rows, self._most_rows)

    def _land(self, flight: _Flight) -> None:
        """Keep the bucket of a call that has ended, or was given up."""
        if flight.bucket is not None:
            if flight.rows:
                flight.bucket.clear()
            self._keep(flight.bucket)
        self.active = 0

    def _drop_moved(self) -> None:
        """Forget buckets whose graphs read weights that are now elsewhere; weights that changed in place are read."""
        model = self._loaded.model
        weights = tuple(tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers()))
        if weights != self._weights:
            self._buckets.clear()
        self._weights = weights

    def _need(self, request: Request) -> int:
        return len(request.ids) + self._decoding.max_new_tokens

    def _keyed_numbers(self, requests: Sequence[Request]) -> Any:
        texts = [request.text for request in requests]
        rows = row_numbers(texts, self._decoding.seed, self._decoding.max_new_tokens)
        return torch.tensor(rows, dtype=torch.double)


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


def bucket_length(need: int) -> int:
    """The length of the bucket for so many tokens: at most an eighth more, and a multiple of 64."""
    part = max(64, 1 << (max(need, 1).bit_length() - 3))
    return -(-need // part) * part


def device_lost(error: BaseException) -> PrlmBenchError | None:
    """The one line for an error that says that a GPU failed or is gone; None for other errors."""
    text = str(error)
    signs = ("CUDA error", "device-side assert", "CUDA driver", "NVML", "HIP error", "cuBLAS error", "CUBLAS_STATUS")
    if not isinstance(error, RuntimeError) or not any(sign in text for sign in signs):
        return None
    first = one_line(RuntimeError(text.partition("\n")[0]))
    return PrlmBenchError(f"the GPU failed: {first}", "finished answers are kept: repeat the command to go on")
