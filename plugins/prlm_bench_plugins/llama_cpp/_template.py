"""Renders the chat template of a GGUF file as transformers renders it.

llama.cpp has a renderer of its own, which prints the day of the run as today's date; and it needs the loaded model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date as Date, datetime
from functools import lru_cache
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols

from .._hf import LimitedEnvironment, limited


class _Generation(Extension):
    """The tag `generation`, by which training knows the assistant's words; here it prints what is inside."""

    tags = {"generation"}  # noqa: RUF012  (jinja declares it as a variable of instances)

    def parse(self, parser: Any) -> Any:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


def render(template: str, turns: list[dict[str, str]], day: str, values: Mapping[str, Any]) -> str:
    """A chat in its template, which opens the answer.

    Args:
        template: in jinja.
        turns: of the chat.
        day: what the template prints as today, as YYYY-MM-DD.
        values: special tokens such as bos_token, and arguments of the template such as enable_thinking.

    Raises:
        jinja2.TemplateError: the template is damaged, or refuses the chat.
        Exception: whatever else a template does wrong.
    """
    given = {"tools": None, "documents": None, "add_generation_prompt": True, **values}
    with limited():
        text: str = _compiled(template, day).render(messages=turns, **given)
    return text


@lru_cache(maxsize=16)
def _compiled(template: str, day: str) -> Any:
    environment = LimitedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    today = datetime.combine(Date.fromisoformat(day), datetime.min.time())
    environment.filters["tojson"] = _tojson
    environment.globals |= {"raise_exception": _refuse, "strftime_now": today.strftime}
    return environment.from_string(template)


def _refuse(message: str) -> None:
    raise TemplateError(message)


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    # Jinja's own filter escapes characters of HTML.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
