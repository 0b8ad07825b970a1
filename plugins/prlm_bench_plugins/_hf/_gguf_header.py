"""What a GGUF file says of itself, read without its weights, within a moment; one that cannot be read is one line.

The reader of the package gguf makes an object of each token, which takes seconds, and reports damage as an error of
numpy.
Format: github.com/ggml-org/ggml, docs/gguf.md.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from ._files import ModelError

_MAGIC, _VERSIONS = b"GGUF", (2, 3)
#: Formats of numbers, by the type of a value.
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
#: Longest arrays of numbers that are kept; longer ones, such as the types of all tokens, are left as their length.
_MOST = 1024
_AGAIN = "fetch or copy the file again"


@dataclass(frozen=True)
class GgufTensor:
    """Where a tensor is in its file.

    Args:
        shape: the fastest dimension first.
        kind: llama.cpp's number of the quantization.
        begin, end: its place in the file, in bytes.
    """

    shape: tuple[int, ...]
    kind: int
    begin: int
    end: int


@dataclass(frozen=True)
class GgufHeader:
    """The metadata of a GGUF file.

    Args:
        path: the file.
        values: metadata by key. Of arrays of strings, and of long ones, only the length is kept.
        tensors: by name.
    """

    path: Path
    values: Mapping[str, Any] = field(hash=False)
    tensors: Mapping[str, GgufTensor] = field(hash=False)

    @property
    def architecture(self) -> str:
        """The architecture by llama.cpp's name, such as llama or qwen2."""
        return str(self.values["general.architecture"])

    @property
    def window(self) -> int | None:
        """The positions that the model has, in tokens; None where the file does not say."""
        found = self.values.get(f"{self.architecture}.context_length")
        return found if isinstance(found, int) else None

    @property
    def template(self) -> str | None:
        """The chat template; None where there is none."""
        found = self.values.get("tokenizer.chat_template")
        return found if isinstance(found, str) and found else None

    @property
    def has_tokenizer(self) -> bool:
        """Whether the file holds a vocabulary."""
        kind = self.values.get("tokenizer.ggml.model")
        return kind not in (None, "none", "no_vocab") and bool(self.values.get("tokenizer.ggml.tokens"))

    @property
    def numbers(self) -> int:
        """How many weights there are in all."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors.values())


def is_gguf(path: Path) -> bool:
    """Whether a file is named as a GGUF file, or begins as one."""
    if path.suffix.lower() == ".gguf":
        return True
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def read_gguf(path: Path, keep: Collection[str] = ()) -> GgufHeader:
    """The header of a GGUF file, checked against the size of the file.

    Args:
        path: the file.
        keep: keys of arrays that are kept whole, such as the tokens.

    Raises:
        ModelError: it cannot be read, is none, is of an unknown version, is cut off, or is a part of a model.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
            _check_start(path, start)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                header = _Reader(data, path, keep).header()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from None
    except (struct.error, OverflowError, MemoryError, RecursionError):
        raise ModelError(f"{path} is cut off or damaged: its header goes beyond the end of the file", _AGAIN) from None
    size, end = path.stat().st_size, max((tensor.end for tensor in header.tensors.values()), default=0)
    if end > size:
        message = f"{path} is cut off: it has {size:,} bytes, and its weights end at {end:,}"
        raise ModelError(message, _AGAIN)
    _check_kind(header)
    return header


def _check_start(path: Path, start: bytes) -> None:
    if start[:4] != _MAGIC:
        raise ModelError(f"{path} is not a GGUF file: it does not begin with GGUF", _AGAIN)
    if len(start) < 8:
        raise ModelError(f"{path} is cut off: it ends after {len(start)} bytes", _AGAIN)
    (version,) = struct.unpack("<I", start[4:])
    if version in _VERSIONS:
        return
    if struct.unpack(">I", start[4:])[0] in _VERSIONS:
        raise ModelError(f"{path} is a GGUF file for big-endian machines", "take the little-endian file")
    known = " and ".join(map(str, _VERSIONS))
    message = f"{path} is of version {version} of GGUF, and versions {known} can be read"
    raise ModelError(message, "convert the model with a current llama.cpp")


