"""Checks of the installation: packages, plugins, folders, threads."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from .. import __version__
from .._util.cache_folder import cache_root
from .._util.files import expanded
from ..data import splits_in
from ..host import KINDS, PluginHost
from ..tasks import TaskRegistry
from ..threads import core_count, thread_count
from ._check import Check
from ._models import model_checks

_PACKAGES, _PLUGINS, _FOLDERS = "Optional packages", "Plugins", "Folders"
#: What the extras of the distribution bring.
_EXTRAS = {
    "constrain": "answers that a grammar forces into shape, by local models",
    "dense": "retrieval by embeddings",
    "docs": "this documentation as a site",
    "fast": "a compiled BM25",
    "hf": "tokenizers of models, to count prompt budgets by",
    "llama-cpp": "GGUF files by llama.cpp, in this process",
    "lm": "language models through transformers, on this machine",
    "lm-eval": "the engines and tasks of lm-evaluation-harness",
    "lucene": "BM25 as Lucene computes it",
    "prlm": "training",
    "prlm-metrics": "ROUGE of the protocol prlm",
    "report": "figures of studies",
    "serve": "transformers serve, a server of a local model",
    "smollm2": "GGUF files through transformers, and a pretrained model from the package index",
    "trackio": "run --log trackio",
    "wandb": "run --log wandb, also offline",
}


def diagnose(host: PluginHost) -> list[Check]:
    """Check everything that a run depends on, in the order of printing: by group."""
    checks = [
        Check("prlm-bench", True, __version__),
        Check("Python", True, f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        _threads(),
        *_required(),
        *model_checks(host),
        *_extras(),
        *(
            Check(f"plugin {p.origin.plugin}", True, f"{p.origin.dist} {p.origin.version}", group=_PLUGINS)
            for p in host.plugins
        ),
        *(Check(f"plugin {f.origin.plugin}", False, f.error, f.hint or f.where, group=_PLUGINS) for f in host.failures),
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


def _required() -> list[Check]:
    """The packages of the base install: one line if all is well."""
    found = {requirement: _version(requirement) for extra, requirement in _requirements() if not extra}
    wrong = [_wrong(requirement, has, "reinstall prlm-bench") for requirement, has in found.items()]
    problems = [check for check in wrong if check is not None]
    listed = ", ".join(f"{requirement.name} {has}" for requirement, has in found.items() if has is not None)
    return problems or [Check("packages", True, listed)]


def _extras() -> list[Check]:
    """A line for each extra, and one for each package of it that has another version than it should."""
    extras: dict[str, list[Requirement]] = {}
    for extra, requirement in _requirements():
        if extra:
            extras.setdefault(extra, []).append(requirement)
    checks = []
    for extra, requirements in sorted(extras.items()):
        found = {requirement: _version(requirement) for requirement in requirements}
        missing = [requirement.name for requirement, has in found.items() if has is None]
        name, gives, hint = f"extra {extra}", _EXTRAS.get(extra, ""), f"pip install 'prlm-bench[{extra}]'"
        if missing:
            checks.append(Check(name, None, f"not installed: {', '.join(missing)}", hint, gives, _PACKAGES))
            continue
        wrong = [check for each, has in found.items() if (check := _wrong(each, has, hint)) is not None]
        listed = ", ".join(f"{each.name} {has}" for each, has in found.items())
        found_all = f"{wrong[0].name} {wrong[0].found}, {wrong[0].hint}" if wrong else listed
        checks.append(Check(name, not wrong, found_all, hint if wrong else "", "" if not wrong else gives, _PACKAGES))
    return checks


def _requirements() -> list[tuple[str, Requirement]]:
    """What the distribution asks for, each with its extra; what only tests and development need is left out."""
    found = []
    for text in requires("prlm-bench") or []:
        requirement = Requirement(text)
        extra = str(requirement.marker).partition('extra == "')[2].rstrip('"') if requirement.marker else ""
        if extra not in ("test", "dev"):
            found.append((extra, requirement))
    return found


def _version(requirement: Requirement) -> str | None:
    try:
        return version(requirement.name)
    except PackageNotFoundError:
        return None


def _wrong(requirement: Requirement, found: str | None, hint: str) -> Check | None:
    """The problem with an installed package, if there is one."""
    if found is None:
        return Check(requirement.name, False, "not installed", hint)
    if not requirement.specifier.contains(found, prereleases=True):
        return Check(requirement.name, False, found, f"tested with {requirement.specifier}")
    return None


def _components(host: PluginHost) -> list[Check]:
    """Components whose optional package is missing."""
    return [
        Check(f"{kind} {component.name}", None, missing, group=_PLUGINS)
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
    return Check("cache folder", writable and free > 1, f"{folder}, {free:.0f} GB free", hint, group=_FOLDERS)


def _data_root(tasks: TaskRegistry) -> Check:
    named = os.environ.get("PRLM_BENCH_DATA")
    if not named:
        gives = "real data without --data in each command; mini_lamp_* tasks need none"
        return Check("data root", None, "PRLM_BENCH_DATA is not set", "use --data FOLDER", gives, _FOLDERS)
    root = expanded(named)
    if not root.is_dir():
        return Check("data root", False, named, "no such folder", group=_FOLDERS)
    folders = sorted({tasks.get(name).folder for name in tasks.names})
    held = [folder for folder in folders if splits_in(root / folder)] or (["one task"] if splits_in(root) else [])
    found = f"{named}: {', '.join(held) or 'no data of any known task'}"
    hint = "" if held else "run `prlm-bench data download`"
    return Check("data root", bool(held), found, hint, group=_FOLDERS)
