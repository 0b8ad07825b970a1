"""All that this plugin uses of lm_eval, whose insides change between releases.

Nothing of lm_eval's own caches is used: they do not tell one model, or one set of prompts, from another.
"""

from __future__ import annotations

import inspect
import io
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from functools import partial
from typing import Any

import lm_eval.models  # fills the registry, in which no name is known before
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import get_model, model_registry, register_model
from lm_eval.api.task import ConfigurableTask
from lm_eval.utils import handle_arg_string

from prlm_bench.errors import PrlmBenchError, RunError, UnknownNameError

from .frozen import find_judged
from .judged import Judged, total
from .methods import Methods
from .packages import missing_packages

#: What lm_eval's own command line gives to every backend that is not told otherwise; a GPU where there is one.
_DEFAULTS = {"batch_size": 1, "device": "cuda:0"}
#: Number of the tasks' definition, for lm_eval's tables.
_VERSION = 1


@contextmanager
def quiet() -> Iterator[None]:
    """Keep notices and progress bars off the terminal, and standard output free for results."""
    from prlm_bench.prompting import quiet_transformers

    log = logging.getLogger("lm_eval")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with redirect_stdout(sys.stderr), quiet_transformers():
            yield
    finally:
        log.setLevel(level)


def find_backend(name: str) -> type[Any]:
    """A backend's class.

    Raises:
        UnknownNameError: lm_eval has none of that name.
        PrlmBenchError: it cannot be imported, for want of its own packages say.
    """
    if name not in model_registry or name == PipelineModel.NAME:
        raise UnknownNameError("backend of lm_eval", name, set(lm_eval.models.MODEL_MAPPING))
    try:
        with quiet():
            found: type[Any] = get_model(name)
    except Exception as error:  # packages for accelerators fail in ways of their own
        raise _unusable(name, error) from None
    return found


def check_options(name: str, options: Mapping[str, str]) -> None:
    """Whether a backend could be made with these options, as far as its signature and what is installed say.

    Raises:
        PrlmBenchError: one that it needs is missing, or one is not its own; or a package is missing.
    """
    kind = find_backend(name)
    parameters = inspect.signature(kind).parameters.values()
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    for parameter in named:
        if parameter.default is parameter.empty and parameter.name not in {**_DEFAULTS, **options}:
            hint = f"write lm-eval:backend={name},{parameter.name}=..."
            raise PrlmBenchError(f"the backend {name!r} of lm_eval needs the option {parameter.name!r}", hint)
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        known = {parameter.name for parameter in named}
        for option in sorted(options.keys() - known):
            raise UnknownNameError(f"option of the backend {name!r}", option, known)
    if lacking := missing_packages(name, kind, options):
        packages = f"package{'s' * (len(lacking) > 1)} {' and '.join(lacking)}"
        hint = f"pip install {' '.join(lacking)}"
        raise PrlmBenchError(f"the backend {name!r} of lm_eval needs the {packages}", hint)


def _unusable(name: str, error: Exception) -> PrlmBenchError:
    reason = " ".join(str(error).split())[:300]
    if isinstance(error, ImportError):
        package = (error.name or "").partition(".")[0]
        lacks = f"needs the package {package}" if package else f"lacks a package: {reason}"
        hint = f"pip install {package}" if package else "see the backend's page in the manual of lm_eval"
        return PrlmBenchError(f"the backend {name!r} of lm_eval {lacks}", hint)
    return PrlmBenchError(f"the backend {name!r} of lm_eval cannot be loaded: {type(error).__name__}: {reason}")


