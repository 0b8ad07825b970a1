"""Completions that could not be read, were cut, or are scored by a metric that cannot read them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from .._text import MANY
from ._finding import Finding, Group, ResultRow, Status, share

_LONGER = "a larger max_new_tokens"
#: Characters of a completion that a line quotes.
_QUOTED = 60
#: What LaMP's ROUGE (rouge_score without a tokenizer of its own) reads of a text.
_READ = re.compile("[a-z0-9]")


def completions(group: Group) -> Iterator[Finding]:
    """Three checks: of unreadable answers and of cut completions for each row, and of golds that ROUGE cannot read.

    The first two look like a bad model in the table, and often are a prompt format or a token limit.
    """
    for line in group.lines:
        unread = np.mean([[not parsed for parsed in columns.parsed] for columns in line.columns], axis=0)
        found = group.intervals({"share": unread})["share"]
        if found.value is None:
            continue
        what = "answers could not be read from the completions"
        text = share(found)
        example = next((columns.unreadable for columns in line.columns if columns.unreadable is not None), None)
        if example is not None:
            text += f"; first: {_quoted(example)}; {_advice(line)}"
        yield group.finding("completions", "found" if found.value >= MANY else "passed", [line], what, text, found)
        finishes = [columns.finish for columns in line.columns]
        if not any(finish is not None for each in finishes for finish in each):
            continue
        found = group.intervals({"share": np.mean([[f == "length" for f in each] for each in finishes], axis=0)})[
            "share"
        ]
        what = "completions stopped at the length limit"
        example = next((columns.cut_off for columns in line.columns if columns.cut_off is not None), None)
        first = "" if example is None else f"; first: {_quoted(example)}"
        text = f"{share(found)}{first}; try {_LONGER}, or texts that end an answer (stop, until)"
        status: Status = "found" if (found.value or 0) >= MANY else "passed"
        yield group.finding("completions", status, [line], what, text, found)
    yield from _script(group)


def _advice(line: ResultRow) -> str:
    """What to try where answers cannot be read, the likeliest first."""
    method = line.result.manifest.method
    pairs = [pair for each in line.columns for pair in zip(each.parsed, each.finish, strict=True)]
    lost = [finish for parsed, finish in pairs if not parsed]
    tips = [_LONGER] if 2 * sum(finish == "length" for finish in lost) >= len(lost) else []
    if "protocol=plain" not in method.reasoner.spec:
        tips.append("direct:protocol=plain")
        tips += [] if "constrain=" in method.generator.spec else ["constrain=object of a local model"]
    tips.append("another value of chat=")
    return f"try {', '.join(tips)}; `prlm-bench prompts --generator` shows what the model reads"


def _script(group: Group) -> Iterator[Finding]:
    names = [name for name in group.first.manifest.metric_names if name.startswith("rouge") and name.endswith("@lamp")]
    golds = [gold for gold in group.lines[0].columns[0].golds if gold is not None]
    if not names or not golds:
        return
    found = group.intervals({"share": np.array([not _READ.search(gold.lower()) for gold in golds], dtype=np.float64)})
    what = f"golds without Latin letters or digits, for which {', '.join(names)} is 0 whatever the answer"
    status: Status = "found" if (found["share"].value or 0) >= MANY / 4 else "passed"
    yield group.finding("completions", status, group.lines, what, share(found["share"]), found["share"], "all rows")


def _quoted(text: str) -> str:
    plain = " ".join(text.split())
    return repr(plain if len(plain) <= _QUOTED else plain[: _QUOTED - 1] + "…") if plain else "nothing"
