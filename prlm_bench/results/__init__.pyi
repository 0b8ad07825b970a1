from ._added import rescore as rescore, without_stale as without_stale
from ._contributions import Received as Received, pack_rows as pack_rows, receive_rows as receive_rows
from ._finish import begin as begin, finish as finish, share_time as share_time, tidy as tidy
from ._journal import Journal as Journal, finished_ids as finished_ids
from ._manifest import (
    folder_name as folder_name,
    make_manifest as make_manifest,
)
from ._samples import (
    SAMPLES as SAMPLES,
    read_samples as read_samples,
    sample_line as sample_line,
    samples_digest as samples_digest,
)
from ._schema import (
    SCHEMA_VERSION as SCHEMA_VERSION,
    AddedMetric as AddedMetric,
    AddedScores as AddedScores,
    ComponentIdentity as ComponentIdentity,
    Contribution as Contribution,
    DataIdentity as DataIdentity,
    DraftRecord as DraftRecord,
    Estimate as Estimate,
    ItemRecord as ItemRecord,
    Manifest as Manifest,
    MethodIdentity as MethodIdentity,
    MetricSummary as MetricSummary,
    RewardSummary as RewardSummary,
    SampleRecord as SampleRecord,
    Summary as Summary,
    Timing as Timing,
    TurnRecord as TurnRecord,
)
from ._seed_groups import (
    SeedGroup as SeedGroup,
    have_same_samples as have_same_samples,
    seed_groups as seed_groups,
    seeds_of as seeds_of,
)
from ._select import (
    by_questions as by_questions,
    data_key as data_key,
    describe as describe,
    describe_group as describe_group,
    questions_key as questions_key,
    select as select,
    select_group as select_group,
)
from ._store import (
    CONTRIBUTION as CONTRIBUTION,
    JOURNAL as JOURNAL,
    MANIFEST as MANIFEST,
    SCORES as SCORES,
    SUMMARY as SUMMARY,
    TIMING as TIMING,
    Stored as Stored,
    Unfinished as Unfinished,
    find_results as find_results,
    is_finished as is_finished,
    load_folders as load_folders,
    read_manifest as read_manifest,
    row_folders as row_folders,
)
from ._summarize import (
    NO_LIMITS as NO_LIMITS,
    ClusterEstimates as ClusterEstimates,
    Scored as Scored,
    Scores as Scores,
    as_mean as as_mean,
    limits_of as limits_of,
    mean_value as mean_value,
    score_answers as score_answers,
    too_rare as too_rare,
)
from ._verify import verify as verify
