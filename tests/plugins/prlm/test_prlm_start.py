"""The start: what it is trained on, what its manifest tells, and that every other stage begins with it."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
pytest.importorskip("trl", reason="needs trl: pip install 'prlm-bench[prlm]'")

from prlm_bench_plugins._training import read_log
from prlm_bench_plugins.prlm import _grpo, _start, _tuning
from prlm_bench_plugins.prlm._arms import base_methods, cost_of
from prlm_bench_plugins.prlm._context import TrainingContext, parsed_sample
from prlm_bench_plugins.prlm._dpo import make_dpo
from prlm_bench_plugins.prlm._grpo import make_policy
from prlm_bench_plugins.prlm._recipe import StartSettings, read_recipe
from prlm_bench_plugins.prlm._rewards import is_readable
from prlm_bench_plugins.prlm._rollout import Validation
from prlm_bench_plugins.prlm._sft import make_rft, make_sft
from prlm_bench_plugins.prlm._stages import _trained_settings
from prlm_bench_plugins.prlm._start import make_start
from prlm_bench_plugins.prlm._trace_rules import NOTHING_SHOWN, TraceRules
from support.prlm_shop import make_causal, recipe_file, settings, train, training_context

from prlm_bench import Completion, Prompt, Ranking
from prlm_bench.errors import PrlmBenchError

STEPS = {"learning_rate": 2e-3, "epochs": 2, "steps": 6, "batch": 2, "every": 2, "judged": 2, "warmup": 0.0}
START = {**STEPS, "questions": 6}
#: Of a stage without a start; before there was one it was the same.
IDENTITY = {"task", "data", "seed", "base", "retriever", "reasoner", "rewards", "k", "max_completion", "held_back"}
IDENTITY |= {"precision", "chat", "settings", "code", "versions"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_causal(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose window has room for items beside the question."""
    return make_causal(tmp_path_factory.mktemp("models") / "roomy", window=8000)


class TestQuestions:
    def test_those_of_the_start_belong_to_no_other_stage(self, tmp_path: Path) -> None:
        ctx = training_context(settings("x", start=START), tmp_path)
        own, others = ctx.before_start().questions(6), ctx.questions(None)
        assert len(own) == 6 and not {e.id for e in own} & {e.id for e in others}
        assert own + others == ctx.before_start().questions(None)
        assert ctx.questions(2) == others[:2]
        assert ctx.questions(None, validation=True) == ctx.before_start().questions(None, validation=True)

    def test_a_start_that_leaves_none(self, tmp_path: Path) -> None:
        ctx = training_context(settings("x", start={**START, "questions": 12}), tmp_path)
        with pytest.raises(PrlmBenchError, match="the start takes 12 of the 12 training questions of mini_lamp_4"):
            ctx.questions(None)

    @pytest.mark.parametrize("task", ["mini_lamp_1", "mini_lamp_2", "mini_lamp_3", "mini_lamp_4", "mini_lamp_7"])
    def test_half_are_answered_directly_and_half_after_true_statements(
        self, task: str, roomy: Path, tmp_path: Path
    ) -> None:
        start = {**START, "reasoner": "prlm:max_length=6000"}
        ctx = training_context(settings(roomy, start=start), tmp_path, task).before_start()
        rules, wanted = TraceRules(ctx.task), StartSettings.model_validate(start)
        made = _start._examples(ctx, wanted, rules, validation=False)
        assert [each.prompt.reasons for each in made] == [False] * 3 + [True] * 3
        assert [each.prompt.example for each in made] == ctx.questions(6)
        for each in made:
            *before, answer = each.completion.split("\n</think>\n")
            assert answer == repr({ctx.task.prompts.chat.key: each.prompt.example.gold})
            assert len(before) == each.prompt.reasons
            for trace in before:
                items = each.prompt.ranking.items
                assert len(items) == each.prompt.shown == 2 and 2 <= len(trace.splitlines()) <= 3
                assert all(rules.check(line, items) is True for line in trace.splitlines())
        validation = _start._examples(ctx, wanted, rules, validation=True)
        assert {each.prompt.example.user for each in validation} <= ctx.validation_users
        only = wanted.model_copy(update={"direct_share": 1.0})
        assert not any(each.prompt.reasons for each in _start._examples(ctx, only, rules, validation=False))

    def test_nothing_is_said_of_items_that_the_prompt_has_no_room_for(self, base: Path, tmp_path: Path) -> None:
        ctx = training_context(settings(base, start={**START, "direct_share": 0.0}), tmp_path).before_start()
        rules, wanted = TraceRules(ctx.task), StartSettings.model_validate({**START, "direct_share": 0.0})
        for each in _start._examples(ctx, wanted, rules, validation=False):
            assert len(each.prompt.ranking.items) == 2 and each.prompt.shown == 0
            assert each.completion.startswith(f"{NOTHING_SHOWN}\n</think>\n")

    def test_a_reasoner_without_reasoning_is_refused(self, base: Path, tmp_path: Path) -> None:
        ctx = training_context(settings(base, start={**START, "reasoner": "direct:protocol=chat"}), tmp_path)
        with pytest.raises(PrlmBenchError, match=r"start\.reasoner=direct:protocol=chat does not ask for reasoning"):
            make_start(ctx)


