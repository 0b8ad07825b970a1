"""Continuous batching for `generate()` of transformers: the part of this plugin that makes it fast.

Plain `generate()` pads the prompts of a batch to the longest, goes on with answers that have ended until the last one
ends, and copies the keys and values of all tokens for each new token. Here batches hold prompts of like lengths up to
a token budget, answers that have ended leave the batch, keys and values grow in place, and a batch for which memory
runs out is halved. On a CPU that is 1.8 times as fast (docs/experiments/benchmarks.md) and writes the same. Not every
model bears it: `Batching` says what one does, and what follows here does no more.

It also makes sampling reproducible: what is drawn depends on prompt and seed alone, not on the batch or on where a
run was interrupted, which the random numbers of `generate()` cannot promise.

`generate_all` fills batches and `Batch` advances one; `_sampling` draws tokens, and `_cache` holds keys and values.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, StoppingCriteria

from .._hf import free_memory, is_out_of_memory
from ._batching import Batching, unmixed
from ._cache import (
    PREFILL_CHUNK,
    PreallocatedCacheLayer,
    can_share,
    no_memory,
    preallocated_cache,
    read_prompts,
    select_rows,
)
from ._constraint import ConstrainedRows, RowConstraint
from ._decoding import Decoding, can_resume, looks_back
from ._loading import LoadedModel
from ._prefixes import USUAL, Reading, padded, read, shared_tokens
from ._sampling import RowSampler, row_numbers

#: In a batch of fewer rows, removing those that have ended saves less than resuming costs.
MIN_ROWS_TO_COMPACT = 8


@dataclass(frozen=True)
class Request:
    """A prompt."""

    #: Its place in the caller's list.
    index: int
    #: What its random numbers depend on; not used without sampling.
    text: str
    ids: list[int]
    #: What the answer may be; None for anything.
    constraint: RowConstraint | None = None
    #: Of its random numbers, in place of the decoding's; each of several samples of a prompt has its own.
    seed: str | None = None


@dataclass(frozen=True)
class Output:
    """An answer's token ids, with the one that ended it, if any did."""

    index: int
    ids: list[int]
    ended: bool


def generate_all(loaded: LoadedModel, requests: Sequence[Request], decoding: Decoding, budget: int) -> Iterator[Output]:
    """Answer all requests; answers come as they are finished.

    Args:
        loaded: the model.
        requests: the prompts.
        decoding: how to write.
        budget: tokens of a batch at most, padding and new tokens included; one request is always tried.

    Raises:
        PrlmBenchError: there is not enough memory for a single prompt.
    """
    # The longest first: where memory runs out, it does so at once.
    waiting = deque(sorted(requests, key=lambda request: -len(request.ids)))
    while waiting:
        # The longest prompt decides for its batch how far positions reach.
        far = loaded.reach is not None and len(waiting[0].ids) + decoding.max_new_tokens > loaded.reach
        used = replace(loaded, batching=unmixed(loaded.batching)) if far else loaded
        batch = Batch(used, list(_next(waiting, used.batching, budget, decoding)), decoding)
        while batch.requests:
            outputs = _advance(batch)
            if outputs is None:
                break
            yield from outputs
        unfinished = batch.requests
        del batch
        if unfinished:
            free_memory()
            if len(unfinished) == 1:
                raise no_memory(len(unfinished[0].ids))
            budget = len(unfinished) // 2 * _cost(unfinished[0], decoding)
            waiting.extendleft(reversed(unfinished))


