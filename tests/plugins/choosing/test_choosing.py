"""Answers chosen among options and samples of a generator whose likelihoods and samples are known."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prlm_bench_plugins.choosing import most_agreeing, most_common
from prlm_bench_plugins.choosing._wrapped import continuation
from prlm_bench_plugins.studies._repeats import best_of

from prlm_bench import Answer, Completion, Prompt, Ranking, Sample, Session
from prlm_bench.errors import PrlmBenchError, RunError
from prlm_bench.host import PluginHost, given
from prlm_bench.interfaces import Context, Generator, ScoresContinuations
from prlm_bench.running import CachedGenerator, Components

#: Its log-probability of a text is minus the number of its characters, but for what the option names; sample j of a
#: prompt is the j-th of `texts`, which are separated by `|`.
SCRIPTED = """
from prlm_bench import Completion, hookimpl
from prlm_bench.interfaces import NOT_VERIFIED

CALLS = []

class Scripted:
    '''Knows what it says.'''
    tokenizer = None

    def __init__(self, context, texts: str = "a|b|a|c", likes: str = "§", verified: bool = True):
        self.texts, self.likes, self.verified, self.seed = texts.split("|"), likes, verified, context.seed

    def fingerprint(self):
        return f"seed={self.seed}" if self.verified else NOT_VERIFIED

    def generate(self, prompts):
        for index, [first] in self.sample(prompts, 1):
            yield index, first

    def sample(self, prompts, n):
        CALLS.append(("sample", len(prompts), n))
        for index, prompt in enumerate(prompts):
            texts = [self.texts[number % len(self.texts)] for number in range(n)]
            yield index, [Completion(text, finish="stop", tokens=len(text), prompt_tokens=7, cost=0.5) for text in
                          texts]

    def loglikelihood(self, prompts, continuations):
        CALLS.append(("loglikelihood", len(prompts), sum(map(len, continuations))))
        return [[0.0 if self.likes in text else -float(len(text)) for text in row] for row in continuations]

class Mute:
    '''Says nothing of likelihoods or samples.'''
    tokenizer = None

    def generate(self, prompts):
        return iter((index, Completion("")) for index, _ in enumerate(prompts))

class Wordy:
    '''Likes long completions.'''

    def score(self, samples):
        return [float(len(s.completion.text)) if s.completion.text != "nan" else None for s in samples]

@hookimpl
def prlm_bench_register_generators(register):
    register("scripted", Scripted, cached=True)
    register("mute", Mute)

@hookimpl
def prlm_bench_register_rewards(register):
    register("wordy", Wordy)
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin") / "scripted.py"
    path.write_text(SCRIPTED)
    return path


@pytest.fixture
def session(plugin: Path, cache: Path) -> Any:
    def opened(task: str, **options: Any) -> Session:
        return Session(task, plugins=[plugin], synth_users=6, **options)

    return opened


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRLM_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def calls(session: Session) -> list[Any]:
    """What the scripted generators were asked, and forget it."""
    made: Any = session.host.registry.get("generator", "scripted").factory
    asked = made.generate.__globals__["CALLS"]
    found = list(asked)
    asked.clear()
    return found


def answers(session: Session, generator: str, reasoner: str = "direct:protocol=chat") -> list[str]:
    prompts = session.prompts("bm25", 2, reasoner, generator)
    return [sample.answer.text for sample in session.generate(prompts, generator)]


