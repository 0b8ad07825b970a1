"""The network of the tiny models, a small Qwen2: makes, trains, saves and loads it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prlm_bench.prompting import quiet_transformers

from ._recipe import TinyRecipe
from ._tokenizer import ASSISTANT, END, USER
from ._training_examples import TrainingExample

if TYPE_CHECKING:
    from prlm_bench.progress import Progress

#: Batches made from one sorted pool, so that a batch has prompts of similar lengths.
_POOL_BATCHES = 12
#: Steps between two reports of the loss.
_REPORT_STEPS = 100


def make_model(recipe: TinyRecipe, tokenizer: Any) -> Any:
    """A model with random weights, drawn from the recipe's seed."""
    import torch
    import transformers

    torch.manual_seed(recipe.seed)
    config = transformers.Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden,
        intermediate_size=recipe.feed_forward,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=recipe.window,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    make: Any = transformers.Qwen2ForCausalLM
    return make(config).to("cuda" if torch.cuda.is_available() else "cpu")


def train_model(
    model: Any, tokenizer: Any, examples: Iterator[TrainingExample], recipe: TinyRecipe, progress: Progress
) -> float:
    """Train in place, on examples in about the order in which they come.

    Returns:
        The mean loss of the last tenth of the steps, in nats per weighted token.
    """
    import torch

    optimizers = _optimizers(model, recipe)
    schedulers = [torch.optim.lr_scheduler.LambdaLR(each, _schedule(recipe)) for each in optimizers]
    batches = _batches(tokenizer, examples, recipe)
    progress.start("training the tiny model, examples", recipe.steps * recipe.batch)
    losses: list[float] = []
    model.train()
    for ids, weights in islice(batches, recipe.steps):
        with torch.autocast(model.device.type, torch.bfloat16):
            loss = _loss(model, ids.to(model.device), weights.to(model.device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        for optimizer, scheduler in zip(optimizers, schedulers, strict=True):
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        losses.append(loss.item())
        progress.advance(recipe.batch)
        if len(losses) % _REPORT_STEPS == 0:
            progress.note(f"step {len(losses)}: loss {sum(losses[-_REPORT_STEPS:]) / _REPORT_STEPS:.3f}")
    model.eval()
    last = losses[-max(1, len(losses) // 10) :]
    return sum(last) / len(last)


def _loss(model: Any, ids: Any, weights: Any) -> Any:
    """Weighted cross-entropy. No mask is needed: padding is at the end, where a causal model does not see it."""
    import torch

    hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    weights = weights[:, 1:]
    counts = weights > 0
    logits = model.lm_head(hidden[counts]).float()
    entropy = torch.nn.functional.cross_entropy(logits, ids[:, 1:][counts], reduction="none")
    return (entropy * weights[counts]).sum() / weights.sum()


def _optimizers(model: Any, recipe: TinyRecipe) -> list[Any]:
    """Muon for the matrices, which needs half of AdamW's steps for them; AdamW for the rest."""
    import torch

    named = dict(model.named_parameters())
    matrices = [weight for name, weight in named.items() if weight.ndim == 2 and "embed" not in name]
    rest = [weight for name, weight in named.items() if weight.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=recipe.matrix_rate, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _schedule(recipe: TinyRecipe) -> Any:
    rise = max(1, round(recipe.warm_up * recipe.steps))

    def share(step: int) -> float:
        return min(1.0, (step + 1) / rise) * max(recipe.final_share, 1 - step / recipe.steps)

    return share


def _batches(tokenizer: Any, examples: Iterator[TrainingExample], recipe: TinyRecipe) -> Iterator[tuple[Any, Any]]:
    """Token ids and weights, both of shape (batch, longest example)."""
    import torch

    rng = random.Random(f"batches {recipe.seed}")
    while True:
        pool = _encode(tokenizer, list(islice(examples, _POOL_BATCHES * recipe.batch)), recipe)
        pool.sort(key=lambda pair: len(pair[0]))
        for start in rng.sample(range(0, len(pool), recipe.batch), _POOL_BATCHES):
            rows = pool[start : start + recipe.batch]
            width = max(len(ids) for ids, _ in rows)
            padded = [ids + [tokenizer.pad_token_id] * (width - len(ids)) for ids, _ in rows]
            yield torch.tensor(padded), torch.tensor([weights + [0.0] * (width - len(weights)) for _, weights in rows])


def _encode(
    tokenizer: Any, batch: Sequence[TrainingExample], recipe: TinyRecipe
) -> list[tuple[list[int], list[float]]]:
    """Each example as a chat, with the weight of each token in the loss."""
    texts = [f"{USER}{each.prompt}{END}{ASSISTANT}{each.answer}{END}" for each in batch]
    encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    found = []
    for each, ids, offsets in zip(batch, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        unit = recipe.label_weight if each.is_label else 1.0
        answer = len(USER) + len(each.prompt) + len(END) + len(ASSISTANT)
        spans = [(start + len(USER), end + len(USER), recipe.written_weight * unit) for start, end in each.written]
        spans.append((answer, answer + len(each.answer) + len(END), unit))
        weights = [0.0] * len(ids)
        for start, end, weight in spans:
            for place, (first, after) in enumerate(offsets):
                if after > start and first < end:
                    weights[place] = weight
        found.append((ids, weights))
    return found


def save_model(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write weights in bfloat16, configuration and tokenizer."""
    import torch
    from safetensors.torch import save_file

    model = model.to(torch.bfloat16)
    tied = "lm_head.weight"  # the same numbers as the embedding
    weights = {name: value.contiguous() for name, value in model.state_dict().items() if name != tied}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # safetensors makes it readable for its owner alone
    model.config.architectures = [type(model).__name__]
    model.config.dtype = model.dtype
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def load_saved(folder: Path) -> tuple[Any, Any]:
    """Model, in single precision, and tokenizer, loaded as any user loads them.

    Evaluation uses these rather than the objects in memory, so that faulty files show in its figures.
    """
    import transformers

    auto: Any = transformers
    own = {"local_files_only": True, "trust_remote_code": False}
    with quiet_transformers():
        model = auto.AutoModelForCausalLM.from_pretrained(folder, dtype="float32", **own)
        return model.eval(), auto.AutoTokenizer.from_pretrained(folder, **own)
