"""Creates the components of a run, each once, with the context that its factory needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RunError
from ..host import NEEDS, Component, ComponentChoice, PluginFault, PluginHost
from ..host._checked_metric import NOT_MADE
from ..identity import json_digest
from ..interfaces import NOT_BATCH_INVARIANT, NOT_VERIFIED, Context, Generator, ReadsAnswers, Reasoner, Reward, Streams
from ..records import Sample
from ..results._seed_groups import SEED
from ._cached_generator import CachedGenerator, CachedStream
from ._generation_cache import GenerationCache

if TYPE_CHECKING:
    from ..data import Dataset

#: In a results folder, the folder for completions of models that are not verified.
FOLDER_CACHE = ".cache"


class Components:
    """The components of one dataset.

    Args:
        host: the loaded plugins.
        dataset: what the components will work on.
        cache_dir: folder for cached computations.
    """

    def __init__(self, host: PluginHost, dataset: Dataset, cache_dir: Path) -> None:
        self._host, self._dataset, self._cache_dir = host, dataset, cache_dir
        #: The results folder of the run, if there is one.
        self.results: Path | None = None
        #: Identities of the components built by the factories now running, innermost last.
        self._built: list[list[dict[str, str]]] = []
        #: The canonical text of each spec that they were built from, innermost last.
        self._inner: list[dict[str, str]] = []
        self._made: dict[tuple[str, str, str, int, int], tuple[Any, dict[str, str]]] = {}
        #: Errors of factories, which are not called again.
        self._faults: dict[tuple[str, str, str, int, int], PluginFault] = {}
        self._cached: dict[int, CachedGenerator] = {}

    def make(self, choice: ComponentChoice, seed: int) -> tuple[Any, dict[str, str]]:
        """Create a component and its identity; the same choice, options and seed give the same object.

        Raises:
            PrlmBenchError: the component rejects its options or cannot run here.
            PluginFault: its factory raised another error than that.
        """
        key = _key(choice, seed)
        if key in self._faults:
            raise self._faults[key]
        if key not in self._made:
            self._built.append([])
            self._inner.append({})
            try:
                made = choice.make(self.context(seed))
                if isinstance(made, CachedGenerator):  # a preset of another generator, which has a cache of its own
                    made = made.inner
                identity = choice.with_inner(self._inner[-1]).identity(made)
            except PluginFault as fault:
                self._faults[key] = fault
                raise
            finally:
                parts, _ = self._built.pop(), self._inner.pop()
            if parts:  # the identity of a component includes those it is composed of
                identity["fingerprint"] = _composed(identity["fingerprint"], parts)
            self._made[key] = (made, identity)
        if self._built:
            self._built[-1].append(self._made[key][1])
        return self._made[key]

    def reward(self, choice: ComponentChoice) -> tuple[Reward, dict[str, str]]:
        """Create a reward and its identity. If its factory raises an error, what is returned raises it when called."""
        try:
            return self.make(choice, 0)
        except PluginFault as fault:
            broken = _BrokenReward(fault)
            return broken, {**choice.identity(broken), "fingerprint": NOT_MADE}

    def generator(self, choice: ComponentChoice, seed: int) -> Generator:
        """Create a generator, with the completion cache if it is cached.

        Completions of a model that is not verified are kept in the results folder, or not at all without one: in
        another folder the same identity may be another model.
        """
        made, identity = self.make(choice, seed)
        return self._with_cache(choice, made, identity)

    def _with_cache(self, choice: ComponentChoice, made: Generator, identity: Mapping[str, str]) -> Generator:
        verified = NOT_VERIFIED not in identity["fingerprint"]
        root = self._cache_dir if verified else self.results and self.results / FOLDER_CACHE
        if root is None or not choice.component.cached:
            return made
        if id(made) not in self._cached:
            kind = CachedStream if isinstance(made, Streams) else CachedGenerator
            self._cached[id(made)] = kind(made, GenerationCache(root, identity))
        return self._cached[id(made)]

    @staticmethod
    def reading(generator: Generator, reasoner: Reasoner) -> Generator:
        """A generator of a row whose answers this reasoner parses."""
        return generator.reading(reasoner) if isinstance(generator, ReadsAnswers) else generator

    def close(self) -> None:
        """Close the files of the completion caches; they reopen on use."""
        for cached in self._cached.values():
            cached.close()

    def context(self, seed: int) -> Context:
        """The value of a factory's parameter `context`."""

        def build(kind: str, spec: str | Mapping[str, Any]) -> Any:
            made = self.ready(kind, spec, seed)
            if kind != "generator":
                return made
            choice = self._host.registry.choose(kind, spec)
            return self._with_cache(choice, made, self._made[_key(choice, seed)][1])

        def identify(kind: str, spec: str | Mapping[str, Any]) -> Mapping[str, str]:
            return self.make(self._host.registry.choose(kind, spec), seed)[1]

        def over(dataset: Dataset) -> Context:
            return Components(self._host, dataset, self._cache_dir).context(seed)

        return Context(self._dataset.task, self._dataset, seed, self._cache_dir, build, identify, over)

    def ready(self, kind: str, spec: str | Mapping[str, Any] | ComponentChoice, seed: int) -> Any:
        """Create a component by spec, for commands that run it alone or components composed of it.

        Raises:
            PrlmBenchError: unknown name, or the dataset lacks what it needs.
        """
        choice = self._host.registry.choose(kind, spec)
        self.check(choice)
        made, identity = self.make(choice, seed)
        if self._inner and isinstance(spec, str):
            self._inner[-1][spec] = identity["spec"]
        return made

    def check(self, choice: ComponentChoice) -> None:
        """Check that a component can run on the dataset.

        Raises:
            RunError: the dataset, or this installation, lacks what it needs.
        """
        why = missing_requirement(choice.component, self._dataset)
        if why is not None:
            where = f"{self._dataset.task.name} {self._dataset.split}"
            raise RunError(f"{choice.component.kind} {choice} cannot run on {where}: it {why}")


