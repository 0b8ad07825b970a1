"""Reasoning between special tokens, and chat templates: opened reasoning, arguments, and today's date."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'prlm-bench[lm]'")
pytest.importorskip("transformers", reason="needs transformers: pip install 'prlm-bench[lm]'")

from support.checkpoints import make_scripted

from prlm_bench import Answer, Completion, Prompt
from prlm_bench.errors import PrlmBenchError
from prlm_bench.host import PluginHost
from prlm_bench.interfaces import Generator
from prlm_bench.running import Components

Make = Callable[..., Generator]
DRAFT, FINAL = "Maybe {'tweet': 'a first idea'}, or not.", "{'tweet': 'the real one'}"
CHANNELS = ("<|channel|>", "<|message|>", "<|start|>", "<|end|>")
MARKS = [
    (("<think>",), ("</think>",)),
    (("[THINK]",), ("[/THINK]",)),
    (("<seed:think>",), ("</seed:think>",)),
    (("<|thinking|>",), ("<|/thinking|>",)),
    (("<|START_THINKING|>",), ("<|END_THINKING|>",)),
    (("<unused94>",), ("<unused95>",)),
]
REASONERS = ["direct:protocol=chat", "think", "prlm", "cite"]


def parse(components: Components, spec: str, prompt: Prompt, completion: Completion) -> Answer:
    reasoner = PluginHost().registry.choose("reasoner", spec).make(components.context(0))
    found: Answer = reasoner.parse(prompt, completion)
    return found


def complete(make: Make, folder: Path, prompt: Prompt, **options: Any) -> Completion:
    return dict(make(folder, **options).generate([replace(prompt, chat=True)]))[0]


@pytest.mark.parametrize(("starts", "ends"), MARKS)
@pytest.mark.parametrize("special", [True, False])
def test_marks_that_are_special_tokens_are_kept(
    make: Make,
    components: Components,
    prompts: list[Prompt],
    tmp_path: Path,
    starts: tuple[str],
    ends: tuple[str],
    special: bool,
) -> None:
    marks = [*starts, *ends] if special else []
    folder = make_scripted(tmp_path / "model", [*starts, DRAFT, *ends, FINAL], special=marks)
    whole = complete(make, folder, prompts[0])
    assert whole.text == f"{starts[0]}{DRAFT}{ends[0]}{FINAL}" and whole.finish == "stop"
    cut = complete(make, folder, prompts[0], max_new_tokens=2)
    assert cut.finish == "length"
    for spec in REASONERS:
        assert parse(components, spec, prompts[0], whole) == Answer("the real one", "strict", DRAFT)
        assert parse(components, spec, prompts[0], cut) == Answer("", None, DRAFT)
    assert parse(components, "direct", prompts[0], cut) == Answer("", None, DRAFT)


def test_channels(make: Make, components: Components, prompts: list[Prompt], tmp_path: Path) -> None:
    """gpt-oss: the tokens of channels recur, so the completion is written in one token between them."""
    tokens = ["<|channel|>", "analysis", "<|message|>", DRAFT, "<|end|>", "<|start|>", "assistant"]
    folder = make_scripted(tmp_path / "model", tokens, special=CHANNELS)
    cut = complete(make, folder, prompts[0])
    assert cut.text == f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant"
    for spec in REASONERS:
        answer = parse(components, spec, prompts[0], replace(cut, finish="length"))
        assert (answer.text, answer.parsed) == ("", None)
        whole = Completion(f"{cut.text}<|channel|>final<|message|>{FINAL}", finish="stop")
        assert parse(components, spec, prompts[0], whole) == Answer("the real one", "strict", DRAFT)


def test_other_special_tokens_still_vanish(make: Make, prompts: list[Prompt], tmp_path: Path) -> None:
    folder = make_scripted(tmp_path / "model", ["<|tool|>", "plain", "</s>"], special=["<|tool|>", "</s>"])
    assert complete(make, folder, prompts[0]).text == "plain"


@pytest.mark.parametrize("special", [True, False])
def test_a_template_that_opens_reasoning(
    make: Make, components: Components, prompts: list[Prompt], tmp_path: Path, special: bool
) -> None:
    template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant><think>\n"
        "{% if enable_thinking is defined and not enable_thinking %}\n</think>>{% endif %}"
    )
    folder = make_scripted(
        tmp_path / "model",
        [DRAFT, "</think>", FINAL],
        special=["<think>", "</think>"] if special else [],
        template=template,
        starts=["\n"],
        chain={">": FINAL},
    )
    cut = complete(make, folder, prompts[0], max_new_tokens=1)
    whole = complete(make, folder, prompts[0])
    assert cut.text == f"<think>\n{DRAFT}"
    assert (cut.tokens, whole.tokens) == (1, 4)
    for spec in REASONERS:
        assert parse(components, spec, prompts[0], cut) == Answer("", None, DRAFT)
        assert parse(components, spec, prompts[0], whole) == Answer("the real one", "strict", DRAFT)
    for options in ({"enable_thinking": False}, {"chat_template_args": '{"enable_thinking": false}'}):
        assert complete(make, folder, prompts[0], **options).text == FINAL
        assert make(folder, **options).fingerprint() == make(folder).fingerprint()  # the options say it


DATED = (
    "{%- if strftime_now is defined %}{%- set d = strftime_now('%d') %}{%- else %}{%- set d = '26' %}{%- endif %}"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>day{{ d[-1] }}>"
)


@pytest.fixture
def dated(tmp_path: Path) -> Path:
    """A model that answers by the last digit of the day in its template."""
    days = {f"day{digit}>": f"on a day with {digit}" for digit in range(10)}
    ends = dict.fromkeys(days.values(), "<end>")
    return make_scripted(tmp_path / "dated", ["unused"], template=DATED, starts=[], chain=days | ends)


def test_today_is_a_fixed_day(make: Make, dated: Path, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers.utils.chat_template_utils as utils

    found = []
    for day in (1, 2):

        class Clock(dt.datetime):
            @classmethod
            def now(cls, tz: Any = None, day: int = day) -> Any:
                return dt.datetime(2026, 12, day)

        monkeypatch.setattr(utils, "datetime", Clock)
        found.append(complete(make, dated, prompts[0]).text)
        assert utils.datetime is Clock
    assert found == ["on a day with 6"] * 2
    assert complete(make, dated, prompts[0], date="2025-01-31").text == "on a day with 1"
    assert "date=2024-07-26" in make(dated).fingerprint()
    assert make(dated).fingerprint() != make(dated, date="2025-01-31").fingerprint()


def test_a_template_without_a_date_states_none(make: Make, tmp_path: Path) -> None:
    assert "date=" not in make(make_scripted(tmp_path / "plain", ["x"])).fingerprint()


def test_a_date_that_is_none(make: Make, dated: Path) -> None:
    with pytest.raises(PrlmBenchError, match="date='today' is no date: write it as 2024-07-26"):
        make(dated, date="today")
