"""Evaluates the tiny models on held-out users. The names of figures are stored in the models' manifests."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prlm_bench import Document, Example
from prlm_bench.metrics import Pairs, prlm_bench_register_metrics
from prlm_bench.prompting import find_answer, split_reasoning
from prlm_bench.tasks import Task

from ._curriculum import Curriculum
from ._tokenizer import ASSISTANT, END, USER
from ._training_examples import TaskData, choose_items, training_example

if TYPE_CHECKING:
    from prlm_bench.progress import Progress

#: Ways to choose items; `stranger` shows the items of another user.
WAYS = ("none", "stranger", "random", "words", "relevant")
ITEMS = 4
_BATCH = 64
#: Maximum number of tokens of an answer, and of reasoning with its answer.
_ANSWER_TOKENS = 48
_TRACE_TOKENS = 96
#: Sampling temperature of traces, as in reinforcement learning.
_TEMPERATURE = 0.7


def evaluate(model: Any, tokenizer: Any, data: TaskData) -> dict[str, float]:
    """The task's first metric for each way to choose four items, and the share of answers that cannot be parsed."""
    found: dict[str, float] = {}
    task = data.task
    golds = [example.gold or "" for example in data.examples]
    failures = 0
    for way in WAYS:
        rng = random.Random(f"judge {way}")
        prompts = [
            training_example(task, example, _items(data.examples, index, way, rng)).prompt
            for index, example in enumerate(data.examples)
        ]
        value, unparsed = _score(task, _generate(model, tokenizer, prompts), golds)
        found[way] = round(value, 4)
        failures += unparsed
    return {**found, "unread": round(failures / len(WAYS) / len(golds), 4)}


def evaluate_reasoner(
    model: Any, tokenizer: Any, curriculum: Curriculum, progress: Progress
) -> dict[str, dict[str, float]]:
    """The task's first metric by kind of prompt; for traces also what they state.

    Returns:
        By kind of prompt: `score`; `unread`, the share of answers that cannot be parsed; for traces
        `lines` and `claims`, the mean number of lines and of statements in a trace, and `true`, the share of
        statements that are true.
    """
    import torch

    examples = curriculum.data.examples
    golds = [example.gold or "" for example in examples]
    rng = random.Random("judge")
    shown = [curriculum.items(example, [(ITEMS, 1.0)], rng) for example in examples]
    direct, explicit = (
        [curriculum.prompt(reasoner, each, items) for each, items in zip(examples, shown, strict=True)]
        for reasoner in ("direct", "prlm")
    )
    without_items = [curriculum.prompt("direct", example, ()) for example in examples]
    torch.manual_seed(0)
    kinds = {"zero-shot": (without_items, 0.0), "direct": (direct, 0.0), "prlm": (explicit, 0.0)}
    kinds["prlm sampled"] = (explicit, _TEMPERATURE)
    figures = {}
    progress.start("evaluating on held-out users, kinds of prompts", len(kinds))
    for kind, (prompts, temperature) in kinds.items():
        texts = _generate(model, tokenizer, prompts, _TRACE_TOKENS, temperature)
        thinks = kind.startswith("prlm")
        value, unparsed = _score(curriculum.data.task, texts, golds, thinks=thinks)
        found = {"score": value, "unread": unparsed / len(golds)} | (_stated(curriculum, texts) if thinks else {})
        figures[kind] = {name: round(number, 4) for name, number in found.items()}
        progress.note(f"{kind}: {figures[kind]}")
        progress.advance()
    return figures


def _stated(curriculum: Curriculum, texts: Sequence[str]) -> dict[str, float]:
    parsed = [curriculum.statements.parse(split_reasoning(text)[0] or "") for text in texts]
    statements = [[statement for statement in lines if statement] for lines in parsed]
    pairs = zip(curriculum.data.examples, statements, strict=True)
    true = [curriculum.statements.is_true(example, statement) for example, made in pairs for statement in made]
    return {
        "lines": sum(map(len, parsed)) / len(parsed),
        "claims": sum(map(len, statements)) / len(parsed),
        "true": sum(true) / max(1, len(true)),
    }


def _score(task: Task, texts: Sequence[str], golds: Sequence[str], *, thinks: bool = False) -> tuple[float, int]:
    """The task's first metric of the answers in completions, and how many of them cannot be parsed."""
    parsed = [find_answer(task, text, task.prompts.chat.key, thinks=thinks) for text in texts]
    pairs = Pairs([answer.text if answer.parsed else "" for answer in parsed], golds, task.labels)
    metric = _metrics()[task.metrics[0]]()
    value = float(metric.value(metric.statistics(pairs).sum(axis=0)))
    return value, sum(answer.parsed is None for answer in parsed)


def _generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    max_tokens: int = _ANSWER_TOKENS,
    temperature: float = 0.0,
) -> list[str]:
    """Completions of prompts, in their order; sampled ones depend on torch's seed.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer.
        prompts: users' turns.
        max_tokens: maximum number of tokens in a completion.
        temperature: 0 decodes greedily.
    """
    import torch

    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    completions = [""] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    tokenizer.padding_side = "left"
    for start in range(0, len(order), _BATCH):
        batch = order[start : start + _BATCH]
        texts = [f"{USER}{prompts[index]}{END}{ASSISTANT}" for index in batch]
        inputs = tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt").to(model.device)
        with torch.inference_mode():
            ids = model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=max_tokens,
                **sampling,
            )
        written = tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        for index, text in zip(batch, written, strict=True):
            completions[index] = text
    return completions


def _items(examples: Sequence[Example], index: int, way: str, rng: random.Random) -> Sequence[Document]:
    example = examples[index]
    if way != "stranger":
        return choose_items(example, way, ITEMS, rng)
    others = [other for other in examples if other.user != example.user]
    return choose_items(rng.choice(others), "random", ITEMS, rng)


def _metrics() -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    prlm_bench_register_metrics(lambda name, factory, **traits: found.__setitem__(name, factory))
    return found
