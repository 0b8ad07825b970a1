"""Tables for a paper: chosen rows, the best of each column in bold, and what a paired test against a baseline shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .._util.cells import latex_row, latex_text, markdown_text
from .._util.text import shown
from ..errors import DataError, UnknownNameError
from ..host import PluginHost
from ..results import SeedGroup, Stored, by_questions, select_group
from ..results._select import matches
from ..stats import Interval
from ._compare import Comparison, compare_stored
from ._groups import LEVEL
from ._leaderboard import Row, Table, build_tables
from ._names import DOT, RowNames, row_names
from ._paper_caption import caption_of
from ._pooling import SeedAggregation
from ._text import arrow, cell, has_speed, marks, speed_cells

BETTER, WORSE = "*", "°"
PAPER_FORMATS = ("latex", "markdown")
#: How papers write the measures of both protocols.
_TITLES = {"accuracy": "Accuracy", "f1": "F1", "mae": "MAE", "rmse": "RMSE", "bleu": "BLEU", "bleu-4": "BLEU-4"}
_TITLES |= {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"}
_TITLES |= {"rouge-1": "ROUGE-1", "rouge-2": "ROUGE-2", "rouge-l": "ROUGE-L"}


@dataclass(frozen=True)
class PaperRow:
    """A row of a table for a paper."""

    name: str
    row: Row
    #: The metrics in which no row of the table is better.
    best: frozenset[str]
    #: The comparisons with the baseline, by metric; empty for the baseline and where there is none.
    against: Mapping[str, Comparison]

    def mark(self, metric: str) -> str:
        """`*` where the row is shown to be better than the baseline, `°` where worse, else nothing."""
        found = self.against.get(metric)
        if found is None or not found.p_corrected < LEVEL:
            return ""
        return BETTER if found.better else WORSE


@dataclass(frozen=True)
class PaperTable:
    """A table for a paper: one task, split, set of questions and metric protocol."""

    table: Table
    rows: list[PaperRow]
    #: Name of the row that the others are compared with; None without one.
    baseline: str | None
    #: What all rows share and names leave out, and what short names stand for; may be empty.
    methods: str = ""

    @property
    def caption(self) -> str:
        """What the figures are of: questions, users, protocol, intervals, tests, and failures."""
        found = [each for row in self.rows for each in row.against.values()]
        return caption_of(self.table, self.methods, self.baseline, found, (BETTER, WORSE))

    def latex(self) -> str:
        """The table in LaTeX, for a document with the package booktabs."""
        head = [
            "Method",
            *(latex_text(self._title(name)) for name in self.table.metrics),
            *map(latex_text, self._speed),
        ]
        label = "-".join((self.table.task, self.table.split, self.table.protocol))
        lines = [
            "% \\usepackage{booktabs}",
            "\\begin{table}",
            "\\centering\\small\\setlength{\\tabcolsep}{4pt}",
            f"\\caption{{{latex_text(self.caption)}}}",
            f"\\label{{tab:{''.join(c for c in label if c.isascii() and (c.isalnum() or c in '-.'))}}}",
            f"\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
            "\\toprule",
            latex_row(head),
            "\\midrule",
            *(line for row in self.rows for line in self._latex_rows(row)),
            "\\bottomrule",
            "\\end{tabular}",
            "\\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def markdown(self) -> str:
        """The table in Markdown, with its caption above."""
        head = ["Method", *map(self._title, self.table.metrics), *self._speed]
        aligned = ["---", *["---:"] * (len(head) - 1)]
        body = [map(_markdown, head), aligned, *(self._markdown_cells(row) for row in self.rows)]
        return "\n".join([_markdown(self.caption), "", *("| " + " | ".join(line) + " |" for line in body)]) + "\n"

    def render(self, form: str) -> str:
        """The table in one of `PAPER_FORMATS`.

        Raises:
            UnknownNameError: there is no such format.
        """
        if form not in PAPER_FORMATS:
            raise UnknownNameError("format", form, PAPER_FORMATS)
        return self.latex() if form == "latex" else self.markdown()

    def __repr__(self) -> str:
        return self.markdown()

    def _repr_markdown_(self) -> str:
        return self.markdown()

    @property
    def _speed(self) -> list[str]:
        return ["Tokens in", "Tokens out", "Seconds"] if has_speed(self.table) else []

    def _title(self, metric: str) -> str:
        return f"{_title(metric)} {arrow(self.table.higher_is_better(metric))}".strip()

    def _latex_rows(self, row: PaperRow) -> list[str]:
        """A line with the values, and one with their intervals in small type, which take less room below them."""
        first = [latex_text(row.name) + "".join(f"$^{{{_MARKS[mark]}}}$" for mark in marks(row.row))]
        second = [""]
        for name in self.table.metrics:
            value, interval = _figure(row, name)
            mark = row.mark(name)
            value = f"\\textbf{{{latex_text(value)}}}" if name in row.best else latex_text(value)
            first.append(value + (f"$^{{{_MARKS[mark]}}}$" if mark else ""))
            second.append(f"{{\\scriptsize {latex_text(interval)}}}" if interval else "")
        speed = [*map(latex_text, speed_cells(row.row))] if self._speed else []
        below = [latex_row([*second, *[""] * len(speed)])] if any(second) else []
        return [latex_row([*first, *speed]), *below]

    def _markdown_cells(self, row: PaperRow) -> list[str]:
        cells = [_markdown(" ".join([row.name, *marks(row.row)]))]
        for name in self.table.metrics:
            value, interval = _figure(row, name)
            value = f"**{_markdown(value)}**" if name in row.best else _markdown(value)
            cells.append(" ".join(filter(None, [value + _markdown(row.mark(name)), _markdown(interval)])))
        return cells + ([*map(_markdown, speed_cells(row.row))] if self._speed else [])


_MARKS = {BETTER: "*", WORSE: "\\circ", "†": "\\dagger", "‡": "\\ddagger", "§": "\\S", "¶": "\\P", "◇": "\\diamond"}


def paper_tables(
    stored: Sequence[Stored],
    host: PluginHost,
    *,
    rows: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
    baseline: str | None = None,
    metrics: Sequence[str] = (),
    protocol: str | None = None,
    interval: Interval = "auto",
) -> list[PaperTable]:
    """Tables for a paper: one for each task, split, set of questions and metric protocol.

    Args:
        stored: finished results.
        host: provides tasks and metrics.
        rows: rows by words, as for `select`, in the order of the table; all rows, best first, where none is given.
        names: what a row is called, by words.
        baseline: the row that the others are compared with; it is added where `rows` does not have it.
        metrics: only these metrics.
        protocol: only this metric protocol.
        interval: the kind of the intervals.

    Raises:
        UnknownNameError: words match no row.
        DataError: words match several rows, or the baseline and another row answered different questions or have no
            samples.
    """
    words = [*([] if not rows or baseline is None else [baseline]), *rows]
    _check_words(stored, [*words, *(names or {}), *([] if baseline is None else [baseline])])
    found = []
    for members in by_questions(stored):
        chosen = _chosen(members, words)
        base = _one(members, baseline)
        called = {member.folder: name for word, name in (names or {}).items() for member in _one(members, word)}
        kept = [member for group in chosen for member in group] if words else members
        for table in build_tables(kept, host.tasks, SeedAggregation(host, interval), metrics=metrics):
            if protocol in (None, table.protocol):
                found.append(_paper_table(table, members, chosen, base, called, host, interval))
    return found


def _check_words(stored: Sequence[Stored], words: Sequence[str]) -> None:
    """Refuse words that match no row of any task."""
    for word in words:
        if not any(matches(result, word) for result in stored):
            select_group(stored, word)


def _one(members: Sequence[Stored], words: str | None) -> SeedGroup:
    """The row of one table that words match; empty where none does."""
    if words is None or not any(matches(member, words) for member in members):
        return ()
    return select_group(members, words)


def _chosen(members: Sequence[Stored], words: Sequence[str]) -> list[SeedGroup]:
    """The rows that words match, in their order, each once, and where they name it last."""
    found = [group for word in words if (group := _one(members, word))]
    return [group for place, group in enumerate(found) if group not in found[place + 1 :]]


def _paper_table(
    table: Table,
    members: Sequence[Stored],
    chosen: Sequence[SeedGroup],
    base: SeedGroup,
    called: Mapping[Path, str],
    host: PluginHost,
    interval: Interval,
) -> PaperTable:
    of_fingerprint = {member.manifest.fingerprint: member for member in members}
    groups = {row.fingerprints: tuple(of_fingerprint[each] for each in row.fingerprints) for row in table.rows}
    order = [member.manifest.fingerprint for group in chosen for member in group]
    rows = sorted(table.rows, key=lambda row: order.index(row.fingerprint)) if order else table.rows
    called_here = [called.get(groups[row.fingerprints][0].folder) for row in rows]
    short = row_names(rows)
    named = {row.fingerprints: given or name for row, given, name in zip(rows, called_here, short.names, strict=True)}
    against: dict[tuple[str, ...], dict[str, Comparison]] = {row.fingerprints: {} for row in rows}
    others = [row.fingerprints for row in rows if groups[row.fingerprints][0] not in base]
    if base and others:
        methods = [groups[each] for each in others]
        _check_metrics(host, table.metrics)
        compared = compare_stored(host, methods, base, table.metrics, correction="holm", margin=None, interval=interval)
        for place, comparison in enumerate(compared):
            against[others[place // len(table.metrics)]][comparison.metric] = comparison
    best = {name: _best(rows, name) for name in table.metrics}
    made = [
        PaperRow(
            named[row.fingerprints],
            row,
            frozenset(name for name in table.metrics if row.rank in best[name]),
            against[row.fingerprints],
        )
        for row in rows
    ]
    mine = [named[row.fingerprints] for row in rows if groups[row.fingerprints][0] in base]
    return PaperTable(table, made, mine[0] if mine else None, _methods(short, [row.name for row in made]))


def _methods(short: RowNames, names: Sequence[str]) -> str:
    used = {part for name in names for part in (name, *name.split(DOT))}
    shared = [f"All rows: {', '.join(short.shared)}."] if short.shared else []
    return " ".join([*shared, *(f"{name}: {spec}." for name, spec in short.key.items() if name in used)])


def _check_metrics(host: PluginHost, names: Sequence[str]) -> None:
    """Refuse a metric that the rows have and that cannot be computed here, since a test computes it."""
    try:
        host.metrics(names)
    except UnknownNameError as error:
        hint = "load the plugin that it is from, or choose other metrics with --metric"
        raise DataError(f"{error.message}, so rows cannot be compared in it", hint) from None


def _best(rows: Sequence[Row], metric: str) -> set[int]:
    """The ranks of the rows with the best value; none where only one row has a value."""
    known = [
        (found.value if found.higher_is_better else -found.value, row.rank)
        for row in rows
        if (found := row.figures.metrics.get(metric)) is not None and found.value is not None
    ]
    most = max((value for value, _ in known), default=None)
    return {rank for value, rank in known if value == most} if len(known) > 1 else set()


def _figure(row: PaperRow, metric: str) -> tuple[str, str]:
    """A metric's value, and its interval or why it has none; of too few users the caption says so once."""
    if metric in row.row.figures.metric_failures:
        return "failed", ""
    value, _, interval = cell(row.row.figures.metrics.get(metric)).partition(" ")
    return value, interval


def _title(metric: str) -> str:
    """A metric as papers call it, without its protocol, which the caption names."""
    measure = metric.partition("@")[0]
    options = metric.partition(":")[2]
    return _TITLES.get(measure, measure) + (f" ({options})" if options else "")


def _markdown(text: str) -> str:
    found = markdown_text(shown(text))
    for character in "*_~":
        found = found.replace(character, "\\" + character)
    return found


def split_name(given: str, known: Sequence[str], stored: Sequence[Stored]) -> tuple[str, str]:
    """`WORDS=NAME` in two; both may hold `=`.

    Args:
        given: the words of a row, and what it is called.
        known: words that are given for rows elsewhere.
        stored: the rows.

    Raises:
        DataError: there is no `=` with a name behind it.
        UnknownNameError: no row matches what stands before it.
    """
    places = [place for place, character in enumerate(given) if character == "=" and 0 < place < len(given) - 1]
    if not places:
        raise DataError(f"{given!r} names no row", 'write --name "bm25+copy=Ours"')
    splits = [(given[:place], given[place + 1 :]) for place in places]
    literal = [split for split in splits if split[0] in known]
    matching = [split for split in splits if any(matches(result, split[0]) for result in stored)]
    return (literal or matching or splits)[-1]
