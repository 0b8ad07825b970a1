"""Creates a new plugin project from the shipped template."""

from __future__ import annotations

import re
from pathlib import Path

from .._util.files import write_whole
from ..errors import PrlmBenchError

_TEMPLATE = Path(__file__).resolve().parent / "_template"


def write_plugin(name: str, parent: Path) -> Path:
    """Create the project `prlm-bench-NAME`, which can be installed and passes its tests.

    Args:
        name: up to 30 lower-case letters, digits and dashes; also the name of its retriever.
        parent: the folder to create it in.

    Returns:
        The project's folder.

    Raises:
        PrlmBenchError: an invalid name, or the folder exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > 30:
        hint = "use up to 30 lower-case letters, digits and single dashes, such as longest-first"
        raise PrlmBenchError(f"invalid plugin name {name!r}", hint)
    folder = parent / f"prlm-bench-{name}"
    if folder.exists():
        raise PrlmBenchError(f"{folder} exists already", "choose another name or --output")
    words = {
        "NAME": name,
        "MODULE": f"prlm_bench_{name.replace('-', '_')}",
        # With a suffix, so that the class is never called None or Example.
        "CLASS": "".join(word.capitalize() for word in name.split("-")) + "Retriever",
    }
    for template in sorted(_TEMPLATE.rglob("*.txt")):
        relative = _fill(str(template.relative_to(_TEMPLATE)).removesuffix(".txt"), words)
        write_whole(folder / relative, _fill(template.read_text(encoding="utf-8"), words).encode())
    return folder


def _fill(text: str, words: dict[str, str]) -> str:
    return re.sub(r"__(NAME|MODULE|CLASS)__", lambda match: words[match[1]], text)
