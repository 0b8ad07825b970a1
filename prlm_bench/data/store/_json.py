"""Reads JSON exactly as `json.load` would, a list one element at a time, and says where a file goes wrong."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from ...errors import DataError

Positions = NDArray[np.intp]

_QUOTE, _BACKSLASH, _OPEN, _CLOSE = b'"\\{}'
_BLANK = re.compile(rb"[ \t\r\n]*")
_COMMA = re.compile(rb"[ \t\r\n]*,[ \t\r\n]*")
_UNFINISHED = re.compile(r"\s*|\.|[eE][+-]?")
_LITERALS = ("true", "false", "null", "NaN", "Infinity", "-Infinity")
_DECODER = json.JSONDecoder()
_SIGNATURES = (
    (codecs.BOM_UTF32_LE, "UTF-32, not UTF-8"),
    (codecs.BOM_UTF32_BE, "UTF-32, not UTF-8"),
    (codecs.BOM_UTF16_LE, "UTF-16, not UTF-8"),
    (codecs.BOM_UTF16_BE, "UTF-16, not UTF-8"),
    (b"\x1f\x8b", "gzip-compressed; unpack it first"),
    (b"PK\x03\x04", "a zip archive; unpack it first"),
)


class StructureError(DataError):
    """A file that cannot be read as JSON at all, from some byte on.

    Args:
        file: what to call the file.
        problem: what is wrong, with its position.
        offset: the byte, counted from 0.
        hint: what to do about it.
    """

    def __init__(self, file: str, problem: str, offset: int, hint: str = "") -> None:
        super().__init__(f"{file}: {problem}", hint)
        self.problem = problem
        self.offset = offset


def check_signature(file: str, head: bytes) -> None:
    """Refuse what the first bytes of a file show to be no UTF-8 text.

    Raises:
        StructureError: another encoding, or a compressed file.
    """
    for signature, what in _SIGNATURES:
        if head.startswith(signature):
            raise StructureError(file, f"the file is {what} (byte 0)", 0)
    if b"\0" in head[:4]:
        raise StructureError(file, "the file is UTF-16 or UTF-32, or no text; UTF-8 is needed (byte 0)", 0)


def encoding_error(file: str, base: int, error: UnicodeDecodeError) -> StructureError:
    """The error for bytes that are not UTF-8, `base` bytes into the file."""
    offset = base + error.start
    byte = error.object[error.start]
    return StructureError(
        file, f"not UTF-8: byte 0x{byte:02x} at byte {offset}", offset, "is it Latin-1 or Windows-1252? convert it"
    )


def parse(file: str, data: bytes | memoryview, base: int, after: Callable[[], str] = str) -> Any:
    """One JSON value, `base` bytes into the file; `after` says what came before it.

    Raises:
        StructureError: not UTF-8, or not valid JSON.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    # orjson refuses what the standard library accepts (lone surrogates, NaN), and does not say where.
    try:
        text = bytes(data).decode()
    except UnicodeDecodeError as error:
        raise encoding_error(file, base, error) from None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if _may_go_on(error, text):
            raise _cut_off(file, base + len(data), after()) from None
        raise _malformed(file, text, base, error, after()) from None
    except (ValueError, RecursionError) as error:
        raise StructureError(file, f"not readable as JSON at byte {base}{after()}: {error}", base) from None


def _malformed(file: str, text: str, base: int, error: json.JSONDecodeError, after: str) -> StructureError:
    offset = base + len(text[: error.pos].encode(errors="surrogatepass"))
    return StructureError(file, f"not valid JSON at byte {offset}{after}: {error.msg}", offset)


class ListReader:
    """Iterates over the elements of a JSON list without holding more than a piece of the file.

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

    def __iter__(self) -> Iterator[Any]:
        self._begin()
        while self._next_begins():
            if self._data[self._at] == ord("{"):
                yield from self._objects()
            else:
                yield self._given(self._other())
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

    def _begin(self) -> None:
        while len(self._data) < 4 and not self._ended:
            self._fill()
        check_signature(self._file, self._data)
        if self._data.startswith(codecs.BOM_UTF8):
            self._at = len(codecs.BOM_UTF8)
        first = self._skip_blank()
        if not first:
            raise self._wrong("the file is empty")
        if first != b"[":
            raise self._wrong(f"not a JSON list: it begins with {first.decode('latin-1')!r}")
        self._at += 1

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
            raise _cut_off(self._file, self._base + len(self._data), self._after())
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
                if not _may_go_on(error, text):
                    raise _malformed(self._file, text, self._base + self._at, error, self._after()) from None
                self._grow()
                continue
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
                if not _may_go_on(error, text):
                    raise _malformed(self._file, text, self._base + self._at, error, self._after()) from None
            except RecursionError as error:
                raise self._wrong(str(error)) from None
        if self._ended:
            raise _cut_off(self._file, self._base + len(self._data), self._after())
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


def _cut_off(file: str, offset: int, after: str) -> StructureError:
    return StructureError(file, f"the file is cut off at byte {offset}{after}", offset, "download or copy it again")


def _may_go_on(error: json.JSONDecodeError, text: str) -> bool:
    """Whether the error may be owed to the text ending too early."""
    rest = text[error.pos :]
    if error.msg.startswith("Unterminated string"):
        return True
    if error.msg.startswith("Invalid \\u"):
        return len(rest) < len(r"\uD800")
    if error.msg.startswith("Expecting value"):
        return any(literal.startswith(rest) for literal in _LITERALS)
    return _UNFINISHED.fullmatch(rest) is not None


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
