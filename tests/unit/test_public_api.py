"""Shipped plugins use what anybody may use: names that a package of the core lists as public."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import prlm_bench_plugins
import pytest

import prlm_bench

PLUGINS = Path(prlm_bench_plugins.__file__).parent
CORE = Path(prlm_bench.__file__).parent


def imports_of_the_core(file: Path) -> Iterator[tuple[int, str, str]]:
    """Line, module and name of each import of the core, inside functions too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if (
            isinstance(node, ast.ImportFrom)
            and node.level == 0
            and (node.module or "").partition(".")[0] == "prlm_bench"
        ):
            yield from ((node.lineno, str(node.module), alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, a.name, "") for a in node.names if a.name.partition(".")[0] == "prlm_bench")


def is_public(module: str, name: str) -> bool:
    if any(part.startswith("_") for part in module.split(".")):
        return False
    listed = getattr(importlib.import_module(module), "__all__", None)
    return listed is not None and name in listed


FILES = sorted(PLUGINS.rglob("*.py"))


def test_there_are_plugins_to_check() -> None:
    assert len(FILES) > 40
    assert sum(len(list(imports_of_the_core(file))) for file in FILES) > 100


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PLUGINS)))
def test_plugins_import_public_names_only(file: Path) -> None:
    wrong = [
        f"line {line}: from {module} import {name}"
        for line, module, name in imports_of_the_core(file)
        if not is_public(module, name)
    ]
    assert not wrong


@pytest.mark.parametrize("stub", sorted(CORE.rglob("__init__.pyi")), ids=lambda stub: stub.parent.name)
def test_every_name_of_a_stub_can_be_imported(stub: Path) -> None:
    module = importlib.import_module(".".join(("prlm_bench", *stub.parent.relative_to(CORE).parts)))
    tree = ast.parse(stub.read_text())
    names = {a.asname or a.name for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names}
    assert names == set(module.__all__)
    for name in names:
        assert getattr(module, name) is not None
