"""Where a model runs, which libraries it needs there, and how they report that memory ran out."""

from __future__ import annotations

import gc
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from prlm_bench.errors import MissingDependencyError
from prlm_bench.threads import set_thread_defaults

from ._files import ModelError

_DEVICE = re.compile(r"auto|cpu|mps|(cuda|xpu)(:\d+)?")
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "failed to allocate")


def choose_device(wanted: str | None = None) -> str:
    """The device that a model runs on; for `auto` or None a GPU where torch finds one, else `cpu`.

    torch is imported only where the answer depends on it.

    Args:
        wanted: auto, cpu, mps, cuda, xpu, or one of several, such as cuda:1.

    Raises:
        ValueError: there is no such kind of device.
        ModelError: this machine has no such device.
    """
    wanted = wanted or "auto"
    if not _DEVICE.fullmatch(wanted):
        raise ValueError(f"device={wanted!r} is none of auto, cpu, cuda, cuda:1, xpu, mps")
    # A build of torch for CPUs alone says so in its version.
    if wanted == "cpu" or (wanted == "auto" and version("torch").endswith("+cpu")):
        return "cpu"
    torch = import_torch()
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = wanted.partition(":")
    backend = getattr(torch, kind)
    count = backend.device_count() if backend.is_available() else 0
    if int(number or 0) >= count:
        found = f"torch finds {count or 'no'} {kind} device{'' if count == 1 else 's'}"
        raise ModelError(f"there is no device {wanted!r} here: {found}", "device=cpu always works")
    return wanted


def import_torch() -> Any:
    """torch, with the threads that `set_thread_defaults` gives it if this is its first import."""
    set_thread_defaults()
    import torch

    return torch


def package_versions(packages: Sequence[str], feature: str, extra: str) -> dict[str, str]:
    """The installed versions of packages by name, without importing them.

    Args:
        packages: such as torch.
        feature: what needs them, for the message.
        extra: of prlm-bench, which brings them.

    Raises:
        MissingDependencyError: one is not installed.
    """
    found = {}
    for package in packages:
        try:
            if find_spec(package) is None:
                raise PackageNotFoundError(package)
            found[package] = version(package)
        except (PackageNotFoundError, ValueError):
            raise MissingDependencyError(feature, package, extra) from None
    return found


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any device."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(phrase in text for phrase in _OUT_OF_MEMORY)
    )


def free_memory() -> None:
    """Release the memory that Python and torch hold but do not use."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
