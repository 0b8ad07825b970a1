"""One decoding step as a function over buffers that stay where they are, so that a GPU can replay it as a CUDA graph.

A decode step of a small model takes a GPU a millisecond, and Python fifty to ask for it. `step` does all of it on the
device: it chooses each row's next token, writes it down, and computes what may follow. It reads and writes `Slots`
alone, and no number in them is looked at by Python; so the same function is captured once and replayed on a GPU, and
simply called on a CPU.

Each row has its own place in its answer. The token at place p of a row stands at index p of its keys and values, and
attends to the places up to its own: there is no padding before a prompt, and whatever lies behind a row's place, such
as the rest of a longer answer that stood there before, is neither read nor has to be cleared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from .._hf import pad_ids

#: From scores of shape (rows, vocabulary) and random numbers of shape (rows, 1), a token for each row, shape (rows, 1).
Choose = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Writer:
    """What decides the next token.

    Args:
        model: a causal model of transformers with the parts `model` and `lm_head`.
        choose: takes a token by its scores and a random number.
        bf16: compute in bfloat16 where autocast does.
    """

    model: Any
    choose: Choose
    bf16: bool = False

    @property
    def dtype(self) -> Any:
        """That of keys, values and scores."""
        return torch.bfloat16 if self.bf16 else self.model.dtype

    @contextmanager
    def computing(self) -> Iterator[None]:
        """A block for the model's forward pass.

        Weights that autocast rounds are rounded again at each step: a remembered copy would be that of the weights
        when the step was captured, and training changes them in place.
        """
        kind = self.model.device.type
        with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=self.bf16, cache_enabled=False):
            yield

    def hidden(self, ids: Any, places: Any, mask: Any, layers: Sequence[CacheLayerMixin]) -> Any:
        """The last hidden states of tokens at `places`, both of shape (rows, tokens)."""
        inputs = {"input_ids": ids, "position_ids": places, "attention_mask": mask}
        return self.model.model(**inputs, past_key_values=Cache([*layers]), use_cache=True).last_hidden_state


@dataclass
class Slots:
    """The state of a number of rows, each with room for `length` tokens; an empty row has ended."""

    #: A pair for each layer, of shape (rows, heads, length, size).
    keys: list[Any]
    values: list[Any]
    #: Of the next token, shape (rows, vocabulary).
    scores: Any
    #: Of the next token in its row, shape (rows,).
    position: Any
    #: Tokens written so far, shape (rows,).
    count: Any
    #: Whether a row has written its last token, shape (rows,).
    ended: Any
    #: Tokens written, shape (rows, most + 1); the last column is for rows that have ended.
    answers: Any
    #: Random numbers in [0, 1), of the shape of `answers`.
    numbers: Any
    #: Tokens that end an answer.
    end_ids: Any

    @classmethod
    def empty(cls, writer: Writer, rows: int, length: int, most: int, end_ids: Sequence[int]) -> Slots:
        """Slots of rows that have ended.

        Args:
            writer: of the model that will write.
            rows: their number.
            length: tokens of a row at most, prompt and answer together.
            most: tokens of an answer at most.
            end_ids: tokens that end an answer.

        Raises:
            RuntimeError: memory ran out.
        """
        model = writer.model
        config, device = model.config, model.device
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        shape = (rows, config.num_key_value_heads, length, size)

        def zeros(*shape: int, dtype: Any = torch.long) -> Any:
            return torch.zeros(shape, dtype=dtype, device=device)

        return cls(
            keys=[zeros(*shape, dtype=writer.dtype) for _ in range(config.num_hidden_layers)],
            values=[zeros(*shape, dtype=writer.dtype) for _ in range(config.num_hidden_layers)],
            scores=zeros(rows, model.get_input_embeddings().weight.shape[0], dtype=writer.dtype),
            position=zeros(rows),
            count=zeros(rows),
            ended=torch.ones(rows, dtype=torch.bool, device=device),
            answers=zeros(rows, most + 1),
            numbers=zeros(rows, most + 1, dtype=torch.double),
            end_ids=torch.tensor(list(end_ids), dtype=torch.long, device=device),
        )

    @property
    def length(self) -> int:
        """Tokens of a row at most."""
        return int(self.keys[0].shape[2])

    def select(self, rows: Sequence[int]) -> Slots:
        """Copies of some rows."""
        places = torch.tensor(list(rows), device=self.position.device)
        found = {}
        for field in fields(self):
            own = getattr(self, field.name)
            many = isinstance(own, list)
            found[field.name] = (
                [one[places] for one in own] if many else own if field.name == "end_ids" else own[places]
            )
        return Slots(**found)


class _SlotLayer(CacheLayerMixin):
    """Writes keys and values of new tokens to their places, in the form in which transformers asks for it.

    Args:
        keys: of shape (rows, heads, length, size), and so are `values`.
        rows: those that read, shape (rows that read, 1).
        places: where the new tokens stand, shape (rows that read, new tokens).
        end: attend to these rows up to here; by default all rows read, and attend to all places.
    """

    is_sliding = False

    def __init__(self, keys: Any, values: Any, rows: Any, places: Any, end: int | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys, self.values, self.is_initialized = keys, values, True
        self._rows, self._places, self._end = rows, places, end

    def lazy_initialization(self, key_states: Any, value_states: Any) -> None:
        """Nothing: the buffers are there."""

    def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Write states of shape (rows that read, heads, new tokens, size); what these rows attend to."""
        return self._write(self.keys, key_states), self._write(self.values, value_states)

    def _write(self, buffer: Any, states: Any) -> Any:
        buffer[self._rows, :, self._places] = states.transpose(1, 2).to(buffer.dtype)
        return buffer if self._end is None else buffer[self._rows[:, 0], :, : self._end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Tokens attended to, and their offset."""
        return self.get_max_length(), 0

    def get_seq_length(self) -> int:
        """Not asked for: positions and mask are given."""
        return 0

    def get_max_length(self) -> int:
        """Tokens of a row at most."""
        return int(self.keys.shape[2]) if self.keys is not None else 0

    def get_max_cache_shape(self) -> int:
        """The same, as other releases of transformers call it."""
        return self.get_max_length()


def step(writer: Writer, slots: Slots) -> None:
    """Write one token in each row that has not ended; the others do the same work for nothing, and stay as they are."""
    count = slots.count[:, None]
    token = writer.choose(slots.scores.float(), slots.numbers.gather(1, count))
    slots.answers.scatter_(1, count, token)
    places = slots.position[:, None]
    rows = torch.arange(len(places), device=places.device)[:, None]
    layers = [_SlotLayer(keys, values, rows, places) for keys, values in zip(slots.keys, slots.values, strict=True)]
    hidden = writer.hidden(token, places, _mask(places, slots.length, writer.dtype), layers)
    slots.scores.copy_(writer.model.lm_head(hidden[:, -1]))
    alive = ~slots.ended
    slots.count.add_(alive)
    slots.position.add_(alive).clamp_(max=slots.length - 1)
    slots.ended.logical_or_((token == slots.end_ids).any(-1) | (slots.count >= slots.answers.shape[1] - 1))


def read(
    writer: Writer, slots: Slots, prompts: Mapping[int, Sequence[int]], numbers: Any, chunk: int, most: int
) -> None:
    """Put prompts into rows; an equal prompt of several rows is read once and copied.

    Args:
        writer: of the model.
        slots: the rows.
        prompts: token ids by row; each has at least one, and room for an answer in its row.
        numbers: random numbers of shape (prompts, tokens of an answer at most), or None.
        chunk: tokens of a prompt that are read at a time.
        most: tokens of all prompts together that are read at a time, padding included; one prompt is always read.
    """
    device = slots.position.device
    first: dict[tuple[int, ...], int] = {}
    source = {row: first.setdefault(tuple(ids), row) for row, ids in prompts.items()}
    distinct = sorted(((row, ids) for ids, row in first.items()), key=lambda one: -len(one[1]))
    for start in range(0, len(distinct[0][1]), chunk):
        pieces = [(row, ids) for row, ids in distinct if len(ids) > start]
        width = min(chunk, len(pieces[0][1]) - start)
        for place in range(0, len(pieces), size := max(1, most // width)):
            _read_piece(writer, slots, pieces[place : place + size], start, width)
    copies = [(row, other) for row, other in source.items() if row != other]
    if copies:
        rows, others = torch.tensor(copies, device=device).T
        longest = max(len(prompts[row]) for row, _ in copies)
        for buffer in (*slots.keys, *slots.values):
            buffer[rows, :, :longest] = buffer[others, :, :longest]
        slots.scores[rows] = slots.scores[others]
    rows = torch.tensor(list(prompts), device=device)
    slots.position[rows] = torch.tensor([len(ids) for ids in prompts.values()], device=device)
    slots.count[rows] = 0
    slots.ended[rows] = False
    if numbers is not None:
        slots.numbers[rows, : numbers.shape[1]] = numbers.to(device)


def _read_piece(writer: Writer, slots: Slots, pieces: Sequence[tuple[int, Any]], start: int, width: int) -> None:
    """Read `width` tokens of each prompt from `start` on; what a shorter one lacks is padding behind it."""
    device = slots.position.device
    ids, _ = pad_ids([tokens[start : start + width] for _, tokens in pieces], 0, left=False, width=width)
    rows = torch.tensor([row for row, _ in pieces], device=device)
    end = min(start + width, slots.length)
    places = torch.arange(start, start + width, device=device).clamp(max=slots.length - 1)[None]
    mask = _mask(places, end, writer.dtype)
    here = places.expand(len(pieces), -1)
    layers = [_SlotLayer(k, v, rows[:, None], here, end) for k, v in zip(slots.keys, slots.values, strict=True)]
    hidden = writer.hidden(ids.to(device), here, mask, layers)
    done = [
        (place, len(tokens) - start - 1) for place, (_, tokens) in enumerate(pieces) if len(tokens) <= start + width
    ]
    if done:
        some, ends = torch.tensor(done, device=device).T
        slots.scores[rows[some]] = writer.model.lm_head(hidden[some, ends]).to(slots.scores.dtype)


def _mask(places: Any, length: int, dtype: Any) -> Any:
    """What is added to attention, shape (rows, 1, tokens, length): nothing up to a token's own place."""
    hidden = torch.arange(length, device=places.device) > places[..., None]
    mask = torch.zeros(hidden.shape, dtype=dtype, device=places.device)
    return mask.masked_fill_(hidden, torch.finfo(dtype).min)[:, None]
