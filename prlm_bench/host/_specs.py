"""Component specs: parses `name:key=value,...` or a YAML mapping into typed options, and formats them canonically."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from functools import partial
from itertools import pairwise
from keyword import iskeyword
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from ..errors import SpecError
from ..interfaces import AlsoCalled, SameResults

#: One option: an optional `key=`, then a quoted value (its quotes doubled) or one without commas and quotes.
_OPTION = re.compile(
    r"""\s*(?:(?P<key>[A-Za-z_]\w*)\s*=)?\s*"""
    r"""(?:"(?P<double>(?:[^"]|"")*)"|'(?P<single>(?:[^']|'')*)'|(?P<bare>[^,"']*))\s*(?:,|\Z)"""
)
#: In a list: a `+` between members, or a quoted member or value, inside which `+` does not separate.
_PLUS = re.compile(r"""(?<![^=:,+])(?:"(?:[^"]|"")*"|'(?:[^']|'')*')|\+""")
#: The key of a value without a key, which stands for the factory's first option.
POSITIONAL = ""
_NOTHING = ("none", "null")
_LISTS = (list, tuple, set, frozenset, Sequence, Iterable)


@dataclass(frozen=True, slots=True)
class Spec:
    """A component name with unparsed options."""

    name: str
    options: Mapping[str, Any]


def parse_spec(spec: str | Mapping[str, Any]) -> Spec:
    """Parse a spec: `bm25`, `bm25:k1=1.2,b=0.5`, `hybrid:bm25+dense`, or `{name: bm25, k1: 1.2}`.

    Values with commas or quotes are quoted, with inner quotes doubled. A value without a key is the component's first
    option. A component inside another is a text of this form, quoted if it has commas; in YAML it may be a mapping.

    Raises:
        SpecError: the text has another form.
    """
    if isinstance(spec, Mapping):
        options = {str(key): value for key, value in spec.items()}
        name = options.pop("name", None)
        if not isinstance(name, str) or not name:
            raise SpecError(f"a component needs a name: {dict(spec)}", "write {name: bm25, k1: 1.2}")
        return Spec(name, options)
    name, colon, rest = str(spec).partition(":")
    if not name.strip() or (colon and not rest.strip()):
        raise SpecError(f"{spec!r} is not a component spec", "write NAME or NAME:key=value,key=value")
    return Spec(name.strip(), _options(spec, rest) if colon else {})


def _options(spec: str, text: str) -> dict[str, str]:
    options: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _OPTION.match(text, position)
        if match is None or match.end() == position:
            hint = 'quote a value that holds commas or quotes: key="a,b"'
            raise SpecError(f"{spec!r}: cannot read {text[position:]!r}", hint)
        key = match["key"] or POSITIONAL
        if key in options or (key == POSITIONAL and options):
            hint = "the option of the command is repeated for another component" if key == POSITIONAL else ""
            raise SpecError(f"{spec!r}: {key or match.group().strip()!r} is given twice or lacks a key", hint)
        options[key] = _value(match)
        position = match.end()
    return options


def _value(match: re.Match[str]) -> str:
    for group, quote in (("double", '"'), ("single", "'")):
        if match[group] is not None:
            return match[group].replace(quote * 2, quote)
    return match["bare"].strip()


@dataclass(frozen=True, slots=True)
class Option:
    """One typed option of a factory."""

    name: str
    #: A type; Any if the factory has no annotation, and then the option is text.
    type: Any
    #: `inspect.Parameter.empty` if the option is required.
    default: Any

    @property
    def required(self) -> bool:
        """True if there is no default."""
        return self.default is inspect.Parameter.empty

    @property
    def decides(self) -> bool:
        """False if the option is marked as not changing results."""
        return SameResults not in getattr(self.type, "__metadata__", ())

    @property
    def also_called(self) -> tuple[str, ...]:
        """Further names of the option."""
        return tuple(mark.name for mark in getattr(self.type, "__metadata__", ()) if isinstance(mark, AlsoCalled))

    @property
    def parameter(self) -> str:
        """The parameter of the factory: the name, with a trailing `_` if it is a Python keyword."""
        return f"{self.name}_" if iskeyword(self.name) else self.name

    def read(self, value: Any) -> Any:
        """Convert `value`, as written or from YAML, to the type of this option.

        Raises:
            ValueError: invalid value; the message is one line.
        """
        if self.type is Any:
            text = value if isinstance(value, str) else as_text(value)
            return None if text.lower() in _NOTHING else text
        try:
            adapter = TypeAdapter(self.type)
            if isinstance(value, str) and value[:1] in ("[", "{"):
                try:
                    return adapter.validate_json(value)
                except ValidationError:
                    pass  # text that only looks like JSON, such as the label [1]
            return adapter.validate_python(_prepared(self.type, value))
        except PydanticUserError:
            return value
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"]) from None


