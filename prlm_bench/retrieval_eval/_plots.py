"""Plots recall against k."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import MissingDependencyError
from ..report import write_figure
from ..results import Estimate
from ._evaluate import CHANCE, Evaluation

#: Colours that are distinguishable with any colour vision (M. Okabe and K. Ito, 2008).
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_LINES = ("-", "--", "-.", ":")


def check_drawable() -> None:
    """Check that the plot can be drawn, before the work begins.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise MissingDependencyError("the recall plot", "matplotlib", "report")


def draw_recall(found: Evaluation, folder: Path) -> list[Path]:
    """Plot recall against k, one line per source with its 95 % interval, as `recall.png` and `recall.svg`.

    Equal figures give equal files.

    Returns:
        The files; none without relevance labels.
    """
    if not found.recall:
        return []
    return write_figure(folder, "recall", partial(_draw_all, found), purpose="the recall plot", size=(7.0, 4.2))


def _draw_all(found: Evaluation, axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    for number, (name, curve) in enumerate(found.recall.items()):
        if name == CHANCE:
            _draw(axes, name, curve, "#999999", ":", shade=False)
        else:
            _draw(axes, name, curve, _COLOURS[number % len(_COLOURS)], _LINES[number // len(_COLOURS) % len(_LINES)])
    axes.set_xlabel("k, items shown")
    axes.set_ylabel("recall of relevant items")
    axes.set_ylim(0, 1.02)
    axes.set_xlim(1, max(2, len(next(iter(found.recall.values())))))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    size = f"{found.n_judged} questions, {found.n_users} users"
    axes.set_title(f"{found.task} {found.split}: {size}; shaded: 95 % interval over users", fontsize=9)
    axes.legend(loc="lower right", fontsize=8, frameon=True)


def _draw(axes: Any, name: str, curve: list[Estimate], colour: str, line: str, *, shade: bool = True) -> None:
    ks = range(1, len(curve) + 1)
    points = [point.value for point in curve]
    marker = "o" if shade and len(curve) <= 12 else None
    axes.plot(ks, points, line, color=colour, label=name, linewidth=1.6, marker=marker, markersize=3)
    if shade and all(point.low is not None for point in curve):
        lows, highs = [point.low for point in curve], [point.high for point in curve]
        axes.fill_between(ks, lows, highs, color=colour, alpha=0.12, linewidth=0)