class Backend:
    """A model of lm_eval, loaded.

    Args:
        name: of the backend.
        options: its own, as text.

    Raises:
        PrlmBenchError: it cannot be loaded.
    """

    def __init__(self, name: str, options: Mapping[str, str]) -> None:
        kind = find_backend(name)
        given = {key: _read(value) for key, value in options.items()}
        try:
            with quiet():
                self._lm = kind.create_from_arg_obj({**_DEFAULTS, **given})
        except Exception as error:  # each backend has its own
            raise _unusable(name, error) from None
        self._name = name
        takes_switch = "disable_tqdm" in inspect.signature(self._lm.generate_until).parameters
        self._silent = {"disable_tqdm": True} if takes_switch else {}

    @property
    def is_chat_only(self) -> bool:
        """Whether it asks a server for the next turn of a chat and takes nothing else."""
        return "chat" in type(self._lm).__name__.lower()

    def render(self, text: str, chat: bool) -> Any:
        """What the backend is given: the text, or what its chat template makes of it.

        Raises:
            PrlmBenchError: the template refuses a user's turn.
        """
        if not chat or not self._has_template():
            return text
        try:
            with quiet():
                return self._lm.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True)
        except Exception as error:  # a template may raise anything
            reason = " ".join(str(error).split())
            raise PrlmBenchError(f"the chat template of {self._name!r} refuses a user's turn: {reason}") from None

    def _has_template(self) -> bool:
        if type(self._lm).apply_chat_template is LM.apply_chat_template:
            return False
        return bool(getattr(getattr(self._lm, "tokenizer", None), "chat_template", True))

    def length(self, rendered: Any) -> int | None:
        """Tokens of a prompt, where the backend counts them."""
        if not isinstance(rendered, str) or not hasattr(self._lm, "tok_encode"):
            return None
        ids = self._lm.tok_encode(rendered)
        return len(ids) if isinstance(ids, list) and all(isinstance(number, int) for number in ids) else None

    def room(self, most: int) -> int | None:
        """Tokens that a prompt may have beside `most` new ones, where the backend says; an encoder has its own."""
        window = getattr(self._lm, "max_length", None)
        if not isinstance(window, int):
            return None
        return window if getattr(self._lm, "backend", "causal") == "seq2seq" else max(0, window - most)

    def write(self, prompts: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
        """The answers to prompts as `render` made them, in their order."""
        requests = [
            Instance("generate_until", doc={}, arguments=(prompt, dict(kwargs)), idx=index)
            for index, prompt in enumerate(prompts)
        ]
        with quiet():
            return [str(answer) for answer in self._lm.generate_until(requests, **self._silent)]


def _read(value: str) -> Any:
    """An option's value as lm_eval's command line reads it: number, switch, none, text; JSON for what has parts."""
    if value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            pass
    return handle_arg_string(value)


class FrozenTask(ConfigurableTask):  # type: ignore[misc]
    """A task of lm_eval whose prompts were made beforehand, and whose metrics are ours.

    Args:
        config: of the YAML file; its `metadata` may say where the prompts are.
        judged: prompts and metrics, where they need not be looked for.

    Raises:
        PrlmBenchError: there are no prompts, or they cannot be used.
    """

    def __init__(self, config: Mapping[str, Any], judged: Judged | None = None) -> None:
        content = {key: value for key, value in config.items() if key != "class"}
        metadata = dict(content.get("metadata") or {})
        self._judged = judged or find_judged(content["task"], metadata)
        self._silent = judged is not None
        self._plain = str(metadata.get("plain", "")).lower() in ("true", "1", "yes")
        own = {
            "test_split": "test",
            "output_type": "generate_until",
            "doc_to_text": "prompt",
            "doc_to_target": "gold",
            "num_fewshot": 0,
            "metric_list": [],
            "generation_kwargs": {"until": [], "max_gen_toks": self._judged.max_new_tokens, "do_sample": False},
            "metadata": {**metadata, "version": _VERSION, **self._judged.about},
        }
        super().__init__(config={**content, **own})

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **options: Any) -> None:
        """The prompts as the only split."""
        import datasets

        self.dataset = {"test": datasets.Dataset.from_list(self._judged.docs)}

    def build_all_requests(self, **options: Any) -> None:
        """Without lm_eval's cache of requests, which would take other prompts of this task for these."""
        with redirect_stderr(io.StringIO()) if self._silent else nullcontext():  # a progress bar for no work at all
            super().build_all_requests(**{**options, "cache_requests": False, "rewrite_requests_cache": False})

    def doc_to_text(self, doc: Mapping[str, Any], doc_to_text: Any = None) -> str:
        """The prompt."""
        return str(doc["prompt"])

    def doc_to_target(self, doc: Mapping[str, Any], doc_to_target: Any = None) -> str:
        """The gold."""
        return str(doc["gold"])

    def fewshot_context(
        self,
        doc: Mapping[str, Any],
        num_fewshot: int = 0,
        system_instruction: str | None = None,
        apply_chat_template: bool = False,
        fewshot_as_multiturn: bool = False,
        chat_template: Callable[..., Any] | None = None,
        gen_prefix: str | None = None,
    ) -> Any:
        """The prompt alone, in the chat template where one is asked for.

        Raises:
            RunError: the prompt is a turn of a chat, and no template is asked for.
        """
        if apply_chat_template and chat_template is not None:
            system = [{"role": "system", "content": system_instruction}] if system_instruction else []
            return chat_template([*system, {"role": "user", "content": doc["prompt"]}])
        if doc["protocol"] == "chat" and not self._plain:
            hint = "add --apply_chat_template; for a model without a template, --metadata plain=true"
            raise RunError(f"the prompts of {self.config.task} are turns of a chat", hint)
        return f"{system_instruction}\n\n{doc['prompt']}" if system_instruction else doc["prompt"]

    def process_results(self, doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, list[Any]]:
        """The user and the sufficient statistics of each metric."""
        return self._judged.statistics(doc["id"], results[0])

    def aggregation(self) -> dict[str, Callable[[Sequence[Sequence[Any]]], float]]:
        """The value of each metric, of the sum of its statistics."""
        return {metric.name: partial(total, metric) for metric in self._judged.metrics}

    def higher_is_better(self) -> dict[str, bool]:
        """As the metrics say."""
        return {metric.name: metric.higher_is_better for metric in self._judged.metrics}


