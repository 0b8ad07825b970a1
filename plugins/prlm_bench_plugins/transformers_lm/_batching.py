"""Finds out how a model's prompts may be batched, by trying: some architectures write other things in a batch.

A padded batch, prompts that are read in pieces and a cache that is handed on make generation fast, and some models do
not bear them: recurrent layers read the padding, positions shift, states are lost. So when a checkpoint is first loaded
a few short and long prompts go through the engine in each way, and through plain `generate()` one at a time; the
fastest way that gives the same logits is taken and remembered. It is a property of the checkpoint, not of the
prompts, so that it cannot change between two runs of the same identity.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from prlm_bench.errors import DataError
from prlm_bench.files import load_json, write_whole

from .._hf import ModelError, is_out_of_memory, one_line

if TYPE_CHECKING:
    from ._loading import LoadedModel

Together = Literal["padded", "same-length", "single"]
Cache = Literal["shared", "chunked", "grown", "plain"]
T = TypeVar("T")
_log = logging.getLogger(__name__)
#: Tokens of the prompts that are tried: shorter and longer than a piece that is read at a time, two of one length.
_LENGTHS = (3, 70, 9, 3)
#: New tokens of each; after the first half the batch is handed on as one that some rows have left.
NEW_TOKENS = 4
#: Changes when the check does.
_VERSION = 2


@dataclass(frozen=True)
class Batching:
    """How prompts go through a model.

    Args:
        together: prompts of different lengths, of one length, or one at a time.
        cache: `chunked`: a cache that rows can leave, and prompts that a CPU reads in pieces; `shared`: so, and what
            prompts begin with is read once; `grown`: such a cache alone; `plain`: that of `generate()`.
    """

    together: Together = "padded"
    cache: Cache = "shared"

    @property
    def in_pieces(self) -> bool:
        """Whether a CPU may read a prompt in pieces."""
        return self.cache in ("shared", "chunked")


FASTEST = Batching()


def unmixed(way: Batching) -> Batching:
    """The way for prompts whose positions depend on the longest text that is read at a time (see `position_reach`)."""
    together: Together = "same-length" if way.together == "padded" else way.together
    return Batching(together, "grown" if way.in_pieces else way.cache)


def position_reach(config: Any) -> int | None:
    """The length from which on a model reads all positions otherwise, also those of shorter texts beside; or None.

    So do rotary embeddings that are scaled by the length (dynamic NTK), or have other factors beyond one (LongRoPE).
    """
    text = config.get_text_config()
    rope = getattr(text, "rope_parameters", None) or {}
    found = [rope] if "rope_type" in rope else [one for one in rope.values() if isinstance(one, dict)]
    if not any(one.get("rope_type") in ("dynamic", "longrope") for one in found):
        return None
    sizes = [one.get("original_max_position_embeddings") for one in found]
    names = ("original_max_position_embeddings", "max_position_embeddings")
    return next((size for size in [*sizes, *(getattr(text, name, None) for name in names)] if size), None)


def choose_batching(loaded: LoadedModel, label: str, identity: str, folder: Path, tokens: Sequence[int]) -> Batching:
    """The fastest way that writes what `generate()` writes, remembered by the model's identity.

    Args:
        loaded: the model.
        label: its name, for messages.
        identity: of everything that decides what it writes: files, settings, device and libraries.
        folder: where the result is remembered.
        tokens: ordinary tokens of the model.

    Raises:
        ModelError: `generate()` itself fails.
    """
    found = remembered(
        folder,
        f"{_VERSION}\n{identity}",
        _read,
        lambda: _try(loaded, label, tokens),
        lambda found: {**asdict(found), "model": label},
    )
    say = _log.info if found.together == "padded" else _log.warning
    say("%s: batches are %s, the cache is %s: the fastest way that writes the same as generate()", label,
        found.together, found.cache)  # fmt: skip
    return found


def remembered(
    folder: Path,
    identity: str,
    read: Callable[[Any], T | None],
    make: Callable[[], T],
    write: Callable[[T], dict[str, Any]],
) -> T:
    """What a check found out about a model, from a file of the cache folder where it was made before.

    Args:
        folder: the cache folder.
        identity: of the check and the model.
        read: from the file's content; None, or an error of a lookup, where it is damaged.
        make: makes the check.
        write: the file's content, as a JSON object.
    """
    path = folder / "batching" / f"{hashlib.sha256(identity.encode()).hexdigest()}.json"
    with suppress(DataError, ValueError, KeyError, TypeError):
        known = read(load_json(path, dict[str, Any]))
        if known is not None:
            return known
    found = make()
    with suppress(OSError):  # a cache folder that cannot be written costs the check each time
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(write(found)).encode())
    return found


def _read(content: Any) -> Batching | None:
    found = Batching(content["together"], content["cache"])
    return found if found.together in get_args(Together) and found.cache in get_args(Cache) else None


def trial_prompts(loaded: LoadedModel, tokens: Sequence[int]) -> list[list[int]]:
    """Prompts of a few lengths, none over the window."""
    room = min(size or 1024 for size in (loaded.window, loaded.reach)) - NEW_TOKENS
    return [
        # They begin with the same two tokens.
        [tokens[(31 * place + 7 * (row if place > 1 else 0) + 1) % len(tokens)] for place in range(size)]
        for row, size in enumerate(max(1, min(length, room)) for length in _LENGTHS)
    ]


def alone(loaded: LoadedModel, label: str, prompts: Sequence[list[int]]) -> list[tuple[list[int], Any]]:
    """Tokens and logits that plain `generate()` gives for each prompt by itself.

    Raises:
        ModelError: it fails.
    """
    try:
        return [row for prompt in prompts for row in _logits(loaded, [prompt], Batching("single", "plain"))]
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(f"{label} cannot write: generate() fails with {one_line(error)}") from None


def _try(loaded: LoadedModel, label: str, tokens: Sequence[int]) -> Batching:
    prompts = trial_prompts(loaded, tokens)
    by_itself = alone(loaded, label, prompts)
    singly = (Batching("single", cache) for cache in ("chunked", "grown"))
    longest = max(range(len(prompts)), key=lambda row: len(prompts[row]))
    some = [longest, 0]
    single = next(
        (way for way in singly if all(_same(loaded, [prompts[row]], [by_itself[row]], way) for row in some)),
        Batching("single", "plain"),
    )
    together = replace(single, together="padded")
    if _same(loaded, prompts, by_itself, together):
        # Read apart, prompts have padding behind what they begin with. On a GPU they never are.
        shared = replace(together, cache="shared")
        tried = single.cache == "chunked" and loaded.model.device.type == "cpu"
        return shared if tried and _same(loaded, prompts, by_itself, shared) else together
    twins = [row for row, prompt in enumerate(prompts) if len(prompt) == len(prompts[0])]
    equal = replace(single, together="same-length")
    return equal if _same(loaded, [prompts[row] for row in twins], [by_itself[row] for row in twins], equal) else single


def _same(loaded: LoadedModel, prompts: Sequence[list[int]], wanted: Sequence[Any], way: Batching) -> bool:
    try:
        found = _logits(loaded, prompts, way)
    except Exception as error:  # what a model does not bear may raise anything
        if is_out_of_memory(error):
            raise
        return False
    return same_logits(loaded, found, wanted)


def same_logits(
    loaded: LoadedModel, found: Sequence[tuple[list[int], Any]], wanted: Sequence[tuple[list[int], Any]]
) -> bool:
    """Whether tokens and logits are the same up to rounding."""
    # Half precision rounds to 3 digits, and by the shape of the batch.
    tolerance = 1e-3 if loaded.model.dtype.itemsize > 2 else 0.1
    return all(_close(one, other, tolerance) for one, other in zip(found, wanted, strict=True))


def _logits(loaded: LoadedModel, prompts: Sequence[list[int]], way: Batching) -> list[tuple[list[int], Any]]:
    from ._engine import trace

    return trace(loaded, prompts, way, NEW_TOKENS)


def _close(found: tuple[list[int], Any], wanted: tuple[list[int], Any], tolerance: float) -> bool:
    """Whether two answers come from the same logits; behind a near tie that fell otherwise they may differ."""
    for token, mine, other, theirs in zip(*found, *wanted, strict=True):
        finite = theirs.isfinite()
        if not finite.equal(mine.isfinite()):
            return False
        spread = (theirs[finite].max() - theirs[finite].mean()).item()
        if (mine[finite] - theirs[finite]).abs().max().item() > tolerance * max(spread, 1e-6):
            return False
        if token != other:
            return True
    return True
