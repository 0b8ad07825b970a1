"""The rewards of PrLM, the pair scorer behind one of them, and how trl is told of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest

pytest.importorskip("transformers", reason="needs transformers: pip install 'prlm-bench[lm]'")

from prlm_bench_plugins._training import COMPLETIONS, TRAIN, VALIDATION, file_hashes
from prlm_bench_plugins.prlm._context import is_own_reward
from prlm_bench_plugins.prlm._grpo import RewardSet
from prlm_bench_plugins.prlm._preference_pairs import Pair
from prlm_bench_plugins.prlm._recipe import EncoderConfig
from prlm_bench_plugins.prlm._reward_model import RewardModel, load_reward_model, new_reward_model, question_text
from prlm_bench_plugins.prlm._reward_training import evaluate
from prlm_bench_plugins.prlm._rewards import reward_names, spread_of_groups
from support.prlm_shop import make_bert

from prlm_bench import Answer, Completion, Document, Example, Prompt, Ranking, Sample
from prlm_bench.data import open_split
from prlm_bench.errors import PrlmBenchError
from prlm_bench.host import PluginHost
from prlm_bench.interfaces import Context
from prlm_bench.metrics import Pairs
from prlm_bench.running import Components
from prlm_bench.testing import RewardContract

TEXTS = [f"{who} {what} the {thing}" for who in ("she", "he") for what in ("saw", "sold") for thing in ("house", "car")]


def context_of(task: str, folder: Path) -> Context:
    host = PluginHost()
    return Components(host, open_split(host.tasks.get(task), "dev", synth_users=4), folder).context(0)


def attempt(gold: str | None, answer: str, completion: str = "", items: Sequence[str] = (), query: str = "q") -> Sample:
    example = Example("1", "u", query, query, (), gold)
    ranking = Ranking(tuple(Document(str(place), text, {}) for place, text in enumerate(items)), (0.0,) * len(items))
    parsed = Answer(answer, "whole" if answer else None)
    return Sample(Prompt(example, ranking, query), Completion(completion or answer), parsed)


class TestAccuracy:
    def test_it_is_the_sum_of_three_metrics(self, tmp_path: Path) -> None:
        context = context_of("mini_lamp_4", tmp_path)
        golds = ["Council weighs the new bridge", "a b c", "Zoo opens", "one"]
        answers = ["Council weighs a bridge", "c b a", "", "one"]
        samples = [attempt(gold, answer) for gold, answer in zip(golds, answers, strict=True)]
        found = context.build("reward", "accuracy").score(samples)
        metrics = [context.build("metric", f"rouge-{name}@prlm") for name in ("1", "2", "l")]
        for place, value in enumerate(found):
            one = Pairs([answers[place]], [golds[place]], ())
            assert value == pytest.approx(sum(metric.value(metric.statistics(one))[0] for metric in metrics))
        assert found[2] == 0
        assert 0 < found[0] < 3 and found[3] <= 3

    def test_labels_and_numbers(self, tmp_path: Path) -> None:
        labels = context_of("mini_lamp_2", tmp_path)
        gold, other = labels.task.labels[:2]
        samples = [attempt(gold, gold), attempt(gold, other), attempt(gold, "")]
        assert labels.build("reward", "accuracy").score(samples) == [3, 0, 0]
        numbers = context_of("mini_lamp_3", tmp_path)
        assert [numbers.task.labels[0], numbers.task.labels[-1]] == ["1", "5"]
        samples = [attempt("5", answer) for answer in ("5", "4", "1", "4.5", "-9", "")]
        assert numbers.build("reward", "accuracy").score(samples) == pytest.approx([3, 2.25, 0, 2.625, 0, 0])

    def test_without_golds(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="needs golds"):
            context_of("mini_lamp_4", tmp_path).build("reward", "accuracy").score([attempt(None, "x")])


class TestAccuracyContract(RewardContract):
    spec = "accuracy"


class TestClosedReasoningContract(RewardContract):
    spec = "closed-reasoning"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The user likes verbs.\n</think>\n{'title': 'x'}", 1),
        ("<think>\nThe user likes verbs.\n</think>{'title': 'x'}", 1),
        ("two\nlines\n  </think>  \nanswer", 1),
        ("The user likes verbs. </think> answer", 0),
        ("\n</think>\nanswer", 0),
        ("<think>\n</think>\nanswer", 0),
        ("<think>\n\n</think>\n\nanswer", 0),
        ("reasons\n</think>\n", 0),
        ("reasons and never closes", 0),
        ("reasons\n</think>\n{'title': 'a draft'}\n</think>\n{'title': 'x'}", 0),  # published: 1
        ("answer", 0),
        ("", 0),
    ],
)
def test_closed_reasoning(tmp_path: Path, text: str, value: float) -> None:
    reward = context_of("mini_lamp_4", tmp_path).build("reward", "closed-reasoning")
    assert reward.score([attempt("g", "x", text)]) == [value]
    assert reward.score([]) == []


@pytest.fixture(scope="module")
def scorer() -> RewardModel:
    return new_reward_model(EncoderConfig(vocabulary=200, hidden=16, layers=1, heads=2), TEXTS * 3, 32, 1)


class TestScorer:
    def test_a_file_reads_as_it_was_written(self, scorer: RewardModel, tmp_path: Path) -> None:
        scorer.save(tmp_path)
        loaded = load_reward_model(tmp_path, 32)
        texts = [*TEXTS, "An ODD word, naïve; 'quoted' — dashed", "", "x" * 200]
        assert loaded.encode(texts, texts) == scorer.encode(texts, texts)
        assert loaded.score(texts, texts) == pytest.approx(scorer.score(texts, texts), abs=1e-6)
        assert loaded.tokenizer.tokenize("saw the") != loaded.tokenizer.tokenize("SAW the")

    def test_a_row_is_scored_the_same_in_any_company(self, scorer: RewardModel) -> None:
        questions = [text[: 3 + 2 * place] for place, text in enumerate(TEXTS)]
        together = scorer.score(questions, TEXTS)
        alone = [scorer.score([q], [a])[0] for q, a in zip(questions, TEXTS, strict=True)]
        assert together == pytest.approx(alone, abs=1e-5)
        small = scorer.score(questions[::-1], TEXTS[::-1], batch_tokens=30)
        assert small[::-1] == pytest.approx(together, abs=1e-5)
        assert len(set(map(str, together))) > 1
        assert scorer.score([], []) == []

    def test_long_texts_are_cut(self, scorer: RewardModel) -> None:
        assert len(scorer.encode(["she saw " * 50], ["the car"])[0]["input_ids"]) == 32

    def test_the_seed_makes_the_weights(self, scorer: RewardModel) -> None:
        sizes = EncoderConfig(vocabulary=200, hidden=16, layers=1, heads=2)
        again, other = (new_reward_model(sizes, TEXTS * 3, 32, seed) for seed in (1, 2))
        assert again.score(TEXTS, TEXTS) == scorer.score(TEXTS, TEXTS) != other.score(TEXTS, TEXTS)

    def test_the_vocabulary_does_not_hang_on_chance(self) -> None:
        rng = random.Random(0)
        texts = ["".join(rng.choice("abcdefgh") for _ in range(rng.randint(2, 7))) for _ in range(300)] * 2
        sizes = EncoderConfig(vocabulary=150, hidden=8, layers=1, heads=1)
        first, *others = (new_reward_model(sizes, texts, 8, 0).tokenizer.get_vocab() for _ in range(4))
        assert others == [first] * 3
        assert len(first) == 150 and len([word for word in first if len(word.removeprefix("##")) > 1]) > 100

    def test_the_profile_is_read_after_the_query(self) -> None:
        assert question_text("q", ["a", "b"], profile=True) == "q\na\nb"
        assert question_text("q", ["a", "b"], profile=False) == "q"

    def test_an_encoder_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(PrlmBenchError, match=r"encoder .* cannot be loaded: ") as caught:
            load_reward_model(tmp_path, 32)
        assert "\n" not in str(caught.value)


def test_a_reward_that_measures_length_shows_itself() -> None:
    class Length:
        def score(self, questions: Sequence[str], answers: Sequence[str]) -> list[float]:
            return [float(len(answer)) for answer in answers]

    def pair(user: int, better: str, worse: str) -> Pair:
        return Pair("1", str(user), "echo", better, worse, (), "no-items", "", False, "", "", "")

    pairs = [pair(user, "long answer", "short") for user in range(9)] + [pair(9, "no", "long answer")]
    length: Any = Length()
    figures = evaluate(length, pairs, pairs, profile=False)
    assert figures["accuracy"] == figures["accuracy_of_length"]
    assert figures["accuracy"]["value"] == 0.9
    assert figures["accuracy"]["low"] < 0.9 < figures["accuracy"]["high"]
    assert figures["rank_correlation_with_length"] == 1
    assert figures["beats_echo"]["value"] == 0.9
    shorter = evaluate(length, [pair(1, "no", "long answer")], pairs, profile=False)
    assert shorter["accuracy_of_length"]["value"] == 0.1


def kept_reward(folder: Path, profile: bool = False, task: str = "mini_lamp_4") -> Path:
    make_bert(folder / "reward" / "model", TEXTS * 3)
    files = file_hashes(folder / "reward" / "model")
    manifest = {"stage": "reward", "task": task, "profile": profile, "max_length": 64, "files": files}
    (folder / "reward" / "manifest.json").write_bytes(orjson.dumps(manifest))
    return folder


class TestPersonalization:
    def test_the_sigmoid_of_the_score(self, tmp_path: Path) -> None:
        folder = kept_reward(tmp_path / "run")
        context = context_of("mini_lamp_4", tmp_path)
        samples = [attempt("g", text, query="she saw") for text in TEXTS] + [attempt("g", "", "unread")]
        scores = load_reward_model(folder / "reward" / "model", 64).score(["she saw"] * len(TEXTS), TEXTS)
        for model in (folder, folder / "reward"):
            found = context.build("reward", {"name": "personalization", "model": str(model)}).score(samples)
            assert found == pytest.approx([*[1 / (1 + 2.718281828459045**-score) for score in scores], 0])

    def test_the_profile_is_read_where_it_was_trained_on(self, tmp_path: Path) -> None:
        samples = [attempt("g", "she saw the car", items=items) for items in ((), ("he sold the house",))]
        context = context_of("mini_lamp_4", tmp_path)
        values = []
        for profile in (False, True):
            folder = kept_reward(tmp_path / str(profile), profile)
            values.append(context.build("reward", {"name": "personalization", "model": str(folder)}).score(samples))
        assert values[0][0] == pytest.approx(values[0][1], abs=1e-6)
        assert abs(values[1][0] - values[1][1]) > 1e-6

    def test_another_tasks_is_refused(self, tmp_path: Path) -> None:
        folder = kept_reward(tmp_path / "run", task="mini_lamp_7")
        context = context_of("mini_lamp_4", tmp_path)
        with pytest.raises(PrlmBenchError, match=r"was trained for mini_lamp_7, not for mini_lamp_4 .train one for"):
            context.build("reward", {"name": "personalization", "model": str(folder)})
        with pytest.raises(PrlmBenchError, match=r"no reward in .*make it with"):
            context.build("reward", {"name": "personalization", "model": str(tmp_path)})

    def test_weights_that_its_training_did_not_write_are_refused(self, tmp_path: Path) -> None:
        """They would give other scores under the same identity."""
        folder = kept_reward(tmp_path / "run")
        context = context_of("mini_lamp_4", tmp_path)
        spec = {"name": "personalization", "model": str(folder)}
        reward = context.build("reward", spec)
        assert "model.safetensors=" in reward.fingerprint() and reward.fingerprint().endswith("profile=False")
        weights = folder / "reward" / "model" / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"x")
        with pytest.raises(PrlmBenchError, match=r"model.safetensors: not the file that its training wrote"):
            context.build("reward", {**spec, "published": True})

    def test_the_published_rule_for_unusable_answers(self, tmp_path: Path) -> None:
        samples = [attempt("g", answer, "x") for answer in ("", "the generated title", "...", "and so on...")]
        scores = {}
        for task in ("mini_lamp_4", "mini_lamp_7"):
            folder = kept_reward(tmp_path / task, task=task)
            for published in (False, True):
                spec = {"name": "personalization", "model": str(folder), "published": published}
                scores[task, published] = context_of(task, tmp_path).build("reward", spec).score(samples)
        assert scores["mini_lamp_4", True][:3] == [-10, -10, -10]
        assert scores["mini_lamp_4", True][3] == pytest.approx(scores["mini_lamp_4", False][3], abs=1e-6)
        assert scores["mini_lamp_4", False][0] == scores["mini_lamp_7", False][0] == 0 < scores["mini_lamp_7", True][0]
        assert scores["mini_lamp_7", True][1:] == pytest.approx(scores["mini_lamp_7", False][1:], abs=1e-6)

    def test_which_specs_name_the_trainings_own_model(self) -> None:
        assert is_own_reward("personalization") and is_own_reward("personalization:published=true")
        for spec in ("personalization:runs/a", "personalization:model=runs/a,published=true", "accuracy"):
            assert not is_own_reward(spec), spec

    def test_seeds_are_one_column(self, tmp_path: Path) -> None:
        kept_reward(tmp_path / "run0")
        spec = {"name": "personalization", "model": str(tmp_path / "run{seed}")}
        assert context_of("mini_lamp_4", tmp_path).build("reward", spec).score([]) == []


class Counted:
    """A reader and a reward that count their calls."""

    def __init__(self, score: Callable[[Sample], float] = lambda sample: float(len(sample.answer.text))) -> None:
        self.parsed: list[str] = []
        self.scored: list[int] = []
        self._score = score

    def parse(self, prompt: Prompt, completion: Completion) -> Answer:
        self.parsed.append(completion.text)
        return Answer(completion.text.upper(), "whole")

    def score(self, samples: Sequence[Sample]) -> list[float]:
        self.scored.append(len(samples))
        return [self._score(sample) for sample in samples]


class TestRewardSet:
    @pytest.fixture
    def rewards_of(self, tmp_path: Path) -> Callable[..., Any]:
        def made(
            counted: Counted, keep_every: int = 1, rewards: Sequence[str] = ("one", "two"), group: int = 1
        ) -> RewardSet:
            prompts = {name: replace(attempt("g", "x").prompt, text=name) for name in "abc"}
            reader: Any = counted
            weighted: dict[str, Any] = dict.fromkeys(rewards, (counted, 0.5))
            return RewardSet(weighted, reader, prompts, tmp_path, keep_every, group)

        return made

    @staticmethod
    def ask(rewards: RewardSet, texts: Sequence[str], step: int = 0, part: str = TRAIN) -> list[list[float]]:
        batch = [[{"role": "assistant", "content": text}] for text in texts]
        state = SimpleNamespace(global_step=step)
        given: dict[str, Any] = {"question": list("abc")[: len(texts)], "trainer_state": state, "prompts": []}
        return [f(completions=batch, part=[part] * len(texts), **given) for f in rewards.functions]

    def test_each_completion_is_parsed_once_and_a_batch_is_one_call(self, rewards_of: Any, tmp_path: Path) -> None:
        counted = Counted()
        made = rewards_of(counted)
        assert self.ask(made, ["x", "yyy", "zz"]) == [[1, 3, 2], [1, 3, 2]]
        assert counted.parsed == ["x", "yyy", "zz"] and counted.scored == [3, 3]
        assert self.ask(made, ["x", "yyy", ""], step=1) == [[1, 3, 0], [1, 3, 0]]
        assert len(counted.parsed) == 6
        rows = [orjson.loads(row) for row in (tmp_path / COMPLETIONS).read_bytes().splitlines()]
        assert [row["step"] for row in rows] == [0, 0, 0, 1, 1, 1]
        assert rows[1]["rewards"] == {"one": 3.0, "two": 3.0} and rows[1]["answer"] == "YYY"
        assert [f.__name__ for f in made.functions] == ["one", "two"] and made.weights == [0.5, 0.5]

    def test_plain_completions(self, rewards_of: Any) -> None:
        made = rewards_of(Counted())
        state = SimpleNamespace(global_step=0)
        assert made.functions[0](completions=["xy"], question=["a"], trainer_state=state, part=[TRAIN]) == [2]

    def test_reasoning_between_special_tokens_is_not_lost(self, rewards_of: Any) -> None:
        """trl decodes without special tokens."""
        pytest.importorskip("torch", reason="needs torch: prlm-bench[lm]")
        pytest.importorskip("transformers", reason="needs transformers: prlm-bench[lm]")
        from support.checkpoints import TEMPLATE, make_tokenizer

        counted = Counted()
        made = rewards_of(counted)
        made.tokenizer = make_tokenizer(chat_template=TEMPLATE)
        made.tokenizer.add_tokens(["<think>", "</think>"], special_tokens=True)
        texts = ["<think>a draft</think>an answer<end>", "an answer<end>"]
        ids = [made.tokenizer(text)["input_ids"] for text in texts]
        given: dict[str, Any] = {"question": ["a", "b"], "trainer_state": SimpleNamespace(global_step=0)}
        plain = made.tokenizer.batch_decode(ids, skip_special_tokens=True)
        made.functions[0](completions=plain, completion_ids=ids, part=[TRAIN] * 2, **given)
        assert plain[0] == "a draftan answer"
        assert counted.parsed == ["<think>a draft</think>an answer", "an answer"]

    def test_only_some_steps_are_kept(self, rewards_of: Any, tmp_path: Path) -> None:
        made = rewards_of(Counted(), keep_every=2)
        for step in range(5):
            self.ask(made, ["x"], step)
        rows = [orjson.loads(row) for row in (tmp_path / COMPLETIONS).read_bytes().splitlines()]
        assert [row["step"] for row in rows] == [0, 2, 4]

    def test_what_comes_after_a_step_is_forgotten(self, rewards_of: Any, tmp_path: Path) -> None:
        made = rewards_of(Counted())
        for step, part in ((0, VALIDATION), (0, TRAIN), (1, TRAIN), (2, VALIDATION), (2, TRAIN)):
            self.ask(made, ["x"], step, part)
        with (tmp_path / COMPLETIONS).open("ab") as file:
            file.write(b'{"step": 0, "torn')
        whole = (tmp_path / COMPLETIONS).read_bytes().splitlines(keepends=True)
        made.keep_until(2)
        assert (tmp_path / COMPLETIONS).read_bytes() == b"".join(whole[:4])
        made.keep_until(-1)
        assert (tmp_path / COMPLETIONS).read_bytes() == b""

    def test_a_reward_that_raises_is_one_line(self, rewards_of: Any) -> None:
        def fails(sample: Sample) -> float:
            raise KeyError("no\nsuch key")

        with pytest.raises(PrlmBenchError, match="reward one failed at step 4: KeyError: 'no") as caught:
            self.ask(rewards_of(Counted(fails)), ["x"], step=4)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_a_reward_that_is_no_number(self, rewards_of: Any, value: float) -> None:
        with pytest.raises(PrlmBenchError, match="reward one gave no finite number for each completion at step 0"):
            self.ask(rewards_of(Counted(lambda sample: value)), ["x", "y"])

    def test_shares_and_groups_without_spread_are_logged(self, rewards_of: Any) -> None:
        made = rewards_of(Counted(lambda sample: len(sample.answer.text)), group=2)
        logged: dict[str, float] = {}
        given: dict[str, Any] = {"trainer_state": SimpleNamespace(global_step=0), "log_metric": logged.__setitem__}
        texts = ["x", "yyy", "zz", "zz"]
        for function in made.functions:
            function(completions=texts, question=["a", "a", "b", "b"], part=[TRAIN] * 4, **given)
        assert logged == {"groups/without_spread": 0.5, "rewards/one/share": 0.5, "rewards/two/share": 0.5}

    def test_two_of_one_component_keep_their_options_as_names(self) -> None:
        assert reward_names({"a:x=1": 1, "a:x=2": 1, "b:y=3": 1}) == {"a:x=1": "a:x=1", "a:x=2": "a:x=2", "b:y=3": "b"}


class TestSpread:
    def test_a_small_reward_takes_over_where_the_large_one_is_flat(self) -> None:
        accuracy = [1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 2.0, 1.0, 3.0, 3.0, 3.0, 3.0]
        personal = [0.82, 0.80, 0.79, 0.83, 0.5, 0.5, 0.5, 0.5, 0.7, 0.7, 0.7, 0.7]
        shares, flat = spread_of_groups({"accuracy": accuracy, "personal": personal}, [1.0, 0.1], 4)
        assert shares == pytest.approx({"accuracy": 0.5, "personal": 0.5})  # all of one group each
        assert flat == pytest.approx(1 / 3)

    def test_shares_are_of_the_variance_and_sum_to_one(self) -> None:
        rng = np.random.default_rng(0)
        one, two = rng.normal(size=(2, 8))
        shares, _ = spread_of_groups({"one": one, "two": two}, [1.0, 0.5], 8)
        total = one + 0.5 * two
        assert shares["two"] == pytest.approx(np.cov(0.5 * two, total)[0, 1] / np.var(total, ddof=1))
        assert sum(shares.values()) == pytest.approx(1)
        against, _ = spread_of_groups({"one": [0.0, 2.0], "two": [1.0, 0.0]}, [1.0, 1.0], 2)
        assert against == {"one": 2, "two": -1}

    def test_no_group_with_spread(self) -> None:
        assert spread_of_groups({"one": [1.0, 1.0], "two": [0.3, 0.3]}, [1, 1], 2) == ({}, 1)
