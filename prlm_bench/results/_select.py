"""Describes and selects stored results, and groups those that answered the same questions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .._util.text import printable
from ..errors import DataError, UnknownNameError
from ..identity import json_digest
from ._schema import Manifest
from ._seed_groups import SeedGroup, seed_groups, seeds_of
from ._store import Stored


def questions_key(manifest: Manifest) -> str:
    """A key shared by results on the same question file: task, split and data."""
    return json_digest([manifest.task, manifest.split, manifest.data.sha256])


def by_questions(stored: Iterable[Stored]) -> list[list[Stored]]:
    """Group results by task, split, valid questions and their number.

    Groups are sorted by task, split and data; within a group the order is that of `stored`.
    """
    groups: dict[tuple[str, str, str, int], list[Stored]] = {}
    for result in stored:
        manifest = result.manifest
        groups.setdefault((manifest.task, manifest.split, data_key(manifest), manifest.data.n), []).append(result)
    return [groups[key] for key in sorted(groups)]


def data_key(manifest: Manifest) -> str:
    """8 hex digits that identify the valid questions of a data file."""
    return json_digest([manifest.data.sha256, manifest.data.n_invalid])[:8]


def method_line(retriever: str, k: int, reasoner: str, generator: str) -> str:
    """A method in one line."""
    return f"{retriever} × k={k} × {reasoner} × {generator}"


def describe(stored: Stored) -> str:
    """A method in one line, with its seed if it is not 0."""
    method, seed = stored.manifest.method, stored.manifest.seed
    line = method_line(method.retriever.spec, method.k, method.reasoner.spec, method.generator.spec)
    return printable(f"{line} × seed {seed}" if seed else line)


def describe_group(group: SeedGroup) -> str:
    """A method in one line, with its seeds if there are several."""
    if len(group) == 1:
        return describe(group[0])
    name, _, _ = describe(group[0]).partition(" × seed ")
    return f"{name}, seeds {', '.join(map(str, seeds_of(group)))}"


def select_group(stored: Sequence[Stored], words: str) -> SeedGroup:
    """Select the only method that matches `words`, with all of its seeds unless one is given.

    Args:
        stored: the candidates.
        words: as for `select`.

    Raises:
        UnknownNameError: no result matches.
        DataError: several methods match; the hint lists them.
    """
    found = seed_groups(_named(stored, words))
    if len(found) > 1:
        several = "; ".join(f"{describe_group(each)} ({each[0].manifest.fingerprint[:8]})" for each in found[:6])
        raise DataError(f"{words!r} matches {len(found)} results", f"add a part or use a fingerprint: {several}")
    return found[0]


def select(stored: Sequence[Stored], words: str) -> Stored:
    """Select the only result that matches `words`.

    Args:
        stored: the candidates.
        words: a result folder, the beginning of a fingerprint, the name of a row, or parts of the method joined by `+`,
            such as `bm25+copy` or `bm25+k=4+tiny`; or as tables write them, such as `bm25 · k4 · tiny`.

    Raises:
        UnknownNameError: no result matches.
        DataError: several match; the hint lists them.
    """
    found = _named(stored, words)
    if len(found) > 1:
        several = "; ".join(f"{describe(result)} ({result.manifest.fingerprint[:8]})" for result in found[:6])
        raise DataError(f"{words!r} matches {len(found)} results", f"add a part or use a fingerprint: {several}")
    return found[0]


def _named(stored: Sequence[Stored], words: str) -> list[Stored]:
    found = [result for result in stored if matches(result, words)]
    if not found:
        names = sorted({describe(result) for result in stored})
        known = "known: " + "; ".join(names[:8]) if names else "there are no finished results"
        raise UnknownNameError("result", words, [], hint=known)
    return found


def matches(result: Stored, words: str) -> bool:
    """Whether words name a result; see `select`."""
    words = words.replace(" · ", "+")  # as tables write it
    return (
        str(result.folder) == words.rstrip("/")
        or (len(words) >= 6 and result.manifest.fingerprint.startswith(words))
        or all(part in _names(result) for part in words.split("+"))
    )


def _names(result: Stored) -> set[str]:
    method = result.manifest.method
    specs = [method.retriever.spec, method.reasoner.spec, method.generator.spec]
    short = {form for spec in specs for form in _short(spec)}
    return {*specs, *short, f"k={method.k}", f"k{method.k}", f"seed={result.manifest.seed}", result.manifest.name}


def _short(spec: str) -> set[str]:
    """What tables may write for a spec: for `direct:protocol=chat`, `chat`, `direct` and `direct:chat`."""
    name, _, options = spec.partition(":")
    values = [option.partition("=")[2].strip("\"'") or option for option in options.split(",") if option]
    last = [value.rstrip("/").rpartition("/")[2].removesuffix(".gguf") for value in values]
    return {name, *last, *(f"{name}:{text}" for text in (*last, *options.split(",")))}