class Scripted:
    """Writes a title of its own for each draw; in some reasoning it makes a true statement and does not close it."""

    tokenizer = None

    def __init__(self) -> None:
        self._draw = 0

    def sample(self, prompts: Sequence[Prompt], n: int) -> Iterator[tuple[int, list[Completion]]]:
        draws = []
        for self._draw in range(n):
            draws.append([completion for _, completion in self.generate(prompts)])
        for place in reversed(range(len(prompts))):
            yield place, [completions[place] for completions in draws]

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        for place, prompt in enumerate(prompts):
            flat = int(prompt.example.id) % 2
            answer = repr({"title": (prompt.example.gold or "") if flat else ["", prompt.example.gold][self._draw % 2]})
            if not prompt.reasons:
                yield place, Completion(answer if flat else "no object", finish="stop")
            elif flat:
                yield place, Completion(f"The titles have about 900 words.\nSo.\n</think>\n{answer}", finish="stop")
            else:
                yield place, Completion("Few tweets", finish="length")


class ScriptedContext(TrainingContext):
    def model(self, model: str, temperature: float = 0.0, draw: int = 0) -> Any:
        return super().model(model) if model == self.recipe.base else Scripted()


def test_figures_of_the_answers_to_validation_questions(base: Path, tmp_path: Path) -> None:
    ctx = training_context(settings(base, start=START), tmp_path, kind=ScriptedContext)
    found = _start._measure(ctx.before_start(), StartSettings.model_validate(START), TraceRules(ctx.task), "scripted")
    flat = [int(example.id) % 2 for example in ctx.questions(None, validation=True)]
    assert 0 < sum(flat) < len(flat) == 6
    readable = round(sum(flat) / 6, 4)
    assert found == {
        "questions": 6,
        "readable": {"direct": readable, "reasoning": readable},
        "closed_reasoning": readable,
        "different_traces": 2,
        "statements": 2 * sum(flat) + (6 - sum(flat)),  # a line that was cut counts
        "statements_of_a_rule": sum(flat),
        "true_of_these": 0.0,
        "groups": 6,
        "readable_sampled": {"direct": readable, "reasoning": readable},
        "groups_with_spread": {"direct": 0.0, "reasoning": 0.0},
    }
    finding = _start._finding(found)
    assert finding["learned"] and re.match(
        r"\d+% of the validation completions can be read, and 0% of", finding["finding"]
    )
    good = {"readable": {"direct": 1.0, "reasoning": 0.96}, "groups_with_spread": {"direct": 0.5, "reasoning": 0.9}}
    assert _start._finding(good) == {}
    assert _start._finding({**good, "groups_with_spread": {"direct": 0.4, "reasoning": 0.9}})


@pytest.mark.parametrize(
    ("unreadable", "accuracy", "chosen_by"), [(0.0, 1.0, 1.0), (0.05, 1.5, 1.5), (0.06, 2.9, -0.06), (1.0, 0.0, -1.0)]
)
def test_a_checkpoint_is_chosen_by_what_can_be_read_first(
    unreadable: float, accuracy: float, chosen_by: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"accuracy": accuracy, "unreadable": unreadable}
    monkeypatch.setattr(Validation, "figures", lambda self, trainer: found)
    judged = _start.ReadableFirst.__new__(_start.ReadableFirst)
    assert judged.figures(None) == {**found, judged.selected_by: chosen_by}


@pytest.mark.parametrize(
    ("reasons", "text", "readable"),
    [
        (False, "{'title': 'x'}", True),
        (False, "x", False),
        (True, "Short.\n</think>\n{'title': 'x'}", True),
        (True, "{'title': 'x'}", False),  # an answer, which skips the reasoning
        (True, "Short.\n</think>\nx", False),
        (True, "Short.\n{'title': 'x'}", False),
    ],
)
def test_what_can_be_read(reasons: bool, text: str, readable: bool, tmp_path: Path) -> None:
    ctx = training_context(settings("nothing-is-loaded", start=START), tmp_path)
    reasoner = ctx.reasoner("prlm" if reasons else "direct:protocol=chat")
    prompt = Prompt(ctx.questions(1)[0], Ranking(), "?", key="title", reasons=reasons)
    assert is_readable(parsed_sample(reasoner, prompt, Completion(text))) is readable