class TestRankOptions:
    def test_the_most_likely_label_is_the_answer(self, session: Any) -> None:
        with session("mini_lamp_2") as opened:
            labels = opened.task.labels
            shortest = min(labels, key=len)
            assert set(answers(opened, "rank-options:scripted")) == {shortest}
            assert set(answers(opened, f'rank-options:generator="scripted:likes={labels[-1]}"')) == {labels[-1]}
            prompts = opened.prompts("bm25", 2, "direct:protocol=lamp")
            (sample, *_) = opened.generate(prompts, "rank-options:scripted")
            assert (sample.completion.is_answer, sample.completion.tokens, sample.answer.parsed) == (True, 0, "given")

    def test_scores(self, session: Any) -> None:
        with session("mini_lamp_3") as opened:
            assert set(answers(opened, 'rank-options:generator="scripted:likes=4"')) == {"4"}

    def test_the_length_of_an_option_can_be_left_out(self, session: Any) -> None:
        with session("mini_lamp_2") as opened:
            labels = opened.task.labels
            by_character = [-len(repr({opened.task.prompts.chat.key: label})) / len(label) for label in labels]
            found = answers(opened, "rank-options:generator=scripted,normalize=character")
            assert set(found) == {labels[by_character.index(max(by_character))]} != {min(labels, key=len)}
            with pytest.raises(PrlmBenchError, match="normalize=token needs a tokenizer to count by"):
                opened.component("generator", "rank-options:generator=scripted,normalize=token")

    def test_candidates_are_the_texts_of_the_question(self, session: Any) -> None:
        with session("mini_lamp_1") as opened:
            found = answers(opened, "rank-options:generator=scripted,options=candidates,form=bare")
            parts = [opened.task.query.parts(example.input) for example in opened.examples()]
            wanted = [opened.task.labels[0 if len(one) <= len(other) else 1] for one, other in parts]
            assert found == wanted and len(set(found)) == 2
        with session("mini_lamp_2") as opened, pytest.raises(PrlmBenchError, match="name no candidate for each label"):
            opened.component("generator", "rank-options:generator=scripted,options=candidates")

    def test_what_cannot_rank_is_refused(self, session: Any) -> None:
        with session("mini_lamp_2") as opened, pytest.raises(PrlmBenchError, match="mute gives no likelihoods"):
            opened.component("generator", "rank-options:mute")
        with session("mini_lamp_4") as opened, pytest.raises(PrlmBenchError, match="whose answers are labels"):
            opened.component("generator", "rank-options:scripted")


def test_how_an_answer_continues_its_prompt(session: Any) -> None:
    with session("mini_lamp_2") as opened:
        task = opened.task
        chat = opened.prompts("none", 0, "direct:protocol=chat")[0]
        plain = opened.prompts("none", 0, "direct:protocol=lamp")[0]
    assert continuation(task, chat, "it's") == """{'tag': "it's"}"""
    assert continuation(task, chat, "x", "bare") == "x"
    assert continuation(task, replace(chat, text="Which tag?", key=None), "x") == "x"
    assert continuation(task, plain, "x") == " x"
    assert continuation(task, replace(plain, text="tag:\n"), "x") == "x"
    assert continuation(task, plain, "x", "object") == "{'tag': 'x'}"


class TestMajority:
    def test_votes_are_over_parsed_answers(self, session: Any) -> None:
        with session("mini_lamp_2") as opened:
            one, two = opened.task.labels[:2]
            texts = f"{{'tag': '{two}'}}|no|{{'tag': '{one}'}}| {{'tag': '{one}'}}|no|no"
            spec = f'majority:generator="scripted:texts=""{texts.replace(chr(39), chr(39))}""",n=6'
            prompts = opened.prompts("bm25", 2, "direct:protocol=chat")
            sample = opened.generate(prompts, spec)[0]
            assert sample.answer.text == one
            assert sample.completion.text == f"{{'tag': '{one}'}}"
            each = [len(text) for text in texts.split("|")]
            assert (sample.completion.tokens, sample.completion.cost) == (sum(each), 3.0)
            assert sample.completion.prompt_tokens == 7
            # The same samples by the reasoner of another row: the whole text is the answer, and "no" is no label.
            assert opened.generate(prompts, spec, "direct:protocol=lamp")[0].answer.parsed is None

    def test_places(self) -> None:
        def of(*texts: str) -> list[Answer]:
            return [Answer(text, "whole" if text else None) for text in texts]

        assert most_common(of("", "b", "a", "a", "b")) == 1
        assert most_common(of("", "b", "a", " a ", "c")) == 2
        assert most_common(of("", "")) == 0
        (metric,) = PluginHost().metrics(["rouge1@lamp"])
        found = of("", "a cat", "the black cat sat", "a dog", "the black cat", "")
        assert most_agreeing(found, metric) == 4
        assert most_agreeing(of("", ""), metric) == 0
        (mae,) = PluginHost().metrics(["mae@lamp"])
        assert most_agreeing(of("1", "5", "4", "5", "3"), mae, ("1", "2", "3", "4", "5")) == 2

    def test_texts_are_compared(self, session: Any) -> None:
        with session("mini_lamp_4") as opened:
            texts = "rain and sun|wind|rain and sun today"
            found = answers(opened, f'majority:generator="scripted:texts={texts}",n=3', "direct:protocol=lamp")
            assert set(found) == {"rain and sun"}
            found = answers(opened, f'majority:generator="scripted:texts={texts}",n=3,by=vote', "direct:protocol=lamp")
            assert set(found) == {"rain and sun"}

    @pytest.mark.parametrize(
        ("spec", "message"),
        [("majority:mute", "mute draws no samples"), ("majority:generator=scripted,n=0", "n is at least 1")],
    )
    def test_what_cannot_vote_is_refused(self, session: Any, spec: str, message: str) -> None:
        with session("mini_lamp_2") as opened, pytest.raises(PrlmBenchError, match=message):
            opened.component("generator", spec)


