"""From a study to cells: one cell is one method on one split with one seed, one row of a table."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from ..errors import RunError, SpecError
from ..host import NEEDS, ComponentChoice, PluginHost, parse_spec
from ._components import missing_requirement
from ._config import RunConfig

if TYPE_CHECKING:
    from ..data import Dataset


@dataclass(frozen=True)
class Cell:
    """A method on a split."""

    task: str
    retriever: ComponentChoice
    k: int
    reasoner: ComponentChoice
    generator: ComponentChoice
    seed: int

    @property
    def is_control(self) -> bool:
        """True where the retriever or the generator is a control."""
        return self.retriever.component.control or self.generator.component.control

    @property
    def parts(self) -> dict[str, str | int]:
        """What tells this cell from the others of its study, as text."""
        return {
            "retriever": str(self.retriever),
            "k": self.k,
            "reasoner": str(self.reasoner),
            "generator": str(self.generator),
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Skipped:
    """A combination that was asked for and cannot run here."""

    task: str
    what: str
    why: str


@dataclass(frozen=True)
class Plan:
    """The cells of one dataset, each once, and what was left out."""

    cells: list[Cell]
    skipped: list[Skipped]


def component_key(chosen: ComponentChoice) -> str:
    """What tells a component from another of its kind; two plugins may bring the same name."""
    return f"{chosen.component.qualified}|{chosen}"


def plan_cells(study: RunConfig, host: PluginHost, dataset: Dataset) -> Plan:
    """The cells of one task's dataset.

    A generator that ignores items is planned once, without retrieval, and one that ignores the reasoner once, behind
    the first that was asked for; a retriever that gives none is planned
    with k = 0. Controls are added: control retrievers with every generator, control generators with every
    retriever at k = 1.

    Raises:
        PrlmBenchError: a component or method that does not exist, or an option that it does not have.
    """
    cells: dict[tuple[str | int, ...], Cell] = {}
    skipped: dict[tuple[str, str], Skipped] = {}
    asked = list(_asked_for(study, host, dataset.task.name))
    controls = _controls(asked, host) if study.controls else []
    for is_asked, cell in [*((True, cell) for cell in asked), *((False, cell) for cell in controls)]:
        cell = _without_items(_without_reasoner(cell, asked[0].reasoner), host)
        why = _obstacle(cell, dataset)
        if why is None:
            names = (component_key(cell.retriever), component_key(cell.reasoner), component_key(cell.generator))
            cells.setdefault((*names, cell.k, cell.seed), cell)
        elif is_asked:
            skipped.setdefault(why, Skipped(cell.task, *why))
    return Plan(list(cells.values()), list(skipped.values()))


def _asked_for(study: RunConfig, host: PluginHost, task: str) -> Iterator[Cell]:
    choose = host.registry.choose
    retrievers = [choose("retriever", spec) for spec in study.retrievers]
    reasoners = [choose("reasoner", spec) for spec in study.reasoners]
    generators = [choose("generator", spec) for spec in study.generators]
    for seed in study.seeds:
        for method in study.methods:
            yield from _method_cells(method, host, task, study.k, seed)
        for retriever, k, reasoner, generator in product(retrievers, study.k, reasoners, generators):
            yield Cell(task, retriever, k, reasoner, generator, seed)


def _controls(asked: Sequence[Cell], host: PluginHost) -> Iterator[Cell]:
    """Control retrievers with every generator asked for, control generators with every retriever at k = 1."""
    registry = host.registry
    retrievers = [registry.choose("retriever", c.qualified) for c in registry.all("retriever") if c.control]
    generators = [registry.choose("generator", c.qualified) for c in registry.all("generator") if c.control]
    most = max((cell.k for cell in asked), default=0)
    for cell in asked:
        if not cell.generator.component.control:
            yield from (replace(cell, retriever=retriever, k=most) for retriever in retrievers)
        for retriever, generator in product([cell.retriever, *retrievers], generators):
            yield replace(cell, retriever=retriever, k=1, generator=generator)


def _method_cells(
    spec: str | dict[str, Any], host: PluginHost, task: str, ks: Sequence[int], seed: int
) -> Iterator[Cell]:
    parsed = parse_spec(spec)
    method = host.method(parsed.name)
    options = {key: str(value) for key, value in parsed.options.items()}
    parts = {part: options.pop(part, getattr(method, part)) for part in ("retriever", "reasoner", "generator")}
    k = options.pop("k", method.k)
    placeholders = {name for text in parts.values() for _, name, _, _ in string.Formatter().parse(text) if name}
    for name in options.keys() - placeholders:
        known = ", ".join(sorted({"retriever", "k", "reasoner", "generator"} | placeholders))
        raise SpecError(f"method {parsed.name!r} has no option {name!r}", f"known: {known}")
    for name in placeholders - options.keys():
        raise SpecError(f"method {parsed.name!r} needs the option {name!r}", f"{parsed.name}:{name}=...")
    chosen = {kind: host.registry.choose(kind, text.format_map(options)) for kind, text in parts.items()}
    for count in ks if k is None else [_count(parsed.name, k)]:
        yield Cell(task, chosen["retriever"], count, chosen["reasoner"], chosen["generator"], seed)


def _count(method: str, k: str | int) -> int:
    if not re.fullmatch(r"\d+", str(k)):
        raise SpecError(f"method {method!r}: k={k!r} is not a number of items")
    return int(k)


def _without_reasoner(cell: Cell, first: ComponentChoice) -> Cell:
    """The same cell behind the study's first reasoner, where the generator's answers do not depend on it."""
    return replace(cell, reasoner=first) if "reasoner" in cell.generator.component.ignores else cell


def _without_items(cell: Cell, host: PluginHost) -> Cell:
    """The same cell without retrieval, where the generator takes no notice of items or k is 0."""
    gives_none = "items" in cell.retriever.component.ignores
    if not gives_none and (cell.k == 0 or "items" in cell.generator.component.ignores):
        empty = [c for c in host.registry.all("retriever") if "items" in c.ignores]
        retriever = host.registry.choose("retriever", empty[0].qualified) if empty else cell.retriever
        return replace(cell, retriever=retriever, k=0)
    return replace(cell, k=0) if gives_none else cell


def _obstacle(cell: Cell, dataset: Dataset) -> tuple[str, str] | None:
    """What stops a cell: the component, and what it lacks."""
    for chosen in (cell.retriever, cell.reasoner, cell.generator):
        component = chosen.component
        why = missing_requirement(component, dataset)
        if why is not None:
            return f"{component.kind} {chosen}", why
        if "items" in component.needs and cell.k == 0:
            return f"{component.kind} {chosen} with {cell.retriever}", f"needs {NEEDS['items']}"
    return None


def check_asked_for(study: RunConfig, plans: Sequence[Plan], host: PluginHost) -> None:
    """Every component that was asked for by name must run somewhere, unless the study is lenient.

    Raises:
        RunError: one that can run nowhere; it says what is missing.
    """
    for kind, specs in (("retriever", study.retrievers), ("generator", study.generators)):
        for spec in [] if study.lenient else specs:
            chosen = host.registry.choose(kind, spec)
            used = any(str(getattr(cell, kind)) == str(chosen) for plan in plans for cell in plan.cells)
            reasons = [s for plan in plans for s in plan.skipped if s.what.startswith(f"{kind} {chosen}")]
            if not used and reasons:
                tasks = ", ".join(dict.fromkeys(s.task for s in reasons))
                raise RunError(f"{kind} {chosen} cannot run on {tasks}: it {reasons[0].why}")
    if not any(plan.cells for plan in plans):
        for left in (s for plan in plans for s in plan.skipped):
            raise RunError(f"nothing to run: {left.what} {left.why}")
        raise RunError("nothing to run", "give --retriever and --generator, --method, or a study file")