def test_groups_whose_accuracy_differs_have_spread(base: Path, tmp_path: Path) -> None:
    class Differing(Scripted):
        def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
            for place, prompt in enumerate(prompts):
                right = int(prompt.example.id) % 2 or self._draw == 3
                yield place, Completion(repr({"title": prompt.example.gold if right else "?"}))

    class DifferingContext(TrainingContext):
        def model(self, model: str, temperature: float = 0.0, draw: int = 0) -> Any:
            assert model == self.recipe.base or temperature == 1.0
            return super().model(model) if model == self.recipe.base else Differing()

    ctx = training_context(settings(base, start=START), tmp_path, kind=DifferingContext).before_start()
    reasoner = ctx.reasoner("direct:protocol=chat")
    prompts, _ = ctx.training_prompts(reasoner, None, validation=True)
    groups = _start._groups(ctx, reasoner, prompts, "scripted", "direct")
    assert [len(group) for group in groups] == [4] * len(prompts)
    assert _start._share_with_spread(ctx, groups) == round(
        sum(int(p.example.id) % 2 == 0 for p in prompts) / len(prompts), 4
    )


class TestWithout:
    @pytest.mark.parametrize("given", [{}, {"start": None}, {"start": "none"}])
    def test_stages_are_identified_as_before(
        self, given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ctx = training_context(settings("nothing-is-loaded", **given), tmp_path)
        assert ctx.recipe.start is None and ctx.started is None and ctx.base == "nothing-is-loaded"
        monkeypatch.setattr(type(ctx), "base_identity", "made")
        made = ctx.stage("sft", ctx.recipe.sft, lambda folder: {})
        kept = json.loads((made.folder / "manifest.json").read_text())
        assert set(kept["identity"]) == IDENTITY
        assert kept["identity"]["settings"] == ctx.recipe.sft.model_dump() if ctx.recipe.sft else False
        assert not (ctx.output / "start").exists()

    def test_the_stage_needs_its_section(self) -> None:
        with pytest.raises(PrlmBenchError, match="the recipe has no section start") as caught:
            list(_trained_settings(read_recipe("tiny"), ["start"]))
        assert caught.value.hint == "add one; `prlm-bench prlm recipes smollm2` shows a start"
        assert read_recipe("smollm2", ["start=none"]).start is None
        assert read_recipe("tiny", ["start.questions=5"]).start == StartSettings(questions=5)

    def test_its_sizes_are_checked_with_those_of_any_stage(self) -> None:
        recipe = read_recipe("smollm2", ["start.device_batch=5"])
        with pytest.raises(PrlmBenchError, match="device_batch=5 on 1 devices does not divide"):
            for each in _trained_settings(recipe, ["sft"]):
                each.batch_sizes()


@pytest.fixture(scope="module")
def started(base: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingContext:
    # Slow, so that the made model goes on writing what can be read.
    content = settings(base, start={**START, "learning_rate": 1e-5}, policy__rewards={"accuracy": 1.0})
    ctx = training_context(content, tmp_path_factory.mktemp("chain"))
    make_start(ctx)
    return ctx


@pytest.mark.slow
class TestChain:
    @pytest.mark.parametrize(
        ("name", "make"), [("sft", make_sft), ("rft", make_rft), ("dpo", make_dpo), ("policy", make_policy)]
    )
    def test_every_stage_begins_with_the_started_model(
        self,
        started: TrainingContext,
        name: str,
        make: Callable[[TrainingContext], Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        loaded: list[str] = []
        load = _tuning.load_model

        def recorded(model: str) -> Any:
            loaded.append(model)
            return load(model)

        monkeypatch.setattr(_tuning, "load_model", recorded)
        monkeypatch.setattr(_grpo, "load_model", recorded)
        manifest = make(started).manifest
        start = json.loads((started.output / "start" / "manifest.json").read_text())
        assert loaded == [str(started.output / "start" / "model")]
        assert manifest["identity"]["start"] == start["files"] and manifest["identity"].keys() == IDENTITY | {
            "start",
            *{"rft": ["reward"], "dpo": ["pairs"], "policy": ["reward"]}.get(name, []),
        }
        assert manifest["identity"]["base"] != start["identity"]["base"]
        assert start["held_back"]["metric"] == "readable_accuracy"
        assert "start" not in start["identity"] and start["builds_on"] == [] and manifest["builds_on"][0] == "start"
        own, whole = manifest["cost"]["tokens_trained"], cost_of(started.output, name)["tokens_trained"]
        assert whole >= own + start["cost"]["tokens_trained"] > own > 0

    def test_its_identity_has_the_rules_and_both_reasoners(self, started: TrainingContext) -> None:
        identity = json.loads((started.output / "start" / "manifest.json").read_text())["identity"]
        assert identity["rules"] == json.loads(json.dumps(TraceRules(started.task).identity()))
        assert identity["reasoner"]["spec"] == "prlm" and identity["direct"]["spec"] == "direct:protocol=chat"
        assert identity["settings"]["questions"] == 6
        changed = settings(started.recipe.base, start={**START, "learning_rate": 1e-5, "statements": 2})
        with pytest.raises(
            PrlmBenchError, match=r"start was made with other settings: settings.statements was 3 and is 2"
        ):
            make_sft(training_context(changed, started.output.parent))

    def test_methods_of_the_base_are_those_of_the_start(self, started: TrainingContext) -> None:
        methods = base_methods(started.recipe, started.output)
        own = {label: methods.pop(label) for label in ("base", "base-plain")}
        assert set(methods) == {"start", "think", "rag", "zero-shot"}
        assert {m["generator"] for m in methods.values()} == {
            f"trained:checkpoint={started.output},stage=start,max_new_tokens=10"
        }
        # Rows of the base itself differ from these by the model and its prompt alone.
        generator = f"transformers:model={started.recipe.base},dtype=float32,max_new_tokens=10"
        assert own["base"] == {**methods["rag"], "generator": generator}
        assert own["base-plain"] == {**own["base"], "reasoner": "direct:protocol=plain"}


@pytest.mark.slow
def test_a_killed_start_ends_like_an_unbroken_one_and_answers_in_a_run(base: Path, tmp_path: Path, here: Any) -> None:
    from prlm_bench.data.synth import SynthConfig, write_mini_lamp

    data = tmp_path / "data"
    write_mini_lamp(data, [4], SynthConfig(train_users=6, dev_users=2, test_users=1))
    recipe = recipe_file(tmp_path, settings(base, start=START))

    def words(output: Path, trainer: str = "prlm.start") -> list[object]:
        return [trainer, "--task", "mini_lamp_4", "--data", data, "--recipe", recipe, "-o", output]

    status, told = train(tmp_path, words(tmp_path / "one"))
    assert status == 0 and "held_back_answers" in told, told
    assert "can be read" in told  # the finding
    stage = tmp_path / "two" / "start"
    moments: list[Callable[[], bool]] = [
        lambda: max((row["step"] for row in read_log(stage)), default=-1) >= 3,
        lambda: (stage / "model" / "tokenizer_config.json").is_file(),  # while answers are counted
    ]
    for moment in moments:
        status, told = train(tmp_path, words(tmp_path / "two"), moment)
        assert status == -signal.SIGKILL, told
    status, told = train(tmp_path, words(tmp_path / "two", "prlm.sft"))
    assert status == 0 and "start: 0% of the validation completions can be read" in told, told
    for name in ("log.jsonl", "manifest.json", "model/model.safetensors"):
        assert (stage / name).read_bytes() == (tmp_path / "one" / "start" / name).read_bytes(), name
    assert (tmp_path / "two" / "sft" / "manifest.json").is_file()
    method = ["--method", f"start:checkpoint={tmp_path / 'two'}"]
    done = here("run", "--task", "mini_lamp_4", "--synth-users", 2, "--no-controls", *method, "--results", "r")
    assert done.status == 0, done


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("smollm2")
def test_a_pretrained_base_learns_both_forms(tmp_path: Path) -> None:
    """Eight steps on twelve questions; the base itself closes no reasoning."""
    changes = {"learning_rate": 3e-4, "epochs": 4, "steps": None, "batch": 6, "every": 4, "judged": 6}
    reasoners = {"reasoner": "prlm:max_length=448", "direct": "direct:protocol=chat,max_length=448"}
    content = settings("smollm2", start={**START, **changes, **reasoners, "questions": 12}, max_completion=96)
    made = make_start(training_context(content, tmp_path, "mini_lamp_7"))
    log = read_log(made.folder)
    unreadable = [row["eval_unreadable"] for row in log if "eval_unreadable" in row]
    assert unreadable[0] == 1 and unreadable[-1] <= 1 / 6
    losses = [row["loss"] for row in log if "loss" in row]
    assert len(losses) == 8 and losses[-1] < losses[0] / 2
    shown = made.manifest["held_back_answers"]
    assert min(shown["readable"].values()) >= 5 / 6 and min(shown["groups_with_spread"].values()) >= 0.5
    assert shown["different_traces"] > 1 and shown["statements_of_a_rule"] > shown["statements"] / 2
