"""The start: fine-tuning that teaches a pretrained base the two forms of an answer, before all other stages.

A base that was never asked in this way neither closes its reasoning nor writes the answer object; all completions of a
question then have the same reward, and GRPO learns nothing. Part of the questions is answered directly. The others are
answered after a trace of statements that are made by rule from the items shown (see `_trace_rules`), so that they
are true; whether they help is left to reinforcement learning. No other stage is trained on these questions.

The start is there so that completions can be read, and its checkpoint is chosen by that first: by the share of the
greedy answers to validation questions, in both forms, that can be read, until 95 % can; then by their accuracy, as in
all arms. By accuracy alone, a checkpoint of which every tenth answer is lost could win by a few better ones, and each
arm would learn the form again before it learns anything else. More than 95 % is not worth worse answers.

At the end the manifest tells how the started model answers validation questions in both forms, greedily and sampled,
and how often sampled completions of a question differ in accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from prlm_bench import Prompt, Sample
from prlm_bench.interfaces import Reasoner

from .._training import MODEL, Artefact
from ._context import TrainingContext, parsed_sample
from ._recipe import StartSettings, required
from ._rewards import Accuracy, ClosedReasoning, is_readable, spread_of_groups
from ._rollout import SELECTED_BY, UNREADABLE, Validation
from ._sft import TrainingExample, gold_answer, reasoned_answer, tune
from ._trace_rules import TraceRules

#: Validation questions that the started model answers greedily, and of these those that it answers in groups.
_READ, _SAMPLED = 32, 16
#: Completions of a group, and their temperature.
_GROUP, _TEMPERATURE = 4, 1.0
#: What a start should reach: shares of readable completions, and of groups whose completions differ in accuracy.
_READABLE, _SPREAD = 0.95, 0.5


def make_start(ctx: TrainingContext) -> Artefact:
    """The started model of a recipe."""
    settings = required(ctx.recipe.start, "start")
    rules, before = TraceRules(ctx.task), ctx.before_start()
    direct = ctx.context.identity_of("reasoner", settings.direct)
    inputs: dict[str, Any] = {"direct": direct, "rules": rules.identity()}
    return before.stage("start", settings, lambda to: _make(before, settings, rules, to), one_process=True, **inputs)


def _make(ctx: TrainingContext, settings: StartSettings, rules: TraceRules, folder: Path) -> Mapping[str, Any]:
    train, validation = (_examples(ctx, settings, rules, validation) for validation in (False, True))
    reasoners = _reasoners(ctx, settings)
    asked = [(reasoners["reasoning" if each.prompt.reasons else "direct"], each.prompt) for each in validation]
    judged = ReadableFirst(ctx, asked, settings.batch_sizes()[1])
    figures = tune(ctx, settings, folder, "start", (train, validation), judged=judged)
    shown = _measure(ctx, settings, rules, str(folder / MODEL))
    traces = sum(each.prompt.reasons for each in train)
    return {**figures, "traces": traces, "held_back_answers": shown, **_finding(shown)}


class ReadableFirst(Validation):
    """Chooses the checkpoint whose answers can be read, and are the most accurate among such checkpoints."""

    selected_by: ClassVar[str] = "readable_accuracy"

    def figures(self, trainer: Any) -> dict[str, float]:
        """As of any training, and what the checkpoint is chosen by.

        It is the accuracy, from 0 to 3, where 95 % of the answers can be read. Elsewhere it is below 0: the share that
        can be read, less 1.

        Args:
            trainer: of transformers.
        """
        found = super().figures(trainer)
        unreadable = found[UNREADABLE]
        return {**found, self.selected_by: found[SELECTED_BY] if unreadable <= 1 - _READABLE else -unreadable}


def _examples(
    ctx: TrainingContext, settings: StartSettings, rules: TraceRules, validation: bool
) -> list[TrainingExample]:
    """Direct answers of the first questions, and traces of the others."""
    limit = settings.judged if validation else settings.questions
    names = [example.id for example in ctx.questions(limit, validation=validation)]
    answered = frozenset(names[: round(settings.direct_share * len(names))])
    direct, reasoning = (
        ctx.training_prompts(reasoner, limit, validation=validation)[0]
        for reasoner in _reasoners(ctx, settings).values()
    )
    rules = rules.among([*prompt.shown_items.values()] for prompt in reasoning)
    return [TrainingExample(p, gold_answer(p)) for p in direct if p.example.id in answered] + [
        TrainingExample(p, reasoned_answer(ctx, settings, rules, p)) for p in reasoning if p.example.id not in answered
    ]


def _reasoners(ctx: TrainingContext, settings: StartSettings) -> dict[str, Reasoner]:
    return {"direct": ctx.reasoner(settings.direct), "reasoning": ctx.reasoner(settings.reasoner)}


def _measure(ctx: TrainingContext, settings: StartSettings, rules: TraceRules, model: str) -> dict[str, Any]:
    """How the model answers validation questions: figures by form of the prompt, and of its reasoning."""
    readable, sampled, spread, checks, closed = {}, {}, {}, [], 0.0
    for form, reasoner in _reasoners(ctx, settings).items():
        prompts, _ = ctx.training_prompts(reasoner, _READ, validation=True)
        samples = ctx.answers(f"answering ({form})", reasoner, prompts, ctx.model(model))
        readable[form] = _share(list(map(is_readable, samples)))
        groups = _groups(ctx, reasoner, prompts[:_SAMPLED], model, form)
        sampled[form] = _share([is_readable(sample) for group in groups for sample in group])
        spread[form] = _share_with_spread(ctx, groups)
        if form == "reasoning":
            closed = _share(ClosedReasoning().score(samples))
            traces = {each.answer.reasoning for each in samples}
            checks = [truth for each in samples for truth in _truths(rules, each)]
    known = [truth for truth in checks if truth is not None]
    return {
        "questions": len(samples),
        "readable": readable,
        "closed_reasoning": closed,
        "different_traces": len(traces),
        "statements": len(checks),
        "statements_of_a_rule": len(known),
        "true_of_these": _share(known) if known else None,
        "groups": len(groups),
        "readable_sampled": sampled,
        "groups_with_spread": spread,
    }


def _groups(
    ctx: TrainingContext, reasoner: Reasoner, prompts: Sequence[Prompt], model: str, form: str
) -> list[list[Sample]]:
    """Sampled completions of each prompt."""
    sampler: Any = ctx.model(model, _TEMPERATURE)  # one of `Samples`
    groups: dict[int, list[Sample]] = {}
    ctx.progress.start(f"sampling ({form}), prompts", len(prompts))
    for place, drawn in sampler.sample(prompts, _GROUP):
        groups[place] = [parsed_sample(reasoner, prompts[place], completion) for completion in drawn]
        ctx.progress.advance()
    return list(groups.values())


def _share_with_spread(ctx: TrainingContext, groups: Sequence[Sequence[Sample]]) -> float:
    """Share of the groups whose completions differ in accuracy."""
    accuracy = Accuracy(ctx.context).score([sample for group in groups for sample in group])
    _, flat = spread_of_groups({"accuracy": accuracy}, [1.0], _GROUP)
    return round(1 - flat, 4)


def _truths(rules: TraceRules, sample: Sample) -> list[bool | None]:
    """Of each line of the reasoning whether it is true; None if it is no statement of a rule."""
    lines, items = (sample.answer.reasoning or "").splitlines(), [*sample.prompt.shown_items.values()]
    return [rules.check(line, items) for line in lines if line.strip()]


def _share(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4)


def _finding(shown: Mapping[str, Any]) -> dict[str, Any]:
    """For the manifest: that the start fell short of what it is for; nothing where all is well."""
    readable, spread = min(shown["readable"].values()), min(shown["groups_with_spread"].values())
    if readable >= _READABLE and spread >= _SPREAD:
        return {}
    text = f"{readable:.0%} of the validation completions can be read, and {spread:.0%} of the groups have spread"
    return {"finding": f"{text}; raise start.questions or start.epochs", "learned": True}
