"""`prlm-bench rank`."""

from __future__ import annotations

from .._util.progress_bars import make_progress
from ._output import print_or_write_pieces
from .options import OutputOption, RetrieverOption, SplitOptions, takes


@takes(SplitOptions)
def rank(options: SplitOptions, retriever: RetrieverOption, output: OutputOption = None) -> None:
    """Write LaMP's ranking file: {question id: [item ids of the whole profile, best first]}."""
    with make_progress() as progress, options.open(progress) as session:
        print_or_write_pieces(session.ranking_file(retriever), output)