def _prepared(kind: Any, value: Any) -> Any:
    """Convert text to what pydantic accepts: none, the members of a Literal, lists written `a+b`."""
    kinds = _alternatives(kind)
    if isinstance(value, Mapping) and str in kinds and "name" in value:
        return _spec_text(value)
    if isinstance(value, str):
        if type(None) in kinds and value.lower() in _NOTHING:
            return None
        for choice in (choice for k in kinds if get_origin(k) is Literal for choice in get_args(k)):
            if as_text(choice) == value:
                return choice
    lists = [k for k in kinds if (get_origin(k) or k) in _LISTS]
    if not lists or (isinstance(value, str) and str in kinds) or not isinstance(value, str | list | tuple):
        return value
    parts = _members(value) if isinstance(value, str) else value
    members = get_args(lists[0])
    same = len(members) == 1 or Ellipsis in members
    return [_prepared(members[0], part) if same else part for part in parts]


def _members(text: str) -> list[str]:
    """The members of a list written `a+b`, without the quotes around a member."""
    cuts = [match.start() for match in _PLUS.finditer(text) if match.group() == "+"]
    parts = [text[before + 1 : after].strip() for before, after in pairwise([-1, *cuts, len(text)])]
    for place, part in enumerate(parts):
        match = _OPTION.fullmatch(part)
        if match is not None and match["key"] is None and match["bare"] is None:
            parts[place] = _value(match)
    return parts


def _spec_text(spec: Mapping[str, Any]) -> str:
    """The text form of a component given as a mapping."""
    options = [f"{key}={_quoted(as_text(_specs_in(value)))}" for key, value in spec.items() if key != "name"]
    return str(spec["name"]) + (":" + ",".join(options) if options else "")


def _specs_in(value: Any) -> Any:
    if isinstance(value, Mapping) and "name" in value:
        return _spec_text(value)
    return [_specs_in(member) for member in value] if isinstance(value, list) else value


