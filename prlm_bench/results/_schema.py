"""What a result folder holds; `prlm-bench results schema` prints it as JSON schema.

A folder is one row: `manifest.json` (what was run), `samples.jsonl` (a line for each question, in the order of the
data) and `summary.json` (the figures; written last, so a folder that has it is complete). Nothing in these depends on
when or how fast they were made: the same inputs give the same bytes. `timing.json` says how long it took, where a model
generated completions.

The comment `#:` above each field is its description in the documentation.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from ..identity import json_digest

#: Raised when a stored file changes its meaning. Folders of earlier versions stay readable (see `_manifest.upgraded`).
SCHEMA_VERSION: Literal[2] = 2
#: Characters of an item's text that are kept with a sample; the prompt holds what the generator saw.
ITEM_TEXT = 200


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ComponentIdentity(_Stored):
    """Everything that distinguishes the results of one component from those of another."""

    #: Name and options in canonical form; of a metric its name.
    spec: str
    #: `distribution/name`; empty for the metrics of schema version 1.
    plugin: str
    #: Version of that distribution; empty for a local file.
    version: str
    #: Digest of the code behind the component, 16 hex digits. Comments, docstrings and layout do not change it.
    source: str
    #: What else decides its output, as the component states it: hashes of model files, versions of libraries.
    fingerprint: str


class MethodIdentity(_Stored):
    """A retriever, a reasoner and a generator, and the number of items shown."""

    #: What ranks the items.
    retriever: ComponentIdentity
    #: Items shown at most; 0 where nothing is retrieved.
    k: int
    #: What shapes prompts and reads answers.
    reasoner: ComponentIdentity
    #: What answers prompts.
    generator: ComponentIdentity


class DataIdentity(_Stored):
    """Which questions were asked, and of how many."""

    #: SHA-256 by file name of questions, outputs and, where there are some, recorded relevant items.
    sha256: dict[str, str]
    #: Questions in the file.
    n_total: int
    #: Malformed questions among them that were left out.
    n_invalid: int
    #: Questions asked: the first n of the rest.
    n: int
    #: Users who ask the n questions.
    n_users: int
    #: Texts that retrieval read: `lamp` or `prlm`.
    view: str
    #: Whether these texts ended in the item's date.
    dates: bool
    #: The benchmark whose data these are, where it is not the manifest's and `--any-task` insisted; else null.
    other_task: str | None = None


class Manifest(_Stored):
    """`manifest.json`: what was run."""

    #: Version of the schema: 1 knows metrics by name only and the core by its release, 2 knows both by their code.
    schema_version: Literal[1, 2] = SCHEMA_VERSION
    #: SHA-256 over all fields but `schema_version`, `command` and `name`, and over the task's definition. The folder's
    #: name ends with its first 8 digits.
    fingerprint: str
    #: Name of the task, as on the command line.
    task: str
    #: Name that the task's files carry, such as `LaMP_4`; published figures are found by it.
    benchmark: str
    #: `train`, `dev` or `test`.
    split: str
    #: The questions.
    data: DataIdentity
    #: The method.
    method: MethodIdentity
    #: The rewards that were scored.
    rewards: list[ComponentIdentity]
    #: The metrics, in the order of the task; the first one of each protocol ranks its table.
    metrics: list[ComponentIdentity]
    #: Seed of everything random.
    seed: int
    #: Whether the row is a control: its retriever or its generator is one.
    control: bool
    #: Digest of the core's own code that decides results, 16 hex digits; empty in version 1.
    core: str
    #: Versions of prlm-bench, of Python (major and minor) and of the packages that figures depend on.
    versions: dict[str, str]
    #: The command that makes this one row.
    command: str
    #: What the row is called in tables, where the run gave it a name; else it is not written.
    name: str = ""

    @model_serializer(mode="wrap")
    def _without_no_name(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = write(self)
        if not content.get("name"):
            content.pop("name", None)
        return content

    @property
    def metric_names(self) -> list[str]:
        """The metrics by name, in the order of the task."""
        return [metric.spec for metric in self.metrics]


class ItemRecord(_Stored):
    """A retrieved item."""

    #: The item's id; ids need not be unique outside one profile.
    id: str
    #: Score by which the retriever ordered it; null where it is not a finite number.
    score: float | None
    #: The beginning of what retrieval read, at most 200 characters.
    text: str


class TurnRecord(_Stored):
    """A turn of a chat."""

    #: `system`, `user` or `assistant`.
    role: str
    #: What is said.
    text: str


class DraftRecord(_Stored):
    """What a reasoner had the generator write before the prompt, such as a draft or a description of the user."""

    #: What it asked, in full.
    prompt: str
    #: The same turn by turn, for a chat of several turns.
    turns: list[TurnRecord] = []
    #: What the generator wrote.
    completion: str
    #: As of a sample.
    finish: str | None
    #: Tokens it wrote, where known.
    completion_tokens: int | None
    #: Tokens of the prompt as the generator counted them, where known.
    generator_prompt_tokens: int | None
    #: Cost, where known.
    cost: float | None


class SampleRecord(_Stored):
    """A line of `samples.jsonl`: one question, taken through the method."""

    #: The question's id.
    id: str
    #: The user's id; in the user split, where questions name no user, the question's id.
    user: str
    #: What retrieval searched for: the part of the question that the task names.
    query: str
    #: The items given to the reasoner, best first.
    items: list[ItemRecord]
    #: The prompt in full; for a chat, the user's turn; for a chat of several turns, all of them.
    prompt: str
    #: The same turn by turn, for a chat of several turns.
    turns: list[TurnRecord] = []
    #: What the reasoner had the generator write before the prompt, in the order of asking.
    drafts: list[DraftRecord] = []
    #: Length of the prompt in tokens of the tokenizer that set its budget.
    prompt_tokens: int
    #: Items in the prompt, complete or cut.
    shown: int
    #: Items among these whose text was shortened.
    cut: int
    #: Items that did not fit.
    dropped: int
    #: What the generator wrote.
    completion: str
    #: Why the generator stopped: `stop`, `length`, `refused` (by a server's content filter), or null where it does not
    #: say.
    finish: str | None
    #: Tokens it wrote, where known.
    completion_tokens: int | None
    #: Tokens of the prompt as the generator counted them, where known.
    generator_prompt_tokens: int | None = None
    #: Cost of the completion by the prices given to the generator at the time, else null.
    cost: float | None = None
    #: The text before the answer, where there was some.
    reasoning: str | None
    #: The answer that is scored; empty where none was found.
    answer: str
    #: Name of the parsing step that found the answer; null marks a parse failure.
    parsed: str | None
    #: Ids of the shown items that the reasoning names, where the reasoner asks for that.
    cited: list[str] = []
    #: The reference answer; null where it is withheld.
    gold: str | None
    #: Retrieval measures by name, where relevant items are known.
    retrieval: dict[str, float | None]
    #: Rewards by spec.
    rewards: dict[str, float | None]
    #: Metrics that have a value for a single question, by name; corpus measures such as BLEU have none.
    metrics: dict[str, float | None]


class Estimate(_Stored):
    """A figure with its 95 % interval over users (see the summary's `interval`)."""

    #: The figure; null where it is not defined.
    value: float | None
    #: Lower end of the interval; null where none holds.
    low: float | None
    #: Upper end of the interval; null where none holds.
    high: float | None
    #: Why there is no interval, such as `5 users`; empty where there is one.
    why: str = ""


class MetricSummary(Estimate):
    """A metric over all n questions: an `Estimate` with two more fields."""

    #: False for errors such as MAE.
    higher_is_better: bool
    #: The mean over users of each user's own mean; null for metrics that are not means.
    user_macro: Estimate | None


class RewardSummary(Estimate):
    """The mean of a reward: an `Estimate` with one more field."""

    #: Questions that the mean is of: those for which the reward gave a finite number. Null in earlier files.
    n: int | None = None


class Summary(_Stored):
    """`summary.json`: the figures over all n questions."""

    #: As in the manifest.
    schema_version: Literal[1, 2] = SCHEMA_VERSION
    #: That of the manifest.
    fingerprint: str
    #: Questions answered.
    n: int
    #: Questions in the file.
    n_total: int
    #: Users who asked the n questions.
    n_users: int
    #: The kind of all intervals; `percentile` (of resampled users) in summaries of earlier versions.
    interval: Literal["auto", "percentile"] = "percentile"
    #: Each metric by name; empty where references are withheld.
    metrics: dict[str, MetricSummary]
    #: Why a metric has no value in this row, by name: it raised an error, or gave something else than figures.
    metric_failures: dict[str, str] = {}
    #: The mean of each reward.
    rewards: dict[str, RewardSummary]
    #: Why a reward has no value in this row, by spec: it raised an error, or gave too few numbers.
    reward_failures: dict[str, str] = {}
    #: The mean of each retrieval measure over the questions with relevant items.
    retrieval: dict[str, Estimate]
    #: Share of the questions whose answer could not be parsed.
    parse_failures: Estimate
    #: Share of the prompts with an item cut or dropped.
    truncated_prompts: Estimate
    #: Share of the completions that stopped at the length limit; null where no generator said.
    truncated_completions: float | None
    #: Share of the prompts that a server refused to answer and that count as empty answers; null where no generator
    #: said why it stopped.
    refused: float | None = None
    #: Tokens of all prompts as the generator counted them, as far as they are known; null where none are. Those of
    #: drafts count too, each once, also where several samples share one.
    prompt_tokens: int | None = None
    #: Tokens of all completions, drafts included, as far as they are known; null where none are.
    completion_tokens: int | None = None
    #: Mean number of items in a prompt.
    items_shown: float
    #: SHA-256 of `samples.jsonl`.
    samples_sha256: str
    #: SHA-256 over the other fields and the manifest without its command, by which damage is noticed. Empty in
    #: earlier files.
    digest: str = ""

    def digest_with(self, manifest: Manifest) -> str:
        """The value that `digest` has where both files are as they were written."""
        # Without defaults, so that optional fields of later releases do not change it.
        content = self.model_dump(exclude={"digest"}, exclude_defaults=True)
        return json_digest([content, manifest.model_dump(exclude={"command"}, exclude_defaults=True)])


class Timing(_Stored):
    """`timing.json`: how long the completions took that were generated for this row, in all its runs together."""

    #: Completions that were generated; the others came from the cache.
    answers: int = Field(ge=1)
    #: Seconds of wall time that the generator took for them. Rows that were generated in one stream share its time by
    #: their tokens.
    seconds: float = Field(ge=0, allow_inf_nan=False)
    #: Tokens of these completions and their prompts, as far as the generator counted them.
    tokens: int = Field(default=0, ge=0)
