"""Takes batches of examples through a tree of cells; a stage shared by cells is computed once.

Generators that can stream get one stream of prompts that walks through batches and cells; the others get a batch of one
cell at a time. A failing component affects only the cells that use it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice

from .._util.text import MAX_ANSWER, length_problem
from ..errors import PrlmBenchError
from ..host import ComponentChoice, Fault, fault_of
from ..host._faults import told
from ..interfaces import Activity, Generator, ReportsActivity, Reward, Streams
from ..profiling import settle, timed, timed_each
from ..records import Completion, Example, Sample
from ._cached_generator import CachedGenerator
from ._calls import completions, read_answer
from ._components import Components
from ._feed import Feed, Question
from ._plan import Cell
from ._scoring import Result, Scoring
from ._stages import Batch, Done, MethodComponents, StageError, Stages, grouped

#: Batches that are kept for all streams where several generators stream, and that may wait for other generators.
WINDOW = 8


class Pipeline:
    """Runs the cells of one dataset.

    Args:
        cells: the cells to run, identified by their index in this list.
        rewards: computed for every sample of every cell.
        components: makes what the cells name.
        max_answer: characters of an answer at most.

    Raises:
        PrlmBenchError: a component cannot be created.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        rewards: Sequence[ComponentChoice],
        components: Components,
        max_answer: int = MAX_ANSWER,
    ) -> None:
        self._cells, self._max_answer = cells, max_answer
        self._components = components
        self.parts = [self._parts(cell) for cell in cells]
        self._scoring = Scoring({str(choice): components.reward(choice)[0] for choice in rewards}, rewards)
        #: The error, in one line, of each failed cell by index.
        self.failed: dict[int, str] = {}
        #: The errors themselves, by what is said of them.
        self.faults: dict[str, Fault] = self._scoring.faults
        self._names = [cell.name for cell in cells]
        self._stages = Stages(cells, self.parts, self._open)
        #: Cells by the stream that they share.
        self.streaming = self._streams()
        streamed = {index for members in self.streaming for index in members}
        self._batched = [index for index in self._stages.order if index not in streamed]

    @property
    def rewards(self) -> dict[str, Reward]:
        """The rewards by name."""
        return self._scoring.rewards

    def run(self, batches: Iterable[Sequence[Example]], done: Done) -> Iterator[Result]:
        """Answer the questions that are not done, yielding each sample as soon as it is finished.

        With one streaming generator its stream never ends before the examples do. With several, each in turn gets the
        prompts of a few batches, so that rankings and prompts can be shared.

        Args:
            batches: the examples, drawn as there is room for them.
            done: whether a cell has already answered a question, by id.
        """
        walk = (Batch(examples) for examples in timed_each("data", batches, []))
        if len(self.streaming) < 2:
            windows: Iterable[Iterable[Batch]] = [walk]
        else:
            windows = iter(lambda: list(islice(walk, WINDOW)), [])
        for window in windows:
            for number, members in enumerate(self.streaming or [[]]):
                yield from self._walk(members, iter(window), self._batched if number == 0 else [], done)

    def score(self, results: Sequence[Result]) -> list[Result]:
        """Copies of the results with rewards; each reward is called once for all of them, see `Scoring`."""
        return self._scoring.score(results, [self._names[result.cell] for result in results])

    def activity(self) -> Activity:
        """What the generators are doing now, as far as they say."""
        inner = {id(made): made for made in (_inner(part.generator) for part in self.parts)}
        found = [made.activity() for made in inner.values() if isinstance(made, ReportsActivity)]
        rows = [each.rows for each in found if each.rows is not None]
        busy = [each.busy for each in found if each.busy is not None]
        return Activity(sum(rows) if rows else None, max(busy) if busy else None)

    def _walk(
        self, streaming: Sequence[int], batches: Iterator[Batch], batched: Sequence[int], done: Done
    ) -> Iterator[Result]:
        """Answer batches: those of `streaming` in a stream, those of `batched` once the stream has come by."""
        passed: deque[Batch] = deque()
        questions = self._questions(streaming, batches, passed, batched, done)
        feed = Feed(questions)
        while any(map(self._open, streaming)) and not feed.ended:
            answers = self._answers(streaming, feed, stream=True)
            failure: Exception | None = None
            while True:
                try:
                    result = next(answers, None)
                except Exception as error:
                    failure, result = error, None
                if result is not None:
                    yield result
                while passed:
                    yield from self._answer_batch(batched, passed.popleft(), done)
                if result is None:
                    break
            if feed.broken is not None:
                raise feed.broken
            if failure is not None:
                yield from self._ask_apart(streaming, feed, failure)
            feed = Feed(questions) if not feed.ended else feed
        for batch in batches:
            yield from self._answer_batch(batched, batch, done)

    def _questions(
        self,
        streaming: Sequence[int],
        batches: Iterator[Batch],
        passed: deque[Batch],
        batched: Sequence[int],
        done: Done,
    ) -> Iterator[Question | None]:
        """The prompts of a stream; None where the batches that it has passed have to be answered first."""
        for batch in batches:
            if any(not done(index, e.id) for index in batched if self._open(index) for e in batch.examples):
                passed.append(batch)
            for index in streaming:
                for question in self._questions_of(index, batch, done):
                    if not self._open(index):
                        break
                    yield question
            if len(passed) >= WINDOW:
                yield None
            if not any(map(self._open, streaming)):
                return

    def _answer_batch(self, members: Sequence[int], batch: Batch, done: Done) -> Iterator[Result]:
        for index in members:
            questions = self._questions_of(index, batch, done)
            if questions:
                try:
                    yield from self._answers([index], Feed(iter(questions)), stream=False)
                except Exception as error:
                    self._fail([index], "generator", error)

    def _questions_of(self, index: int, batch: Batch, done: Done) -> list[Question]:
        try:
            return self._stages.questions(index, batch, done)
        except StageError as failure:
            self._fail(failure.members, failure.kind, failure.error)
            return []

    def _ask_apart(self, members: Sequence[int], feed: Feed, failure: Exception) -> Iterator[Result]:
        """Find the cells for which a generator failed: those whose prompts fail without the others' too."""
        questions = [question for question in feed.unanswered.values() if self._open(question.cell)]
        groups = grouped(range(len(questions)), lambda j: questions[j].cell)
        if len(groups) < 2:
            self._fail([questions[0].cell] if questions else members, "generator", failure)
            return
        for places in groups:
            cell = questions[places[0]].cell
            try:
                yield from self._answers([cell], Feed(iter([questions[j] for j in places])), stream=True)
            except Exception as error:
                self._fail([cell], "generator", error)

    def _answers(self, members: Sequence[int], feed: Feed, *, stream: bool) -> Iterator[Result]:
        """The answers of a generator to the prompts of a feed.

        Raises:
            Exception: the generator failed.
        """
        generator = self.parts[members[0]].generator
        produced: Iterator[tuple[int, Completion]] | None = None
        seconds = 0.0
        try:
            while any(map(self._open, members)):
                began, before = time.perf_counter(), feed.seconds
                with timed("generation"):
                    if produced is None:
                        produced = _produced(generator, feed, stream=stream)
                    answer = next(produced, None)
                seconds += time.perf_counter() - began - (feed.seconds - before)
                if answer is None:
                    feed.check(generator)
                    return
                question, completion = feed.answered(answer[0], generator), answer[1]
                settle(self._names[question.cell])
                fresh = not (completion.is_answer or getattr(generator, "reused", False))
                result = self._parsed(question, completion, seconds if fresh else None)
                # The time of completions from the cache is that of the ones being generated meanwhile.
                seconds = 0.0 if fresh else seconds
                if result is not None:
                    yield result
        finally:
            close = getattr(produced, "close", None)
            if close is not None:
                close()

    def _parsed(self, question: Question, completion: Completion, seconds: float | None) -> Result | None:
        cell = question.cell
        if not self._open(cell):
            return None
        try:
            with timed("parsing", [self._names[cell]]):
                answer = read_answer(self.parts[cell].reasoner, question.prompt, completion)
            problem = length_problem(answer.text, self._max_answer)
            if problem:
                raise PrlmBenchError(f"the answer to question {question.prompt.example.id!r} {problem}")
        except Exception as error:
            self._fail([cell], "reasoner", error)
            return None
        return Result(cell, Sample(question.prompt, completion, answer), question.retrieval, {}, seconds=seconds)

    def _streams(self) -> list[list[int]]:
        """The cells that share a stream: those of one generator that can stream.

        A generator that a reasoner asks while it makes prompts is left out: prompts are made within its stream.
        """
        made = [part.generator for part in self.parts]
        in_reasoners = {
            id(made[i]) for i, cell in enumerate(self._cells) if "generator" in cell.reasoner.component.needs
        }
        can = [i for i in self._stages.order if isinstance(made[i], Streams) and id(made[i]) not in in_reasoners]
        return grouped(can, lambda i: id(made[i]))

    def _open(self, index: int) -> bool:
        return index not in self.failed

    def _fail(self, members: Sequence[int], kind: str, error: Exception) -> None:
        choice: ComponentChoice = getattr(self._cells[members[0]], kind)
        fault = fault_of(error)
        message = told(choice, fault)
        self.faults.setdefault(message, fault)
        for index in members:
            self.failed.setdefault(index, message)

    def _parts(self, cell: Cell) -> MethodComponents:
        make = self._components.make
        retriever, reasoner = make(cell.retriever, cell.seed)[0], make(cell.reasoner, cell.seed)[0]
        generator = self._components.generator(cell.generator, cell.seed)
        return MethodComponents(retriever, reasoner, self._components.reading(generator, reasoner))


def _produced(generator: Generator, feed: Feed, *, stream: bool) -> Iterator[tuple[int, Completion]]:
    if not stream:
        return completions(generator, lambda: generator.generate(list(feed)))
    if not isinstance(generator, Streams):
        raise PrlmBenchError("cannot stream")
    return completions(generator, partial(generator.stream, feed), "stream")


def _inner(generator: Generator) -> Generator:
    return generator.inner if isinstance(generator, CachedGenerator) else generator
