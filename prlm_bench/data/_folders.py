"""Folders that appear whole or not at all, whoever is killed and however many write at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

_PREFIX = ".part-"


@contextlib.contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A new folder in `parent`, removed afterwards unless it has been published.

    A lock is held on a file beside it. The system lets go of the lock when the process dies, however it
    dies; the folder is then stale, and the next `clean` removes it.
    """
    parent.mkdir(parents=True, exist_ok=True)
    folder = parent / f"{_PREFIX}{uuid.uuid4().hex}"
    lock = _lock_of(folder)
    handle = lock_file(lock)
    while handle is None:
        handle = lock_file(lock)
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.unlink(missing_ok=True)
        os.close(handle)


def clean(parent: Path) -> None:
    """Remove the scratch folders in `parent` whose processes are gone."""
    for lock in parent.glob(f"{_PREFIX}*.lock"):
        handle = lock_file(lock, create=False)
        if handle is not None:
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)
            os.close(handle)
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


def lock_file(lock: Path, create: bool = True) -> int | None:
    """Open a file and lock it while its descriptor, the result, stays open.

    None where somebody else has it, or has just removed it.
    """
    try:
        handle = os.open(lock, os.O_RDWR | (os.O_CREAT if create else 0), 0o644)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = os.fstat(handle).st_ino == lock.stat().st_ino
    except (BlockingIOError, FileNotFoundError):
        mine = False
    except OSError:
        # A file system without locks: work without one, and never take anything for stale.
        mine = create
    if mine:
        return handle
    os.close(handle)
    return None


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
