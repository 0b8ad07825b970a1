"""Metrics, one measure per file, with names such as `rouge1@lamp`: measure @ protocol.

The numbers of the two protocols are not comparable: `lamp` is the benchmark's own code, `prlm` that of PrLM and related
work.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
