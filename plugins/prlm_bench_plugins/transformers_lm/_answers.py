"""From encoded prompts to answers, by one of the two engines; what goes wrong on the way is one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from prlm_bench.errors import PrlmBenchError

from .._hf import one_line
from ._decoding import Decoding
from ._engine import Output, Request, generate_all
from ._loading import LoadedModel
from ._static_check import device_lost
from ._static_engine import StaticEngine

if TYPE_CHECKING:
    from ._constraint import RowConstraint


class EncodedPrompt(NamedTuple):
    """A prompt as a model reads it."""

    text: str
    ids: list[int]
    #: Of its random numbers, in place of the decoding's.
    seed: str | None = None


def answers(
    loaded: LoadedModel,
    windows: Iterator[Sequence[EncodedPrompt]],
    decoding: Decoding,
    budget: int,
    engine: StaticEngine | None,
    label: str,
    constraint: Callable[[int], RowConstraint] | None = None,
) -> Iterator[Output]:
    """Answers to prompts, which are numbered from 0, as they are finished.

    Args:
        loaded: the model.
        windows: prompts; drawn as there is room.
        decoding: how to write.
        budget: tokens of a batch of the ordinary engine at most.
        engine: the static engine; None for the ordinary one, which finishes a window before it draws the next.
        label: of the model, for messages.
        constraint: of an answer, by the number of its prompt; the static engine knows none.

    Raises:
        PrlmBenchError: memory ran out, transformers refuses a setting of the checkpoint, or a GPU is lost.
    """
    requests = _requests(loaded, windows, constraint)
    try:
        if engine is not None:
            yield from engine.answers(chain.from_iterable(requests))
        else:
            for some in requests:
                yield from generate_all(loaded, some, decoding, budget)
    except RuntimeError as error:
        raise device_lost(error) or error from None
    except (TypeError, ValueError) as error:
        hint = "its generation_config.json may set what does not go together"
        raise PrlmBenchError(f"{label} cannot write: {one_line(error)}", hint) from None


def _requests(
    loaded: LoadedModel,
    windows: Iterator[Sequence[EncodedPrompt]],
    constraint: Callable[[int], RowConstraint] | None,
) -> Iterator[list[Request]]:
    start = 0
    for some in windows:
        yield [
            # A model has to read something, so an empty prompt is a token of padding.
            Request(number, one.text, one.ids or [loaded.pad_id], constraint and constraint(number), one.seed)
            for number, one in enumerate(some, start)
        ]
        start += len(some)
