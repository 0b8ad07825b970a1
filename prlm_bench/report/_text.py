"""The text of tables in any format: headings, columns, cells and legends."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import partial

from .._util.text import printable
from ..results import Estimate
from ._groups import group_name
from ._leaderboard import Row, Table

#: Trainings of a method below which nothing is said of further ones.
FEW_TRAININGS = 5


def heading(table: Table) -> str:
    """The heading of a table, one line."""
    other = "" if table.other_task is None else f" of another benchmark ({table.other_task})"
    return printable(
        f"{table.task} {table.split}, {table.protocol} protocol: {table.title}; "
        f"{table.n} of {table.n_total} questions, {table.n_users} users, data {table.data}{other}"
    )


@dataclass(frozen=True)
class Field:
    """A column of a table."""

    title: str
    #: What it is of: rank, group, method, seed, metric, by user, spread, retrieval, reward, share or speed.
    kind: str
    #: The text of a row's cell.
    cell: Callable[[Row], str]
    #: The same without the interval.
    bare: Callable[[Row], str] | None = None


def columns(table: Table) -> list[str]:
    """The column titles of a table."""
    return [printable(field.title) for field in fields(table)]


def cells(table: Table, row: Row) -> list[str]:
    """A row's cells, aligned with `columns`."""
    return [printable(field.cell(row)) for field in fields(table)]


def fields(table: Table, show: Callable[[Estimate | None], str] | None = None) -> list[Field]:
    """The columns of a table that have something to say.

    Args:
        table: the table.
        show: the text of a figure with its interval; by default with both of its ends.
    """
    show = show or cell
    first = table.metrics[0]
    found = [Field("#", "rank", lambda row: str(row.rank))]
    if table.groups.numbers:
        found.append(Field("group", "group", lambda row: group_name(table.groups.numbers[row.rank - 1])))
    found += [
        Field("retriever", "method", lambda row: row.retriever),
        Field("k", "method", lambda row: str(row.k)),
        Field("reasoner", "method", lambda row: row.reasoner),
        Field("generator", "method", lambda row: " ".join([row.generator, *marks(row)])),
    ]
    if len({row.seeds for row in table.rows}) > 1 or has_spread(table):
        found.append(Field("seed", "seed", lambda row: ", ".join(map(str, row.seeds))))
    found += [Field(n, "metric", partial(_metric, n, show), partial(_metric, n, value)) for n in table.metrics]
    if has_several_questions(table):
        found.append(Field("by user", "by user", partial(_macro, first, show), partial(_macro, first, value)))
    if has_spread(table):
        found += [Field(n, "spread", partial(_spread, first, i)) for i, n in enumerate(("seed sd", "user sd"))]
    found += [Field(n, "retrieval", partial(_retrieval, n)) for n in names_in(table, "retrieval")]
    found += [Field(n, "reward", partial(_reward, n, show), partial(_reward, n, value)) for n in reward_names(table)]
    return [*found, *_shares(table), *_speed(table)]


def arrow(higher_is_better: bool | None) -> str:
    """An arrow that says which values are better; empty where that is not known."""
    return {True: "↑", False: "↓", None: ""}[higher_is_better]


def marks(row: Row) -> list[str]:
    """The marks of a row, which the legend explains."""
    found = [
        ("†", row.control),
        ("‡", row.schema_version == 1),
        ("§", not row.verified),
        ("¶", not row.batch_invariant),
        ("◇", bool(row.contributed_by)),
    ]
    return [mark for mark, holds in found if holds]


def _shares(table: Table) -> list[Field]:
    found = [
        Field("parse failures", "share", lambda row: percent(row.figures.parse_failures)),
        Field("cut prompts", "share", lambda row: percent(row.figures.truncated_prompts)),
    ]
    if has_finishes(table):
        found.append(Field("cut answers", "share", lambda row: _share(row.figures.truncated_completions)))
    if has_refused(table):
        found.append(Field("refused", "share", lambda row: _share(row.figures.refused)))
    return found


def _speed(table: Table) -> list[Field]:
    titles = SPEED_COLUMNS if has_speed(table) else ()
    return [Field(title, "speed", partial(_speed_cell, place)) for place, title in enumerate(titles)]


def _speed_cell(place: int, row: Row) -> str:
    return speed_cells(row)[place]


def speed_cells(row: Row) -> list[str]:
    """Tokens of prompts and of completions, and seconds; of how many answers where not all were generated."""
    speed = row.figures.speed
    tokens = ["-" if count is None else f"{count:.0f}" for count in (speed.prompt_tokens, speed.completion_tokens)]
    if speed.seconds is None:
        return [*tokens, "-"]
    part = f" of {speed.timed_answers:.0f}" if speed.timed_answers and speed.timed_answers < row.n else ""
    return [*tokens, f"{speed.seconds:.1f}{part}"]


