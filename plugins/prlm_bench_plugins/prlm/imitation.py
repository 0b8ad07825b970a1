"""Supervised fine-tuning: on golds (SFT), and on the model's own best completions (RFT).

Sources: LaMP (Salemi et al. 2024) fine-tunes on the question with its items; rejection-sampling fine-tuning is
from Yuan et al. 2023 (arXiv 2308.01825).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prlm_bench import Prompt, Sample
from prlm_bench.errors import RunError

from .artefact import Artefact
from .chat import encode_completions, encode_prompts, turns
from .judging import build_reward, needs_reward_model
from .recipe import Imitation, Rejection
from .reward_training import make_reward
from .tuning import fit_rows
from .workshop import Workshop

_IGNORED = -100


@dataclass(frozen=True)
class Lesson:
    """What to answer to a prompt."""

    prompt: Prompt
    completion: str


def make_sft(shop: Workshop) -> Artefact:
    """The model that imitates the golds."""
    settings = shop.recipe.sft
    return shop.stage("sft", settings, lambda folder: _fit(shop, settings, folder, "sft", _golds(shop, settings)))


def make_rft(shop: Workshop) -> Artefact:
    """The model that imitates its own best completions, and what judges them where that is not there yet."""
    settings = shop.recipe.rft
    reward = make_reward(shop).manifest["files"] if needs_reward_model(settings.rewards) else None

    def work(folder: Path) -> Mapping[str, Any]:
        return _fit(shop, settings, folder, "rft", _best(shop, settings))

    return shop.stage("rft", settings, work, reward=reward)


def _golds(shop: Workshop, settings: Imitation) -> list[list[Lesson]]:
    """Lessons of the training users, and of those who are kept back."""
    reasoner = shop.reasoner(settings.reasoner)
    key = shop.task.prompts.chat.key
    parts = []
    for held_back, most in ((False, settings.questions), (True, settings.judged)):
        prompts, _ = shop.asked(reasoner, most, held_back=held_back)
        # A chat is answered by an object, the prompt of LaMP by the answer itself.
        parts.append([Lesson(p, repr({key: p.example.gold}) if p.chat else p.example.gold or "") for p in prompts])
    return parts


def _best(shop: Workshop, settings: Rejection) -> list[list[Lesson]]:
    """Each question's best completion of several; of the held-back users too, to choose a checkpoint by."""
    parts = []
    for held_back, most in ((False, settings.questions), (True, settings.judged)):
        parts.append(_drawn(shop, settings, most, held_back))
    if not all(parts):
        raise RunError("rft: no completion scored enough to be imitated", "a smaller rft.least, or more rft.draws")
    return parts


def _drawn(shop: Workshop, settings: Rejection, most: int | None, held_back: bool) -> list[Lesson]:
    reasoner = shop.reasoner(settings.reasoner)
    prompts, _ = shop.asked(reasoner, most, held_back=held_back)
    rewards = [(build_reward(shop, spec), weight) for spec, weight in settings.rewards.items()]
    best: dict[str, tuple[float, Sample]] = {}
    for draw in range(settings.draws):
        generator = shop.generator(settings.temperature, draw)
        samples = shop.answers(f"drawing {draw + 1} of {settings.draws}", reasoner, prompts, generator)
        samples = [each for each in samples if each.answer.parsed is not None]
        columns = [(reward.score(samples), weight) for reward, weight in rewards]
        for place, each in enumerate(samples):
            score = sum(weight * scores[place] for scores, weight in columns)
            known = best.get(each.prompt.example.id)
            if score >= settings.least and (known is None or score > known[0]):
                best[each.prompt.example.id] = (score, each)
    return [Lesson(each.prompt, each.completion.text) for _, each in best.values()]


def _fit(
    shop: Workshop, settings: Imitation | Rejection, folder: Path, name: str, parts: Sequence[Sequence[Lesson]]
) -> Mapping[str, Any]:
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    train, judged = parts
    kind = (SFTTrainer, SFTConfig)
    figures = fit_rows(shop, folder, f"training {name}", settings, kind, _dataset, (train, judged), packing=False)
    return {"task": shop.task.name, "reasoner": settings.reasoner, "questions": len(train), **figures}


def _dataset(tokenizer: Any, lessons: Sequence[Lesson]) -> Any:
    """Ids and labels: the loss is on the completion and its end alone."""
    from datasets import Dataset

    prompts = encode_prompts(tokenizer, [turns(each.prompt) for each in lessons])
    completions = encode_completions(tokenizer, [each.completion for each in lessons])
    return Dataset.from_list(
        [
            {"input_ids": prompt + completion, "labels": [_IGNORED] * len(prompt) + completion}
            for prompt, completion in zip(prompts, completions, strict=True)
        ]
    )
