"""The text of tables in any format: headings, columns, cells and legends."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .._util.text import printable
from ..results import Estimate
from ._groups import group_name
from ._leaderboard import Row, Table
from ._pooling import MethodFigures

#: Trainings of a method below which nothing is said of further ones.
FEW_TRAININGS = 5


def heading(table: Table) -> str:
    """The heading of a table, one line."""
    other = "" if table.other_task is None else f" of another benchmark ({table.other_task})"
    return printable(
        f"{table.task} {table.split}, {table.protocol} protocol: {table.title}; "
        f"{table.n} of {table.n_total} questions, {table.n_users} users, data {table.data}{other}"
    )


def columns(table: Table, *, speed: bool = True) -> list[str]:
    """The column titles of a table.

    Args:
        speed: with tokens and seconds, where some row knows them.
    """
    seeds = ["seed"] if len({row.seeds for row in table.rows}) > 1 or has_spread(table) else []
    spread = ["seed sd", "user sd"] if has_spread(table) else []
    retrieval, rewards = names_in(table, "retrieval"), reward_names(table)
    shares = ["parse failures", "cut prompts", *(["cut answers"] if has_finishes(table) else [])]
    shares += ["refused"] if has_refused(table) else []
    groups = ["group"] if table.groups.numbers else []
    parts = ["#", *groups, "retriever", "k", "reasoner", "generator", *seeds]
    fast = ["tokens in", "tokens out", "seconds"] if speed and has_speed(table) else []
    titles = [*parts, *table.metrics, "by user", *spread, *retrieval, *rewards, *shares, *fast]
    return list(map(printable, titles))


def cells(table: Table, row: Row, *, break_line: bool = False, speed: bool = True) -> list[str]:
    """A row's cells, aligned with `columns`."""
    several = len({other.seeds for other in table.rows}) > 1 or has_spread(table)
    seeds = [", ".join(map(str, row.seeds))] if several else []
    gap = "\n" if break_line else " "
    figures = row.figures
    metrics = [_metric(row, name, gap) for name in table.metrics]
    first = figures.metrics.get(table.metrics[0])
    macro = [cell(first.user_macro if first else None, gap)]
    spread = _spread_cells(figures, table.metrics[0]) if has_spread(table) else []
    retrieval = [value(figures.retrieval.get(name)) for name in names_in(table, "retrieval")]
    rewards = [_reward(row, name, gap) for name in reward_names(table)]
    shares = [percent(figures.parse_failures), percent(figures.truncated_prompts)]
    if has_finishes(table):
        shares.append(_share(figures.truncated_completions))
    if has_refused(table):
        shares.append(_share(figures.refused))
    groups = [group_name(table.groups.numbers[row.rank - 1])] if table.groups.numbers else []
    marks = [("†", row.control), ("‡", row.schema_version == 1), ("§", not row.verified)]
    marks += [("¶", not row.batch_invariant), ("◇", bool(row.contributed_by))]
    generator = row.generator + "".join(f" {mark}" for mark, holds in marks if holds)
    shown = [
        str(row.rank), *groups, row.retriever, str(row.k), row.reasoner, generator,
        *seeds, *metrics, *macro, *spread, *retrieval, *rewards, *shares,
        *(speed_cells(row) if speed and has_speed(table) else []),
    ]  # fmt: skip
    return list(map(printable, shown))


def speed_cells(row: Row) -> list[str]:
    """Tokens of prompts and of completions, and seconds; of how many answers where not all were generated."""
    speed = row.figures.speed
    tokens = ["-" if count is None else f"{count:.0f}" for count in (speed.prompt_tokens, speed.completion_tokens)]
    if speed.seconds is None:
        return [*tokens, "-"]
    part = f" of {speed.timed_answers:.0f}" if speed.timed_answers and speed.timed_answers < row.n else ""
    return [*tokens, f"{speed.seconds:.1f}{part}"]


def _spread_cells(figures: MethodFigures, name: str) -> list[str]:
    if figures.deterministic:
        return [DETERMINISTIC, "-"]
    between = figures.spread.get(name)
    found = [between.sd, between.between_users] if between else [None, None]
    return [value(Estimate(value=each, low=None, high=None)) for each in found]


def reported_cells(table: Table) -> tuple[list[str], list[list[str]]]:
    """Column titles and rows of the published figures."""
    names = [name for name in table.metrics if any(name in r.metrics for r in table.reported)]
    rows = [
        [r.source, r.method, r.model, r.split, *(f"{r.metrics[n]:.4f}" if n in r.metrics else "-" for n in names)]
        for r in table.reported
    ]
    return ["source", "method", "model", "split", *names], rows


