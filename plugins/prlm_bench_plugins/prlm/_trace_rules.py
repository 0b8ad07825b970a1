"""Reasoning made by rule: sentences about a user's items that are true by construction, and whose truth can be checked.

Rules are data of the task (`trace_rules` in its file), with defaults in `trace_rules.yaml`. Each measures something in
the items and puts it into a sentence; `TraceRules.check` reads such a sentence, whoever wrote it, and measures again.

Most sentences are true of most users: a model that learns from traces of such sentences writes one trace for all. So a
trace prefers what few other users have, and says that something is absent only if nothing else is left to say.
"""

from __future__ import annotations

import copy
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from string import Formatter
from typing import Any

from prlm_bench import Document
from prlm_bench.files import read_yaml
from prlm_bench.tasks import Task, TraceRule

#: Said where there are no items.
NOTHING_SHOWN = "Nothing of this user is shown."
#: Kinds of statements, in the order in which a trace has them.
_LENGTH, _TELLING, _ABSENT = range(3)
_DEFAULTS = Path(__file__).with_name("trace_rules.yaml")
#: Field of the default rules that stands for the one that prompts cut to fit.
_LONG = "long"
_WORD = re.compile(r"[^\W\d_]{4,}")
#: Words of four letters and more that say nothing of a user.
_COMMON = frozenset(
    re.findall(
        r"\w+",
        """
    about after again also always another anything around away back because been before being both came cannot come
    could didn does doesn doing done down each even ever every first from gets getting give goes going good gonna have
    having here http https into isn just keep know last like little long look made make many maybe more most much must
    need never next nothing only onto other over part people place quot really right said same says should since some
    someone something still such sure take than that their them then there these they thing things think this those
    though thought three through time today tomorrow under until upon very wasn well went were what when where which
    while will with without would yeah year years your yours using used based approach method
    """,
    )
)

#: What a measure gives: the parts of its sentence by name.
Parts = Mapping[str, str]


@dataclass(frozen=True)
class _Measure:
    """A way to measure texts, and to tell whether what a sentence says of them is true."""

    #: Takes the rule and the texts, of which there is at least one; None if there is nothing to say.
    measure: Callable[[TraceRule, Sequence[str]], Parts | None]
    #: Takes the parts of a sentence; None if they cannot be checked.
    holds: Callable[[TraceRule, Sequence[str], Parts], bool | None]


class TraceRules:
    """The trace rules of a task.

    Args:
        task: its own rules, or those for its kind of answer.
    """

    def __init__(self, task: Task) -> None:
        default = task.answer_field or task.item_fields[0]
        rules = task.trace_rules or _default_rules(task)
        self._rules = [_Rule(rule, rule.field or default) for rule in rules]
        # Of how many users each sentence would be said, and the number of these users.
        self._said: Counter[str] = Counter()
        self._users = 0

    def among(self, users: Iterable[Sequence[Document]]) -> TraceRules:
        """The same rules with other traces: they prefer what would be said of few of these users.

        Args:
            users: the items that are shown of each.
        """
        known = list(users)
        made = copy.copy(self)
        made._said = Counter(sentence for items in known for sentence in self.statements(items))
        made._users = len(known)
        return made

    def identity(self) -> list[dict[str, Any]]:
        """All that decides what is said, as JSON values."""
        return [{**each.rule.model_dump(mode="json"), "field": each.field} for each in self._rules]

    def statements(self, items: Sequence[Document]) -> list[str]:
        """A true sentence of each rule that has something to say about the items, in the order of the rules."""
        found = [each.statement(items) for each in self._rules] if items else [NOTHING_SHOWN]
        return [sentence for sentence in found if sentence is not None]

    def trace(self, items: Sequence[Document], count: int, lot: str) -> str:
        """Some of the statements, a line each: the length, then others by lot, the less common ones more often.

        That something is absent (`No tweets have ...`) is said only if there are too few other statements.

        Args:
            items: that a prompt shows.
            count: of the statements, at most.
            lot: decides which, such as a seed with the question's id.
        """
        if not items:
            return NOTHING_SHOWN
        rng = random.Random(f"trace {lot}")
        by_kind: dict[int, list[str]] = {_LENGTH: [], _TELLING: [], _ABSENT: []}
        for rule in self._rules:
            sentence = rule.statement(items)
            if sentence is not None:
                by_kind[rule.kind(sentence)].append(sentence)
        return "\n".join([each for kind in sorted(by_kind) for each in self._drawn(by_kind[kind], rng)][:count])

    def _drawn(self, sentences: Sequence[str], rng: random.Random) -> list[str]:
        """All sentences, drawn one after the other with weights: the surprise that the sentence is true of a user."""
        # The least of exponential variates with these rates is a draw with these weights.
        surprise = [math.log((self._users + 1) / max(1, self._said[each])) or 1.0 for each in sentences]
        found = sorted((rng.expovariate(weight), each) for each, weight in zip(sentences, surprise, strict=True))
        return [each for _, each in found]

    def check(self, statement: str, items: Sequence[Document]) -> bool | None:
        """Whether a sentence is true of the items; None if it is not of the form of a rule.

        Args:
            statement: one sentence. White space and letter case do not count.
            items: that the prompt shows.
        """
        sentence = " ".join(statement.split())
        if sentence.casefold() == NOTHING_SHOWN.casefold():
            return not items
        for each in self._rules:
            parts = each.read(sentence)
            if parts is not None:
                return each.holds(items, parts)
        return None


