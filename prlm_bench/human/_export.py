"""Creates an export: blind pairs with attention checks among them, and the key."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import DataError
from ..identity import json_digest
from ..results import SampleRecord, Stored, describe, questions_key, read_samples
from ._checks import wrong_golds
from ._sampling import Candidates, draw, open_pairs
from ._schema import Key, KeyMethod, KeyPair, Shown

#: Profile items shown with a pair.
ITEMS = 8
_Row = tuple[Shown, KeyPair]


@dataclass(frozen=True)
class Export:
    """The pairs for annotators, their key, and notes on what was not possible."""

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
    """Create blind pairs of answers to the same questions, without pairs of equal answers.

    Args:
        results: two or more results of the same questions.
        excerpts: results whose retrieved items, all of the user's own, are the profile excerpt.
        title: the task's title.
        n: number of pairs, without attention checks; fewer if there are not enough.
        seed: of everything random: the pairs, the order of their answers, and the order of pairs.
        checks: number of attention checks, pairs of a question's gold and an obviously wrong answer.
        labels: the task's labels, empty for free text; they determine what is obviously wrong.

    Raises:
        DataError: fewer than two methods, different questions, only equal answers, or checks without golds.
    """
    _check(results, excerpts)
    rng = random.Random(f"prlm-bench human {seed}")
    maker = _Maker(results, excerpts, title, rng)
    found = open_pairs({q: [method[q].answer for method in maker.methods] for q in maker.questions})
    drawn = draw(found.pairs, {q: maker.methods[0][q].user for q in maker.questions}, n, rng)
    if not drawn:
        raise DataError(f"no pairs to judge: all {found.identical} pairs of answers are equal")
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
    """Creates rows from questions."""

    def __init__(self, results: Sequence[Stored], excerpts: Sequence[Stored], title: str, rng: random.Random) -> None:
        self.methods = [{sample.id: sample for sample in read_samples(result.folder)} for result in results]
        #: The questions that all methods answered.
        self.questions = [q for q in self.methods[0] if all(q in other for other in self.methods[1:])]
        self._excerpts = [_samples(result, results, self.methods) for result in excerpts]
        self._title = title
        self._rng = rng

    def pair(self, question: str, first: int, second: int) -> _Row:
        """A pair of answers of two methods."""
        texts = (self.methods[first][question].answer, self.methods[second][question].answer)
        key = KeyPair(question=question, user=self.methods[0][question].user, first=first, second=second)
        return self._shown(question, texts), key

    def checks(self, used: set[str], count: int, labels: Sequence[str]) -> list[_Row]:
        """Attention checks; questions in `used` come last, since their gold would be a hint."""
        golds = {question: self.methods[0][question].gold for question in self.questions}
        order = self._rng.sample(sorted(self.questions), len(self.questions))
        order.sort(key=lambda question: question in used)
        rows: list[_Row] = []
        for question, right, wrong in wrong_golds(golds, order, count, self._rng, labels):
            is_first = self._rng.random() < 0.5
            texts = (right, wrong) if is_first else (wrong, right)
            key = KeyPair(question=question, user=self.methods[0][question].user, right=1 if is_first else 2)
            rows.append((self._shown(question, texts), key))
        return rows

    def _shown(self, question: str, texts: tuple[str, str]) -> Shown:
        # The items of all methods in random order: those of one method would reveal it.
        known = [method[question].items for method in self._excerpts if question in method]
        items = list(dict.fromkeys(item.text for found in known for item in found))
        self._rng.shuffle(items)
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
        raise DataError("two or more different results are needed, each given once")
    first = results[0].manifest
    for other in [*results[1:], *excerpts]:
        manifest = other.manifest
        if questions_key(manifest) != questions_key(first):
            raise DataError(f"{describe(other)} and {describe(results[0])} answered different questions")


def _key(export: str, results: Sequence[Stored], seed: int, found: Candidates, places: dict[str, KeyPair]) -> Key:
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
        # Results with equal names may differ, for example in a version.
        KeyMethod(name=name if names.count(name) == 1 else f"{name} ({fingerprint[:8]})", fingerprint=fingerprint)
        for name, fingerprint in zip(names, prints, strict=True)
    )


def _notes(shown: Sequence[Shown], n: int, drawn: int, checks: int) -> list[str]:
    notes = [f"only {drawn} of {n} pairs: no more answers differ"] if drawn < n else []
    checked = len(shown) - drawn
    if checked < checks:
        notes.append(f"only {checked} of {checks} attention checks: no more golds differ")
    bare = sum(not row.profile for row in shown)
    if bare:
        notes.append(
            f"{bare} of {len(shown)} pairs show no profile items; use --profile-from with a result that has some"
        )
    return notes
