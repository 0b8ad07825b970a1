"""Reads YAML files that users write, with the line of each value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

#: The path of keys to a value in a file.
Keys = tuple[str | int, ...]


class YamlError(ValueError):
    """A file that cannot be read as YAML; the message names the file and, where there is one, the line."""


def read_yaml(path: Path, *, flat: bool = False) -> tuple[Any, list[tuple[Keys, int]]]:
    """A file's content, and the line of each value; a value that an alias repeats has the line of its anchor.

    Args:
        path: the file.
        flat: the file is known to be flat; libyaml then reads it, which is ten times faster, and crashes on deep
            nesting.

    Raises:
        YamlError: the file cannot be read, or is not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        loader = (yaml.CSafeLoader if flat and yaml.__with_libyaml__ else yaml.SafeLoader)(text)
        try:
            node = loader.get_single_node()
            return loader.construct_document(node) if node is not None else None, list(_lines(node, (), set()))
        finally:
            loader.dispose()
    except RecursionError:
        raise YamlError(f"{path}: cannot be read: nested too deeply") from None
    # PyYAML lets errors of every class through for tagged values such as `!!int ''` and `!!timestamp x`.
    except (OSError, yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        reason = getattr(error, "problem", None) or getattr(error, "strerror", None) or error
        raise YamlError(f"{where}: cannot be read: {' '.join(str(reason).split())}") from None


def _lines(node: yaml.Node | None, path: Keys, seen: set[int]) -> Iterator[tuple[Keys, int]]:
    """Each node once: aliases of aliases would make more paths than memory holds."""
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, key.value), key.start_mark.line + 1
            yield from _lines(value, (*path, key.value), seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, index), value.start_mark.line + 1
            yield from _lines(value, (*path, index), seen)
