"""The checks of `prlm-bench doctor`."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from . import __version__
from ._util.cache_folder import cache_root
from ._util.files import expanded
from .data import splits_in
from .host import KINDS, PluginHost
from .tasks import TaskRegistry
from .threads import core_count, thread_count

__all__ = ["Check", "diagnose"]


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one check."""

    name: str
    #: None for something optional that is missing.
    ok: bool | None
    found: str
    hint: str = ""


def diagnose(host: PluginHost) -> list[Check]:
    """Check everything that a run depends on."""
    checks = [
        Check("prlm-bench", True, __version__),
        Check("Python", True, f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        _threads(),
        *_packages(),
        *(Check(f"plugin {p.origin.plugin}", True, f"{p.origin.dist} {p.origin.version}") for p in host.plugins),
        *(Check(f"plugin {f.origin.plugin}", False, f.error, f.hint or f.where) for f in host.failures),
        *_components(host),
        _cache(),
        _data_root(host.tasks),
    ]
    return checks


def _threads() -> Check:
    """The threads of a model here; what libraries are told, which the user may have decided."""
    threads, cores = os.environ.get("OMP_NUM_THREADS", str(thread_count())), core_count()
    waiting = os.environ.get("OMP_WAIT_POLICY", "").lower() or "as OpenMP decides"
    found = f"{threads} on {cores} core{'' if cores == 1 else 's'}, waiting: {waiting}"
    many = threads.isdecimal() and int(threads) > cores
    return Check("threads", None if many else True, found, "more threads than cores slow each other" if many else "")


def _packages() -> list[Check]:
    checks = []
    for text in requires("prlm-bench") or []:
        requirement = Requirement(text)
        extra = str(requirement.marker).partition('extra == "')[2].rstrip('"') if requirement.marker else ""
        if extra in ("test", "dev"):
            continue
        label = requirement.name + (f" (extra {extra})" if extra else "")
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            hint = f"pip install 'prlm-bench[{extra}]'" if extra else "reinstall prlm-bench"
            checks.append(Check(label, None if extra else False, "not installed", hint))
            continue
        ok = requirement.specifier.contains(found, prereleases=True)
        checks.append(Check(label, ok, found, "" if ok else f"tested with {requirement.specifier}"))
    return checks


def _components(host: PluginHost) -> list[Check]:
    """Components whose optional package is missing."""
    return [
        Check(f"{kind} {component.name}", None, missing)
        for kind in KINDS
        for component in host.registry.all(kind)
        if (missing := component.missing()) is not None
    ]


def _cache() -> Check:
    folder = cache_root()
    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(nearest).free / 1e9
    writable = nearest.is_dir() and os.access(nearest, os.W_OK)
    hint = "" if writable and free > 1 else "set PRLM_BENCH_CACHE to a writable folder with free space"
    return Check("cache folder", writable and free > 1, f"{folder}, {free:.0f} GB free", hint)


def _data_root(tasks: TaskRegistry) -> Check:
    named = os.environ.get("PRLM_BENCH_DATA")
    if not named:
        return Check("data root", None, "PRLM_BENCH_DATA is not set", "use --data FOLDER; mini_lamp_* tasks need none")
    root = expanded(named)
    if not root.is_dir():
        return Check("data root", False, named, "no such folder")
    folders = sorted({tasks.get(name).folder for name in tasks.names})
    held = [folder for folder in folders if splits_in(root / folder)] or (["one task"] if splits_in(root) else [])
    found = f"{named}: {', '.join(held) or 'no data of any known task'}"
    return Check("data root", bool(held), found, "" if held else "run `prlm-bench data download`")
