"""Writes a new plugin project from the template that ships with the package."""

from __future__ import annotations

import re
from pathlib import Path

from ._files import write_whole
from .errors import PrlmBenchError

_TEMPLATE = Path(__file__).resolve().parent / "_template"


def write_plugin(name: str, parent: Path) -> Path:
    """Write the project `prlm-bench-NAME`; it installs and passes its tests as it stands.

    Args:
        name: letters, digits and dashes; also the name of the retriever in it.
        parent: an existing folder.

    Returns:
        The project's folder.

    Raises:
        PrlmBenchError: an unusable name, or a folder that is there already.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise PrlmBenchError(f"{name!r} cannot name a plugin", "small letters, digits and single dashes: longest-first")
    folder = parent / f"prlm-bench-{name}"
    if folder.exists():
        raise PrlmBenchError(f"{folder} is there already", "choose another name or --output")
    words = {
        "NAME": name,
        "MODULE": f"prlm_bench_{name.replace('-', '_')}",
        "CLASS": "".join(word.capitalize() for word in name.split("-")),
    }
    for template in sorted(_TEMPLATE.rglob("*.txt")):
        relative = _fill(str(template.relative_to(_TEMPLATE)).removesuffix(".txt"), words)
        write_whole(folder / relative, _fill(template.read_text(encoding="utf-8"), words).encode())
    return folder


def _fill(text: str, words: dict[str, str]) -> str:
    return re.sub(r"__(NAME|MODULE|CLASS)__", lambda match: words[match[1]], text)
