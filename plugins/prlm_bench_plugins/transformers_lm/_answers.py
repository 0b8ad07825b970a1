"""From encoded prompts to answers, by one of the two engines; what goes wrong on the way is one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from prlm_bench.errors import PrlmBenchError

from .._hf import one_line
from ._decoding import Decoding
from ._encoding import EncodedPrompt
from ._engine import Output, Request, generate_all
from ._loading import LoadedModel
from ._static_check import device_lost
from ._static_engine import StaticEngine

if TYPE_CHECKING:
    from ._constraint import RowConstraint

Constrain = Callable[[EncodedPrompt], "RowConstraint"]


def answers(
    loaded: LoadedModel,
    windows: Iterator[Sequence[EncodedPrompt]],
    decoding: Decoding,
    budget: int,
    engine: StaticEngine | None,
    label: str,
    constrain: Constrain | None = None,
) -> Iterator[tuple[EncodedPrompt, Output]]:
    """Prompts and their answers, as they are finished; the prompts are numbered from 0.

    Args:
        loaded: the model.
        windows: prompts; drawn as there is room.
        decoding: how to write.
        budget: tokens of a batch of the ordinary engine at most.
        engine: the static engine; None for the ordinary one, which finishes a window before it draws the next.
        label: of the model, for messages.
        constrain: what an answer may be; the static engine knows no constraints.

    Raises:
        PrlmBenchError: memory ran out, transformers refuses a setting of the checkpoint, or a GPU is lost.
    """
    unanswered: dict[int, EncodedPrompt] = {}
    requests = _requests(loaded, windows, constrain, unanswered)
    try:
        if engine is not None:
            outputs = engine.answers(chain.from_iterable(requests))
        else:
            outputs = chain.from_iterable(generate_all(loaded, some, decoding, budget) for some in requests)
        for output in outputs:
            yield unanswered.pop(output.index), output
    except RuntimeError as error:
        raise device_lost(error) or error from None
    except (TypeError, ValueError) as error:
        hint = "its generation_config.json may set what does not go together"
        raise PrlmBenchError(f"{label} cannot write: {one_line(error)}", hint) from None


def _requests(
    loaded: LoadedModel,
    windows: Iterator[Sequence[EncodedPrompt]],
    constrain: Constrain | None,
    unanswered: dict[int, EncodedPrompt],
) -> Iterator[list[Request]]:
    start = 0
    for some in windows:
        unanswered |= enumerate(some, start)
        yield [
            # A model has to read something, so an empty prompt is a token of padding.
            Request(number, one.text, one.ids or [loaded.pad_id], constrain and constrain(one), one.seed)
            for number, one in enumerate(some, start)
        ]
        start += len(some)
