"""How likely texts are after a prompt, with each prompt read once for all of its continuations.

The options of a question share its prompt, and the prompt is most of what a model reads. So the prompts of a batch are
read together, and their keys and values (an encoder's states) are then taken for every continuation, which costs a
few tokens each. A model that keeps its state in another way reads prompt and continuation anew for each of them.

`encode_pairs` decides which tokens belong to a continuation, `scoring_way` how a model may be asked, `score_all` fills
batches, and one of `_Decoder`, `_EncoderDecoder` and `_Whole` reads them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch

from prlm_bench.errors import PrlmBenchError

from .._hf import ModelError, free_memory, is_out_of_memory, one_line, pad_ids, token_batches
from ._batching import Batching
from ._cache import can_share, forward, no_memory, read_prompts, select_rows
from ._loading import LoadedModel

#: Logits that are in memory at a time (rows * tokens * vocabulary), unless a single row has more.
_LOGITS = 2**26


@dataclass(frozen=True)
class Question:
    """A prompt with its continuations."""

    #: Its place in the caller's list.
    index: int
    #: Token ids of the prompt; at least one.
    ids: list[int]
    #: Token ids of each continuation.
    continuations: list[list[int]]

    @property
    def longest(self) -> int:
        """Tokens of the prompt with its longest continuation."""
        return len(self.ids) + max(map(len, self.continuations), default=0)


#: The ways that were found, by the model.
_WAYS: WeakKeyDictionary[Any, Batching] = WeakKeyDictionary()
#: Of the prompts and continuations that are tried, in tokens.
_TRIED = ((3, (1, 3)), (9, (2, 4)), (9, (3, 1)))


def scoring_way(loaded: LoadedModel, label: str, tokens: Callable[[], Sequence[int]]) -> Batching:
    """The fastest way that gives the likelihoods of a plain forward pass for each pair alone, tried once for a model.

    Args:
        loaded: the model; the way that it generates is tried first.
        label: its name, for messages.
        tokens: gives ordinary tokens of the model.

    Raises:
        ModelError: the plain forward pass itself fails.
    """
    if loaded.model not in _WAYS:
        _WAYS[loaded.model] = _try(loaded, label, tokens())
    return _WAYS[loaded.model]


def _try(loaded: LoadedModel, label: str, tokens: Sequence[int]) -> Batching:
    numbers = iter(range(1, 1000, 7))
    ids = [[[tokens[next(numbers) % len(tokens)] for _ in range(n)] for n in (n, *rest)] for n, rest in _TRIED]
    questions = [Question(place, row[0], row[1:]) for place, row in enumerate(ids)]
    plain = Batching("single", "plain")
    given = loaded.batching
    ways = [replace(given, together=together) for together in (given.together, "same-length", "single")]
    ways += [replace(way, cache="plain") for way in ways]

    def values(way: Batching, questions: Sequence[Question]) -> list[float]:
        found = score_all(replace(loaded, batching=way), questions, 1 << 12)
        return [value for _, row in sorted(found) for value in row]

    try:
        wanted = [value for question in questions for value in values(plain, [question])]
    except Exception as error:
        if isinstance(error, PrlmBenchError) or is_out_of_memory(error):
            raise
        raise ModelError(f"{label} gives no likelihoods: its forward pass fails with {one_line(error)}") from None
    # Half precision rounds to 3 digits, and by the shape of the batch.
    tolerance = 1e-3 if loaded.model.dtype.itemsize > 2 else 0.05
    for way in ways:
        try:
            found = values(way, questions)
        except Exception as error:  # what a model does not bear may raise anything
            if isinstance(error, PrlmBenchError) or is_out_of_memory(error):
                raise
            continue
        if all(abs(a - b) <= tolerance * max(1.0, abs(b)) for a, b in zip(found, wanted, strict=True)):
            return way
    return plain


def score_all(loaded: LoadedModel, questions: Sequence[Question], budget: int) -> Iterator[tuple[int, list[float]]]:
    """The natural log-probability of each continuation, as a sum over its tokens; 0 for one without tokens.

    They are the model's own: settings of generation_config.json that change what is written do not count.

    Args:
        loaded: the model.
        questions: the prompts, longest first through the model.
        budget: tokens of a batch at most, padding included; halved where memory runs out.

    Yields:
        Each question's index and its values.

    Raises:
        PrlmBenchError: there is not enough memory for a single continuation.
    """
    waiting = deque(sorted(questions, key=lambda question: -question.longest))
    while waiting:
        way = _way(loaded, waiting[0])
        group = list(_next(waiting, way, budget))
        values = _scored(loaded, way, group, budget)
        if values is None:
            free_memory()
            if budget <= group[0].longest:
                raise no_memory(len(group[0].ids), writes=False)
            # One row at a time is what is left where the budget is the longest row.
            budget = max(min(budget, max(len(group), _rows(group)) * group[0].longest) // 2, group[0].longest)
            waiting.extendleft(reversed(group))
            continue
        yield from ((question.index, found) for question, found in zip(group, values, strict=True))


def _way(loaded: LoadedModel, longest: Question) -> Batching:
    """How a question goes through the model; see `position_reach` for texts that are read whole and alone."""
    if loaded.reach is not None and longest.longest > loaded.reach:
        return Batching("single", "plain")
    return loaded.batching


def _next(waiting: deque[Question], way: Batching, budget: int) -> Iterator[Question]:
    """The questions whose prompts go through the model together next; they leave `waiting`."""
    first = waiting[0]
    size = 1 if way.together == "single" else max(1, budget // first.longest)
    for _ in range(min(size, len(waiting))):
        if way.together == "same-length" and len(waiting[0].ids) != len(first.ids):
            return
        yield waiting.popleft()


def _rows(group: Sequence[Question]) -> int:
    return sum(len(question.continuations) for question in group)


def _scored(loaded: LoadedModel, way: Batching, group: Sequence[Question], budget: int) -> list[list[float]] | None:
    """The values of each question's continuations; None where memory ran out."""
    try:
        with torch.inference_mode():
            return _score(loaded, way, group, budget)
    except Exception as error:
        if is_out_of_memory(error):
            return None
        raise


