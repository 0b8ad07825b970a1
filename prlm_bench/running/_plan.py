"""Expands a run config into cells; a cell is one method on one split with one seed."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

from ..errors import PrlmBenchError, RunError, SpecError
from ..host import NEEDS, ComponentChoice, Method, PluginFault, PluginHost, parse_spec
from ..results._select import method_line
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
    #: What tables call it; may be empty.
    label: str = ""

    @property
    def is_control(self) -> bool:
        """True if the retriever or the generator is a control."""
        return self.retriever.component.control or self.generator.component.control

    @property
    def parts(self) -> dict[str, str | int]:
        """The settings that distinguish this cell from others of the same run, as text."""
        return {
            "retriever": str(self.retriever),
            "k": self.k,
            "reasoner": str(self.reasoner),
            "generator": str(self.generator),
            "seed": self.seed,
        }

    @property
    def method(self) -> str:
        """The method in one line."""
        return method_line(str(self.retriever), self.k, str(self.reasoner), str(self.generator))

    @property
    def name(self) -> str:
        """Task, method and seed, in one line."""
        return f"{self.task}: {self.method}, seed {self.seed}"


@dataclass(frozen=True)
class Skipped:
    """A requested combination that cannot run here."""

    task: str
    what: str
    why: str
    #: What to do about it; may be empty.
    hint: str = ""


@dataclass(frozen=True)
class Broken:
    """A cell that cannot run, since the factory of one of its components raised an error."""

    cell: Cell
    fault: PluginFault


@dataclass(frozen=True)
class Plan:
    """The distinct cells of one dataset, the skipped combinations, and the cells that cannot run."""

    cells: list[Cell]
    skipped: list[Skipped]
    broken: list[Broken] = field(default_factory=list)

    @property
    def planned(self) -> list[Cell]:
        """All cells, also those that cannot run."""
        return [*self.cells, *(broken.cell for broken in self.broken)]


def component_key(choice: ComponentChoice) -> str:
    """A key that identifies a component within its kind, even if two plugins register the same name."""
    return f"{choice.component.qualified}|{choice}"


def plan_cells(config: RunConfig, host: PluginHost, dataset: Dataset) -> Plan:
    """The cells of one task's dataset.

    A generator that ignores items is planned once, without retrieval; one that ignores the reasoner once, with the
    first requested reasoner; a retriever that returns no items, with k = 0. Controls are added: control retrievers with
    every generator, control generators with every retriever at k = 1.

    Raises:
        PrlmBenchError: an unknown component, method or option.
    """
    cells: dict[tuple[str | int, ...], Cell] = {}
    skipped: dict[tuple[str, str], Skipped] = {}
    requested = list(_requested(config, host, dataset.task.name))
    controls = _controls(requested, host) if config.controls else []
    for is_requested, cell in [*((True, cell) for cell in requested), *((False, cell) for cell in controls)]:
        cell = _without_items(_without_reasoner(cell, requested[0].reasoner), host)
        why = _why_not(cell, dataset)
        if why is None:
            names = (component_key(cell.retriever), component_key(cell.reasoner), component_key(cell.generator))
            label = cell.label or config.name if is_requested else ""
            cells.setdefault((*names, cell.k, cell.seed), replace(cell, label=label))
        elif is_requested:
            skipped.setdefault(why, Skipped(cell.task, *why, hint=remedy(why[1], host, cell.task)))
    _check_labels(list(cells.values()))
    return Plan(list(cells.values()), list(skipped.values()))


def _check_labels(cells: Sequence[Cell]) -> None:
    """Refuse a name that several methods have.

    Raises:
        RunError: it says which.
    """
    named: dict[str, dict[str, None]] = {}
    for cell in cells:
        named.setdefault(cell.label, {})[cell.method] = None
    for label, methods in named.items():
        if label and len(methods) > 1:
            hint = "name one method at a time: --method METHOD:name=..., or a run for each"
            raise RunError(f"{len(methods)} methods are called {label!r}: {'; '.join(methods)}", hint)


def _requested(config: RunConfig, host: PluginHost, task: str) -> Iterator[Cell]:
    choose = host.registry.choose
    retrievers = [choose("retriever", spec) for spec in config.retrievers]
    reasoners = [choose("reasoner", spec) for spec in config.reasoners]
    generators = [choose("generator", spec) for spec in config.generators]
    for seed in config.seeds:
        for method in config.methods:
            yield from _method_cells(method, host, task, config.k, seed)
        for retriever, k, reasoner, generator in product(retrievers, config.k, reasoners, generators):
            yield Cell(task, retriever, k, reasoner, generator, seed)


def _controls(requested: Sequence[Cell], host: PluginHost) -> Iterator[Cell]:
    """Control retrievers with every requested generator, control generators with every retriever at k = 1."""
    registry = host.registry
    retrievers = [registry.choose("retriever", c.qualified) for c in registry.all("retriever") if c.control]
    generators = [registry.choose("generator", c.qualified) for c in registry.all("generator") if c.control]
    max_k = max((cell.k for cell in requested), default=0)
    for cell in requested:
        if not cell.generator.component.control:
            yield from (replace(cell, retriever=retriever, k=max_k, label="") for retriever in retrievers)
        for retriever, generator in product([cell.retriever, *retrievers], generators):
            yield replace(cell, retriever=retriever, k=1, generator=generator, label="")


def _method_cells(
    spec: str | dict[str, Any], host: PluginHost, task: str, ks: Sequence[int], seed: int
) -> Iterator[Cell]:
    parsed = parse_spec(spec)
    method = host.method(parsed.name)
    options = {key: str(value) for key, value in parsed.options.items()}
    label = options.pop("called", "") if isinstance(spec, dict) else options.pop("name", "")
    parts = {part: options.pop(part, getattr(method, part)) for part in ("retriever", "reasoner", "generator")}
    k = options.pop("k", method.k)
    placeholders = {name for text in parts.values() for _, name, _, _ in string.Formatter().parse(text) if name}
    for name in options.keys() - placeholders:
        given = {"retriever", "k", "reasoner", "generator", "called" if isinstance(spec, dict) else "name"}
        known = ", ".join(sorted(given | placeholders))
        raise SpecError(f"method {parsed.name!r} has no option {name!r}", f"known: {known}")
    for name in placeholders - options.keys():
        raise SpecError(f"method {parsed.name!r} needs the option {name!r}", f"{parsed.name}:{name}=...")
    choices = {kind: host.registry.choose(kind, text.format_map(options)) for kind, text in parts.items()}
    for count in ks if k is None else [_count(parsed.name, k)]:
        yield Cell(task, choices["retriever"], count, choices["reasoner"], choices["generator"], seed, label)


def _count(method: str, k: str | int) -> int:
    if not re.fullmatch(r"\d+", str(k)):
        raise SpecError(f"method {method!r}: k={k!r} is not a number of items")
    return int(k)


def _without_reasoner(cell: Cell, first: ComponentChoice) -> Cell:
    """The cell with the first requested reasoner, if the generator ignores the reasoner."""
    return replace(cell, reasoner=first) if "reasoner" in cell.generator.component.ignores else cell


def _without_items(cell: Cell, host: PluginHost) -> Cell:
    """The cell without retrieval, if the generator ignores items or k is 0."""
    gives_none = "items" in cell.retriever.component.ignores
    if not gives_none and (cell.k == 0 or "items" in cell.generator.component.ignores):
        empty = [c for c in host.registry.all("retriever") if "items" in c.ignores]
        retriever = host.registry.choose("retriever", empty[0].qualified) if empty else cell.retriever
        return replace(cell, retriever=retriever, k=0)
    return replace(cell, k=0) if gives_none else cell


def _why_not(cell: Cell, dataset: Dataset) -> tuple[str, str] | None:
    """Why a cell cannot run: the component, and what it lacks; None if it can."""
    for choice in (cell.retriever, cell.reasoner, cell.generator):
        component = choice.component
        why = missing_requirement(component, dataset)
        if why is not None:
            return f"{component.kind} {choice}", why
        if "items" in component.needs and cell.k == 0:
            return f"{component.kind} {choice} with {cell.retriever}", f"needs {NEEDS['items']}"
    return None


def remedy(why: str, host: PluginHost, task: str) -> str:
    """The task that has what another one lacks, as far as that is dates; "" where there is none."""
    timed = f"{task}_time"
    return f"{timed} has them" if NEEDS["date"] in why and timed in host.tasks.names else ""


def check_names(config: RunConfig, host: PluginHost) -> None:
    """Check every name and option of a config before any data are opened.

    Raises:
        PrlmBenchError: one is wrong; where several are, the message has them all.
    """
    kinds = {"retriever": config.retrievers, "reasoner": config.reasoners, "generator": config.generators}
    choices = [(kind, spec) for kind, specs in {**kinds, "reward": config.rewards}.items() for spec in specs]
    checks: list[Callable[[], object]] = [partial(host.tasks.get, name) for name in config.tasks]
    checks += [partial(host.registry.choose, kind, spec) for kind, spec in choices]
    checks += [partial(_method, host, spec) for spec in config.methods]
    wrong: dict[str, PrlmBenchError] = {}
    for check in checks:
        try:
            check()
        except PrlmBenchError as error:
            wrong.setdefault(str(error), error)
    if len(wrong) > 1:
        raise RunError("; ".join(wrong))
    for only in wrong.values():
        raise only


def _method(host: PluginHost, spec: str | dict[str, Any]) -> Method:
    return host.method(parse_spec(spec).name)


def check_requested(config: RunConfig, plans: Sequence[Plan], host: PluginHost) -> None:
    """Check that something that was asked for runs; of a strict config, that all of it runs on some task.

    Raises:
        RunError: all components of a kind can run on no task, or of a strict config one; the message says what is
            missing.
    """
    for kind, specs in (("retriever", config.retrievers), ("generator", config.generators)):
        choices = [host.registry.choose(kind, spec) for spec in specs]
        idle = {str(choice): _reasons(kind, choice, plans) for choice in choices if not _runs(kind, choice, plans)}
        refused = [(f"{kind} {name}", reasons) for name, reasons in idle.items() if reasons]
        if refused and (config.strict or len(refused) == len({*map(str, choices)})):
            told = [f"{what} cannot run on {_tasks(reasons)}: it {reasons[0].why}" for what, reasons in refused]
            raise RunError("; ".join(told), refused[0][1][0].hint)
    if not any(plan.planned for plan in plans):
        for first in (s for plan in plans for s in plan.skipped):
            raise RunError(f"nothing to run: {first.what} {first.why}", first.hint)
        raise RunError("nothing to run", "give --retriever and --generator, --method, or a run file")


def _runs(kind: str, choice: ComponentChoice, plans: Sequence[Plan]) -> bool:
    return any(str(getattr(cell, kind)) == str(choice) for plan in plans for cell in plan.planned)


def _reasons(kind: str, choice: ComponentChoice, plans: Sequence[Plan]) -> list[Skipped]:
    whole = f"{kind} {choice}"
    return [s for plan in plans for s in plan.skipped if s.what == whole or s.what.startswith(f"{whole} with ")]


def _tasks(reasons: Sequence[Skipped]) -> str:
    return ", ".join(dict.fromkeys(reason.task for reason in reasons))