class _BrokenReward:
    """Stands for a reward whose factory raised an error: a run costs its column, as if its first call had."""

    def __init__(self, fault: PluginFault) -> None:
        self._fault = fault

    def score(self, samples: Sequence[Sample]) -> Sequence[float]:
        """Raise the factory's error."""
        raise self._fault


def _key(choice: ComponentChoice, seed: int) -> tuple[str, str, str, int, int]:
    """What the components of a dataset are told apart by."""
    component = choice.component
    return component.kind, component.qualified, repr(choice.options), id(component.instance), seed


def _composed(fingerprint: str, parts: list[dict[str, str]]) -> str:
    """The fingerprint of a component that is composed of others.

    Their seeds and what is stated of one of them stand in it as text, since they are looked for in it.
    """
    texts = [part["fingerprint"] for part in parts]
    bare = [{**part, "fingerprint": SEED.sub("", part["fingerprint"])} for part in parts]
    seeds = sorted({seed for text in texts for seed in SEED.findall(text)} - set(SEED.findall(fingerprint)))
    whole = " ".join([fingerprint, json_digest(bare)[:16], *seeds]).strip()
    stated = [note for note in (NOT_VERIFIED, NOT_BATCH_INVARIANT) if any(note in text for text in texts)]
    return "; ".join([whole, *(note for note in stated if note not in whole)])


def missing_requirement(component: Component, dataset: Dataset) -> str | None:
    """Why a component cannot run on a dataset, as the end of a sentence with "it"; None if it can."""
    missing = component.missing()
    if missing is not None:
        return missing
    for need in sorted(component.needs):
        if lacks(need, dataset):
            return f"needs {NEEDS[need]}"
    return None


def lacks(need: str, dataset: Dataset) -> bool:
    """True if a dataset does not meet a requirement (see `NEEDS`)."""
    match need:
        case "answer-field":
            return dataset.task.answer_field is None
        case "labels":
            return dataset.task.output == "text"
        case "candidates":
            named = len(dataset.task.query.quoted or ())
            return named == 0 or named != len(dataset.task.labels)
        case "users":
            return dataset.n_users < 2
        case "train":
            train = dataset.sibling("train")
            return train is None or "golds" not in train.has
        case "date" | "relevance":
            return need not in dataset.has
        case _:
            return False
