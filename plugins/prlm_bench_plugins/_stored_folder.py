"""A folder in the cache that is complete or absent, and built once however many processes need it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from prlm_bench.errors import DataError
from prlm_bench.files import load_json

_MANIFEST = "files.json"


def file_sha256(path: Path) -> str:
    """The hash of a file's content, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stored_folder(
    root: Path, name: str, make: Callable[[Path], None], hashed: Callable[[Path], str] = file_sha256
) -> Path:
    """The folder `name` in `root`; built if it is missing or its files are not as they were written.

    Args:
        root: the parent folder, created if missing.
        name: identifies the content.
        make: fills an empty folder with files. One process at a time calls it; the others wait.
        hashed: gives the SHA-256 of a file; one that remembers those of unchanged files makes large folders cheap.
    """
    from filelock import FileLock

    folder = root / name
    if is_whole(folder, hashed):
        return folder
    root.mkdir(parents=True, exist_ok=True)
    # The system releases the locks of a process that ends, however it ends.
    with FileLock(root / f"{name}.lock"):
        if not is_whole(folder, hashed):
            for left in (folder, *root.glob(f".{name}.*")):
                shutil.rmtree(left, ignore_errors=True)
            part = root / f".{name}.{os.getpid()}"
            part.mkdir()
            try:
                make(part)
                _seal(part)
                part.rename(folder)
            except OSError as error:
                error.filename = error.filename or str(folder)  # the system does not name a full disk's file
                raise
            finally:
                shutil.rmtree(part, ignore_errors=True)
    return folder


def is_whole(folder: Path, hashed: Callable[[Path], str] = file_sha256) -> bool:
    """True if every file of the folder has the hash that was recorded when it was built."""
    try:
        return load_json(folder / _MANIFEST, dict[str, str]) == _hashes(folder, hashed)
    except (OSError, DataError):
        return False


def folder_bytes(folder: Path) -> int:
    """Size of the files in a folder in bytes; 0 if there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _hashes(folder: Path, hashed: Callable[[Path], str] = file_sha256) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashed(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (_MANIFEST, "write.lock")
    }


def _seal(folder: Path) -> None:
    """Record the hashes and flush all files to disk."""
    (folder / _MANIFEST).write_text(json.dumps(_hashes(folder), indent=1))
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