def _check_kind(header: GgufHeader) -> None:
    path, values = header.path, header.values
    if not isinstance(values.get("general.architecture"), str):
        raise ModelError(f"{path} names no architecture (general.architecture)", "convert the model with llama.cpp")
    count = values.get("split.count")
    if isinstance(count, int) and count > 1:
        message = f"{path} is part {int(values.get('split.no', 0)) + 1} of {count} of a model"
        raise ModelError(message, "join them: llama-gguf-split --merge FIRST-PART OUT.gguf")
    if values.get("general.type") == "adapter":
        raise ModelError(
            f"{path} is an adapter, not a model", "an adapter is given in peft's format, as adapter=FOLDER"
        )
    if not header.tensors:
        raise ModelError(f"{path} has no weights", "some files hold a vocabulary only; take that of the model")


class _Reader:
    """Reads values one after the other; struct raises an error at the end of the data."""

    def __init__(self, data: mmap.mmap, path: Path, keep: Collection[str]) -> None:
        self._data, self._path, self._keep, self._place = data, path, keep, 8

    def header(self) -> GgufHeader:
        """All that comes before the weights."""
        tensors, pairs = self._numbers("QQ")
        values = {}
        for _ in range(pairs):
            key = self._string()
            values[key] = self._value(self._numbers("I")[0], whole=key in self._keep)
        infos = [self._tensor() for _ in range(tensors)]
        alignment = values.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise struct.error
        start = -(-self._place // alignment) * alignment
        found = {name: GgufTensor(shape, kind, start + at, start + at + size) for name, shape, kind, at, size in infos}
        return GgufHeader(self._path, values, found)

    def _numbers(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(f"<{form}", self._data, self._place)
        self._place += struct.calcsize(f"<{form}")
        return found

    def _skip(self, size: int) -> None:
        self._place += size
        if self._place > len(self._data):
            raise struct.error

    def _string(self) -> str:
        (size,) = self._numbers("Q")
        begin = self._place
        self._skip(size)
        return self._data[begin : begin + size].decode("utf-8", "replace")

    def _value(self, kind: int, whole: bool = False) -> Any:
        if kind in _NUMBERS:
            return self._numbers(_NUMBERS[kind])[0]
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            raise struct.error
        inner, count = self._numbers("IQ")
        if inner in _NUMBERS:
            if whole or count <= _MOST:
                return list(self._numbers(f"{count}{_NUMBERS[inner]}"))
            self._skip(count * struct.calcsize(f"<{_NUMBERS[inner]}"))
            return count
        if inner == _STRING and whole:
            return [self._string() for _ in range(count)]
        for _ in range(count):
            if inner == _STRING:
                self._skip(self._numbers("Q")[0])
            else:
                self._value(inner)
        return count

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int, int]:
        """Name, shape, kind, offset and size in bytes."""
        name = self._string()
        (dimensions,) = self._numbers("I")
        shape = self._numbers(f"{dimensions}Q")
        kind, offset = self._numbers("IQ")
        if kind not in _blocks():
            message = f"{self._path} has weights of the type {kind}, which the package gguf does not know"
            raise ModelError(message, "pip install --upgrade gguf, or take another quantization")
        block, size = _blocks()[kind]
        return name, tuple(shape), kind, offset, math.prod(shape) // block * size


@lru_cache(maxsize=1)
def _blocks() -> Mapping[int, tuple[int, int]]:
    """Numbers in a block and its size in bytes, by the number of the quantization."""
    from gguf.constants import GGML_QUANT_SIZES

    return {int(kind): sizes for kind, sizes in GGML_QUANT_SIZES.items()}
