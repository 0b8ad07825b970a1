"""Reads YAML that users write, as JSON with comments: one loader for every such file and value.

It takes what JSON can say, with the line of each value. Tags are refused; so are scalars of YAML 1.1 that JSON does
not have (dates, `yes`, `017`, `1:30`, `1_000`, `.inf`), which a writer may have meant as something else, and aliases
that would fill the memory. Numbers such as `1e-5`, which YAML 1.1 reads as text, are numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ..errors import DataError, PrlmBenchError
from .reading import read_text, shortened
from .text import well_formed

#: The path of keys to a value in a file.
Keys = tuple[str | int, ...]

#: Bytes of a file, levels of nesting, and values with those that aliases repeat.
MAX_BYTES, MAX_DEPTH, MAX_VALUES = 1 << 20, 50, 100_000
_PARSER: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_RESOLVER: Any = yaml.resolver.Resolver()
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_REAL = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_CONSTANTS = {"true": True, "false": False, "null": None, "~": None, "": None}
#: What PyYAML takes a plain scalar for, by the end of its tag, where JSON has no such value.
_FOREIGN = {
    "bool": "true or false in YAML; write true or false, or quote it",
    "int": "a number that YAML reads as octal, hexadecimal, binary or sexagesimal; write it in decimal, or quote it",
    "float": "a number that JSON does not have; write it in decimal, or quote it",
    "timestamp": "a date in YAML; quote it",
    "merge": "a merge of YAML; write the values out",
    "value": "a special value of YAML; quote it",
}


class Yaml(NamedTuple):
    """What a file or a text holds."""

    #: JSON values; an alias gives the same object as its anchor.
    content: Any
    #: The line of each value; one that an alias repeats has the line of its anchor.
    lines: dict[Keys, int]


def read_yaml(path: Path, error: type[PrlmBenchError] = DataError) -> Yaml:
    """The content of a YAML file of at most 1 MiB.

    Args:
        path: the file.
        error: the class of the error.

    Raises:
        PrlmBenchError: it cannot be read, is not YAML, or holds what JSON cannot say; names the file, and the line.
    """
    try:
        text = read_text(path, limit=MAX_BYTES)
    except DataError as wrong:
        raise error(wrong.message, wrong.hint) from None
    return _parsed(text, str(path), error, numbered=True)


def parse_yaml(text: str, name: str, error: type[PrlmBenchError] = DataError) -> Yaml:
    """The content of YAML text.

    Args:
        text: the YAML.
        name: what to call it in messages.
        error: the class of the error.

    Raises:
        PrlmBenchError: it is not YAML, or holds what JSON cannot say; names the line where there are several.
    """
    return _parsed(text, name, error, numbered="\n" in text)


def _parsed(text: str, name: str, error: type[PrlmBenchError], *, numbered: bool) -> Yaml:
    try:
        reader = _Reader(yaml.parse(text, Loader=_PARSER))
        return Yaml(reader.document(), reader.lines)
    except _Repeated as wrong:
        line, problem = wrong.line, f"{wrong}: given twice"
    except _Refused as wrong:
        line, problem = wrong.line, f"cannot be read: {wrong}"
    except yaml.MarkedYAMLError as wrong:
        # The end of the text is where the parser says a line more.
        line = min(wrong.problem_mark.line, text.count("\n")) + 1 if wrong.problem_mark else 0
        problem = f"cannot be read: {' '.join(filter(None, (wrong.context, wrong.problem)))}"
    except (yaml.YAMLError, ValueError) as wrong:
        line, problem = 0, f"cannot be read: {getattr(wrong, 'reason', None) or wrong}"
    where = f"{name}:{line}" if line and numbered else name
    raise error(f"{where}: {shortened(problem)}") from None


class _Refused(Exception):
    """Why YAML is not read, and the line."""

    def __init__(self, event: Any, message: str) -> None:
        super().__init__(message)
        self.line = event.start_mark.line + 1


class _Repeated(_Refused):
    """A field that is given twice, and the line of the second."""


class _Built(NamedTuple):
    """A finished value, the values in it with itself, and its levels of nesting."""

    value: Any
    size: int
    height: int


class _Reader:
    """Builds the value of the first document from the events of a parser, which does not recurse.

    Args:
        events: of PyYAML.
    """

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._anchors: dict[str, _Built] = {}
        self._size = 0
        self.lines: dict[Keys, int] = {}

    def document(self) -> Any:
        """The value; None of an empty text."""
        value = None
        for count, event in enumerate(event for event in self._events if isinstance(event, yaml.DocumentStartEvent)):
            if count:
                raise _Refused(event, "more than one document")
            value = self._value(next(self._events), (), 1).value
        return value

    def _value(self, event: Any, path: Keys, depth: int) -> _Built:
        if isinstance(event, yaml.AliasEvent):
            return self._counted(event, self._aliased(event, depth))
        if event.tag is not None:
            raise _Refused(event, f"the tag {shortened(event.tag, 60)} is not read; leave it out")
        if isinstance(event, yaml.ScalarEvent):
            built = self._counted(event, _Built(_scalar(event), 1, 0))
        else:
            if depth > MAX_DEPTH:
                raise _Refused(event, f"nested too deeply, over {MAX_DEPTH} levels")
            built = self._collection(event, path, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = built
        return built

    def _aliased(self, event: Any, depth: int) -> _Built:
        built = self._anchors.get(event.anchor)
        if built is None:
            raise _Refused(event, f"the alias *{shortened(event.anchor, 60)} stands for nothing that ends before it")
        if depth + built.height - 1 > MAX_DEPTH:
            raise _Refused(event, f"nested too deeply, over {MAX_DEPTH} levels")
        return built

    def _counted(self, event: Any, built: _Built) -> _Built:
        self._size += built.size
        if self._size > MAX_VALUES:
            raise _Refused(event, f"more than {MAX_VALUES} values, with those that aliases repeat")
        return built

    def _collection(self, event: Any, path: Keys, depth: int) -> _Built:
        before, height = self._size, 0
        self._counted(event, _Built(None, 1, 0))
        is_list = isinstance(event, yaml.SequenceStartEvent)
        value: Any = [] if is_list else {}
        for inner in self._events:
            if isinstance(inner, yaml.SequenceEndEvent | yaml.MappingEndEvent):
                break
            key = len(value) if is_list else self._key(inner, value, path)
            place = (*path, key)
            self.lines[place] = inner.start_mark.line + 1
            built = self._value(inner if is_list else next(self._events), place, depth + 1)
            height = max(height, built.height)
            if is_list:
                value.append(built.value)
            else:
                value[key] = built.value
        return _Built(value, self._size - before, height + 1)

    def _key(self, event: Any, known: dict[str, Any], path: Keys) -> str:
        """A key, which is text as in JSON, also where it looks like a number."""
        if not isinstance(event, yaml.ScalarEvent):
            raise _Refused(event, "a key is text, not a list, a mapping or an alias")
        if event.tag is not None:
            raise _Refused(event, f"the tag {shortened(event.tag, 60)} is not read; leave it out")
        if event.implicit[0] and event.value == "<<":
            raise _Refused(event, f"'<<' is {_FOREIGN['merge']}")
        key = _text(event)
        if key in known:
            raise _Repeated(event, shortened(".".join(map(str, (*path, key)))))
        self._counted(event, _Built(key, 1, 0))
        if event.anchor is not None:
            self._anchors[event.anchor] = _Built(key, 1, 0)
        return key


def _scalar(event: Any) -> Any:
    text = _text(event)
    if not event.implicit[0]:  # quoted, or a block
        return text
    if text.lower() in _CONSTANTS:
        return _CONSTANTS[text.lower()]
    if _WHOLE.fullmatch(text):
        number = int(text) if len(text) <= 20 else 2**64
        if not -(2**63) <= number < 2**63:
            raise _Refused(event, "a whole number of more than 64 bits")
        return number
    if _REAL.fullmatch(text):
        real = float(text)
        if not math.isfinite(real):
            raise _Refused(event, f"{shortened(text, 60)} is too large for a number")
        return real
    kind = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False)).rpartition(":")[2]
    if kind in _FOREIGN:
        raise _Refused(event, f"{shortened(text, 60)!r} is {_FOREIGN[kind]}")
    return text


def _text(event: Any) -> str:
    text = str(event.value)
    if "\0" in text or well_formed(text) != text:
        raise _Refused(event, "a zero byte, or half a surrogate pair, which no file can hold")
    return text
