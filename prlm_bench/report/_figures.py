"""Figures as files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .._util.files import replacing
from ..errors import MissingDependencyError


def write_figure(
    folder: Path,
    name: str,
    draw: Callable[[Any], None],
    *,
    purpose: str,
    size: tuple[float, float] = (7.0, 4.0),
) -> list[Path]:
    """Draw a figure and write it as `name.png` and `name.svg`; equal figures give equal files.

    Args:
        folder: where to write.
        name: of the files, without their ending.
        draw: draws on the figure's matplotlib axes.
        purpose: what the figure is, for the error message.
        size: width and height in inches.

    Returns:
        The files.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependencyError(purpose, "matplotlib", "report") from None
    figure = Figure(figsize=size, layout="constrained")
    draw(figure.add_subplot())
    paths = []
    # By default a PNG holds the release of matplotlib, and an SVG the date and random ids.
    with rc_context({"svg.hashsalt": "prlm-bench"}):
        for form, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            paths.append(folder / f"{name}.{form}")
            with replacing(paths[-1]) as file:
                figure.savefig(file, format=form, dpi=150, metadata=metadata)
    return paths
