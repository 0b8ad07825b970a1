"""Makes an export: blind pairs, attention checks among them, and the key that stays behind."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import DataError
from ..identity import json_digest
from ..results import SampleRecord, Stored, describe, questions_key, read_samples
from ._checks import wrong_golds
from ._sampling import Open, draw, open_pairs
from ._schema import Key, KeyMethod, KeyPair, Shown

#: Items of a profile that are shown with a pair.
ITEMS = 8
_Row = tuple[Shown, KeyPair]


@dataclass(frozen=True)
class Export:
    """What is handed out, the key to it, and what could not be done as asked."""

    shown: list[Shown]
    key: Key
    notes: list[str] = field(default_factory=list)


def make_export(
    results: Sequence[Stored],
    excerpts: Sequence[Stored],
    title: str,
    *,
    n: int,
    seed: int,
    checks: int,
    labels: Sequence[str] = (),
) -> Export:
    """Blind pairs of answers to the same questions; equal answers are left out.

    Args:
        results: two or more results of the same questions.
        excerpts: results whose retrieved items, all of the user's own, are shown as an excerpt of the profile.
        title: what the task asks for, in words.
        n: pairs, besides the attention checks; fewer where there are not so many.
        seed: of all that is drawn: the pairs, which answer stands first, and the order of everything.
        checks: attention checks: a question's gold beside an answer that is plainly wrong.
        labels: the task's labels, empty for free text; they decide what is plainly wrong.

    Raises:
        DataError: fewer than two methods, other questions, equal answers everywhere, or checks without golds.
    """
    _check(results, excerpts)
    rng = random.Random(f"prlm-bench human {seed}")
    maker = _Maker(results, excerpts, title, rng)
    found = open_pairs({q: [method[q].answer for method in maker.methods] for q in maker.questions})
    drawn = draw(found.pairs, {q: maker.methods[0][q].user for q in maker.questions}, n, rng)
    if not drawn:
        raise DataError(f"there is nothing to judge: all {found.identical} pairs of answers are equal")
    rows = [maker.pair(*each) for each in drawn]
    rows += maker.checks({question for question, _, _ in drawn}, checks, labels) if checks else []
    rng.shuffle(rows)
    export = json_digest([shown.model_dump(exclude={"pair"}) for shown, _ in rows])[:8]
    names = [f"{export}-{number:0{len(str(len(rows)))}d}" for number in range(1, len(rows) + 1)]
    places = {name: place for name, (_, place) in zip(names, rows, strict=True)}
    key = _key(export, results, seed, found, places)
    shown = [row.model_copy(update={"pair": name}) for name, (row, _) in zip(names, rows, strict=True)]
    return Export(shown, key, _notes(shown, n, len(drawn), checks))


class _Maker:
    """Turns questions into rows."""

    def __init__(self, results: Sequence[Stored], excerpts: Sequence[Stored], title: str, rng: random.Random) -> None:
        self.methods = [{sample.id: sample for sample in read_samples(result.folder)} for result in results]
        #: What all methods have answered.
        self.questions = [q for q in self.methods[0] if all(q in other for other in self.methods[1:])]
        self._excerpts = [_samples(result, results, self.methods) for result in excerpts]
        self._title = title
        self._dice = rng

    def pair(self, question: str, first: int, second: int) -> _Row:
        """Two methods' answers."""
        texts = (self.methods[first][question].answer, self.methods[second][question].answer)
        key = KeyPair(question=question, user=self.methods[0][question].user, first=first, second=second)
        return self._shown(question, texts), key

    def checks(self, used: set[str], count: int, labels: Sequence[str]) -> list[_Row]:
        """Attention checks; questions in `used` come last, for their gold would be a hint."""
        golds = {question: self.methods[0][question].gold for question in self.questions}
        order = self._dice.sample(sorted(self.questions), len(self.questions))
        order.sort(key=lambda question: question in used)
        rows: list[_Row] = []
        for question, right, wrong in wrong_golds(golds, order, count, self._dice, labels):
            is_first = self._dice.random() < 0.5
            texts = (right, wrong) if is_first else (wrong, right)
            key = KeyPair(question=question, user=self.methods[0][question].user, right=1 if is_first else 2)
            rows.append((self._shown(question, texts), key))
        return rows

    def _shown(self, question: str, texts: tuple[str, str]) -> Shown:
        # The items of all methods together, in any order: those of one alone would tell which it is.
        known = [method[question].items for method in self._excerpts if question in method]
        items = list(dict.fromkeys(item.text for found in known for item in found))
        self._dice.shuffle(items)
        return Shown(
            pair="",
            task=self._title,
            question=self.methods[0][question].query,
            profile="\n\n".join(items[:ITEMS]),
            answer_1=texts[0],
            answer_2=texts[1],
        )


def _samples(
    result: Stored, results: Sequence[Stored], methods: Sequence[dict[str, SampleRecord]]
) -> dict[str, SampleRecord]:
    if result in results:
        return methods[results.index(result)]
    return {sample.id: sample for sample in read_samples(result.folder)}


def _check(results: Sequence[Stored], excerpts: Sequence[Stored]) -> None:
    if len({result.manifest.fingerprint for result in results}) < max(2, len(results)):
        raise DataError("two or more different results are needed, each named once")
    first = results[0].manifest
    for other in [*results[1:], *excerpts]:
        manifest = other.manifest
        if questions_key(manifest) != questions_key(first):
            raise DataError(f"{describe(other)} and {describe(results[0])} answered different questions")


def _key(export: str, results: Sequence[Stored], seed: int, found: Open, places: dict[str, KeyPair]) -> Key:
    return Key(
        export=export,
        task=results[0].manifest.task,
        split=results[0].manifest.split,
        seed=seed,
        methods=_methods(results),
        identical=found.identical,
        different=found.different,
        pairs=places,
    )


def _methods(results: Sequence[Stored]) -> tuple[KeyMethod, ...]:
    names = [describe(result) for result in results]
    prints = [result.manifest.fingerprint for result in results]
    return tuple(
        # Two results may differ in what their names do not say, such as a version.
        KeyMethod(name=name if names.count(name) == 1 else f"{name} ({fingerprint[:8]})", fingerprint=fingerprint)
        for name, fingerprint in zip(names, prints, strict=True)
    )


def _notes(shown: Sequence[Shown], n: int, drawn: int, checks: int) -> list[str]:
    notes = [f"only {drawn} of {n} pairs: there are no more that differ"] if drawn < n else []
    checked = len(shown) - drawn
    if checked < checks:
        notes.append(f"only {checked} of {checks} attention checks: there are no more golds that differ")
    bare = sum(not row.profile for row in shown)
    if bare:
        notes.append(
            f"{bare} of {len(shown)} pairs show nothing of the profile; --profile-from names a result that can"
        )
    return notes
