"""Pictures of studies, found beside the results."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .._util.json_text import read_json
from ..errors import DataError

#: The folder of the pictures in a site, and that of studies in a results folder.
PICTURES, STUDIES = "pictures", "studies"


@dataclass(frozen=True)
class Picture:
    """A picture, and what it shows."""

    #: Where it was found.
    path: Path
    title: str

    @property
    def file(self) -> str:
        """Its name in a site."""
        return self.path.name

    @property
    def content(self) -> bytes:
        """The file."""
        return self.path.read_bytes()


def find_pictures(results: Path) -> list[Picture]:
    """The pictures of the studies of a results folder, each with the title that its study gave it.

    Args:
        results: the folder; `studies/NAME.png` is shown if `studies/NAME.json` has its title.
    """
    found = []
    for path in sorted((results / STUDIES).glob("*.png")):
        title = _title(path.with_suffix(".json"))
        if title and re.fullmatch(r"[\w.-]+", path.name) and path.is_file() and not path.is_symlink():
            found.append(Picture(path, title))
    return found


def _title(path: Path) -> str:
    """The title in the table of a study; empty if this is none."""
    try:
        content = read_json(path)
    except (OSError, DataError):
        return ""
    title = content.get("title") if isinstance(content, dict) else None
    return title if isinstance(title, str) else ""
