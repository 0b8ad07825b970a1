"""The contracts that plugins fulfil: structural types, batch in and batch out, nothing to inherit from.

A component may have `fingerprint()`: whatever beyond its code, name, version and options changes what it computes, such
as the hash of a model's files. What only some components can do is an optional protocol at the end of this file: the
harness asks with `isinstance` and does without where it is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload, runtime_checkable

from .progress import Progress
from .records import Answer, Completion, Example, Prompt, Ranking, Sample

if TYPE_CHECKING:
    from .data import Dataset
    from .metrics import Metric
    from .tasks import Task

__all__ = [
    "NOT_BATCH_INVARIANT",
    "NOT_VERIFIED",
    "Activity",
    "AlsoCalled",
    "Build",
    "CachesOnDisk",
    "Context",
    "ContinuesCompletions",
    "Engine",
    "Fingerprinted",
    "Generator",
    "IdentityOf",
    "Importer",
    "Judge",
    "Logger",
    "PreparesTexts",
    "Progress",
    "PromptLimited",
    "ReadsAnswers",
    "Reasoner",
    "RendersPrompts",
    "ReportsActivity",
    "Retriever",
    "Reward",
    "SameResults",
    "Samples",
    "ScoresContinuations",
    "Spec",
    "Streams",
    "Tokenizer",
    "Trainer",
]

#: What the fingerprint of a generator ends with if nothing tells its model from another one under the same name, as
#: behind servers that answer under any name. Its completions are cached for one results folder alone.
NOT_VERIFIED = "model not verified"

#: In the fingerprint of a generator whose answers may hang on the other prompts of a batch, as in half precision: a
#: near tie between two tokens can be decided by rounding.
NOT_BATCH_INVARIANT = "not batch-invariant"

#: A component as it is written: `bm25:k1=1.2`, or a mapping with its name and options.
Spec = str | Mapping[str, Any]


@dataclass(frozen=True)
class AlsoCalled:
    """Another name of an option, as other tools call it: `Annotated[str, AlsoCalled("pretrained")]`."""

    name: str


class SameResults:
    """Marks an option that changes how fast a component is and nothing of its results: `Annotated[int, SameResults]`.

    Such an option (a batch size, a timeout, a number of retries) is left out of the component's label and identity.
    """


class Retriever(Protocol):
    """Orders the items of each example's own profile."""

    def rank(self, examples: Sequence[Example], k: int | None = None) -> Sequence[Ranking]:
        """Rank each profile for its example's query.

        Args:
            examples: any number of examples.
            k: how many items are needed; None asks for the whole profile. More may be returned.

        Returns:
            One ranking for each example, in their order, best item first. The result for an example must not depend
            on the other examples of the call.
        """
        ...


class Tokenizer(Protocol):
    """Counts and cuts text for prompt budgets."""

    def fingerprint(self) -> str:
        """What tells it from other tokenizers, such as a hash of its files."""
        ...

    def count(self, text: str) -> int:
        """The number of ids of `text`, special tokens included."""
        ...

    def truncate(self, text: str, room: int) -> tuple[str, int]:
        """Cut `text` to at most `room` ids, special tokens included.

        Returns:
            The text decoded again without special tokens, and the number of ids kept.

        Raises:
            ValueError: the tokenizer refuses this room (a negative one, say).
        """
        ...