NOTHING = "No finished results.\n"
LEGEND = (
    "† control row. [ ] 95 % interval over users; it says nothing about differences between rows, which are paired: "
    "see compare. by user: the ranking metric as the mean of user means. "
    "Cut prompts: an item was shortened or left out to fit the token budget."
)
#: Additions to the legend: for columns that only some tables have, intervals of another kind, and several seeds.
CUT = "Cut answers: the completion stopped at the length limit."
REFUSED = "Refused: the server did not answer the prompt, which counts as an empty answer."
FAILED = "failed: the metric or the reward raised an error, or gave something else than figures; --json has the reason."
#: The share of unreadable or cut answers from which a table says so.
MANY = 0.2
UNVERIFIED = "§ model not verified: the server does not say which model it serves, beyond the name in the request."
DEPENDS_ON_BATCH = (
    "¶ not batch-invariant: an answer may hang on the other prompts of its batch, since in half precision rounding can "
    "decide between two tokens that are nearly as likely."
)
CONTRIBUTED = "◇ made by others; here the figures were computed again from their answers, which were not made again:"
SPEED = (
    "tokens in, tokens out: of prompts and completions, as the generator counted them. seconds: that it took to "
    "generate them, the loading of the model included; rows of one stream share its time by their tokens. 'of N': only "
    "N were generated, the others were in the cache."
)

GROUPS = (
    "group: rows with the letter of the best row are not shown to differ from it (paired test over users, Holm's "
    "correction), and so on with the next letter."
)
BOOTSTRAP = {
    "bca": "Intervals are of resampled users, bias-corrected and accelerated (BCa).",
    "percentile": "Intervals are percentiles of resampled users; with few users they are too narrow.",
}
SEEDS = (
    "Several seeds of a method are one row, their mean; its interval is over users and seeds. seed sd: standard "
    "deviation of the ranking metric between seeds. user sd: the same between user means, without the variation "
    "between seeds."
)
#: Shown as the spread between seeds if the seed has no effect.
DETERMINISTIC = "none"
SAME = "none: all seeds gave the same samples."
EARLIER = "‡ produced by an earlier version of prlm-bench, with another fingerprint."
REPORTED = "Reported by others; not measured here and not ranked, since split, model or prompt differ."


def legend(tables: Sequence[Table], *, speed: bool = True) -> str:
    """The legend of these tables."""
    rows = [row for table in tables for row in table.rows]
    kinds = [text for kind, text in BOOTSTRAP.items() if any(table.interval == kind for table in tables)]
    cut = [CUT] if any(map(has_finishes, tables)) else []
    cut += [FAILED] if any(row.figures.reward_failures or row.figures.metric_failures for row in rows) else []
    cut += [REFUSED] if any(map(has_refused, tables)) else []
    seeds = [SEEDS] if any(map(has_spread, tables)) else []
    same = [SAME] if any(row.figures.deterministic for row in rows) else []
    earlier = [EARLIER] if any(row.schema_version == 1 for row in rows) else []
    about_rows = [
        *seeds,
        *same,
        *earlier,
        *notes_on(tables, speed=speed),
        *_about_groups(tables),
        *_about_answers(tables),
    ]
    return printable(" ".join([LEGEND, *cut, *kinds, *about_rows]))


def notes_on(tables: Sequence[Table], *, speed: bool = True) -> list[str]:
    """What the marks of generators mean, and the columns of tokens and seconds, where there are some."""
    rows = [row for table in tables for row in table.rows]
    found = [] if all(row.verified for row in rows) else [UNVERIFIED]
    found += [] if all(row.batch_invariant for row in rows) else [DEPENDS_ON_BATCH]
    theirs = {
        f"{row.retriever} × k={row.k} × {row.reasoner} × {row.generator}": row for row in rows if row.contributed_by
    }
    if theirs:
        named = "; ".join(f"{name} by {row.contributed_by}" for name, row in theirs.items())
        found.append(f"{CONTRIBUTED} {named}.")
    return found + ([SPEED] if speed and any(map(has_speed, tables)) else [])


def _about_answers(tables: Sequence[Table]) -> list[str]:
    """What looks like a bad model in a table, and often is a prompt format or a token limit."""
    rows = {row.fingerprint: (f"{table.task} {table.split}", row) for table in tables for row in table.rows}
    found = []
    for where, row in rows.values():
        unread, cut = row.figures.parse_failures.value or 0, row.figures.truncated_completions or 0
        wrong = [f"{100 * unread:.1f} % could not be read"] if unread >= MANY else []
        wrong += [f"{100 * cut:.1f} % stopped at the length limit"] if cut >= MANY else []
        if wrong:
            name = f"{row.retriever} × k={row.k} × {row.reasoner} × {row.generator}"
            found.append(f"Answers of {name} on {where}: {', '.join(wrong)}; `prlm-bench results findings` says more.")
    return found


