"""All uses of lm_eval, whose internals change between releases.

The module's name is public: task files of lm_eval refer to `FrozenTask` by it. lm_eval's own caches are not used:
they do not tell one model, or one set of prompts, from another.
"""

from __future__ import annotations

import inspect
import io
import json
import logging
import os
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
from prlm_bench.files import masked
from prlm_bench.prompting import asks_for_code, split_reasoning

from .._hf import Chat, Turns, decode_answer, fix_rendering, plain_text, require_template, turns_named
from ._backends import missing_packages
from ._frozen_prompts import find_frozen_prompts
from ._score_docs import PlannedMethod, ScoredDocs, aggregate

#: The defaults of lm_eval's own command line; backends fall back to the CPU where there is no GPU.
_DEFAULTS = {"batch_size": 1, "device": "cuda:0"}
_CODE = "trust_remote_code"
#: Version of the tasks, for lm_eval's tables.
_VERSION = 1


@contextmanager
def quiet() -> Iterator[None]:
    """Silence notices and progress bars, and keep standard output free for results."""
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
        PrlmBenchError: it cannot be imported, for example because a package is missing.
    """
    if name not in model_registry or name == PipelineModel.NAME:
        raise UnknownNameError("backend of lm_eval", name, set(lm_eval.models.MODEL_MAPPING))
    try:
        with quiet():
            found: type[Any] = get_model(name)
    except Exception as error:  # accelerator packages raise errors of any class
        raise _unusable(name, error) from None
    return found


def check_options(name: str, options: Mapping[str, str]) -> None:
    """Check a backend's options against its signature and the installed packages, without constructing it.

    Raises:
        PrlmBenchError: a required option or a package is missing, or an option is unknown.
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
    reason = masked(" ".join(str(error).split()), _secrets())[:300]
    if asks_for_code(error):
        message = f"the backend {name!r} of lm_eval needs Python code that comes with it, which is not run"
        return PrlmBenchError(message, "choose a model that it knows; trust_remote_code=true runs code that you trust")
    if isinstance(error, ImportError):
        package = (error.name or "").partition(".")[0]
        lacks = f"needs the package {package}" if package else f"lacks a package: {reason}"
        hint = f"pip install {package}" if package else "see the backend's page in the manual of lm_eval"
        return PrlmBenchError(f"the backend {name!r} of lm_eval {lacks}", hint)
    return PrlmBenchError(f"the backend {name!r} of lm_eval cannot be loaded: {type(error).__name__}: {reason}")


def _secrets() -> list[str]:
    """The keys in the environment, which a server may repeat in an answer or an error."""
    return [value for name, value in os.environ.items() if name.endswith(("_API_KEY", "_TOKEN"))]


def _without_code(kind: type[Any]) -> dict[str, bool]:
    """The option by which a backend runs no code of a checkpoint, where it has one; not all say so by default."""
    return {_CODE: False} if _CODE in inspect.signature(kind).parameters else {}


class _Framed(str):
    """A text that a chat template has written, with the special tokens that belong to it."""


