"""What a result folder holds; `prlm-bench results schema` prints it as JSON schema.

A folder is one cell: `manifest.json` (what was run), `samples.jsonl` (a line for each question, in the
order of the data) and `summary.json` (the figures; written last, so a folder with it is whole). Nothing
in it depends on when or how fast it was made: the same inputs give the same bytes.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

#: Raised when a stored file changes its meaning. Folders of earlier versions stay readable (see `_manifest.read`).
SCHEMA_VERSION: Literal[2] = 2
#: Characters of an item's text that are kept with a sample; the prompt holds what the generator saw.
ITEM_TEXT = 200


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ComponentIdentity(_Stored):
    """One part of a method, with all that tells its results from another's."""

    #: Name and options in canonical form.
    spec: str
    #: `distribution/name`.
    plugin: str
    #: Version of that distribution; empty for a local file.
    version: str
    #: Digest of the code behind the component (`identity.code_digest`).
    source: str
    #: What else decides its output: hashes of model files, versions of libraries.
    fingerprint: str


class MethodIdentity(_Stored):
    """A retriever, a reasoner and a generator, and how many items are shown."""

    retriever: ComponentIdentity
    #: Items shown at most; 0 where nothing is retrieved.
    k: int
    reasoner: ComponentIdentity
    generator: ComponentIdentity


class DataIdentity(_Stored):
    """Which questions were asked, of how many."""

    #: SHA-256 by file name: questions, outputs and, where there is one, relevance.
    sha256: dict[str, str]
    #: Questions in the file.
    n_total: int
    #: Of these, left out as malformed.
    n_invalid: int
    #: Questions asked: the first n of the rest.
    n: int
    #: Users behind the n questions.
    n_users: int
    #: Which texts retrieval read, and whether dates were among them.
    view: str
    dates: bool


class Manifest(_Stored):
    """What was run."""

    #: 1: metrics are known by name only and the core by its release; 2: both by their code.
    schema_version: Literal[1, 2] = SCHEMA_VERSION
    #: SHA-256 over everything below but the command; the folder's name ends with its first 8 digits.
    fingerprint: str
    task: str
    benchmark: str
    split: str
    data: DataIdentity
    method: MethodIdentity
    rewards: list[ComponentIdentity]
    #: The first metric of each protocol ranks.
    metrics: list[ComponentIdentity]
    seed: int
    #: A control row: its retriever or generator is one.
    control: bool
    #: Digest of the core's own code that decides results (`identity.core_digest`); empty in version 1.
    core: str
    #: Versions of prlm-bench, Python and the packages that figures depend on.
    versions: dict[str, str]
    #: The command that makes this one row.
    command: str

    @property
    def metric_names(self) -> list[str]:
        """The metrics by name, in the order of the task."""
        return [metric.spec for metric in self.metrics]


class ItemRecord(_Stored):
    """A retrieved item."""

    id: str
    #: As the retriever gave it; null where that is not a finite number.
    score: float | None
    #: The beginning of what retrieval read, at most `ITEM_TEXT` characters.
    text: str


class SampleRecord(_Stored):
    """One question taken through the method."""

    id: str
    user: str
    #: What retrieval searched for.
    query: str
    #: The items given to the reasoner, best first.
    items: list[ItemRecord]
    prompt: str
    #: Length of the prompt in tokens of the tokenizer that set its budget.
    prompt_tokens: int
    #: Items in the prompt, items of these that were cut, and items that found no room.
    shown: int
    cut: int
    dropped: int
    completion: str
    #: Why the generator stopped ("stop", "length") and how many tokens it wrote, where known.
    finish: str | None
    completion_tokens: int | None
    #: Prompt tokens as the generator counted them, and the cost by the prices it was given, where known.
    generator_prompt_tokens: int | None = None
    cost: float | None = None
    reasoning: str | None
    #: The answer that is scored.
    answer: str
    #: The parsing step that found the answer; null marks a parse failure.
    parsed: str | None
    #: Ids of the shown items that the reasoning names, where the reasoner asks for that.
    cited: list[str] = []
    gold: str | None
    #: Retrieval measures, where relevant items are known.
    retrieval: dict[str, float | None]
    rewards: dict[str, float | None]
    #: Metrics that have a value for a single sample; null where that is not a finite number.
    metrics: dict[str, float | None]


class Estimate(_Stored):
    """A figure with its uncertainty."""

    value: float | None
    #: 95 % percentile bootstrap interval, users resampled; null with fewer than two users.
    low: float | None
    high: float | None


class MetricSummary(Estimate):
    """A metric over all n questions."""

    higher_is_better: bool
    #: The mean over users of each user's mean; null for a metric that is not a mean.
    user_macro: Estimate | None


class Summary(_Stored):
    """The figures of a cell."""

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    fingerprint: str
    #: Questions answered, questions in the file, and users.
    n: int
    n_total: int
    n_users: int
    metrics: dict[str, MetricSummary]
    rewards: dict[str, Estimate]
    retrieval: dict[str, Estimate]
    #: Shares of the n questions: unparsable answers; prompts with an item cut or dropped; completions that
    #: stopped at the length limit (null where no generator said).
    parse_failures: Estimate
    truncated_prompts: Estimate
    truncated_completions: float | None
    #: Mean number of items in a prompt.
    items_shown: float
    #: SHA-256 of `samples.jsonl`.
    samples_sha256: str
