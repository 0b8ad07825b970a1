from ._compare import (
    CORRECTIONS as CORRECTIONS,
    Comparison as Comparison,
    Correction as Correction,
    choose_results as choose_results,
    compare as compare,
    compare_stored as compare_stored,
)
from ._comparisons import render_comparisons as render_comparisons
from ._figures import write_figure as write_figure
from ._json import to_json as to_json
from ._leaderboard import Row as Row, Table as Table, build_tables as build_tables
from ._pooling import MethodFigures as MethodFigures, SeedAggregation as SeedAggregation, SeedSpread as SeedSpread
from ._render import FORMATS as FORMATS, render as render
from ._reported import Reported as Reported
from ._terminal import TableView as TableView
from ._text import estimate as estimate, on_trainings as on_trainings, percent as percent