class Backend:
    """A model of lm_eval, loaded.

    Args:
        name: the backend's name.
        options: its options, as text.
        date: what chat templates print as today's date, as YYYY-MM-DD.

    Raises:
        PrlmBenchError: it cannot be loaded.
    """

    def __init__(self, name: str, options: Mapping[str, str], date: str) -> None:
        kind = find_backend(name)
        given = {key: _read(value) for key, value in options.items()}
        try:
            with quiet():
                self._lm = kind.create_from_arg_obj({**_DEFAULTS, **_without_code(kind), **given})
        except Exception as error:  # each backend raises errors of its own
            raise _unusable(name, error) from None
        self._name = name
        self._own_start = "add_bos_token" in options
        self._prepare(date)
        takes_switch = "disable_tqdm" in inspect.signature(self._lm.generate_until).parameters
        self._silent = {"disable_tqdm": True} if takes_switch else {}

    def _prepare(self, date: str) -> None:
        """Have templates print the date, and leave it to `find_reasoning` what is reasoning."""
        tokenizer = getattr(self._lm, "tokenizer", None)
        if hasattr(tokenizer, "apply_chat_template") and hasattr(tokenizer, "added_tokens_decoder"):
            fix_rendering(tokenizer, date)
            plain = getattr(self._lm, "tok_decode", None)
            if plain is not None and "skip_special_tokens" in inspect.signature(plain).parameters:

                def decode(tokens: Any, skip_special_tokens: bool = True) -> Any:
                    if not skip_special_tokens:
                        return plain(tokens, skip_special_tokens=False)
                    return decode_answer(tokenizer, tokens if isinstance(tokens, list) else [tokens])

                self._lm.tok_decode = decode
        # lm_eval drops what stands before this mark, and takes reasoning that is cut off for the answer.
        mark = getattr(self._lm, "think_end_token", None)
        if isinstance(mark, str) and split_reasoning(mark)[0] is not None:
            self._lm.think_end_token = None

    @property
    def strips_reasoning(self) -> bool:
        """Whether it drops reasoning itself, by a mark that is unknown here."""
        return getattr(self._lm, "think_end_token", None) is not None

    @property
    def is_chat_only(self) -> bool:
        """Whether it is a chat server that accepts nothing but turns of a chat."""
        return "chat" in type(self._lm).__name__.lower()

    def render(self, prompt: Turns, chat: Chat) -> Any:
        """The backend's input: the text, or the turn in its chat template.

        Args:
            prompt: see `turns` of `_hf`.
            chat: the option that made it.

        Raises:
            PrlmBenchError: the template refuses a user's turn, or the backend cannot be asked in this way.
        """
        if chat == "never" and self.is_chat_only:
            raise PrlmBenchError(f"the backend {self._name!r} accepts turns alone", "leave chat=never out")
        if isinstance(prompt, str) and not self.is_chat_only:
            return prompt
        turn = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        found = self._in_template(turn) if self._has_template() else None
        # Where lm_eval has no template for a server of plain completions, it gives the turn itself, as JSON.
        if found is not None and (self.is_chat_only or type(found).__name__ != "JsonChatStr"):
            return _Framed(found) if isinstance(found, str) else found
        require_template(chat, None, f"the backend {self._name!r}")
        return plain_text(prompt)

    def _in_template(self, turn: list[dict[str, str]]) -> Any:
        try:
            with quiet():
                return self._lm.apply_chat_template(turn, add_generation_prompt=True)
        except Exception as error:  # a template may raise anything
            reason = " ".join(str(error).split())
            raise PrlmBenchError(f"the chat template of {self._name!r} refuses {turns_named(turn)}: {reason}") from None

    def _has_template(self) -> bool:
        if type(self._lm).apply_chat_template is LM.apply_chat_template:
            return False
        return bool(getattr(getattr(self._lm, "tokenizer", None), "chat_template", True))

    def length(self, rendered: Any) -> int | None:
        """Number of tokens of a prompt; None if the backend cannot count them."""
        ids = self._ids(rendered)
        return None if ids is None else len(ids)

    def shown(self, rendered: Any) -> str:
        """A prompt that `render` returned as text, with the special tokens that the backend adds where it says so."""
        ids, tokenizer = self._ids(rendered), getattr(self._lm, "tokenizer", None)
        if ids is not None and tokenizer is not None and hasattr(tokenizer, "decode"):
            return str(tokenizer.decode(ids))
        return str(getattr(rendered, "prompt", rendered))

    def _ids(self, rendered: Any) -> list[int] | None:
        if not isinstance(rendered, str) or not hasattr(self._lm, "tok_encode"):
            return None
        with self._special_tokens(rendered):
            ids = self._lm.tok_encode(rendered)
        return ids if isinstance(ids, list) and all(isinstance(number, int) for number in ids) else None

    def max_prompt_tokens(self, max_new_tokens: int) -> int | None:
        """Token limit of a prompt beside `max_new_tokens` new ones, which an encoder does not share; or None."""
        window = getattr(self._lm, "max_length", None)
        if not isinstance(window, int):
            return None
        return window if getattr(self._lm, "backend", "causal") == "seq2seq" else max(0, window - max_new_tokens)

    def write(self, prompts: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
        """The answers to prompts that `render` returned, in their order."""
        found: dict[int, str] = {}
        for framed in (True, False):
            places = [place for place, prompt in enumerate(prompts) if isinstance(prompt, _Framed) is framed]
            requests = [
                Instance("generate_until", doc={}, arguments=(prompts[place], dict(kwargs)), idx=index)
                for index, place in enumerate(places)
            ]
            if requests:
                with quiet(), self._special_tokens(prompts[places[0]]):
                    answers = self._lm.generate_until(requests, **self._silent)
                found |= zip(places, (masked(str(answer), _secrets()) for answer in answers), strict=True)
        return [found[place] for place in range(len(prompts))]

    @contextmanager
    def _special_tokens(self, rendered: Any) -> Iterator[None]:
        """Have the backend add no special tokens to what a chat template has written, unless an option decides it."""
        before = getattr(self._lm, "add_bos_token", None)
        if not isinstance(rendered, _Framed) or self._own_start or not hasattr(self._lm, "add_bos_token"):
            yield
            return
        self._lm.add_bos_token = False
        try:
            yield
        finally:
            self._lm.add_bos_token = before

    def loglikelihood(self, pairs: Sequence[tuple[Any, str]]) -> list[float]:
        """The log-probability of each continuation behind what `render` returned.

        Raises:
            PrlmBenchError: the backend gives no likelihoods, as chat servers do not.
        """
        requests = [
            Instance("loglikelihood", doc={}, arguments=(prompt, continuation), idx=index)
            for index, (prompt, continuation) in enumerate(pairs)
        ]
        takes_switch = "disable_tqdm" in inspect.signature(self._lm.loglikelihood).parameters
        silent = {"disable_tqdm": True} if takes_switch else {}
        try:
            with quiet():
                return [float(value) for value, _ in self._lm.loglikelihood(requests, **silent)]
        except NotImplementedError:
            hint = "take a backend that does, such as hf, vllm or local-completions"
            raise PrlmBenchError(f"the backend {self._name!r} of lm_eval gives no likelihoods", hint) from None


def _read(value: str) -> Any:
    """An option's value as lm_eval's command line reads it: number, switch, none or text; JSON for lists, mappings."""
    if value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            pass
    return handle_arg_string(value)


class FrozenTask(ConfigurableTask):  # type: ignore[misc]
    """A task of lm_eval with ready-made prompts and this project's metrics.

    Args:
        config: content of the YAML file; its `metadata` may name the folder of the prompts.
        docs: prompts and metrics; by default they are looked up by the task's name.

    Raises:
        PrlmBenchError: there are no prompts, or they cannot be used.
    """

    def __init__(self, config: Mapping[str, Any], docs: ScoredDocs | None = None) -> None:
        content = {key: value for key, value in config.items() if key != "class"}
        metadata = dict(content.get("metadata") or {})
        self._docs = docs or find_frozen_prompts(content["task"], metadata)
        self._silent = docs is not None
        self._plain = str(metadata.get("plain", "")).lower() in ("true", "1", "yes")
        own = {
            "test_split": "test",
            "output_type": "generate_until",
            "doc_to_text": "prompt",
            "doc_to_target": "gold",
            "num_fewshot": 0,
            "metric_list": [],
            "generation_kwargs": {"until": [], "max_gen_toks": self._docs.max_new_tokens, "do_sample": False},
            "metadata": {**metadata, "version": _VERSION, **self._docs.about},
        }
        super().__init__(config={**content, **own})

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **options: Any) -> None:
        """The prompts as the only split."""
        import datasets

        self.dataset = {"test": datasets.Dataset.from_list(self._docs.docs)}

    def build_all_requests(self, **options: Any) -> None:
        """Build requests without lm_eval's cache, which would serve other prompts of the same task."""
        with redirect_stderr(io.StringIO()) if self._silent else nullcontext():  # a progress bar for no work
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
        """The prompt alone, in the chat template if lm_eval applies one.

        Raises:
            RunError: the prompt is a turn of a chat, and no template is applied.
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
        return self._docs.statistics(doc["id"], results[0])

    def aggregation(self) -> dict[str, Callable[[Sequence[Sequence[Any]]], float]]:
        """The value of each metric, of the sum of its statistics."""
        return {metric.name: partial(aggregate, metric) for metric in self._docs.metrics}

    def higher_is_better(self) -> dict[str, bool]:
        """As the metrics say."""
        return {metric.name: metric.higher_is_better for metric in self._docs.metrics}


@register_model("prlm-bench")
class PipelineModel(LM):  # type: ignore[misc]
    """Retriever, reasoner and generator together, as a model of lm_eval that answers questions of our tasks.

    Args:
        method: planned for each of the tasks.
    """

    NAME = "prlm-bench"

    def __init__(self, method: PlannedMethod) -> None:
        super().__init__()
        self._method = method

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """The answer to each request's question, as the reasoner parsed it; the request's text is not used.

        Raises:
            RunError: a request of another task, or with a ready-made prompt.
        """
        ids: dict[str, list[str]] = {}
        for request in requests:
            if request.doc.get("protocol") != "question":
                hint = "run it with `prlm-bench lm-eval run`"
                raise RunError("the model prlm-bench makes its own prompts, for tasks of prlm-bench alone", hint)
            ids.setdefault(request.doc["task"], []).append(request.doc["id"])
        answers = {task: self._method.answers(task, wanted) for task, wanted in ids.items()}
        return [answers[request.doc["task"]][request.doc["id"]] for request in requests]

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[Any]:
        """Not supported: a method writes answers.

        Raises:
            RunError: always.
        """
        raise RunError("the model prlm-bench writes answers and gives no likelihoods", "take a task that generates")

    loglikelihood_rolling = loglikelihood


def evaluate(method: PlannedMethod, docs: Sequence[ScoredDocs]) -> dict[str, Any]:
    """Run questions through a method inside lm_eval.

    Returns:
        What lm_eval reports: `results`, `configs`, `versions`, `n-samples` and so on.
    """
    from lm_eval.evaluator import evaluate as run

    with quiet():
        tasks = {each.name: FrozenTask({"task": each.name}, each) for each in docs}
        model = get_model(PipelineModel.NAME)(method)
        found = run(
            lm=model,
            task_dict={"tasks": tasks, "groups": {}, "group_map": {}},
            bootstrap_iters=0,
            log_samples=False,
        )
    report = {key: value for key, value in dict(found).items() if key != "samples"}
    return {**report, "config": {"model": PipelineModel.NAME, "model_args": method.flags}}