def _macro(name: str, show: Callable[[Estimate | None], str], row: Row) -> str:
    found = row.figures.metrics.get(name)
    return show(found.user_macro if found else None)


def _spread(name: str, place: int, row: Row) -> str:
    if row.figures.deterministic:
        return (DETERMINISTIC, "-")[place]
    between = row.figures.spread.get(name)
    found = (between.sd, between.between_users)[place] if between else None
    return value(Estimate(value=found, low=None, high=None))


def _retrieval(name: str, row: Row) -> str:
    return value(row.figures.retrieval.get(name))


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
    "see compare."
)
#: The same where a terminal shows intervals as ±.
PLUS_MINUS = (
    "† control row. ± to the farther end of the 95 % interval over users (--wide shows both ends); it says nothing "
    "about differences between rows, which are paired: see compare."
)
BY_USER = "by user: the ranking metric as the mean of user means."
CUT_PROMPTS = "Cut prompts: an item was shortened or left out to fit the token budget."
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
SPEED_COLUMNS = ("tokens in", "tokens out", "seconds")
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


def legend(tables: Sequence[Table], shown: Set[str] | None = None) -> str:
    """The legend of these tables.

    Args:
        tables: what it is of.
        shown: the titles of the columns that are shown, where intervals are written as ±; by default all, with both
            ends of intervals.
    """
    rows = [row for table in tables for row in table.rows]
    about = {
        "by user": [BY_USER] if any(map(has_several_questions, tables)) else [],
        "cut prompts": [CUT_PROMPTS],
        "cut answers": [CUT] if any(map(has_finishes, tables)) else [],
        "refused": [REFUSED] if any(map(has_refused, tables)) else [],
        "seed sd": [SEEDS, *[SAME] * any(row.figures.deterministic for row in rows)] * any(map(has_spread, tables)),
    }
    columns_of = [text for name, texts in about.items() if shown is None or name in shown for text in texts]
    failed = any(row.figures.reward_failures or row.figures.metric_failures for row in rows)
    kinds = [text for kind, text in BOOTSTRAP.items() if any(table.interval == kind for table in tables)]
    earlier = [EARLIER] if any(row.schema_version == 1 for row in rows) else []
    return printable(
        " ".join(
            [
                LEGEND if shown is None else PLUS_MINUS,
                *columns_of,
                *[FAILED] * failed,
                *kinds,
                *earlier,
                *notes_on(tables, speed=shown is None or not shown.isdisjoint(SPEED_COLUMNS)),
                *_about_groups(tables),
                *_about_answers(tables),
            ]
        )
    )


def notes_on(tables: Sequence[Table], *, speed: bool = True) -> list[str]:
    """What the marks of generators mean, and the columns of tokens and seconds, where there are some."""
    rows = [row for table in tables for row in table.rows]
    found = [] if all(row.verified for row in rows) else [UNVERIFIED]
    found += [] if all(row.batch_invariant for row in rows) else [DEPENDS_ON_BATCH]
    theirs = {row.method: row for row in rows if row.contributed_by}
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
            found.append(
                f"Answers of {row.method} on {where}: {', '.join(wrong)}; `prlm-bench results findings` says more."
            )
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


def estimate(found: Estimate | None) -> str:
    """A figure with its interval, or the reason why there is none."""
    if found is not None and found.value is not None and found.why:
        return f"{value(found)} ({found.why})"
    if found is None or found.value is None or found.low is None or found.high is None:
        return value(found)
    digits = 1 if abs(found.value) >= 10 else 3
    return f"{value(found)} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def cell(found: Estimate | None) -> str:
    """As `estimate`, but where too few users hold no interval, the legend says so once."""
    return value(found) if found is not None and _FEW.fullmatch(found.why) else estimate(found)


def plus_minus(found: Estimate | None) -> str:
    """A figure and how far the farther end of its interval lies; for why it has none, see the legend."""
    if found is None or found.value is None or found.low is None or found.high is None or found.why:
        return value(found)
    digits = 1 if abs(found.value) >= 10 else 3
    return f"{value(found)} ±{max(found.high - found.value, found.value - found.low):.{digits}f}"


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


def _metric(name: str, show: Callable[[Estimate | None], str], row: Row) -> str:
    """A metric; `failed` where it has no value."""
    return "failed" if name in row.figures.metric_failures else show(row.figures.metrics.get(name))


def _reward(name: str, show: Callable[[Estimate | None], str], row: Row) -> str:
    """A reward's mean, of how many questions where it is not of all; `failed` where it has none."""
    found = row.figures.rewards.get(name)
    if found is None:
        return "failed" if name in row.figures.reward_failures else "-"
    return show(found) + (f" of {found.n}" if found.n is not None and found.n < row.n else "")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"


def has_several_questions(table: Table) -> bool:
    """Whether users have several questions, so that a mean over users can differ from one over questions."""
    return table.n > table.n_users


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
