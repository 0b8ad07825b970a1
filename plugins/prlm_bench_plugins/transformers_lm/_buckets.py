"""Buckets: rows with room for a length of tokens, whose step a GPU replays as a CUDA graph; and their memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .._hf import free_memory
from ._cache import PREFILL_CHUNK
from ._slots import Slots, Writer, read, step

#: Tokens of a prompt that a GPU reads at a time; a CPU reads as many as in the ordinary engine.
_GPU_CHUNK = 256
#: Tokens of all prompts together that a CPU reads at a time, and what a GPU may take for that in bytes.
_CPU_READING, _GPU_READING_BYTES = 4096, 2 << 30


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
    share: float = 0.8


class Bucket:
    """Rows with room for a length of tokens, and their step; captured in a CUDA graph on a GPU.

    Args:
        writer: of the model.
        slots: the rows, all empty.
        captured: whether the step is captured; otherwise it is called.

    Raises:
        RuntimeError: memory ran out.
    """

    def __init__(self, writer: Writer, slots: Slots, *, captured: bool) -> None:
        self.slots = slots
        #: Whether these are the last rows of a larger bucket.
        self.is_rest = False
        self._writer = writer
        self._graph = self._capture() if captured else None

    @classmethod
    def empty(cls, writer: Writer, rows: int, length: int, most: int, end_ids: Sequence[int]) -> Bucket:
        """A bucket of empty rows; see `Slots.empty`.

        Raises:
            RuntimeError: memory ran out.
        """
        with writer.computing():
            return cls(
                writer, Slots.empty(writer, rows, length, most, end_ids), captured=writer.model.device.type == "cuda"
            )

    @property
    def rows(self) -> int:
        """Their number."""
        return len(self.slots.position)

    @property
    def length(self) -> int:
        """Tokens of a row at most, prompt and answer together."""
        return self.slots.length

    @property
    def is_captured(self) -> bool:
        """Whether a graph is replayed, which has as many rows as it had when it was captured."""
        return self._graph is not None

    def read(self, prompts: dict[int, list[int]], numbers: Any, chunk: int | None = None) -> None:
        """Put prompts into rows; see `_slots.read`."""
        model = self._writer.model
        if model.device.type == "cpu":
            own, together = PREFILL_CHUNK, _CPU_READING
        else:
            each = 6 * model.config.intermediate_size * self._writer.dtype.itemsize
            own, together = _GPU_CHUNK, min(max(_GPU_READING_BYTES // each, 2048), 65536)
        with self._writer.computing():
            read(self._writer, self.slots, prompts, numbers, chunk or own, together)

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

    def select(self, rows: Sequence[int]) -> Bucket:
        """Another bucket with copies of some rows; its step is not captured."""
        with torch.inference_mode():
            rest = Bucket(self._writer, self.slots.select(rows), captured=False)
        rest.is_rest = True
        return rest

    def _capture(self) -> Any:
        """The step as a graph; all rows are empty, so that the steps that warm up change nothing."""
        with torch.cuda.device(self._writer.model.device):
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(2):
                    step(self._writer, self.slots)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # Other threads may use the GPU meanwhile, as those of data loaders do.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                step(self._writer, self.slots)
        return graph


class BucketPool:
    """Keeps buckets that are not in use, as far as memory allows.

    Args:
        writer: of the model.
        most: tokens of an answer at most.
        end_ids: tokens that end an answer.
        limits: of the buckets.
        is_drawing: whether tokens are drawn, for which scores are computed with more digits and sorted.
    """

    def __init__(self, writer: Writer, most: int, end_ids: Sequence[int], limits: Limits, *, is_drawing: bool) -> None:
        self._writer, self._most, self._end_ids, self._limits = writer, most, end_ids, limits
        self._is_drawing = is_drawing
        #: Rows of a bucket at most; fewer once memory ran out.
        self.most_rows = limits.rows
        #: The one used last comes last.
        self._kept: dict[tuple[int, int], Bucket] = {}
        self._weights: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, need: int, wanted: int) -> Bucket:
        """A bucket of empty rows, to be given back by `keep`.

        Args:
            need: tokens that its rows have room for at least.
            wanted: rows that could be used.

        Raises:
            RuntimeError: memory ran out.
        """
        length = bucket_length(need)
        fitting = self._room() // self._bytes(length)
        # Free memory is never twice the same, and a bucket should be.
        fitting -= fitting % 32 if fitting > 32 else 0
        most = max(1, min(self.most_rows, fitting))
        rows = min(most, 1 << (max(1, wanted) - 1).bit_length())
        found = self._kept.pop((rows, length), None)
        if found is not None:
            return found
        while self._kept and rows * self._bytes(length) > self._room(after=True):
            del self._kept[next(iter(self._kept))]
            free_memory()
        return Bucket.empty(self._writer, rows, length, self._most, self._end_ids)

    def keep(self, bucket: Bucket) -> None:
        """Take back a bucket whose rows are empty."""
        if not bucket.is_rest:
            self._kept[bucket.rows, bucket.length] = bucket

    def release(self) -> None:
        """Give up all buckets that are not in use."""
        self._kept.clear()
        free_memory()

    def drop_moved(self) -> None:
        """Forget buckets whose graphs read weights that are now elsewhere; weights that changed in place are read."""
        model = self._writer.model
        weights = tuple(tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers()))
        if weights != self._weights and self._kept:
            self.release()
        self._weights = weights

    def _room(self, *, after: bool = False) -> int:
        """Bytes that buckets may take; with `after`, beside those that are kept."""
        kept = sum(rows * self._bytes(length) for rows, length in self._kept)
        device = self._writer.model.device
        if self._limits.tokens is not None or device.type != "cuda":
            tokens = self._limits.tokens or 1 << 14
            return tokens * self._bytes(1 << 10) // (1 << 10) - (kept if after else 0)
        free = torch.cuda.mem_get_info(device)[0]
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int((free + (0 if after else kept)) * self._limits.share)

    def _bytes(self, length: int) -> int:
        """Memory of a row of this length, with what its step computes on the way."""
        config, size = self._writer.model.config, self._writer.dtype.itemsize
        head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        token = 2 * config.num_hidden_layers * config.num_key_value_heads * head * size
        if self._limits.tokens is not None:
            return int(length * token)
        # Scores twice as they are and once as floats; for drawing as doubles, sorted with their places, and summed.
        return int(length * token + config.vocab_size * (2 * size + 4 + (44 if self._is_drawing else 0)))


def bucket_length(need: int) -> int:
    """The length of the bucket for so many tokens: at most a quarter more, and a multiple of 64."""
    part = max(64, (1 << need.bit_length()) >> 3)
    return -(-need // part) * part
