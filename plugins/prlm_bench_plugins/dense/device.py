"""Where an encoder runs, and the packages that it needs there."""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from prlm_bench.errors import MissingDependencyError

from .errors import ModelError

#: The packages whose releases may change a vector's last bits, or its tokens.
PACKAGES = ("torch", "transformers", "tokenizers")
_DEVICE = re.compile(r"(auto|cpu|mps|(cuda|xpu)(:\d+)?)")


def versions(feature: str) -> dict[str, str]:
    """The installed releases of `PACKAGES`, without importing them.

    Raises:
        MissingDependencyError: one is not installed.
    """
    found = {}
    for package in PACKAGES:
        try:
            if find_spec(package) is None:
                raise PackageNotFoundError(package)
            found[package] = version(package)
        except (PackageNotFoundError, ValueError):
            raise MissingDependencyError(feature, package, "dense") from None
    return found


def import_torch(feature: str) -> Any:
    """torch, told before its first import that idle threads sleep.

    Raises:
        MissingDependencyError: it is not installed.
    """
    if "torch" not in sys.modules:
        # Spinning threads make a machine that others use up to ten times slower. Only read at import.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import torch
    except ImportError:
        raise MissingDependencyError(feature, "torch", "dense") from None
    return torch


def resolve_device(device: str, feature: str) -> str:
    """`auto` as `cuda` where there is one, else `cpu`; any other device as it is.

    Raises:
        ValueError: no such kind of device.
        ModelError: this machine has no such device.
        MissingDependencyError: torch is not installed.
    """
    if not _DEVICE.fullmatch(device):
        raise ValueError(f"device {device!r} is none of auto, cpu, cuda, cuda:N, mps, xpu")
    # A build for the processor alone says so in its version; then torch need not be imported to know.
    if device == "cpu" or (device == "auto" and versions(feature)["torch"].endswith("+cpu")):
        return "cpu"
    torch = import_torch(feature)
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(f"no device {device!r} here: {reason}", "device=cpu always works") from None
    return device
