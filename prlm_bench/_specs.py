"""From `name:key=value,...` or a YAML mapping to a component with typed options."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from .errors import SpecError

#: One option: an optional `key=`, then a quoted value or one without commas.
_OPTION = re.compile(
    r"""\s*(?:(?P<key>[A-Za-z_]\w*)\s*=)?\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^,"']*))\s*(?:,|$)"""
)
#: The key of a value that was given without one; it means the factory's first option.
POSITIONAL = ""


@dataclass(frozen=True, slots=True)
class Spec:
    """A component by name, with options as they were written."""

    name: str
    options: Mapping[str, Any]


def parse_spec(spec: str | Mapping[str, Any]) -> Spec:
    """Read a spec: `bm25`, `bm25:k1=1.2,b=0.5`, `hybrid:bm25+dense`, or `{name: bm25, k1: 1.2}`.

    Values with commas are quoted. A value without a key is the component's first option.

    Raises:
        SpecError: the text does not have this form.
    """
    if isinstance(spec, Mapping):
        options = dict(spec)
        name = options.pop("name", None)
        if not isinstance(name, str) or not name:
            raise SpecError(f"a component needs a name: {dict(spec)}", "write {name: bm25, k1: 1.2}")
        return Spec(name, options)
    name, colon, rest = str(spec).partition(":")
    if not name.strip() or (colon and not rest.strip()):
        raise SpecError(f"{spec!r} is not a component", "write NAME or NAME:key=value,key=value")
    return Spec(name.strip(), _options(spec, rest) if colon else {})


def _options(spec: str, text: str) -> dict[str, str]:
    options: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _OPTION.match(text, position)
        if match is None or match.end() == position:
            raise SpecError(f"{spec!r}: cannot read {text[position:]!r}", 'quote values that hold commas: key="a,b"')
        key = match["key"] or POSITIONAL
        if key in options or (key == POSITIONAL and options):
            raise SpecError(f"{spec!r}: {key or match.group().strip()!r} is given twice or has no key")
        options[key] = next(value for value in match.group("double", "single", "bare") if value is not None).strip()
        position = match.end()
    return options


@dataclass(frozen=True, slots=True)
class Option:
    """One typed option of a factory."""

    name: str
    #: A type, or Any where the factory does not say.
    type: Any
    #: `inspect.Parameter.empty` where a value must be given.
    default: Any

    @property
    def required(self) -> bool:
        """True where there is no default."""
        return self.default is inspect.Parameter.empty

    def read(self, value: Any) -> Any:
        """`value` as this option's type.

        Raises:
            ValueError: it does not fit; the message is one line.
        """
        if isinstance(value, str):
            if value.lower() in ("none", "null") and type(None) in get_args(self.type):
                return None
            if get_origin(self.type) in (list, tuple):
                value = value.split("+")
        try:
            return TypeAdapter(self.type).validate_python(value)
        except PydanticUserError:
            return value
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"]) from None


def options_of(factory: Callable[..., Any]) -> dict[str, Option]:
    """The options that a factory takes, by name, in its own order; `context` is not one."""
    options = {}
    for parameter in inspect.signature(factory).parameters.values():
        if parameter.name == "context" or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        options[parameter.name] = Option(parameter.name, _annotation(factory, parameter), parameter.default)
    return options


def takes_context(factory: Callable[..., Any]) -> bool:
    """True where the factory has a parameter named `context`."""
    return "context" in inspect.signature(factory).parameters


def _annotation(factory: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    annotation = parameter.annotation
    if isinstance(annotation, str):
        module = sys.modules.get(factory.__module__)
        try:
            annotation = eval(annotation, dict(vars(module)) if module else {})
        except (NameError, AttributeError, TypeError, SyntaxError):
            return Any
    if annotation is parameter.empty:
        return Any if parameter.default in (parameter.empty, None) else type(parameter.default)
    return annotation


def bind(kind: str, factory: Callable[..., Any], spec: Spec) -> dict[str, Any]:
    """The options of `spec` as typed keyword arguments of `factory`.

    Raises:
        SpecError: an unknown option (with close matches), a missing one, or a value of the wrong type.
    """
    known = options_of(factory)
    bound: dict[str, Any] = {}
    for key, value in spec.options.items():
        name = next(iter(known), key) if key == POSITIONAL else key
        if name not in known:
            close = get_close_matches(name, known, n=1) or list(known)
            hint = "did you mean " + ", ".join(close) + "?" if close else "it takes no options"
            raise SpecError(f"{kind} {spec.name!r} has no option {name or value!r}", hint)
        if name in bound:
            raise SpecError(f"{kind} {spec.name!r}: option {name!r} is given twice")
        try:
            bound[name] = known[name].read(value)
        except ValueError as error:
            raise SpecError(f"{kind} {spec.name!r}: {name}={value!r}: {error}") from None
    for option in known.values():
        if option.required and option.name not in bound:
            raise SpecError(f"{kind} {spec.name!r} needs the option {option.name!r}", f"{spec.name}:{option.name}=...")
    return bound


def canonical(name: str, factory: Callable[..., Any], bound: Mapping[str, Any]) -> str:
    """The one text form of a bound spec: options in the factory's order, defaults left out.

    `parse_spec` and `bind` give the same options again.
    """
    parts = []
    for option in options_of(factory).values():
        if option.name in bound and (option.required or bound[option.name] != option.default):
            parts.append(f"{option.name}={_text(bound[option.name])}")
    return name + (":" + ",".join(parts) if parts else "")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "none"
    text = "+".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    if "," in text or text != text.strip() or '"' in text or "'" in text:
        return f"'{text}'" if '"' in text else f'"{text}"'
    return text
