"""Recipes: all hyperparameters of a training as checked settings, read from YAML and changed by `path=value`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from prlm_bench.errors import RunError
from prlm_bench.files import parse_yaml, read_yaml, validated

S = TypeVar("S", bound="Settings")
#: Dots in the path of a change; recipes have fewer sections within sections.
_MAX_DEPTH = 8


class Settings(BaseModel):
    """Base class of recipes and their sections: unknown fields and wrong values are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def load(
    recipe: type[S],
    path: Path,
    changes: Sequence[str] = (),
    fields: Mapping[str, Any] | None = None,
    *,
    hint: str,
    kind: str = "recipe",
) -> S:
    """Read a recipe from a YAML file and change it.

    Args:
        recipe: class of the recipe.
        path: of the file.
        changes: as for `parse_change`.
        fields: top-level values that replace the file's; None keeps the file's value.
        hint: where recipes are documented.
        kind: of settings, for messages.

    Raises:
        RunError: the file cannot be read, or a field is wrong; one line that names the field.
    """
    content = read_yaml(path, RunError).content
    if not isinstance(content, dict):
        raise RunError(f"{path}: a {kind} is a mapping", hint)
    content |= {name: value for name, value in (fields or {}).items() if value is not None}
    return _check(recipe, f"{kind} {path.name}", _set(content, map(parse_change, changes)), hint)


def with_changes(recipe: S, name: str, changes: Iterable[tuple[str, Any]], *, hint: str) -> S:
    """The recipe with other values.

    Args:
        recipe: stays as it is.
        name: of the recipe in error messages.
        changes: pairs of a path such as `policy.rewards` and its new value.
        hint: where recipes are documented.

    Raises:
        RunError: a wrong path or value.
    """
    return _check(type(recipe), f"recipe {name}", _set(recipe.model_dump(), changes), hint)


def parse_change(text: str) -> tuple[str, Any]:
    """Path and value of a change such as `policy.learning_rate=1e-5`; the value is YAML.

    Raises:
        RunError: the text does not have this form.
    """
    path, equals, value = text.partition("=")
    if not equals or not path.strip() or path.count(".") > _MAX_DEPTH:
        raise RunError(f"{text[:60]!r} is not a change", "write policy.learning_rate=1e-5")
    return path.strip(), parse_yaml(value, repr(text[:60]), RunError).content


def _set(content: dict[str, Any], changes: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    for path, value in changes:
        *parents, last = path.split(".")
        place = content
        for parent in parents:
            inner = place.get(parent)
            place[parent] = place = dict(inner) if isinstance(inner, dict) else {}
        place[last] = value
    return content


def _check(recipe: type[S], name: str, content: dict[str, Any], hint: str) -> S:
    return validated(recipe, content, name, hint, RunError)
