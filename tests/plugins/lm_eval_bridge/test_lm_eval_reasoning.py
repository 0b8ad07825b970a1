"""Reasoning and templates in lm_eval's backend for transformers: as in the generator `transformers`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs torch: prlm-bench[lm]")

from support.checkpoints import make_scripted

from prlm_bench import Completion, Prompt, Ranking
from prlm_bench.data import open_split
from prlm_bench.host import PluginHost
from prlm_bench.running import Components

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("lm_eval") is None, reason="needs lm_eval: prlm-bench[lm-eval]"),
]
DRAFT, FINAL = "Maybe {'tweet': 'a first idea'}, or not.", "{'tweet': 'the real one'}"
OPENING = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>{{ start }}\n"


@pytest.fixture(scope="module")
def components(tmp_path_factory: pytest.TempPathFactory) -> Components:
    host = PluginHost()
    dataset = open_split(host.tasks.get("mini_lamp_7"), "dev", synth_users=8)
    return Components(host, dataset, tmp_path_factory.mktemp("cache"))


def complete(components: Components, folder: Path, **options: Any) -> Completion:
    example = next(components.context(0).dataset.batches(1))[0]
    spec = {"name": "lm-eval", "backend": "hf", "pretrained": str(folder), "device": "cpu", "max_new_tokens": 12}
    generator = PluginHost().registry.choose("generator", {**spec, **options}).make(components.context(0))
    found: Completion = dict(generator.generate([Prompt(example, Ranking(), "a question", chat=True)]))[0]
    return found


def answer(components: Components, completion: Completion) -> str | None:
    context = components.context(0)
    example = next(context.dataset.batches(1))[0]
    reasoner = PluginHost().registry.choose("reasoner", "direct:protocol=chat").make(context)
    text: str = reasoner.parse(Prompt(example, Ranking(), "", chat=True), completion).text
    return text


@pytest.mark.parametrize(("start", "end"), [("<think>", "</think>"), ("[THINK]", "[/THINK]")])
@pytest.mark.parametrize("options", [{}, {"think": True}], ids=["", "think_end_token"])
def test_reasoning_is_kept(
    components: Components, tmp_path: Path, start: str, end: str, options: dict[str, Any]
) -> None:
    more = {"think_end_token": end} if options else {}
    folder = make_scripted(tmp_path / "model", [start, DRAFT, end, FINAL], special=[start, end])
    whole = complete(components, folder, **more)
    assert whole.text == f"{start}{DRAFT}{end}{FINAL}"
    assert answer(components, whole) == "the real one"
    cut = complete(components, folder, max_new_tokens=2, **more)
    assert (cut.text, answer(components, cut)) == (f"{start}{DRAFT}", "")


@pytest.mark.parametrize("start", ["<think>", "[THINK]"])
def test_a_template_that_opens_reasoning(components: Components, tmp_path: Path, start: str) -> None:
    end = start.replace("<", "</").replace("[", "[/")
    template = OPENING.replace("{{ start }}", start)
    folder = make_scripted(tmp_path / "model", [DRAFT, end, FINAL], template=template, starts=[">", "]"])
    assert answer(components, complete(components, folder)) == "the real one"
    cut = complete(components, folder, max_new_tokens=1)
    assert (cut.text, answer(components, cut)) == (f"{start}\n{DRAFT}", "")


def test_another_mark_is_left_to_lm_eval(components: Components, tmp_path: Path) -> None:
    folder = make_scripted(tmp_path / "model", [DRAFT, "FINALLY", FINAL], template=OPENING, starts=[">", "]"])
    assert complete(components, folder, think_end_token="FINALLY").text == FINAL


def test_today_is_a_fixed_day(components: Components, tmp_path: Path) -> None:
    template = "{% for m in messages %}{{ m.content }}{% endfor %}<assistant>day{{ strftime_now('%d')[-1] }}>"
    days = {f"day{digit}>": f"on a day with {digit}" for digit in range(10)}
    chain = days | dict.fromkeys(days.values(), "<end>")
    folder = make_scripted(tmp_path / "model", ["unused"], template=template, starts=[], chain=chain)
    assert complete(components, folder).text == "on a day with 6"
    assert complete(components, folder, date="2025-01-31").text == "on a day with 1"
