"""Reads the questions of a file as `json.load` would, one at a time, and says where a file goes wrong."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._util.json_text import (
    BOM,
    StructureError,
    check_signature,
    cut_off,
    encoding_error,
    malformed,
    may_go_on,
    parse,
    unreadable,
)

Positions = NDArray[np.intp]

_QUOTE, _BACKSLASH, _OPEN, _CLOSE = b'"\\{}'
_BLANK = re.compile(rb"[ \t\r\n]*")
_COMMA = re.compile(rb"[ \t\r\n]*,[ \t\r\n]*")
_DECODER = json.JSONDecoder()
#: The member of an object that holds the list: LaMP's script writes the test questions of LaMP_6 so.
_LIST = "golds"


class ListReader:
    """Iterates over the elements of a JSON list without holding more than a piece of the file.

    The list may be the member `golds` of an object; its other members are then in `members` after the last element.

    Args:
        file: what to call the file in messages.
        read: gives up to so many of the next bytes, none at the end.
        chunk: bytes to read at a time; an element longer than that is held whole.

    Raises:
        StructureError: while iterating; names the byte and the last element that was whole.
    """

    def __init__(self, file: str, read: Callable[[int], bytes], chunk: int = 1 << 21) -> None:
        self._file = file
        self._read = read
        self._chunk = chunk
        self._data = b""
        self._at = 0
        self._base = 0
        self._ended = False
        self._last: Any = None
        #: Elements given so far.
        self.count = 0
        #: The other members of the object that holds the list, as far as it has been read.
        self.members: dict[str, Any] = {}

    def __iter__(self) -> Iterator[Any]:
        in_object = self._begin()
        if in_object and not self._list_begins("{"):
            raise self._wrong(f'not a JSON list: it is an object without a list "{_LIST}"')
        while self._next_begins():
            if self._data[self._at] == ord("{"):
                yield from self._objects()
            else:
                yield self._given(self._other())
        if in_object and self._list_begins(","):
            raise self._wrong(f'the object has two lists "{_LIST}"')
        if self._skip_blank():
            raise self._wrong("text follows the end of the list")

    def _given(self, value: Any) -> Any:
        self.count += 1
        self._last = value
        return value

    def _fill(self) -> None:
        rest = self._data[self._at :]
        more = self._read(max(self._chunk, len(rest)))
        self._ended = not more
        self._base += self._at
        self._data, self._at = rest + more, 0

    def _skip_blank(self) -> bytes:
        """Go to the next byte that is not blank and give it; nothing at the end of the file."""
        while True:
            match = _BLANK.match(self._data, self._at)
            assert match is not None
            self._at = match.end()
            if self._at < len(self._data):
                return self._data[self._at : self._at + 1]
            if self._ended:
                return b""
            self._fill()

    def _begin(self) -> bool:
        """Go into the list, or into the object that holds it; True for an object."""
        while len(self._data) < 4 and not self._ended:
            self._fill()
        check_signature(self._file, self._data)
        if self._data.startswith(BOM):
            self._at = len(BOM)
        first = self._skip_blank()
        if not first:
            raise self._wrong("the file is empty")
        if first not in (b"[", b"{"):
            raise self._wrong(f"not a JSON list: it begins with {first.decode('latin-1')!r}")
        self._at += first == b"["
        return first == b"{"

    def _list_begins(self, before: str) -> bool:
        """Read members of the object, up to the list; False behind the object's end. `before` stands before each."""
        while True:
            byte = self._skip_blank()
            if byte == b"}" and before == ",":
                self._at += 1
                return False
            self._expect(before)
            if self._skip_blank() == b"}" and before == "{":
                self._at += 1
                return False
            self._expect('"', step=0)
            name = self._other()
            self._expect(":")
            if name == _LIST and self._skip_blank() == b"[":
                self._at += 1
                return True
            self._skip_blank()
            self.members[name] = self._other()
            before = ","

    def _expect(self, wanted: str, step: int = 1) -> None:
        byte = self._skip_blank()
        if not byte:
            raise cut_off(self._file, self._base + len(self._data), self._after())
        if byte != wanted.encode():
            raise self._wrong(f"not valid JSON: {wanted!r} is missing")
        self._at += step

    def _next_begins(self) -> bool:
        """Go to the first byte of the next element; False behind the end of the list."""
        byte = self._skip_blank()
        if byte == b"," and self.count:
            self._at += 1
            byte = self._skip_blank()
        elif byte == b"]":
            self._at += 1
            return False
        elif byte and self.count:
            raise self._wrong("not valid JSON: a comma or ']' is missing")
        if not byte:
            raise cut_off(self._file, self._base + len(self._data), self._after())
        return True

    def _objects(self) -> Iterator[Any]:
        starts, ends = objects(self._data, self._at)
        while not ends.size:
            self._grow()
            starts, ends = objects(self._data, self._at)
        data = memoryview(self._data)
        first = self._at
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            if start != first and not _COMMA.fullmatch(self._data, self._at, start):
                return
            value = parse(self._file, data[start : end + 1], self._base + start, self._after)
            self._at = end + 1
            yield self._given(value)

    def _other(self) -> Any:
        while True:
            text = self._text()
            try:
                value, end = _DECODER.raw_decode(text)
            except json.JSONDecodeError as error:
                if not may_go_on(error, text):
                    raise malformed(self._file, text, self._base + self._at, error, self._after()) from None
                self._grow()
                continue
            except (ValueError, RecursionError) as error:
                raise unreadable(self._file, self._base + self._at, error, self._after()) from None
            # Near the end of the buffer, what looks whole may be the beginning of a longer number: `1` of `1e-5`.
            if end + 2 < len(text) or self._ended:
                self._at += len(text[:end].encode(errors="surrogatepass"))
                return value
            self._fill()

    def _grow(self) -> None:
        """Read on, unless what is there can never become a whole element."""
        held = len(self._data) - self._at
        if self._ended or held >= 2 * self._chunk:
            text = self._text()
            try:
                _DECODER.raw_decode(text)
            except json.JSONDecodeError as error:
                if not may_go_on(error, text):
                    raise malformed(self._file, text, self._base + self._at, error, self._after()) from None
            except (ValueError, RecursionError) as error:
                raise unreadable(self._file, self._base + self._at, error, self._after()) from None
        if self._ended:
            raise cut_off(self._file, self._base + len(self._data), self._after())
        self._fill()

    def _text(self, limit: int | None = None) -> str:
        data = self._data[self._at :] if limit is None else self._data[self._at : self._at + limit]
        try:
            return codecs.getincrementaldecoder("utf-8")().decode(data)
        except UnicodeDecodeError as error:
            raise encoding_error(self._file, self._base + self._at, error) from None

    def _after(self) -> str:
        if not self.count:
            return ", before the first question was whole"
        last = self._last.get("id") if isinstance(self._last, dict) else None
        return f", after questions[{self.count - 1}] (id {last!r})"

    def _wrong(self, problem: str) -> StructureError:
        if self._at < len(self._data):
            self._text(16)
        offset = self._base + self._at
        return StructureError(self._file, f"{problem} (byte {offset}{self._after() if self.count else ''})", offset)


