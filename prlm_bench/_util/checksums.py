"""A checksum as the last field of a JSON object, so that a changed byte is noticed when the text is read again."""

from __future__ import annotations

import re
import zlib

_FIELD = b',"crc32":"%08x"}'
#: Bytes at the end of a sealed text that are not its own.
LENGTH = len(_FIELD % 0)
_END = re.compile(rb',"crc32":"([0-9a-f]{8})"\}')


def seal(text: bytes, start: bytes = b"") -> bytes:
    """The JSON text of an object with a field `crc32` over all that precedes it.

    Args:
        start: what the checksum also covers, without being part of the text.
    """
    body = text[:-1]
    return body + _FIELD % zlib.crc32(body, zlib.crc32(start))


def unseal(sealed: bytes, start: bytes = b"") -> bytes | None:
    """The text that was sealed: the same bytes where they have no checksum, None where it is wrong."""
    end = _END.fullmatch(sealed[-LENGTH:])
    if end is None:
        return sealed
    body = sealed[:-LENGTH]
    return body + b"}" if zlib.crc32(body, zlib.crc32(start)) == int(end.group(1), 16) else None
