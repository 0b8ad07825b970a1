"""Chat templates are programs of whoever made a checkpoint: a sandbox runs them, with a limit in time and size.

jinja's sandbox keeps a template from Python's inside, but not from looping or from doubling a text until memory ends.
Here each turn of a loop, each call and each filter looks at the clock, and what may grow is measured before it is made.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

from jinja2 import Environment, Template, nodes, pass_context
from jinja2.exceptions import TemplateError
from jinja2.nodes import EvalContext
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

#: Seconds that a template may take for one text; most take less than a thousandth.
SECONDS = 10.0
#: Characters that one value may have, and all values of one text together.
LARGEST, TOGETHER = 1 << 23, 1 << 27
#: What a value counts besides its characters, so that nested lists are limited too.
_ITEM = 64
#: The largest width, indentation or number of parts.
_WIDEST = 1 << 20
_DEEPEST = 100
_WIDE = re.compile(r"\d{7,}")
#: In a format, a width that is one of its values: `%*d` and `{:{}}`.
_TAKES_WIDTH = re.compile(r"%[-+ #0]*[\d.]*\*|:[^{}]*\{")
#: Methods that no template needs, and that make a text of any size.
_REFUSED = ("translate", "maketrans")
_TICK, _JOIN, _LITERAL = "prlm_tick", "prlm_join", "prlm_literal"


class TemplateLimitError(TemplateError):
    """A template took too long, or made too much."""


class _Limits(threading.local):
    """What the text that this thread makes at the moment has left; outside of `limited`, everything."""

    deadline = float("inf")
    left = float("inf")

    def tick(self) -> None:
        """Look at the clock."""
        if time.monotonic() > self.deadline:
            raise TemplateLimitError(f"it takes longer than {SECONDS:g} s")

    def take(self, size: float) -> None:
        """Count what is about to be made."""
        self.left -= size
        if size > LARGEST or self.left < 0:
            most = LARGEST if size > LARGEST else TOGETHER
            raise TemplateLimitError(f"it makes more than {most >> 20} MiB of text")


_limits = _Limits()


@contextmanager
def limited() -> Iterator[None]:
    """A block in which templates of `LimitedEnvironment` make one text.

    Raises:
        TemplateLimitError: one takes longer than `SECONDS`, or makes more than `LARGEST` or `TOGETHER` characters.
    """
    before = _limits.deadline, _limits.left
    _limits.deadline, _limits.left = time.monotonic() + SECONDS, float(TOGETHER)
    try:
        yield
    finally:
        _limits.deadline, _limits.left = before


def _size(value: Any) -> int:
    """Characters of a text; of a list or mapping, those in it and `_ITEM` for each value. At most a little too much."""
    total, waiting = 0, [value]
    while waiting and total <= LARGEST:
        value = waiting.pop()
        total += _ITEM
        if isinstance(value, str | bytes):
            total += len(value)
        elif isinstance(value, int):
            total += value.bit_length()  # each of which costs more to compute with than a character
        elif isinstance(value, Mapping):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set | frozenset):
            waiting += value
    return total


class LimitedEnvironment(ImmutableSandboxedEnvironment):
    """jinja's sandbox with limits, see `limited`."""

    intercepted_binops = frozenset({"+", "*", "%", "**"})

    def __init__(self, *values: Any, **options: Any) -> None:
        super().__init__(*values, **options)
        del self.globals["lipsum"]
        self.filters[_TICK], self.filters[_JOIN], self.filters[_LITERAL] = _tick, _joined, _literal

    def from_string(self, *values: Any, **options: Any) -> Template:
        """See jinja; filters that were added are limited too."""
        self.filters = {name: _limited_filter(name, each) for name, each in self.filters.items()}
        return super().from_string(*values, **options)

    def _parse(self, *values: Any) -> nodes.Template:
        tree = super()._parse(*values)
        for loop in tree.find_all(nodes.For):
            loop.body.insert(0, nodes.ExprStmt(_filtered(nodes.Const(""), _TICK), lineno=loop.lineno))
        _replace(tree)
        return tree

    def concat(self, parts: Iterable[str]) -> str:
        """The pieces of a text as one."""
        return "".join(_collected(parts))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """See jinja; what comes out is measured before."""
        _limits.tick()
        if operator == "+":
            _limits.take(_size(left) + _size(right))
        elif operator == "*":
            _limits.take(_product(left, right))
        elif operator == "**":
            _limits.take(_size(left) * (abs(right) if isinstance(right, int) else 1))
        elif isinstance(left, str):
            _check_format(left, right if isinstance(right, tuple) else [right])
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Any, __obj: Any, *values: Any, **options: Any) -> Any:
        """See jinja; what comes out is measured, of texts' methods before."""
        _limits.tick()
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, str):
            values = _check_method(owner, getattr(__obj, "__name__", ""), values, options)
        found = super().call(__context, __obj, *values, **options)
        _limits.take(_size(found))
        return found

    def wrap_str_format(self, value: Any) -> Any:
        """See jinja; a format states no large width."""
        found = super().wrap_str_format(value)
        if found is None:
            return None

        @wraps(found)
        def checked(*values: Any, **options: Any) -> Any:
            given = [*values, *options.values()]
            inner = [each for mapping in given if isinstance(mapping, Mapping) for each in mapping.values()]
            _check_format(value.__self__, [*given, *inner])
            return found(*values, **options)

        return checked


