"""A self-contained HTML form for the pairs of an export; it works offline and sends nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .. import __version__
from .._util.html import safe_json
from ._schema import Shown

_TEMPLATES = Path(__file__).resolve().parent / "templates"


def form_page(shown: Sequence[Shown]) -> str:
    """The HTML of the form.

    Its content security policy allows only the embedded script and style, by their hashes, and no connections.

    Args:
        shown: at least one pair.
    """
    script = (_TEMPLATES / "form.js").read_text(encoding="utf-8")
    style = (_TEMPLATES / "form.css").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    export = shown[0].pair.rpartition("-")[0]
    content = {"export": export, "pairs": [row.model_dump() for row in shown]}
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("form.html").render(
        policy=policy,
        style=style,
        script=script,
        content=safe_json(content).decode(),
        count=len(shown),
        version=__version__,
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
