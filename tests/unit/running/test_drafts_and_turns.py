"""What a reasoner asks of a generator is in the record with its tokens; a prompt may be a chat of several turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.one_row import MINE, Model, a_model, files

import prlm_bench as pb
from prlm_bench import Answer, Completion, Draft, Example, Prompt, Ranking, Turn
from prlm_bench.errors import PrlmBenchError
from prlm_bench.host import PluginHost
from prlm_bench.host._registry import make_component
from prlm_bench.interfaces import Samples, ScoresContinuations
from prlm_bench.prompting import turns_prompt
from prlm_bench.results import read_samples, verify
from prlm_bench.running import RunConfig, execute
from prlm_bench.running._calls import make_prompts
from prlm_bench.running._checked_records import check_prompt
from prlm_bench.running._drafts import Drafting, DraftingGenerator
from prlm_bench.running._generation_cache import prompt_key

__all__ = ["a_model"]

EXAMPLE = Example("q", "u", "the question", "query", ())
USER = Turn("user", "the question")


class Revises:
    """Asks for two drafts of each question, one call for all, and shows them."""

    def prompts(self, examples: Sequence[Example], rankings: Sequence[Ranking], generator: Any) -> list[Prompt]:
        pairs = list(zip(examples, rankings, strict=True))
        asked = [Prompt(e, r, f"draft {n} of {e.id}", chat=True) for n in (1, 2) for e, r in pairs]
        drafts = {index: completion.text for index, completion in generator.generate(asked[::-1])}
        return [
            turns_prompt(
                example,
                ranking,
                [Turn("system", "Revise."), Turn("user", example.input), Turn("assistant", drafts[0]), USER],
                shown=len(ranking.items),
            )
            for example, ranking in pairs
        ]

    def parse(self, prompt: Prompt, completion: Completion) -> Answer:
        return Answer(completion.text, "whole")


def config(**fields: Any) -> RunConfig:
    base = {"tasks": ["mini_lamp_4"], "synth_users": 4, "retrievers": ["bm25"], "k": [1], "reasoners": ["revises"]}
    return RunConfig.model_validate({**base, "generators": ["model"], "controls": False, **fields})


@pytest.fixture
def revising(host: PluginHost, model: Model) -> PluginHost:
    host.registry.add(make_component("reasoner", MINE, "revises", Revises, needs={"generator"}))
    return host


class TestDrafts:
    def test_they_are_in_the_record_in_the_order_of_asking(self, revising: PluginHost, tmp_path: Path) -> None:
        outcome = execute(config(), revising, tmp_path)
        assert outcome.failed == []
        (folder,) = outcome.finished
        samples = list(read_samples(folder))
        assert len(samples) == 12
        for sample in samples:
            assert [draft.prompt for draft in sample.drafts] == [f"draft {n} of {sample.id}" for n in (2, 1)]
            assert {draft.completion for draft in sample.drafts} == {f"{sample.id} \u00e9\u65e5 0"}
            assert [draft.completion_tokens for draft in sample.drafts] == [4, 4]
            assert [turn.role for turn in sample.turns] == ["system", "user", "assistant", "user"]
            assert sample.prompt == "\n\n".join(turn.text for turn in sample.turns)
        (row,) = pb.load_results(tmp_path, host=revising).rows
        assert row.summary.completion_tokens == 12 * 4 + 24 * 4, "a completion and two drafts for each question"
        assert verify(folder, revising) == []

    @pytest.mark.parametrize("stops", [0, 5, 11])
    def test_they_do_not_depend_on_an_interruption(
        self, revising: PluginHost, model: Model, tmp_path: Path, stops: int
    ) -> None:
        (whole,) = execute(config(), revising, tmp_path / "whole").finished
        answered = list(dict.fromkeys(model.asked))
        model.fails_at, plain = None, model.generate

        def generate(prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
            for number, completion in plain(prompts):
                if prompts[number].turns and prompts[number].example.id == answered[stops]:
                    raise RuntimeError("the model is gone")
                yield number, completion

        model.generate = generate
        assert len(execute(config(), revising, tmp_path / "stopped").failed) == 1
        model.generate = plain
        (resumed,) = execute(config(), revising, tmp_path / "stopped").finished
        assert files(resumed) == files(whole)

    def test_a_reasoner_that_states_them_is_believed(self, revising: PluginHost, model: Model, tmp_path: Path) -> None:
        class States(Revises):
            def prompts(self, examples: Any, rankings: Any, generator: Any) -> list[Prompt]:
                mine = Draft(Prompt(examples[0], Ranking(), "about the user"), Completion("kind", tokens=7))
                return [replace(prompt, drafts=(mine,)) for prompt in super().prompts(examples, rankings, generator)]

        revising.registry.add(make_component("reasoner", MINE, "states", States, needs={"generator"}))
        (folder,) = execute(config(reasoners=["states"]), revising, tmp_path).finished
        assert [[draft.prompt for draft in s.drafts] for s in read_samples(folder)] == [["about the user"]] * 12
        (row,) = pb.load_results(tmp_path, host=revising).rows
        assert row.summary.completion_tokens == 12 * 4 + 7, "a draft that all share is counted once"

    def test_asking_without_a_word_is_an_error(self, host: PluginHost, model: Model, tmp_path: Path) -> None:
        host.registry.add(make_component("reasoner", MINE, "revises", Revises))
        ((_, reason),) = execute(config(), host, tmp_path).failed
        assert "asked the generator while it made prompts, which it did not announce (register it with needs=" in reason

    def test_the_summary_is_in_the_record_of_each_question(
        self, host: PluginHost, model: Model, tmp_path: Path
    ) -> None:
        (folder,) = execute(config(reasoners=["summary"]), host, tmp_path).finished
        drafts = [draft for sample in read_samples(folder) for draft in sample.drafts]
        assert len(drafts) == 12
        assert all("Describe the user behind these items" in draft.prompt for draft in drafts)

    def test_a_session_has_them_too(self, revising: PluginHost) -> None:
        with pb.Session("mini_lamp_4", synth_users=4, limit=2, host=revising) as session:
            prompts = session.prompts("bm25", 1, "revises", "model")
            samples = session.generate(prompts, "model")
        assert [len(sample.prompt.drafts) for sample in samples] == [2, 2]


class TestDraftingGenerator:
    def test_it_can_what_the_generator_can(self) -> None:
        class Plain:
            tokenizer = None
            own = "kept"

            def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
                return ((number, Completion(prompt.text)) for number, prompt in enumerate(prompts))

        class Draws(Plain):
            def sample(self, prompts: Sequence[Prompt], n: int) -> Iterator[tuple[int, list[Completion]]]:
                return ((number, [Completion(str(j)) for j in range(n)]) for number, _ in enumerate(prompts))

            def loglikelihood(self, prompts: Any, continuations: Any) -> list[list[float]]:
                return [[0.0] for _ in prompts]

        plain, draws = DraftingGenerator(Plain(), True), DraftingGenerator(Draws(), True)
        assert not isinstance(plain, Samples) and not isinstance(plain, ScoresContinuations)
        assert isinstance(draws, Samples) and isinstance(draws, ScoresContinuations)
        assert (plain.own, plain.max_prompt_tokens) == ("kept", None)
        with pytest.raises(AttributeError):
            plain.sample([], 2)
        prompts = [Prompt(EXAMPLE, Ranking(), text) for text in "ab"]
        assert len(list(draws.sample(prompts, 2))) == 2
        assert [draft.completion.text for draft in draws.take()] == ["0", "1", "0", "1"]
        assert draws.loglikelihood(prompts, [["x"], ["y"]]) == [[0.0], [0.0]]
        assert draws.take() == []

    def test_one_that_gives_something_else_is_named(self) -> None:
        class Wrong:
            tokenizer = None

            def generate(self, prompts: Any) -> Any:
                return [(0, "text")]

        with pytest.raises(PrlmBenchError, match="gave a str in place of a Completion"):
            Drafting().prompts(Revises(), [EXAMPLE], [Ranking()], Wrong(), asks=True)


class TestTurns:
    def test_a_prompt_of_one_turn_has_the_key_that_it_had(self) -> None:
        chat, plain = Prompt(EXAMPLE, Ranking(), "text", chat=True, key="title"), Prompt(EXAMPLE, Ranking(), "text")
        assert prompt_key(chat) == "739fdc815b083cdfce336c98366825c48ff880351054d8ca4f27091afbac588f"
        assert prompt_key(plain, 2) == "66f1a53fe7aea6492515fa603797385342b8bcd0045015f95958e5d9c57cc604"

    def test_turns_tell_prompts_apart(self) -> None:
        one = turns_prompt(EXAMPLE, Ranking(), [Turn("system", "a"), USER])
        other = turns_prompt(EXAMPLE, Ranking(), [Turn("user", "a"), USER])
        assert one.text == other.text
        assert len({prompt_key(each) for each in (one, other, replace(one, turns=()))}) == 3

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"turns": (USER, Turn("assistant", "x"))}, "does not end with the user's"),
            ({"turns": (USER,), "chat": False}, "is no chat"),
            ({"turns": [USER]}, "turns are no tuple"),
            ({"turns": ("text",)}, "turns is no Turn"),
            ({"turns": (Turn("tool", "x"), USER)}, "role is none of system, user, assistant"),  # type: ignore[arg-type]
            ({"turns": (Turn("user", None),)}, "text is not text"),  # type: ignore[arg-type]
            ({"drafts": (USER,)}, "drafts is no Draft"),
            ({"drafts": (Draft(Prompt(EXAMPLE, Ranking(), "x"), "text"),)}, "completion is no Completion"),  # type: ignore[arg-type]
        ],
    )
    def test_what_cannot_be_a_chat_is_refused(self, change: dict[str, Any], said: str) -> None:
        prompt = replace(turns_prompt(EXAMPLE, Ranking(), [USER]), **change)
        with pytest.raises(PrlmBenchError, match=said):
            check_prompt(prompt)

        class Gives:
            def prompts(self, examples: Any, rankings: Any, generator: Any) -> list[Prompt]:
                return [prompt]

        with pytest.raises(PrlmBenchError, match=said):
            make_prompts(Gives(), [EXAMPLE], [Ranking()], None)  # type: ignore[arg-type]

    def test_older_records_are_read(self, revising: PluginHost, tmp_path: Path) -> None:
        (folder,) = execute(config(reasoners=["direct"]), revising, tmp_path).finished
        text = (folder / "samples.jsonl").read_text()
        assert '"turns"' not in text and '"drafts"' not in text
        assert [(sample.turns, sample.drafts) for sample in read_samples(folder)] == [([], [])] * 12
