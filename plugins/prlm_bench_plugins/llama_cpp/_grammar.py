"""The answer objects that a task allows, as a grammar of llama.cpp (GBNF).

Format: github.com/ggml-org/llama.cpp, grammars/README.md.
"""

from __future__ import annotations

import json

from prlm_bench.tasks import Task

#: A value that an answer object can hold, as `transformers` has it: one line without braces, not blank and no copied
#: `...`. It ends with a quote before the brace, so that apostrophes in it need no backslash.
_TEXT = r"""
value ::= "'" any* word any* "'"
any ::= [^{}\x00-\x1F]
word ::= [^{}\x00-\x20.…'"]
"""


def object_grammar(task: Task, key: str) -> str:
    """The answer objects of a task: one of its labels, or any text.

    Args:
        task: of the question.
        key: of the object.
    """
    labels = " | ".join(_literal(repr(label)) for label in task.labels)
    value = f"value ::= {labels}" if labels else _TEXT.strip()
    return f'root ::= {_literal("{" + repr(key) + ": ")} value "}}"\n{value}'


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
