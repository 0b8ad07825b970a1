"""The caption of a table for a paper: everything that its figures need beside them."""

from __future__ import annotations

from collections.abc import Sequence

from .. import __version__
from ._compare import Comparison
from ._groups import LEVEL
from ._leaderboard import Row, Table
from ._text import BOOTSTRAP, REFUSED, few_users, has_refused, has_speed, notes_on, on_trainings

_SPEED = (
    "Tokens in, tokens out: of all prompts and completions, as the generator counted them. Seconds: that it took to "
    "generate them."
)


def caption_of(
    table: Table, methods: str, baseline: str | None, compared: Sequence[Comparison], marks: tuple[str, str]
) -> str:
    """The caption, in plain text.

    Args:
        table: the figures.
        methods: what the names of its rows leave out; may be empty.
        baseline: the name of the row that the others are compared with.
        compared: all comparisons with it.
        marks: of rows that are better, and worse.
    """
    sentences = [
        f"{table.title}, {table.task} {table.split} split: {_questions(table)}, {table.protocol} protocol.",
        methods,
        *_seeds(table.rows),
        _intervals(table),
        "Bold: the best value of a column.",
        *_test(baseline, compared, marks),
        *_answers(table.rows),
        *_marked(table),
        *([_SPEED] if has_speed(table) else []),
        f"Data {table.data}, prlm-bench {__version__}.",
    ]
    return " ".join(filter(None, sentences))


def _questions(table: Table) -> str:
    asked = f"n = {table.n}" + (f" of {table.n_total}" if table.n < table.n_total else "")
    other = "" if table.other_task is None else f" of another benchmark ({table.other_task})"
    return f"{asked} questions{other} of {table.n_users} user{'s' * (table.n_users != 1)}"


def _seeds(rows: Sequence[Row]) -> list[str]:
    several = {row.seeds for row in rows if len(row.seeds) > 1 and not row.figures.deterministic}
    if not several:
        return []
    counts = sorted({len(seeds) for seeds in several})
    return [f"Rows with several seeds are means over {' or '.join(map(str, counts))} seeds."]


def _intervals(table: Table) -> str:
    trained = any(row.figures.spread for row in table.rows)
    over = "over users, and over users and seeds where a row has several" if trained else "over users"
    few = few_users(table)
    kind = f" {BOOTSTRAP[table.interval]}" if table.interval in BOOTSTRAP else ""
    return f"Brackets: 95 % interval {over}.{kind}" + (f" {few}." if few else "")


def _test(baseline: str | None, compared: Sequence[Comparison], marks: tuple[str, str]) -> list[str]:
    if baseline is None or not compared:
        return []
    trained = [each for each in compared if each.difference.basis == "users and trainings"]
    sign = "sign-flip test over users"
    student = "t test over users and trainings"
    tests = [sign] * (len(trained) < len(compared)) + [student] * bool(trained)
    where = " or, where seeds differ, ".join(tests)
    several = f" over the {len(compared)} comparisons with it" if len(compared) > 1 else ""
    found = [
        f"{marks[0]} ({marks[1]}): better (worse) than {baseline}, p < {LEVEL} after Holm's correction{several}; ",
        f"paired {where}",
    ]
    if trained:
        found.append(f", {on_trainings(min(each.trainings for each in trained))}")
    return ["".join(found) + "."]


def _answers(rows: Sequence[Row]) -> list[str]:
    """The largest shares of what could not be read or was cut, so that a failing row is not taken for a bad one."""
    figures = [row.figures for row in rows]
    shares = (
        ("of the answers could not be read", [each.parse_failures.value for each in figures]),
        ("of the prompts had an item cut or left out", [each.truncated_prompts.value for each in figures]),
        ("of the completions stopped at the length limit", [each.truncated_completions for each in figures]),
    )
    most = [(what, max((value for value in values if value is not None), default=None)) for what, values in shares]
    known = [f"{100 * value:.1f} % {what}" for what, value in most if value is not None]
    return [f"In a row, at most {', '.join(known)}."] if known else []


def _marked(table: Table) -> list[str]:
    rows = table.rows
    found = ["† control row."] if any(row.control for row in rows) else []
    found += ["‡ made by an earlier version of prlm-bench."] if any(row.schema_version == 1 for row in rows) else []
    return [*found, *([REFUSED] if has_refused(table) else []), *notes_on([table], speed=False)]
