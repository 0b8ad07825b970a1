"""Folders that appear whole or not at all, whoever is killed and however many write at once."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from ..._util.locks import lock, try_lock

_PREFIX = ".part-"


@contextlib.contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A new folder in `parent`, removed afterwards unless it has been published.

    The lock beside it is held meanwhile. Where the process dies, the folder is stale, and the next `clean` removes it.
    """
    parent.mkdir(parents=True, exist_ok=True)
    folder = parent / f"{_PREFIX}{uuid.uuid4().hex}"
    with lock(_lock_of(folder)):
        try:
            folder.mkdir()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def clean(parent: Path) -> None:
    """Remove the scratch folders in `parent` whose processes are gone."""
    for file in parent.glob(f"{_PREFIX}*.lock"):
        stale = try_lock(file, create=False)
        if stale is not None:
            with stale:
                shutil.rmtree(file.with_suffix(""), ignore_errors=True)
    for folder in parent.glob(f"{_PREFIX}*"):
        # A scratch folder has its lock file from before it is made until after it is gone.
        if folder.is_dir() and not _lock_of(folder).exists():
            shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, target: Path, is_whole: Callable[[Path], bool]) -> None:
    """Make `folder` appear as `target`, with everything in it on the disk first.

    Where another process was faster, its folder stays, unless it is not whole.
    """
    for file in folder.iterdir():
        _sync(file)
    _sync(folder)
    while True:
        try:
            folder.rename(target)
            break
        except OSError:
            if not target.is_dir():
                raise
            if is_whole(target):
                return
            _set_aside(target)
    _sync(target.parent)


def _set_aside(target: Path) -> None:
    """Remove a folder that is not whole, by way of a name under which nobody looks for it."""
    broken = target.with_name(f"{_PREFIX}{uuid.uuid4().hex}")
    with contextlib.suppress(FileNotFoundError):
        target.rename(broken)
    shutil.rmtree(broken, ignore_errors=True)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(folder.name + ".lock")


def _sync(path: Path) -> None:
    folder = path.is_dir()
    if folder and os.name == "nt":
        return  # Windows opens no folders.
    handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
