"""What an artefact of this plugin depends on besides data and settings."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("prlm-bench", "torch", "transformers", "tokenizers", "trl", "accelerate", "peft")


@lru_cache(maxsize=1)
def code() -> str:
    """A hash of this plugin's source."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def package_versions() -> dict[str, str]:
    """Versions of the libraries that are there."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hash_files(folder: Path, pattern: str = "*") -> dict[str, str]:
    """SHA-256 of the files of a folder, by name."""
    found = {}
    for path in sorted(folder.glob(pattern)):
        if path.is_file():
            with path.open("rb") as file:
                found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
