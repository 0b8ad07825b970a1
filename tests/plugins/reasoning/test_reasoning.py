"""Reasoners keep their budgets, ask in their own format, and read what the model made of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from prlm_bench_plugins.reasoning import Prlm

from prlm_bench.data import open_split
from prlm_bench.errors import PrlmBenchError, RunError
from prlm_bench.host import PluginHost
from prlm_bench.interfaces import Context
from prlm_bench.prompting import WordTokenizer, chat_prompt, plain_ask
from prlm_bench.records import Completion, Document, Example, Prompt, Ranking
from prlm_bench.results import find_results, read_samples
from prlm_bench.running import Components
from prlm_bench.tasks import TaskRegistry
from prlm_bench.testing import ODD_TEXTS, ReasonerContract, odd_example

BOOK = TaskRegistry()
ALL = ("think", "prlm", "summary", "cite")


class TestThink(ReasonerContract):
    spec = "think"


class TestPrlm(ReasonerContract):
    spec = "prlm:max_length=256"


class TestSummary(ReasonerContract):
    spec = "summary:items=3,words=20"


class TestCite(ReasonerContract):
    spec = "cite"


class TestCiteWherePapersAreNumbered(ReasonerContract):
    spec = "cite"
    task = "mini_lamp_1"


class Model:
    """A generator that remembers what it was asked and answers with what it is given."""

    tokenizer: Any = None

    def __init__(self, *answers: str) -> None:
        self.asked: list[Prompt] = []
        self._answers = answers or ("{'title': 'x'}",)

    def fingerprint(self) -> str:
        return ""

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        for index in reversed(range(len(prompts))):
            self.asked.append(prompts[index])
            yield index, Completion(self._answers[(len(self.asked) - 1) % len(self._answers)])


@pytest.fixture
def context(host: PluginHost, tmp_path: Path) -> Context:
    dataset = open_split(host.tasks.get("mini_lamp_4"), "dev", synth_users=4)
    return Components(host, dataset, tmp_path).context(0)


@pytest.fixture
def examples(context: Context) -> list[Example]:
    return next(context.dataset.batches(100))


def document(name: str, words: int = 5, **fields: str) -> Document:
    text = " ".join(f"{name}{n}" for n in range(words))
    return Document(name, text, {"title": f"The {name}", "text": text, **fields})


def ranked(*items: Document) -> Ranking:
    return Ranking(items, tuple(float(-place) for place in range(len(items))))


def question(*profile: Document, user: str = "u") -> Example:
    return Example("q", user, "Generate a headline for the following article: words", "words", profile, "gold")


# The chat prompt and its places


@given(
    texts=st.lists(st.sampled_from([*ODD_TEXTS[:3], *ODD_TEXTS[4:], "word " * 60]), max_size=6),
    max_length=st.integers(1, 220),
    block=st.sampled_from(["", "What is known: much."]),
    mark=st.sampled_from(["", "[{n}] "]),
    instruction=st.sampled_from(["", "Think first."]),
)
def test_a_chat_prompt_keeps_its_budget(
    texts: list[str], max_length: int, block: str, mark: str, instruction: str
) -> None:
    chat, words = BOOK.get("lamp_4").prompts.chat, WordTokenizer()
    items = [document(f"d{n}", text=text) for n, text in enumerate(texts)]
    example = question(*items)
    made = chat_prompt(
        chat, example, ranked(*items), words, max_length, block=block, mark=mark, instruction=instruction
    )
    assert made.chat
    assert made.tokens == words.count(made.text)
    assert made.tokens <= max_length or made.shown == 0
    assert made.shown + made.dropped == len(items)
    assert 0 <= made.cut <= made.shown
    after = [example.input, *([instruction] if instruction else []), chat.ask]
    assert made.text.endswith("\n".join(after))
    if made.shown:
        head = f"{block}\n\n{chat.heading}\n" if block else f"{chat.heading}\n"
        lines = made.text.removeprefix(head).split("\n")[: made.shown + 1]
        assert made.text.startswith(head)
        assert lines[-1] == ""
        assert all(line.startswith(mark[:1] or "'text': '") for line in lines[:-1])


def test_without_its_places_a_chat_prompt_is_what_it_was() -> None:
    chat, item = BOOK.get("lamp_4").prompts.chat, document("a", 2)
    made = chat_prompt(chat, question(item), ranked(item), WordTokenizer(), 200)
    listed = f"{chat.heading}\n'text': 'a0 a1' 'title': 'The a'\n\n"
    assert made.text == f"{listed}{question().input}\n{chat.ask}"


def test_the_best_items_are_shown_where_there_is_not_room_for_all() -> None:
    chat, words = BOOK.get("lamp_4").prompts.chat, WordTokenizer()
    items = tuple(document(name, 40) for name in "abcdefgh")
    frame = chat_prompt(chat, question(), Ranking(), words, 1000).tokens + words.count(chat.heading) + 8
    counts = []
    for room in range(0, 120, 5):
        made = chat_prompt(chat, question(*items), ranked(*items), words, frame + room, mark="[{n}] ")
        shown = "".join(item.id for item in made.shown_items.values())
        assert "abcdefgh".startswith(shown)
        assert made.tokens <= frame + room
        counts.append(made.shown)
    assert counts == sorted(counts)
    assert set(counts) == set(range(9))


def test_items_keep_their_numbers_when_one_is_left_out() -> None:
    """A cited number must lead back to the item that stood beside it."""
    chat, words = BOOK.get("lamp_4").prompts.chat, WordTokenizer()
    items = (document("a", 3), document("b", 3, title="long " * 300), document("c", 3))
    made = chat_prompt(chat, question(*items), ranked(*items), words, 120, mark="[{n}] ")
    assert (made.shown, made.dropped) == (2, 1)
    assert {number: item.id for number, item in made.shown_items.items()} == {1: "a", 3: "c"}
    assert chat_prompt(chat, question(*items), ranked(*items), words, 10).shown_items == {}


# What all have in common


@pytest.mark.parametrize("spec", ALL)
def test_options_are_checked(context: Context, spec: str) -> None:
    with pytest.raises(PrlmBenchError, match="max_length must be at least 1"):
        context.build("reasoner", f"{spec}:max_length=0")
    own = context.build("reasoner", f"{spec}:tokenizer=words")
    assert (context.build("reasoner", spec).fingerprint(), own.fingerprint()) == ("", "words")


@pytest.mark.parametrize("spec", ALL)
def test_the_budget_is_the_whole_prompts(context: Context, examples: list[Example], spec: str) -> None:
    rankings = [ranked(*example.profile) for example in examples]
    for length in (110, 250, 4000):
        made = context.build("reasoner", f"{spec}:max_length={length}").prompts(
            examples, rankings, Model("word " * 500)
        )
        assert all(prompt.tokens <= length or not prompt.shown for prompt in made)
        assert any(prompt.cut or prompt.dropped for prompt in made) == (length < 4000)
        assert all(prompt.chat for prompt in made)


@pytest.mark.parametrize("spec", ALL)
def test_lengths_are_counted_by_the_generators_tokenizer(context: Context, examples: list[Example], spec: str) -> None:
    class Letters(WordTokenizer):
        def count(self, text: str) -> int:
            return len(text)

        def truncate(self, text: str, room: int) -> tuple[str, int]:
            return text[:room], min(len(text), room)

    model = Model("a user who writes")
    model.tokenizer = Letters()
    rankings = [ranked(*example.profile) for example in examples]
    for prompt in context.build("reasoner", f"{spec}:max_length=1500").prompts(examples, rankings, model):
        assert prompt.tokens == len(prompt.text) <= 1500
        assert prompt.shown


@pytest.mark.parametrize("spec", ALL)
def test_a_generator_with_less_room_gets_shorter_prompts(context: Context, examples: list[Example], spec: str) -> None:
    class Small(Model):
        max_prompt_tokens = 180

    model = Small("word " * 500)
    rankings = [ranked(*example.profile) for example in examples]
    made = context.build("reasoner", spec).prompts(examples, rankings, model)
    assert all(prompt.tokens <= 180 for prompt in [*made, *model.asked] if prompt.shown)
    assert any(prompt.shown for prompt in made)


@pytest.mark.parametrize("spec", ["think", "prlm", "cite"])
def test_reasoning_then_the_answer(context: Context, spec: str) -> None:
    reasoner = context.build("reasoner", spec)
    item = document("a")
    (prompt,) = reasoner.prompts([question(item)], [ranked(item)], Model())
    assert "</think>" in prompt.text
    assert prompt.text.endswith(f"\n{BOOK.get('lamp_4').prompts.chat.ask}")
    answer = reasoner.parse(prompt, Completion("<think>\nshort titles\n</think>\n{'title': 'Short'}"))
    assert (answer.text, answer.parsed, answer.reasoning, answer.cited) == ("Short", "strict", "short titles", ())
    answer = reasoner.parse(prompt, Completion("short titles, so {'title': 'Short'}"))
    assert (answer.text, answer.parsed) == ("Short", "unclosed")
    answer = reasoner.parse(prompt, Completion("<think>\nshort tit"))
    assert (answer.text, answer.parsed, answer.reasoning) == ("", None, "short tit")


def test_prlm_has_one_prompt_for_training_and_evaluation(context: Context, examples: list[Example]) -> None:
    rankings = [ranked(*example.profile) for example in examples]
    made = context.build("reasoner", "prlm").prompts(examples, rankings, Model())
    chat = context.task.prompts.chat
    pairs = zip(examples, rankings, strict=True)
    again = [
        chat_prompt(chat, e, r, WordTokenizer(), 512, instruction=Prlm.instruction, reasons=True) for e, r in pairs
    ]
    assert made == again
    assert all(f"\n{Prlm.instruction}\n{chat.ask}" in prompt.text for prompt in made)


@pytest.mark.parametrize("task", ["lamp_1", "lamp_2", "lamp_3", "lamp_4", "lamp_5", "lamp_6", "lamp_7"])
@pytest.mark.parametrize("spec", ALL)
def test_every_task_can_be_reasoned_about(host: PluginHost, tmp_path: Path, task: str, spec: str) -> None:
    dataset = open_split(host.tasks.get(f"mini_{task}"), "dev", synth_users=4)
    reasoner = Components(host, dataset, tmp_path).context(0).build("reasoner", spec)
    examples = next(dataset.batches(4))
    rankings = [ranked(*example.profile[:2]) for example in examples]
    key = dataset.task.prompts.chat.key
    for prompt in reasoner.prompts(examples, rankings, Model()):
        gold = prompt.example.gold or ""
        answer = reasoner.parse(prompt, Completion(f"hm </think>\n{{'{key}': \"{gold}\"}}"))
        assert (answer.text, answer.parsed, answer.reasoning) == (gold.strip(), "strict", "hm")


# cite


@pytest.mark.parametrize(
    ("reasoning", "cited"),
    [
        ("as in [2] and [1], then [2] again", ("b", "a")),
        ("see [1, 3]", ("a", "c")),
        ("see [1][2]", ("a", "b")),
        ("see [ 3 ; 1 ]", ("c", "a")),
        ("see [items 1 and 2], [Item 3]", ("a", "b", "c")),
        ("see [1-3]", ("a", "b", "c")),
        ("see [2 to 3], [2–3]", ("b", "c")),
        ("see [0], [4], [99], [1-999999], item 2, (3), [x], [1.5], []", ("a", "b", "c")),
        ("see [4-5], [3-1]", ()),
        (f"see [{'9' * 5000}]", ()),
        ("nothing in particular", ()),
    ],
)
def test_items_that_are_named_are_kept(context: Context, reasoning: str, cited: tuple[str, ...]) -> None:
    reasoner = context.build("reasoner", "cite")
    items = (document("a"), document("b"), document("c"))
    (prompt,) = reasoner.prompts([question(*items)], [ranked(*items)], Model())
    assert "\n[1] 'text': 'a0" in prompt.text
    assert "such as [1]" in prompt.text
    answer = reasoner.parse(prompt, Completion(f"<think>{reasoning}</think>{{'title': 'As in [1]'}}"))
    assert (answer.text, answer.cited) == ("As in [1]", cited)


def test_only_shown_items_can_be_named(context: Context) -> None:
    reasoner = context.build("reasoner", "cite:max_length=150")
    items = (document("a", 3), document("b", 3, title="long " * 300), document("c", 3))
    (prompt,) = reasoner.prompts([question(*items)], [ranked(*items)], Model())
    assert prompt.dropped == 1
    assert reasoner.parse(prompt, Completion("[1], [2], [3]</think>{'title': 'x'}")).cited == ("a", "c")


def test_papers_are_not_taken_for_items(host: PluginHost, tmp_path: Path) -> None:
    """The labels of LaMP_1 are [1] and [2]."""
    dataset = open_split(host.tasks.get("mini_lamp_1"), "dev", synth_users=4)
    reasoner = Components(host, dataset, tmp_path).context(0).build("reasoner", "cite")
    example = dataset.example(0)
    (prompt,) = reasoner.prompts([example], [ranked(*example.profile[:3])], Model())
    assert "\n[item 1] 'title'" in prompt.text
    assert "such as [item 1]" in prompt.text
    answer = reasoner.parse(prompt, Completion("[2] rather than [1], by [item 3]</think>{'reference': '[2]'}"))
    assert (answer.text, answer.cited) == ("[2]", (example.profile[2].id,))


def test_without_items_nothing_is_to_be_named(context: Context) -> None:
    think, cite = (context.build("reasoner", name) for name in ("think", "cite"))
    made = [reasoner.prompts([question()], [Ranking()], Model()) for reasoner in (think, cite)]
    assert made[0] == made[1]
    assert cite.parse(made[1][0], Completion("[1]</think>{'title': 'x'}")).cited == ()


# summary


def test_a_profile_is_described_once(context: Context, examples: list[Example]) -> None:
    reasoner, model = context.build("reasoner", "summary:words=30"), Model("fond of\n short  titles")
    rankings = [ranked(*example.profile[:2]) for example in examples]
    made = reasoner.prompts(examples, rankings, model)
    states = {(e.user, tuple(item.id for item in e.profile)) for e in examples}
    assert len(model.asked) == len(states)
    assert all(prompt.text.startswith("What is known about this user: fond of short titles\n\n") for prompt in made)
    assert all("at most 30 words" in prompt.text for prompt in model.asked)
    assert all(len(prompt.text.split()) == prompt.tokens <= 2048 for prompt in model.asked)
    # Another k of the same retriever, another retriever, the next batch: nothing new is written.
    again = reasoner.prompts(examples[:3], [ranked(*example.profile[3:8]) for example in examples[:3]], model)
    assert len(model.asked) == len(states)
    assert all("fond of short titles" in prompt.text for prompt in again)


def test_another_state_another_user_or_another_model_is_described_anew(context: Context) -> None:
    reasoner = context.build("reasoner", "summary")
    one, two = Model("one"), Model("two")
    a, b = document("a"), document("b")
    for example in (question(a), question(a, b), question(a, user="v"), question(replace(a, fields=b.fields))):
        reasoner.prompts([example, example], [ranked(example.profile[0])] * 2, one)
    assert len(one.asked) == 4
    (prompt,) = reasoner.prompts([question(a)], [ranked(a)], two)
    assert len(two.asked) == 1
    assert "this user: two" in prompt.text


def test_the_newest_items_are_described(context: Context) -> None:
    dates = ["2020-1-9", "2020-01-10", "2019-12-31", "2021-01-01"]
    dated = [replace(document(f"n{place}"), date=date) for place, date in enumerate(dates)]
    for items, expected in ((dated, ["n3", "n1"]), ([*dated[:3], document("n3")], ["n0", "n1"])):
        model = Model("x")
        context.build("reasoner", "summary:items=2").prompts([question(*items)], [ranked(items[0])], model)
        assert [item.id for item in model.asked[0].ranking.items] == expected


def test_controls_stay_controls(context: Context) -> None:
    """Without items nothing of the profile is known; another user's items are described instead of one's own."""
    reasoner, model = context.build("reasoner", "summary"), Model("a description")
    (prompt,) = reasoner.prompts([question(document("own"))], [Ranking()], model)
    assert model.asked == []
    assert prompt.text.startswith("Generate a headline")
    strangers = (document("s"), document("t"))
    (prompt,) = reasoner.prompts([question(document("own"))], [ranked(*strangers)], model)
    assert model.asked[0].ranking.items == strangers
    assert "own" not in model.asked[0].text
    assert "a description" in prompt.text


@pytest.mark.parametrize(
    ("written", "known"),
    [
        ("<think>let me see</think>\n\nshort titles", "short titles"),
        ("<think>let me see", ""),
        ("  \n", ""),
        ("word " * 400, "word " * 128),
    ],
)
def test_what_becomes_of_a_description(context: Context, written: str, known: str) -> None:
    item = document("a")
    (prompt,) = context.build("reasoner", "summary").prompts([question(item)], [ranked(item)], Model(written))
    block = f"What is known about this user: {known.strip()}\n\n" if known else ""
    assert prompt.text.startswith(f"{block}Articles by this author")
    assert prompt.tokens <= 512


def test_a_description_that_was_left_out_is_an_error(context: Context) -> None:
    class Silent(Model):
        def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
            return iter(())

    with pytest.raises(PrlmBenchError, match="left 1 of 1 profile summaries unwritten"):
        context.build("reasoner", "summary").prompts([question(document("a"))], [ranked(document("a"))], Silent())


# Through a run


def test_how_an_answer_was_read_is_written_down(here: Any, tmp_path: Path) -> None:
    plugin = tmp_path / "scripted.py"
    plugin.write_text(
        "from prlm_bench import Completion, hookimpl\n"
        "TEXTS = [\"as in [2]</think>{'title': 'x'}\", \"no {'Title': 'x'}\", 'nothing']\n"
        "class Scripted:\n"
        "    tokenizer = None\n"
        "    def fingerprint(self): return ''\n"
        "    def generate(self, prompts):\n"
        "        return ((i, Completion(TEXTS[i % 3])) for i in range(len(prompts)))\n"
        "@hookimpl\n"
        "def prlm_bench_register_generators(register): register('scripted', Scripted)\n"
    )
    command = "run --task mini_lamp_4 --synth-users 4 --retriever recency -k 2 --generator scripted --no-controls"
    done = here(*command.split(), "--reasoner", "cite", "--plugin", plugin, "--results", "out")
    assert done.status == 0, done
    ((stored,), _) = find_results(tmp_path / "out")
    samples = list(read_samples(stored.folder))
    assert [sample.parsed for sample in samples[:3]] == ["strict", "unclosed", None]
    assert [sample.answer for sample in samples[:3]] == ["x", "x", ""]
    assert [sample.cited for sample in samples[:3]] == [[samples[0].items[1].id], [], []]
    assert stored.summary.parse_failures.value == pytest.approx(sum(s.parsed is None for s in samples) / len(samples))
    assert samples[2].metrics["rouge1@lamp"] == 0.0


def test_odd_items_are_shown_on_one_line_each(context: Context) -> None:
    example = odd_example()
    made = context.build("reasoner", "cite:max_length=100000").prompts([example], [ranked(*example.profile)], Model())
    assert made[0].shown == len(ODD_TEXTS)
    assert len(made[0].text.split("\n")) == len(ODD_TEXTS) + 5


# The text alone, and solved examples


@pytest.mark.parametrize("name", ["lamp_1", "lamp_2", "lamp_3", "lamp_4", "lamp_7"])
def test_plain_asks_for_the_text_alone(name: str, host: PluginHost, tmp_path: Path) -> None:
    context = Components(host, open_split(host.tasks.get(f"mini_{name}"), "dev", synth_users=4), tmp_path).context(0)
    examples = next(context.dataset.batches(3))
    rankings = [Ranking(e.profile[:2], (0.0,) * len(e.profile[:2])) for e in examples]
    chat, plain = (
        context.build("reasoner", f"direct:protocol={protocol},max_length=2000").prompts(examples, rankings, Model())
        for protocol in ("chat", "plain")
    )
    for one, two in zip(chat, plain, strict=True):
        ask = BOOK.get(name).prompts.chat.plain_ask
        assert ask is not None and two.text == one.text.removesuffix(BOOK.get(name).prompts.chat.ask) + ask
        assert (one.chat, two.chat, one.key, two.key) == (True, True, context.task.prompts.chat.key, None)
        assert (one.shown, one.ranking) == (two.shown, two.ranking)


@pytest.mark.parametrize(
    ("task", "text", "answer"),
    [
        ("mini_lamp_4", " A title: 'as it is' \n", "A title: 'as it is'"),
        ("mini_lamp_4", "<think>first</think>\nA title", "A title"),
        ("mini_lamp_4", "<think>cut off", None),
        ("mini_lamp_4", " \n", None),
        ("mini_lamp_2", "sci-fi", "sci-fi"),
        ("mini_lamp_2", "The tag is sci-fi.", None),
        ("mini_lamp_3", "4", "4"),
    ],
)
def test_the_whole_completion_is_the_answer(
    host: PluginHost, tmp_path: Path, task: str, text: str, answer: str | None
) -> None:
    context = Components(host, open_split(host.tasks.get(task), "dev", synth_users=4), tmp_path).context(0)
    reasoner = context.build("reasoner", "direct:protocol=plain")
    found = reasoner.parse(Prompt(question(), Ranking(), "", True), Completion(text, finish="stop"))
    assert (found.text, found.parsed) == ((answer, "whole") if answer else ("", None))


def test_a_task_without_a_wording_gets_a_general_one() -> None:
    for name, words in (("lamp_4", "the text alone"), ("lamp_1", "one of [1], [2], written exactly so")):
        task = BOOK.get(name)
        chat = task.prompts.chat.model_copy(update={"plain_ask": None})
        assert words in plain_ask(task.model_copy(update={"prompts": task.prompts.model_copy(update={"chat": chat})}))


@pytest.mark.parametrize("protocol", ["lamp", "chat", "plain"])
def test_shots_are_solved_questions_of_other_users(context: Context, examples: list[Example], protocol: str) -> None:
    spec = f"direct:protocol={protocol},shots=2,max_length=4000"
    reasoner = context.build("reasoner", spec)
    train = context.dataset.sibling("train")
    assert train is not None
    solved = {example.input: example for batch in train.batches(100) for example in batch}
    rankings = [Ranking(example.profile[:1], (0.0,)) for example in examples]
    bare = context.build("reasoner", spec.replace("shots=2", "shots=0")).prompts(examples, rankings, Model())
    prompts = reasoner.prompts(examples, rankings, Model())
    blocks = set()
    for example, prompt, without in zip(examples, prompts, bare, strict=True):
        block, _, rest = prompt.text.rpartition("\n\n" + without.text)
        assert (prompt.shown, rest) == (1, "")
        blocks.add(block)
        heading, *shots = block.split("\n\n")
        assert heading == "Solved examples of other users:"
        found = [shot.rpartition("\n") for shot in shots]
        assert len(found) == 2
        for asked, _, answer in found:
            other = solved[asked]
            assert other.user != example.user
            assert answer == (repr({"title": other.gold}) if protocol == "chat" else other.gold)
    assert reasoner.prompts(examples[::-1], rankings[::-1], Model()) == prompts[::-1]
    assert len(blocks) > 1


@pytest.mark.parametrize("protocol", ["lamp", "plain"])
def test_shots_count_towards_the_budget(context: Context, examples: list[Example], protocol: str) -> None:
    rankings = [Ranking(example.profile[:4], (0.0,) * 4) for example in examples]
    for length in (60, 120, 240, 480):
        spec = f"direct:protocol={protocol},shots=3,max_length={length}"
        for example, prompt in zip(
            examples, context.build("reasoner", spec).prompts(examples, rankings, Model()), strict=True
        ):
            alone = context.build("reasoner", spec.replace("shots=3", "shots=0")).prompts(
                [example], [Ranking()], Model()
            )[0]
            assert prompt.tokens <= max(length, alone.tokens)


def test_shots_and_wording_are_part_of_the_identity(context: Context, host: PluginHost, tmp_path: Path) -> None:
    made = [
        context.build("reasoner", f"direct:{options}").fingerprint()
        for options in ("protocol=chat", "protocol=plain", "protocol=chat,shots=1")
    ]
    assert made[0] == "" and len(set(made)) == 3
    again = Components(host, context.dataset, tmp_path).context(1).build("reasoner", "direct:protocol=chat,shots=1")
    assert again.fingerprint() != made[2]


def test_shots_need_a_train_split_with_answers(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(context.dataset), "sibling", lambda self, split: None)
    with pytest.raises(RunError, match=r"shots=2 shows solved examples of the train split, and mini_lamp_4 has none"):
        context.build("reasoner", "direct:shots=2")
    with pytest.raises(PrlmBenchError, match="shots must be at least 0"):
        context.build("reasoner", "direct:shots=-1")