# Finding where the objects of a list begin and end, many bytes at a time. Only four bytes matter: quotes, backslashes
# and braces. All are ASCII, so UTF-8 text around them cannot be mistaken for them. Whether what lies between a pair of
# braces is valid JSON is for a parser to say.


def objects(data: bytes | memoryview, start: int = 0) -> tuple[Positions, Positions]:
    """Positions of the outermost objects that `data` holds whole.

    Args:
        data: n bytes of JSON.
        start: a position outside strings and objects.

    Returns:
        Positions of the opening and of the closing braces, both of shape (number of objects,), in `data`.
    """
    view = np.frombuffer(data, dtype=np.uint8)[start:]
    quotes = _string_bounds(view)
    braces = np.flatnonzero((view == _OPEN) | (view == _CLOSE))
    # Outside strings, an even number of string bounds lies to the left.
    braces = braces[np.searchsorted(quotes, braces) & 1 == 0]
    opening = view[braces] == _OPEN
    depth = np.cumsum(np.where(opening, 1, -1))
    if depth.size and depth.min() < 0:
        stray = int(np.argmax(depth < 0))
        braces, opening, depth = braces[:stray], opening[:stray], depth[:stray]
    ends = braces[~opening & (depth == 0)]
    starts = braces[opening & (depth == 1)][: ends.size]
    return starts + start, ends + start


def _string_bounds(view: NDArray[np.uint8]) -> Positions:
    quotes = np.flatnonzero(view == _QUOTE)
    slashes = np.flatnonzero(view == _BACKSLASH)
    if not slashes.size:
        return quotes
    after_slash = np.flatnonzero((quotes > 0) & (view[quotes - 1] == _BACKSLASH))
    if not after_slash.size:
        return quotes
    # A quote is escaped where the run of backslashes before it has odd length.
    run_starts = slashes[np.diff(slashes, prepend=-2) != 1]
    run_start = run_starts[np.searchsorted(run_starts, quotes[after_slash]) - 1]
    bounds = np.ones(quotes.size, dtype=bool)
    bounds[after_slash[(quotes[after_slash] - run_start) % 2 == 1]] = False
    return quotes[bounds]
