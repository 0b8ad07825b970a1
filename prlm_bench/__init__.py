"""prlm-bench: a bench for personalized language models on the LaMP tasks."""

from .hookspecs import hookimpl
from .records import Answer, Completion, Document, Example, Prompt, Ranking, Sample

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "Completion",
    "Document",
    "Example",
    "Prompt",
    "Ranking",
    "Sample",
    "__version__",
    "hookimpl",
]