def _score(loaded: LoadedModel, way: Batching, group: Sequence[Question], budget: int) -> list[list[float]]:
    values = [[0.0] * len(question.continuations) for question in group]
    rows = [
        (place, number, ids)
        for place, question in enumerate(group)
        for number, ids in enumerate(question.continuations)
        if ids
    ]
    if not rows:
        return values
    reader = _reader(loaded, way, group)
    lengths = [reader.width(place) + len(ids) for place, _, ids in rows]
    together = 1 if way.together == "single" else len(rows)
    vocabulary = loaded.model.get_input_embeddings().weight.shape[0]
    for batch in token_batches(lengths, budget, same_length=way.together != "padded"):
        tokens = max(len(rows[number][2]) for number in batch)
        size = max(1, min(together, _LOGITS // (tokens * vocabulary)))
        for start in range(0, len(batch), size):
            some = [rows[number] for number in batch[start : start + size]]
            found = reader.score([place for place, _, _ in some], [ids for _, _, ids in some])
            for (place, number, _), value in zip(some, found.tolist(), strict=True):
                values[place][number] = value
    return values


class _Reader(Protocol):
    """Scores continuations of the prompts of a batch."""

    def width(self, place: int) -> int:
        """Tokens before a continuation, in which rows of a batch differ."""
        ...

    def score(self, places: Sequence[int], continuations: Sequence[list[int]]) -> Any:
        """Log-probabilities of shape (rows,); `places` has the prompt of each row."""
        ...


def _reader(loaded: LoadedModel, way: Batching, group: Sequence[Question]) -> _Reader:
    if loaded.model.config.is_encoder_decoder:
        return _EncoderDecoder(loaded, way, group)
    shares = way.cache != "plain" and can_share(loaded.model)
    return _Decoder(loaded, way, group) if shares else _Whole(loaded, group)


class _Decoder:
    """A causal model that keeps the keys and values of prompts."""

    def __init__(self, loaded: LoadedModel, way: Batching, group: Sequence[Question]) -> None:
        self._loaded, self._chunks = loaded, way.in_pieces
        self._cache, self._mask, self._first = read_prompts(loaded, [q.ids for q in group], chunks=self._chunks)

    def width(self, place: int) -> int:
        """Tokens of the batch's longest prompt: all are padded to it."""
        return int(self._mask.shape[1])

    def score(self, places: Sequence[int], continuations: Sequence[list[int]]) -> Any:
        """The first token from what the prompt's last one says, the others from a pass of their own."""
        rows = torch.tensor(places, device=self._mask.device)
        sums = _sums(self._first[rows][:, None], [ids[:1] for ids in continuations])
        if max(map(len, continuations)) == 1:
            return sums
        ids, new = pad_ids([ids[:-1] for ids in continuations], self._loaded.pad_id, left=False)
        mask = torch.cat([self._mask[rows], new.to(rows.device)], dim=1)
        output = forward(self._loaded.model, ids.to(rows.device), mask, cache=select_rows(self._cache, rows))
        return sums + _sums(output.logits, [ids[1:] for ids in continuations])


class _EncoderDecoder:
    """A model whose encoder reads prompts and whose decoder reads continuations."""

    def __init__(self, loaded: LoadedModel, way: Batching, group: Sequence[Question]) -> None:
        self._loaded, model = loaded, loaded.model
        ids, mask = pad_ids([question.ids for question in group], loaded.pad_id, left=False)
        self._ids, self._mask = ids.to(model.device), mask.to(model.device)
        self._states: Any = None
        if way.cache != "plain":
            encoder = model.get_encoder()
            self._states = encoder(input_ids=self._ids, attention_mask=self._mask, return_dict=True)[0]
        configs = (model.generation_config, model.config)
        names = ("decoder_start_token_id", "bos_token_id")
        starts = (getattr(config, name, None) for name in names for config in configs)
        self._start = next((start for start in starts if start is not None), loaded.pad_id)

    def width(self, place: int) -> int:
        """Tokens of the batch's longest prompt: all are padded to it."""
        return int(self._mask.shape[1])

    def score(self, places: Sequence[int], continuations: Sequence[list[int]]) -> Any:
        """One pass of the decoder."""
        from transformers.modeling_outputs import BaseModelOutput

        rows = torch.tensor(places, device=self._mask.device)
        ids, _ = pad_ids([[self._start, *ids[:-1]] for ids in continuations], self._loaded.pad_id, left=False)
        if self._states is None:
            read = {"input_ids": self._ids[rows]}
        else:
            states: Any = BaseModelOutput
            read = {"encoder_outputs": states(last_hidden_state=self._states[rows])}
        output = self._loaded.model(
            **read, attention_mask=self._mask[rows], decoder_input_ids=ids.to(rows.device), use_cache=False
        )
        return _sums(output.logits, continuations)


class _Whole:
    """A causal model that reads prompt and continuation together, each time anew."""

    def __init__(self, loaded: LoadedModel, group: Sequence[Question]) -> None:
        self._loaded, self._prompts = loaded, [question.ids for question in group]

    def width(self, place: int) -> int:
        """Tokens of the prompt itself."""
        return len(self._prompts[place])

    def score(self, places: Sequence[int], continuations: Sequence[list[int]]) -> Any:
        """One pass over all tokens."""
        device = self._loaded.model.device
        whole = [self._prompts[place] + ids[:-1] for place, ids in zip(places, continuations, strict=True)]
        ids, mask = pad_ids(whole, self._loaded.pad_id, left=True)
        kept = max(map(len, continuations))
        output = forward(self._loaded.model, ids.to(device), mask.to(device), keep=kept)
        # Rows end together, so a shorter continuation has its logits at the end.
        logits = output.logits[:, -kept:]
        tails = [logits[row, kept - len(ids) :] for row, ids in enumerate(continuations)]
        return torch.stack([_sums(tail[None], [ids])[0] for tail, ids in zip(tails, continuations, strict=True)])


def _sums(logits: Any, continuations: Sequence[Sequence[int]]) -> Any:
    """Log-probabilities of tokens, summed over each row; float64, shape (rows,).

    Args:
        logits: of shape (rows, tokens, vocabulary).
        continuations: a row's token ids; those behind them are padding.
    """
    ids, mask = pad_ids(continuations, 0, left=False)
    ids, mask = ids.to(logits.device), mask.to(logits.device)
    logits = logits[:, : ids.shape[1]].float()
    values = logits.gather(-1, ids[..., None]).squeeze(-1) - logits.logsumexp(-1)
    return torch.where(mask.bool(), values, 0.0).double().sum(-1)
