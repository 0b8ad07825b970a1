"""The contracts that plugins fulfil: structural types, batch in and batch out, nothing to inherit from.

Every component has `fingerprint()`: whatever beyond its name, version and options changes what it
computes (the hash of a model's files, the version of a library); an empty string where there is nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .records import Answer, Completion, Example, Prompt, Ranking, Sample

if TYPE_CHECKING:
    from .data import Dataset
    from .progress import Progress
    from .tasks import Task


class Fingerprinted(Protocol):
    """Anything whose identity becomes part of the key under which results are stored."""

    def fingerprint(self) -> str:
        """Identity beyond name, version and options; "" where there is none."""
        ...


class SameResults:
    """Marks an option that changes how fast a component is and nothing of its results: `Annotated[int, SameResults]`.

    Such an option is no part of what the component is called or of its identity.
    """


class Retriever(Fingerprinted, Protocol):
    """Orders the items of each example's own profile."""

    def rank(self, examples: Sequence[Example], k: int | None = None) -> Sequence[Ranking]:
        """Rank each profile for its example's query.

        Args:
            examples: any number of examples.
            k: how many items are needed; None asks for the whole profile. More may be returned.

        Returns:
            One ranking for each example, in their order, best item first. The result for an example
            must not depend on the other examples of the call.
        """
        ...


class Tokenizer(Fingerprinted, Protocol):
    """Counts and cuts text for prompt budgets."""

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


class Generator(Fingerprinted, Protocol):
    """Answers prompts."""

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer that sets prompt budgets; None leaves the choice to the reasoner."""
        ...

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """Yield `(index into prompts, completion)` once for each prompt, in any order, as they finish."""
        ...


class Reasoner(Fingerprinted, Protocol):
    """Shapes prompts from an example and its ranking, and reads the answer out of completions."""

    def prompts(
        self, examples: Sequence[Example], rankings: Sequence[Ranking], generator: Generator
    ) -> Sequence[Prompt]:
        """One prompt for each example. May call `generator` first (a profile summary, say) if it was
        registered with `needs={"generator"}`; otherwise only `generator.tokenizer` may be used."""
        ...

    def parse(self, prompt: Prompt, completion: Completion) -> Answer:
        """Read reasoning and answer out of a completion; never raises on odd text."""
        ...


class Reward(Fingerprinted, Protocol):
    """Scores attempts, as a column of a table or inside reinforcement learning."""

    def score(self, samples: Sequence[Sample]) -> Sequence[float]:
        """One finite number for each sample, larger is better."""
        ...


class Trainer(Fingerprinted, Protocol):
    """Makes an artefact (a checkpoint, a reward model) from training data."""

    def train(self, output: Path, progress: Progress) -> Mapping[str, Any]:
        """Train, resuming from what `output` holds, and return the artefact's manifest.

        Args:
            output: the folder of the artefact. It must not look whole before it is.
            progress: told about the course.
        """
        ...


class Build(Protocol):
    """Makes a component from a spec, so that components can be composed of others."""

    def __call__(self, kind: str, spec: str | Mapping[str, Any]) -> Any:
        """The component of this kind that the spec names, made for the same run."""
        ...


class Identify(Protocol):
    """Tells a component from any other, so that what is made with it can be known by it."""

    def __call__(self, kind: str, spec: str | Mapping[str, Any]) -> Mapping[str, str]:
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
    identity_of: Identify
    #: The same for another dataset: its components are made for that one, and its task.
    for_dataset: Callable[[Dataset], Context]