@dataclass(frozen=True)
class _Rule:
    """A rule with the field that it reads."""

    rule: TraceRule
    field: str

    def statement(self, items: Sequence[Document]) -> str | None:
        parts = _MEASURES[self.rule.measure].measure(self.rule, self._texts(items))
        return None if parts is None else " ".join(self.rule.say.format(field=self.field, **parts).split())

    def kind(self, sentence: str) -> int:
        """What a sentence of this rule says: the length, that something is absent, or anything else."""
        if self.rule.measure == "mean_words":
            return _LENGTH
        quantity = (self.read(sentence) or {}).get("quantity", "").casefold()
        absent = {word.casefold() for word, bound in self.rule.quantities.items() if bound == 0}
        return _ABSENT if quantity in absent else _TELLING

    def holds(self, items: Sequence[Document], parts: Parts) -> bool | None:
        # Of no items every sentence says something that is not there.
        return bool(items) and _MEASURES[self.rule.measure].holds(self.rule, self._texts(items), parts)

    def read(self, sentence: str) -> Parts | None:
        """The parts of a sentence of this rule; None for another sentence."""
        found = self._pattern.fullmatch(sentence)
        return None if found is None else found.groupdict()

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        parts = []
        for text, name, _, _ in Formatter().parse(self.rule.say):
            parts.append(r"\s+".join(map(re.escape, re.split(r"\s+", text))))
            if name == "field":
                parts.append(re.escape(self.field))
            elif name == "quantity":
                parts.append(f"(?P<quantity>{'|'.join(map(re.escape, self.rule.quantities))})")
            elif name is not None:
                parts.append(f"(?P<{name}>.+?)")
        return re.compile("".join(parts).strip(), re.IGNORECASE)

    def _texts(self, items: Sequence[Document]) -> list[str]:
        return [item.fields.get(self.field, "") for item in items]


def _default_rules(task: Task) -> list[TraceRule]:
    by_kind = read_yaml(_DEFAULTS).content
    rules = by_kind[task.output if task.answer_field else "text"]
    long = task.prompts.chat.long
    return [
        TraceRule.model_validate({**rule, **({"field": long} if rule.get("field") == _LONG else {})}) for rule in rules
    ]


def _quantity(rule: TraceRule, share: float) -> str:
    return next(word for word, bound in rule.quantities.items() if share <= bound)


def _is_quantity(rule: TraceRule, share: float, parts: Parts) -> bool:
    return _quantity(rule, share).casefold() == parts["quantity"].casefold()


def _is_mean(rule: TraceRule, mean: float | None, parts: Parts) -> bool | None:
    claimed = _number(parts["value"])
    if claimed is None or mean is None:
        return None
    return abs(claimed - mean) <= max(0.5, rule.within * abs(mean))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _mean_words(texts: Sequence[str]) -> float:
    return _mean([len(text.split()) for text in texts])


def _mean_number(texts: Sequence[str]) -> float | None:
    """None unless all texts are numbers."""
    numbers = [_number(text) for text in texts]
    known = [number for number in numbers if number is not None]
    return _mean(known) if len(known) == len(texts) and isfinite(sum(known)) else None


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if isfinite(found) and "_" not in text else None


def _share(texts: Sequence[str], pattern: str) -> float:
    return _mean([re.search(pattern, text) is not None for text in texts])


def _words(texts: Sequence[str]) -> Counter[str]:
    """The number of texts that have each word."""
    return Counter(word for text in texts for word in {found.casefold() for found in _WORD.findall(text)} - _COMMON)


def _frequent_words(rule: TraceRule, texts: Sequence[str]) -> Parts | None:
    counts = _words(texts)
    known = sorted((-count, word) for word, count in counts.items() if count >= rule.least)
    return {"words": ", ".join(word for _, word in known[: rule.words])} if known else None


def _are_frequent(rule: TraceRule, texts: Sequence[str], parts: Parts) -> bool | None:
    counts = _words(texts)
    named = [word.strip().casefold() for word in re.split(r",|\band\b", parts["words"], flags=re.IGNORECASE)]
    return all(counts[word] >= rule.least for word in named) if any(named) else None


def _labels(texts: Sequence[str]) -> Counter[str]:
    return Counter(_label(text) for text in texts)


def _label(text: str) -> str:
    return " ".join(text.split()).casefold()


def _most_frequent(rule: TraceRule, texts: Sequence[str]) -> Parts | None:
    count, label = min((-count, label) for label, count in _labels(texts).items())
    written = next(" ".join(text.split()) for text in texts if _label(text) == label)
    return {"quantity": _quantity(rule, -count / len(texts)), "label": written} if label else None


def _label_holds(rule: TraceRule, texts: Sequence[str], parts: Parts) -> bool:
    return _is_quantity(rule, _labels(texts)[_label(parts["label"])] / len(texts), parts)


def _rounded(mean: float | None) -> Parts | None:
    return None if mean is None else {"value": str(round(mean))}


_MEASURES: Mapping[str, _Measure] = {
    "mean_words": _Measure(
        lambda rule, texts: _rounded(_mean_words(texts)),
        lambda rule, texts, parts: _is_mean(rule, _mean_words(texts), parts),
    ),
    "mean_number": _Measure(
        lambda rule, texts: _rounded(_mean_number(texts)),
        lambda rule, texts, parts: _is_mean(rule, _mean_number(texts), parts),
    ),
    "share": _Measure(
        lambda rule, texts: {"quantity": _quantity(rule, _share(texts, rule.pattern or ""))},
        lambda rule, texts, parts: _is_quantity(rule, _share(texts, rule.pattern or ""), parts),
    ),
    "frequent_words": _Measure(_frequent_words, _are_frequent),
    "label_share": _Measure(_most_frequent, _label_holds),
}
