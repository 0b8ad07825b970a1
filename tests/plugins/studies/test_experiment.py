"""Experiments: plans as data, units that resume, and reports from what is finished; with a trainer that is known."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from prlm_bench_plugins.studies._plan import Plan, Unit, plan_names, read_plan, units_of
from support.paths import REAL_DATA
from support.prlm_shop import make_causal, recipe_file, settings

PLUGIN = '''
import time
from pathlib import Path

from prlm_bench import hookimpl
from prlm_bench.errors import RunError

ITEMS = {"retriever": "oracle", "k": 2, "reasoner": "direct", "generator": "copy"}
METHODS = {
    "full": ITEMS,
    "top": {**ITEMS, "k": 1, "retriever": "random"},
    "echo": {"reasoner": "direct", "generator": "echo"},
    "choosing": {**ITEMS, "retriever": "bm25"},
    "broken": ITEMS,
}


class Trainer:
    """Writes what it trains to a file; `choosing` chooses on the seed that is asked first."""

    def __init__(self, context, arms: list[str] | None = None, changes: list[str] | None = None, nap: float = 0.0):
        self.seed, self.arms, self.changes, self.nap = context.seed, arms or [], changes or [], nap
        for arm in self.arms:
            if arm not in (*METHODS, "point"):
                raise RunError(f"no arm {arm}")

    def fingerprint(self):
        return "1"

    def parts(self, arm, *, first):
        return ["point"] if arm == "choosing" and first else []

    def train(self, output: Path, progress):
        output.mkdir(parents=True, exist_ok=True)
        with (output / "log").open("a") as file:
            file.write(f"{self.arms} {self.changes}\\n")
        time.sleep(self.nap)
        if "broken" in self.arms and not (output / "mended").exists():
            raise RunError("it broke", "mend it")
        named = {arm: METHODS[arm] for arm in self.arms if arm in METHODS}
        found = {"methods": named, "costs": {arm: {"tokens_trained": 10, "seconds": 2} for arm in named}}
        if "choosing" in self.arms:
            found |= {"other_seeds": {"changes": ["chosen=3"]}, "findings": ["the grid ends there"]}
        return found


@hookimpl
def prlm_bench_register_trainers(register):
    register("known", Trainer)
'''

PLAN: dict[str, Any] = {
    "trainer": "known",
    "task": "mini_lamp_4",
    "primary": ["echo", "choosing", "top", "full"],
    "secondary": [],
    "seeds": [0, 1],
    "comparisons": [["full", "top"], ["full", "choosing"]],
}


@pytest.fixture
def run(here: Callable[..., Any]) -> Callable[..., Any]:
    """The study on a plan, with changes."""

    def run(*words: object, **changes: Any) -> Any:
        Path("known.py").write_text(PLUGIN)
        Path("mine.yaml").write_text(yaml.safe_dump({**PLAN, **changes}))
        options = ("--plan", "mine.yaml", "--plugin", "known.py", "--synth-users", "20", "--results", "r")
        return here("study", "experiment", *options, *words)

    return run


def log(seed: int) -> list[str]:
    path = Path(f"prlm-runs/mine/mini_lamp_4/{seed}/log")
    return path.read_text().splitlines() if path.is_file() else []


class TestPlans:
    def test_those_that_ship_can_be_read(self) -> None:
        assert plan_names() == ["real", "tiny"]
        tiny = read_plan("tiny")
        assert len(tiny.seeds) == 8 and tiny.limit == 300 and tiny.split == "test"
        for budget in ("smoke", "cpu", "gpu"):
            real = read_plan("real", budget, ["base=mine"])
            assert real.changes[-1] == "base=mine"
            assert real.comparisons == [("prlm", "no-reasoning"), ("prlm", "best-sft")] == tiny.comparisons
        assert read_plan("real", "gpu").seeds == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize("name", ["tiny", "real"])
    def test_their_recipes_have_all_arms_at_each_budget(self, name: str) -> None:
        pytest.importorskip("trl", reason="needs trl: pip install 'prlm-bench[prlm]'")
        from prlm_bench_plugins.prlm import _stages

        context: Any = None
        for budget in read_plan(name, "gpu" if name == "real" else None).budgets or [None]:
            plan = read_plan(name, budget)
            made = _stages.ablation(context, recipe=plan.recipe or "", changes=plan.changes, arms=plan.arms)
            assert all(made.parts(arm, first=True) is not None for arm in plan.arms)

    def test_a_budget_changes_sizes_alone(self) -> None:
        content = {**PLAN, "changes": ["a=1"], "budgets": {"small": {"changes": ["b=2"], "seeds": [5], "limit": 3}}}
        plan = Plan.model_validate(content).with_budget("small")
        assert (plan.changes, plan.seeds, plan.limit) == (["a=1", "b=2"], [5], 3)
        assert plan.primary == PLAN["primary"]

    def test_units_go_seed_by_seed_and_tests_follow_their_training(self) -> None:
        controls = {"arms": ["full"], "seeds": 1, "items": ["no items"], "k": [1]}
        plan = Plan.model_validate({**PLAN, "primary": ["top", "full", "choosing"], "controls": controls})
        found = list(units_of(plan, lambda arm, first: ["point"] if arm != "top" and first else []))
        assert found == [
            Unit("top", 0),
            Unit("point", 0, tested=False),
            Unit("full", 0),
            Unit("full", 0, "no items"),
            Unit("full", 0, "k=1"),
            Unit("choosing", 0),
            *(Unit(arm, 1) for arm in ("top", "full", "choosing")),
        ]
        assert len({unit.name for unit in found}) == len(found)
        method = {"retriever": "bm25", "k": 4, "reasoner": "prlm"}
        assert Unit("full", 0, "k=1").changed(method) == {**method, "k": 1}
        assert Unit("full", 0, "no items").changed(method) == {**method, "retriever": "none", "k": 0}
        other = Unit("full", 0, "another user's items").changed(method)["retriever"]
        assert other == {"name": "other-user", "by": "bm25"}

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"comparisons": [["full", "no"]]}, "plan mine.yaml: comparisons: no is none of the primary"),
            ({"seeds": []}, "plan mine.yaml: seeds: List should have at least 1 item"),
            ({"seeds": [1, 1]}, "plan mine.yaml: a seed is named twice"),
            ({"arms": ["x"]}, "plan mine.yaml: arms: Extra inputs are not permitted"),
            ({"secondary": ["full"]}, "plan mine.yaml: arm full is named twice"),
            ({"primary": [*PLAN["primary"], "what"]}, "no arm what"),
            ({"controls": {"items": ["mine"]}}, "plan mine.yaml: controls.items.0: Input should be"),
            ({"task": "mini_lamp_9"}, "unknown task 'mini_lamp_9'"),
        ],
    )
    def test_mistakes_are_one_line(self, run: Any, changes: dict[str, Any], said: str) -> None:
        assert run("--dry-run", **changes).mistake.startswith(said)

    def test_a_file_that_is_no_plan(self, here: Any) -> None:
        Path("list.yaml").write_text("- 1")
        assert here("study", "experiment", "--plan", "list.yaml").mistake.startswith("list.yaml: a plan is a mapping")
        assert "list2.yaml: cannot be read" in here("study", "experiment", "--plan", "list2.yaml").mistake
        assert here("study", "experiment", "--plan", "rael").mistake.startswith(
            "unknown plan 'rael' (did you mean real"
        )
        assert here("study", "experiment", "--plan", "real").mistake == (
            "the plan has budgets (give --budget smoke, cpu, gpu)"
        )


class TestUnits:
    def test_all_are_made_once(self, run: Any) -> None:
        done = run("--json")
        assert done.status == 0, done.stderr
        found = json.loads(done.stdout)
        assert [row["compared"] for row in found["rows"]] == ["full - top", "full - choosing"]
        assert {row["arm"]: row["seeds"] for row in found["more"]["experiment-arms"]} == dict.fromkeys(
            PLAN["primary"], 2
        )
        # The first seed makes the points one by one, and its choice reaches the others.
        assert log(0) == ["['echo'] []", "['point'] []", "['choosing'] []", "['top'] []", "['full'] []"]
        assert log(1) == ["['echo'] []", "['choosing'] ['chosen=3']", "['top'] []", "['full'] []"]
        assert "unit 1 of 9: echo, seed 0" in done.stderr and "unit 9 of 9: full, seed 1" in done.stderr
        again = run("--json")
        assert again.stdout == done.stdout and len(log(0)) == 5 and "unit " not in again.stderr

    def test_the_dry_run_makes_none(self, run: Any) -> None:
        rows = json.loads(run("--dry-run", "--json").stdout)
        assert len(rows) == 9 and not log(0) and not any(row["state"] for row in rows)
        run("--minutes", "0.000001")
        rows = json.loads(run("--dry-run", "--json").stdout)
        assert [row["state"] for row in rows[:2]] == ["finished", None]
        assert rows[0] == {"arm": "echo", "seed": 0, "items": "own", "state": "finished", "minutes": 0.0}
        assert "1 of 9 units are finished" in run("--dry-run").stdout

    def test_minutes_stop_between_units_and_the_next_call_goes_on(self, run: Any) -> None:
        done = run("--minutes", "0.0000001", "--json")
        assert done.status == 0 and len(log(0)) == 1, done.stderr
        found = json.loads(done.stdout)
        assert found["rows"][0] == {
            "compared": "full - top",
            **dict.fromkeys(("difference", "low", "high", "p (Holm)", "p of trainings")),
            "trainings": 0,
        }
        assert found["findings"] == [
            "Open: full - top: no seed has both.",
            "Open: full - choosing: no seed has both.",
            "Missing, 8 of 9 units: choosing (seeds 0, 1); top (seeds 0, 1); full (seeds 0, 1); echo (seed 1).",
        ]
        run("--minutes", "0.0000001")
        assert len(log(0)) == 2  # the first of a call is always begun
        assert "8 of 9" not in run("--minutes", "0").stdout and len(log(0)) == 2
        run()
        assert len(log(0)) == 5

    def test_none_is_begun_that_will_take_longer_than_is_left(self, run: Any) -> None:
        run("--minutes", "0", "--dry-run")
        run("--minutes", "0.0000001")
        for name in ("echo",):
            timing = Path(f"prlm-runs/mine/mini_lamp_4/units/0-{name}/timing.json")
            timing.write_text('{"seconds": 600}')
        run("--minutes", "9")
        # echo of seed 1 would take ten minutes; units before it are of other kinds.
        assert len(log(0)) == 5 and not log(1)
        run("--minutes", "11")
        assert len(log(1)) == 4

    def test_a_report_of_nothing(self, run: Any) -> None:
        done = run("--minutes", "0", "-o", "out")
        assert done.status == 0 and "mini_lamp_4 test; rouge1@lamp; 0 of 9 units" in done.stdout
        assert "Missing, 9 of 9 units" in done.stdout and not log(0)
        assert {path.name for path in Path("out").iterdir()} == {"experiment.csv", "experiment.json"}

    def test_finished_units_are_of_these_settings(self, run: Any) -> None:
        run("--minutes", "0.0000001")
        assert "0-echo was made with other settings: trainer.spec" in run("--change", "x=1").mistake
        assert "other settings: test.limit was null and is 6" in run(limit=6).mistake
        # A report says what was found, whatever has changed since.
        assert run("--minutes", "0", "--change", "x=1").status == 0
        # More seeds are no other settings.
        assert run("--minutes", "0.0000001", seeds=[0, 1, 2]).status == 0

    def test_one_that_fails_is_named_and_the_others_are_made(self, run: Any) -> None:
        arms = ["broken", *PLAN["primary"]]
        done = run("--json", primary=arms)
        assert done.status == 1
        found = json.loads(done.stdout)
        assert "Failed: broken, seed 0: it broke (mend it)." in found["findings"]
        assert any(text.startswith("Missing, 2 of 11 units: broken (seeds 0, 1)") for text in found["findings"])
        for seed in (0, 1):
            Path(f"prlm-runs/mine/mini_lamp_4/{seed}/mended").touch()
        assert run(primary=arms).status == 0 and len(log(0)) == 7


class TestReport:
    def test_comparisons_use_the_seeds_that_both_have_and_their_users(self, run: Any) -> None:
        found = json.loads(run("--json").stdout)
        row = found["rows"][0]
        arms = {each["arm"]: each for each in found["more"]["experiment-arms"]}
        assert row["trainings"] == 2
        assert row["difference"] == pytest.approx(arms["full"]["mean"] - arms["top"]["mean"])
        assert arms["top"]["minus full"] == pytest.approx(-row["difference"])
        assert row["p of trainings"] is not None and arms["top"]["seed sd"] > 0 and arms["full"]["minus full"] is None
        assert found["findings"][0].startswith("full is shown to be better than top on these 2 trainings: +")
        assert "in rouge1@lamp, p (Holm over 2) " in found["findings"][0]
        assert "Seed 0: the grid ends there." in found["findings"]
        assert "60 questions of 20 users" in found["title"] and "9 of 9 units" in found["title"]
        costs = found["more"]["experiment-costs"][0]
        assert (costs["tokens trained"], costs["training seconds"], costs["tokens generated"]) == (10, 2, None)

    def test_a_comparison_that_is_missing_still_counts_in_the_correction(self, run: Any) -> None:
        arms = ["full", "top", "choosing", "echo"]
        run(primary=arms, seeds=[0])
        whole = json.loads(run("--json", "--minutes", "0", primary=arms, seeds=[0]).stdout)["rows"][0]
        folder = Path("prlm-runs/mine/mini_lamp_4/units/0-choosing")
        folder.rename("away")
        part = json.loads(run("--json", "--minutes", "0", primary=arms, seeds=[0]).stdout)["rows"]
        assert part[0]["p (Holm)"] == pytest.approx(whole["p (Holm)"]) and part[1]["trainings"] == 0
        one = json.loads(
            run("--json", "--minutes", "0", primary=arms, seeds=[0], comparisons=[["full", "top"]]).stdout
        )["rows"][0]
        assert part[0]["p (Holm)"] == pytest.approx(2 * one["p (Holm)"])

    def test_controls_are_compared_with_the_own_items(self, run: Any) -> None:
        controls = {"arms": ["full"], "items": ["another user's items", "random own items"], "k": [1]}
        found = json.loads(run("--json", controls=controls).stdout)
        rows = {row["items"]: row for row in found["more"]["experiment-items"]}
        assert set(rows) == {"another user's items", "random own items", "k=1"}
        assert all(row["arm"] == "full" for row in rows.values())
        assert rows["another user's items"]["minus own"] < 0 and rows["another user's items"]["high"] < 0
        assert rows["random own items"]["mean"] < rows["k=1"]["mean"]

    def test_the_files(self, run: Any) -> None:
        done = run("-o", "out", controls={"arms": ["full"], "k": [1]})
        assert done.status == 0
        names = {path.name for path in Path("out").iterdir()}
        tables = {f"experiment{part}.csv" for part in ("", "-arms", "-items", "-costs")}
        assert names == {*tables, "experiment.json", "experiment.png", "experiment.svg"}
        assert max(len(line) for line in done.stdout.splitlines() if "  " in line) <= 100


def test_a_unit_that_was_killed_is_made_again(tmp_path: Path, cli: Any) -> None:
    (tmp_path / "known.py").write_text(PLUGIN)
    content = {**PLAN, "trainer": "known:nap=0.5", "primary": ["top", "full"], "comparisons": [["full", "top"]]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    words = ["study", "experiment", "--plan", "mine.yaml", "--plugin", "known.py", "--synth-users", "5"]
    words += ["--results", "r"]
    command = subprocess.Popen(
        [sys.executable, "-m", "prlm_bench", *words], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    trained = tmp_path / "prlm-runs/mine/mini_lamp_4/0/log"
    ends = time.monotonic() + 60
    while time.monotonic() < ends and not (trained.is_file() and trained.read_text()):
        time.sleep(0.01)
    command.send_signal(signal.SIGKILL)
    command.wait()
    listed = json.loads(cli(*words, "--dry-run", "--json").stdout)
    assert [row["state"] for row in listed] == ["begun", None, None, None]
    assert cli(*words).status == 0
    assert trained.read_text().splitlines() == ["['top'] []", "['top'] []", "['full'] []"]


@pytest.mark.nightly
def test_every_arm_of_the_real_plan_goes_through_on_smollm2(smollm2: Path, cli: Any, tmp_path: Path) -> None:
    """The budget `smoke` with a single step, on real texts where these are there."""
    pytest.importorskip("trl", reason="needs trl: pip install 'prlm-bench[prlm]'")
    task = "lamp_7" if (REAL_DATA / "LaMP_7").is_dir() else "mini_lamp_7"
    words = ["study", "experiment", "--plan", "real", "--budget", "smoke", "--task", task, "--data", "halves"]
    if task == "lamp_7":
        assert cli("data", "split", "--task", task, "--data", REAL_DATA, "-o", "halves").status == 0
    else:
        assert cli("data", "synth", "--task", "7", "--train-users", "40", "-o", "halves").status == 0
    changes = [f"{name}.{size}=1" for name in ("policy", "sft", "sft_traces") for size in ("steps", "every")]
    words += [word for change in changes for word in ("--change", change)]
    done = cli(*words, "--results", "r", "-o", "out", "--json", timeout=1800)
    assert done.status == 0, done.stderr
    found = json.loads(done.stdout)
    plan = read_plan("real", "smoke")
    assert {row["arm"]: row["seeds"] for row in found["more"]["experiment-arms"]} == dict.fromkeys(plan.arms, 1)
    assert {row["items"] for row in found["more"]["experiment-items"]} == {*plan.controls.items, "k=3"}
    assert not any(text.startswith(("Missing", "Failed", "Open")) for text in found["findings"])
    costs = {row["arm"]: row for row in found["more"]["experiment-costs"]}
    for arm in ("prlm", "no-reasoning", "no-personalization", "placebo", "profile-reward", "best-sft", "sft-traces"):
        assert costs[arm]["tokens trained"] > costs["start"]["tokens trained"] > 0
    for arm in ("policy", "no-reasoning", "no-personalization", "placebo", "profile-reward"):
        log = tmp_path / f"prlm-runs/real-smoke/{task}/0/{arm}/log.jsonl"
        rows = [row for row in map(json.loads, log.read_text().splitlines()) if "loss" in row]
        assert len(rows) == 1 and rows[0]["loss"] == rows[0]["loss"] and rows[0]["grad_norm"] < 1e4
    assert (tmp_path / "out/experiment.png").stat().st_size > 1000


@pytest.mark.slow
def test_units_of_prlm_share_the_folder_of_their_seed(run: Any, tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="needs trl: pip install 'prlm-bench[prlm]'")
    content = settings(make_causal(tmp_path / "base"), policy__steps=2, sft__steps=2)
    content["sft_grid"] = {"steps": [1, 2], "learning_rates": [1e-3]}
    content["ablations"] = {"no-personalization": {"policy.rewards": {"accuracy": 1.0}}}
    plan: dict[str, Any] = {"trainer": "prlm.ablation", "recipe": str(recipe_file(tmp_path, content)), "limit": 4}
    plan |= {"primary": ["prlm", "best-sft"], "secondary": ["rag", "no-personalization"]}
    plan["comparisons"] = [["prlm", "best-sft"]]

    def folders(seed: int) -> set[str]:
        return {path.name for path in Path(f"prlm-runs/mine/mini_lamp_4/{seed}").iterdir()}

    run("--minutes", "0.0000001", **plan)
    assert folders(0) == {"pairs"}
    done = run("--json", **plan)
    assert done.status == 0, done.stderr
    assert {*folders(0)} == {"pairs", "reward", "policy", "sft-1x-0.001", "sft-2x-0.001", "no-personalization"}
    chosen = folders(1) - {"pairs", "reward", "policy"}
    assert len(chosen) == 1 and chosen < {"sft-1x-0.001", "sft-2x-0.001"}
    found = json.loads(done.stdout)
    seeds = {row["arm"]: row["seeds"] for row in found["more"]["experiment-arms"]}
    assert seeds == {"prlm": 2, "best-sft": 2, "rag": 1, "no-personalization": 1}
    assert {row["arm"] for row in found["more"]["experiment-costs"]} == {"prlm", "best-sft", "no-personalization"}
