"""Locks between processes, each on a file of its own that is gone once the lock is released.

The system releases the locks of a process that dies, however it dies; the file that it leaves behind blocks nobody.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

#: Seconds between two attempts to take a lock that another process holds.
_POLL = 0.02


class Lock:
    """A lock that this process holds; made by `lock` and `try_lock`, released by `release` or at the end of `with`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def release(self) -> None:
        """Remove the lock file and let others take the lock."""
        if os.name != "nt":
            # Before the lock is open to others, so that nobody's new file is removed.
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        if os.name == "nt":
            # Windows removes no file that is open, here or in a process that has just taken the lock.
            with suppress(OSError):
                self._path.unlink()

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def try_lock(path: Path, create: bool = True) -> Lock | None:
    """Take the lock on the file `path`; None where another process holds it or has just removed the file.

    Args:
        path: the lock file, whose folder exists.
        create: make the file where it is missing; otherwise a missing file gives None.

    Raises:
        OSError: the file cannot be opened.
    """
    from filelock import lock_descriptor

    try:
        # A symbolic link is not followed: its target is not ours to make.
        flags = os.O_RDWR | (os.O_CREAT if create else 0) | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(path, flags, 0o644)
    except FileNotFoundError:
        if create:
            raise
        return None
    try:
        held = lock_descriptor(descriptor, blocking=False) and os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        held = False
    except OSError:
        # A file system without locks: work without one, and never take a leftover for stale.
        held = create
    if held:
        return Lock(path, descriptor)
    os.close(descriptor)
    return None


def lock(path: Path) -> Lock:
    """Take the lock on the file `path`, made where it is missing; wait while another process holds it."""
    while (held := try_lock(path)) is None:
        time.sleep(_POLL)
    return held
