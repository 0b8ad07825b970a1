"""lm_eval, run: its figures are ours to the last digit, and its backends are generators."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from prlm_bench_plugins.lm_eval_bridge._cli import TASKS
from prlm_bench_plugins.tiny import MODEL

from prlm_bench.testing import GeneratorContract

Cli = Callable[..., Any]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("lm_eval") is None, reason="needs lm_eval: prlm-bench[lm-eval]"),
    pytest.mark.skipif(find_spec("torch") is None, reason="needs torch: prlm-bench[lm]"),
]
NAMES = ("mini_lamp_2", "mini_lamp_3", "mini_lamp_7")
WHERE = [word for name in NAMES for word in ("--task", name)] + ["--synth-users", "6", "--limit", "10"]
METHOD = ["--retriever", "bm25", "-k", "2", "--reasoner", "direct:protocol=chat"]
OURS = f"transformers:model={MODEL},dtype=float32,device=cpu,max_new_tokens=48"
THEIRS = f"lm-eval:backend=hf,pretrained={MODEL},dtype=float32,device=cpu,batch_size=4,chunk=6,max_new_tokens=48"
THEIRS_IN_FULL = (
    f"lm-eval:backend=hf,max_new_tokens=48,chunk=6,batch_size=4,device=cpu,dtype=float32,pretrained={MODEL}"
)
#: Model and tasks of lm_eval without the minutes that its own tasks take to be looked through.
HARNESS = """
import json, sys
import lm_eval.models
from lm_eval.evaluator import simple_evaluate
from lm_eval.tasks import TaskManager
folder, metadata, task, model, options = sys.argv[1:]
manager = TaskManager(include_path=folder, include_defaults=False, metadata=json.loads(metadata))
found = simple_evaluate(model=model, tasks=[task], task_manager=manager, bootstrap_iters=0, **json.loads(options))
print(json.dumps(found["results"][task]))
"""


def harness(folder: Path, task: str, model: str, cwd: Path, metadata: Any = None, **options: Any) -> Any:
    words = [str(folder), json.dumps(metadata or {}), task, model, json.dumps(options)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}  # lm_eval describes the tokenizer of its dummy, from the hub
    command = [sys.executable, "-c", HARNESS, *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=300)


def ours(results: Path, generator: str) -> dict[str, dict[str, float]]:
    """Metric values by task of the rows of one generator."""
    found = {}
    for file in results.rglob("summary.json"):
        manifest = json.loads((file.parent / "manifest.json").read_bytes())
        if manifest["method"]["generator"]["spec"].startswith(generator):
            figures = json.loads(file.read_bytes())["metrics"]
            found[manifest["task"]] = {name: figure["value"] for name, figure in figures.items()}
    return found


def theirs(results: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The same of lm_eval's results."""
    return {
        task.removeprefix("prlm_"): {
            name.removesuffix(",none"): value
            for name, value in figures.items()
            if "@" in name and "_stderr" not in name
        }
        for task, figures in results.items()
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with our results for the tiny model, by our generator and by lm_eval's backend, and its prompts."""
    folder = tmp_path_factory.mktemp("run")
    base = [sys.executable, "-m", "prlm_bench"]
    both = ["--generator", OURS, "--generator", THEIRS, "--no-controls", "--results", "results"]
    subprocess.run([*base, "run", *WHERE, *METHOD, *both], cwd=folder, check=True, capture_output=True)
    export = ["lm-eval", "export", *WHERE, *METHOD, "--generator", OURS, "-o", "frozen"]
    subprocess.run([*base, *export], cwd=folder, check=True, capture_output=True)
    return folder


class TestContract(GeneratorContract):
    spec = THEIRS


def test_the_backend_hf_is_a_generator(run: Path, cli: Cli) -> None:
    """It writes what our own generator writes, and once only."""
    expected = ours(run / "results", "transformers")
    assert set(expected) == set(NAMES) and len(expected["mini_lamp_7"]) == 8
    assert ours(run / "results", "lm-eval") == expected
    before = completions(cli)
    again = cli("run", *WHERE, *METHOD, "--generator", THEIRS, "--no-controls", "--results", "again", "--seed", "1")
    assert again.status == 0
    assert completions(cli) == before > 0


def completions(cli: Cli) -> int:
    """How many completions of the generator are kept."""
    kept = json.loads(cli("cache", "info", "--json").stdout)["generations"]
    return sum(entry["completions"] for entry in kept if entry["identity"]["spec"] == THEIRS_IN_FULL)


def test_lm_eval_gives_our_figures_for_frozen_prompts(run: Path) -> None:
    """From its own command line, with the folder of our tasks."""
    tasks = [f"prlm_{name}" for name in NAMES]
    words = ["--include_path", str(TASKS), "--tasks", *tasks, "--apply_chat_template", "--output_path", "out.json"]
    words += ["--model", "hf", "--model_args", f"pretrained={MODEL},dtype=float32", "--batch_size", "4"]
    words += ["--device", "cpu", "--log_samples"]
    environment = {**os.environ, "PRLM_BENCH_PROMPTS": "frozen"}
    command = [sys.executable, "-m", "lm_eval", "run", *words]
    ended = subprocess.run(command, cwd=run, env=environment, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stderr
    (report,) = run.glob("out*.json")
    found = json.loads(report.read_bytes())
    assert theirs(found["results"]) == ours(run / "results", "transformers")
    assert found["n-samples"]["prlm_mini_lamp_7"] == {"original": 10, "effective": 10}
    fingerprint = json.loads((run / "frozen" / "mini_lamp_7.json").read_bytes())["run"]["fingerprint"]
    assert found["configs"]["prlm_mini_lamp_7"]["metadata"]["fingerprint"] == fingerprint


def test_a_method_is_a_model_of_lm_eval(run: Path, cli: Cli, tmp_path: Path) -> None:
    words = ("lm-eval", "run", *WHERE, *METHOD, "--generator", OURS)
    ended = cli(*words, "--json", "--output", "report.json")
    assert ended.status == 0, ended
    report = json.loads(ended.stdout)
    assert json.loads((tmp_path / "report.json").read_bytes()) == report
    assert theirs(report["results"]) == ours(run / "results", "transformers")
    assert report["config"]["model"] == "prlm-bench"
    assert report["config"]["model_args"]["generators"] == [OURS]
    table = cli(*words)
    assert "prlm_mini_lamp_7" in table.stdout and "rouge-1@prlm" in table.stdout
    assert "it/s" not in table.stderr and "fatal" not in table.stderr


def test_turns_of_a_chat_need_the_template(run: Path, tmp_path: Path) -> None:
    frozen, task = run / "frozen", "prlm_mini_lamp_7"
    refused = harness(frozen, task, "dummy", tmp_path)
    assert refused.returncode != 0
    assert "are turns of a chat (add --apply_chat_template" in refused.stderr.splitlines()[-1]
    plain = harness(frozen, task, "dummy", tmp_path, {"plain": True}, limit=3)
    assert plain.returncode == 0, plain.stderr
    assert json.loads(plain.stdout.splitlines()[-1])["sample_len"] == 3
    missing = harness(TASKS, task, "dummy", tmp_path)
    assert "no prompts of mini_lamp_7" in missing.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("lm-eval:backend=hff", "unknown backend of lm_eval 'hff' (did you mean hf?)"),
        ("lm-eval:backend=prlm-bench", "unknown backend of lm_eval 'prlm-bench'"),
        ("lm-eval:backend=hf", "the backend 'hf' of lm_eval needs the option 'pretrained'"),
        ("lm-eval:backend=broken", "the backend 'broken' of lm_eval needs the package no_such_package"),
    ],
)
def test_backends_that_cannot_be_used(cli: Cli, tmp_path: Path, spec: str, said: str) -> None:
    (tmp_path / "breaking.py").write_text(BREAKING, encoding="utf-8")
    words = ("--task", "mini_lamp_4", "--retriever", "none", "--synth-users", "4", "--plugin", "breaking.py")
    assert said in cli("run", *words, "--generator", spec).mistake


#: A plugin that also brings lm_eval a backend whose package is missing.
BREAKING = """
import lm_eval.models
from lm_eval.api.registry import model_registry

from prlm_bench import hookimpl

model_registry.register("broken", target="no_such_package.models:Model")


@hookimpl
def prlm_bench_register_methods(register):
    register("nothing", generator="echo")
"""


def test_likelihoods_are_refused_in_one_line(cli: Cli) -> None:
    code = (
        "from prlm_bench_plugins.lm_eval_bridge.adapter import PipelineModel\n"
        "from prlm_bench.errors import RunError\n"
        "model = PipelineModel(None)\n"
        "for ask in (model.loglikelihood, model.loglikelihood_rolling):\n"
        "    try:\n        ask([])\n    except RunError as error:\n        print(error)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout.count("gives no likelihoods") == 2, ended
