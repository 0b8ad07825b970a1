"""Writes a new plugin project from the template that ships with the package."""

from __future__ import annotations

import re
from pathlib import Path

from .._util.files import write_whole
from ..errors import PrlmBenchError

_TEMPLATE = Path(__file__).resolve().parent / "_template"


def write_plugin(name: str, parent: Path) -> Path:
    """Write the project `prlm-bench-NAME`; it installs and passes its tests as it stands.

    Args:
        name: up to 30 small letters, digits and dashes; also the name of the retriever in it.
        parent: the folder to make it in.

    Returns:
        The project's folder.

    Raises:
        PrlmBenchError: an unusable name, or a folder that is there already.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > 30:
        hint = "up to 30 small letters, digits and single dashes: longest-first"
        raise PrlmBenchError(f"{name!r} cannot name a plugin", hint)
    folder = parent / f"prlm-bench-{name}"
    if folder.exists():
        raise PrlmBenchError(f"{folder} is there already", "choose another name or --output")
    words = {
        "NAME": name,
        "MODULE": f"prlm_bench_{name.replace('-', '_')}",
        # Ends in a word of its own: a class called None or Example would not do.
        "CLASS": "".join(word.capitalize() for word in name.split("-")) + "Retriever",
    }
    for template in sorted(_TEMPLATE.rglob("*.txt")):
        relative = _fill(str(template.relative_to(_TEMPLATE)).removesuffix(".txt"), words)
        write_whole(folder / relative, _fill(template.read_text(encoding="utf-8"), words).encode())
    return folder


def _fill(text: str, words: dict[str, str]) -> str:
    return re.sub(r"__(NAME|MODULE|CLASS)__", lambda match: words[match[1]], text)
