"""One split of a task with the components that work on it: what notebooks and commands use to take single steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from ._util.cache_folder import cache_root
from .data import open_split
from .errors import RunError
from .host import ComponentChoice, PluginHost, given as given_component
from .interfaces import ContinuesCompletions, Generator, Reasoner, Samples, Tokenizer
from .progress import Progress, Silent
from .records import Completion, Example, Prompt, Ranking, Sample
from .results import Scores, score_answers
from .running import Components, missing_requirement, prompt_lines, ranking_file, remedy
from .running._calls import completions, drawn, rank, read_answer
from .running._drafts import Drafting

if TYPE_CHECKING:
    from .data import Dataset
    from .tasks import Task

__all__ = ["PromptList", "Session", "component_choice"]

#: Examples that go through a component together.
_BATCH = 128


class PromptList(list[Prompt]):
    """Prompts with the reasoner that made them, which reads the answers out of their completions."""

    def __init__(self, prompts: Sequence[Prompt], reasoner: Reasoner) -> None:
        super().__init__(prompts)
        self.reasoner = reasoner


class Session:
    """A split of a task, opened, and the components that are used on it, each made once.

    Args:
        task: a task's name, or the path of a task file.
        data: a folder in LaMP's layout, or its parent; by default `PRLM_BENCH_DATA`. Tasks of mini-LaMP need none.
        split: `train`, `dev` or `test`.
        seed: the seed of what is random.
        limit: only the first questions.
        view: the texts that retrieval reads, `lamp` or `prlm`.
        dates: append each item's date to what retrieval reads.
        skip_invalid: leave malformed questions out instead of refusing the file.
        any_task: take files of another benchmark than the task's.
        synth_users: users a split of generated tasks.
        plugins: local plugins to load: `path/to/file.py` or `package.module`.
        progress: True draws progress on standard error; an object receives the updates.
        host: loaded plugins, in place of `plugins`.

    Raises:
        PrlmBenchError: the task is unknown, or its data are missing or unusable.
    """

    def __init__(
        self,
        task: str | Path,
        *,
        data: str | Path | None = None,
        split: str = "dev",
        seed: int = 0,
        limit: int | None = None,
        view: str = "lamp",
        dates: bool = False,
        skip_invalid: bool = False,
        any_task: bool = False,
        synth_users: int | None = None,
        plugins: Sequence[str | Path] = (),
        progress: bool | Progress = False,
        host: PluginHost | None = None,
    ) -> None:
        self.host = host or PluginHost(map(str, plugins))
        self.seed = seed
        self.limit = limit
        self._drawn: AbstractContextManager[Progress] = progress_context(progress)
        self.progress = self._drawn.__enter__()
        try:
            self.task: Task = self.host.tasks.get(str(task))
            self.dataset: Dataset = open_split(
                self.task,
                split,
                None if data is None else Path(data),
                view=view,
                dates=dates,
                skip_invalid=skip_invalid,
                any_task=any_task,
                synth_users=synth_users,
                progress=self.progress,
            )
        except BaseException:
            self._drawn.__exit__(None, None, None)
            raise
        self.components = Components(self.host, self.dataset, cache_root())
        self._drafting = Drafting()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close caches and the progress display; the session can still be used, and opens them again."""
        self.components.close()
        self._drawn.__exit__(None, None, None)

    def __repr__(self) -> str:
        return f"Session({self.task.name!r}, split={self.dataset.split!r}, {len(self)} questions)"

    def __len__(self) -> int:
        """The number of questions."""
        return min(self.limit or len(self.dataset), len(self.dataset))

    def examples(self) -> list[Example]:
        """All questions with their profiles, in the order of the data."""
        return [example for batch in self._batches() for example in batch]

    def component(self, kind: str, spec: Any) -> Any:
        """A component for this split.

        Args:
            kind: `retriever`, `reasoner`, `generator`, `judge` or `reward`.
            spec: a spec such as `bm25:k1=1.2`, a class, or an object.

        Raises:
            PrlmBenchError: it is unknown, its options are wrong, or the data lack what it needs.
        """
        choice = component_choice(self.host, kind, spec)
        why = missing_requirement(choice.component, self.dataset)
        if why is not None and (hint := remedy(why, self.host, self.task.name)):
            where = f"{self.task.name} {self.dataset.split}"
            raise RunError(f"{kind} {choice} cannot run on {where}: it {why}", hint)
        return self.components.ready(kind, choice, self.seed)

    def rank(self, retriever: Any, k: int | None = None) -> list[Ranking]:
        """Rank each question's profile.

        Args:
            retriever: a spec, a class, or an object with `rank`.
            k: items to keep; None keeps the whole profile.

        Returns:
            One ranking for each question, best item first.
        """
        ranker = self.component("retriever", retriever)
        found: list[Ranking] = []
        self.progress.start(f"{self.task.name} {self.dataset.split}: ranking", len(self))
        for batch in self._batches():
            found += rank(ranker, batch, k)
            self.progress.advance(len(batch))
        return found

    def prompts(
        self, retriever: Any = "none", k: int = 4, reasoner: Any = "direct", generator: Any = None
    ) -> PromptList:
        """Build a prompt for each question.

        Args:
            retriever: finds the items that a prompt shows.
            k: items to show.
            reasoner: shapes the prompts.
            generator: sets the token budget by its tokenizer and window; None leaves it to the reasoner.

        Raises:
            PrlmBenchError: a component cannot be used here.
        """
        choice = component_choice(self.host, "reasoner", reasoner)
        made: Reasoner = self.component("reasoner", choice)
        needs_one = "generator" in choice.component.needs
        if generator is None and needs_one:
            raise RunError(f"reasoner {choice} calls a generator while it shapes prompts", "give generator=...")
        budget: Generator = self.component("generator", generator) if generator is not None else _NoGenerator()
        rankings = self.rank(retriever, k)
        prompts: list[Prompt] = []
        at = 0
        for batch in self._batches():
            prompts += self._drafting.prompts(made, batch, rankings[at : at + len(batch)], budget, asks=needs_one)
            at += len(batch)
        return PromptList(prompts, made)

    def generate(self, prompts: Sequence[Prompt], generator: Any, reasoner: Any = None) -> list[Sample]:
        """Answer prompts.

        Completions of generators whose kind is cached are kept between sessions and runs.

        Args:
            prompts: what `prompts` returned, or any prompts.
            generator: a spec, a class, or an object with `generate` and `tokenizer`.
            reasoner: reads the answers; by default the one that made the prompts, else `direct`.

        Returns:
            One sample for each prompt, in their order, with prompt, completion and answer.
        """
        made, reader = self._generator(generator), self._reader(prompts, reasoner)
        found: dict[int, Completion] = {}
        self.progress.start(f"{self.task.name} {self.dataset.split}: generating", len(prompts))
        asked = self.components.reading(made, reader)
        for index, completion in completions(asked, partial(asked.generate, prompts)):
            found[index] = completion
            self.progress.advance()
        _check_complete(generator, len(found), len(prompts))
        return [
            Sample(prompt, found[index], read_answer(reader, prompt, found[index]))
            for index, prompt in enumerate(prompts)
        ]

    def sample(self, prompts: Sequence[Prompt], generator: Any, n: int, reasoner: Any = None) -> list[list[Sample]]:
        """Answer each prompt n times.

        Args:
            prompts: what `prompts` returned, or any prompts.
            generator: one that draws samples, such as `transformers:model=DIR,temperature=0.7`.
            n: samples of each prompt; the first is what `generate` gives.
            reasoner: reads the answers; by default the one that made the prompts, else `direct`.

        Returns:
            For each prompt n samples, in order.

        Raises:
            RunError: the generator draws no samples.
        """
        made, reader = self._generator(generator), self._reader(prompts, reasoner)
        if not isinstance(made, Samples):
            raise RunError(f"generator {generator} draws no samples", "take one that does, such as transformers")
        found: dict[int, Sequence[Completion]] = {}
        self.progress.start(f"{self.task.name} {self.dataset.split}: {n} samples each", len(prompts))
        for index, samples in drawn(made, prompts, n):
            found[index] = samples
            self.progress.advance()
        _check_complete(generator, len(found), len(prompts))
        return [
            [Sample(prompt, completion, read_answer(reader, prompt, completion)) for completion in found[index]]
            for index, prompt in enumerate(prompts)
        ]

    def continued(
        self, prompts: Sequence[Prompt], beginnings: Sequence[str], generator: Any, reasoner: Any = None
    ) -> list[Sample]:
        """Have a generator go on with completions that were begun, such as reasoning that was changed.

        Args:
            prompts: what `prompts` returned, or any prompts.
            beginnings: of the completion of each prompt.
            generator: one that can, such as `transformers`.
            reasoner: reads the answers; by default the one that made the prompts, else `direct`.

        Returns:
            One sample for each prompt, in their order, whose completion is the beginning and what follows it.

        Raises:
            RunError: the generator cannot go on with a completion.
        """
        made, reader = self._generator(generator), self._reader(prompts, reasoner)
        if not isinstance(made, ContinuesCompletions):
            raise RunError(f"generator {generator} cannot go on with a completion", "take one that can: transformers")
        found: dict[int, Completion] = {}
        self.progress.start(f"{self.task.name} {self.dataset.split}: continuing", len(prompts))
        for index, rest in completions(made, partial(made.continued, prompts, beginnings), "continued"):
            found[index] = replace(rest, text=beginnings[index] + rest.text)
            self.progress.advance()
        _check_complete(generator, len(found), len(prompts))
        return [
            Sample(prompt, found[index], read_answer(reader, prompt, found[index]))
            for index, prompt in enumerate(prompts)
        ]

    def score(self, samples: Sequence[Sample], metrics: Sequence[str] | None = None) -> Scores:
        """Score answers against the golds, with 95 % intervals over users.

        Args:
            samples: what `generate` returned.
            metrics: names; by default those of the task, under both protocols.

        Raises:
            DataError: golds are missing, or there is nothing to score.
        """
        scored = score_answers(
            [sample.answer.text for sample in samples],
            [sample.prompt.example.gold for sample in samples],
            [sample.prompt.example.user for sample in samples],
            self.task.labels,
            self.host.metrics(metrics or self.task.metrics),
        )
        scored.refuse_golds()
        users = len({sample.prompt.example.user for sample in samples})
        return Scores(self.task.name, len(samples), users, scored.summaries, failures=scored.failures)

    def ranking_file(self, retriever: Any) -> Iterator[bytes]:
        """LaMP's ranking file in pieces: `{question id: [item ids, best first, the whole profile]}`."""
        return ranking_file(self.dataset, self.component("retriever", retriever), self.limit, self.progress)

    def prompt_lines(
        self,
        retriever: Any,
        k: int,
        protocol: Literal["lamp", "chat", "plain"],
        tokenizer: Tokenizer,
        max_length: int = 512,
    ) -> Iterator[bytes]:
        """One JSON line for each question: its id, its prompt, and how many items are shown, cut and dropped."""
        ranker = self.component("retriever", retriever)
        return prompt_lines(self.dataset, ranker, k, protocol, tokenizer, max_length, self.limit, self.progress)

    def _generator(self, spec: Any) -> Generator:
        choice = component_choice(self.host, "generator", spec)
        self.components.check(choice)
        return self.components.generator(choice, self.seed)

    def _reader(self, prompts: Sequence[Prompt], reasoner: Any) -> Reasoner:
        if reasoner is None and isinstance(prompts, PromptList):
            return prompts.reasoner
        made: Reasoner = self.component("reasoner", reasoner or "direct")
        return made

    def _batches(self) -> Iterator[Sequence[Example]]:
        return self.dataset.batches(_BATCH, 0, len(self))


def _check_complete(generator: Any, found: int, wanted: int) -> None:
    if found < wanted:
        raise RunError(f"generator {generator} left {wanted - found} of {wanted} prompts without an answer")


class _NoGenerator:
    """Stands where a prompt is built for no particular generator."""

    tokenizer = None

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """Refuse."""
        raise RunError("no generator was given")


def component_choice(host: PluginHost, kind: str, spec: Any) -> ComponentChoice:
    """A component that is named by a spec, or given as a class or an object."""
    if isinstance(spec, str | dict | ComponentChoice):
        return host.registry.choose(kind, spec)
    return given_component(kind, spec)


def progress_context(progress: bool | Progress) -> AbstractContextManager[Progress]:
    """What shows progress while it is entered: a display for True, nothing for False, else the object itself."""
    if progress is True:
        from ._util.progress_bars import make_progress

        return make_progress()
    return nullcontext(Silent() if progress is False else progress)
