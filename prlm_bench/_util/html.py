"""JSON inside HTML pages."""

from __future__ import annotations

from typing import Any

import orjson


def safe_json(value: Any) -> bytes:
    """JSON that is safe in a script, also inside HTML: it cannot end the script or begin a comment."""
    json = orjson.dumps(value)
    for char in (b"<", b">", b"&"):
        json = json.replace(char, b"\\u%04x" % ord(char))
    for text, escape in (("\u2028", b"\\u2028"), ("\u2029", b"\\u2029")):
        json = json.replace(text.encode(), escape)
    return json
