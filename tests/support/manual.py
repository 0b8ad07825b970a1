"""Reads the manual: its fenced blocks, its sections, its links, and the commands that it names."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .paths import REPOSITORY

DOCS = sorted((REPOSITORY / "docs").glob("**/*.md"))
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# file: (\S+)\n")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    language: str
    text: str
    #: Where the block begins, as `file:line`.
    where: str

    @property
    def file(self) -> str | None:
        """The name in a first line `# file: NAME`."""
        match = _FILE.match(self.text)
        return match[1] if match else None

    def commands(self) -> Iterator[tuple[str, list[str]]]:
        """The lines that begin with `$ `, each with the lines of output that follow it."""
        commands: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                commands.append((line[2:], []))
            elif commands and line.strip() and line.strip() != "...":
                commands[-1][1].append(line)
        yield from commands


def blocks(path: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = path.read_text(encoding="utf-8")
    return [
        Block(match[1], match[2], f"{path.name}:{text.count(chr(10), 0, match.start()) + 1}")
        for match in _FENCE.finditer(text)
    ]


def cells(path: Path) -> list[tuple[str, str]]:
    """The cells of a notebook: their kind, and their text."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return [(cell["cell_type"], "".join(cell["source"])) for cell in content["cells"]]


def section(path: Path, title: str) -> str:
    """The text under a heading, up to the next one."""
    found: list[str] | None = None
    fenced = False
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        fenced ^= line.startswith("```")
        heading = line.startswith("#") and not fenced
        if heading and found is not None:
            break
        if heading and line.strip("# \n") == title:
            found = []
        elif found is not None:
            found.append(line)
    assert found is not None, f"{path.name} has no section {title!r}"
    return "".join(found)


def commands_named(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Every `prlm-bench ...` of a page, in blocks and in running text, as words; placeholders are kept."""
    text = path.read_text(encoding="utf-8")
    for block in blocks(path):
        if block.language in ("console", "sh", ""):
            for line in block.text.replace("\\\n", " ").splitlines():
                if re.match(r"(\$ )?(\w+=\S+ )*prlm-bench ", line):
                    yield block.where, shlex.split(line.removeprefix("$ ").partition(" #")[0])
    without = _FENCE.sub("", text)
    for code in re.findall(r"`(prlm-bench [^`]+)`", without.replace("\n", " ")):
        yield path.name, shlex.split(code)


@cache
def generator() -> Any:
    """The module that generates pages when the site is built."""
    sys.path.insert(0, str(REPOSITORY / "docs"))
    try:
        import _generate
    finally:
        sys.path.pop(0)
    return _generate


@cache
def generated() -> dict[Path, str]:
    """The generated pages of the site by their place in `docs/`."""
    return {REPOSITORY / "docs" / name: text for name, text in generator().pages().items()}


def anchors(path: Path) -> set[str]:
    """The fragments that headings of a page can be reached by."""
    text = generated()[path] if path in generated() else path.read_text(encoding="utf-8")
    titles = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title.replace("\\", "").lower()).strip() for title in titles)
    return {re.sub(r"[ -]+", "-", title) for title in plain}


def links(path: Path) -> list[str]:
    """The targets of links that stay inside the repository."""
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    return [target for target in targets if not re.match(r"[a-z]+:", target)]