def _alternatives(kind: Any) -> list[Any]:
    if get_origin(kind) is Annotated:
        return _alternatives(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [inner for member in get_args(kind) for inner in _alternatives(member)]
    return [kind]


def options_of(factory: Callable[..., Any]) -> dict[str, Option]:
    """The options of a factory by name, in the order of its parameters, without `context`."""
    options = {}
    for parameter in inspect.signature(factory).parameters.values():
        if parameter.name == "context" or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        bare = parameter.name.removesuffix("_")
        name = bare if iskeyword(bare) else parameter.name
        options[name] = Option(name, _annotation(factory, parameter), parameter.default)
    return options


def accepts_more(factory: Callable[..., Any]) -> bool:
    """True if the factory accepts further options as text: it has `**parameter: str`."""
    parameters = inspect.signature(factory).parameters.values()
    return any(p.kind is p.VAR_KEYWORD and p.annotation in (str, "str") for p in parameters)


def takes_context(factory: Callable[..., Any]) -> bool:
    """True if the factory has a parameter named `context`."""
    return "context" in inspect.signature(factory).parameters


def unwrapped(factory: Callable[..., Any]) -> Callable[..., Any]:
    """The function or class behind `functools.partial` and decorators."""
    while isinstance(factory, partial):
        factory = factory.func
    inner: Callable[..., Any] = inspect.unwrap(factory)
    return inner


def _annotation(factory: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    annotation = parameter.annotation
    if isinstance(annotation, str):
        function = unwrapped(factory)
        if isinstance(function, type):  # the annotations of an inherited __init__ refer to its own module
            function = inspect.unwrap(function.__init__)  # type: ignore[misc]
        try:
            while isinstance(annotation, str):  # twice if a quoted annotation is itself postponed
                annotation = eval(annotation, dict(getattr(function, "__globals__", {})))
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
    aliases = {alias: option.name for option in known.values() for alias in option.also_called}
    bound: dict[str, Any] = {}
    for key, value in spec.options.items():
        name = next(iter(known), key) if key == POSITIONAL else key
        name = aliases.get(name, name) if name not in known else name
        if name not in known:
            if not _is_more(name, factory, known):
                raise SpecError(f"{kind} {spec.name!r} has no option {name or value!r}", _known_options(name, known))
            bound[name] = value if isinstance(value, str) else as_text(value)
            continue
        if known[name].parameter in bound:
            raise SpecError(f"{kind} {spec.name!r}: option {name!r} is given twice")
        try:
            bound[known[name].parameter] = known[name].read(value)
        except ValueError as error:
            raise SpecError(f"{kind} {spec.name!r}: {name}={value!r}: {error}") from None
    for option in known.values():
        if option.required and option.parameter not in bound:
            hint = f"write {spec.name}:{option.name}=..."
            raise SpecError(f"{kind} {spec.name!r} needs the option {option.name!r}", hint)
    return bound


def _is_more(name: str, factory: Callable[..., Any], known: Mapping[str, Option]) -> bool:
    """Whether an unknown option is accepted as a further one: it is not a misspelt known option."""
    reserved = {POSITIONAL, "context", *(option.parameter for option in known.values())}
    if not accepts_more(factory) or not re.fullmatch(r"[A-Za-z_]\w*", name):
        return False
    return name not in reserved and not get_close_matches(name, known, n=1, cutoff=0.85)


def _known_options(name: str, known: Mapping[str, Option]) -> str:
    close = get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return "known: " + ", ".join(known) if known else "it has no options"


def canonical(name: str, factory: Callable[..., Any], bound: Mapping[str, Any]) -> str:
    """The canonical text of a bound spec: options in the factory's order without defaults, then further ones.

    `parse_spec` and `bind` restore these options, except those that do not change results.
    """
    parts = []
    known = options_of(factory)
    for option in known.values():
        if option.parameter in bound and option.decides:
            value = bound[option.parameter]
            if option.required or not _is_default(value, option.default):
                parts.append(f"{option.name}={_quoted(as_text(value))}")
    more = bound.keys() - {option.parameter for option in known.values()}
    parts += [f"{key}={_quoted(as_text(bound[key]))}" for key in sorted(more)]
    return name + (":" + ",".join(parts) if parts else "")


def _is_default(value: Any, default: Any) -> bool:
    """1 equals 1.0 and () equals [], but 1 does not equal True."""
    equal = value == default and isinstance(value, bool) == isinstance(default, bool)
    return bool(equal) or as_text(value) == as_text(default)


def as_text(value: Any) -> str:
    """The text of an option's value in a spec, before quoting."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "none"
    if isinstance(value, Enum):
        return as_text(value.value)
    if isinstance(value, Mapping):
        return json.dumps(dict(value), ensure_ascii=False, sort_keys=True, default=as_text)
    if isinstance(value, set | frozenset):
        value = sorted(value, key=as_text)
    if isinstance(value, list | tuple):
        return _list_text(value)
    return str(value)


def _list_text(values: Sequence[Any]) -> str:
    """`a+b`, or JSON if `a+b` could not be parsed back."""
    parts = [as_text(value) for value in values]
    plain = all(part and part.lower() not in _NOTHING for part in parts) and _members("+".join(parts)) == parts
    simple = all(isinstance(value, str | int | float | Path | Enum | None) for value in values)
    if parts and plain and simple and parts[0][0] not in "[{":
        return "+".join(parts)
    return json.dumps(list(values), ensure_ascii=False, default=as_text)


def _quoted(text: str) -> str:
    if not ("," in text or text != text.strip() or '"' in text or "'" in text):
        return text
    quote = "'" if '"' in text and "'" not in text else '"'
    return quote + text.replace(quote, quote * 2) + quote
