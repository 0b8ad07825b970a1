"""Writes JSON lists and objects, an element a line; the file is whole or not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .._util.files import replacing


@contextmanager
def listing(path: Path, head: str, tail: str) -> Iterator[Callable[[str], None]]:
    """Gives a function that adds an element, on a line of its own, between `head` and `tail`.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(path) as file:
        gap = "\n"

        def add(element: str) -> None:
            nonlocal gap
            file.write((gap + element).encode())
            gap = ",\n"

        file.write(head.encode())
        yield add
        file.write(f"\n{tail}\n".encode())
