"""Digests that tell one computation from another: of JSON values, of files, and of the code that computes.

A code digest changes when what the code does may change, and at no other time: comments, docstrings and layout are
left out. It covers the code it is asked for and what that imports of its own project (see `code_digest`), so that an
edit anywhere in a plugin gives another identity.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import os
import pickle
import re
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from .errors import PrlmBenchError

__all__ = [
    "code_digest",
    "core_digest",
    "file_digest",
    "json_digest",
    "object_state",
    "package_versions",
]

#: The core modules that decide what is answered, scored and stored. A package stands for all of its modules. Outside
#: are the command line, reports, and whatever only moves data about.
RESULT_MODULES = (
    "prlm_bench._util.golds",
    "prlm_bench._util.text",
    "prlm_bench.data",
    "prlm_bench.metrics",
    "prlm_bench.prompting",
    "prlm_bench.records",
    "prlm_bench.results._summarize",
    "prlm_bench.running._cached_generator",
    "prlm_bench.running._components",
    "prlm_bench.running._feed",
    "prlm_bench.running._pipeline",
    "prlm_bench.running._scoring",
    "prlm_bench.running._stages",
    "prlm_bench.stats",
    "prlm_bench.tasks",
)
#: Parts of these packages that no figure depends on.
NOT_RESULTS = ("prlm_bench.data._download", "prlm_bench.data.synth")
_PACKAGE = Path(__file__).parent
_LENGTH = 16


def json_digest(value: Any) -> str:
    """SHA-256 of a JSON value's canonical form (keys sorted), as hex."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def package_versions(*names: str) -> dict[str, str]:
    """Versions by distribution name, of those that are installed."""
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@cache
def core_digest(package: Path = _PACKAGE) -> str:
    """A digest of `RESULT_MODULES`: 16 hex digits.

    Args:
        package: the folder of `prlm_bench`; another one than the imported one for a comparison.
    """
    files = [file for name in RESULT_MODULES for file in _module_files(package, name)]
    left_out = {file for name in NOT_RESULTS for file in _module_files(package, name)}
    return _digest_of(sorted({*files} - left_out))


def code_digest(*sources: Any) -> str:
    """A digest of code: 16 hex digits, "" where no source can be found.

    Covered are, for every class or function: its module and, where that belongs to a package, all modules of the
    package's folder and the folders below it; what these import, anywhere in the file, of the same top-level package
    or of files that are not installed (helpers beside a plugin file); and the modules of base classes. For a
    `functools.partial`, its arguments too. The core itself (see `core_digest`), the standard library and other
    distributions are left out, except for the modules that define base classes.

    Args:
        sources: classes, functions, modules or `functools.partial` objects.
    """
    files: dict[Path, None] = {}
    loose: list[str] = []
    for source in sources:
        own: str | None = None
        for piece in _pieces(source):
            own = own or getattr(piece, "__module__", "").partition(".")[0] or None
            _collect(piece, own, files, loose)
    if not files and not loose:
        return ""
    return _digest_of(sorted(files), loose)


def object_state(value: object) -> str:
    """A digest of what an object holds, for a component given as an object instead of by name: 16 hex digits.

    Raises:
        PrlmBenchError: it holds something that has no stable form; a `fingerprint()` method says what it is.
    """
    try:
        return hashlib.sha256(orjson.dumps(_state(value), option=orjson.OPT_SORT_KEYS)).hexdigest()[:_LENGTH]
    except (TypeError, pickle.PicklingError, AttributeError, orjson.JSONEncodeError) as error:
        kind = type(value).__name__
        hint = "give the class a method fingerprint() that returns what decides its results, as text"
        raise PrlmBenchError(f"an object of {kind} cannot be told from another: {error}", hint) from None


