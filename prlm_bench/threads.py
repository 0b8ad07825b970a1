"""Threads of numerical libraries: as many as a process has cores for, and none that spins while it waits.

OpenMP's threads spin while they wait, by default, so two processes on two cores take each other's time and run several
times slower. The libraries read their settings from the environment when they are loaded, so `set_thread_defaults`
comes first: the command line, every `PluginHost` and what loads torch call it. What the user has set stays as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import ceil
from pathlib import Path, PurePosixPath

from .errors import PrlmBenchError

__all__ = ["core_count", "set_thread_defaults", "shared_by", "thread_count"]

#: Threads of a process, set by the user.
_VARIABLE = "PRLM_BENCH_THREADS"
#: Of the processes that torchrun and `accelerate launch` start on one machine.
_LAUNCHED = "LOCAL_WORLD_SIZE"
#: The first is read by OpenMP, torch, MKL and OpenBLAS, the second by tokenizers.
_COUNTS = ("OMP_NUM_THREADS", "RAYON_NUM_THREADS")
#: How OpenMP's threads wait: GNU's runtime, which torch uses on Linux, reads the first, LLVM's and Intel's the second.
_WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
_GROUPS, _MOUNTED = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
#: What was set here, and is therefore not the user's; processes that are started later inherit it.
_ours: dict[str, str] = {}


def core_count() -> int:
    """The cores that this process may use: those that it is bound to, or fewer where a container limits its time."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([bound, *(ceil(limit) for limit in _time_limits())]))


def _time_limits() -> Iterator[float]:
    """Cores' worth of time that control groups allow, with version 1 or 2 of their files."""
    lines: list[str] = []
    with suppress(OSError):
        lines = _GROUPS.read_text().splitlines()
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounted = _MOUNTED / controllers if controllers else _MOUNTED
        path = PurePosixPath(group.lstrip("/"))
        for folder in (mounted / path, *(mounted / parent for parent in path.parents)):
            with suppress(OSError, ValueError):  # "max", or no such file
                if controllers:
                    names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                    quota, period = (float((folder / name).read_text()) for name in names)
                else:
                    quota, period = (float(word) for word in (folder / "cpu.max").read_text().split())
                if quota > 0 and period > 0:
                    yield quota / period


def thread_count(processes: int = 1) -> int:
    """The threads of one process where several work at once: `PRLM_BENCH_THREADS`, else its share of the cores.

    Raises:
        PrlmBenchError: the variable is no number of threads.
    """
    return _users_own() or max(1, core_count() // processes)


def _users_own() -> int | None:
    text = os.environ.get(_VARIABLE, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise PrlmBenchError(f"{_VARIABLE}={text}: not a number of threads", "give a number from 1, or unset it")
    return int(text)


def set_thread_defaults(processes: int | None = None) -> None:
    """Set the environment variables that decide on threads, before the libraries that read them are loaded.

    Variables that the user has set stay, but `PRLM_BENCH_THREADS` goes before `OMP_NUM_THREADS`, which torchrun sets.

    Args:
        processes: that work at once on this machine; by default what torchrun or `accelerate launch` started, else one.

    Raises:
        PrlmBenchError: `PRLM_BENCH_THREADS` is no number of threads.
    """
    if processes is None:
        launched = os.environ.get(_LAUNCHED, "")
        processes = max(1, int(launched)) if launched.isdecimal() else 1
    threads = thread_count(processes)
    wanted = dict.fromkeys(_COUNTS, str(threads)) | _WAITING
    if threads == 1:
        wanted["TOKENIZERS_PARALLELISM"] = "false"
    for name, value in wanted.items():
        is_ours = name not in os.environ or os.environ[name] == _ours.get(name)
        if is_ours or (name in _COUNTS and _users_own() is not None):
            os.environ[name] = _ours[name] = value


@contextmanager
def shared_by(processes: int) -> Iterator[None]:
    """A block in which processes are started that work at once: each inherits its share of the cores."""
    before = {name: os.environ.get(name) for name in (*_COUNTS, *_WAITING, "TOKENIZERS_PARALLELISM")}
    ours = dict(_ours)
    set_thread_defaults(processes)
    try:
        yield
    finally:
        _ours.clear()
        _ours.update(ours)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
