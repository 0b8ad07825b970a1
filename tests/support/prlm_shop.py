"""Made models and small trainings for the tests of PrLM."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from prlm_bench_plugins.prlm._context import TrainingContext
from prlm_bench_plugins.prlm._recipe import Recipe, read_recipe

from prlm_bench.data import open_split
from prlm_bench.host import PluginHost
from prlm_bench.progress import Silent
from prlm_bench.running import Components

TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
#: As DeepSeek-R1's: it begins an answer with <think>, and drops the reasoning of answers that were given.
R1_TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'user' %}<User>{{ m.content }}{% else %}"
    "<Assistant>{{ m.content.split('</think>')[-1] }}<end>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<Assistant><think>\n{% endif %}"
)
WINDOW = 900


def make_tokenizer(template: str | None = TEMPLATE, **settings: Any) -> Any:
    """Bytes and a few merges."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<pad>", "<end>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["generate a headline for the following article"] * 3, trainer)
    settings = {"eos_token": "<end>", "pad_token": "<pad>", "chat_template": template, **settings}
    make: Any = PreTrainedTokenizerFast
    return make(tokenizer_object=tokenizer, **settings)


#: Beginnings of the names of transformers' classes, and what their configurations have besides the common sizes.
ARCHITECTURES: Mapping[str, Mapping[str, Any]] = {
    "Qwen2": {},
    "Qwen3": {"head_dim": 16},
    "Llama": {},
    "Mistral": {"sliding_window": 8},
    "Gemma3": {"head_dim": 16, "sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]},
    "Phi": {},
    "Lfm2": {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False},
    "Qwen3_5": {
        "head_dim": 16,
        "layer_types": ["linear_attention", "full_attention"],
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
    },
}
#: Those that are parts of models for images too.
_TEXT = ("Gemma3", "Qwen3_5")


def make_causal(
    folder: Path, kind: str = "Qwen2", template: str | None = TEMPLATE, seed: int = 2, window: int = WINDOW
) -> Path:
    """A causal model with random weights that ends some answers early; its architecture may be any."""
    import torch
    import transformers

    torch.manual_seed(seed)
    library: Any = transformers
    config = getattr(library, f"{kind}{'Text' if kind in _TEXT else ''}Config")(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=window,
        eos_token_id=1,
        pad_token_id=0,
        bos_token_id=None,
        tie_word_embeddings=False,
        **ARCHITECTURES.get(kind, {}),
    )
    model = getattr(library, f"{kind}ForCausalLM")(config)
    with torch.no_grad():
        model.lm_head.weight[1] += 0.04 * torch.randn(32)
        model.lm_head.weight *= 8
    model.save_pretrained(folder)
    make_tokenizer(template).save_pretrained(folder)
    return folder


def make_bert(folder: Path, texts: Sequence[str]) -> Path:
    """An encoder with random weights and words of its own."""
    from prlm_bench_plugins.prlm._recipe import EncoderConfig
    from prlm_bench_plugins.prlm._reward_model import new_reward_model

    made = new_reward_model(EncoderConfig(vocabulary=200, hidden=16, layers=1, heads=2), texts, 64, 0)
    made.model.classifier.weight.data *= 50  # so that scores differ
    made.save(folder)
    return folder


def settings(base: Path | str, **changes: Any) -> dict[str, Any]:
    """A recipe of seconds; the made models' answers can only be read as they stand, by LaMP's protocol."""
    steps = {"learning_rate": 2e-3, "epochs": 2, "steps": 6, "batch": 2, "every": 2, "judged": 2, "warmup": 0.0}
    content: dict[str, Any] = {
        "base": str(base),
        "k": 2,
        "reasoner": "direct:protocol=lamp",
        "max_completion": 10,
        "held_back": 0.3,
        "pairs": {"questions": 12, "plain": "direct:protocol=lamp"},
        "reward": {
            "base": {"vocabulary": 200, "hidden": 16, "layers": 1, "heads": 2},
            "learning_rate": 3e-2,  # so that the scores of a policy's completions differ
            "epochs": 2,
            "batch": 2,
            "max_length": 64,
        },
        "policy": {**steps, "group": 2, "reasoner": "direct:protocol=lamp"},
        "sft": {**steps, "reasoner": "direct:protocol=lamp"},
        "rft": {**steps, "reasoner": "direct:protocol=lamp", "draws": 2, "rewards": {"accuracy": 1.0}},
        "dpo": steps,
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = content
        for parent in parents:
            place = place[parent]
        place[last] = value
    return content


def recipe_file(folder: Path, content: Mapping[str, Any]) -> Path:
    """The recipe as a file."""
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(dict(content)))
    return path


def training_context(
    content: Mapping[str, Any] | Recipe,
    folder: Path,
    task: str = "mini_lamp_4",
    seed: int = 0,
    kind: type[TrainingContext] = TrainingContext,
) -> TrainingContext:
    """A training of six users' questions in `folder/out`."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = content if isinstance(content, Recipe) else read_recipe(str(recipe_file(folder, content)))
    host = PluginHost()
    dataset = open_split(host.tasks.get(task), "train", synth_users=6)
    context = Components(host, dataset, folder / "cache").context(seed)
    return kind(context, recipe, folder / "out", Silent())


#: A process that has imported what a training needs, and forks: a training to be killed starts at once.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["trl.trainer.grpo_trainer", "trl.trainer.sft_trainer", "trl.trainer.dpo_trainer"])


def _command(words: Sequence[str], output: Path, environment: Mapping[str, str]) -> None:
    from prlm_bench.cli import main

    os.environ.update(environment)
    if "LARGEST_FILE" in environment:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(environment["LARGEST_FILE"]),) * 2)
    sys.argv = ["prlm-bench", *words]
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        main()


def train(
    folder: Path,
    words: Sequence[object],
    until: Callable[[], bool] | None = None,
    timeout: float = 55,
    **environment: str,
) -> tuple[int, str]:
    """`prlm-bench train` in a process of its own, killed as soon as `until` says so; its status and what it wrote."""
    told = folder / "told"
    environment = {"PRLM_BENCH_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1", **environment}
    command: Any = _FORKS.Process(target=_command, args=(["train", *map(str, words)], told, environment))
    command.start()
    ends = time.monotonic() + timeout
    while command.is_alive() and time.monotonic() < ends and not (until and until()):
        command.join(0.002)
    if command.is_alive():
        command.kill()
    command.join()
    return command.exitcode, told.read_text()
