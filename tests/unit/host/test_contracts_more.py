"""Contracts of metrics, judges, trainers and importers: sound ones pass, each fault is caught."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from prlm_bench import Example, Sample
from prlm_bench.data import open_split
from prlm_bench.errors import DataError, PrlmBenchError
from prlm_bench.host import WrongResultError, fault_of
from prlm_bench.metrics import MeanMetric, Pairs
from prlm_bench.tasks import TaskRegistry
from prlm_bench.testing import ImporterContract, JudgeContract, MetricContract, TrainerContract

METRICS = [
    *(("mini_lamp_4", name) for name in ("rouge1@lamp", "rouge2@lamp", "rougeL@lamp", "bleu@lamp", "bleu-4@prlm")),
    *(("mini_lamp_2", name) for name in ("accuracy@lamp", "f1@lamp")),
    *(("mini_lamp_3", name) for name in ("mae@lamp", "rmse@lamp")),
]


class TestShippedMetrics(MetricContract):
    @pytest.fixture(autouse=True, params=METRICS, ids=[name for _, name in METRICS])
    def chosen(self: Any, request: pytest.FixtureRequest) -> None:
        self.task, self.spec = request.param


class Same:
    """A sound metric: equal words."""

    name = "same@mine"
    higher_is_better = True
    is_mean = True
    limits = (0.0, 1.0)
    summary = "Equal words."

    def statistics(self, pairs: Pairs) -> Any:
        return np.array([self.row(a, g, len(pairs)) for a, g in zip(pairs.answers, pairs.golds, strict=True)])

    def row(self, answer: str, gold: str, count: int) -> list[float]:
        return [float(answer == gold), 1.0]

    def value(self, totals: Any) -> Any:
        return totals[..., 0] / totals[..., 1]


class SeesItsBatch(Same):
    def row(self, answer: str, gold: str, count: int) -> list[float]:
        return [float(answer == gold) / count, 1.0]


class Reversed(Same):
    higher_is_better = False


class Beyond(Same):
    limits = (0.0, 0.2)

    def row(self, answer: str, gold: str, count: int) -> list[float]:
        return [0.5, 1.0]


class NoMean(Same):
    def value(self, totals: Any) -> Any:
        return totals[..., 0] + totals[..., 1]


class OneValue(Same):
    def value(self, totals: Any) -> Any:
        return totals[0] / totals[1] if totals.ndim == 1 else totals[0, 0] / totals[0, 1]


class Infinite(Same):
    def row(self, answer: str, gold: str, count: int) -> list[float]:
        return [float("inf") if not answer else 1.0, 1.0]


class FailsOnNothing(Same):
    def row(self, answer: str, gold: str, count: int) -> list[float]:
        return [1 / len(answer), 1.0]


ROWS = "test_gives_a_row_of_statistics_for_each_pair"
VALUES = "test_values_are_computed_for_many_totals_at_once"
MEAN = "test_a_mean_is_the_mean_of_its_samples"
DIRECTION = "test_the_direction_is_the_declared_one"
GOLDS = ["a b", "c", "d e f", "a", "b", "c d"]


@pytest.mark.parametrize(
    ("broken", "method"),
    [
        (SeesItsBatch, ROWS),
        (Infinite, ROWS),
        (FailsOnNothing, ROWS),
        (Beyond, VALUES),
        (OneValue, VALUES),
        (NoMean, MEAN),
        (Reversed, DIRECTION),
    ],
)
def test_a_broken_metric_is_caught(broken: type[Same], method: str) -> None:
    getattr(MetricContract(), method)(Same(), GOLDS, ())
    with pytest.raises((AssertionError, ArithmeticError, PrlmBenchError)):
        getattr(MetricContract(), method)(broken(), GOLDS, ())


def test_a_mean_metric_of_the_wrong_length_names_its_function() -> None:
    metric = MeanMetric("short@mine", lambda pairs: [1.0])
    with pytest.raises(WrongResultError, match="gave 1 scores for 6 pairs") as caught:
        metric.statistics(Pairs(GOLDS, GOLDS))
    assert str(fault_of(caught.value)).partition(":")[0].endswith(" at tests/unit/host/test_contracts_more.py")


class Kind:
    """A sound judge."""

    def judge(self, samples: Sequence[Sample]) -> list[Mapping[str, float | None]]:
        return [{"style": float(len(sample.answer.text)), "tone": None} for sample in samples]


class OtherNames(Kind):
    def judge(self, samples: Sequence[Sample]) -> list[Mapping[str, float | None]]:
        return [{sample.answer.text or "none": 1.0} for sample in samples]


class ComparesSamples(Kind):
    def judge(self, samples: Sequence[Sample]) -> list[Mapping[str, float | None]]:
        return [{"style": float(len(samples))} for _ in samples]


class NeverNothing(Kind):
    def judge(self, samples: Sequence[Sample]) -> list[Mapping[str, float | None]]:
        return super().judge(samples) or [{}]


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    dataset = open_split(TaskRegistry().get("mini_lamp_4"), "dev", synth_users=4)
    return [example for batch in dataset.batches(64) for example in batch]


@pytest.mark.parametrize(
    ("broken", "method"),
    [
        (OtherNames, "test_gives_each_sample_values_by_name"),
        (ComparesSamples, "test_is_the_same_alone_and_in_a_batch"),
        (NeverNothing, "test_no_samples_give_no_values"),
    ],
)
def test_a_broken_judge_is_caught(broken: type[Kind], method: str, examples: list[Example]) -> None:
    check = getattr(JudgeContract(), method)
    arguments = (examples,) if "examples" in check.__code__.co_varnames else ()
    check(Kind(), *arguments)
    with pytest.raises(AssertionError):
        check(broken(), *arguments)


class Counts:
    """A sound trainer: it counts to three, and goes on where it was stopped."""

    def train(self, output: Path, progress: Any) -> Mapping[str, Any]:
        output.mkdir(parents=True, exist_ok=True)
        for number in range(3):
            step = output / f"{number}.txt"
            if not step.exists():
                step.write_text(str(number))
                progress.advance()
        return {"made": str(output), "methods": {"counts": {"retriever": "bm25", "generator": "copy", "k": 1}}}


class StartsAgain(Counts):
    times: ClassVar[int] = 0

    def train(self, output: Path, progress: Any) -> Mapping[str, Any]:
        type(self).times += 1
        return {**super().train(output, progress), "attempt": self.times}


class NamesNoJson(Counts):
    def train(self, output: Path, progress: Any) -> Mapping[str, Any]:
        return {**super().train(output, progress), "loss": float("nan")}


class NamesNothing(Counts):
    def train(self, output: Path, progress: Any) -> Mapping[str, Any]:
        return {**super().train(output, progress), "methods": {"counts": {"generator": "unheard-of"}}}


ARTEFACT, RESUMED = "test_writes_an_artefact_and_its_manifest", "test_what_was_interrupted_is_resumed"
RUN = "test_its_methods_can_be_run"


@pytest.mark.parametrize(
    ("broken", "method"),
    [(StartsAgain, ARTEFACT), (NamesNoJson, ARTEFACT), (StartsAgain, RESUMED), (NamesNothing, RUN)],
)
def test_a_broken_trainer_is_caught(broken: type[Counts], method: str, tmp_path: Path) -> None:
    getattr(TrainerContract(), method)(Counts(), tmp_path / "sound")
    with pytest.raises((AssertionError, ValueError, PrlmBenchError)):
        getattr(TrainerContract(), method)(broken(), tmp_path / "broken")


class Imports:
    """A sound importer of a family that keeps questions in one file."""

    def recognizes(self, folder: Path) -> bool:
        return (folder / "family.json").is_file()

    def convert(self, folder: Path, output: Path, progress: Any) -> None:
        content = self.read(folder / "family.json")
        split = output / "dev"
        split.mkdir(parents=True)
        for name in ("questions", "outputs"):
            (split / f"dev_{name}.json").write_text(json.dumps(content[name]))

    def read(self, path: Path) -> Any:
        try:
            return json.loads(path.read_text())
        except ValueError as error:
            raise DataError(f"{path}: {error}") from None


class TakesAll(Imports):
    def recognizes(self, folder: Path) -> bool:
        return True


class WritesParts(Imports):
    def read(self, path: Path) -> Any:
        text = path.read_text()
        return {"questions": text, "outputs": text}

    def convert(self, folder: Path, output: Path, progress: Any) -> None:
        content = (folder / "family.json").read_text()
        (output / "dev").mkdir(parents=True)
        (output / "dev" / "dev_questions.json").write_text(content)


class CleansUp(Imports):
    def convert(self, folder: Path, output: Path, progress: Any) -> None:
        super().convert(folder, output, progress)
        (folder / "family.json").write_text("{}")


@pytest.fixture
def family(tmp_path: Path) -> Callable[[str], Path]:
    profile = [{"id": "1", "title": "t", "text": "words"}]
    asked = "Generate a headline for the following article: news"
    questions = [{"id": "q1", "input": asked, "profile": profile}]
    outputs = {"task": "LaMP_4", "golds": [{"id": "q1", "output": "a title"}]}

    def make(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "family.json").write_text(json.dumps({"questions": questions, "outputs": outputs}))
        return folder

    return make


@pytest.mark.parametrize(
    ("broken", "method"),
    [
        (TakesAll, "test_recognizes_its_own_files_alone"),
        (CleansUp, "test_writes_what_the_task_opens"),
        (WritesParts, "test_damaged_files_are_an_error_or_left_out"),
    ],
)
def test_a_broken_importer_is_caught(
    broken: type[Imports], method: str, family: Callable[[str], Path], tmp_path: Path
) -> None:
    contract = ImporterContract()
    for importer, name in ((Imports(), "sound"), (broken(), "broken")):
        (tmp_path / f"{name}-work").mkdir()
        arguments = (importer, family(name), tmp_path / f"{name}-work")
        if name == "sound":
            getattr(contract, method)(*arguments)
        else:
            with pytest.raises((AssertionError, ValueError, LookupError)):
                getattr(contract, method)(*arguments)