class Generator(Protocol):
    """Answers prompts."""

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer that sets prompt budgets; None leaves the choice to the reasoner."""
        ...

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """Yield `(index into prompts, completion)` once for each prompt, in any order, as they finish."""
        ...


class Reasoner(Protocol):
    """Shapes prompts from an example and its ranking, and reads the answer out of completions."""

    def prompts(
        self, examples: Sequence[Example], rankings: Sequence[Ranking], generator: Generator
    ) -> Sequence[Prompt]:
        """One prompt for each example.

        It may call `generator` first (for a profile summary, say) if it was registered with `needs={"generator"}`;
        otherwise only `generator.tokenizer` may be used. What is written for a prompt whose `example` is the question
        becomes one of the question's `drafts`; a reasoner that uses it for other questions too states it there itself.
        """
        ...

    def parse(self, prompt: Prompt, completion: Completion) -> Answer:
        """Read reasoning and answer out of a completion; must not raise, whatever the text is."""
        ...


class Reward(Protocol):
    """Scores attempts, as a column of a table or inside reinforcement learning."""

    def score(self, samples: Sequence[Sample]) -> Sequence[float]:
        """One finite number for each sample; larger is better.

        nan or None where it has none: such a sample is left out of the mean, and counted.
        """
        ...


class Judge(Protocol):
    """Gives named values to samples, with everything that a sample holds in view."""

    def judge(self, samples: Sequence[Sample]) -> Sequence[Mapping[str, float | None]]:
        """Values by name for each sample, in order; None where the judge reached no verdict."""
        ...


class Trainer(Protocol):
    """Makes an artefact (a checkpoint, a reward model) from training data."""

    def train(self, output: Path, progress: Progress) -> Mapping[str, Any]:
        """Train, resuming from what `output` holds, and return the artefact's manifest.

        Args:
            output: the folder of the artefact. It must not look whole before it is.
            progress: receives progress updates.

        Returns:
            JSON values that the command prints. `methods` runs what was trained, by name; `findings` are sentences
            about the training; `learned` is false if it had nothing to learn from, and the command exits with status 1.
            For studies: `costs` of each method (tokens_generated, tokens_trained, seconds), and `other_seeds`, options
            of the trainer with which trainings of other seeds take over what this one chose.
        """
        ...


class Importer(Protocol):
    """Reads the files of another family of benchmarks into LaMP's layout."""

    def recognizes(self, folder: Path) -> bool:
        """Whether the folder holds files of this family."""
        ...

    def convert(self, folder: Path, output: Path, progress: Progress) -> None:
        """Write `output/SPLIT/SPLIT_questions.json` and `_outputs.json`, each whole or not there.

        Raises:
            DataError: the files cannot be read.
        """
        ...


class Engine(Protocol):
    """Decides where the batches of a run are computed: in this process, in others, on other machines."""

    def map(self, work: Callable[[Any], Any], batches: Iterable[Any], start: Callable[[], None]) -> Iterator[Any]:
        """Yield `work(batch)` for each batch, in their order.

        Args:
            work: computes one batch; pickles.
            batches: what to compute, drawn as there is room for it; each pickles.
            start: prepares a worker before its first batch; pickles.

        Raises:
            RunError: a worker died.
        """
        ...