def _next(waiting: deque[Request], way: Batching, budget: int, decoding: Decoding) -> Iterator[Request]:
    """The requests that go through the model together next; they leave `waiting`."""
    longest = waiting[0]
    size = 1 if way.together == "single" else max(1, budget // _cost(longest, decoding))
    for _ in range(min(size, len(waiting))):
        if way.together == "same-length" and len(waiting[0].ids) != len(longest.ids):
            return
        yield waiting.popleft()


def _advance(batch: Batch) -> list[Output] | None:
    """What a batch has finished; None where memory ran out."""
    try:
        return batch.advance()
    except Exception as error:
        if is_out_of_memory(error):
            return None
        raise


def _cost(longest: Request, decoding: Decoding) -> int:
    """Tokens that each row takes in a batch whose longest prompt is this one."""
    return (len(longest.ids) + decoding.max_new_tokens) * decoding.beams


def trace(loaded: LoadedModel, prompts: Sequence[list[int]], way: Batching, count: int) -> list[tuple[list[int], Any]]:
    """The most likely tokens behind each prompt and their logits, by one batch.

    Half of the tokens are written before the rows change places, as those of a batch do that others leave.

    Args:
        loaded: the model.
        prompts: token ids.
        way: how the batch is handled.
        count: of new tokens.

    Returns:
        For each prompt `count` tokens, and logits of shape (count, vocabulary).
    """
    order = list(range(len(prompts)))
    requests = [Request(place, "", prompts[place]) for place in order]
    tokens: list[list[int]] = [[] for _ in prompts]
    logits: list[list[Any]] = [[] for _ in prompts]
    with torch.inference_mode(), _bare_settings(loaded.model):
        # So that these few short prompts are read as many long ones are.
        reading = Reading(rows=max(1, len(prompts) // 2), saved=0)
        batch = Batch(replace(loaded, end_ids=(), batching=way), requests, Decoding(count), reading)
        state = batch.begin()
        steps = count if state.cache is None else count // 2
        for _ in range(count // steps):
            options = batch.options(state)
            options["generation_config"].update(output_logits=True, max_new_tokens=steps)
            found = loaded.model.generate(**state.inputs(), **options)
            for row, place in enumerate(order):
                tokens[place] += found.sequences[row, -steps:].tolist()
                logits[place] += [step[row].float().cpu() for step in found.logits]
            if state.cache is not None:
                state, order = state.select(found.sequences, list(reversed(range(len(order))))), order[::-1]
    return [(row, torch.stack(steps)) for row, steps in zip(tokens, logits, strict=True)]


@contextmanager
def _bare_settings(model: Any) -> Iterator[None]:
    """A block in which a model follows no settings of its checkpoint but where an answer begins."""
    own = model.generation_config
    start = {name: getattr(own, name, None) for name in ("bos_token_id", "decoder_start_token_id")}
    make: Any = GenerationConfig
    model.generation_config = make(**start)
    try:
        yield
    finally:
        model.generation_config = own


class Batch:
    """Requests that are answered together.

    Args:
        loaded: the model.
        requests: the prompts; those that are finished leave the list.
        decoding: how to write.
        reading: how a CPU reads the prompts.
    """

    def __init__(
        self, loaded: LoadedModel, requests: Sequence[Request], decoding: Decoding, reading: Reading = USUAL
    ) -> None:
        self.requests = list(requests)
        self._loaded, self._decoding, self._reading = loaded, decoding, reading
        self.is_causal = not loaded.model.config.is_encoder_decoder
        self._state: _State | None = None

    def advance(self) -> list[Output]:
        """Write until at least half of the requests are finished.

        Raises:
            RuntimeError: memory ran out, among other things; the requests are then as before.
        """
        with torch.inference_mode():
            state = self._state or self.begin()
            found = self._loaded.model.generate(**state.inputs(), **self.options(state))
            answers = found.sequences[:, state.start :].tolist()
            outputs = [self._output(request, ids) for request, ids in zip(self.requests, answers, strict=True)]
            done = [
                output.ended or len(ids) >= self._decoding.max_new_tokens
                for output, ids in zip(outputs, answers, strict=True)
            ]
            going = [place for place, is_done in enumerate(done) if not is_done]
            self._state = state.select(found.sequences, going) if going else None
        self.requests = [self.requests[place] for place in going]
        return [output for output, is_done in zip(outputs, done, strict=True) if is_done]

    def begin(self) -> _State:
        """The state before the first new token."""
        loaded, decoding = self._loaded, self._decoding
        prompts = [request.ids for request in self.requests]
        own = self.is_causal and decoding.beams == 1 and loaded.batching.cache != "plain"
        cache = preallocated_cache(loaded.model) if own else None
        equal = None if cache is None else self._equal_prompts()
        apart = equal is None and self._reads_apart(cache)
        shared = shared_tokens(prompts, self._reading.saved) if apart else 0
        ids, mask = padded(prompts, loaded.pad_id, shared, left=self.is_causal)
        if equal is not None:
            cache = equal
        elif apart and ids.shape[1] > 1 and (shared or len(ids) > self._reading.rows):
            with _bare_settings(loaded.model):  # they are for what is written
                cache = read(loaded.model, ids, mask, shared, self._reading, partial(preallocated_cache, loaded.model))
        device = loaded.model.device
        numbers = None
        if decoding.temperature > 0:
            numbers = request_numbers(self.requests, decoding).to(device)
        start = ids.shape[1] if self.is_causal else 1
        constraints = [request.constraint for request in self.requests]
        return _State(ids.to(device), mask.to(device), start, cache, numbers, constraints)

    def _equal_prompts(self) -> Any:
        """What the model keeps of all tokens of the prompts but the last, if several rows have the same prompt."""
        places: dict[tuple[int, ...], int] = {}
        rows = [places.setdefault(tuple(request.ids), len(places)) for request in self.requests]
        if len(places) == len(rows) or min(map(len, places)) < 2 or not can_share(self._loaded.model):
            return None
        chunks = self._loaded.batching.in_pieces
        cache, _, _ = read_prompts(self._loaded, [ids[:-1] for ids in places], chunks=chunks)
        return select_rows(cache, torch.tensor(rows, device=self._loaded.model.device))

    def _reads_apart(self, cache: Any) -> bool:
        """Whether prompts are read before `generate()` goes on from them: by a CPU, where each layer keeps all tokens.

        Settings that look back would see the padding between the beginning of a prompt and its rest.
        """
        model, way = self._loaded.model, self._loaded.batching
        return (
            way.cache == "shared"
            and model.device.type == "cpu"
            and cache is not None
            and all(type(layer) is PreallocatedCacheLayer for layer in cache.layers)
            and not looks_back(model.generation_config)
        )

    def options(self, state: _State) -> dict[str, Any]:
        """Options of `generate()`."""
        decoding, loaded = self._decoding, self._loaded
        config = deepcopy(loaded.model.generation_config)
        used = state.ids.shape[1] - state.start if self.is_causal else 0
        config.update(
            max_new_tokens=decoding.max_new_tokens - used,
            max_length=None,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            num_beams=decoding.beams,
            eos_token_id=list(loaded.end_ids) or None,
            pad_token_id=loaded.pad_id,
            return_dict_in_generate=True,
        )
        processors: list[LogitsProcessor] = []
        if any(state.constraints):
            processors.append(ConstrainedRows(state.constraints, state.start))
        if state.numbers is not None:
            processors.append(RowSampler(state.numbers, state.start, decoding.temperature, decoding.top_p))
        options: dict[str, Any] = {"generation_config": config, "logits_processor": processors}
        if state.cache is not None and loaded.model.device.type == "cpu" and loaded.batching.in_pieces:
            config.update(prefill_chunk_size=PREFILL_CHUNK)
        if state.cache is not None and len(self.requests) >= MIN_ROWS_TO_COMPACT and can_resume(config):
            options["stopping_criteria"] = [_HalfEnded(loaded.end_ids)]
        return options

    def _output(self, request: Request, ids: list[int]) -> Output:
        end = next((place for place, token in enumerate(ids) if token in self._loaded.end_ids), None)
        return Output(request.index, ids if end is None else ids[: end + 1], end is not None)


@dataclass
class _State:
    """The tokens so far and what the model keeps of them.

    Args:
        ids: of shape (rows, tokens); a causal model's answers are appended to it.
        mask: of the same shape, 0 where there is padding.
        start: where answers begin in the sequences that the model returns.
        cache: keys and values, if rows can be removed from them.
        numbers: random numbers of shape (rows, max new tokens).
        constraints: of each row.
    """

    ids: Any
    mask: Any
    start: int
    cache: Any
    numbers: Any
    constraints: Sequence[RowConstraint | None]

    def inputs(self) -> dict[str, Any]:
        """The model's inputs."""
        cache = {} if self.cache is None else {"past_key_values": self.cache}
        return {"input_ids": self.ids, "attention_mask": self.mask, **cache}

    def select(self, sequences: Any, places: Sequence[int]) -> _State:
        """The state of some of the rows after `sequences` were written."""
        kept = torch.tensor(places, device=sequences.device)
        ids = sequences[kept]
        new = ids.shape[1] - self.ids.shape[1]
        mask = torch.cat([self.mask[kept], self.mask.new_ones(len(places), new)], dim=1)
        self.cache.batch_select_indices(kept)
        numbers = None if self.numbers is None else self.numbers[kept]
        return _State(ids, mask, self.start, self.cache, numbers, [self.constraints[place] for place in places])


class _HalfEnded(StoppingCriteria):
    """Stops the batch when half of its rows have ended."""

    def __init__(self, end_ids: Sequence[int]) -> None:
        self._end_ids = end_ids
        self._ended: Any = False

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        last = input_ids[:, -1]
        self._ended = self._ended | torch.isin(last, torch.tensor(self._end_ids, device=last.device))
        return torch.full_like(self._ended, bool(2 * self._ended.sum() >= len(last)))


def request_numbers(requests: Sequence[Request], decoding: Decoding) -> Any:
    """Random numbers for each place of each answer, of shape (requests, max new tokens), in double precision."""
    count = decoding.max_new_tokens
    rows = [row_numbers([request.text], request.seed or decoding.seed, count)[0] for request in requests]
    return torch.tensor(rows, dtype=torch.double)