def _about_groups(tables: Sequence[Table]) -> list[str]:
    found = [GROUPS] if any(table.groups.numbers for table in tables) else []
    for table in tables:
        name = f"{table.task} {table.split}, {table.protocol}" if len(tables) > 1 else ""
        if few := few_users(table):
            found.append(f"{name + ': ' if name else ''}{few}.")
        if table.groups.why:
            found.append(f"{name + ': ' if name else ''}{table.groups.why}.")
        elif table.groups.luck is not None:
            tied = table.groups.numbers.count(1)
            found.append(
                f"{name + ': the' if name else 'The'} first of {tied} rows in group A is first partly by chance: of "
                f"equal rows it would come out {table.groups.luck:.4f} too good."
            )
    return found


#: The reason that is said once in the legend.
_FEW = re.compile(r"\d+ users?")


def few_users(table: Table) -> str:
    """Which figures have no interval since the users are too few."""
    found = [
        name
        for name in table.metrics
        for row in table.rows
        if name in row.figures.metrics and _FEW.fullmatch(row.figures.metrics[name].why)
    ]
    names = list(dict.fromkeys(found))
    where = "" if len(names) == len(table.metrics) else " for " + ", ".join(names)
    return f"{table.n_users} user{'s' * (table.n_users != 1)} hold no interval{where}" if names else ""


def value(found: Estimate | None) -> str:
    """A figure with four decimals, two from 10 on."""
    if found is None or found.value is None:
        return "-"
    return f"{found.value:.2f}" if abs(found.value) >= 10 else f"{found.value:.4f}"


def estimate(found: Estimate | None, gap: str = " ") -> str:
    """A figure with its interval, or the reason why there is none."""
    if found is not None and found.value is not None and found.why:
        return f"{value(found)}{gap}({found.why})"
    if found is None or found.value is None or found.low is None or found.high is None:
        return value(found)
    digits = 1 if abs(found.value) >= 10 else 3
    return f"{value(found)}{gap}[{found.low:.{digits}f}, {found.high:.{digits}f}]"


def cell(found: Estimate | None, gap: str) -> str:
    """As `estimate`, but where too few users hold no interval, the legend says so once."""
    return value(found) if found is not None and _FEW.fullmatch(found.why) else estimate(found, gap)


def on_trainings(count: int) -> str:
    """What a statement about trained methods rests on, for a sentence: `on these 3 trainings`, `over 8 trainings`.

    Args:
        count: trainings of a method. Below five the statement is one about them, not about further ones.
    """
    if count == 1:
        return "on this one training"
    return f"on these {count} trainings" if count < FEW_TRAININGS else f"over {count} trainings"


def percent(found: Estimate) -> str:
    """A share as a percentage."""
    return "-" if found.value is None else f"{100 * found.value:.1f}%"


def reward_names(table: Table) -> list[str]:
    """The rewards that some row has, or for which it failed."""
    failed = [name for row in table.rows for name in row.figures.reward_failures]
    return list(dict.fromkeys([*names_in(table, "rewards"), *failed]))


def _metric(row: Row, name: str, gap: str) -> str:
    """A metric; `failed` where it has no value."""
    return "failed" if name in row.figures.metric_failures else cell(row.figures.metrics.get(name), gap)


def _reward(row: Row, name: str, gap: str) -> str:
    """A reward's mean, of how many questions where it is not of all; `failed` where it has none."""
    found = row.figures.rewards.get(name)
    if found is None:
        return "failed" if name in row.figures.reward_failures else "-"
    return cell(found, gap) + (f"{gap}of {found.n}" if found.n is not None and found.n < row.n else "")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"


def has_refused(table: Table) -> bool:
    """Whether a server refused to answer some prompt of some row."""
    return any(row.figures.refused for row in table.rows)


def has_finishes(table: Table) -> bool:
    """Whether some row knows how many completions stopped at the length limit."""
    return any(row.figures.truncated_completions is not None for row in table.rows)


def has_speed(table: Table) -> bool:
    """Whether some row knows its tokens or seconds."""
    return any(row.figures.speed.known for row in table.rows)


def has_spread(table: Table) -> bool:
    return any(row.figures.spread or row.figures.deterministic for row in table.rows)


def names_in(table: Table, group: str) -> list[str]:
    return list(dict.fromkeys(name for row in table.rows for name in getattr(row.figures, group)))
