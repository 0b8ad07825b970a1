"""The trainers by name: each makes one stage and what it stands on, or all of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prlm_bench.interfaces import Context
from prlm_bench.progress import Progress

from .artefact import Artefact
from .identity import code, package_versions
from .pairs import make_pairs
from .recipe import Recipe, change_recipe, read_recipe
from .workshop import Workshop


class StageTrainer:
    """Trains one stage of PrLM in a folder that all its stages share, and goes on where it was stopped.

    Args:
        recipe: a recipe that ships (`tiny`, `small`, `published`) or the path of a YAML file.
        base: the base model instead of the recipe's: a hub name, a folder, or `trainer:SPEC`.
        retriever: instead of the recipe's.
        k: items in a prompt, instead of the recipe's.
        changes: further changes, such as policy.learning_rate=1e-5.

    Raises:
        PrlmBenchError: no such recipe, or a setting that is wrong.
    """

    def __init__(
        self,
        context: Context,
        recipe: str = "tiny",
        base: str | None = None,
        retriever: str | None = None,
        k: int | None = None,
        changes: list[str] | None = None,
    ) -> None:
        self._context = context
        self._recipe = read_recipe(recipe, changes or (), base=base, retriever=retriever, k=k)

    def fingerprint(self) -> str:
        """The code of this plugin and the libraries."""
        return " ".join([f"code={code()}", *(f"{name}={number}" for name, number in package_versions().items())])

    def train(self, output: Path, progress: Progress) -> Mapping[str, Any]:
        """Make the stage below `output`; what is finished there is not made again.

        Raises:
            PrlmBenchError: `output` was made with other settings, or something cannot be done.
        """
        shop = Workshop(self._context, self._recipe, output, progress)
        made = self.stages(shop)
        methods = {**_named(self._recipe, output, made), **self.others(output)}
        return {**_shown(made), **({"methods": methods} if methods else {})}

    def stages(self, shop: Workshop) -> dict[str, Artefact]:
        """What this trainer makes, by name."""
        raise NotImplementedError

    def others(self, output: Path) -> dict[str, dict[str, Any]]:
        """Methods of the table besides those that were trained."""
        return {}


class PairsTrainer(StageTrainer):
    """Pairs of answers for the reward model: the base's with a user's items, and without."""

    def stages(self, shop: Workshop) -> dict[str, Artefact]:
        """The pairs."""
        return {"pairs": make_pairs(shop)}


class RewardTrainer(StageTrainer):
    """The personalization reward model of a task, a pair scorer trained on the pairs."""

    def stages(self, shop: Workshop) -> dict[str, Artefact]:
        """Pairs and reward model."""
        from .reward_training import make_reward

        return {"reward": make_reward(shop)}


class PolicyTrainer(StageTrainer):
    """The policy: GRPO on the recipe's rewards."""

    def stages(self, shop: Workshop) -> dict[str, Artefact]:
        """The policy, with pairs and reward model before it."""
        from .policy import make_policy

        return {"policy": make_policy(shop)}


class SftTrainer(StageTrainer):
    """Baseline: supervised fine-tuning on the golds of the same questions."""

    def stages(self, shop: Workshop) -> dict[str, Artefact]:
        """The tuned model."""
        from .imitation import make_sft

        return {"sft": make_sft(shop)}


class RftTrainer(StageTrainer):
    """Baseline: supervised fine-tuning on the base's own completions that score best."""

    def stages(self, shop: Workshop) -> dict[str, Artefact]:
        """The tuned model."""
        from .imitation import make_rft

        return {"rft": make_rft(shop)}


class DpoTrainer(StageTrainer):
    """Baseline: DPO on the pairs."""

    def stages(self, shop: Workshop) -> dict[str, Artefact]:
        """The tuned model, with the pairs before it."""
        from .preference import make_dpo

        return {"dpo": make_dpo(shop)}


class PrlmTrainer(StageTrainer):
    """All of PrLM: pairs, reward model, policy."""

    def stages(self, shop: Workshop) -> dict[str, Artefact]:
        """Each stage in turn."""
        from .policy import make_policy
        from .reward_training import make_reward

        return {"pairs": make_pairs(shop), "reward": make_reward(shop), "policy": make_policy(shop)}


class AblationTrainer(StageTrainer):
    """PrLM, its baselines and the policies of the recipe's ablations, from one base and on the same questions."""

    def stages(self, shop: Workshop) -> dict[str, Artefact]:
        """Everything that a table of ablations compares."""
        from .imitation import make_rft, make_sft
        from .policy import make_policy
        from .preference import make_dpo
        from .reward_training import make_reward

        made = {"pairs": make_pairs(shop), "reward": make_reward(shop), "policy": make_policy(shop)}
        made |= {"sft": make_sft(shop), "rft": make_rft(shop), "dpo": make_dpo(shop)}
        for name, changes in shop.recipe.ablations.items():
            made[name] = make_policy(shop, change_recipe(shop.recipe, changes).policy, name)
        return made

    def others(self, output: Path) -> dict[str, dict[str, Any]]:
        """The base, asked in all the ways that it is trained in."""
        recipe = self._recipe
        made = (output / "base").is_dir()
        base = f"trained:checkpoint={output},stage=base" if made else f"transformers:model={recipe.base}"
        base += f",max_new_tokens={recipe.max_completion}"
        items = {"retriever": recipe.retriever, "k": recipe.k, "generator": base}
        return {
            "no-rl": {**items, "reasoner": recipe.reasoner},
            "think": {**items, "reasoner": "think"},
            "rag": {**items, "reasoner": recipe.sft.reasoner},
            "zero-shot": {"reasoner": recipe.sft.reasoner, "generator": base},
        }


def _named(recipe: Recipe, output: Path, made: Mapping[str, Artefact]) -> dict[str, dict[str, Any]]:
    """The methods that the trained models are, the policy first, each with the reasoner that it was trained with."""
    tuned = {name: a for name, a in made.items() if "reasoner" in a.manifest}
    return {
        "prlm" if name == "policy" else name: {
            "retriever": recipe.retriever,
            "k": recipe.k,
            "reasoner": artefact.manifest["reasoner"],
            "generator": f"trained:checkpoint={output},stage={name}",
        }
        for name, artefact in tuned.items()
    }


def _shown(made: Mapping[str, Artefact]) -> Mapping[str, Any]:
    """Manifests for the user; where there is one only, it is shown itself."""
    hidden = ("identity", "files", "stage")
    found = {name: {k: v for k, v in a.manifest.items() if k not in hidden} for name, a in made.items()}
    return found if len(found) > 1 else next(iter(found.values()))
