from .api import (
    compare as compare,
    load_results as load_results,
    paper_tables as paper_tables,
    run as run,
    score as score,
)
from .errors import (
    DataError as DataError,
    MissingDependencyError as MissingDependencyError,
    PluginError as PluginError,
    PrlmBenchError as PrlmBenchError,
    RunError as RunError,
    SpecError as SpecError,
    TaskError as TaskError,
    UnknownNameError as UnknownNameError,
)
from .host import PluginHost as PluginHost, hookimpl as hookimpl
from .prompting import by_score as by_score
from .records import (
    Answer as Answer,
    Completion as Completion,
    Document as Document,
    Draft as Draft,
    Example as Example,
    Prompt as Prompt,
    Ranking as Ranking,
    Sample as Sample,
    Turn as Turn,
)
from .report import PaperTable as PaperTable
from .results import Scores as Scores
from .session import Session as Session

__version__: str
from .views import Comparisons as Comparisons, Results as Results, SampleTable as SampleTable