@register_model("prlm-bench")
class PipelineModel(LM):  # type: ignore[misc]
    """Retriever, reasoner and generator together, as a model of lm_eval that answers questions of our tasks.

    Args:
        methods: the pipeline for each task.
    """

    NAME = "prlm-bench"

    def __init__(self, methods: Methods) -> None:
        super().__init__()
        self._methods = methods

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """The answer to the question that each request is about, as the reasoner read it; its text is not used.

        Raises:
            RunError: a request of another task, or of prompts that are already made.
        """
        asked: dict[str, list[str]] = {}
        for request in requests:
            if request.doc.get("protocol") != "question":
                hint = "run it with `prlm-bench lm-eval run`"
                raise RunError("the model prlm-bench makes its own prompts, for tasks of prlm-bench alone", hint)
            asked.setdefault(request.doc["task"], []).append(request.doc["id"])
        answers = {task: self._methods.answers(task, ids) for task, ids in asked.items()}
        return [answers[request.doc["task"]][request.doc["id"]] for request in requests]

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[Any]:
        """Refused: a pipeline writes answers.

        Raises:
            RunError: always.
        """
        raise RunError("the model prlm-bench writes answers and gives no likelihoods", "take a task that generates")

    loglikelihood_rolling = loglikelihood


def evaluate(methods: Methods, judged: Sequence[Judged]) -> dict[str, Any]:
    """Run questions through a pipeline inside lm_eval.

    Returns:
        What lm_eval reports: `results`, `configs`, `versions`, `n-samples` and so on.
    """
    from lm_eval.evaluator import evaluate as run

    with quiet():
        tasks = {each.name: FrozenTask({"task": each.name}, each) for each in judged}
        model = get_model(PipelineModel.NAME)(methods)
        found = run(
            lm=model,
            task_dict={"tasks": tasks, "groups": {}, "group_map": {}},
            bootstrap_iters=0,
            log_samples=False,
        )
    report = {key: value for key, value in dict(found).items() if key != "samples"}
    return {**report, "config": {"model": PipelineModel.NAME, "model_args": methods.flags}}
