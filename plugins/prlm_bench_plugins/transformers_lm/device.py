"""Which device a model runs on."""

from __future__ import annotations

import re

from prlm_bench.errors import PrlmBenchError


def choose_device(wanted: str | None) -> str:
    """A device that is there; a GPU by default, if torch finds one.

    Raises:
        ValueError: no device is called so.
        PrlmBenchError: this machine does not have it.
    """
    if wanted == "cpu":
        return wanted
    if wanted is not None and not re.fullmatch(r"(cuda|xpu)(:\d+)?|mps", wanted):
        raise ValueError(f"device={wanted!r} is none of cpu, cuda, cuda:1, xpu, mps")
    import torch

    if wanted is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = wanted.partition(":")
    backend = torch.mps if kind == "mps" else getattr(torch, kind)
    count = backend.device_count() if backend.is_available() else 0
    if int(number or 0) >= count:
        found = f"torch finds {count or 'no'} {kind} device{'' if count == 1 else 's'} here"
        raise PrlmBenchError(f"there is no device {wanted!r}: {found}", "device=cpu always works")
    return wanted
