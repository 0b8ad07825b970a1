"""`prlm-bench rank`."""

from __future__ import annotations

from ._data_options import (
    DataOption,
    DatesOption,
    LimitOption,
    OutputOption,
    RetrieverOption,
    SeedOption,
    SkipOption,
    SplitOption,
    TaskOption,
    ViewOption,
)
from ._host import PluginOption, host_for
from ._output import print_or_write_pieces
from ._progress import make_progress


def rank(
    task: TaskOption,
    retriever: RetrieverOption,
    data: DataOption = None,
    split: SplitOption = "dev",
    output: OutputOption = None,
    seed: SeedOption = 0,
    limit: LimitOption = None,
    view: ViewOption = "lamp",
    dates: DatesOption = False,
    skip_invalid: SkipOption = False,
    plugin: PluginOption = None,
) -> None:
    """Write LaMP's ranking file: {question id: [item ids, best first, the whole profile]}."""
    from .._util.cache_folder import cache_root
    from ..running._components import Components
    from ..running._exports import ranking_file
    from ..running._prepare import open_split

    host = host_for(plugin)
    with make_progress() as progress:
        dataset = open_split(
            host.tasks.get(task), split, data, view=view, dates=dates, skip_invalid=skip_invalid, progress=progress
        )
        ranker = Components(host, dataset, cache_root()).ready("retriever", retriever, seed)
        print_or_write_pieces(ranking_file(dataset, ranker, limit, progress), output)
