"""Every call of a component: what it gives is checked here, so that its plugin is named, not the one that gets it."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Generator as Yields, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from .._util.files import pretty
from ..errors import PrlmBenchError
from ..host import WrongResultError
from ..host._faults import no_exit
from ..interfaces import Engine, Generator, Reasoner, Retriever, Reward, Samples, Trainer
from ..progress import Progress
from ..prompting import parse_completion
from ..records import Answer, Completion, Document, Example, Prompt, Ranking, Sample
from ._checked_records import check_prompt, checked

_END = object()
#: What the work of a batch gives; a tuple.
T = TypeVar("T")


def rank(retriever: Retriever, examples: Sequence[Example], k: int | None) -> list[Ranking]:
    """One ranking for each example, cut to k, with plain floats as scores.

    Raises:
        WrongResultError: the retriever gives something else.
        Exception: whatever it raises itself.
    """

    def wrong(what: str) -> WrongResultError:
        return WrongResultError(what, retriever, "rank")

    with no_exit():
        given = retriever.rank(examples, k)
        rankings = _listed(given, "rankings", wrong)
    if len(rankings) != len(examples):
        raise wrong(f"gave {len(rankings)} rankings for {len(examples)} examples")
    found = []
    for ranking in rankings:
        if not isinstance(ranking, Ranking):
            raise wrong(f"gave {_named(ranking)} in place of a Ranking")
        if not isinstance(ranking.items, tuple | list):
            raise wrong(f"gave a ranking whose items are {_named(ranking.items)} in place of a tuple")
        if len(ranking.items) != len(ranking.scores):
            raise wrong(f"gave {len(ranking.items)} items and {len(ranking.scores)} scores")
        items = tuple(ranking.items[:k])
        for item in items:
            if not isinstance(item, Document):
                raise wrong(f"gave a ranking of {_named(item)} in place of a Document")
        try:  # numpy's floats cannot be written as JSON
            found.append(Ranking(items, tuple(map(float, ranking.scores[:k]))))
        except (TypeError, ValueError):
            raise wrong("gave a score that is no number") from None
    return found


def make_prompts(
    reasoner: Reasoner, examples: Sequence[Example], rankings: Sequence[Ranking], generator: Generator
) -> list[Prompt]:
    """One prompt for each example.

    Raises:
        WrongResultError: the reasoner gives something else.
        Exception: whatever it raises itself.
    """

    def wrong(what: str) -> WrongResultError:
        return WrongResultError(what, reasoner, "prompts")

    with no_exit():
        given = reasoner.prompts(examples, rankings, generator)
        prompts = _listed(given, "prompts", wrong)
    if len(prompts) != len(examples):
        raise wrong(f"gave {len(prompts)} prompts for {len(examples)} examples")
    for example, prompt in zip(examples, prompts, strict=True):
        if not isinstance(prompt, Prompt):
            raise wrong(f"gave {_named(prompt)} in place of a Prompt")
        if not isinstance(prompt.example, Example) or prompt.example.id != example.id:
            raise wrong(f"gave a prompt of another question than {example.id!r} in its place")
        if not isinstance(prompt.ranking, Ranking):
            raise wrong(f"gave a prompt whose ranking is {_named(prompt.ranking)}")
        try:
            check_prompt(prompt)
        except PrlmBenchError as error:
            raise wrong(error.message) from None
    return prompts


def completions(
    generator: Generator, produce: Callable[[], Iterable[tuple[int, Completion]]], method: str = "generate"
) -> Iterator[tuple[int, Completion]]:
    """What a generator yields, each a number and a completion with plain values.

    Args:
        generator: the generator.
        produce: calls its method.
        method: the method's name.

    Raises:
        WrongResultError: it yields something else.
        Exception: whatever it raises itself.
    """

    def wrong(what: str) -> WrongResultError:
        return WrongResultError(what, getattr(generator, "inner", generator), method)

    with no_exit():
        produced = produce()
    if not isinstance(produced, Iterable):
        raise wrong(f"gave {_named(produced)} in place of pairs (number, Completion)")
    with closing(_each(produced)) as pairs:
        for pair in pairs:
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise wrong(f"gave {_named(pair)} in place of a pair (number, Completion)")
            if not isinstance(pair[1], Completion):
                raise wrong(f"gave {_named(pair[1])} in place of a Completion")
            try:
                answer = operator.index(pair[0]), checked(pair[1])
            except TypeError:
                raise wrong(f"gave {_named(pair[0])} in place of a prompt's number") from None
            except PrlmBenchError as error:
                raise wrong(error.message) from None
            yield answer


def drawn(generator: Samples, prompts: Sequence[Prompt], n: int) -> Iterator[tuple[int, list[Completion]]]:
    """What a generator draws: the number of each prompt with n completions of plain values.

    Raises:
        WrongResultError: it yields something else.
        Exception: whatever it raises itself.
    """

    def wrong(what: str) -> WrongResultError:
        return WrongResultError(what, getattr(generator, "inner", generator), "sample")

    with no_exit():
        produced = generator.sample(prompts, n)
    for pair in _each(produced):
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[1], tuple | list):
            raise wrong(f"gave {_named(pair)} in place of a pair (number, Completions)")
        for completion in pair[1]:
            if not isinstance(completion, Completion):
                raise wrong(f"gave {_named(completion)} in place of a Completion")
        if len(pair[1]) != n:
            raise wrong(f"gave {len(pair[1])} samples in place of {n}")
        try:
            samples = [checked(completion) for completion in pair[1]]
        except PrlmBenchError as error:
            raise wrong(error.message) from None
        yield pair[0], samples


def read_answer(reasoner: Reasoner, prompt: Prompt, completion: Completion) -> Answer:
    """The answer in a completion.

    Raises:
        WrongResultError: the reasoner gives something else.
        Exception: whatever it raises itself.
    """
    with no_exit():
        answer: Any = parse_completion(reasoner, prompt, completion)
    if not isinstance(answer, Answer):
        raise WrongResultError(f"gave {_named(answer)} in place of an Answer", reasoner, "parse")
    try:
        return checked(answer)
    except PrlmBenchError as error:
        raise WrongResultError(error.message, reasoner, "parse") from None


def reward_values(reward: Reward, samples: Sequence[Sample]) -> list[float]:
    """One number for each sample; nan where the reward gives None or no finite number.

    Raises:
        WrongResultError: the reward gives something else; the message does not depend on the number of samples.
        Exception: whatever it raises itself.
    """

    def wrong(what: str) -> WrongResultError:
        return WrongResultError(what, reward, "score")

    with no_exit():
        given: Any = reward.score(samples)
        values = _listed(given, "numbers", wrong)
    if len(values) != len(samples):
        raise wrong(f"gave {'fewer' if len(values) < len(samples) else 'more'} scores than samples")
    if any(isinstance(value, str | bytes) for value in values):
        raise wrong("gave text, not numbers")
    try:
        numbers = [math.nan if value is None else float(value) for value in values]
    except (TypeError, ValueError):
        raise wrong("gave a score that is no number") from None
    return [value if math.isfinite(value) else math.nan for value in numbers]


def train(trainer: Trainer, output: Path, progress: Progress) -> dict[str, Any]:
    """The manifest of what a trainer made.

    Raises:
        WrongResultError: the trainer gives something else.
        Exception: whatever it raises itself.
    """
    with no_exit():
        manifest: Any = trainer.train(output, progress)
    if not isinstance(manifest, Mapping):
        raise WrongResultError(f"gave {_named(manifest)} in place of a manifest", trainer, "train")
    try:
        pretty(dict(manifest))
    except TypeError as error:
        raise WrongResultError(f"gave a manifest that is no JSON ({error})", trainer, "train") from None
    return dict(manifest)


def compute(
    engine: Engine, work: Callable[[Any], T], batches: Iterable[Any], count: int, start: Callable[[], None]
) -> Iterator[T]:
    """What `work` gives for each batch, wherever an engine computes it.

    Args:
        engine: the engine.
        work, batches, start: see `Engine.map`.
        count: the number of batches.

    Raises:
        WrongResultError: the engine gives something else, or not for every batch.
        Exception: whatever it, or the work, raises itself.
    """
    given = 0
    with no_exit():
        answers: Any = engine.map(work, batches, start)
    if not isinstance(answers, Iterable):
        raise WrongResultError(f"gave {_named(answers)} in place of an iterator", engine, "map")
    for answer in _each(answers):
        if not isinstance(answer, tuple):
            raise WrongResultError(f"gave {_named(answer)} in place of what the work gave", engine, "map")
        given += 1
        found: Any = answer
        yield found
    if given != count:
        raise WrongResultError(f"gave results of {given} batches for {count}", engine, "map")


def _each(produced: Iterable[Any]) -> Yields[Any, None, None]:
    """What an iterator of a component yields; it is closed at the end, or when nobody asks it further."""
    items = iter(produced)
    try:
        while True:
            with no_exit():
                item = next(items, _END)
            if item is _END:
                return
            yield item
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()


def _listed(given: Any, what: str, wrong: Any) -> list[Any]:
    """A sequence as a list; what a generator function yields counts too."""
    if isinstance(given, str | bytes | Mapping) or not hasattr(given, "__iter__"):
        error: WrongResultError = wrong(f"gave {_named(given)}, not a sequence of {what}")
        raise error
    return list(given)


def _named(value: Any) -> str:
    """What a value is, for messages, such as `a str`."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
