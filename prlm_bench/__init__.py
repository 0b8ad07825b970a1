"""A benchmark for personalized language models on the LaMP tasks: any retriever, reasoner, generator, judge and reward.

The names below are the public API; each is imported when it is first used. `docs/reference/python-api.md` describes
them. The command line (`prlm-bench`) is built on them.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
