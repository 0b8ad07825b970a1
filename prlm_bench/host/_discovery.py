"""Finds plugins in installed distributions, local files and modules."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import distributions
from pathlib import Path
from types import ModuleType
from typing import Any

from packaging.utils import canonicalize_name

from ..errors import PluginError, PrlmBenchError, UnknownNameError
from ._faults import Origin

GROUP = "prlm_bench"
#: Comma-separated plugin or distribution names; if set, no other installed plugin is loaded.
RESTRICT = "PRLM_BENCH_LOAD_PLUGINS"

#: The origin of a plugin, and a function that imports it.
Found = tuple[Origin, Callable[[], Any]]


def installed() -> Iterable[Found]:
    """The plugins of installed distributions that RESTRICT allows, sorted."""
    found: dict[tuple[str, str], Found] = {}
    for dist in distributions():
        text = dist.read_text("entry_points.txt") or ""
        if GROUP not in text:
            continue
        name = dist.metadata["Name"] or "unknown"
        try:
            points = [point for point in dist.entry_points if point.group == GROUP]
        except Exception as error:  # a broken entry_points.txt can raise anything
            origin = Origin(name, name, dist.version, "entry_points.txt")
            found.setdefault((name, ""), (origin, _raising(PluginError(f"invalid entry points: {error}"))))
            continue
        for point in points:
            found.setdefault((name, point.name), (Origin(point.name, name, dist.version, point.value), point.load))
    wanted = os.environ.get(RESTRICT)
    if wanted is None:
        return [found[key] for key in sorted(found)]
    return _restricted(found, [name.strip() for name in wanted.split(",") if name.strip()])


def _restricted(found: dict[tuple[str, str], Found], wanted: list[str]) -> Iterable[Found]:
    names = {key: {key[1], canonicalize_name(key[0])} for key in found}
    for key in sorted(found):
        if any(word in names[key] or canonicalize_name(word) in names[key] for word in wanted):
            yield found[key]
    known = set().union(*names.values()) - {""}
    for word in wanted:
        if word not in known and canonicalize_name(word) not in known:
            yield Origin(word, RESTRICT, "", RESTRICT), _raising(UnknownNameError("plugin", word, known))


def _raising(error: Exception) -> Callable[[], Any]:
    def load() -> Any:
        raise error

    return load


def local(name: str) -> Found:
    """A plugin that is not installed: `path/to/file.py` or `package.module`."""
    if name.endswith(".py"):
        return Origin(name, Path(name).stem, "", name), _file(name)
    return Origin(name, name, "", name), lambda: importlib.import_module(name)


def _file(name: str) -> Callable[[], ModuleType]:
    def load() -> ModuleType:
        path = Path(name)
        if not path.is_file():
            raise PrlmBenchError(f"no such plugin file: {name}")
        # Must not shadow another module, nor another local plugin with the same file name.
        module_name = f"prlm_bench_local_{path.stem}_{hashlib.sha256(bytes(path.resolve())).hexdigest()[:8]}"
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[module_name]
            raise
        return module

    return load
