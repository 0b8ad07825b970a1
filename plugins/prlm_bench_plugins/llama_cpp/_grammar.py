"""The answer object as a grammar of llama.cpp (GBNF).

Format: github.com/ggml-org/llama.cpp, grammars/README.md.
"""

from __future__ import annotations

import json

_OBJECT = r"""
root ::= "{" blank name blank ":" blank value blank "}"
blank ::= " "?
name ::= NAME
value ::= "'" single+ "'" | "\"" double+ "\""
single ::= [^'\\\x00-\x1F] | "\\" ['"\\nt]
double ::= [^"\\\x00-\x1F] | "\\" ['"\\nt]
"""


def object_grammar(key: str) -> str:
    """What an answer object with this key may look like: `{'title': '...'}`, with single or double quotes.

    Every text of the grammar is read by `prlm_bench.prompting.read_object` at its strictest step.
    """
    names = (json.dumps(f"{quote}{key}{quote}", ensure_ascii=False) for quote in "'\"")
    return _OBJECT.replace("NAME", " | ".join(names)).strip()
