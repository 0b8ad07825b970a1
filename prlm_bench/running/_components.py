"""Makes the components of a run: each once, with everything that a factory may ask for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._util.files import digest
from ..errors import RunError
from ..host._host import PluginHost
from ..host._registry import NEEDS, Component, ComponentChoice
from ..interfaces import Context

if TYPE_CHECKING:
    from ..data import Dataset


class Components:
    """The components of one dataset.

    Args:
        host: the loaded plugins.
        dataset: what the components will work on.
        cache_dir: where they may keep what is expensive to compute.
    """

    def __init__(self, host: PluginHost, dataset: Dataset, cache_dir: Path) -> None:
        self._host, self._dataset, self._cache_dir = host, dataset, cache_dir
        #: Identities of what the factories that are running now have built, the innermost last.
        self._built: list[list[dict[str, str]]] = []
        self._made: dict[tuple[str, str, str, int], tuple[Any, dict[str, str]]] = {}

    def make(self, chosen: ComponentChoice, seed: int) -> tuple[Any, dict[str, str]]:
        """A component and its identity; the same choice and seed give the same object.

        Raises:
            PrlmBenchError: the component finds its options or its surroundings wrong.
        """
        component = chosen.component
        key = (component.kind, component.qualified, str(chosen), seed)
        if key not in self._made:
            self._built.append([])
            try:
                made = chosen.make(self.context(seed))
            finally:
                parts = self._built.pop()
            identity = chosen.identity(made)
            if parts:  # what a component is composed of is part of what it is
                identity["fingerprint"] = " ".join([identity["fingerprint"], digest(parts)[:16]]).strip()
            self._made[key] = (made, identity)
        if self._built:
            self._built[-1].append(self._made[key][1])
        return self._made[key]

    def context(self, seed: int) -> Context:
        """What factories are told that take a `context`."""

        def build(kind: str, spec: str | Mapping[str, Any]) -> Any:
            return self.ready(kind, spec, seed)

        def identify(kind: str, spec: str | Mapping[str, Any]) -> Mapping[str, str]:
            return self.make(self._host.registry.choose(kind, spec), seed)[1]

        def over(dataset: Dataset) -> Context:
            return Components(self._host, dataset, self._cache_dir).context(seed)

        return Context(self._dataset.task, self._dataset, seed, self._cache_dir, build, identify, over)

    def ready(self, kind: str, spec: str | Mapping[str, Any], seed: int) -> Any:
        """A component by spec, for a command that runs it alone or another component that is composed of it.

        Raises:
            PrlmBenchError: there is none of that name, or the dataset lacks what it needs.
        """
        chosen = self._host.registry.choose(kind, spec)
        why = missing_requirement(chosen.component, self._dataset)
        if why is not None:
            raise RunError(f"{kind} {chosen} cannot run on {self._dataset.task.name} {self._dataset.split}: it {why}")
        return self.make(chosen, seed)[0]


def missing_requirement(component: Component, dataset: Dataset) -> str | None:
    """What keeps a component from running on a dataset, after the word "it"; None where nothing does."""
    missing = component.missing()
    if missing is not None:
        return missing
    for need in sorted(component.needs):
        if lacks(need, dataset):
            return f"needs {NEEDS[need]}"
    return None


def lacks(need: str, dataset: Dataset) -> bool:
    """True where a dataset does not have what a component needs (see `NEEDS`)."""
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
