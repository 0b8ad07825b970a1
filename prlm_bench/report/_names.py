"""Short names of methods, such as `bm25 · k4 · chat · smollm2`, and what they stand for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import PrlmBenchError
from ..host import parse_spec
from ._leaderboard import Row

#: Between the parts of a name, and of a method that is described in full.
DOT, TIMES = " · ", " × "
#: The seeds of a method, at the end of its description.
_SEEDS = re.compile(r"(?:, seeds [\d, ]+| × seed \d+)\Z")
_KINDS = ("retriever", "reasoner", "generator")
#: Options whose value says more than the component's name does.
_TELLING = ("model", "protocol")
#: What tables add to a retriever, such as ` [prlm texts]`.
_ADDED = re.compile(r"((?: \[[^\[\]]*\])*)\Z")


@dataclass(frozen=True)
class RowNames:
    """Short names of methods, in the order in which they were given."""

    names: list[str]
    #: What all rows share, such as `reasoner direct`; names leave it out.
    shared: list[str]
    #: The specs that names shorten, by their short form.
    key: dict[str, str]

    @property
    def lines(self) -> list[str]:
        """What the short forms stand for."""
        return [f"{name} = {spec}" for name, spec in self.key.items()]


def row_names(rows: Sequence[Row]) -> RowNames:
    """Names that tell the rows of a table apart."""
    parts = [{"retriever": row.retriever, "reasoner": row.reasoner, "generator": row.generator} for row in rows]
    found = _names(parts, [row.k for row in rows])
    given = {row.name: row.method for row in rows}
    names = [row.name or name for row, name in zip(rows, found.names, strict=True)]
    used = {part for name in names for part in name.split(DOT)}
    key = {short: spec for short, spec in found.key.items() if short in used}
    return RowNames(names, found.shared, {name: whole for name, whole in given.items() if name} | key)


def method_names(methods: Iterable[str]) -> RowNames:
    """Names of methods that are given in one line, as `describe_group` writes them, in the same order."""
    given = list(methods)
    split = [_SEEDS.sub("", method).split(TIMES) for method in given]
    if not all(len(parts) == 4 and re.fullmatch(r"k=\d+", parts[1]) for parts in split):
        return RowNames(given, [], {})
    parts = [dict(zip(_KINDS, (each[0], *each[2:]), strict=True)) for each in split]
    found = _names(parts, [int(each[1][2:]) for each in split], lift=False)
    ends = [_SEEDS.search(method) for method in given]
    names = [name + (end[0].replace(TIMES, ", ") if end else "") for name, end in zip(found.names, ends, strict=True)]
    return RowNames(names, [], found.key)


def _names(parts: Sequence[dict[str, str]], ks: Sequence[int], lift: bool = True) -> RowNames:
    specs = {kind: [each[kind] for each in parts] for kind in parts[0]}
    shown = {kind for kind, each in specs.items() if len({*each}) > 1}
    counts = {k for k in ks if k}
    if not lift or not (shown or len(counts) > 1):
        shown = {*specs}
    whole = shown == {*specs} and (not lift or len(parts) == 1)
    short = {kind: short_specs(specs[kind]) for kind in shown}
    names = []
    for each, k in zip(parts, ks, strict=True):
        words = [short[kind][each[kind]] if kind in shown else "" for kind in _KINDS]
        words.insert(1, f"k{k}" if k and (whole or len(counts) > 1) else "")
        names.append(DOT.join(filter(None, words)))
    shared = [f"{kind} {each[0]}" for kind, each in specs.items() if kind not in shown]
    some = " where items are shown" if 0 in ks else ""
    shared += [f"k {min(counts)}{some}" for _ in counts if len(counts) == 1 and not whole]
    key = {name: spec for kind in _KINDS if kind in shown for spec, name in short[kind].items() if name != spec}
    return RowNames(names, shared, key)


def short_specs(specs: Iterable[str]) -> dict[str, str]:
    """A short form of each spec, which no two of them share.

    A model or a prompt protocol stands for its component; other options are written only where they tell apart two
    specs of one component.
    """
    distinct = list(dict.fromkeys(specs))
    waiting = {spec: _forms(spec, distinct) for spec in distinct}
    found = {spec: forms.pop(0) for spec, forms in waiting.items()}
    while doubled := [s for s in distinct if waiting[s] and Counter(found.values())[found[s]] > 1]:
        for spec in [s for s in doubled if len(waiting[s]) > 1] or doubled:  # one with nothing to add keeps its name
            found[spec] = waiting[spec].pop(0)
    return found


def _forms(spec: str, others: Sequence[str]) -> list[str]:
    """Forms of a spec, from the shortest to the spec itself."""
    base, options, added = _parsed(spec)
    if not options:
        return [base + added, spec]
    rivals = [other for name, other, _ in map(_parsed, others) if name == base]
    telling = [_last(options[name]) for name in _TELLING if name in options]
    forms = [*telling[:1], base]
    differing = [name for name in options if any(other.get(name) != options[name] for other in rivals)]
    for count in range(1, len(differing) + 1):
        forms.append(f"{base}:" + ",".join(_option(name, options[name]) for name in differing[:count]))
    return [*(form + added for form in forms), spec]


def _parsed(spec: str) -> tuple[str, dict[str, str], str]:
    """Component, options, and what the table adds."""
    match = _ADDED.search(spec)
    added = match[1] if match else ""
    try:
        found = parse_spec(spec.removesuffix(added))
    except PrlmBenchError:  # of a stored file
        return spec.removesuffix(added), {}, added
    return found.name, {name: str(value) for name, value in found.options.items()}, added


def _last(value: str) -> str:
    """The last part of a path or of a model's name."""
    return value.rstrip("/").rpartition("/")[2].removesuffix(".gguf") or value


def _option(name: str, value: str) -> str:
    """A value, with its name where it does not say what it is."""
    last = _last(value)
    return (
        last if re.fullmatch(r"[A-Za-z][\w.-]+", last) and last.lower() not in ("true", "false") else f"{name}={last}"
    )
