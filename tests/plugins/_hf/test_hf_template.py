"""Chat templates of strangers: they neither loop, nor fill the memory, nor leave their sandbox."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from prlm_bench_plugins import _hf as hf
from prlm_bench_plugins._hf import ModelError, _template
from prlm_bench_plugins.llama_cpp._template import render

TURNS = [{"role": "user", "content": "What?"}]
GROW = "{% set ns = namespace(x='a') %}{% for a in range(99) %}{% set ns.x = GROWN %}{% endfor %}{{ ns.x }}"
GROWN = (
    *("ns.x + ns.x", "ns.x ~ ns.x", "[ns.x, ns.x]", "(ns.x, ns.x)", "{'a': ns.x, 'b': ns.x}", "[ns.x, ns.x]|join"),
    *("ns.x * 9", "ns.x|replace('a', 'aa')", "ns.x.replace('a', 'aa')", "'%s%s' % (ns.x, ns.x)"),
    *("'%s%s'|format(ns.x, ns.x)", "'{0}{0}'.format(ns.x)", "ns.x.join('aaa')", "ns.x|indent(ns.x, true)"),
)
#: What asks for a gigabyte at once.
LARGE = (
    *("'a' * 999999999", "999999999 * 'a'", "[1] * 999999999", "10 ** (10 ** 10) > 1", "'a'.ljust(999999999)"),
    *("'a'|center(999999999)", "'a'.zfill(999999999)", "'%999999999d' % 1", "'%*d' % (999999999, 1)"),
    *("'{:>999999999}'.format(1)", "'{:>{}}'.format(1, 999999999)", "'%999999999d'|format(1)", "lipsum(999999)"),
    *("('a' * 999999).replace('', 'b' * 999999)", "('a' * 999999)|replace('a', 'b' * 999999)"),
    *("('b' * 999999).join('a' * 999999)", "('\\t' * 999999).expandtabs(999999)", "[[1]]|tojson(indent=999999999)"),
    *("('a\\n' * 999999)|indent(999999)", "('a ' * 99999)|wordwrap(1, wrapstring='b' * 99999)"),
    "('a' * 9999).translate('a'.maketrans({'a': 'b' * 99999}))",
)
ENDLESS = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{% for b in range(99999) if false %}{% endfor %}{% endfor %}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{% for a in range(99999) %}{{ 'b' * 9999 }}{% endfor %}",
)
ESCAPES = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__']['__base__'] }}",
    "{{ (''|attr('__class__')).mro() }}",
    "{{ messages.__class__.__init__.__globals__ }}",
    "{{ raise_exception.__globals__['os'].system('touch RAN') }}",
    "{{ strftime_now.__self__ or strftime_now.__globals__ }}{{ strftime_now.__func__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.popen('touch RAN').read() }}",
    "{{ self.__init__.__globals__.__builtins__.open('RAN', 'w') }}",
    "{{ '{0.__class__.__mro__}'.format('') }}",
    "{{ namespace.__init__.__globals__.__builtins__.__import__('os').system('touch RAN') }}",
    "{% set x = messages.append({'role': 'user', 'content': 'more'}) %}",
    "{% include '/etc/passwd' %}",
)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_template, "SECONDS", 0.3)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """With its template rendered by transformers."""
    pytest.importorskip("torch")
    from support.checkpoints import make_tokenizer

    return make_tokenizer()


def both(template: str, tokenizer: Any) -> list[str]:
    """What the two renderers say, or the error."""
    hf.fix_rendering(tokenizer)
    tokenizer.chat_template = template
    said = []
    for make in (
        lambda: hf.chat_text(tokenizer, TURNS),
        lambda: render(template, TURNS, "2024-01-01", {}),
    ):
        try:
            said.append(make())
        except Exception as error:
            said.append(f"{type(error).__name__}: {error}")
    return said


@pytest.mark.parametrize("template", [GROW.replace("GROWN", grown) for grown in GROWN])
def test_a_text_does_not_grow_without_end(template: str, tokenizer: Any) -> None:
    began = time.monotonic()
    for said in both(template, tokenizer):
        assert "it makes more than 8 MiB of text" in said or "it takes longer than 0.3 s" in said
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("expression", LARGE)
def test_nothing_large_is_made_at_once(expression: str, tokenizer: Any) -> None:
    began = time.monotonic()
    for said in both("{{ " + expression + " }}", tokenizer):
        assert "Error: " in said
    assert time.monotonic() - began < 2, "a gigabyte takes longer"


@pytest.mark.parametrize("template", ENDLESS)
def test_a_template_ends(template: str, tokenizer: Any) -> None:
    began = time.monotonic()
    for said in both(template, tokenizer):
        assert "Error: " in said
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("template", ESCAPES)
def test_the_sandbox_holds(template: str, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for said in both(template, tokenizer):
        assert "Error: " in said or said.strip("{}") == "", said
        assert "class '" not in said and "root:" not in said
    assert list(tmp_path.iterdir()) == []
    assert len(TURNS) == 1


def test_ordinary_templates_are_rendered_as_jinja_renders_them(tokenizer: Any) -> None:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    template = (
        "{% macro turn(m, n=2) %}<{{ m.role }}>{{ ' ' * n }}{{ m.content|trim }}{% endmacro %}"
        "{% set ns = namespace(all=[], text='') %}"
        "{% for m in messages[::-1] %}{% if loop.first and m.role in ['user', 'system'] %}"
        "{% set ns.text = ns.text + turn(m) ~ '|' ~ loop.index %}{% set ns.all = ns.all + [m.content] %}"
        "{% else %}no{% endif %}{% else %}none{% endfor %}"
        "{{ ns.text }}{{ ns.all|join(', ')|replace('W', 'w') }}{{ '%s-%03d' % ('a', 5) }}{{ '{:>4}'.format(7) }}"
        "{% for key, value in {'a': 1, 'b': (2, 3)}.items() %}{{ key }}={{ value }};{% endfor %}"
        "{% set block %}x{{ 2 ** 3 }}{% endset %}{{ block|upper }}{{ messages|length }}{{ messages[0].content[:2] }}"
    )
    expected = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)
    assert both(template, tokenizer) == [expected.render(messages=TURNS)] * 2


def test_the_error_of_a_template_is_one_line_without_orders(tokenizer: Any) -> None:
    hf.fix_rendering(tokenizer)
    tokenizer.chat_template = "{{ raise_exception('\x1b[2Jno\n\u202e' ~ messages[0].role) }}"
    with pytest.raises(ModelError, match=r"refuses a user's turn: \\u001b\[2Jno \\u202euser$"):
        hf.chat_text(tokenizer, TURNS)


def test_a_template_that_was_compiled_before_has_limits_too(tokenizer: Any) -> None:
    """transformers keeps compiled templates for the whole process."""
    from transformers.utils import chat_template_utils

    compiled = chat_template_utils._compile_jinja_template(json.dumps("x"))
    hf.fix_rendering(tokenizer)
    assert isinstance(chat_template_utils._compile_jinja_template("y").environment, hf.LimitedEnvironment), compiled
