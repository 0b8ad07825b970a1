"""What the answer is with other reasoning before it: none, or that of another user's question."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PLUGIN = '''
import re

from prlm_bench import Completion, hookimpl


class Thinker:
    """Reasons about its first item and writes its title again, as far as the reasoning names it."""

    tokenizer = None

    def __init__(self, rests: bool = True, closes: bool = True, untrue: bool = False):
        self.rests, self.closes, self.untrue = rests, closes, untrue

    def fingerprint(self):
        return ""

    def generate(self, prompts):
        for place, prompt in enumerate(prompts):
            title = prompt.ranking.items[0].fields["title"]
            words = sum(len(item.fields["title"].split()) for item in prompt.ranking.items) / len(prompt.ranking.items)
            said = f"The titles have about {round(words) + 50 * self.untrue} words. Like <{title}>"
            end = "\\n</think>\\n" if self.closes else "\\n"
            begun = f"{said}{end}"
            yield place, Completion(begun + self.answer(prompt, begun))

    def continued(self, prompts, beginnings):
        for place, (prompt, begun) in enumerate(zip(prompts, beginnings)):
            yield place, Completion(self.answer(prompt, begun), finish="stop")

    def answer(self, prompt, begun):
        named = re.search("<(.*)>", begun)
        known = named[1] if named else "nothing"
        return repr({"title": known if self.rests else prompt.ranking.items[0].fields["title"]})


@hookimpl
def prlm_bench_register_generators(register):
    register("thinker", Thinker)
'''


@pytest.fixture
def study(here: Any) -> Callable[..., Any]:
    Path("thinker.py").write_text(PLUGIN)

    def run(generator: str, *words: str) -> Any:
        given = ["--task", "mini_lamp_4", "--synth-users", "12", "--retriever", "oracle", "--plugin", "thinker.py"]
        done = here("study", "traces", *given, "--generator", generator, *words, "--json")
        assert done.status == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_an_answer_that_rests_on_the_reasoning_gets_worse(study: Callable[..., Any]) -> None:
    found = study("thinker")
    own, erased, other = found["rows"]
    assert [row["reasoning"] for row in found["rows"]] == ["own", "erased", "another user's"]
    assert own["answer changed"] == 0 and erased["answer changed"] == 1
    assert own["rouge1@lamp"] > other["rouge1@lamp"] > erased["rouge1@lamp"] == 0
    assert erased["minus own"] == pytest.approx(-own["rouge1@lamp"])
    assert erased["high"] < 0 and other["high"] < 0 and erased["p (Holm)"] < 0.05
    assert own["true"] == 1 > other["true"]
    worse = [text for text in found["findings"] if text.startswith("The answer gets worse with")]
    assert len(worse) == 2 and all("on this one training" in text for text in worse)
    (truth,) = (text for text in found["findings"] if text.startswith("Of "))
    assert "are true of the items: 100.0 %" in truth


def test_an_answer_that_does_not_is_the_same(study: Callable[..., Any]) -> None:
    found = study("thinker:rests=false,untrue=true", "--seed", "0", "--seed", "1")
    own, erased, other = found["rows"]
    assert erased["answer changed"] == other["answer changed"] == 0
    assert erased["minus own"] == other["minus own"] == 0 and own["true"] == 0
    assert sum("It is not shown that the answer gets worse or better" in text for text in found["findings"]) == 2
    assert any("on these 2 trainings" in text for text in found["findings"])


def test_reasoning_that_is_not_closed_is_left_out(study: Callable[..., Any]) -> None:
    found = study("thinker:closes=false")
    assert found["rows"] == []
    assert found["findings"] == ["Nothing to compare: 36 of 36 questions are left out: their reasoning is not closed."]


def test_what_cannot_go_on_is_one_line(here: Any) -> None:
    given = ["study", "traces", "--task", "mini_lamp_4", "--synth-users", "4"]
    assert "one of --checkpoint and --generator" in here(*given).mistake
    assert "no policy in nowhere" in here(*given, "--checkpoint", "nowhere").mistake
