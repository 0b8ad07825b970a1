"""Makes the units of an experiment one after the other, for as long as there is time; finished ones are kept."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from prlm_bench.data import Dataset
from prlm_bench.errors import PrlmBenchError, RunError
from prlm_bench.files import cache_root
from prlm_bench.host import parse_spec
from prlm_bench.results import Stored, load_folders
from prlm_bench.running import Components

from .._training import MANIFEST, Stopwatch, make_artefact, read_artefact, read_seconds
from ._base import StudyConfig
from ._plan import Plan, Unit, units_of
from ._trained import replaced, run_method, with_options

#: Name of a unit's artefact.
_UNIT = "unit"


class Units:
    """The units of a plan, below a folder: trainings in `<seed>`, and what is known of each unit in `units/<name>`.

    Args:
        config: one task, its data, the split to test on and the results.
        plan: the plan.
        runs: the folder.

    Raises:
        PrlmBenchError: the plan's trainer has no such arm, or a wrong option.
    """

    def __init__(self, config: StudyConfig, plan: Plan, runs: Path) -> None:
        self.config, self.plan, self._runs = config, plan, runs
        made = self._components.ready("trainer", self._spec(*plan.arms), plan.seeds[0])
        parts = getattr(made, "parts", None)
        self.all = list(units_of(plan, lambda arm, first: parts(arm, first=first) if parts else ()))

    @cached_property
    def _dataset(self) -> Dataset:
        return self.config.open("train")

    @cached_property
    def _test_data(self) -> dict[str, Any]:
        """The questions of the tests."""
        return {"data": self.config.open().sha256, "split": self.config.split, "limit": self.config.limit}

    @cached_property
    def _components(self) -> Components:
        return Components(self.config.host, self._dataset, cache_root())

    def _spec(self, *arms: str) -> dict[str, Any]:
        """The trainer of some arms, as an option's value in a spec."""
        plan = self.plan
        given = {"recipe": plan.recipe, "changes": list(plan.changes), "arms": list(arms)}
        named = parse_spec(plan.trainer)
        return {"name": named.name, **named.options, **{option: value for option, value in given.items() if value}}

    def _trainer(self, unit: Unit) -> dict[str, Any]:
        """The trainer of a unit's arm, with what the first seed has chosen for the others.

        Raises:
            RunError: the first seed has not been trained.
        """
        spec, first = self._spec(unit.arm), Unit(unit.arm, self.plan.seeds[0])
        if unit.seed == first.seed or first not in self.all:
            return spec
        if not self.is_done(first):
            raise RunError(f"{first} comes before {unit}", "what it chooses holds for all seeds")
        return with_options(spec, self.record(first).get("other_seeds", {}))

    def _folder(self, unit: Unit) -> Path:
        return self._runs / "units" / unit.name

    def is_done(self, unit: Unit) -> bool:
        """Whether a unit is finished."""
        return (self._folder(unit) / MANIFEST).is_file()

    def is_begun(self, unit: Unit) -> bool:
        """Whether a unit was begun, and may be finished."""
        return self._folder(unit).is_dir()

    def record(self, unit: Unit) -> Mapping[str, Any]:
        """What is known of a finished unit: `method`, `costs`, `findings`, `other_seeds`, `result`."""
        return read_artefact(self._folder(unit), _UNIT).manifest

    def seconds(self, unit: Unit) -> float | None:
        """Seconds that a unit has taken; None if it was not begun, or was killed."""
        return read_seconds(self._folder(unit))

    def result(self, unit: Unit) -> Stored:
        """The test of a finished unit."""
        (found,) = load_folders([self.config.results / self.record(unit)["result"]])
        return found

    @property
    def done(self) -> list[Unit]:
        """The finished units."""
        return [unit for unit in self.all if self.is_done(unit)]

    @property
    def missing(self) -> list[Unit]:
        """The units that are not finished."""
        return [unit for unit in self.all if not self.is_done(unit)]

    def expected(self, unit: Unit) -> float:
        """Seconds that a unit will take, by the finished ones of its kind; 0 if there are none."""
        known = [self.seconds(other) for other in self.done if other.kind == unit.kind]
        return median([seconds for seconds in known if seconds is not None] or [0.0])

    def make(self, minutes: float | None = None) -> dict[Unit, str]:
        """Make the missing units in their order; one that fails does not keep the others from being made.

        Args:
            minutes: no unit is begun later, or if those of its kind took longer than the rest. The first one always
                is, unless there are 0 minutes. None makes all.

        Returns:
            The units that failed, and why.

        Raises:
            PrlmBenchError: finished units were made with other settings.
        """
        if minutes == 0:  # a report needs neither this code nor the models
            return {}
        for unit in self.done:
            self._make(unit)
        start, failed, begun = time.monotonic(), dict[Unit, str](), 0
        for number, unit in enumerate(self.all, 1):
            if self.is_done(unit):
                continue
            gone = (time.monotonic() - start) / 60
            if minutes is not None and begun and gone + self.expected(unit) / 60 >= minutes:
                break
            of = "" if minutes is None else f" of {minutes:g}"
            self.config.progress.note(f"unit {number} of {len(self.all)}: {unit}; {gone:.1f}{of} minutes have gone")
            begun += 1
            try:
                self._make(unit)
            except PrlmBenchError as error:
                failed[unit] = str(error)
                self.config.progress.note(f"{unit} failed: {error}")
        return failed

    def _make(self, unit: Unit) -> None:
        """Train a unit's arm where it is not, and test it.

        Raises:
            PrlmBenchError: it fails, or was begun with other settings.
        """
        spec = self._trainer(unit)
        context = self._components.context(unit.seed)
        identity = {
            "task": self.config.task_name,
            "seed": unit.seed,
            "train": self._dataset.sha256,
            "trainer": context.identity_of("trainer", spec),
            "items": unit.items,
            "test": self._test_data if unit.tested else None,
        }

        def work(folder: Path) -> Mapping[str, Any]:
            with _timed(folder):
                trainer = self._components.ready("trainer", spec, unit.seed)
                return self._outcome(unit, trainer.train(self._runs / str(unit.seed), self.config.progress))

        make_artefact(self._folder(unit), _UNIT, identity, work)

    def _outcome(self, unit: Unit, manifest: Mapping[str, Any]) -> dict[str, Any]:
        found = {
            "costs": manifest.get("costs", {}).get(unit.arm, {}),
            "findings": [] if unit.items else list(manifest.get("findings", ())),
            "other_seeds": manifest.get("other_seeds", {}),
        }
        if not unit.tested:
            return found
        method = replaced(manifest["methods"][unit.arm], str(self._runs / str(unit.seed)), str(self._runs / "{seed}"))
        (result,) = run_method(self.config.of_seed(unit.seed), unit.changed(method))
        return {**found, "method": method, "result": str(result.folder.relative_to(self.config.results))}


@contextmanager
def _timed(folder: Path) -> Iterator[None]:
    """Count the seconds of the block, also where it is interrupted."""
    watch = Stopwatch(folder)
    try:
        yield
    finally:
        watch.write()
