from .errors import PrlmBenchError as PrlmBenchError
from .host import PluginHost as PluginHost, hookimpl as hookimpl
from .prompting import by_score as by_score
from .records import (
    Answer as Answer,
    Completion as Completion,
    Document as Document,
    Example as Example,
    Prompt as Prompt,
    Ranking as Ranking,
    Sample as Sample,
)

__version__: str