class TestBestOf:
    def test_the_reward_decides(self, session: Any) -> None:
        with session("mini_lamp_4") as opened:
            spec = 'best-of:generator="scripted:texts=a|long text|nan|long TEXT",n=4,reward=wordy'
            (sample, *_) = opened.generate(opened.prompts("bm25", 1), spec)
            assert (sample.completion.text, sample.completion.tokens) == ("long text", 1 + 9 + 3 + 9)

    def test_no_reward_sees_the_gold_unless_it_is_said(self, session: Any) -> None:
        with session("mini_lamp_4") as opened:
            prompts = opened.prompts("none", 0)
            gold = prompts[0].example.gold
            spec = f'best-of:generator="scripted:texts=""a|{gold}""",n=2,reward=overlap'
            with pytest.raises(ValueError, match="overlap needs golds"):
                opened.generate(prompts[:1], spec)
            (sample,) = opened.generate(prompts[:1], f"{spec},gold=true")
            assert sample.answer.text == gold

    def test_a_row_says_what_it_is(self, here: Any, plugin: Path) -> None:
        spec = 'best-of:generator="scripted:texts=a|bb",n=2,reward=wordy'
        words = ("--plugin", str(plugin), "--task", "mini_lamp_4", "--synth-users", "4", "--no-controls")
        found = here("run", *words, "--retriever", "bm25", "--generator", spec, "--json")
        assert found.status == 0, found.stderr
        (row,) = json.loads(found.stdout)["tables"][0]["rows"]
        assert row["generator"] == "best-of:generator=scripted:texts=a|bb,n=2,reward=wordy"


