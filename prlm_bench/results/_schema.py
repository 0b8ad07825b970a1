"""The schema of a result folder; `prlm-bench results schema` prints it as JSON schema.

A folder has the results of one method on one split with one seed: `manifest.json` (what was run), `samples.jsonl`
(a line for each question, in the order of the data) and `summary.json` (the figures; written last, so it marks a
complete folder). Nothing in it depends on time or speed: the same inputs give the same bytes.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

#: Incremented when the meaning of a stored file changes. Earlier versions stay readable (`_manifest.upgraded`).
SCHEMA_VERSION: Literal[2] = 2
#: Characters of an item's text that are stored with a sample; the prompt has the text that the generator read.
ITEM_TEXT = 200


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ComponentIdentity(_Stored):
    """The identity of a component: everything that determines its results."""

    #: Name and options in canonical form.
    spec: str
    #: `distribution/name`.
    plugin: str
    #: Version of that distribution; empty for a local file.
    version: str
    #: Digest of the code behind the component (`identity.code_digest`).
    source: str
    #: What else determines its output, such as hashes of model files and versions of libraries.
    fingerprint: str


class MethodIdentity(_Stored):
    """A retriever, a reasoner and a generator, and how many items are shown."""

    retriever: ComponentIdentity
    #: Maximum number of items shown; 0 without retrieval.
    k: int
    reasoner: ComponentIdentity
    generator: ComponentIdentity


class DataIdentity(_Stored):
    """Which questions were used, and how many there are."""

    #: SHA-256 by file name: questions, outputs and, if present, relevance.
    sha256: dict[str, str]
    #: Questions in the file.
    n_total: int
    #: Of these, malformed and left out.
    n_invalid: int
    #: Questions used: the first n of the rest.
    n: int
    #: Users of the n questions.
    n_users: int
    #: Which texts retrieval read, and whether they included dates.
    view: str
    dates: bool


class Manifest(_Stored):
    """What was run."""

    #: 1: metrics are identified by name and the core by its release; 2: both by their code.
    schema_version: Literal[1, 2] = SCHEMA_VERSION
    #: SHA-256 of everything below except the command; the folder's name ends with its first 8 digits.
    fingerprint: str
    task: str
    benchmark: str
    split: str
    data: DataIdentity
    method: MethodIdentity
    rewards: list[ComponentIdentity]
    #: The first metric of each protocol ranks the table.
    metrics: list[ComponentIdentity]
    seed: int
    #: True for a control row: its retriever or generator is a control.
    control: bool
    #: Digest of the core's code that determines results (`identity.core_digest`); empty in version 1.
    core: str
    #: Versions of prlm-bench, Python and the packages that figures depend on.
    versions: dict[str, str]
    #: The command that reproduces this row.
    command: str

    @property
    def metric_names(self) -> list[str]:
        """The names of the metrics, in the order of the task."""
        return [metric.spec for metric in self.metrics]


class ItemRecord(_Stored):
    """A retrieved item."""

    id: str
    #: The retriever's score; null if it is not a finite number.
    score: float | None
    #: The beginning of the text that retrieval read, at most `ITEM_TEXT` characters.
    text: str


class SampleRecord(_Stored):
    """One question processed by the method."""

    id: str
    user: str
    #: The retrieval query.
    query: str
    #: The items given to the reasoner, best first.
    items: list[ItemRecord]
    prompt: str
    #: Length of the prompt in tokens of the tokenizer that set its budget.
    prompt_tokens: int
    #: Items in the prompt, those of them that were cut, and items left out for lack of space.
    shown: int
    cut: int
    dropped: int
    completion: str
    #: Why the generator stopped ("stop", "length") and the number of generated tokens, if known.
    finish: str | None
    completion_tokens: int | None
    #: Prompt tokens counted by the generator, and the cost at the given prices, if known.
    generator_prompt_tokens: int | None = None
    cost: float | None = None
    reasoning: str | None
    #: The answer that is scored.
    answer: str
    #: The parsing step that found the answer; null marks a parse failure.
    parsed: str | None
    #: Ids of the shown items that the reasoning cites, if the reasoner requests citations.
    cited: list[str] = []
    gold: str | None
    #: Retrieval measures, if there are relevance labels.
    retrieval: dict[str, float | None]
    rewards: dict[str, float | None]
    #: Metrics with a value for single samples; null if it is not a finite number.
    metrics: dict[str, float | None]


class Estimate(_Stored):
    """A figure with its interval."""

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
    """The figures of a result folder."""

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
    #: stopped at the length limit (null if unknown).
    parse_failures: Estimate
    truncated_prompts: Estimate
    truncated_completions: float | None
    #: Mean number of items in a prompt.
    items_shown: float
    #: SHA-256 of `samples.jsonl`.
    samples_sha256: str
