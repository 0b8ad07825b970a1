"""One batch on its way: the rows that are done make room while the rest go on."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from .loading import Loaded
from .sampling import Sampler, draws

#: In a batch of fewer rows, leaving out those that are done saves less than starting again costs.
_FEW = 8
#: Tokens of each prompt that a CPU reads at a time: attention is then computed for what has been read so far, not for
#: all pairs of tokens, and what passes between layers stays in the processor's own memory.
_READ_AT_ONCE = 64


@dataclass(frozen=True)
class Decoding:
    """How answers are written.

    Args:
        most: new tokens at most.
        temperature: 0 takes the most likely token each time.
        top_p: the most likely tokens with this share of the probability together may be drawn.
        beams: beams of a beam search; 1 for none.
        seed: for sampling.
    """

    most: int
    temperature: float
    top_p: float
    beams: int
    seed: str


@dataclass(frozen=True)
class Row:
    """A prompt."""

    #: Its place in the list that was asked for.
    index: int
    #: What draws depend on.
    text: str
    ids: list[int]


@dataclass(frozen=True)
class Written:
    """An answer's tokens, with the one that ended it, if any did."""

    index: int
    ids: list[int]
    ended: bool


class Batch:
    """Rows that are written together.

    Args:
        loaded: the model.
        rows: the prompts; those that are done leave the list.
        decoding: how to write.
    """

    def __init__(self, loaded: Loaded, rows: Sequence[Row], decoding: Decoding) -> None:
        self.rows = list(rows)
        self._loaded, self._decoding = loaded, decoding
        self._is_causal = not loaded.model.config.is_encoder_decoder
        self._state: _State | None = None

    def advance(self) -> list[Written]:
        """Write until at least half of the rows are done.

        Raises:
            RuntimeError: memory ran out, among other things; the rows are then as before.
        """
        import torch

        with torch.inference_mode():
            state = self._state or self._begin()
            found = self._loaded.model.generate(**state.arguments(), **self._options(state))
            texts = found.sequences[:, state.start :].tolist()
            written = [self._written(row, ids) for row, ids in zip(self.rows, texts, strict=True)]
            done = [answer.ended or len(ids) >= self._decoding.most for answer, ids in zip(written, texts, strict=True)]
            going = [place for place, is_done in enumerate(done) if not is_done]
            self._state = state.keep(found.sequences, going) if going else None
        self.rows = [self.rows[place] for place in going]
        return [answer for answer, is_done in zip(written, done, strict=True) if is_done]

    def _begin(self) -> _State:
        import torch

        from .memory import growing_cache

        loaded, decoding = self._loaded, self._decoding
        width = max(len(row.ids) for row in self.rows)
        ids = torch.full((len(self.rows), width), loaded.pad)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(self.rows):
            where = slice(width - len(row.ids), width) if self._is_causal else slice(len(row.ids))
            ids[place, where] = torch.tensor(row.ids)
            mask[place, where] = 1
        device = loaded.model.device
        numbers = None
        if decoding.temperature > 0:
            rows = draws([row.text for row in self.rows], decoding.seed, decoding.most)
            numbers = torch.tensor(rows, dtype=torch.double).to(device)
        cache = growing_cache(loaded.model) if self._is_causal and decoding.beams == 1 else None
        return _State(ids.to(device), mask.to(device), width if self._is_causal else 1, cache, numbers)

    def _options(self, state: _State) -> dict[str, Any]:
        decoding, loaded = self._decoding, self._loaded
        config = deepcopy(loaded.model.generation_config)
        used = state.ids.shape[1] - state.start if self._is_causal else 0
        config.update(
            max_new_tokens=decoding.most - used,
            max_length=None,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            num_beams=decoding.beams,
            eos_token_id=list(loaded.ends) or None,
            pad_token_id=loaded.pad,
            return_dict_in_generate=True,
        )
        options: dict[str, Any] = {"generation_config": config}
        if state.numbers is not None:
            options["logits_processor"] = [Sampler(state.numbers, state.start, decoding.temperature, decoding.top_p)]
        if state.cache is not None and loaded.model.device.type == "cpu":
            config.update(prefill_chunk_size=_READ_AT_ONCE)
        if state.cache is not None and len(self.rows) >= _FEW:
            options["stopping_criteria"] = [_HalfDone(loaded.ends)]
        return options

    def _written(self, row: Row, ids: list[int]) -> Written:
        end = next((place for place, token in enumerate(ids) if token in self._loaded.ends), None)
        return Written(row.index, ids if end is None else ids[: end + 1], end is not None)


@dataclass
class _State:
    """Tokens so far and what the model remembers of them.

    Args:
        ids: of shape (rows, tokens); a causal model's answers are appended to it.
        mask: of the same shape, 0 where there is padding.
        start: where answers begin in the sequences that the model returns.
        cache: keys and values, if rows can be taken out of them.
        numbers: draws of shape (rows, most new tokens).
    """

    ids: Any
    mask: Any
    start: int
    cache: Any
    numbers: Any

    def arguments(self) -> dict[str, Any]:
        """The model's inputs."""
        cache = {} if self.cache is None else {"past_key_values": self.cache}
        return {"input_ids": self.ids, "attention_mask": self.mask, **cache}

    def keep(self, sequences: Any, places: Sequence[int]) -> _State:
        """The state of some of the rows after what was written."""
        import torch

        kept = torch.tensor(places, device=sequences.device)
        ids = sequences[kept]
        new = ids.shape[1] - self.ids.shape[1]
        mask = torch.cat([self.mask[kept], self.mask.new_ones(len(places), new)], dim=1)
        self.cache.batch_select_indices(kept)
        return _State(ids, mask, self.start, self.cache, None if self.numbers is None else self.numbers[kept])


class _HalfDone:
    """Stops the batch when half of its rows have ended; a `StoppingCriteria` in all but name."""

    def __init__(self, ends: Sequence[int]) -> None:
        self._ends = ends
        self._done: Any = False

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        import torch

        last = input_ids[:, -1]
        self._done = self._done | torch.isin(last, torch.tensor(self._ends, device=last.device))
        return torch.full_like(self._done, bool(2 * self._done.sum() >= len(last)))