def _product(left: Any, right: Any) -> int:
    if isinstance(left, int):
        left, right = right, left
    if isinstance(left, str | bytes) and isinstance(right, int):
        return len(left) * max(0, right)
    if isinstance(left, list | tuple) and isinstance(right, int):
        return _size(left) * max(0, right)
    return _size(left) + _size(right)


def _filtered(node: nodes.Expr, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _replace(node: nodes.Node) -> None:
    """Have joined texts, lists and mappings in a template go through filters that measure them."""
    for name, value in node.iter_fields():
        children = value if isinstance(value, list) else [value]
        for place, child in enumerate(children):
            if not isinstance(child, nodes.Node):
                continue
            _replace(child)
            if isinstance(child, nodes.Concat):
                child = _filtered(nodes.List(child.nodes, lineno=child.lineno), _JOIN)
            elif isinstance(child, nodes.List | nodes.Dict) or (isinstance(child, nodes.Tuple) and child.ctx == "load"):
                child = _filtered(child, _LITERAL)
            if isinstance(value, list):
                value[place] = child
            else:
                setattr(node, name, child)


@pass_context
def _tick(context: Any, value: Any) -> Any:
    _limits.tick()
    return value


@pass_context
def _joined(context: Any, parts: list[Any]) -> str:
    _limits.take(_size(parts))
    return "".join(map(str, parts))


@pass_context
def _literal(context: Any, value: Any) -> Any:
    _limits.take(_size(value))
    return value


def _collected(parts: Iterable[Any], between: int = 0) -> list[Any]:
    """The parts as a list, each counted when it is made."""
    found, size = [], 0
    for part in parts:
        _limits.tick()
        size += _size(part) - _ITEM + between
        if size > LARGEST:
            _limits.take(size)
        found.append(part)
    _limits.take(size)
    return found


def _check_method(owner: str, name: str, values: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, ...]:
    """Measure what a method of a text makes."""
    if name in _REFUSED:
        raise TemplateLimitError(f"it calls {name}")
    numbers = [value for value in (*values, *options.values()) if isinstance(value, int)]
    if name == "replace" and len(values) >= 2 and all(isinstance(value, str) for value in values[:2]):
        _limits.take(_replaced(owner, values[0], values[1]))
    elif name == "join" and len(values) == 1:
        return (_collected(values[0], len(owner)),)
    elif name == "expandtabs":
        _limits.take((1 + owner.count("\t")) * max([8, *numbers]))
    elif any(number > _WIDEST for number in numbers):
        raise TemplateLimitError(f"it asks for a text of {max(numbers)} characters")
    return values


def _check_format(pattern: str, values: Iterable[Any]) -> None:
    """A format states no large width, and takes none from its values."""
    wide = any(isinstance(value, int) and value > _WIDEST for value in values)
    if _WIDE.search(pattern) or (wide and _TAKES_WIDTH.search(pattern)):
        raise TemplateLimitError("it asks for a text of a million characters or more")


def _limited_filter(name: str, made: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that looks at the clock, and whose result is measured; what may multiply a text before it is made."""
    if hasattr(made, "__wrapped__"):  # a second template of the environment
        return made

    @wraps(made)
    def checked(*values: Any, **options: Any) -> Any:
        _limits.tick()
        plain = [value for value in values if not isinstance(value, Context | EvalContext | Environment)]
        if plain:
            _check_filter(name, plain[0], [*plain[1:], *options.values()])
        found = made(*values, **options)
        _limits.take(_size(found))
        return found

    return checked


def _check_filter(name: str, value: Any, given: list[Any]) -> None:
    texts = [each for each in given if isinstance(each, str)]
    widest = max((each for each in given if isinstance(each, int)), default=0)
    if widest > _WIDEST or (name == "tojson" and widest > _DEEPEST):
        raise TemplateLimitError(f"it asks for a width of {widest}")
    if name == "format":
        _check_format(str(value), given)
    elif name == "replace" and len(texts) == 2:
        _limits.take(_replaced(str(value), *texts))
    elif name == "indent":
        _limits.take(_size(value) + (1 + str(value).count("\n")) * max([widest, *map(len, texts)]))
    elif name == "wordwrap":
        _limits.take(_size(value) * max([1, *map(len, texts)]))
    elif name == "join" and isinstance(value, list | tuple):
        _limits.take(_size(value) + len(value) * max([0, *map(len, texts)]))


def _replaced(text: str, old: str, new: str) -> int:
    """How long a text is, at most, with each `old` in it replaced."""
    return len(text) + (text.count(old) if old else len(text) + 1) * len(new)