def _state(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return [type(value).__name__, str(value)]
    if isinstance(value, bytes):
        return ["bytes", hashlib.sha256(value).hexdigest()]
    if isinstance(value, os.PathLike):
        return ["path", os.fspath(value)]
    if isinstance(value, Mapping):
        return ["mapping", sorted(([_state(k), _state(v)] for k, v in value.items()), key=str)]
    if isinstance(value, set | frozenset):
        return ["set", sorted((_state(member) for member in value), key=str)]
    if isinstance(value, list | tuple):
        return ["list", [_state(member) for member in value]]
    if isinstance(value, type | types.FunctionType | functools.partial):
        return ["code", code_digest(value)]
    if hasattr(value, "fingerprint"):
        return ["component", code_digest(type(value)), str(value.fingerprint())]
    held = vars(value) if hasattr(value, "__dict__") else None
    if held is not None and getattr(type(value), "__reduce__", None) is object.__reduce__:
        return ["object", code_digest(type(value)), [[name, _state(held[name])] for name in sorted(held)]]
    return ["pickled", hashlib.sha256(pickle.dumps(value, protocol=4)).hexdigest()]


def _pieces(source: Any) -> Iterator[Any]:
    """The classes, functions and plain values that make up a source."""
    if isinstance(source, functools.partial):
        yield from _pieces(source.func)
        for argument in (*source.args, *(source.keywords[name] for name in sorted(source.keywords))):
            yield from _pieces(argument)
    elif isinstance(source, types.MethodType):
        yield from _pieces(source.__func__)
    elif isinstance(source, types.ModuleType) or (callable(source) and hasattr(source, "__module__")):
        inner = inspect.unwrap(source) if callable(source) else source
        yield inner
        if isinstance(inner, type):
            yield from (base for base in inner.__mro__[1:] if base is not object)
    else:
        yield _Value(source)


class _Value:
    """A plain value among a factory's arguments."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _collect(piece: Any, own: str | None, files: dict[Path, None], loose: list[str]) -> None:
    if isinstance(piece, _Value):
        loose.append(object_state(piece.value))
        return
    name = piece.__name__ if isinstance(piece, types.ModuleType) else piece.__module__
    if name.partition(".")[0] in sys.stdlib_module_names and name != "__main__":
        return
    file = _file_of(name)
    if file is None or name == "__main__":
        loose.append(_loose_source(piece))
        return
    if _is_core(name):
        return
    if _is_installed(file) and name.partition(".")[0] != own:  # a base class of another distribution
        files[file] = None
        return
    _follow(name, file, files)


def _loose_source(piece: Any) -> str:
    """The source of something written in a notebook or at a prompt, else its compiled form."""
    try:
        return _normal_form(inspect.cleandoc(inspect.getsource(piece)))
    except (OSError, TypeError, SyntaxError):
        members = vars(piece).values() if isinstance(piece, type) else [piece]
        codes = [getattr(member, "__code__", None) for member in members]
        return "".join(code.co_code.hex() + repr(code.co_names) for code in codes if code is not None)


def _follow(name: str, file: Path, files: dict[Path, None]) -> None:
    """Add a module, the modules of its folder, and what they import of their own project."""
    installed = _is_installed(file)
    waiting = [(name, file)]
    if (file.parent / "__init__.py").is_file() and name.count(".") > 0:
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        waiting += [(_name_below(package, file.parent, path), path) for path in sorted(file.parent.rglob("*.py"))]
    while waiting:
        module, path = waiting.pop()
        if path in files:
            continue
        files[path] = None
        for imported in _imports(path, module, path.name == "__init__.py"):
            top = imported.partition(".")[0]
            if top in sys.stdlib_module_names or _is_core(imported):
                continue
            for candidate in (imported, imported.rpartition(".")[0]):
                found = _file_of(candidate, beside=path.parent) if candidate else None
                if found is not None:
                    if not _is_installed(found) or (installed and top == name.partition(".")[0]):
                        waiting.append((candidate, found))
                    break


def _name_below(package: str, folder: Path, path: Path) -> str:
    parts = path.relative_to(folder).with_suffix("").parts
    return ".".join([package, *(parts[:-1] if parts[-1] == "__init__" else parts)])


#: An import statement at the beginning of a line. Prose that looks like one names modules that do not exist.
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(\.*[\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)|import[ \t]+([^\n]*))", re.MULTILINE
)


def _imports(path: Path, module: str, is_package: bool) -> Iterator[str]:
    """The modules that a file names in import statements, absolute; for `from a import b` both `a.b` and `a`."""
    for match in _IMPORT.finditer(path.read_text(encoding="utf-8", errors="replace")):
        source, names, plain = match.groups()
        if plain is not None:
            yield from (name.split()[0] for name in plain.partition("#")[0].split(",") if name.split())
            continue
        base = source.lstrip(".")
        if level := len(source) - len(base):
            parts = module.split(".")
            base = ".".join([*parts[: len(parts) - level + is_package], *([base] if base else [])])
        listed = re.sub(r"#[^\n]*", "", names).strip("() \t\n")
        yield from (f"{base}.{name.split()[0]}" for name in listed.split(",") if name.split())


def _file_of(name: str, beside: Path | None = None) -> Path | None:
    """The source file of a module, found without importing it; None where it has none."""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if file is None:
        top, *rest = name.split(".")
        file = _top_file(top, beside)
        for part in rest:
            if file is None or Path(file).name != "__init__.py":
                return None
            below = Path(file).parent / part
            file = next((str(f) for f in (below / "__init__.py", below.with_suffix(".py")) if f.is_file()), None)
    return Path(file) if file is not None and str(file).endswith(".py") and Path(file).is_file() else None


def _top_file(name: str, beside: Path | None) -> str | None:
    for folder in [beside] if beside is not None else []:
        for file in (folder / f"{name}.py", folder / name / "__init__.py"):
            if file.is_file() and not _is_installed(file):
                return str(file)
    try:
        spec = find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None:
        return None
    if spec.origin is None and spec.submodule_search_locations:  # a namespace package
        return str(Path(next(iter(spec.submodule_search_locations))) / "__init__.py")
    return spec.origin


@cache
def _standard_folders() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    return tuple({Path(paths[key]).resolve() for key in ("stdlib", "platstdlib")})


def _is_installed(file: Path) -> bool:
    resolved = file.resolve()
    if {"site-packages", "dist-packages"} & {*resolved.parts}:
        return True
    return any(resolved.is_relative_to(folder) for folder in _standard_folders())


def _is_core(name: str) -> bool:
    return name == "prlm_bench" or name.startswith("prlm_bench.")


def _module_files(package: Path, name: str) -> list[Path]:
    path = package.joinpath(*name.split(".")[1:])
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def _digest_of(files: Iterable[Path], loose: Iterable[str] = ()) -> str:
    """Order and content count, places do not: the same code elsewhere is the same code."""
    total = hashlib.sha256()
    for file in files:
        total.update(f"{_name_in_package(file)}\n".encode())
        total.update(_file_form(file).encode())
    for text in loose:
        total.update(text.encode())
    return total.hexdigest()[:_LENGTH]


def _name_in_package(file: Path) -> str:
    """The path from the top of the file's package; for a file outside packages, its name."""
    top = file.parent
    while (top / "__init__.py").is_file():
        top = top.parent
    return file.relative_to(top).as_posix()


def _file_form(path: Path) -> str:
    status = path.stat()
    return _remembered_form(str(path), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _remembered_form(path: str, size: int, modified: int) -> str:
    del size, modified  # parts of the key
    return _normal_form(Path(path).read_bytes())


def _without_docstrings(tree: ast.Module) -> ast.Module:
    """The same program; in compiled form a docstring leaves an instruction behind."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.copy_location(ast.Pass(), first)]
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            members = getattr(node, field, None)
            waiting += members if isinstance(members, list) else []
    return tree


def _normal_form(source: str | bytes) -> str:
    """A digest of what a program does: its compiled form, in which comments, docstrings and layout are no more."""
    total = hashlib.sha256()
    waiting = [compile(_without_docstrings(ast.parse(source)), "", "exec", dont_inherit=True)]
    while waiting:
        code = waiting.pop()
        constants = [c for c in code.co_consts if not isinstance(c, types.CodeType)]
        waiting += [c for c in code.co_consts if isinstance(c, types.CodeType)]
        # Sets have no stable order.
        shown = [sorted(map(repr, c)) if isinstance(c, frozenset) else repr(c) for c in constants]
        names = (code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        total.update(repr((names, counts, shown)).encode())
        total.update(code.co_code)
        total.update(getattr(code, "co_exceptiontable", b""))
    return total.hexdigest()