class TestRewards:
    def scores(self, session: Session, reward: str, texts: list[str]) -> list[float]:
        prompts = session.prompts("none", 0)[: len(texts)]
        samples = [
            Sample(prompt, Completion(text), Answer(text, "whole" if text else None))
            for prompt, text in zip(prompts, texts, strict=True)
        ]
        found: list[float] = session.component("reward", reward).score(samples)
        return found

    def test_likelihood(self, session: Any) -> None:
        with session("mini_lamp_4") as opened:
            spec = "likelihood:generator=scripted,normalize=sum"
            assert self.scores(opened, spec, ["abc", "", "x"]) == pytest.approx([-4, math.nan, -2], nan_ok=True)
            gold = opened.examples()[0].gold or ""
            assert self.scores(opened, f"{spec},of=gold", ["abc"]) == [-len(gold) - 1]
            (value,) = self.scores(opened, "likelihood:generator=scripted,normalize=character", ["abc"])
            assert value == pytest.approx(-4 / 3)
            with pytest.raises(PrlmBenchError, match="needs a tokenizer"):
                opened.component("reward", "likelihood:scripted")

    def test_pairs_of_the_own_and_of_another_gold(self, session: Any) -> None:
        with session("mini_lamp_4") as opened:
            examples = opened.examples()
            golds = {example.gold for example in examples}
            texts = ["x"] * len(examples)
            spec = "prefers-own:generator=scripted,normalize=sum"
            pairs = self.scores(opened, spec, texts)
            margins = self.scores(opened, f"{spec},give=margin", texts)
            assert {*pairs} <= {0.0, 0.5, 1.0} and len({*pairs}) > 1
            assert pairs == [0.5 + 0.5 * math.copysign(1, m) if m else 0.5 for m in margins]
            # The text that is liked is everybody's own.
            own = max(examples, key=lambda e: len(e.gold or ""))
            liked = f'prefers-own:generator="scripted:likes=""{own.gold}""",normalize=sum'
            found = self.scores(opened, liked, texts)
            assert all(v == 1.0 for v, e in zip(found, examples, strict=True) if e.gold == own.gold)
            assert len(golds) > 2

    def test_one_user_has_nobody_beside(self, session: Any) -> None:
        with session("mini_lamp_4") as opened:
            reward = opened.component("reward", "prefers-own:generator=scripted,normalize=sum")
            prompts = opened.prompts("none", 0)[:1]
            reward._dataset = _OneUser(prompts[0])
            assert math.isnan(reward.score([Sample(prompts[0], Completion("x"), Answer("x", "whole"))])[0])


class _OneUser:
    def __init__(self, prompt: Prompt) -> None:
        self.users, self.golds = [prompt.example.user] * 2, ["x", "y"]


class TestCaches:
    def test_samples_and_likelihoods_are_kept(self, session: Any) -> None:
        with session("mini_lamp_2") as opened:
            first = answers(opened, 'majority:generator="scripted",n=4'), answers(opened, "rank-options:scripted")
            assert [name for name, *_ in calls(opened)] == ["sample", "loglikelihood"]
        with session("mini_lamp_2") as opened:
            again = answers(opened, 'majority:generator="scripted",n=4'), answers(opened, "rank-options:scripted")
            assert again == first
            answers(opened, 'majority:generator="scripted",n=2')  # the first ones of four
            answers(opened, "scripted")  # the first one
            assert calls(opened) == []
            answers(opened, 'majority:generator="scripted",n=5')
            assert calls(opened) == [("sample", len(opened), 5)]

    def test_a_cached_generator_has_what_it_caches(self, session: Any) -> None:
        with session("mini_lamp_2") as opened:
            build = opened.components.context(0).build
            assert isinstance(build("generator", "scripted"), ScoresContinuations)
            assert not isinstance(build("generator", "mute"), ScoresContinuations)

    def test_what_is_stated_of_the_inner_one_holds_for_the_outer(self, session: Any) -> None:
        with session("mini_lamp_2") as opened:

            def fingerprint(spec: str, seed: int = 0) -> str:
                choice = opened.host.registry.choose("generator", spec)
                return str(opened.components.make(choice, seed)[1]["fingerprint"])

            assert "model not verified" in fingerprint('majority:generator="scripted:verified=false"')
            one, two = (fingerprint("majority:scripted", seed) for seed in (1, 2))
            assert (one.replace("seed=1", ""), "seed=1" in one) == (two.replace("seed=2", ""), True)