class Logger(Protocol):
    """Receives the rows of a run when it has ended, for an experiment tracker."""

    def log(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Record finished rows.

        Args:
            rows: one flat mapping a row: task, split, method, seed, n, and each metric with its interval.
        """
        ...


class Build(Protocol):
    """Makes a component from a spec, so that components can be composed of others."""

    @overload
    def __call__(self, kind: Literal["retriever"], spec: Spec) -> Retriever: ...
    @overload
    def __call__(self, kind: Literal["reasoner"], spec: Spec) -> Reasoner: ...
    @overload
    def __call__(self, kind: Literal["generator"], spec: Spec) -> Generator: ...
    @overload
    def __call__(self, kind: Literal["reward"], spec: Spec) -> Reward: ...
    @overload
    def __call__(self, kind: Literal["judge"], spec: Spec) -> Judge: ...
    @overload
    def __call__(self, kind: Literal["metric"], spec: Spec) -> Metric: ...
    @overload
    def __call__(self, kind: Literal["trainer"], spec: Spec) -> Trainer: ...
    @overload
    def __call__(self, kind: Literal["importer"], spec: Spec) -> Importer: ...
    @overload
    def __call__(self, kind: str, spec: Spec) -> Any: ...


class IdentityOf(Protocol):
    """The identity of a component, by which anything made with it can be known."""

    def __call__(self, kind: str, spec: Spec) -> Mapping[str, str]:
        """The identity of the component that `Build` makes of this spec."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What a component may know about the run it is made for.

    A factory that takes a parameter named `context` receives it; others need not know.
    """

    task: Task
    #: The split that the run answers; `dataset.sibling("train")` is the training split, where there is one.
    dataset: Dataset
    seed: int
    #: A folder where components may keep what is expensive to compute, keyed by their own fingerprints.
    cache_dir: Path
    build: Build
    identity_of: IdentityOf
    #: The same for another dataset: its components are made for that one, and its task.
    for_dataset: Callable[[Dataset], Context]


@runtime_checkable
class Fingerprinted(Protocol):
    """A component whose results depend on more than its code and options."""

    def fingerprint(self) -> str:
        """What else decides its results, such as hashes of model files; "" where there is nothing."""
        ...


@runtime_checkable
class PromptLimited(Protocol):
    """A generator with a window: prompts are built to fit it."""

    @property
    def max_prompt_tokens(self) -> int | None:
        """Tokens of a prompt at most, the chat template not counted; None for no limit."""
        ...


@runtime_checkable
class RendersPrompts(Protocol):
    """A generator that can show what its model reads."""

    def render(self, prompt: Prompt) -> str:
        """A prompt as the model reads it: in its chat template, with special tokens; or as a server gets it, as JSON.

        Raises:
            PrlmBenchError: the prompt cannot be put to the model.
        """
        ...


@runtime_checkable
class PreparesTexts(Protocol):
    """A tokenizer that is faster when it meets many texts at once."""

    def prepare(self, texts: Sequence[str]) -> None:
        """Tokenize texts that `count` and `truncate` will be called with soon."""
        ...


@runtime_checkable
class CachesOnDisk(Protocol):
    """A retriever that keeps what it computed in the cache folder."""

    def cache_bytes(self) -> int:
        """Bytes on disk that belong to it."""
        ...


@runtime_checkable
class Streams(Protocol):
    """A generator that takes prompts as they come and answers as they finish, without waiting for a batch.

    A run gives it one stream through all batches and cells, so that it never starves between them.
    """

    def stream(self, prompts: Iterator[Prompt]) -> Iterator[tuple[int, Completion]]:
        """Yield `(number of the prompt, completion)` once for each prompt, in any order, as they finish.

        A run may have several streams of one generator, one after the other. While one waits to be continued, a reward
        or a retriever that is built of the same generator may call `generate`.

        Args:
            prompts: numbered from 0 as they are drawn. Draw them as there is room, in the thread that iterates over the
                answers: drawing one may retrieve items and shape prompts first.
        """
        ...


@dataclass(frozen=True, slots=True)
class Activity:
    """What a generator is doing at the moment, for the progress line."""

    #: Prompts that are being answered at the same time.
    rows: int | None = None
    #: The share of its device that is in use, from 0 to 1.
    busy: float | None = None


@runtime_checkable
class ReportsActivity(Protocol):
    """A generator that knows how busy it is."""

    def activity(self) -> Activity:
        """What it is doing now; called from another thread at any time."""
        ...


@runtime_checkable
class ScoresContinuations(Protocol):
    """A generator that knows how likely a text is after a prompt."""

    def loglikelihood(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[list[float]]:
        """Natural log-probabilities, each the sum over the tokens of a continuation; its end is not counted.

        The model reads a prompt as `generate` has it read, chat template included. A continuation's tokens are those
        of prompt and continuation together behind as many as the prompt alone has, where white space at the
        prompt's end counts with the continuation (an encoder-decoder's are those of the continuation alone): so
        lm_eval splits them. Settings that change what is written, such as a temperature, do not count.

        Args:
            prompts: any number of prompts.
            continuations: of each prompt, any number of texts; "" has log-probability 0.

        Returns:
            For each prompt one number for each of its continuations.

        Raises:
            PrlmBenchError: a prompt with a continuation is too long for the model.
        """
        ...


@runtime_checkable
class Samples(Protocol):
    """A generator that draws several completions of one prompt."""

    def sample(self, prompts: Sequence[Prompt], n: int) -> Iterator[tuple[int, Sequence[Completion]]]:
        """Yield `(index into prompts, n completions)` once for each prompt, in any order.

        What is drawn depends on the prompt, the seed and the number of the sample alone: the first one is that of
        `generate`, and fewer samples are the first ones of more.

        Raises:
            PrlmBenchError: the generator is greedy, so that all samples would be the same.
        """
        ...


@runtime_checkable
class ContinuesCompletions(Protocol):
    """A generator that goes on with a completion that was begun, by itself or by someone else."""

    def continued(self, prompts: Sequence[Prompt], beginnings: Sequence[str]) -> Iterator[tuple[int, Completion]]:
        """Yield `(index into prompts, what follows the beginning)` once for each prompt, in any order.

        Args:
            prompts: any number of prompts.
            beginnings: of the completion of each, as completions of `generate` begin: with the opening mark of
                reasoning if the chat template writes it.

        Raises:
            PrlmBenchError: a prompt with its beginning is too long for the model.
        """
        ...


@runtime_checkable
class ReadsAnswers(Protocol):
    """A generator that looks at the answers in completions before it gives one, as a vote over samples does."""

    def reading(self, reasoner: Reasoner) -> Generator:
        """The same generator, which reads answers as this reasoner parses them: that of the row it is in."""
        ...
