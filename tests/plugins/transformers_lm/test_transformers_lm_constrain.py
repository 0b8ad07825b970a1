"""`constrain=object`: answers that can be nothing but the answer object."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'prlm-bench[lm]'")
pytest.importorskip("llguidance", reason="needs llguidance: pip install 'prlm-bench[constrain]'")

from prlm_bench_plugins.transformers_lm._constraint import object_pattern
from support.checkpoints import make_random, make_scripted

from prlm_bench import Completion, Prompt, Ranking
from prlm_bench.data import open_split
from prlm_bench.errors import MissingDependencyError, PrlmBenchError
from prlm_bench.host import PluginHost
from prlm_bench.interfaces import Context
from prlm_bench.prompting import find_answer
from prlm_bench.running import Components
from prlm_bench.tasks import TaskRegistry


@pytest.fixture
def context(tmp_path: Path) -> Callable[[str], Context]:
    def made(task: str) -> Context:
        host = PluginHost()
        return Components(host, open_split(host.tasks.get(task), "dev", synth_users=8), tmp_path / "cache").context(0)

    return made


def asked(context: Context, count: int = 1) -> list[Prompt]:
    """Prompts of many lengths that ask for the task's object."""
    examples = next(context.dataset.batches(count))
    key = context.task.prompts.chat.key
    return [Prompt(e, Ranking(), e.input[: 5 + 6 * i], True, key=key) for i, e in enumerate(examples)]


def answers(context: Context, folder: Path, prompts: list[Prompt], **options: Any) -> list[Completion]:
    spec = {"name": "transformers", "model": str(folder), "device": "cpu", "constrain": "object", **options}
    found = dict(context.build("generator", spec).generate(prompts))
    return [found[place] for place in range(len(prompts))]


@pytest.mark.parametrize("options", [{}, {"temperature": 1.0}])
def test_a_label_is_all_that_can_be_written(
    context: Callable[[str], Context], tmp_path: Path, options: dict[str, Any]
) -> None:
    made = context("mini_lamp_2")
    prompts, folder = asked(made, 16), make_random(tmp_path / "model")
    together = answers(made, folder, prompts, max_new_tokens=40, **options)
    read = [find_answer(made.task, each.text, "tag") for each in together]
    assert {each.parsed for each in read} == {"strict"}
    assert {each.finish for each in together} == {"stop"}
    assert len({each.text for each in together}) > (1 if options else 0)
    # Rows that end earlier leave the batch; each keeps its own constraint.
    alone = [answers(made, folder, [prompt], max_new_tokens=40, **options)[0] for prompt in prompts[::5]]
    assert [each.text for each in together[::5]] == [each.text for each in alone]


def test_text_is_held_by_the_object(context: Callable[[str], Context], tmp_path: Path) -> None:
    made = context("mini_lamp_7")
    folder = make_random(tmp_path / "model")
    for each in answers(made, folder, asked(made, 4), max_new_tokens=60, temperature=1.0):
        assert re.match(r"\{'tweet': '[^{}\n]", each.text)
        assert find_answer(made.task, each.text, "tweet").parsed is not None


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("{'tweet': 'I don't know'}", True),
        ("{'tweet': '“so” \\o/ 😀'}", True),
        ("{'tweet': '...'}", False),
        ("{'tweet': '  '}", False),
        ("{'tweet': 'a {b'}", False),
        ("{'tweet': 'a\nb'}", False),
        ("{'title': 'a'}", False),
        ("here: {'tweet': 'a'}", False),
    ],
)
def test_what_an_object_holds_is_what_is_read(text: str, held: bool) -> None:
    task = TaskRegistry().get("lamp_7")
    assert bool(re.fullmatch(object_pattern(task, "tweet"), text)) is held
    if held:
        assert find_answer(task, text, "tweet").text == text[len("{'tweet': '") : -2]


def test_reasoning_is_free_until_it_is_closed(context: Callable[[str], Context], tmp_path: Path) -> None:
    made = context("mini_lamp_2")
    folder = make_scripted(tmp_path / "model", ["{reasons}", "</think>", "prose"], special=["</think>"])
    (prompt,) = asked(made)
    whole = answers(made, folder, [replace(prompt, reasons=True)], max_new_tokens=60)[0].text
    assert whole.startswith("{reasons}</think>")
    assert find_answer(made.task, whole, "tag", thinks=True).parsed in ("strict", "embedded")
    (at_once,) = answers(made, folder, [prompt], max_new_tokens=60)
    assert find_answer(made.task, at_once.text, "tag").parsed == "strict"


def test_a_template_that_opens_reasoning_leaves_it_free(context: Callable[[str], Context], tmp_path: Path) -> None:
    made = context("mini_lamp_2")
    template = "{% for m in messages %}{{ m.content }}{% endfor %}<think>\n"
    folder = make_scripted(tmp_path / "model", ["maybe", "</think>", "prose"], template=template)
    whole = answers(made, folder, asked(made), max_new_tokens=60)[0].text
    assert whole.startswith("<think>\nmaybe</think>")
    assert find_answer(made.task, whole, "tag").parsed in ("strict", "embedded")


def test_what_cannot_be_constrained_is_refused(
    context: Callable[[str], Context], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = context("mini_lamp_7")
    folder = make_random(tmp_path / "model")
    (prompt,) = asked(made)
    with pytest.raises(PrlmBenchError, match=f"the prompt of question {prompt.example.id} asks for no answer object"):
        answers(made, folder, [replace(prompt, key=None)])
    with pytest.raises(PrlmBenchError, match="constrained decoding has no beams"):
        answers(made, folder, [prompt], num_beams=2)
    monkeypatch.setattr("prlm_bench_plugins.transformers_lm._generator.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"constrain=object needs the package 'llguidance'"):
        answers(made, folder, [prompt], max_new_tokens=5)