class TestRepeats:
    @pytest.mark.parametrize("k", [1, 2, 3, 5])
    def test_best_of_k_is_the_mean_over_all_choices(self, k: int) -> None:
        values = np.array([[0.0, 0.25, 1.0, 0.25, 0.5], [0.0, 1.0, 0.0, 0.0, 1.0]])
        wanted = [np.mean([max(chosen) for chosen in combinations(row, k)]) for row in values.tolist()]
        assert best_of(values, k).tolist() == pytest.approx(wanted)
        wanted = [np.mean([min(chosen) for chosen in combinations(row, k)]) for row in values.tolist()]
        assert best_of(values, k, higher=False).tolist() == pytest.approx(wanted)

    def test_it_is_pass_at_k(self) -> None:
        values = np.array([[1.0] * 3 + [0.0] * 7])
        assert best_of(values, 4).tolist() == pytest.approx([1 - math.comb(7, 4) / math.comb(10, 4)])

    def test_the_study(self, here: Any, plugin: Path) -> None:
        words = ("--plugin", str(plugin), "--task", "mini_lamp_3", "--synth-users", "20", "--json")
        found = here("study", "repeats", *words, "--generator", "scripted:texts=1|5|3|3", "--samples", "4")
        assert found.status == 0, found.stderr
        rows = {(row["metric"], row["samples reduced to"]): row for row in json.loads(found.stdout)["rows"]}
        mae = {name: row["value"] for (metric, name), row in rows.items() if metric == "mae@lamp"}
        assert list(mae) == ["mean", "best of 2", "best of 4", "majority"]
        with Session("mini_lamp_3", synth_users=20) as opened:
            golds = [float(example.gold or 0) for example in opened.examples()]
        assert mae["majority"] == pytest.approx(np.mean([abs(3 - gold) for gold in golds]))
        assert mae["best of 4"] == pytest.approx(np.mean([min(abs(t - gold) for t in (1, 5, 3)) for gold in golds]))
        assert mae["best of 4"] < mae["best of 2"] < mae["mean"]
        assert rows["mae@lamp", "mean"]["low"] < mae["mean"] < rows["mae@lamp", "mean"]["high"]

    def test_mistakes(self, here: Any, plugin: Path) -> None:
        words = ("--plugin", str(plugin), "--task", "mini_lamp_3", "--synth-users", "4", "--samples", "4")
        found = here("study", "repeats", *words, "--generator", "scripted", "--at", "5")
        assert (found.status, "the best of 5 needs as many samples, not 4" in found.stderr) == (2, True)
        found = here("study", "repeats", *words, "--generator", "mute")
        assert (found.status, "generator mute draws no samples" in found.stderr) == (2, True)


def test_a_reasoner_may_ask_for_likelihoods(session: Any) -> None:
    """As docs/guides/likelihoods.md shows it."""

    class LikeliestItem:
        """Shows the item behind which the question is the most likely."""

        needs = ("generator",)

        def __init__(self, context: Context) -> None:
            self._inner = context.build("reasoner", "direct")

        def prompts(self, examples: Any, rankings: Any, generator: Generator) -> Any:
            if not isinstance(generator, ScoresContinuations):
                raise RunError("this reasoner needs likelihoods")
            shown = []
            for example, ranking in zip(examples, rankings, strict=True):
                asked = [Prompt(example, ranking, item.text) for item in ranking.items]
                values = generator.loglikelihood(asked, [[example.query]] * len(asked))
                best = max(range(len(asked)), key=lambda place: values[place][0])
                shown.append(Ranking((ranking.items[best],), (0.0,)))
            return self._inner.prompts(examples, shown, generator)

        def parse(self, prompt: Prompt, completion: Completion) -> Answer:
            found: Answer = self._inner.parse(prompt, completion)
            return found

    with session("mini_lamp_4") as opened:
        prompts = opened.prompts("bm25", 3, LikeliestItem, "scripted")
        assert all(prompt.shown == 1 for prompt in prompts)
        with pytest.raises(RunError, match="this reasoner needs likelihoods"):
            opened.prompts("bm25", 3, LikeliestItem, "mute")


def test_a_preset_of_a_cached_generator_is_that_generator(session: Any) -> None:
    def preset(context: Context) -> Generator:
        return context.build("generator", "scripted")

    with session("mini_lamp_2") as opened:
        made, identity = opened.components.make(given("generator", preset), 0)
        inner, _ = opened.components.make(opened.host.registry.choose("generator", "scripted"), 0)
        assert made is inner and identity["fingerprint"].startswith("seed=0 ")
        built = opened.components.context(0).build("generator", "scripted")
        assert built.fingerprint() == inner.fingerprint()
        assert CachedGenerator(built, built._cache).inner is inner


def test_components_of_a_dataset_share_the_cache(session: Any) -> None:
    with session("mini_lamp_2") as opened:
        components: Components = opened.components
        build = components.context(0).build
        assert build("generator", "scripted") is build("generator", "scripted")
